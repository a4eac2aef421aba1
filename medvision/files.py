"""Files that are either whole or absent: atomic writing, and content hashes."""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from isal import igzip

PART = ".part-"  # begins a temporary name; the number of its process follows


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` only when the block succeeds.

    The temporary file keeps the suffixes of `path`, so writers that choose a format by suffix
    work, and it is flushed to the disk before the rename.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    ends = "".join(path.suffixes)
    handle, name = tempfile.mkstemp(prefix=f"{PART}{os.getpid()}-", suffix=ends, dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())  # mkstemp makes files private; results are as usual
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """Write `text` to `path` atomically."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes_of(path: Path) -> dict[str, str]:
    """Return the SHA-256 of a file, and of what is inside where it is zipped (``.gz``).

    Packed bytes also depend on who packed them: two files of the same content may differ.
    """
    found = {"sha256": sha256(path)}
    if path.suffix.lower() == ".gz":
        with igzip.open(path, "rb") as file:
            found["unpacked_sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def remove_parts(folder: Path, alive: Callable[[], Collection[int]]) -> None:
    """Remove the temporary files that ended processes have left.

    `alive` tells the numbers of the processes that write there; it is asked once they are listed,
    so that none that begins meanwhile loses its own.
    """
    parts = list(folder.glob(f"{PART}*"))
    writing = {*map(str, alive()), str(os.getpid())} if parts else set()
    for part in parts:
        if part.name.removeprefix(PART).partition("-")[0] not in writing:
            part.unlink(missing_ok=True)


@functools.cache  # asking sets it for a moment, which other threads would notice
def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
