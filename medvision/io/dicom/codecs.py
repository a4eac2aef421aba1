"""Compressed frames to stored values: one decoder for each transfer syntax of PS3.5 10 and A.4.

JPEG, JPEG-LS, JPEG 2000 and HTJ2K are decoded by imagecodecs, which is the extra ``dicom``; run
lengths (RLE) need nothing. Knows nothing of files.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvision.errors import DecodeError, require_extra
from medvision.io.dicom.codestream import JPEG_END, Stream, read_stream
from medvision.io.dicom.elements import BIG_ENDIAN, DEFLATED, GE_PRIVATE, IMPLICIT
from medvision.io.dicom.headers import Coding

EXPLICIT = "1.2.840.10008.1.2.1"
ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
RLE = "1.2.840.10008.1.2.5"
NATIVE = {IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED, GE_PRIVATE, ENCAPSULATED_UNCOMPRESSED}
JPEG = "1.2.840.10008.1.2.4."
LOSSY_JPEG = {JPEG + end for end in ("50", "51", "53", "55")}
LOSSLESS_JPEG = {JPEG + "57", JPEG + "70"}
JPEG_2000 = {JPEG + end for end in ("90", "91", "201", "202", "203")}
LOSSY = LOSSY_JPEG | {JPEG + end for end in ("81", "91", "203")}
MAX_TAIL = 1024  # bytes that may follow the end of a JPEG image


def decode_frame(data: bytes, coding: Coding) -> tuple[NDArray[Any], int]:
    """Decode one compressed frame.

    Returns
    -------
    ndarray, (rows, columns) or (rows, columns, samples)
        Stored values. Colors of lossy JPEG, and those that JPEG 2000 transformed, are RGB.
    int
        How many bits of a value mean something.

    Raises
    ------
    DecodeError
        When the transfer syntax is unknown here, or the frame is damaged or of another size.
    MissingExtra
        When imagecodecs is needed and not installed.
    """
    check_syntax(coding)
    try:
        if coding.syntax == RLE:
            return decode_rle(data, coding), coding.stored
        stream = read_stream(data)
        check_stream(stream, coding)
        values = DECODERS[coding.syntax](data, coding)
    except (DecodeError, MemoryError):
        raise
    except Exception as error:  # decoders raise errors of many kinds
        # in the decoder's words when they are ours: others may be long, and say no more
        why = f": {error}" if type(error) is ValueError else ""
        raise DecodeError(
            f"{coding.path}: its pixel data ({coding.syntax_name}) is cut short or damaged, and "
            f"cannot be decoded{why}."
        ) from None
    shape = (coding.rows, coding.columns, *([coding.samples] if coding.samples > 1 else []))
    if values.shape != shape:
        raise DecodeError(f"{coding.path}: {shape} values were promised, {values.shape} decoded.")
    # a lossy image may overshoot BitsStored: what it holds is kept, as far as its own depth goes
    bits = stream.bits if coding.syntax in LOSSY else min(stream.bits, coding.stored)
    return values, bits


def check_syntax(coding: Coding) -> None:
    """Refuse a transfer syntax that nothing here decodes, or whose decoder is not installed."""
    if coding.syntax in NATIVE or coding.syntax == RLE:
        return
    if coding.syntax not in DECODERS:
        name = coding.syntax_name
        named = coding.syntax if name == coding.syntax else f"{name}, {coding.syntax}"
        raise DecodeError(
            f"{coding.path} is coded as {named}, which medvision does not decode. Convert it to "
            "an uncompressed file first, with dcmdjpeg, gdcmconv or the archive it comes from."
        )
    require_extra("imagecodecs", "dicom", f"{coding.path.name} ({coding.syntax_name})")


def check_stream(stream: Stream, coding: Coding) -> None:
    """Refuse a compressed image that is not of the size which its header promises."""
    found = (stream.rows, stream.columns, stream.samples)
    if found != (coding.rows, coding.columns, coding.samples):
        raise DecodeError(
            f"{coding.path}: the header promises {coding.columns} × {coding.rows} pixels of "
            f"{coding.samples} samples, the compressed image holds {stream.columns} × "
            f"{stream.rows} of {stream.samples}."
        )


def decode_jpeg(data: bytes, coding: Coding) -> NDArray[Any]:
    """Decode JPEG of 8 or 12 bits, or lossless of 2 to 16; colors of lossy JPEG become RGB.

    Whether they lie as luminance and chrominance is what PhotometricInterpretation says.
    """
    import imagecodecs

    # libjpeg fills up what is missing with gray, and raises nothing
    if data.rfind(JPEG_END, -MAX_TAIL) < 0:
        raise ValueError("it does not end as a JPEG image does")
    spaces: dict[str, Any] = {}
    if coding.samples == 3:
        ycc = coding.syntax not in LOSSLESS_JPEG and coding.photometric != "RGB"
        spaces = {"colorspace": "YCBCR" if ycc else "RGB", "outcolorspace": "RGB"}
    return np.asarray(imagecodecs.jpeg8_decode(data, **spaces))


def decode_jpeg_ls(data: bytes, coding: Coding) -> NDArray[Any]:
    """Decode JPEG-LS, lossless or near."""
    import imagecodecs

    return np.asarray(imagecodecs.jpegls_decode(data))


def decode_jpeg_2000(data: bytes, coding: Coding) -> NDArray[Any]:
    """Decode JPEG 2000 or HTJ2K; its own color transform is undone by the decoder."""
    import imagecodecs

    return np.asarray(imagecodecs.jpeg2k_decode(data))


def decode_rle(data: bytes, coding: Coding) -> NDArray[Any]:
    """Decode run lengths (PS3.5 G): each byte of each sample is a segment, the highest first."""
    pixels, width = coding.rows * coding.columns, coding.allocated // 8
    wanted = coding.samples * width
    if len(data) < 64 or coding.allocated % 8:
        raise ValueError("its header is not that of run lengths")
    count, *offsets = struct.unpack_from("<16I", data)
    if count != wanted:
        raise ValueError(f"{count} segments are there, {wanted} are needed")
    ends = [*offsets[1:count], len(data)]
    unpack = unpacker()
    planes = np.empty((coding.samples, pixels, width), np.uint8)
    for n, (start, end) in enumerate(zip(offsets, ends, strict=False)):
        sample, byte = divmod(n, width)
        planes[sample, :, width - 1 - byte] = unpack(data[start:end], pixels)
    values = planes.view(f"<u{width}").reshape(coding.samples, coding.rows, coding.columns)
    return values[0] if coding.samples == 1 else np.moveaxis(values, 0, -1)


def unpacker() -> Callable[[bytes, int], NDArray[np.uint8]]:
    """Return what unpacks a segment of run lengths: imagecodecs where it is installed."""
    if find_spec("imagecodecs") is None:
        return unpack_bits
    import imagecodecs

    def unpack(segment: bytes, size: int) -> NDArray[np.uint8]:
        return whole_segment(imagecodecs.packbits_decode(segment), size)

    return unpack


def unpack_bits(segment: bytes, size: int) -> NDArray[np.uint8]:
    """Unpack a segment of run lengths (PS3.5 G.3.2) to `size` bytes."""
    found, at = bytearray(), 0
    while at < len(segment) and len(found) < size:
        head = segment[at]
        if head < 128:
            found += segment[at + 1 : at + 2 + head]
            at += 2 + head
        elif head > 128:
            found += segment[at + 1 : at + 2] * (257 - head)
            at += 2
        else:
            at += 1
    return whole_segment(found, size)


def whole_segment(found: bytes | bytearray, size: int) -> NDArray[np.uint8]:
    """Return the first `size` bytes as an array, when there are so many."""
    if len(found) < size:
        raise ValueError(f"a segment holds {len(found)} of {size} bytes")
    return np.frombuffer(found, np.uint8, size)


DECODERS: dict[str, Callable[[bytes, Coding], NDArray[Any]]] = {
    **dict.fromkeys(LOSSY_JPEG | LOSSLESS_JPEG, decode_jpeg),
    **dict.fromkeys((JPEG + "80", JPEG + "81"), decode_jpeg_ls),
    **dict.fromkeys(JPEG_2000, decode_jpeg_2000),
}
