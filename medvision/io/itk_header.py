"""What headers of NRRD and MetaImage have in common: their text, their grid, and data files.

Knows nothing of either format's words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvision.errors import DecodeError, GeometryError
from medvision.geometry import Affine, check_affine, flip_ras_lps
from medvision.io.raw import RawVoxels

MAX_HEADER = 1 << 20  # bytes
MAX_FILES = 100_000  # data files of one header
PATTERN = re.compile(r"[^%]*%(0?[1-9])?d[^%]*")  # of numbered files
GUESSED = "taken as LPS, as ITK does: left and right are a guess"
UNSIZED = "The file does not say how large its voxels are: nothing is told in mm or ml."
LPS_TO_RAS = flip_ras_lps(np.eye(4))


@dataclass(frozen=True)
class ItkHeader:
    """What a header says, its voxels not looked at.

    Parameters
    ----------
    voxels : tuple of RawVoxels
        One a data file; together they hold `shape` in order.
    shape : tuple of int
        Numbers along each axis, the fastest first: the grid's, and one of channels at most.
    channel_axis : int, optional
        Which of them is the channels'.
    channels : str
        As `SeriesInfo.channels`.
    affine : ndarray, (4, 4)
        Voxel index to RAS mm.
    spacing_known : bool
    modality : str
    fields : mapping of str to str
        The header's own words.
    notes : tuple of str
    """

    voxels: tuple[RawVoxels, ...]
    shape: tuple[int, ...]
    channel_axis: int | None
    channels: str
    affine: Affine
    spacing_known: bool = True
    modality: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def grid(self) -> tuple[int, int, int, int]:
        """Shape (C, I, J, K), a single number of channels included."""
        axes = list(self.shape)
        count = axes.pop(self.channel_axis) if self.channel_axis is not None else 1
        i, j, k = (*axes, 1)[:3]
        return count, i, j, k


def header_lines(path: Path) -> tuple[list[str], bytes]:
    """Return the first lines of a file, cut at its first MiB, and the bytes that they came from.

    Raises
    ------
    DecodeError
        When the file is empty or cannot be opened.
    """
    try:
        with path.open("rb") as file:
            head = file.read(MAX_HEADER)
    except OSError as error:
        raise DecodeError(f"{path} could not be opened: {error.strerror}.") from None
    if not head:
        raise DecodeError(f"{path} is empty (0 bytes).")
    return head.decode("utf-8", "replace").splitlines(), head


def data_file(path: Path, name: str) -> Path:
    """Return a data file that a header names, which must lie in the header's folder.

    Raises
    ------
    DecodeError
        When it lies elsewhere, or is not there.
    """
    parts = PureWindowsPath(name)  # parted at / and \
    if not name or parts.drive or parts.root or ".." in parts.parts or "\0" in name:
        raise DecodeError(
            f"{path} names {name!r} as its data: only files in the header's own folder are read."
        )
    found = path.parent.joinpath(*parts.parts)
    if not found.is_file():
        raise DecodeError(f"{path} has its voxels in {name}, which is not beside it.")
    return found


def numbered_files(path: Path, words: Sequence[str]) -> list[Path]:
    """Return the data files of ``slice%03d.raw first last step``.

    Raises
    ------
    DecodeError
        When the words are no such pattern, or a file is missing or elsewhere.
    """
    try:
        first, last, step = (int(word) for word in words[1:4])
        numbers = range(first, last + (1 if step > 0 else -1), step)
        if not 0 < len(numbers) <= MAX_FILES or not PATTERN.fullmatch(words[0]):
            raise ValueError
        names = [words[0] % number for number in numbers]
    except (ValueError, OverflowError):
        raise DecodeError(f"{path} names its data files in a way that is not understood.") from None
    return [data_file(path, name) for name in names]


def split_over(
    files: Sequence[Path],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    packing: str = "",
    offset: int = 0,
    start: int = 0,
) -> tuple[RawVoxels, ...]:
    """Return the voxels of each data file, checked; `offset` of −1 counts from the file's end.

    Raises
    ------
    DecodeError
        When the files cannot hold them, or not as many each.
    """
    total = math.prod(shape)
    if min(shape) < 1 or not files or total % len(files):
        raise DecodeError(
            f"{files[0] if files else 'The data'}: {len(files)} data files do not hold a grid of "
            f"{' × '.join(map(str, shape))}."
        )
    parts = []
    part = shape if len(files) == 1 else (total // len(files),)
    for file in files:
        one = RawVoxels(file, max(offset, 0), part, dtype, packing, start)
        if offset == -1 and not packing:
            one = RawVoxels(file, file.stat().st_size - start - one.size, part, dtype, "", start)
        one.check()
        parts.append(one)
    return tuple(parts)


def place(
    steps: NDArray[np.float64], origin: NDArray[np.float64], to_ras: NDArray[np.float64]
) -> Affine:
    """Return the affine of a grid of two or three axes.

    A flat grid gets a third axis of 1 mm along its normal.

    Parameters
    ----------
    steps : ndarray, (D, D') of 2 or 3 by 2 or 3
        Columns: the step along each voxel axis, mm.
    origin : ndarray, (D,)
        Center of the first voxel, mm.
    to_ras : ndarray, (4, 4)
        From the file's world to RAS.

    Raises
    ------
    GeometryError
        When it is not finite and invertible.
    """
    affine = np.eye(4)
    affine[: steps.shape[0], : steps.shape[1]] = steps
    affine[: len(origin), 3] = origin
    if steps.shape == (3, 2):
        normal = np.cross(steps[:, 0], steps[:, 1])
        length = np.linalg.norm(normal)
        if not 0 < length < np.inf:
            raise GeometryError("The two voxel axes make no plane.")
        affine[:3, 2] = normal / length
    return check_affine(to_ras @ affine)
