"""Voxels that lie bare in a file, packed or not: their room is checked before it is taken.

Nothing that a header promises is believed until the file can hold it. Knows nothing of headers.
"""

from __future__ import annotations

import bz2
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from isal import igzip, igzip_lib
from numpy.typing import NDArray

from medvision.errors import DecodeError
from medvision.room import check_room

GZIP_MAGIC = b"\x1f\x8b"
MAX_RATIO = 1032  # deflate's limit: https://zlib.net/zlib_tech.html, "Maximum Compression Factor"
MAX_UNPACKED = 16 << 30  # bytes of voxels that are taken from one compressed file
CHUNK = 1 << 22  # bytes unpacked at once
# isal's stubs call its error, a class, an instance
BAD_STREAM: Any = (OSError, EOFError, ValueError, zlib.error, igzip_lib.IsalError)


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
            with igzip.open(path) as unzipped:
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
        Bytes before the first voxel, counted after unpacking.
    shape : tuple of int
    dtype : numpy dtype
    packing : {"", "gzip", "zlib", "bzip2"}
        How the bytes are packed, if they are; ``"zlib"`` takes gzip too.
    start : int
        Byte of the file at which the packed bytes begin.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    packing: str = ""
    start: int = 0

    @property
    def size(self) -> int:
        """Bytes that the voxels take."""
        return math.prod(self.shape) * self.dtype.itemsize

    def check(self) -> None:
        """Raise `DecodeError` when the file cannot hold what its header promises."""
        promise = (
            f"its header promises {' × '.join(map(str, self.shape)) or 'no'} voxels of "
            f"{self.dtype.newbyteorder('=')}"
        )
        if not self.shape or min(self.shape) < 1 or self.offset < 0:
            raise DecodeError(f"{self.path} is damaged: {promise} at byte {self.offset}.")
        have, need = self.path.stat().st_size - self.start, self.offset + self.size
        if not self.packing:
            if need > have:
                raise DecodeError(
                    f"{self.path} is cut short: {promise}, {need} bytes with the header, "
                    f"and the file has {have}."
                )
        elif self.packing != "bzip2" and need > have * MAX_RATIO:
            raise DecodeError(
                f"{self.path} is cut short: {promise}, {need} bytes, more than {have} bytes of "
                "gzip can hold."
            )
        elif need > MAX_UNPACKED:
            raise DecodeError(
                f"{self.path} is too large: {promise}, {need} bytes; at most {MAX_UNPACKED} are "
                "unpacked. Unpack it first: an uncompressed file is read in place."
            )

    def read(self) -> NDArray[Any]:
        """Return the voxels in the machine's byte order.

        A plain file in that order is mapped, not copied; writing to the array changes neither the
        file nor what others see of it.

        Raises
        ------
        DecodeError
            When the file is cut short or damaged, its checksum included.
        """
        self.check()
        if self.packing:
            array = self._unpacked().view(self.dtype).reshape(self.shape, order="F")
        else:
            where = self.start + self.offset
            array = np.asarray(np.memmap(self.path, self.dtype, "c", where, self.shape, order="F"))
        native = self.dtype.newbyteorder("=")
        if array.dtype == native and array.flags.aligned:
            return array
        return array.astype(native, order="F")  # torch takes no other byte order

    def _unpacked(self) -> NDArray[np.uint8]:
        """Return the bytes of the voxels, and look at what follows: there lies the checksum."""
        check_room(self.path, self.size)
        filled, skip, cut = 0, self.offset, False
        try:
            buffer = np.empty(self.size, np.uint8)
            for block in self._blocks():
                if filled == self.size:
                    break
                part = np.frombuffer(block, np.uint8)[skip:][: self.size - filled]
                skip = max(0, skip - len(block))
                buffer[filled : filled + part.size] = part
                filled += part.size
        except EOFError:
            cut = True
        except MemoryError:
            raise DecodeError(
                f"{self.path} needs {self.size / 2**30:.1f} GiB of memory, which are not there."
            ) from None
        except BAD_STREAM as error:
            raise DecodeError(f"{self.path} is damaged: {error}.") from None
        if cut or filled < self.size:
            found = f"its {self.packing} stream has no end" if cut else f"{filled} are there"
            raise DecodeError(
                f"{self.path} is cut short: its header promises {self.size} bytes of voxels; "
                f"{found}."
            )
        return buffer

    def _blocks(self) -> Iterator[bytes]:
        """Yield the unpacked bytes, a few MiB at a time."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            if self.packing == "zlib":
                yield from _inflated(file)
                return
            with bz2.open(file) if self.packing == "bzip2" else igzip.open(file) as unpacked:
                yield from iter(lambda: unpacked.read(CHUNK), b"")


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    """Unpack a zlib or gzip stream block by block; none is larger than a chunk."""
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)
    while not inflater.eof:
        packed = inflater.unconsumed_tail or file.read(CHUNK)
        if not packed:
            raise EOFError
        yield inflater.decompress(packed, CHUNK)
