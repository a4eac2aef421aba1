"""Elements of a DICOM file: found, or absent, or refused as what they must not be."""

from __future__ import annotations

import math
import struct
import warnings
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread

from medvision.errors import DecodeError

MAGIC_AT, MAGIC = 128, b"DICM"
BARE_STARTS = (b"\x02\x00", b"\x08\x00")  # group 2 or 8: how a file without preamble begins
TAGS: list[str | int] = [
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber",
    "SeriesDescription", "Modality", "InstanceNumber", "ImageType", "Rows",
    "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing",
    "SliceThickness", "SpacingBetweenSlices", "WindowCenter", "WindowWidth", "RescaleType",
    "EchoTime", "DiffusionBValue", "DiffusionGradientOrientation", "GridFrameOffsetVector",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    0x00190010, 0x0019100A, 0x0019100C, 0x0019100E, 0x00290010, 0x00291010,  # Siemens
]  # fmt: skip


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
    return start[:2] in BARE_STARTS and "SOPClassUID" in parse(path, ["SOPClassUID"])


def text(data: Dataset, name: str) -> str:
    """Return an element as stripped text, empty when absent."""
    value = data.get(name)
    return "" if value is None else str(value).strip()


def whole(path: Path, data: Dataset, name: str) -> int | None:
    """Return an element as an integer, None when absent."""
    found = numbers(path, data, name)
    return None if found is None else int(found[0])


def numbers(path: Path, data: Dataset, name: str | int, count: int = 0) -> tuple[float, ...] | None:
    """Return an element as `count` finite numbers (0: any), None when absent or empty."""
    try:
        value = data.get(name)
        if isinstance(name, int):  # private: an element, its value perhaps undeclared bytes
            value = private_value(value)
        if value is None or (hasattr(value, "__len__") and len(value) == 0):
            return None
        many = value if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
        found = tuple(float(v) for v in many)
    except (ValueError, TypeError, OverflowError):
        raise DecodeError(f"{path}: {name} is not a number.") from None
    if not all(math.isfinite(v) for v in found) or (count and len(found) != count):
        raise DecodeError(f"{path}: {name} must be {count or 'finite'} numbers; found {found}.")
    return found


def private_value(element: Any) -> Any:
    """Return the value of a private element; bytes (VR UN) are taken as text or doubles."""
    value = None if element is None else element.value
    if not isinstance(value, bytes):
        return value
    if len(value) % 8 == 0 and not set(value) <= set(b"0123456789+-.eE\\ \0"):
        return list(struct.unpack(f"<{len(value) // 8}d", value))
    return value.decode("ascii", "replace").strip(" \0").split("\\")


def parse(path: Path, tags: list[str | int] | None = None) -> Dataset:
    """Read elements (all but the pixels by default); an empty Dataset when the file is damaged.

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
