"""What DICOM results take over from the files of their scan: identity, places, references.

Names are read here alone, from the first file, and reach neither errors nor logs. Knows nothing of
what is written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset, config, dcmread
from pydicom.valuerep import validate_value

from medvision.errors import OutputError
from medvision.files import sha256
from medvision.geometry import Affine, flip_ras_lps
from medvision.io.archive import archive_of
from medvision.io.dicom import is_dicom
from medvision.io.dicom.frames import read_frames
from medvision.io.dicom.headers import Frame
from medvision.io.placing import whole_steps
from medvision.io.quiet import quiet_pydicom
from medvision.volume import Volume

INSTEAD = "NIfTI fits (--outputs nifti)"
UTF_8 = "ISO_IR 192"
STRAY_MM = 0.12  # that slices may lie off an even grid: what the reader accepts, and rounding
NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
EMPTY_WHERE_UNKNOWN = (  # type 2 of the Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1)
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate",
    "StudyTime", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
CHECKED_VRS = ("AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI")  # what others refuse when damaged
MOMENTS = ("Series", "Study", "Acquisition", "Content")  # which date a result takes over
NO_DATE, NO_TIME = "19000101", "000000"


@dataclass(frozen=True)
class Source:
    """The files of a scan.

    Parameters
    ----------
    path : Path
        The first, which errors name.
    header : Dataset
        Of the first, without pixels and private elements, in UTF-8; what the standard requires
        even where it is unknown is there and empty, as is what cannot be parsed.
    frames : tuple of Frame
        Of all files, in slice order.
    """

    path: Path
    header: Dataset
    frames: tuple[Frame, ...]

    @property
    def instances(self) -> dict[str, str]:
        """SOPClassUID of each file by its SOPInstanceUID, in slice order."""
        return {f.header.instance_uid: f.header.sop_class for f in self.frames}

    @cached_property
    def facts(self) -> tuple[str, ...]:
        """What tells this scan from all others: the first file's bytes, and the names of all."""
        return sha256(self.path), *self.instances

    @cached_property
    def moment(self) -> tuple[str, str]:
        """Date and time of the scan; 1900 where the files have none."""
        for what in MOMENTS:
            day = str(self.header.get(f"{what}Date") or "")
            clock = re.match(r"([01]\d|2[0-3])[0-5]\d[0-5]\d", str(self.header.get(f"{what}Time")))
            if is_day(day):
                return day, clock[0] if clock else NO_TIME
        return NO_DATE, NO_TIME


def is_day(text: str) -> bool:
    """Tell whether a text is a date, YYYYMMDD."""
    try:
        return len(text) == 8 and datetime.strptime(text, "%Y%m%d").year > 1
    except ValueError:
        return False


def check_source(scan: Volume, what: str) -> Path:
    """Return the first of the files that a scan was read from.

    Parameters
    ----------
    scan : Volume
    what : str
        What is to be written, for errors.

    Raises
    ------
    OutputError
        When they are no DICOM files, lie in a zip, or are not there any more.
    """
    if not scan.info.sources:
        raise OutputError(f"{what} is written beside DICOM files; this scan has none. {INSTEAD}.")
    first = scan.info.sources[0]
    if archive_of(first) is not None:
        raise OutputError(
            f"{what} takes names and places from the DICOM files: unpack {archive_of(first)} first."
        )
    if not first.is_file():
        raise OutputError(f"{what} takes names and places from {first}, which is not there.")
    if not is_dicom(first):
        raise OutputError(f"{what} is written beside DICOM files; {first} is none. {INSTEAD}.")
    return first


def read_source(scan: Volume, what: str) -> Source:
    """Read the headers of the files that a scan was read from.

    Raises
    ------
    OutputError
        As `check_source`, or when they lack the UIDs by which a result refers to them.
    """
    first = check_source(scan, what)
    header = tidied(first)
    missing = [name for name in NEEDED if not header.get(name)]
    if missing:
        raise OutputError(f"{what} refers to its scan; {first} lacks {', '.join(missing)}.")
    paths = scan.info.sources
    return Source(first, header, tuple(frame for path in paths for frame in read_frames(path)))


