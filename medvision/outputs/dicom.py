"""What all DICOM results have in common: UIDs, dates, equipment, and how they reach the disk.

The same result of the same scan always gives the same bytes: UIDs are hashes of what a file says
and of its scan, dates are those of the scan. highdicom writes; it is the extra ``seg``.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID

from pydicom import Dataset
from pydicom.sr.coding import Code as Coded

import medvision
from medvision.codes import split_code
from medvision.errors import MedvisionError, OutputError, require_extra
from medvision.files import atomic_path
from medvision.io.quiet import quiet_highdicom
from medvision.outputs.source import Source
from medvision.prediction import Prediction

MAKER = "medvision"
NO_SERIAL = "none"
RESEARCH = "Research use only, not a medical device."
SERIES = {"seg": 9001, "labelmap": 9002, "sr": 9003, "sc": 9004}  # numbers, apart from scanners'
LONG = 64  # characters of an LO (PS3.5 6.2)
EXPLICIT = "1.2.840.10008.1.2.1"  # transfer syntax: Explicit VR Little Endian


def uid_of(*facts: object) -> str:
    """Return the UID that stands for facts: 2.25 and a UUID of their hash (PS3.5 B.2).

    Examples
    --------
    >>> uid_of("a", 1) == uid_of("a", 1) != uid_of("a", 2)
    True
    """
    digest = hashlib.sha256("\0".join(map(repr, facts)).encode("utf-8", "backslashreplace"))
    return f"2.25.{UUID(bytes=digest.digest()[:16], version=5).int}"


def facts_of(prediction: Prediction, source: Source, kind: str) -> tuple[object, ...]:
    """Return what a result of a kind depends on, besides what it found."""
    codes = [(name, prediction.codes.get(name)) for name in prediction.class_names]
    writers = (medvision.__version__, version("highdicom"))
    return kind, writers, prediction.model, codes, source.facts


@contextmanager
def highdicom_for(what: str, source_name: str) -> Iterator[Any]:
    """Yield highdicom, kept quiet; its errors are told without its words, which may hold a name.

    Raises
    ------
    MissingExtra
        When it is not installed.
    OutputError
        When it refuses.
    """
    require_extra("highdicom", "seg", what)
    with quiet_highdicom():
        import highdicom

        try:
            yield highdicom
        except (MedvisionError, OSError):
            raise
        except Exception as error:  # of many kinds
            raise OutputError(
                f"{what} of {source_name} cannot be written: its header or kind does not allow it "
                f"({type(error).__name__})."
            ) from None


def coded(text: str) -> Coded:
    """Return a code of `medvision.codes` as pydicom and highdicom take it."""
    scheme, value, meaning = split_code(text)
    return Coded(value, scheme, meaning)


def plain(text: str, most: int = LONG) -> str:
    """Return text that a DICOM element of one line can hold."""
    kept = "".join(" " if unicodedata.category(c)[0] == "C" or c == "\\" else c for c in text)
    return kept.strip()[:most].strip() or "unnamed"


def headed(
    prediction: Prediction, source: Source, kind: str, facts: Sequence[object]
) -> dict[str, Any]:
    """Return what every class of highdicom takes: UIDs, series, equipment."""
    about = (*facts_of(prediction, source, kind), *facts)
    return {
        "series_instance_uid": uid_of("series", *about),
        "series_number": SERIES[kind],
        "sop_instance_uid": uid_of(*about),
        "instance_number": 1,
        "manufacturer": MAKER,
        "manufacturer_model_name": MAKER,
        "software_versions": medvision.__version__,
        "device_serial_number": NO_SERIAL,
        "series_description": plain(f"{kind.upper()} {prediction.model}, research use only"),
    }


def dated(data: Dataset, source: Source, organization: str) -> Dataset:
    """Give a result the moment of its scan wherever highdicom wrote the time of day."""
    day, clock = source.moment
    for what in ("InstanceCreation", "Content"):
        setattr(data, f"{what}Date", day)
        setattr(data, f"{what}Time", clock)
    for keyword in ("DateOfSecondaryCapture", "TimeOfSecondaryCapture"):
        if keyword in data:
            setattr(data, keyword, day if keyword.startswith("Date") else clock)
    for item in data.get("ContributingEquipmentSequence", []):
        if "highdicom" in str(item.get("ManufacturerModelName", "")).lower():
            item.ContributionDateTime = day + clock
    for item in (*data.get("DimensionOrganizationSequence", []),
                 *data.get("DimensionIndexSequence", [])):  # fmt: skip
        item.DimensionOrganizationUID = organization
    return data


def save_dicom(data: Dataset, path: Path, check: Callable[[Path], None] | None = None) -> Path:
    """Write a data set; it is whole, and passed `check`, or absent."""
    with atomic_path(path) as part:
        data.save_as(part, enforce_file_format=True)
        if check is not None:
            check(part)
    return path
