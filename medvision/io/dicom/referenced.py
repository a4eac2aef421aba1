"""The scan that labels were drawn on: named by UID in their file, looked for near it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from medvision.errors import MedvisionError, SeriesError
from medvision.io.dicom.elements import is_dicom, read_elements
from medvision.io.dicom.series import list_series
from medvision.io.dicom.volume import read_dicom
from medvision.volume import Volume

MAX_FILES = 4000  # looked into, in search of a scan
DRAWN = ("SEG", "RTSTRUCT", "RTDOSE", "SR", "PR", "KO")  # modalities that nothing is drawn on


@dataclass(frozen=True)
class Referenced:
    """What a file of labels says of the scan below them; UIDs are for looking, not for messages."""

    series: tuple[str, ...]  # SeriesInstanceUIDs
    frame: str  # FrameOfReferenceUID; empty when unknown

    def __str__(self) -> str:
        """As messages have it, which are kept: where its UID stands, not the UID."""
        if self.series:
            return "a series whose UID its header has in (RT)ReferencedSeriesSequence"
        if self.frame:
            return "a scan whose FrameOfReferenceUID is in its header"
        return "a scan that it does not name"


def find_referenced(path: Path, wanted: Referenced) -> tuple[Volume, tuple[str, ...]]:
    """Read the scan that a file of labels refers to, and say what had to be decided.

    Looked for by its SeriesInstanceUID in the labels' own folder and below it, then in the folder
    above and below that; where it is in neither, the only series there with the labels'
    FrameOfReferenceUID is taken.

    Raises
    ------
    SeriesError
        When none is found, or several share the frame of reference.
    DecodeError, GeometryError
        When it is found and cannot be read.
    """
    sharing: dict[str, Path] = {}  # series UID → its folder
    for file in files_near(path):
        try:
            if not is_dicom(file):
                continue
            data = read_elements(file)
        except (MedvisionError, OSError):
            continue
        if "Rows" not in data or data.text("Modality") in DRAWN:
            continue
        uid = data.text("SeriesInstanceUID")
        if uid in wanted.series:
            return read_dicom(file.parent, uid), ()
        if wanted.frame and data.text("FrameOfReferenceUID") == wanted.frame:
            sharing.setdefault(uid, file.parent)
    if len(sharing) == 1:
        uid, folder = next(iter(sharing.items()))
        note = f"The grid is that of a series in {folder.name}, of the labels' FrameOfReferenceUID."
        return read_dicom(folder, uid), (note,)
    several = (
        f"{len(sharing)} others share its frame of reference" if sharing else "none other fits"
    )
    raise SeriesError(
        f"{path} was drawn on {wanted}, and that is not near it: not in its folder, nor in the one "
        f"above, nor below these ({several}); name the scan: read_labels(path, reference=…)."
    )


def files_near(path: Path) -> Iterator[Path]:
    """Yield the files of the tree that `path` lies in, then those of the tree one folder above.

    At most `MAX_FILES` of each.
    """
    own = path.absolute().parent
    yield from islice(files_below(own), MAX_FILES)
    yield from islice(files_below(own.parent, passed_over=own), MAX_FILES)


def files_below(folder: Path, passed_over: Path | None = None) -> Iterator[Path]:
    """Yield the files of a tree, a folder's own first; hidden folders are passed over."""
    for name, folders, files in os.walk(folder):
        here = Path(name)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and here / f != passed_over)
        yield from (here / file for file in sorted(files))


def open_scan(path: Path, wanted: Referenced) -> Volume:
    """Read a scan that the user names for labels; of several series, the one they refer to.

    Raises
    ------
    SeriesError
        When there are several series and the labels refer to none of them.
    DecodeError, GeometryError
    """
    there = {series.uid for series in list_series(path)}
    return read_dicom(path, next((uid for uid in wanted.series if uid in there), None))
