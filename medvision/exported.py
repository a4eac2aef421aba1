"""A folder that `medvision export` wrote, read as a model folder.

Knows nothing of how it is written.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from torch import nn

from medvision.errors import SpecError
from medvision.files import sha256
from medvision.from_json import parse_json
from medvision.models.exported import ExportedNetwork

PORTABLE = "portable.json"


def read_about(folder: Path) -> dict[str, Any]:
    """Return what portable.json says; a `SpecError` when it is missing or damaged."""
    path = folder / PORTABLE
    if not path.is_file():
        raise SpecError(f"{folder} is no exported model: {PORTABLE} is missing.")
    try:
        about = parse_json(path.read_text(encoding="utf-8"))
        files, divisor, sums = about["files"], about["divisor"], about["sha256"]
        fits = all(isinstance(f, str) and Path(f).name == f for f in files) and files
        fits = fits and len(set(files)) == len(files)
        if not fits or not all(type(one) is int for one in divisor) or not isinstance(sums, dict):
            raise ValueError("files are different names, divisor numbers, sha256 a table")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SpecError(f"{path} cannot be read: {error}.") from None
    return dict(about)


def load_exported(folder: Path) -> list[nn.Module]:
    """Return the members of an exported model, ready to run on the CPU.

    OpenVINO parses them with native code that nobody here checks: it is shown no file that is not
    as it was written.

    Raises
    ------
    SpecError
        When a file is missing or has changed.
    """
    about = read_about(folder)
    for path in paths_of(folder, about):
        if sha256(path) != about["sha256"].get(path.name):
            raise SpecError(
                f"{path} is damaged or not what was exported: its SHA-256 is not that of "
                f"{PORTABLE}. Export the model again, or copy the folder again."
            )
    divisor = tuple(about["divisor"])
    return [ExportedNetwork(folder / name, divisor) for name in about["files"]]


def exported_hash(folder: Path) -> str:
    """Return one SHA-256 over the members' files."""
    paths = paths_of(folder, read_about(folder))
    return hashlib.sha256("".join(map(sha256, paths)).encode()).hexdigest()


def paths_of(folder: Path, about: dict[str, Any]) -> list[Path]:
    """Return the members' files; one that is not there is a `SpecError`."""
    paths = [folder / part for name in about["files"] for part in parts_of(name)]
    for path in paths:
        if not os.path.isfile(path):  # whatever is in the name
            raise SpecError(f"{folder} is no whole exported model: {path.name:.80} is missing.")
    return paths


def parts_of(name: str) -> list[str]:
    """Return the files that a member is made of: IR has its weights beside it."""
    return [name, f"{name.removesuffix('.xml')}.bin"] if name.endswith(".xml") else [name]
