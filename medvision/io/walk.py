"""The files in a folder that may be scans or reports, each with its stamp and kind by name.

Opens no file but those whose name tells nothing. Knows nothing of studies.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from medvision.io.archive import is_archive
from medvision.io.dicom.elements import is_dicom, is_dicomdir
from medvision.io.dicom.series import NAMED_DICOM
from medvision.io.index import Stamp
from medvision.io.itk import is_itk
from medvision.io.nifti import is_nifti, nifti_stem
from medvision.io.raster import is_raster
from medvision.io.reports import TABLES, TEXTS

REPORT_SUFFIXES = (*TEXTS, *TABLES, ".json")
PLAIN_SUFFIXES = (
    *(".xml", ".html", ".pdf", ".py", ".bval", ".bvec", ".yaml", ".yml", ".log"),
    *(".gz", ".tar", ".tgz", ".bz2", ".xz", ".7z", ".docx", ".xlsx", ".sqlite"),
)
RESULTS_MARK = "run.json"  # a folder that holds one is a result, not a scan
EVALUATION_MARKS = {"scores.csv", "figures.json"}  # and so is one that holds both of these
REPORT, CLOSED = "report", "closed"  # kinds beside those of `facts.READERS`
KINDS = {"nifti": is_nifti, "itk": is_itk, "raster": is_raster, "zip": is_archive}
GONE: Stamp = (-1, -1)  # of a link that leads nowhere


@dataclass(frozen=True)
class Entry:
    """A file that may be a scan or a report.

    Parameters
    ----------
    path : Path
        As the user named it.
    stamp : Stamp
        Size and time of change; tells whether it has changed since an earlier walk.
    kind : str
        As in `FileFacts`, ``"report"``, or ``"closed"`` for a folder that cannot be listed; empty
        when only its content tells.
    root : bool
        Whether the user named this very file.
    linked : bool
        Whether it is a link to a file.
    """

    path: Path
    stamp: Stamp
    kind: str
    root: bool = False
    linked: bool = False

    @cached_property
    def name(self) -> str:
        """What the index calls it: its path from the root."""
        return os.path.abspath(self.path)

    @cached_property
    def folder(self) -> str:
        """The folder that it lies in; text, which is compared faster than a Path."""
        return os.path.dirname(self.name)


def walk(folder: Path, skipped: set[str]) -> Iterator[Entry]:
    """Yield the files below a folder, each directory's own first, sorted by name.

    Hidden files and folders, folders in `skipped` (real paths), folders of results, and links to
    folders are passed over.
    """
    real = os.path.realpath(folder)
    if real in skipped:
        return
    try:
        with os.scandir(folder) as listing:
            found = sorted(listing, key=lambda one: one.name)
    except OSError:
        yield Entry(folder, GONE, CLOSED)
        return
    names = {one.name for one in found}
    if RESULTS_MARK in names or names.issuperset(EVALUATION_MARKS):
        return
    visible = [one for one in found if not one.name.startswith(".")]
    for one in visible:
        entry = None if is_folder(one) else entry_of(folder / one.name, linked=one.is_symlink())
        if entry is not None:
            yield entry
    for one in visible:
        if one.is_dir(follow_symlinks=False):
            yield from walk(folder / one.name, skipped)


def is_folder(one: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder; a link that leads back to itself is none."""
    try:
        return one.is_dir()
    except OSError:
        return False


def entry_of(path: Path, root: bool = False, linked: bool = False) -> Entry | None:
    """Return what is known of a file without opening it; None when it is no scan or report."""
    kind = kind_by_name(path)
    if kind is None and not root:
        return None
    try:
        status = path.stat()
    except OSError:  # a link to what is not here: git-annex leaves such
        return Entry(path, GONE, kind, root, linked) if kind and kind != REPORT else None
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
        return None
    stamp = (status.st_size, status.st_mtime_ns)
    if kind in ("nifti", "raster"):  # a side-car tells what it shows
        stamp = with_sidecar(path, stamp)
    return Entry(path, stamp, kind or "", root, linked)


def with_sidecar(path: Path, stamp: Stamp) -> Stamp:
    """Return a stamp that changes with a file's side-car too."""
    try:
        status = path.with_name(f"{nifti_stem(path)}.json").stat()
    except OSError:
        return stamp
    return stamp[0] + status.st_size, max(stamp[1], status.st_mtime_ns)


def kind_by_name(path: Path) -> str | None:
    """Return what a file claims to be; empty when its name tells nothing, None when it is plain."""
    suffix = path.suffix.lower()
    if suffix in NAMED_DICOM:
        return "dicom"
    for kind, fits in KINDS.items():
        if fits(path):
            return kind
    if suffix in REPORT_SUFFIXES:
        return REPORT
    return None if suffix in PLAIN_SUFFIXES else ""


def kind_by_content(path: Path) -> str:
    """Return what a file is whose name tells nothing; empty when it is no scan."""
    return "dicom" if is_dicom(path) else "dicomdir" if is_dicomdir(path) else ""
