"""Series: which files belong together, and which of them the user means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medvision.errors import SeriesError
from medvision.io.dicom.headers import Header, is_dicom, read_header

NAMED_DICOM = (".dcm", ".ima")  # files so named must be DICOM: one that is not is a lost slice


@dataclass(frozen=True)
class Series:
    """The headers that share a SeriesInstanceUID."""

    uid: str
    number: int | None
    description: str
    modality: str
    headers: tuple[Header, ...]

    def __str__(self) -> str:
        number = "-" if self.number is None else self.number
        return (
            f"{number:>5}  {self.modality or '?':<3} {self.description or '(no description)'}, "
            f"{len(self.headers)} files, {self.uid}"
        )


def list_series(path: Path) -> list[Series]:
    """Return the image series of a folder (its own files, not those below), or of one file.

    Raises
    ------
    DecodeError
        When a file named .dcm or .ima is no DICOM file.
    SeriesError
        When there is no DICOM image.
    """
    files = [path] if path.is_file() else dicom_files(path)
    headers = [header for file in files if (header := read_header(file))]
    if not headers:
        raise SeriesError(f"No DICOM image in {path}{_below(path)}.")
    groups: dict[str, list[Header]] = {}
    for header in headers:
        groups.setdefault(header.series_uid, []).append(header)
    found = [
        Series(uid, group[0].series_number, group[0].description, group[0].modality, tuple(group))
        for uid, group in groups.items()
    ]
    return sorted(found, key=lambda s: (s.number is None, s.number or 0, s.uid))


def dicom_files(folder: Path) -> list[Path]:
    """Return the files of a folder that are DICOM, or named as if they were, sorted."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    return [p for p in files if p.suffix.lower() in NAMED_DICOM or is_dicom(p)]


def choose_series(path: Path, found: Sequence[Series], wanted: str | None) -> Series:
    """Return the series that `wanted` names: a UID, a number, or part of a description.

    Raises
    ------
    SeriesError
        Listing the series, when none fits, several do, or none is chosen out of several.
    """
    fits = list(found)
    if wanted is not None:
        for test in (
            lambda s: s.uid == wanted,
            lambda s: str(s.number) == wanted,
            lambda s: wanted.lower() in s.description.lower(),
        ):
            fits = [s for s in found if test(s)]
            if fits:
                break
    if len(fits) == 1:
        return fits[0]
    lines = "\n".join(f"  {s}" for s in fits or found)
    if wanted is None:
        problem = f"{path} holds {len(found)} series"
    elif fits:
        problem = f"{len(fits)} series in {path} fit {wanted!r}"
    else:
        problem = f"No series in {path} fits {wanted!r}"
    raise SeriesError(
        f"{problem}; choose one by its number, UID or part of its description (--series):\n{lines}"
    )


def _below(path: Path) -> str:
    """Say where DICOM lies instead, when it lies deeper."""
    if not path.is_dir():
        return ": it holds something else, such as a report"
    for file in sorted(path.rglob("*")):
        if file.is_file() and not file.name.startswith(".") and is_dicom(file):
            return f" itself; there is some in {file.parent}"
    return ""
