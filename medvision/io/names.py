"""What studies and their result files are called: short, unique, safe as file names.

Knows paths alone; opens nothing.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from medvision.io.nifti import is_nifti, nifti_stem

SUBJECT, SESSION = re.compile(r"sub-[0-9A-Za-z]+"), re.compile(r"ses-[0-9A-Za-z]+")


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Give each path the shortest name, out of its last parts, that no other path has.

    Paths that are the same, or that differ in case alone, are numbered: ``x``, ``x-2``.
    """
    parts = [name_parts(path) for path in paths]
    taken = Counter(mine[-depth:] for mine in set(parts) for depth in range(1, len(mine) + 1))
    names, seen = [], set()
    for mine in parts:
        depth = next((d for d in range(1, len(mine) + 1) if taken[mine[-d:]] == 1), len(mine))
        name = "_".join(mine[-depth:])
        unique, number = name, 2
        while unique.lower() in seen:  # names that differ in case alone are one file elsewhere
            unique, number = f"{name}-{number}", number + 1
        seen.add(unique.lower())
        names.append(unique)
    return names


def name_parts(path: Path) -> tuple[str, ...]:
    """Return the folders of a path and its stem, made safe for file names."""
    full = Path(os.path.abspath(path))  # a link is named as it is, not after what it leads to
    if is_nifti(full):
        stem = nifti_stem(full)
    else:
        numeric = full.suffix[1:].isdecimal()  # 1.2.840.10008 is a UID, not a file of kind .10008
        stem = full.name if full.is_dir() or numeric else full.stem
    parents = [part.removesuffix(".zip") for part in full.parent.parts[1:]]
    if SESSION.fullmatch(stem) and parents and SUBJECT.fullmatch(parents[-1]):
        stem = f"{parents.pop()}_{stem}"  # a session means nothing without its subject
    return tuple(safe_name(part) for part in (*parents, stem))


def safe_name(words: str) -> str:
    """Return words as a part of a file name that is safe everywhere."""
    safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in words).lstrip(".")
    return safe or "study"


def bids_folder(path: Path) -> Path | None:
    """Return the folder of the subject, or of its session, of a file in a BIDS tree.

    A file lies in one when its name starts with its subject, as its folders do (BIDS 1.10,
    "Filesystem structure"): ``sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz``.
    """
    if not path.name.startswith("sub-") or len(path.parts) < 3:
        return None
    home = path.parent.parent  # above anat, func, dwi …
    subject = home.parent if SESSION.fullmatch(home.name) else home
    inside = SUBJECT.fullmatch(subject.name) and path.name.startswith(f"{subject.name}_")
    return home if inside else None


def common_folder(paths: Sequence[Path]) -> Path:
    """Return the deepest folder that holds all of the files."""
    folders = {path.parent for path in paths}
    if len(folders) == 1:
        return folders.pop()
    if len({folder.is_absolute() for folder in folders}) > 1:
        folders = {Path(os.path.abspath(folder)) for folder in folders}
    return Path(os.path.commonpath(folders))
