"""Elements of a DICOM file: parsed once, kept as bytes, turned into numbers or text when asked.

A reader of slices needs some sixty elements of files that hold hundreds, from thousands of files:
this parser keeps the wanted ones and jumps over the rest. It takes explicit and implicit,
little and big endian and deflated files (PS3.5 7, PS3.10 7), and believes no length before the
bytes are there. Knows nothing of what the elements mean.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from stat import S_ISREG
from typing import Any

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR, tag_for_keyword

from medvision.errors import DecodeError
from medvision.io.dicom.wanted import PRIVATE_VRS, WANTED

MAGIC_AT, MAGIC = 128, b"DICM"
DICOMDIR_CLASS = re.compile(rb"1\.2\.840\.10008\.1\.3\.10(?![\d.])")
IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
GE_PRIVATE = "1.2.840.113619.5.2"  # implicit little endian, pixels big endian
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
CHARSET = 0x00080005
FIRST_PIXEL_TAG = 0x7FE00008
PIXEL_TAGS = {0x7FE00010: "int", 0x7FE00008: "float32", 0x7FE00009: "float64"}
FIRST_READ = 1 << 15  # bytes; most headers fit
MAX_HEADER = 1 << 29  # bytes: a header beyond 512 MB is none
MAX_INFLATED = 1 << 30  # bytes
MAX_DEPTH = 12  # sequences inside sequences
SHORT_VRS = set(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
LONG_VRS = set(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
HEADS = {order: struct.Struct(order + "HH2sH") for order in "<>"}  # group, element, VR, length
LENGTHS = {order: struct.Struct(order + "I") for order in "<>"}
STRUCTS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "AT": "HH"}


def tag_of(name: str | int) -> int:
    """Return the tag of a keyword."""
    return name if isinstance(name, int) else TAGS[name]


TAGS = {name: int(tag_for_keyword(name) or 0) for name in WANTED}
VRS = {tag: dictionary_VR(tag) for tag in TAGS.values()} | PRIVATE_VRS
SEQUENCES = {tag for tag, vr in VRS.items() if vr == "SQ"}


class NeedMore(Exception):
    """The bytes at hand end before an element does."""

    def __init__(self, end: int) -> None:
        self.end = end


@dataclass(frozen=True)
class PixelData:
    """Where the pixel data of a file lies."""

    kind: str  # int, float32 or float64
    start: int  # byte of the file (of the inflated file where it is deflated)
    length: int  # bytes; UNDEFINED where it is cut into fragments


@dataclass
class Elements:
    """The wanted elements of a file, or of an item of a sequence."""

    path: Path
    values: dict[int, Any] = field(default_factory=dict)  # (VR, bytes), or items
    big_endian: bool = False
    charset: tuple[str, ...] = ()
    syntax: str = IMPLICIT  # UID of the transfer syntax
    pixel_data: PixelData | None = None

    def __contains__(self, name: str | int) -> bool:
        return tag_of(name) in self.values

    def raw(self, name: str | int) -> tuple[str, bytes]:
        """Return the VR and the bytes of an element; empty when absent or a sequence."""
        found = self.values.get(tag_of(name))
        return found if isinstance(found, tuple) else ("", b"")

    def items(self, name: str | int) -> list[Elements]:
        """Return the items of a sequence; none when absent."""
        found = self.values.get(tag_of(name))
        return found if isinstance(found, list) else []

    def text(self, name: str | int) -> str:
        """Return an element as stripped text, empty when absent."""
        return self.decoded(self.raw(name)[1])

    def texts(self, name: str | int) -> tuple[str, ...]:
        """Return the values of an element with several, stripped."""
        whole = self.text(name)
        return tuple(part.strip() for part in whole.split("\\")) if whole else ()

    def decoded(self, value: bytes) -> str:
        """Return bytes as text in the file's character set; what does not fit it, as Latin-1."""
        if value.isascii():
            return value.decode("ascii").strip(" \0\t\r\n")
        try:
            text = decode_bytes(value, convert_encodings(list(self.charset)), set())
        except Exception:  # an unknown or wrong character set
            text = value.decode("latin-1")
        return str(text).strip(" \0\t\r\n")

    def whole(self, name: str | int) -> int | None:
        """Return the first value of an element as an integer, None when absent."""
        found = self.numbers(name)
        return None if found is None else int(found[0])

    def first(self, name: str | int) -> float | None:
        """Return the first value of an element, None when absent."""
        found = self.numbers(name)
        return None if found is None else found[0]

    def numbers(self, name: str | int, count: int = 0) -> tuple[float, ...] | None:
        """Return an element as `count` finite numbers (0: any), None when absent or empty.

        Raises
        ------
        DecodeError
            When its value is something else.
        """
        vr, value = self.raw(name)
        if not value:
            return None
        tag = tag_of(name)
        try:
            found = self.unpacked(VRS.get(tag, vr) if vr in ("", "UN") else vr, value)
        except (ValueError, struct.error, UnicodeDecodeError):
            raise DecodeError(f"{self.path}: {label(tag)} is not a number.") from None
        if not found:
            return None
        if not all(map(math.isfinite, found)) or (count and len(found) != count):
            what = f"{count} numbers" if count else "finite numbers"
            raise DecodeError(f"{self.path}: {label(tag)} must be {what}; found {found[:6]}.")
        return found

    def unpacked(self, vr: str, value: bytes) -> tuple[float, ...]:
        """Return the numbers in bytes of a value representation."""
        if vr == "US or SS":
            vr = "SS" if self.first("PixelRepresentation") else "US"
        code = STRUCTS.get(vr)
        if code is None:
            stripped = value.strip(b" \0")
            return tuple(float(part) for part in stripped.split(b"\\")) if stripped else ()
        size = struct.calcsize("<" + code)
        count, rest = divmod(len(value), size)
        if rest:
            raise ValueError
        order = ">" if self.big_endian else "<"
        if vr == "AT":  # group and element, each in the file's byte order
            pairs = struct.iter_unpack(f"{order}{code}", value)
            return tuple(group << 16 | number for group, number in pairs)
        return struct.unpack(f"{order}{count}{code}", value)


