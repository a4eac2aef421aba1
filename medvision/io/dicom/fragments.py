"""Which bytes of a file hold which frame, where pixel data is cut into fragments (PS3.5 A.4).

Knows nothing of how a frame is decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from medvision.errors import DecodeError
from medvision.io.dicom.codestream import starts_frame
from medvision.io.dicom.elements import ITEM, SEQUENCE_END

HEAD = struct.Struct("<HHI")  # group, element, length: encapsulated data is little endian
PEEK = 8  # bytes of a fragment that tell whether a frame starts in it


@dataclass(frozen=True)
class Fragment:
    """One piece of encapsulated pixel data."""

    item: int  # byte of the file where its item begins
    length: int  # bytes
    starts: bool  # whether it begins with the first bytes of a compressed image

    @property
    def start(self) -> int:
        """Byte of the file where its content begins."""
        return self.item + HEAD.size


def frame_fragments(
    file: BinaryIO, path: Path, start: int, size: int, frames: int, extended: tuple[int, ...]
) -> list[list[Fragment]]:
    """Return the fragments of each frame.

    Parameters
    ----------
    file : binary file
    path : Path
        How errors name it.
    start : int
        Byte where the pixel data begins.
    size : int
        Bytes of the file.
    frames : int
        Frames that the header promises.
    extended : tuple of int
        Extended Offset Table (PS3.3 C.7.6.3.1.8), empty where there is none.

    Raises
    ------
    DecodeError
        When fragments are cut short, or cannot be shared out to that many frames.
    """
    table, found = read_fragments(file, path, start, size)
    if frames == 1 and found:
        return [found]
    if len(found) == frames:
        return [[fragment] for fragment in found]
    for offsets in (extended, struct.unpack_from(f"<{len(table) // 4}I", table)):
        places = [found[0].item + offset for offset in offsets] if found else []
        firsts = [n for n, f in enumerate(found) if f.item in set(places)]
        if len(places) == frames == len(firsts) and firsts[0] == 0:
            return shared_out(found, firsts)
    firsts = [n for n, fragment in enumerate(found) if fragment.starts]
    if len(firsts) == frames and firsts[0] == 0:
        return shared_out(found, firsts)
    raise DecodeError(
        f"{path}: the header promises {frames} frames, its pixel data holds {len(found)} fragments "
        f"in which {len(firsts)} images start."
    )


def shared_out(found: Sequence[Fragment], firsts: Sequence[int]) -> list[list[Fragment]]:
    """Return fragments by frame, given the first fragment of each."""
    ends = [*firsts[1:], len(found)]
    return [list(found[a:b]) for a, b in zip(firsts, ends, strict=True)]


def read_fragments(
    file: BinaryIO, path: Path, start: int, size: int
) -> tuple[bytes, list[Fragment]]:
    """Return the Basic Offset Table and the fragments that follow it."""
    table: bytes | None = None
    found: list[Fragment] = []
    at = start
    while at + HEAD.size <= size:
        file.seek(at)
        head = file.read(HEAD.size + PEEK)
        group, element, length = HEAD.unpack_from(head)
        tag = group << 16 | element
        if tag == SEQUENCE_END:
            break
        if tag != ITEM:
            raise DecodeError(f"{path} is damaged: its pixel data is not made of fragments.")
        if at + HEAD.size + length > size:
            raise DecodeError(
                f"{path} is cut short: a fragment of its pixel data ends at byte "
                f"{at + HEAD.size + length}, the file at byte {size}."
            )
        if table is None:
            file.seek(at + HEAD.size)
            table = file.read(length)
        else:
            found.append(Fragment(at, length, starts_frame(head[HEAD.size :])))
        at += HEAD.size + length
    return table or b"", found
