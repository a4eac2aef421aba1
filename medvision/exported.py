"""A folder that `medvision export` wrote, read as a model folder.

Knows nothing of how it is written.
"""

from __future__ import annotations

import hashlib
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
        files, divisor = about["files"], about["divisor"]
        fits = all(isinstance(f, str) and Path(f).name == f for f in files) and files
        if not fits or not all(type(one) is int for one in divisor):
            raise ValueError("files and divisor are lists of names and numbers")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SpecError(f"{path} cannot be read: {error}.") from None
    return dict(about)


def load_exported(folder: Path) -> list[nn.Module]:
    """Return the members of an exported model, ready to run on the CPU."""
    about = read_about(folder)
    divisor = tuple(about["divisor"])
    return [ExportedNetwork(folder / name, divisor) for name in about["files"]]


def exported_hash(folder: Path) -> str:
    """Return one SHA-256 over the members' files."""
    paths = [part for name in read_about(folder)["files"] for part in parts_of(folder / name)]
    for path in paths:
        if not path.is_file():
            raise SpecError(f"{folder} is no whole exported model: {path.name} is missing.")
    return hashlib.sha256("".join(map(sha256, paths)).encode()).hexdigest()


def parts_of(path: Path) -> list[Path]:
    """Return the files that a member is made of: IR has its weights beside it."""
    return [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