def label(tag: int) -> str:
    """Return the keyword of a tag, or its number where it is private."""
    known = next((name for name, t in TAGS.items() if t == tag), "")
    return known or f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def is_dicom(path: Path) -> bool:
    """Tell by its content whether a file is DICOM; an index of files (DICOMDIR) is none."""
    start = start_of(path)
    return looks_like_dicom(start) and not DICOMDIR_CLASS.search(start)


def is_dicomdir(path: Path) -> bool:
    """Tell by its content whether a file is an index of DICOM files."""
    start = start_of(path)
    return start[MAGIC_AT : MAGIC_AT + 4] == MAGIC and bool(DICOMDIR_CLASS.search(start))


def start_of(path: Path) -> bytes:
    """Return the first bytes of a file; none when it cannot be opened, or is a pipe or device."""
    try:
        if not path.is_file():  # opening a pipe would wait for its writer
            return b""
        with path.open("rb") as file:
            return file.read(512)
    except OSError:
        return b""


def looks_like_dicom(start: bytes) -> bool:
    """Tell from the first bytes of a file whether it is DICOM, with its preamble or without."""
    if start[MAGIC_AT : MAGIC_AT + 4] == MAGIC:
        return True
    if len(start) < 16 or start[:2] not in (b"\x02\x00", b"\x08\x00"):
        return False
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    length = struct.unpack_from("<H" if explicit else "<I", start, 6 if explicit else 4)[0]
    return start[3] == 0 and length <= 256 and b"1.2.840.10008." in start


