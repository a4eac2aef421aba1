"""What a DICOM file says of itself, without its pixels and without the patient's identity."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.uid import UID

from medvision.errors import DecodeError

MAGIC_AT, MAGIC = 128, b"DICM"
BARE_STARTS = (b"\x02\x00", b"\x08\x00")  # group 2 or 8: how a file without preamble begins
TAGS = [
    "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription",
    "Modality", "ImageType", "Rows", "Columns", "NumberOfFrames",
    "SamplesPerPixel", "PhotometricInterpretation", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing", "SliceThickness",
    "SpacingBetweenSlices", "WindowCenter", "WindowWidth", "RescaleType",
]  # fmt: skip


@dataclass(frozen=True)
class Header:
    """One file; lengths in mm, directions and positions in DICOM's LPS."""

    path: Path
    study_uid: str
    series_uid: str
    series_number: int | None
    description: str
    modality: str
    image_type: tuple[str, ...]
    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    position: tuple[float, ...] | None  # x, y, z of the first pixel's center
    cosines: tuple[float, ...] | None  # along a row, then along a column
    pixel_spacing: tuple[float, ...] | None  # between rows, between columns
    imager_spacing: tuple[float, ...] | None  # the same, at the detector
    slice_step: float | None  # SpacingBetweenSlices, else SliceThickness
    window: tuple[float, float] | None  # center, width
    unit: str
    syntax: str  # transfer syntax, in words

    @property
    def inverted(self) -> bool:
        """Whether high values mean dark, and nothing else."""
        return self.photometric == "MONOCHROME1" and self.modality not in ("CT", "PT")


def is_dicom(path: Path) -> bool:
    """Tell by its content whether a file is DICOM; an index of files (DICOMDIR) is none."""
    if path.name.upper() == "DICOMDIR":
        return False
    try:
        with path.open("rb") as file:
            start = file.read(MAGIC_AT + len(MAGIC))
    except OSError:
        return False
    if start[MAGIC_AT:] == MAGIC:
        return True
    return start[:2] in BARE_STARTS and "SOPClassUID" in _parse(path, ["SOPClassUID"])


def read_header(path: Path) -> Header | None:
    """Read what matters of a file; None when it holds no image (a report, for example).

    Raises
    ------
    DecodeError
        When the file is no DICOM, cut short, or a value in it is not what it must be.
    """
    if not is_dicom(path):
        size = path.stat().st_size
        raise DecodeError(
            f"{path} is empty (0 bytes)."
            if size == 0
            else f"{path} is no DICOM file: it holds {size} bytes without a DICOM header."
        )
    data = _parse(path, TAGS)
    if not data:
        raise DecodeError(f"{path} is cut short or damaged: its header cannot be read.")
    if "Rows" not in data or "Columns" not in data:
        return None
    center, width = (numbers(path, data, name) for name in ("WindowCenter", "WindowWidth"))
    step = numbers(path, data, "SpacingBetweenSlices", 1) or numbers(
        path, data, "SliceThickness", 1
    )
    syntax = UID(str(getattr(data.file_meta, "TransferSyntaxUID", "")) or "1.2.840.10008.1.2")
    return Header(
        path=path,
        study_uid=text(data, "StudyInstanceUID"),
        series_uid=text(data, "SeriesInstanceUID"),
        series_number=whole(path, data, "SeriesNumber"),
        description=text(data, "SeriesDescription"),
        modality=text(data, "Modality"),
        image_type=tuple(str(v) for v in data.get("ImageType") or ()),
        rows=whole(path, data, "Rows") or 0,
        columns=whole(path, data, "Columns") or 0,
        frames=whole(path, data, "NumberOfFrames") or 1,
        samples=whole(path, data, "SamplesPerPixel") or 1,
        photometric=text(data, "PhotometricInterpretation"),
        position=numbers(path, data, "ImagePositionPatient", 3),
        cosines=numbers(path, data, "ImageOrientationPatient", 6),
        pixel_spacing=numbers(path, data, "PixelSpacing", 2),
        imager_spacing=numbers(path, data, "ImagerPixelSpacing", 2),
        slice_step=step[0] if step and step[0] > 0 else None,
        window=(center[0], width[0]) if center and width and width[0] > 0 else None,
        unit=unit_of(data),
        syntax=syntax.name,
    )


def check_readable(header: Header) -> None:
    """Refuse, by name, the kinds of image that cannot be read as slices yet."""
    if header.frames > 1:
        what = f"a multi-frame image ({header.frames} frames in one file)"
    elif "MOSAIC" in header.image_type:
        what = "a Siemens mosaic (many slices in one picture)"
    elif header.samples > 1 or header.photometric == "PALETTE COLOR":
        what = f"a color image ({header.photometric})"
    else:
        return
    raise DecodeError(
        f"{header.path} holds {what}, which medvision does not read yet; "
        "dcm2niix can turn it into NIfTI."
    )


def unit_of(data: Dataset) -> str:
    """Return ``"HU"`` for CT, whose values are so by definition, unless the file says otherwise.

    DICOM PS3.3 C.8.2.1.1: CT of image type ORIGINAL is in Hounsfield units after rescaling.
    """
    said = text(data, "RescaleType")
    if text(data, "Modality") == "CT":
        return "HU" if said in ("", "HU") else "" if said == "US" else said
    return ""


def text(data: Dataset, name: str) -> str:
    """Return an element as stripped text, empty when absent."""
    value = data.get(name)
    return "" if value is None else str(value).strip()


def whole(path: Path, data: Dataset, name: str) -> int | None:
    """Return an element as an integer, None when absent."""
    found = numbers(path, data, name)
    return None if found is None else int(found[0])


def numbers(path: Path, data: Dataset, name: str, count: int = 0) -> tuple[float, ...] | None:
    """Return an element as `count` finite numbers (0: any), None when absent or empty."""
    try:
        value = data.get(name)
        if value is None or (hasattr(value, "__len__") and len(value) == 0):
            return None
        many = value if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
        found = tuple(float(v) for v in many)
    except (ValueError, TypeError, OverflowError):
        raise DecodeError(f"{path}: {name} is not a number.") from None
    if not all(math.isfinite(v) for v in found) or (count and len(found) != count):
        raise DecodeError(f"{path}: {name} must be {count or 'finite'} numbers; found {found}.")
    return found


def _parse(path: Path, tags: list[str]) -> Dataset:
    """Read some elements; an empty Dataset when the file is damaged.

    pydicom raises errors of many kinds on damaged files, and warns of small faults in words that
    may repeat a value, which must not reach a log: both end here.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found: Any = dcmread(path, stop_before_pixels=True, force=True, specific_tags=tags)
            return found
        except Exception:
            return Dataset()
