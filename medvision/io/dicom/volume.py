"""One DICOM series to one Volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvision.errors import DecodeError
from medvision.geometry import Voxels, flip_ras_lps
from medvision.io.dicom.grid import SliceGrid, grid_of
from medvision.io.dicom.headers import Frame
from medvision.io.dicom.pixels import Pixels
from medvision.io.dicom.series import choose_series, list_series
from medvision.volume import SeriesInfo, Volume, Window

INT16 = np.iinfo(np.int16)


def read_dicom(path: Path, series: str | None = None) -> Volume:
    """Read one series of a folder, or one file.

    Slices are sorted along their normal, whatever their file names and instance numbers say, and
    each is rescaled by its own slope and intercept. Images of one place become channels, in the
    order of their time or instance number.

    Parameters
    ----------
    path : Path
    series : str, optional
        UID, number or part of the description of the series, needed when there are several.

    Returns
    -------
    Volume
        (C, columns, rows, slices); int16 when every value is a whole number that fits, uint8 in
        color, else float32.

    Raises
    ------
    SeriesError, DecodeError, GeometryError
    """
    chosen = choose_series(path, list_series(path), series)
    grid = grid_of(chosen.frames)
    return Volume(stack(grid), grid.affine, info_of(grid))


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


def info_of(grid: SliceGrid) -> SeriesInfo:
    """Return what the headers say besides geometry."""
    first = grid.frames[0][0]
    header = first.header
    paths = dict.fromkeys(f.header.path for channel in grid.frames for f in channel)
    return SeriesInfo(
        modality=header.modality,
        description=header.description,
        study_uid=header.study_uid,
        series_uid=header.series_uid,
        unit=header.unit,
        window=Window(*header.window) if header.window and not header.inverted else None,
        channels=channels_of(grid),
        b_values=b_values_of(grid),
        b_vectors=b_vectors_of(grid),
        spacing_known=grid.spacing_known,
        space="scanner" if first.position is not None else "",
        sources=tuple(paths),
        notes=grid.notes,
    )


def channels_of(grid: SliceGrid) -> str:
    """Return what the first axis means."""
    if grid.frames[0][0].header.color:
        return "color"
    if len(grid.frames) == 1:
        return ""
    return "diffusion" if len({channel[0].b_value for channel in grid.frames}) > 1 else "time"


def b_values_of(grid: SliceGrid) -> tuple[float, ...]:
    """Return the diffusion weighting of each channel in s/mm²; empty where there is none."""
    values = [channel[0].b_value for channel in grid.frames]
    known = [v for v in values if v is not None]
    return tuple(known) if len(known) == len(values) else ()


def b_vectors_of(grid: SliceGrid) -> tuple[tuple[float, float, float], ...]:
    """Return the gradient direction of each channel in RAS; zeros where nothing is weighted."""
    if not b_values_of(grid):
        return ()
    vectors = [channel[0].b_vector or (0.0, 0.0, 0.0) for channel in grid.frames]
    ras = np.asarray(vectors) @ flip_ras_lps(np.eye(4))[:3, :3] + 0.0  # no -0
    return tuple((x, y, z) for x, y, z in ras.tolist())
