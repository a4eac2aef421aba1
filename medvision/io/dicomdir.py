"""DICOMDIR: the index of a medium, and which of its files are there (PS3.3 F, PS3.10 8).

Knows nothing of what the files hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread

from medvision.errors import DecodeError
from medvision.io.quiet import quiet_pydicom

NAME = "DICOMDIR"
MAX_RECORDS = 5_000_000


@dataclass(frozen=True)
class Reference:
    """A file that a DICOMDIR names."""

    study_uid: str
    series_uid: str
    parts: tuple[str, ...]  # folders and file, below the DICOMDIR's folder


def read_dicomdir(path: Path) -> list[Reference]:
    """Return the files that a DICOMDIR names, there or not.

    Raises
    ------
    DecodeError
        When it is no DICOMDIR, or its records lead nowhere or in a circle.
    """
    try:
        with quiet_pydicom():
            data = dcmread(path, specific_tags=["DirectoryRecordSequence", "0x00041200"])
            return list(references(path, data))
    except DecodeError:
        raise
    except Exception:  # pydicom raises many kinds on damaged files
        raise DecodeError(f"{path} is no readable DICOMDIR.") from None


def references(path: Path, data: Dataset) -> Iterator[Reference]:
    """Follow the records from the root down, each level a chain of siblings."""
    records = {record.seq_item_tell: record for record in data.DirectoryRecordSequence}
    first = data.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity
    todo = [(int(first), "", "")]
    seen: set[int] = set()
    while todo:
        offset, study, series = todo.pop()
        if not offset:
            continue
        if offset in seen or len(seen) > MAX_RECORDS:
            raise DecodeError(f"{path} is damaged: its records lead in a circle.")
        seen.add(offset)
        if offset not in records:
            raise DecodeError(f"{path} is damaged: a record is not where another says it is.")
        record = records[offset]
        todo.append((int(record.get("OffsetOfTheNextDirectoryRecord", 0)), study, series))
        study = str(record.get("StudyInstanceUID", study))
        series = str(record.get("SeriesInstanceUID", series))
        below = int(record.get("OffsetOfReferencedLowerLevelDirectoryEntity", 0))
        todo.append((below, study, series))
        named = record.get("ReferencedFileID")
        if named:
            parts = (named,) if isinstance(named, str) else tuple(named)
            yield Reference(study, series, tuple(str(part) for part in parts))


def locate(folder: Path, parts: tuple[str, ...]) -> Path | None:
    """Return where a named file lies; None when it is not there.

    Names on a medium are upper case; copies of it are often lower case.
    """
    if ".." in parts or any("/" in part or "\\" in part for part in parts):
        return None  # outside of the medium
    for spelled in (parts, tuple(part.lower() for part in parts)):
        path = folder.joinpath(*spelled)
        if path.is_file():
            return path
    return None
