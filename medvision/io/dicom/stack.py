"""Slices of a grid to one array of voxels, each file decoded once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvision.errors import DecodeError
from medvision.geometry import Voxels
from medvision.io.dicom.grid import SliceGrid
from medvision.io.dicom.headers import Frame
from medvision.io.dicom.pixels import Pixels

INT16 = np.iinfo(np.int16)


def stack(grid: SliceGrid) -> Voxels:
    """Decode slices into (C, columns, rows, slices), each file once."""
    places: dict[Path, list[tuple[int, int, Frame]]] = {}
    for c, channel in enumerate(grid.frames):
        for k, frame in enumerate(channel):
            places.setdefault(frame.header.path, []).append((c, k, frame))
    first = grid.frames[0][0]
    if first.header.color:
        return stack_color(grid, places)
    shape = (len(grid.frames), first.columns, first.rows, len(grid.frames[0]))
    array = np.empty(shape, dtype=np.int16)
    for frames in places.values():
        pixels = Pixels(frames[0][2].header)
        for c, k, frame in frames:
            values = pixels.values(frame)
            if array.dtype == np.int16 and not fits_int16(values):
                array = array.astype(np.float32)
            array[c, :, :, k] = values
    return array


def stack_color(grid: SliceGrid, places: dict[Path, list[tuple[int, int, Frame]]]) -> Voxels:
    """Decode color slices into (3, columns, rows, slices)."""
    first = grid.frames[0][0]
    if len(grid.frames) > 1:
        raise DecodeError(
            f"{first.header.path} belongs to {len(grid.frames)} color images of one place; "
            "channels hold either color or time."
        )
    array = np.empty((3, first.columns, first.rows, len(grid.frames[0])), dtype=np.uint8)
    for frames in places.values():
        pixels = Pixels(frames[0][2].header)
        for _, k, frame in frames:
            array[:, :, :, k] = pixels.values(frame)
    return array


def fits_int16(values: NDArray[Any]) -> bool:
    """Tell whether values are whole numbers that 16 bits hold."""
    if values.min() < INT16.min or values.max() > INT16.max:
        return False
    return values.dtype.kind in "iu" or bool((values == np.rint(values)).all())
