"""What a compressed image says of itself in its first bytes, before anything is decoded.

Knows JPEG (ITU-T T.81 B.2.2), JPEG-LS (T.87 C.2) and JPEG 2000 with HTJ2K (T.800 A.5.1). A frame
whose own size is not the header's is refused before memory is taken for it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
J2K_START = b"\xff\x4f\xff\x51"
JP2_START = b"\0\0\0\x0cjP  "
SIZ = struct.Struct(">HHIIIIIIIIHB")  # from its length to the depth of the first component
MAX_BOXES = 1 << 16  # bytes of a JP2 file's boxes before its codestream
FRAME_MARKERS = frozenset([*range(0xC0, 0xD0), 0xF7]) - {0xC4, 0xC8, 0xCC}  # SOF and SOF55
LONE_MARKERS = frozenset([0x01, *range(0xD0, 0xD9)])  # without a length


@dataclass(frozen=True)
class Stream:
    """Size and depth of a compressed image."""

    rows: int
    columns: int
    samples: int  # values a pixel
    bits: int  # of a sample
    signed: bool


def read_stream(data: bytes) -> Stream:
    """Return what a compressed image says of itself.

    Raises
    ------
    ValueError
        When it is none, or its header is cut short.
    """
    if data[:2] == JPEG_START:
        return read_jpeg(data)
    at = data.find(J2K_START, 0, MAX_BOXES)
    if at < 0 or len(data) < at + 4 + SIZ.size:
        raise ValueError("no JPEG, JPEG-LS or JPEG 2000 image starts there")
    found = SIZ.unpack_from(data, at + 4)
    right, bottom, left, top, samples, depth = (*found[2:6], *found[10:12])
    return Stream(bottom - top, right - left, samples, (depth & 0x7F) + 1, depth > 0x7F)


def read_jpeg(data: bytes) -> Stream:
    """Return what the frame header of a JPEG or JPEG-LS image says."""
    at = 2
    while at + 10 <= len(data):
        if data[at] != 0xFF:
            raise ValueError("a JPEG marker is missing")
        marker = data[at + 1]
        if marker in FRAME_MARKERS:
            bits, rows, columns, samples = struct.unpack_from(">BHHB", data, at + 4)
            return Stream(rows, columns, samples, bits, False)
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in LONE_MARKERS:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise ValueError("its JPEG header is cut short")


def starts_frame(start: bytes) -> bool:
    """Tell whether a fragment that begins so begins a compressed image."""
    return start.startswith((b"\xff\xd8\xff", J2K_START, JP2_START))
