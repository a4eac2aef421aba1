"""Series: which slices belong together, and which of them the user means.

Slices under one SeriesInstanceUID that differ in direction, size, echo, or kind of value
(magnitude, phase; gray, color; original, derived…) are no single volume: they are told apart as
parts of their series.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medvision.errors import SeriesError
from medvision.io.dicom.elements import is_dicom
from medvision.io.dicom.frames import read_frames
from medvision.io.dicom.headers import Frame

NAMED_DICOM = (".dcm", ".ima")  # files so named must be DICOM: one that is not is a lost slice
PARALLEL = 1e-3  # largest difference of a direction cosine between slices of one volume


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
        """As errors have it, which are kept: without text of its header, and without its UID."""
        differs = f" [{self.differs}]" if self.differs else ""
        images = "1 image" if len(self.frames) == 1 else f"{len(self.frames)} images"
        return f"{self.label:>6}  {self.modality or '?'}{differs}, {images}"


def list_series(path: Path, files: Sequence[Path] | None = None) -> list[Series]:
    """Return the image series of a folder and the folders in it, or of one file.

    Where `files` are given, `path` only names them in errors.

    Raises
    ------
    DecodeError
        When a file named .dcm or .ima is no DICOM file.
    SeriesError
        When there is no DICOM image.
    """
    found = dicom_files(path) if files is None else files
    frames = [frame for file in found for frame in read_frames(file)]
    if not frames:
        held = f"; it holds {describe(path)}" if path.is_dir() else ""
        raise SeriesError(f"No DICOM image in {path}{held}.")
    return group_series(frames)


def dicom_files(path: Path) -> list[Path]:
    """Return the files that are DICOM, or named as if they were: one file, or all of a folder.

    Hidden files and folders are passed over. Sorted by folder, then name.
    """
    if path.is_file():
        return [path]
    found = []
    for name, folders, files in os.walk(path):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        visible = [Path(name) / f for f in sorted(files) if not f.startswith(".")]
        found += [p for p in visible if p.suffix.lower() in NAMED_DICOM or is_dicom(p)]
    return found


def group_series(frames: Iterable[Frame]) -> list[Series]:
    """Sort slices of any number of files into series, and parts of series.

    One SeriesInstanceUID under several numbers is several series: scanners have done so.
    """
    groups: dict[tuple[str, int | None], list[Frame]] = {}
    for frame in frames:
        key = (frame.header.series_uid, frame.header.series_number)
        groups.setdefault(key, []).append(frame)
    found = [series for group in groups.values() for series in split_series(group)]
    return sorted(found, key=lambda s: (s.number is None, s.number or 0, s.uid, s.part))


def split_series(frames: Sequence[Frame]) -> list[Series]:
    """Return the parts of what shares a SeriesInstanceUID, the earliest first."""
    parts: list[list[Frame]] = []
    for frame in sorted(without_means(frames), key=lambda f: f.order):
        home = next((part for part in parts if belong_together(part[0], frame)), None)
        if home is None:
            parts.append([frame])
        else:
            home.append(frame)
    first = frames[0].header
    whole = Series(
        first.series_uid, first.series_number, 0, "", first.description, first.modality, ()
    )
    settled = [tuple(philips_signal(part)) for part in parts]
    if len(parts) == 1:
        return [replace(whole, frames=settled[0])]
    names = tell_apart([part[0] for part in parts])
    return [
        replace(whole, part=n, differs=name, frames=part)
        for n, (part, name) in enumerate(zip(settled, names, strict=True), start=1)
    ]


def belong_together(first: Frame, other: Frame) -> bool:
    """Tell whether two slices may be of one volume: parallel, and alike in all traits."""
    if first.traits != other.traits:
        return False
    if first.cosines is None or other.cosines is None:
        return first.cosines is other.cosines
    return first.cosines == other.cosines or bool(
        np.allclose(first.cosines, other.cosines, atol=PARALLEL)
    )


def without_means(frames: Sequence[Frame]) -> list[Frame]:
    """Mark the weighted images that Philips appends to diffusion: means over all directions."""
    directed = any(f.b_vector is not None for f in frames)
    return [
        replace(f, traits=(*f.traits, ("diffusion", "mean of directions")))
        if directed
        and "philips" in f.header.manufacturer
        and (f.b_value or 0) > 0
        and f.b_vector is None
        else f
        for f in frames
    ]


def philips_signal(frames: Sequence[Frame]) -> list[Frame]:
    """Return Philips MR slices rescaled to the signal, which the scanner's display scale is not.

    signal = (stored × slope + intercept) / (slope × scale slope): Chenevert et al., Transl Oncol
    2014;7(1):65, PMC3998685. Where these numbers change from slice to slice, slope and intercept
    alone make them comparable, and are kept.
    """
    settings = {(f.rescale, f.scale) for f in frames}
    if len(settings) != 1:
        return list(frames)
    (slope, intercept), scale = settings.pop()
    if not scale or not slope:
        return list(frames)
    signal = (1 / scale, intercept / (slope * scale))
    return [replace(f, rescale=signal) for f in frames]


def tell_apart(firsts: Sequence[Frame]) -> list[str]:
    """Return words for what differs between parts, given the first slice of each."""
    facts = [[plane_of(f) for f in firsts]]
    for name in dict.fromkeys(name for f in firsts for name, _ in f.traits):
        words = [dict(f.traits).get(name, "") for f in firsts]
        if name == "protocol":  # a digest
            words = [f"protocol {1 + list(dict.fromkeys(words)).index(one)}" for one in words]
        facts.append(words)
    telling = [words for words in facts if len(set(words)) > 1]
    names = [", ".join(filter(None, words)) for words in zip(*telling, strict=True)]
    return names or ["another angle"] * len(firsts)


def plane_of(frame: Frame) -> str:
    """Return sagittal, coronal or axial, whichever is nearest."""
    if frame.cosines is None:
        return "no place"
    row, column = np.reshape(frame.cosines, (2, 3))
    return ("sagittal", "coronal", "axial")[int(np.abs(np.cross(row, column)).argmax())]


def describe(folder: Path) -> str:
    """Say what a folder holds instead of scans."""
    counts: dict[str, int] = {}
    for _, _, files in os.walk(folder):
        for name in files:
            suffix = Path(name).suffix.lower() or "no suffix"
            counts[suffix] = counts.get(suffix, 0) + 1
    top = sorted(counts.items(), key=lambda item: -item[1])[:5]
    return ", ".join(f"{n} × {suffix}" for suffix, n in top) or "no files"


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
        f"{problem}; choose one by its number, UID or part of its description (--series), which "
        f"`medvision info` shows:\n{lines}"
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
