"""Bits of stored values: those that mean something, and those that lie across bytes (PS3.5 8.1.1).

Knows nothing of files or of compression.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def clear_bits(values: NDArray[Any], bits: int, high_bit: int) -> NDArray[Any]:
    """Keep, in place, the `bits` bits below and at `high_bit`; extend their sign where signed.

    What else lies in a value, such as an overlay, is no part of it.
    """
    width = 8 * values.itemsize
    if not bits - 1 <= high_bit < width:  # an impossible place: as most files have it
        high_bit = bits - 1
    if width > bits:
        np.left_shift(values, width - 1 - high_bit, out=values)
        np.right_shift(values, width - bits, out=values)
    return values


def unpack_stream(
    data: bytes | bytearray, width: int, first_bit: int, count: int
) -> NDArray[np.uint8 | np.uint16]:
    """Return `count` values of `width` bits that follow each other, the lowest bit first."""
    stream = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    stream = stream[first_bit : first_bit + count * width]
    if width == 1:
        return stream.copy()
    values = np.zeros(count, np.uint16)
    for bit in range(width):
        values |= stream[bit::width].astype(np.uint16) << bit
    return values


def swap_words(words: bytearray) -> bytearray:
    """Return bytes swapped two by two: those of big-endian words (PS3.5 8.2, A.3)."""
    even = len(words) // 2 * 2
    return bytearray(np.frombuffer(words, ">u2", even // 2).astype("<u2").tobytes()) + words[even:]


def spread_colors(values: NDArray[Any]) -> NDArray[Any]:
    """Return (luminance, blue, red) for each pixel of YBR_FULL_422: two share their colors."""
    pairs = values.reshape(-1, 4)  # Y1 Y2 Cb Cr
    return pairs[:, [0, 2, 3, 1, 2, 3]].reshape(-1, 3)
