"""What may hide beside the pixels of a DICOM image: comments, overlay bits, and bytes left over.

Comments and application data of JPEG, JPEG-LS and JPEG 2000 are blanked where they stand, so that
no offset changes. Pixels themselves are not touched. Knows nothing of headers that identify.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
from pydicom import Dataset
from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

from medvision.errors import DecodeError, OutputError

HTJ2K = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")
RLE = "1.2.840.10008.1.2.5"
NATIVE = {"PixelData": 0, "FloatPixelData": 32, "DoubleFloatPixelData": 64}  # bits of a value
JPEG_MARKER = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]", re.DOTALL)  # none stands in coded data
JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
JP2_TEXT = (b"xml ", b"uuid", b"uinf", b"jp2i")
Blanker: TypeAlias = Callable[[bytearray], None]

ITEM, END_OF_ITEMS = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"  # tags, PS3.5 A.4


def clean_pixel_bytes(data: Dataset) -> str:
    """Take out of an image's pixel data, in place, what is no pixel.

    Parameters
    ----------
    data : Dataset
        Whole, its overlays (groups 60xx) still there.

    Returns
    -------
    str
        What a person should know; empty where there is nothing to tell.

    Raises
    ------
    OutputError
        When an overlay lies in the bits of compressed pixels.
    DecodeError
        When nothing tells what is a pixel.
    """
    syntax = UID(str(data.file_meta.TransferSyntaxUID))
    if syntax.is_private or not syntax.is_transfer_syntax:
        raise DecodeError("Its transfer syntax is none of DICOM's.")
    inside = overlay_in_pixels(data)
    if not syntax.is_encapsulated:
        for keyword, bits in NATIVE.items():
            if keyword in data:
                cut_to_size(data, keyword, bits or count_of(data, "BitsAllocated", 8))
        if inside and "PixelData" in data:
            clear_unused_bits(data, "<" if syntax.is_little_endian else ">")
        return ""
    if inside:
        raise OutputError(
            "An overlay lies in unused bits of compressed pixels, where it cannot be taken out: "
            "decompress the file first."
        )
    blank = blanker_of(syntax)
    if "PixelData" in data:
        items = whole_items(pixel_bytes(data, "PixelData"))
        data["PixelData"].value = items if blank is None else blanked(items, blank)
    known = blank is not None or syntax == RLE
    return "" if known else "Its video may hold text beside its pictures, which stays."


def blanker_of(syntax: UID) -> Blanker | None:
    """Return the function that blanks a frame of a transfer syntax; None where none is known."""
    if syntax in (*JPEG2000TransferSyntaxes, *HTJ2K):
        return blank_jpeg2000
    return blank_jpeg if syntax in (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes) else None


def overlay_in_pixels(data: Dataset) -> bool:
    """Tell whether an overlay lies in the pixels' unused bits (PS3.3 C.9.2, retired)."""
    for group in {one.tag.group for one in data if one.tag.group & 0xFF00 == 0x6000}:
        position = data.get((group, 0x0102))
        apart = (group, 0x3000) in data and not (position is not None and position.value)
        if (group, 0x0010) in data and not apart:  # with rows it is an overlay
            return True
    return False


def count_of(data: Dataset, keyword: str, usual: int) -> int:
    """Return a whole number of a header, `usual` where it has none; another is a `DecodeError`."""
    try:
        found = int(data.get(keyword) or usual)
    except (TypeError, ValueError, OverflowError):
        found = -1
    if found < 0:
        raise DecodeError(f"Its {keyword} is no whole number from 0.")
    return found


def pixel_bytes(data: Dataset, keyword: str) -> bytes:
    """Return the bytes of an element; other values are a `DecodeError`."""
    found = data[keyword].value or b""
    if not isinstance(found, bytes):
        raise DecodeError(f"Its {keyword} is no pixel data.")
    return found


