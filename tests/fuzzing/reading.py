"""What reads scans, labels and reports: the suite that needs no PyTorch."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from fuzzing import dicoms, files
from fuzzing.target import Target, each, files_in

from medvision.io import (
    find_studies,
    pair_reports,
    read_labels,
    read_report,
    read_study,
    read_volume,
)
from medvision.io.archive import check_upload
from medvision.io.dicomdir import read_dicomdir
from medvision.io.doctor import diagnose
from medvision.io.listing import study_dates, write_csv, write_json
from medvision.io.reports import report_table
from medvision.tags import read_tags

PARTS = (".raw", ".img", ".bval", ".bvec")  # of what has its header in another file
UNFORESEEN = "unexpected"  # what a walk says of an error that it did not foresee


def voxels(path):
    """Read one scan, and look at every voxel."""
    np.asarray(read_volume(path).array).any()


def volume(folder):
    """Read each file by itself."""
    for path in files_in(folder):
        if path.suffix not in PARTS:
            each(partial(voxels, path))


def whole(folder):
    """Read the folder as one scan, on an even grid."""
    read_volume(folder, resample=True)


def uptake(folder):
    """Read the folder as PET."""
    read_volume(folder, suv=True)


def studies(folder):
    """Find the studies, and read each series of each."""
    for ref in find_studies(folder, index=False):
        diagnose(ref)
        for one in ref.series:
            assert UNFORESEEN not in one.problem, one.problem
            each(partial(read_study, ref, one.uid or one.label))


def labels(folder):
    """Read each file as labels."""
    for path in files_in(folder):
        each(partial(read_labels, path))


def report(folder):
    """Read each file as a report, and as a table of them."""
    for path in files_in(folder):
        each(partial(read_report, path))
        each(partial(report_table, path))


def info(folder):
    """List what is there, with its dates, as `medvision info` does."""
    refs = find_studies(folder, index=False)
    with TemporaryDirectory() as out:
        write_json(refs, Path(out) / "list.json", study_dates(refs))
        write_csv(refs, Path(out) / "list.csv")


def paired(folder):
    """Give each study its report, and read both."""
    refs, _ = pair_reports(find_studies(folder, index=False), files_in(folder))
    for ref in refs:
        each(partial(read_study, ref))


def tags(folder):
    """Show the header of a DICOM file."""
    for path in files_in(folder)[:1]:
        read_tags(path)
        read_tags(path, identity=True)


def listing(folder):
    """Read an index of DICOM files, and a scan that it lists."""
    for path in files_in(folder)[:1]:
        each(partial(read_dicomdir, path))
    read_volume(folder)


def archive(folder):
    """Check a zip as the app does before it is unpacked, and read the scan in it."""
    for path in files_in(folder):
        each(partial(check_upload, path))
        each(partial(voxels, path))


def told(folder):
    """Return scans with reports beside them: of their name, in a table, and as an SR."""
    scan = files.niftis()[0]
    table = b'case_id,findings,impression\none,none,normal\nsr,"x, y",normal\n'
    sr = next(tree for tree in dicoms.drawn(folder) if "sr.dcm" in tree)
    return [
        {**scan, "one.txt": files.reports()[0]["a.txt"]},
        {**scan, "one_report.json": files.reports()[1]["b.json"]},
        {**scan, "reports.csv": table},
        sr,
    ]


def listed(folder):
    """Return folders with a DICOMDIR."""
    return [tree for tree in dicoms.real() if "DICOMDIR" in tree]


def zipped(folder):
    """Return zips of a few kinds of scans."""
    series, niftis = dicoms.series(folder)[0], files.niftis()
    return files.zips([series, niftis[0], {**niftis[4], **files.reports()[0]}])


TARGETS = {
    "dicom": Target(lambda folder: dicoms.real(), (volume, studies, labels, report, tags), 26),
    "series": Target(dicoms.series, (whole, uptake, studies, info), 12),
    "labels": Target(dicoms.drawn, (labels, studies, report), 12),
    "scanner": Target(dicoms.scanners, (volume, whole, studies), 3),
    "dicomdir": Target(listed, (listing, studies), 4),
    "nifti": Target(lambda folder: files.niftis(), (volume, studies, labels, info), 18),
    "itk": Target(lambda folder: files.itks(), (volume, studies), 11),
    "picture": Target(lambda folder: files.pictures(), (volume, studies), 6),
    "report": Target(lambda folder: files.reports(), (report,), 3),
    "told": Target(told, (paired, report), 3),
    "zip": Target(zipped, (archive, studies), 7),
}
