"""Facts as JSON and back, for the index: a few known classes, and nothing that could run.

Knows nothing of the index or of files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from medvision.io.dicom.elements import PixelData
from medvision.io.dicom.headers import Coding, Frame, Header
from medvision.io.dicomdir import Reference
from medvision.study import SeriesRef, StudyRef

CLASSES = {
    c.__name__: c for c in (Frame, Header, Coding, PixelData, Reference, SeriesRef, StudyRef)
}
NAMES = {kind: [f.name for f in fields(kind)] for kind in CLASSES.values()}
LAYOUT = ";".join(f"{kind.__name__}:{','.join(names)}" for kind, names in NAMES.items())
PATH = "Path"
LEAVES = {type(None), str, int, float, bool}  # most of what is kept


def plain(value: Any, spell: Callable[[Path], str] = str) -> Any:
    """Return lists, dicts, texts and numbers for a value; `spell` writes its paths.

    Raises
    ------
    TypeError
        When it holds something else than known classes, tuples, texts and numbers.
    """
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (tuple, list)):
        return [item if type(item) in LEAVES else plain(item, spell) for item in value]
    if isinstance(value, Path):
        return {PATH: spell(value)}
    names = NAMES.get(type(value))
    if names is None:
        raise TypeError(f"{type(value).__name__} is not kept in the index.")
    inside = [getattr(value, name) for name in names]
    return {type(value).__name__: plain(inside, spell)}


def value_of(stored: Any, path_of: Callable[[str], Path] = Path) -> Any:
    """Return the value that `plain` wrote; lists become tuples.

    Raises
    ------
    KeyError, TypeError, ValueError
        When it is nothing that `plain` writes.
    """
    if isinstance(stored, list):
        return tuple([value_of(item, path_of) for item in stored])
    if isinstance(stored, dict):
        [(name, inside)] = stored.items()
        if name == PATH:
            return path_of(inside)
        return CLASSES[name](*[value_of(item, path_of) for item in inside])
    return stored


def plain_frames(frames: tuple[Frame, ...]) -> Any:
    """Return the slices of one file as lists, what they share once."""
    if not frames:
        return None
    slices = [plain([getattr(f, name) for name in NAMES[Frame][1:]]) for f in frames]
    return [plain(frames[0].header, lambda path: ""), slices]


def frames_of(stored: Any, path: Path) -> tuple[Frame, ...]:
    """Return the slices that `plain_frames` wrote, of the file at `path`."""
    if not stored:
        return ()
    header = value_of(stored[0], lambda _: path)
    return tuple([Frame(header, *value_of(one)) for one in stored[1]])
