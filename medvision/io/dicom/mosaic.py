"""Mosaics: a whole volume as tiles of one image."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from medvision.errors import DecodeError
from medvision.io.dicom.elements import Elements
from medvision.io.dicom.headers import Frame
from medvision.io.dicom.private import (
    SIEMENS_TILES,
    SIEMENS_TIMES,
    UIH_SLICES,
    UIH_TILES,
    csa_header,
    siemens,
)


def mosaic_tiles(one: Frame, data: Elements) -> list[Frame]:
    """Return the tiles of a Siemens mosaic, row by row.

    Its position is that of a slice as large as the whole mosaic, and the order of its slices
    follows the normal of the Siemens CSA header (nibabel's description of the format:
    nipy.org/nibabel/dicom/dicom_mosaic.html).
    """
    coding = one.header.coding
    found, csa = siemens(data, SIEMENS_TILES), csa_header(data)
    count = csa.tiles or (int(found[0]) if found else len(siemens(data, SIEMENS_TIMES) or ()))
    side = math.ceil(math.sqrt(max(count, 0)))
    rows, columns = tile_size(one, count, side, side)
    row, column, upright = axes_of(one)
    if len(csa.normal) == 3 and float(np.dot(upright, csa.normal)) < 0:
        upright = -upright
    between_rows, between_columns = one.pixel_spacing or (1.0, 1.0)
    corner = (
        np.asarray(one.position)
        + row * between_columns * (coding.columns - columns) / 2
        + column * between_rows * (coding.rows - rows) / 2
    )
    return tiles_at(
        one, rows, columns, [corner + t * step_along(one, upright) for t in range(count)]
    )


def uih_tiles(one: Frame, data: Elements) -> list[Frame]:
    """Return the tiles of a United Imaging grid, row by row; its position is that of the first."""
    count = int(data.first(UIH_TILES) or 0)
    across = math.ceil(math.sqrt(count))
    rows, columns = tile_size(one, count, math.ceil(count / across), across)
    _, _, upright = axes_of(one)
    listed = [item.numbers("ImagePositionPatient", 3) for item in data.items(UIH_SLICES)]
    known = [np.asarray(place) for place in listed if place is not None]
    if len(known) == count:
        return tiles_at(one, rows, columns, known)
    start = np.asarray(one.position)
    return tiles_at(
        one, rows, columns, [start + t * step_along(one, upright) for t in range(count)]
    )


def tile_size(one: Frame, count: int, down: int, across: int) -> tuple[int, int]:
    """Return rows and columns of a tile.

    Raises
    ------
    DecodeError
        When the image cannot be cut into so many, or has no place.
    """
    coding, path = one.header.coding, one.header.path
    if count < 1 or coding.columns % across or coding.rows % down:
        raise DecodeError(
            f"{path} is a mosaic of {coding.columns} × {coding.rows} pixels that "
            f"does not hold {count or 'a known number of'} tiles."
        )
    if one.position is None or one.cosines is None or one.pixel_spacing is None:
        raise DecodeError(f"{path} is a mosaic without its place in the patient.")
    return coding.rows // down, coding.columns // across


def axes_of(one: Frame) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the directions along a row, along a column, and their normal."""
    row, column = np.reshape(np.asarray(one.cosines, dtype=np.float64), (2, 3))
    return row, column, np.cross(row, column)


def step_along(one: Frame, normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the way from a slice to the next."""
    return normal * (one.slice_step or 1.0)


def tiles_at(one: Frame, rows: int, columns: int, places: list[NDArray[np.float64]]) -> list[Frame]:
    """Return a frame for each place of a tile."""
    return [
        replace(one, tile=t, rows=rows, columns=columns, position=tuple(place.tolist()))
        for t, place in enumerate(places)
    ]
