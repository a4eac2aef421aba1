"""Voxels that lie bare in a file, gzipped or not: their room is checked before it is taken.

Nothing that a header promises is believed until the file can hold it. Knows nothing of headers.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvision.errors import DecodeError

# isal (extra "speed") unzips about three times as fast, under the same names.
FAST = find_spec("isal") is not None
gzip: Any = import_module("isal.igzip" if FAST else "gzip")
gzip_error: type[Exception] = import_module("isal.isal_zlib" if FAST else "zlib").error

GZIP_MAGIC = b"\x1f\x8b"
MAX_RATIO = 1032  # deflate's limit: https://zlib.net/zlib_tech.html, "Maximum Compression Factor"
MAX_UNZIPPED = 16 << 30  # bytes of voxels that are taken from one gzip file
CHUNK = 1 << 22  # bytes unzipped at once
BAD_STREAM = (OSError, EOFError, ValueError, zlib.error, gzip_error)


def is_gzip(path: Path) -> bool:
    """Tell by its first bytes whether a file is gzip."""
    with path.open("rb") as file:
        return file.read(2) == GZIP_MAGIC


def first_bytes(path: Path, count: int) -> bytes:
    """Return up to `count` bytes of a file, unzipped where it is gzip.

    Raises
    ------
    DecodeError
        When the file is empty, cannot be opened, or its gzip stream is damaged.
    """
    try:
        if path.stat().st_size == 0:
            raise DecodeError(f"{path} is empty (0 bytes).")
        if is_gzip(path):
            with gzip.open(path) as unzipped:
                return bytes(unzipped.read(count))
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        if not path.is_file():
            raise DecodeError(f"{path} could not be opened: {error.strerror}.") from None
        raise DecodeError(f"{path} is cut short or damaged gzip.") from None
    except BAD_STREAM:
        raise DecodeError(f"{path} is cut short or damaged gzip.") from None


@dataclass(frozen=True)
class RawVoxels:
    """Where voxels lie: the first axis runs fastest.

    Parameters
    ----------
    path : Path
    offset : int
        Bytes before the first voxel, counted after unzipping.
    shape : tuple of int
    dtype : numpy dtype
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Bytes that the voxels take."""
        return math.prod(self.shape) * self.dtype.itemsize

    def check(self) -> None:
        """Raise `DecodeError` when the file cannot hold what its header promises."""
        promise = (
            f"its header promises {' × '.join(map(str, self.shape)) or 'no'} voxels of {self.dtype}"
        )
        if not self.shape or min(self.shape) < 1 or self.offset < 0:
            raise DecodeError(f"{self.path} is damaged: {promise} at byte {self.offset}.")
        have, need = self.path.stat().st_size, self.offset + self.size
        if not is_gzip(self.path):
            if need > have:
                raise DecodeError(
                    f"{self.path} is cut short: {promise}, {need} bytes with the header, "
                    f"and the file has {have}."
                )
        elif need > have * MAX_RATIO:
            raise DecodeError(
                f"{self.path} is cut short: {promise}, {need} bytes, more than {have} bytes of "
                "gzip can hold."
            )
        elif need > MAX_UNZIPPED:
            raise DecodeError(
                f"{self.path} is too large: {promise}, {need} bytes; at most {MAX_UNZIPPED} are "
                "unzipped. Unzip it first: an uncompressed file is read in place."
            )

    def read(self) -> NDArray[Any]:
        """Return the voxels in the machine's byte order.

        A plain file in that order is mapped, not copied; writing to the array changes neither the
        file nor what others see of it.

        Raises
        ------
        DecodeError
            When the file is cut short or damaged, its gzip checksum included.
        """
        self.check()
        if is_gzip(self.path):
            array = self._unzip().view(self.dtype).reshape(self.shape, order="F")
        else:
            array = np.asarray(
                np.memmap(self.path, self.dtype, "c", self.offset, self.shape, order="F")
            )
        native = self.dtype.newbyteorder("=")
        if array.dtype == native and array.flags.aligned:
            return array
        return array.astype(native, order="F")  # torch takes no other byte order

    def _unzip(self) -> NDArray[np.uint8]:
        """Return the bytes of the voxels; the stream is read to its end, where its checksum is."""
        try:
            buffer = np.empty(self.size, np.uint8)
            view, filled, left = buffer.data, 0, self.offset
            with gzip.open(self.path) as file:
                while left:
                    skipped = len(file.read(min(left, CHUNK)))
                    if not skipped:
                        raise EOFError
                    left -= skipped
                while filled < self.size:
                    count = file.readinto(view[filled : filled + CHUNK])
                    if not count:
                        raise EOFError
                    filled += count
                file.read(CHUNK)
        except EOFError:
            raise DecodeError(
                f"{self.path} is cut short: {filled} of the {self.size} bytes of voxels that its "
                "header promises are there."
            ) from None
        except MemoryError:
            raise DecodeError(
                f"{self.path} needs {self.size / 2**30:.1f} GiB of memory, which are not there."
            ) from None
        except BAD_STREAM as error:
            raise DecodeError(f"{self.path} is damaged: {error}.") from None
        return buffer
