"""The stored pixels of one file, frame by frame: found, checked, decoded, cleared of other bits.

Nothing is allocated for more pixels than the file's bytes can hold. Knows nothing of what values
mean.
"""

from __future__ import annotations

import io
import math
from functools import cached_property
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from medvision.errors import DecodeError
from medvision.io.dicom.bits import clear_bits, spread_colors, swap_words, unpack_stream
from medvision.io.dicom.codecs import (
    ENCAPSULATED_UNCOMPRESSED,
    NATIVE,
    RLE,
    check_syntax,
    decode_frame,
)
from medvision.io.dicom.color import PALETTE, Palette, check_colors, to_rgb
from medvision.io.dicom.elements import (
    DEFLATED,
    GE_PRIVATE,
    MAGIC,
    MAGIC_AT,
    UNDEFINED,
    Parser,
    PixelData,
    inflate,
)
from medvision.io.dicom.fragments import Fragment, frame_fragments
from medvision.io.dicom.headers import Coding

FLOATS = {"float32": "f4", "float64": "f8"}
MIN_FRAGMENT = 8  # bytes: its tag and length
WIDTHS = (1, 8, 12, 16, 32, 64)  # bits of a stored value


class Pixels:
    """The pixels of one file.

    Parameters
    ----------
    coding : Coding

    Raises
    ------
    DecodeError
        When they are missing, cut short, or coded in a way that nothing here decodes.
    MissingExtra
        When they are compressed and the decoder is not installed.
    """

    def __init__(self, coding: Coding) -> None:
        self.coding = coding
        check_coding(coding)
        self.inflated = inflated_of(coding) if coding.syntax == DEFLATED else None
        self.size = coding.path.stat().st_size if self.inflated is None else len(self.inflated)
        check_size(coding, self.size)
        self.where = pixel_data_of(coding)
        self.frames: list[list[Fragment]] = []
        if self.where.length == UNDEFINED:
            with self.open() as file:
                self.frames = frame_fragments(
                    file,
                    coding.path,
                    self.where.start,
                    self.size,
                    coding.frames,
                    coding.offsets,
                )

    def open(self) -> BinaryIO:
        """Open what holds the pixels: the file, or what it was inflated to."""
        if self.inflated is not None:
            return io.BytesIO(self.inflated)
        return self.coding.path.open("rb", buffering=0)

    @property
    def is_plain(self) -> bool:
        """Whether a frame's bytes are an array of whole 16-bit numbers of the machine."""
        coding = self.coding
        return (
            not self.frames
            and (coding.allocated, coding.samples, self.where.kind) == (16, 1, "int")
            and self.order == "<"
        )

    @property
    def order(self) -> str:
        """Byte order of native pixels."""
        return ">" if self.coding.big_endian or self.coding.syntax == GE_PRIVATE else "<"

    def read(self, start: int, length: int, file: BinaryIO) -> bytearray:
        """Return bytes of the file."""
        found = bytearray(length)
        self.read_into(start, memoryview(found), file)
        return found

    def read_into(self, start: int, out: memoryview, file: BinaryIO) -> None:
        """Fill `out` with bytes of the file."""
        file.seek(start)
        while len(out):
            count = file.readinto(out)  # type: ignore[attr-defined]
            if not count:
                raise DecodeError(f"{self.coding.path} is cut short within its pixel data.")
            out = out[count:]

    def read_frame(self, number: int, out: NDArray[Any]) -> None:
        """Write a frame of whole numbers of 16 bits or fewer into `out`, (rows, columns).

        `out` is int16 or uint16, as the file's values are, and in one piece.
        """
        if not self.is_plain:
            found = self.stored(number)
            check_gray(found, self.coding)
            np.copyto(out, found, casting="unsafe")
            return
        coding = self.coding
        with self.open() as file:
            start = self.where.start + number * (frame_bits(coding) // 8)
            self.read_into(start, out.reshape(-1).view(np.uint8).data, file)
        clear_bits(out, coding.stored, coding.high_bit)

    def stored(self, number: int) -> NDArray[Any]:
        """Return the stored values of a frame, (rows, columns) or (rows, columns, samples)."""
        coding = self.coding
        with self.open() as file:
            if not self.frames:
                return self.native(self.native_bytes(number, file), number)
            data = b"".join(self.read(f.start, f.length, file) for f in self.frames[number])
        if coding.syntax == ENCAPSULATED_UNCOMPRESSED:
            if len(data) < math.ceil(frame_bits(coding) / 8):
                raise DecodeError(f"{coding.path}: frame {number + 1} is cut short.")
            return self.native(data, 0)
        values, bits = decode_frame(data, coding)
        kind = "i" if coding.signed else "u"
        values = values.astype(f"{kind}{max(values.itemsize, coding.allocated // 8)}")
        return clear_bits(values, bits, coding.high_bit if coding.syntax == RLE else bits - 1)

    def native_bytes(self, number: int, file: BinaryIO) -> bytearray:
        """Return the bytes in which a native frame lies."""
        bits = frame_bits(self.coding)
        first, end = number * bits // 8, math.ceil((number + 1) * bits / 8)
        if self.order == ">" and self.coding.allocated <= 8 and self.is_words:
            # bytes are swapped within words of 16 bits (PS3.5 8.2, A.3)
            low, high = first // 2 * 2, min((end + 1) // 2 * 2, self.size - self.where.start)
            words = swap_words(self.read(self.where.start + low, high - low, file))
            return words[first - low : end - low]
        return self.read(self.where.start + first, end - first, file)

    @cached_property
    def is_words(self) -> bool:
        """Whether pixel data is of the representation OW, words of 16 bits."""
        with self.open() as file:
            return bytes(self.read(self.where.start - 8, 2, file)) == b"OW"

    def native(self, data: bytes | bytearray, number: int) -> NDArray[Any]:
        """Return the stored values in a native frame's bytes."""
        coding = self.coding
        if self.where.kind in FLOATS:
            dtype = self.order + FLOATS[self.where.kind]
            return np.frombuffer(data, dtype).reshape(coding.rows, coding.columns)
        count, first_bit = frame_bits(coding) // coding.allocated, number * frame_bits(coding) % 8
        if coding.allocated % 8:
            values = unpack_stream(data, coding.allocated, first_bit, count)
        else:
            values = np.frombuffer(data, f"{self.order}u{coding.allocated // 8}", count)
        values = values.astype(f"={'i' if coding.signed else 'u'}{values.itemsize}")
        clear_bits(values, coding.stored, coding.high_bit)
        if is_subsampled(coding):
            return spread_colors(values).reshape(coding.rows, coding.columns, 3)
        if coding.samples == 1:
            return values.reshape(coding.rows, coding.columns)
        if coding.planar:
            return np.moveaxis(values.reshape(coding.samples, coding.rows, coding.columns), 0, -1)
        return values.reshape(coding.rows, coding.columns, coding.samples)

    def colors(self, number: int) -> NDArray[np.uint8]:
        """Return the colors of a frame, (rows, columns, 3): red, green, blue."""
        stored = self.stored(number)
        return to_rgb(stored, self.coding) if self.coding.samples > 1 else self.palette(stored)

    @cached_property
    def palette(self) -> Palette:
        """The colors of stored values, where they stand for colors."""
        return Palette(self.coding)


def pixel_data_of(coding: Coding) -> PixelData:
    """Return where the pixel data of a file lies."""
    if coding.where is None:
        raise DecodeError(f"{coding.path} has no pixel data.")
    return coding.where


def check_size(coding: Coding, size: int) -> None:
    """Refuse pixel data that its file of `size` bytes, or its length, is too short to hold."""
    where = pixel_data_of(coding)
    held = max(size - where.start, 0)
    if where.length == UNDEFINED:
        needed = coding.frames * MIN_FRAGMENT
    elif coding.syntax not in NATIVE:
        raise DecodeError(
            f"{coding.path} is damaged: it is said to be coded as {coding.syntax_name}, but its "
            "pixel data is not made of fragments."
        )
    else:
        held = min(where.length, held)
        needed = math.ceil(coding.frames * frame_bits(coding) / 8)
    if held < needed:
        raise DecodeError(
            f"{coding.path}: the header promises {coding.frames} × {coding.columns} × "
            f"{coding.rows} pixels, which take {needed} bytes or more; its pixel data holds {held}."
        )


def frame_bits(coding: Coding) -> int:
    """Return the bits of a native frame; one need not end where a byte does."""
    samples = 2 if is_subsampled(coding) else coding.samples
    return coding.rows * coding.columns * samples * coding.allocated


def is_subsampled(coding: Coding) -> bool:
    """Tell whether two neighbors share their color (native YBR_FULL_422, PS3.3 C.7.6.3.1.2)."""
    full = coding.rows * coding.columns * coding.frames * 3 * coding.allocated // 8
    return (
        coding.photometric == "YBR_FULL_422"
        and coding.syntax in NATIVE
        and pixel_data_of(coding).length < full
    )


def check_gray(stored: NDArray[Any], coding: Coding) -> None:
    """Refuse a frame that has colors where the file promises one value a pixel."""
    if stored.shape != (coding.rows, coding.columns):
        raise DecodeError(
            f"{coding.path}: SamplesPerPixel ({coding.samples}) and PhotometricInterpretation "
            f"({coding.photometric}) contradict each other."
        )


def check_coding(coding: Coding) -> None:
    """Refuse pixels of a kind that nothing here reads."""
    check_syntax(coding)
    check_colors(coding)
    kind = coding.where.kind if coding.where else "int"
    fits = coding.allocated in WIDTHS if kind == "int" else kind == f"float{coding.allocated}"
    if not fits or not 1 <= coding.stored <= coding.allocated:
        raise DecodeError(
            f"{coding.path}: its pixels are {coding.stored} of {coding.allocated} bits"
            f"{'' if kind == 'int' else f' of {kind}'}; medvision reads whole numbers of "
            f"{', '.join(map(str, WIDTHS))} bits and real ones of 32 and 64."
        )
    if (coding.samples > 1 or coding.photometric == PALETTE) and kind != "int":
        raise DecodeError(f"{coding.path}: colors cannot be real numbers.")


def inflated_of(coding: Coding) -> bytes:
    """Return the data set of a deflated file."""
    data = coding.path.read_bytes()
    at = MAGIC_AT + 4 if data[MAGIC_AT : MAGIC_AT + 4] == MAGIC else 0
    return inflate(coding.path, data[Parser(data, True, "<", True).group_two(at)[1] :])