def read_elements(path: Path) -> Elements:
    """Read the wanted elements of a file, and where its pixel data lies.

    Raises
    ------
    DecodeError
        When the file is no DICOM file, or cut short before its pixel data.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DecodeError(f"{path} cannot be opened: {error.strerror}.") from None
    if not S_ISREG(status.st_mode):
        raise DecodeError(f"{path} is no file that can be read, but a pipe, a device or a folder.")
    size = status.st_size
    with path.open("rb") as file:
        start = file.read(FIRST_READ)
        while True:
            try:
                return parse(path, start, len(start) >= size)
            except NeedMore as need:
                if need.end > size or len(start) >= size:  # the latter where it is deflated
                    raise DecodeError(
                        f"{path} is cut short or damaged: an element of its header ends at byte "
                        f"{need.end}, after the end of what it holds ({size} bytes)."
                    ) from None
                if need.end > MAX_HEADER:
                    raise DecodeError(f"{path}: its header claims {need.end} bytes.") from None
                start += file.read(max(need.end - len(start), len(start)))


def parse(path: Path, data: bytes, complete: bool) -> Elements:
    """Parse the start of a file; `complete` says that it is all of it."""
    meta: dict[int, bytes] = {}
    if data[MAGIC_AT : MAGIC_AT + 4] == MAGIC:
        at = MAGIC_AT + 4
    elif looks_like_dicom(data):
        at = 0
    elif not data:
        raise DecodeError(f"{path} is empty (0 bytes).")
    else:
        raise DecodeError(
            f"{path} is no DICOM file: it holds {path.stat().st_size} bytes without a DICOM header."
        )
    if data[at : at + 2] == b"\x02\x00":
        meta, at = Parser(data, True, "<", complete).group_two(at)
    uid = meta.get(0x00020010, b"").decode("ascii", "replace").strip(" \0")
    elements = Elements(path, syntax=uid or IMPLICIT, big_endian=uid == BIG_ENDIAN)
    if uid == DEFLATED:
        data, at, complete = inflate(path, path.read_bytes()[at:]), 0, True
    vr = data[at + 4 : at + 6]
    explicit = vr.isalpha() and vr.isupper()  # as it is: some files do not keep their word
    order = ">" if elements.big_endian else "<"
    Parser(data, explicit, order, complete).dataset(elements, at, None, 0)
    return elements


def inflate(path: Path, data: bytes) -> bytes:
    """Return the data set of a deflated file (PS3.5 A.5), up to a limit."""
    try:
        found = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, MAX_INFLATED)
    except zlib.error:
        raise DecodeError(f"{path} is cut short or damaged: it cannot be inflated.") from None
    if len(found) == MAX_INFLATED:
        raise DecodeError(f"{path} inflates to more than {MAX_INFLATED >> 20} MB.")
    return found


@dataclass
class Parser:
    """Walks through the elements of a buffer."""

    data: bytes
    explicit: bool
    order: str  # "<" or ">"
    complete: bool  # whether the file ends where the buffer does
    at: int = 0  # where the last sequence ended

    def group_two(self, at: int) -> tuple[dict[int, bytes], int]:
        """Return the file meta information (PS3.10 7.1), and where it ends."""
        found: dict[int, bytes] = {}
        while self.data[at : at + 2] == b"\x02\x00":
            tag, _, start, length = self.element(at)
            if length == UNDEFINED:
                break
            found[tag] = self.value(start, length)
            at = start + length
        return found, at

    def element(self, at: int) -> tuple[int, bytes, int, int]:
        """Return tag, VR, start of the value and its length."""
        if at + 8 > len(self.data):
            raise NeedMore(at + 8)
        group, number, vr, length = HEADS[self.order].unpack_from(self.data, at)
        tag = group << 16 | number
        if self.explicit and group != 0xFFFE:
            if vr in SHORT_VRS:  # most, so they are asked for first
                return tag, vr, at + 8, length
            if vr in LONG_VRS:
                if at + 12 > len(self.data):
                    raise NeedMore(at + 12)
                return tag, vr, at + 12, LENGTHS[self.order].unpack_from(self.data, at + 8)[0]
            if vr.isalpha() and vr.isupper():
                return tag, vr, at + 8, length
        # implicit, perhaps among explicit ones
        return tag, b"", at + 8, LENGTHS[self.order].unpack_from(self.data, at + 4)[0]

    def value(self, start: int, length: int) -> bytes:
        """Return a value, when it is there."""
        if start + length > len(self.data):
            raise NeedMore(start + length)
        return self.data[start : start + length]

    def dataset(self, into: Elements, at: int, end: int | None, depth: int) -> int:
        """Fill in the wanted elements from `at` on; return where the data set ends.

        It ends at `end`, or at its delimiter where that is None, or at the pixel data.
        """
        if depth > MAX_DEPTH:
            raise DecodeError(f"{into.path} is damaged: {depth} sequences inside sequences.")
        while end is None or at + 8 <= end:
            if depth == 0 and self.complete and at + 8 > len(self.data):
                return at
            tag, vr, start, length = self.element(at)
            if tag in (ITEM_END, SEQUENCE_END):
                return start
            if depth == 0 and tag >= FIRST_PIXEL_TAG:
                if tag in PIXEL_TAGS:
                    into.pixel_data = PixelData(PIXEL_TAGS[tag], start, length)
                return start
            if length == UNDEFINED:
                at = self.undefined(into, tag, vr, start, depth)
                continue
            at = start + length
            if at > len(self.data):
                raise NeedMore(at)
            if tag not in VRS:
                continue
            if vr == b"SQ" or (tag in SEQUENCES and vr in (b"", b"UN")):
                inner = self if vr != b"UN" else replace(self, explicit=False, order="<")
                into.values[tag] = list(inner.items(into, start, at, depth))
            else:
                into.values[tag] = (vr.decode("ascii"), self.data[start:at])
                if tag == CHARSET:
                    into.charset = into.texts(CHARSET)
        return end

    def undefined(self, into: Elements, tag: int, vr: bytes, start: int, depth: int) -> int:
        """Walk through a value of undefined length, and return where it ends."""
        if vr in (b"OB", b"OW"):  # fragments, of an icon perhaps
            return self.skip_fragments(start)
        inner = self if vr != b"UN" else replace(self, explicit=False, order="<")  # PS3.5 6.2.2
        found = list(inner.items(into, start, None, depth))
        if tag in VRS:
            into.values[tag] = found
        return inner.at

    def items(self, parent: Elements, at: int, end: int | None, depth: int) -> Iterator[Elements]:
        """Yield the items of a sequence; afterwards `self.at` is where it ended."""
        while end is None or at + 8 <= end:
            tag, _, start, length = self.element(at)
            if tag == SEQUENCE_END:
                at = start
                break
            if tag != ITEM:
                raise DecodeError(f"{parent.path} is damaged: a sequence holds something else.")
            item = Elements(parent.path, {}, parent.big_endian, parent.charset, parent.syntax)
            stop = None if length == UNDEFINED else start + length
            if stop is not None and stop > len(self.data):
                raise NeedMore(stop)
            ended = self.dataset(item, start, stop, depth + 1)
            at = ended if stop is None else stop
            yield item
        self.at = at

    def skip_fragments(self, at: int) -> int:
        """Return where encapsulated data ends."""
        while True:
            tag, _, start, length = self.element(at)
            if tag == SEQUENCE_END or length == UNDEFINED:
                return start
            at = start + length
            if at > len(self.data):
                raise NeedMore(at)
