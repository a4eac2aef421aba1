"""The one exception tree: everything here is something the user can fix."""

from __future__ import annotations

from importlib.util import find_spec


class MedvisionError(Exception):
    """Anything the user can fix; its text says what was found and what would fit."""


class GeometryError(MedvisionError):
    """Slices or volumes do not share one grid, or a grid is not a grid."""


class DecodeError(MedvisionError):
    """A file could not be read as what it claims to be."""


class SeriesError(MedvisionError):
    """No scan was found, or several where one was asked for."""


class SpecError(MedvisionError):
    """A model, its settings or its input do not fit together."""


class CasesError(MedvisionError):
    """A cases.csv, or a file it names, is not usable."""


class TrainingError(MedvisionError):
    """Training cannot go on."""


class MemoryNeeded(MedvisionError):
    """A prediction would take more memory than it may have."""


class AuditError(MedvisionError):
    """Reports give the answer away, and nobody said that this is meant."""


class OutputError(MedvisionError):
    """A result could not be written, or would overwrite another."""


class MissingExtra(MedvisionError):
    """An optional dependency is not installed."""


def require_extra(package: str, extra: str, purpose: str) -> None:
    """Raise `MissingExtra`, naming the install line, when `package` is not installed.

    Examples
    --------
    >>> require_extra("numpy", "test", "This example")
    """
    if find_spec(package) is None:
        raise MissingExtra(f"{purpose} needs {package}: pip install 'medvision-toolkit[{extra}]'")