def tidied(path: Path) -> Dataset:
    """Return a header as others can copy it: see `Source.header`.

    Raises
    ------
    OutputError
    """
    with quiet_pydicom():
        try:
            data = dcmread(path, force=True, stop_before_pixels=True)
            data.remove_private_tags()
            data.decode()
            data.SpecificCharacterSet = UTF_8
            for element in list(data):
                if not is_valid(element):
                    element.value = None
            for keyword in EMPTY_WHERE_UNKNOWN:
                if keyword not in data:
                    setattr(data, keyword, None)
            if data.PatientSex not in ("M", "F", "O"):
                data.PatientSex = None
        except Exception as error:  # its words may hold a name
            raise OutputError(
                f"The header of {path} cannot be taken over ({type(error).__name__})."
            ) from None
    return data


def is_valid(element: DataElement) -> bool:
    """Tell whether the values of an element are what the standard says of its kind."""
    if element.VR not in CHECKED_VRS:
        return True
    values = element.value if element.VM > 1 else [element.value]
    try:
        for value in values:
            validate_value(element.VR, str(value or ""), config.RAISE)
    except ValueError:
        return False
    return element.VR != "DA" or all(is_day(str(value or NO_DATE)) for value in values)


def planes_of(mask: Volume, source: Source, what: str) -> tuple[list[Frame], NDArray[Any]]:
    """Return the frames on which a mask lies, and its labels in their pixels.

    Each frame's own position and direction say which voxels of the mask are its pixels: whatever
    the order of files and axes, nothing is mirrored or shifted.

    Returns
    -------
    list of Frame
        One a slice, along the normal; where several lie at one place, the first.
    ndarray, (slices, rows, columns)

    Raises
    ------
    OutputError
        When the frames do not cover the mask voxel by voxel.
    """
    where = f"{source.path} and the other files" if len(source.instances) > 1 else f"{source.path}"
    if any(frame.tile is not None for frame in source.frames):
        raise OutputError(
            f"{what} needs a frame for each slice; {source.path} is a mosaic, in which all slices "
            f"are one picture. {INSTEAD}."
        )
    if any(frame.position is None or frame.cosines is None for frame in source.frames):
        raise OutputError(
            f"{what} needs the place of each slice in the patient (ImagePositionPatient, "
            f"ImageOrientationPatient), which {where} do not give. {INSTEAD}."
        )
    found: dict[int, tuple[Frame, NDArray[np.int64]]] = {}
    for frame in source.frames:
        size = (frame.columns, frame.rows, 1)
        steps = whole_steps(frame_affine(frame), size, mask.affine, STRAY_MM)
        if steps is not None and fits(steps, frame, mask):
            across = int(np.flatnonzero(~steps[:, :2].any(axis=1))[0])  # the mask's slice axis
            found.setdefault(int(steps[across, 3]), (frame, steps))
    placed = [found[n] for n in sorted(found)]
    if sum(frame.rows * frame.columns for frame, _ in placed) != mask.array[0].size:
        raise OutputError(
            f"{what} lies on the slices of its scan, voxel by voxel; this mask lies on others than "
            f"{where} hold (resampled or cropped). {INSTEAD}."
        )
    return [frame for frame, _ in placed], np.stack([pixels_of(mask, *one) for one in placed])


def frame_affine(frame: Frame) -> Affine:
    """Return the affine (column, row, mm along the normal) → RAS mm of a frame."""
    row, column = np.reshape(np.asarray(frame.cosines, np.float64), (2, 3))
    between_rows, between_columns = (frame.pixel_spacing or (1.0, 1.0))[:2]
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * between_columns, column * between_rows
    affine[:3, 2], affine[:3, 3] = np.cross(row, column), frame.position
    return flip_ras_lps(affine)


def fits(steps: NDArray[np.int64], frame: Frame, mask: Volume) -> bool:
    """Tell whether all pixels of a frame are voxels of a mask."""
    corners = np.array([[0, 0, 0, 1], [frame.columns - 1, frame.rows - 1, 0, 1]])
    index = corners @ steps.T  # (2, 3)
    return bool(((index >= 0) & (index < mask.shape)).all())


def pixels_of(mask: Volume, frame: Frame, steps: NDArray[np.int64]) -> NDArray[Any]:
    """Return the labels (rows, columns) in the pixels of a frame."""
    columns, rows = np.arange(frame.columns), np.arange(frame.rows)[:, None]
    i, j, k = (step[0] * columns + step[1] * rows + step[3] for step in steps)
    return np.asarray(mask.array[0][i, j, k])


def only_file(frames: Sequence[Frame]) -> bool:
    """Tell whether all frames lie in one file."""
    return len({frame.header.path for frame in frames}) == 1
