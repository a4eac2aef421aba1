"""Slices of a grid to one array of voxels, each stored frame decoded once, several at a time.

A slice is written where it will stay: the array lies slice by slice in memory, and is handed out
with its axes turned.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from medvision.errors import DecodeError
from medvision.geometry import Voxels
from medvision.io.dicom.elements import DEFLATED
from medvision.io.dicom.grid import SliceGrid
from medvision.io.dicom.headers import Coding, Frame
from medvision.io.dicom.pixels import Pixels, check_coding, check_gray, check_size
from medvision.io.dicom.rescale import (
    fits_int16,
    is_whole,
    line_of,
    looked_up,
    rescale_int16,
    rescaled,
)
from medvision.room import check_room

MAX_VOXELS = 1 << 32  # 4 G: beyond it is a damaged header, or no single volume
MAX_WORKERS = 16
CHUNK = 16  # frames that one worker reads of one file before it takes other work

Result = TypeVar("Result")
Place = tuple[int, int, Frame]  # channel, slice
Buffer = NDArray[Any]  # (C, slices, rows, columns), in one piece


@dataclass(frozen=True)
class Work:
    """Stored frames of one file, and the slices that each of them fills."""

    coding: Coding
    frames: tuple[tuple[int, tuple[Place, ...]], ...]  # number of the frame, places


def stack(grid: SliceGrid) -> Voxels:
    """Decode slices into (C, columns, rows, slices).

    Returns
    -------
    ndarray
        uint8 in color; int16 when every value is a whole number that fits, else float32.

    Raises
    ------
    DecodeError, MissingExtra
    """
    first = grid.frames[0][0]
    shape = (len(grid.frames), len(grid.frames[0]), first.rows, first.columns)
    if prod(shape) > MAX_VOXELS:
        raise DecodeError(
            f"{first.header.path} belongs to {' × '.join(map(str, shape))} voxels; at most "
            f"{MAX_VOXELS} are read."
        )
    work = list(split(grid))
    for part in work:  # before memory is taken for them
        check_coding(part.coding)
        if part.coding.syntax != DEFLATED:
            check_size(part.coding, part.coding.path.stat().st_size)
    check_room(first.header.path, 2.0 * prod(shape))  # in 16 bits
    try:
        if first.header.color:
            return turned(stack_color(grid, work))
        frames = [frame for channel in grid.frames for frame in channel]
        if all(is_small(f.header.coding) and is_whole(f) for f in frames):
            return turned(stack_small(work, shape))
        return turned(stack_real(work, shape, all(is_whole(f) for f in frames)))
    except MemoryError:
        raise DecodeError(
            f"{first.header.path} belongs to {' × '.join(map(str, shape))} voxels, which do not "
            "fit in this machine's memory."
        ) from None


def split(grid: SliceGrid) -> Iterator[Work]:
    """Yield the stored frames of each file, in pieces that workers share."""
    files: dict[Any, dict[int, list[Place]]] = {}
    codings: dict[Any, Coding] = {}
    for c, channel in enumerate(grid.frames):
        for k, frame in enumerate(channel):
            coding = frame.header.coding
            codings.setdefault(coding.path, coding)
            files.setdefault(coding.path, {}).setdefault(frame.number, []).append((c, k, frame))
    for path, numbers in files.items():
        frames = [(number, tuple(places)) for number, places in sorted(numbers.items())]
        # a deflated file is inflated by each who reads it: by one, then
        step = len(frames) if codings[path].syntax == DEFLATED else CHUNK
        for start in range(0, len(frames), step):
            yield Work(codings[path], tuple(frames[start : start + step]))


def is_small(coding: Coding) -> bool:
    """Tell whether stored values are whole numbers of at most 16 bits."""
    is_int = coding.where is not None and coding.where.kind == "int"
    return is_int and coding.allocated <= 16 and not coding.lut


def stack_small(work: list[Work], shape: tuple[int, ...]) -> Buffer:
    """Return int16, or float32 when a value does not fit."""
    bits = np.empty(shape, np.int16)

    def fill(part: Work) -> list[tuple[Place, bool]]:
        pixels = Pixels(part.coding)
        done = []
        for number, places in part.frames:
            if places[0][2].tile is None:
                c, k, frame = places[0]
                slices = [bits[c, k].view(stored_type(part.coding))]
                pixels.read_frame(number, slices[0])
            else:
                whole = pixels.stored(number)
                check_gray(whole, part.coding)
                slices = [bits[c, k].view(stored_type(part.coding)) for c, k, _ in places]
                for out, (_, _, frame) in zip(slices, places, strict=True):
                    np.copyto(out, tile_of(whole, frame), casting="unsafe")
            for out, place in zip(slices, places, strict=True):
                done.append((place, rescale_int16(out, line_of(place[2]))))
        return done

    done = [one for part in run(fill, work) for one in part]
    if all(fits for _, fits in done):
        return bits
    real = np.empty(shape, np.float32)
    for (c, k, frame), fits in done:
        stored = bits[c, k].view(stored_type(frame.header.coding))
        real[c, k] = bits[c, k] if fits else rescaled(stored, line_of(frame))
    return real


def stack_real(work: list[Work], shape: tuple[int, ...], may_be_whole: bool) -> Buffer:
    """Return float32, or int16 when all values are whole numbers that fit."""
    real = np.empty(shape, np.float32)

    def fill(part: Work) -> bool:
        pixels = Pixels(part.coding)
        fits = may_be_whole
        for number, places in part.frames:
            stored = pixels.stored(number)
            check_gray(stored, part.coding)
            for c, k, frame in places:
                values = tile_of(stored, frame)
                if part.coding.lut:
                    values = looked_up(values, part.coding)
                values = rescaled(values, (1, 0) if part.coding.lut else line_of(frame))
                fits = fits and fits_int16(values)
                real[c, k] = values
        return fits

    return real.astype(np.int16) if all(run(fill, work)) else real


def stack_color(grid: SliceGrid, work: list[Work]) -> Buffer:
    """Return uint8; the channels are red, green and blue."""
    first = grid.frames[0][0]
    if len(grid.frames) > 1:
        raise DecodeError(
            f"{first.header.path} belongs to {len(grid.frames)} color images of one place; "
            "channels hold either color or time."
        )
    colors = np.empty((3, len(grid.frames[0]), first.rows, first.columns), np.uint8)

    def fill(part: Work) -> None:
        pixels = Pixels(part.coding)
        for number, places in part.frames:
            found = pixels.colors(number)
            for _, k, frame in places:
                colors[:, k] = np.moveaxis(tile_of(found, frame), -1, 0)

    run(fill, work)
    return colors


def run(do: Callable[[Work], Result], work: list[Work]) -> list[Result]:
    """Do all work, on as many processors as there are, and return the results in order."""
    workers = min(processors(), MAX_WORKERS, len(work))
    if workers <= 1:
        return [do(part) for part in work]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(do, work))


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def stored_type(coding: Coding) -> type[np.int16] | type[np.uint16]:
    """Return the type that holds stored values of at most 16 bits."""
    return np.int16 if coding.signed else np.uint16


def tile_of(stored: NDArray[Any], frame: Frame) -> NDArray[Any]:
    """Return what a slice takes of its stored frame: all, or one tile of a mosaic."""
    if frame.tile is None:
        return stored
    down, across = divmod(frame.tile, stored.shape[1] // frame.columns)
    rows, columns = frame.rows, frame.columns
    return stored[down * rows : (down + 1) * rows, across * columns : (across + 1) * columns]


def turned(buffer: Buffer) -> Voxels:
    """Return (C, columns, rows, slices) of (C, slices, rows, columns), without a copy."""
    return buffer.transpose(0, 3, 2, 1)
