"""Series: which slices belong together, and which of them the user means.

Slices under one SeriesInstanceUID that differ in direction, echo, or kind of value (magnitude,
phase; gray, color) are no single volume: they are told apart as parts of their series.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medvision.errors import SeriesError
from medvision.io.dicom.elements import is_dicom
from medvision.io.dicom.frames import read_frames
from medvision.io.dicom.headers import Frame

NAMED_DICOM = (".dcm", ".ima")  # files so named must be DICOM: one that is not is a lost slice
PART_NAMES = {"M": "magnitude", "P": "phase", "R": "real", "I": "imaginary"}


@dataclass(frozen=True)
class Series:
    """Slices that may make one volume."""

    uid: str
    number: int | None
    part: int  # from 1; 0 when the series has one part only
    differs: str  # what tells this part from the others
    description: str
    modality: str
    frames: tuple[Frame, ...]

    @property
    def label(self) -> str:
        """How the user names it: ``3``, or ``3.2`` for the second part of series 3."""
        number = "-" if self.number is None else str(self.number)
        return f"{number}.{self.part}" if self.part else number

    def __str__(self) -> str:
        what = self.description or "(no description)"
        return (
            f"{self.label:>6}  {self.modality or '?':<3} {what}"
            f"{f' [{self.differs}]' if self.differs else ''}, {len(self.frames)} images, {self.uid}"
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
    found = group_series(frame for file in files for frame in read_frames(file))
    if not found:
        raise SeriesError(f"No DICOM image in {path}{_below(path)}.")
    return found


def group_series(frames: Iterable[Frame]) -> list[Series]:
    """Return the series, and parts of series, that slices belong to, by number."""
    groups: dict[tuple[str, int | None], list[Frame]] = {}
    for frame in frames:
        # scanners have given one UID to several numbered series
        key = (frame.header.series_uid, frame.header.series_number)
        groups.setdefault(key, []).append(frame)
    found = [series for slices in groups.values() for series in split_series(slices)]
    return sorted(found, key=lambda s: (s.number is None, s.number or 0, s.uid, s.part))


def split_series(frames: Sequence[Frame]) -> list[Series]:
    """Return the parts of what shares a SeriesInstanceUID, the earliest first."""
    parts: list[list[Frame]] = []
    for frame in sorted(frames, key=lambda f: f.order):
        home = next((part for part in parts if belong_together(part[0], frame)), None)
        if home is None:
            parts.append([frame])
        else:
            home.append(frame)
    first = frames[0].header
    whole = Series(
        first.series_uid, first.series_number, 0, "", first.description, first.modality, ()
    )
    if len(parts) == 1:
        return [replace(whole, frames=tuple(parts[0]))]
    names = tell_apart([part[0] for part in parts])
    return [
        replace(whole, part=n, differs=name, frames=tuple(part))
        for n, (part, name) in enumerate(zip(parts, names, strict=True), start=1)
    ]


def belong_together(first: Frame, other: Frame) -> bool:
    """Tell whether two slices may be of one volume."""
    if first.cosines is None or other.cosines is None:
        parallel = first.cosines is other.cosines
    else:
        parallel = bool(np.allclose(first.cosines, other.cosines, atol=2e-3))
    return (
        parallel
        and first.echo_ms == other.echo_ms
        and first.part == other.part
        and first.header.color == other.header.color
    )


def tell_apart(firsts: Sequence[Frame]) -> list[str]:
    """Return words for what differs between parts, given the first slice of each."""
    facts = [
        [plane_of(f) for f in firsts],
        [f"echo {f.echo_ms:g} ms" if f.echo_ms is not None else "no echo" for f in firsts],
        [PART_NAMES.get(f.part, "") for f in firsts],
        ["color" if f.header.color else "gray" for f in firsts],
    ]
    telling = [words for words in facts if len(set(words)) > 1]
    names = [", ".join(filter(None, words)) for words in zip(*telling, strict=True)]
    return names or ["another angle"] * len(firsts)


def plane_of(frame: Frame) -> str:
    """Return sagittal, coronal or axial, whichever is nearest."""
    if frame.cosines is None:
        return "no place"
    row, column = np.reshape(frame.cosines, (2, 3))
    return ("sagittal", "coronal", "axial")[int(np.abs(np.cross(row, column)).argmax())]


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
    fits = list(found) if wanted is None else fitting(found, wanted)
    if len(fits) == 1:
        return fits[0]
    lines = "\n".join(f"  {s}" for s in fits or found)
    if wanted is None:
        numbers = len({(s.uid, s.number) for s in found})
        kind = "series" if numbers > 1 else "parts of one series"
        problem = f"{path} holds {len(found)} {kind}"
    elif fits:
        problem = f"{len(fits)} series in {path} fit {wanted!r}"
    else:
        problem = f"No series in {path} fits {wanted!r}"
    raise SeriesError(
        f"{problem}; choose one by its number, UID or part of its description (--series):\n{lines}"
    )


def fitting(found: Iterable[Series], wanted: str) -> list[Series]:
    """Return what fits best: exact label, then number, then UID, then words."""
    everything = list(found)
    for test in (
        lambda s: s.label == wanted,
        lambda s: str(s.number) == wanted,
        lambda s: s.uid == wanted,
        lambda s: wanted.lower() in f"{s.description} {s.differs}".lower(),
    ):
        fits = [s for s in everything if test(s)]
        if fits:
            return fits
    return []


def _below(path: Path) -> str:
    """Say where DICOM lies instead, when it lies deeper."""
    if not path.is_dir():
        return ": it holds something else, such as a report"
    for file in sorted(path.rglob("*")):
        if file.is_file() and not file.name.startswith(".") and is_dicom(file):
            return f" itself; there is some in {file.parent}"
    return ""
