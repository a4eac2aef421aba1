"""Why a study has no result: what a user is told, and of which kind it is."""

from __future__ import annotations

import errno

import torch

from medvision.errors import (
    DecodeError,
    GeometryError,
    MedvisionError,
    MissingExtra,
    SeriesError,
    SpecError,
)
from medvision.outputs.table import MODEL, OTHER, SERIES, UNREADABLE

NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # no other study could be written either


def reason_of(error: Exception) -> str:
    """Return what a user is told; the text of a foreign error may hold a name, so it is not."""
    if isinstance(error, MedvisionError):
        return str(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return "Out of memory: crop the scan with --box, or use a machine with more."
    return f"Unexpected {type(error).__name__}: run again with --debug, and please report it."


def failure_of(error: Exception, step: str) -> str:
    """Return the kind of a failure, one of `medvision.outputs.table.FAILURES`.

    Parameters
    ----------
    error : Exception
    step : str
        In which it happened: ``"read"``, ``"prepare"``, ``"predict"``, ``"finish"``, ``"write"``.
    """
    if isinstance(error, SeriesError):
        return SERIES
    if isinstance(error, SpecError):
        return MODEL
    if step == "read" and isinstance(error, DecodeError | GeometryError | MissingExtra):
        return UNREADABLE
    return OTHER


def nowhere_to_write(error: BaseException) -> bool:
    """Tell whether a study could not be written because nothing can be."""
    cause = error if isinstance(error, OSError) else error.__context__
    return isinstance(cause, OSError) and cause.errno in NO_PLACE
