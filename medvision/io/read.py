"""Files to Volumes: the right reader for each, and the one series that is meant."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from medvision.errors import DecodeError, SeriesError
from medvision.io.archive import archive_of, unpacked
from medvision.io.choose import check_readable, choose_inputs, fitting, images_of, line
from medvision.io.dicom import is_dicom, read_dicom
from medvision.io.dicom.elements import is_dicomdir
from medvision.io.dicom.series import NAMED_DICOM
from medvision.io.dicomdir import NAME, locate, read_dicomdir
from medvision.io.folder import READS, find_studies, reports_beside
from medvision.io.itk import is_itk, read_itk
from medvision.io.names import common_folder, unique_names
from medvision.io.nifti import is_nifti, read_nifti
from medvision.io.pairing import report_of
from medvision.io.raster import is_raster, read_raster
from medvision.spec import InputSpec
from medvision.study import SeriesRef, Study, StudyRef
from medvision.volume import Volume

HOW = "by its number, UID or part of its description (--series), which `medvision info` shows"


def read_volume(
    path: str | Path, series: str | None = None, *, suv: bool = False, resample: bool = False
) -> Volume:
    """Read one image.

    Parameters
    ----------
    path : str or Path
        A NIfTI, NRRD or MetaImage file, a picture, a DICOM file, a folder of DICOM files at any
        depth, a DICOMDIR, a zip of any of these, or a path inside a zip.
    series : str, optional
        Which DICOM series of a folder: its UID, its number, or part of its description.
    suv : bool
        PET in standardized uptake values by body weight.
    resample : bool
        Put slices that are missing, unevenly spaced or tilted on an even, straight grid.

    Returns
    -------
    Volume
        Voxels (C, I, J, K) and their affine to RAS mm.

    Raises
    ------
    SeriesError
        When nothing is there, or there are several studies or series and none is chosen.
    DecodeError, GeometryError
        When the file is damaged, or its slices make no grid.
    """
    path = Path(path)
    if archive_of(path) is not None:
        return read_study(only_study(path), series, suv=suv, resample=resample).image
    if not os.path.exists(path):
        raise SeriesError(f"No such file or folder: {path}.")
    if path.is_file() and is_dicomdir(path):
        return read_listed(path, series, suv, resample)
    if path.is_dir():
        listing = path / NAME
        if listing.is_file():
            return read_listed(listing, series, suv, resample)
        return read_dicom(path, series, suv=suv, resample=resample)
    if is_nifti(path):
        return read_nifti(path)
    if is_itk(path):
        return read_itk(path)
    if is_raster(path):
        return read_raster(path)
    if path.suffix.lower() in NAMED_DICOM or (path.stat().st_size and is_dicom(path)):
        return read_dicom(path, series, suv=suv, resample=resample)
    raise DecodeError(f"{path} is no scan that medvision reads. {READS}.")


def read_study(
    path: str | Path | StudyRef,
    series: str | Sequence[str] | None = None,
    case_id: str | None = None,
    *,
    inputs: Sequence[InputSpec] = (),
    suv: bool = False,
    resample: bool = False,
) -> Study:
    """Read one series of a study, or what feeds each input of a model.

    A study that `find_studies` found is read from its own files, wherever others lie, with its
    report.

    Parameters
    ----------
    path : str, Path or StudyRef
    series : str or sequence of str, optional
        Overrules what `inputs` say: ``"3"``, or ``"flair=3"`` for one of several inputs.
    case_id : str, optional
        Name of the study; by default after its file or folder.
    inputs : sequence of InputSpec
        ``model.spec.inputs``: which series feeds which input.
    suv, resample : bool
        As in `read_volume`, as are the errors.
    """
    wanted = [series] if isinstance(series, str) else list(series or ())
    if inputs and not isinstance(path, StudyRef):
        path = only_study(Path(path))
    if isinstance(path, StudyRef):
        chosen = (
            choose_inputs(path, inputs, wanted)
            if inputs
            else {"image": choose_found(path, wanted[0] if wanted else None)}
        )
        volumes = {n: read_found(path, one, suv, resample) for n, one in chosen.items()}
        return Study(case_id or path.case_id, volumes, report_of(path), chosen)
    volume = read_volume(path, wanted[0] if wanted else None, suv=suv, resample=resample)
    told = Path(path).is_file() and reports_beside(Path(path))
    report = report_of(only_study(Path(path))) if told else None
    return Study(case_id or unique_names([Path(path)])[0], {"image": volume}, report)


def only_study(path: Path) -> StudyRef:
    """Return the study at a path; several are an error that lists them."""
    refs = find_studies(path, index=False)
    if len(refs) > 1:
        lines = "\n".join(f"  {ref.case_id}  {ref.path}" for ref in refs)
        raise SeriesError(f"{path} holds {len(refs)} studies; name one of them:\n{lines}")
    return refs[0]


def read_listed(listing: Path, series: str | None, suv: bool, resample: bool) -> Volume:
    """Read one series of the files that a DICOMDIR names, and tell which are missing."""
    references = read_dicomdir(listing)
    places = [locate(listing.parent, one.parts) for one in references]
    files = [path for path in places if path is not None]
    volume = read_dicom(listing.parent, series, files=files, suv=suv, resample=resample)
    uid = volume.info.series_uid
    missing = [
        "/".join(one.parts)
        for one, path in zip(references, places, strict=True)
        if path is None and one.series_uid == uid
    ]
    if not missing:
        return volume
    shown = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
    words = f"DICOMDIR names {len(missing)} file(s) of this series that are not there: {shown}."
    return replace(volume, info=replace(volume.info, notes=(*volume.info.notes, words)))


def choose_found(ref: StudyRef, wanted: str | None) -> SeriesRef:
    """Return the series that `wanted` names, or the only readable image.

    Raises
    ------
    SeriesError
        Listing the candidates, when none fits, several do, or none is chosen out of several.
    DecodeError
        When none fits, and none can be read.
    """
    images = images_of(ref)
    if wanted is not None:
        fits = fitting(images, wanted)
        if not fits:
            check_readable(ref)
        words = f"{len(fits) or 'No'} series of {ref.path} fit{'' if fits else 's'} {wanted!r}"
    else:
        fits = [one for one in images if not one.problem] or images
        words = f"{ref.path} holds {len(fits)} series"
    if len(fits) == 1:
        return fits[0]
    lines = "\n".join(line(one, one.problem) for one in fits or images)
    raise SeriesError(f"{words}; choose one {HOW}:\n{lines}")


def read_found(ref: StudyRef, one: SeriesRef, suv: bool = False, resample: bool = False) -> Volume:
    """Read a series of a study, out of a zip where it lies in one.

    Raises
    ------
    DecodeError
        When a file beside it cannot be read: it may be one of its slices.
    SeriesError, GeometryError
        As `read_volume`.
    """
    if not one.files:
        raise SeriesError(one.problem)
    files = siblings(ref, one)
    folders = {file.parent for file in files}
    for other in ref.series:
        lost = other.format == "dicom" and other.problem and other is not one and not other.uid
        if one.format == "dicom" and lost and folders & {file.parent for file in other.files}:
            raise DecodeError(other.problem)
    archive = archive_of(one.files[0])
    if archive is None:
        volume = read_files(ref.path, one, files, suv, resample)
    else:
        inside = files[0] if len(files) == 1 else common_folder(files)
        with unpacked(inside) as place:
            below = inside.relative_to(archive).parts
            folder = place.parents[len(below) - 1] if below else place
            moved = [folder / file.relative_to(archive) for file in files]
            volume = read_files(ref.path, one, moved, suv, resample)
        array = volume.array  # a mapped file is gone with its folder
        volume = replace(volume, array=np.array(array) if is_mapped(array) else array)
        volume = replace(volume, info=replace(volume.info, sources=(archive,)))
    notes = tuple(dict.fromkeys((*volume.info.notes, *one.notes)))
    return replace(volume, info=replace(volume.info, notes=notes))


def siblings(ref: StudyRef, one: SeriesRef) -> list[Path]:
    """Return the files of all parts of a series: a part is named by what it is a part of."""
    if one.format != "dicom" or (one.problem and not one.uid):
        return list(one.files)
    number = one.label.partition(".")[0]
    parts = [s for s in ref.series if s.uid == one.uid and s.label.partition(".")[0] == number]
    return list(dict.fromkeys(file for part in parts for file in part.files))


def read_files(
    path: Path, one: SeriesRef, files: Sequence[Path], suv: bool, resample: bool
) -> Volume:
    """Read the files of one series; `path` names a DICOM series in errors."""
    if one.format == "dicom":
        wanted = one.label if one.uid else None
        return read_dicom(path, wanted, files=files, suv=suv, resample=resample)
    return read_volume(files[0])


def is_mapped(array: object) -> bool:
    """Tell whether voxels still lie in a file."""
    while array is not None:
        if isinstance(array, np.memmap):
            return True
        array = getattr(array, "base", None)
    return False
