"""Find the studies in a folder of any mixture: NIfTI files, DICOM folders, pictures.

Reads names and magic numbers, never voxels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medvision.errors import SeriesError
from medvision.io.dicom import is_dicom
from medvision.io.dicom.series import NAMED_DICOM
from medvision.io.nifti import is_nifti, nifti_stem
from medvision.io.raster import is_raster

PLAIN_SUFFIXES = (
    ".txt",
    ".csv",
    ".json",
    ".tsv",
    ".md",
    ".xml",
    ".html",
    ".pdf",
    ".py",
    ".bval",
    ".bvec",
    ".yaml",
    ".yml",
    ".zip",
    ".gz",
    ".tar",
)
RESULTS_MARK = "run.json"  # a folder that holds one is a result, not a scan


@dataclass(frozen=True)
class StudyRef:
    """Where a study lies, and what its results will be called."""

    case_id: str
    path: Path  # a file, or a folder of DICOM slices


def find_studies(
    inputs: str | Path | Sequence[str | Path], skip: Sequence[Path] = ()
) -> list[StudyRef]:
    """Find every study in files and folders.

    Each NIfTI file, each picture, and each folder that directly holds DICOM files is one study.
    Hidden files, folders in `skip` and folders that hold earlier results are passed over.

    Parameters
    ----------
    inputs : path, or sequence of paths
    skip : sequence of Path

    Returns
    -------
    list of StudyRef
        In the order of `inputs`, sorted within a folder; ids are unique.

    Raises
    ------
    SeriesError
        When an input is not there, or a folder holds no scan.
    """
    roots = [Path(p) for p in ([inputs] if isinstance(inputs, (str, Path)) else inputs)]
    skipped = {p.resolve() for p in skip}
    found: dict[Path, Path] = {}  # resolved → as the user named it
    for root in roots:
        if not root.exists():
            raise SeriesError(f"No such file or folder: {root}.")
        paths = [root] if root.is_file() else list(walk(root, skipped))
        if not paths and root.resolve() in skipped:
            raise SeriesError(f"{root} is the folder for the results: name another for them.")
        if not paths and (root / RESULTS_MARK).exists():
            raise SeriesError(f"{root} is a folder of results ({RESULTS_MARK}): name the scans.")
        if not paths:
            raise SeriesError(
                f"No scan in {root}: it holds {describe(root)}. "
                "medvision reads DICOM, NIfTI (.nii, .nii.gz) and pictures (.png, .jpg)."
            )
        for path in paths:
            found.setdefault(path.resolve(), path)
    return name_studies(list(found.values()))


def walk(folder: Path, skipped: set[Path]) -> Iterator[Path]:
    """Yield the studies below a folder, each directory's own first."""
    for name, folders, files in os.walk(folder):
        here = Path(name)
        if here.resolve() in skipped or RESULTS_MARK in files:
            folders.clear()
            continue
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        visible = [here / f for f in sorted(files) if not f.startswith(".")]
        if any(may_be_dicom(path) for path in visible):
            yield here
        yield from (path for path in visible if is_nifti(path) or is_raster(path))


def may_be_dicom(path: Path) -> bool:
    """Tell whether a file is DICOM, or claims to be by its name."""
    suffix = path.suffix.lower()
    if suffix in NAMED_DICOM:
        return True
    if suffix in PLAIN_SUFFIXES or is_nifti(path) or is_raster(path):
        return False
    return is_dicom(path)


def describe(folder: Path) -> str:
    """Say what a folder holds instead of scans."""
    counts: dict[str, int] = {}
    for _, _, files in os.walk(folder):
        for name in files:
            suffix = Path(name).suffix.lower() or "no suffix"
            counts[suffix] = counts.get(suffix, 0) + 1
    top = sorted(counts.items(), key=lambda item: -item[1])[:5]
    return ", ".join(f"{n} × {suffix}" for suffix, n in top) or "no files"


def name_studies(paths: Sequence[Path]) -> list[StudyRef]:
    """Give each path the shortest name, out of its last parts, that no other path has."""
    parts = [name_parts(path) for path in paths]
    names = []
    for mine in parts:
        depth = next(
            d
            for d in range(1, len(mine) + 1)
            if not any(mine[-d:] == other[-d:] for other in parts if other != mine)
        )
        names.append("_".join(mine[-depth:]))
    refs, seen = [], set()
    for name, path in zip(names, paths, strict=True):
        unique, number = name, 2
        while unique.lower() in seen:  # names that differ in case alone are one file elsewhere
            unique, number = f"{name}-{number}", number + 1
        seen.add(unique.lower())
        refs.append(StudyRef(unique, path))
    return refs


def name_parts(path: Path) -> tuple[str, ...]:
    """Return the folders of a path and its stem, made safe for file names."""
    full = Path(os.path.abspath(path))  # a link is named as it is, not after what it leads to
    stem = nifti_stem(full) if is_nifti(full) else full.name if full.is_dir() else full.stem
    return tuple(safe_name(part) for part in (*full.parent.parts[1:], stem))


def safe_name(words: str) -> str:
    """Return words as a part of a file name that is safe everywhere."""
    safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in words).lstrip(".")
    return safe or "study"
