"""Checkpoints of torch, read as data: a pickle that wants to run code is refused."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch

from medvision.errors import SpecError

WANTS = re.compile(r"GLOBAL ([\w.]+)|[Uu]nsupported class (?:<class .)?([\w.]+)")


class Inert:
    """What stands for an object that nobody asks for: it takes anything, and holds nothing.

    A checkpoint's log names types of numpy. The real ones make objects of whatever bytes a file
    gives them, pointers among these: reading it would end the process, or worse.
    """

    __slots__ = ()

    def __new__(cls, *_: object, **__: object) -> Self:
        """Return one, whatever it is made of."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Forget a state."""


def read_checkpoint(path: Path, inert: Sequence[str] = ()) -> Any:
    """Return what a checkpoint holds: tensors, numbers, texts, and lists and tables of these.

    Only what torch's own weights-only unpickler allows is made or called.

    Parameters
    ----------
    path : Path
    inert : sequence of str
        Full names that it may use besides, such as ``"numpy.dtype"``. Nothing of that name is
        looked up: an `Inert` is in the place of whatever the file makes with it.

    Raises
    ------
    SpecError
        When the file is missing, damaged or cut short, or names anything else: with its name.
    """
    if not path.is_file():
        raise SpecError(f"{path} does not exist.")
    try:
        with torch.serialization.safe_globals([(Inert, name) for name in inert]):
            return torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except Exception as error:  # the unpickler raises what it likes on a file it does not know
        if found := WANTS.search(str(error)):
            name = found[1] or found[2]
            raise SpecError(
                f"{path} wants to run code ({name}), and is not read: weights are data. Save them "
                "anew without it, from a program that you trust."
            ) from None
        raise SpecError(
            f"{path} is damaged, cut short or no checkpoint of torch ({type(error).__name__})."
        ) from None