def cut_to_size(data: Dataset, keyword: str, bits: int) -> None:
    """Drop what follows the last pixel."""
    values = count_of(data, "Rows", 0) * count_of(data, "Columns", 0)
    values *= count_of(data, "SamplesPerPixel", 1) * count_of(data, "NumberOfFrames", 1)
    if "422" in str(data.get("PhotometricInterpretation", "")):
        values = values * 2 // 3
    size, found = -(-values * bits // 8), pixel_bytes(data, keyword)
    if values and len(found) > size:
        data[keyword].value = found[:size] + b"\0" * (size % 2)


def clear_unused_bits(data: Dataset, order: str) -> None:
    """Clear the bits above and below those that pixels are stored in."""
    allocated, stored, high = (
        count_of(data, keyword, 0) for keyword in ("BitsAllocated", "BitsStored", "HighBit")
    )
    if allocated not in (8, 16, 32):
        raise OutputError(f"An overlay lies in pixels of {allocated} bits: it cannot be taken out.")
    value = pixel_bytes(data, "PixelData")
    if not 0 < stored <= high + 1 <= allocated or len(value) % (allocated // 8):
        raise DecodeError(f"Pixels of {stored} bits up to bit {high} do not fit its pixel data.")
    mask = ((1 << stored) - 1) << (high + 1 - stored)
    whole = np.frombuffer(value, dtype=f"{order}u{allocated // 8}")
    data["PixelData"].value = (whole & whole.dtype.type(mask)).tobytes()


def blanked(value: bytes, blank: Blanker) -> bytes:
    """Return encapsulated pixel data with the bit stream of each frame blanked.

    A frame may be in several fragments; the next begins with a fragment that begins an image.
    """
    whole = bytearray(value)
    frames: list[list[slice]] = []
    for place in list(fragments_of(value))[1:]:  # the first is the table of offsets
        begins = value[place][:2] in (b"\xff\xd8", b"\xff\x4f") or value[place][:12] == JP2
        if begins or not frames:
            frames.append([])
        frames[-1].append(place)
    for places in frames:
        stream = bytearray(b"".join(value[place] for place in places))
        blank(stream)
        at = 0
        for place in places:
            size = place.stop - place.start
            whole[place] = stream[at : at + size]
            at += size
    return bytes(whole)


def fragments_of(value: bytes) -> Iterator[slice]:
    """Yield where the items of encapsulated pixel data lie (PS3.5 A.4)."""
    at = 0
    while value[at : at + 4] == ITEM:
        size = int.from_bytes(value[at + 4 : at + 8], "little")
        yield slice(at + 8, min(at + 8 + size, len(value)))
        at += 8 + size


def whole_items(value: bytes) -> bytes:
    """Return encapsulated pixel data without what follows its last item.

    Raises
    ------
    DecodeError
        When that item is cut short, or others follow that do not begin where it ends.
    """
    end = 0
    for place in fragments_of(value):
        if (
            int.from_bytes(value[place.start - 4 : place.start], "little")
            > place.stop - place.start
        ):
            raise DecodeError("Its PixelData is cut short.")
        end = place.stop
    if ITEM in value[end:].partition(END_OF_ITEMS)[0]:
        raise DecodeError("Its PixelData has bytes between its fragments.")
    return value[:end]


def blank_jpeg(stream: bytearray) -> None:
    """Blank comments and application data of a JPEG or JPEG-LS image, and what follows its end.

    JFIF, Adobe's and HP's color marks stay, as they say how colors are meant.
    """
    at = 0
    while found := JPEG_MARKER.search(stream, at):
        at, marker = found.end(), stream[found.start() + 1]
        if marker == 0xD9:  # the end
            stream[at:] = bytes(len(stream) - at)
        if marker in (0xD8, 0xD9):
            continue
        size = int.from_bytes(stream[at : at + 2])
        end = min(at + max(size, 2), len(stream))
        if marker == 0xFE or 0xE0 <= marker <= 0xEF:
            kept = at + 2 + kept_of(marker, bytes(stream[at + 2 : end]))
            stream[kept:end] = bytes(max(0, end - kept))
        at = end


def kept_of(marker: int, content: bytes) -> int:
    """Return how many bytes of an application segment say how colors are meant."""
    if marker == 0xE0 and content[:5] == b"JFIF\0":
        return 12  # the size of its thumbnail, and the thumbnail, are blanked
    if marker == 0xEE and content[:5] == b"Adobe":
        return 12
    return 5 if marker == 0xE8 and content[:4] == b"mrfx" else 0


def blank_jpeg2000(stream: bytearray) -> None:
    """Blank the comments of a JPEG 2000 codestream, of its tiles, and of boxes around it."""
    at = 0
    if stream[:12] == JP2:
        for kind, start, end in boxes_of(stream):
            if kind in JP2_TEXT:
                stream[start:end] = bytes(end - start)
            elif kind == b"jp2c":
                at = start
    if stream[at : at + 2] != b"\xff\x4f":
        return
    at += 2
    tile = 0
    while at + 4 <= len(stream) and stream[at] == 0xFF:
        marker, size = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4])
        if marker == 0x90:  # a tile-part begins
            length = int.from_bytes(stream[at + 6 : at + 10])
            tile = at + length if length else len(stream) - 2
        elif marker == 0x93:  # its data follow
            at = max(tile, at + 2)
            continue
        elif marker == 0xD9:
            stream[at + 2 :] = bytes(len(stream) - at - 2)
            return
        elif marker == 0x64 and size > 4:
            end = min(at + 2 + size, len(stream))
            stream[at + 6 : end] = b" " * (end - at - 6)
        at += 2 + max(size, 2)


def boxes_of(stream: bytearray) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of the boxes of a JP2 file (ISO 15444-1, Annex I)."""
    at = 0
    while at + 8 <= len(stream):
        size, head = int.from_bytes(stream[at : at + 4]), 8
        if size == 1:
            size, head = int.from_bytes(stream[at + 8 : at + 16]), 16
        end = len(stream) if size == 0 else min(at + max(size, head), len(stream))
        yield bytes(stream[at + 4 : at + 8]), min(at + head, end), end
        at = end
