"""One DICOM series to one Volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from medvision.geometry import check_affine, flip_ras_lps
from medvision.io.dicom.elements import read_elements
from medvision.io.dicom.grid import SliceGrid, grid_of, usual_gap
from medvision.io.dicom.rescale import padding_values
from medvision.io.dicom.series import choose_series, list_series
from medvision.io.dicom.stack import stack
from medvision.io.dicom.suv import SUVBW, suvbw_factor
from medvision.resample import evenly_spaced, straightened
from medvision.volume import SeriesInfo, Volume, Window


def read_dicom(
    path: Path,
    series: str | None = None,
    *,
    files: Sequence[Path] | None = None,
    suv: bool = False,
    resample: bool = False,
) -> Volume:
    """Read one series of a folder, or one file.

    Slices are sorted along their normal, whatever their file names and instance numbers say, and
    each is rescaled by its own slope and intercept. Images of one place become channels, in the
    order of their time or instance number.

    Parameters
    ----------
    path : Path
    series : str, optional
        UID, number or part of the description of the series, needed when there are several.
    files : sequence of Path, optional
        Only these files; `path` then names them in errors.
    suv : bool
        Turn the values of a PET into SUV by body weight (g/ml).
    resample : bool
        Interpolate slices that are missing or unevenly spaced, and bring a stack that was taken
        with a tilted gantry onto right angles; ``info.notes`` say so. Without it the first is an
        error, and the second a sheared affine.

    Returns
    -------
    Volume
        (C, columns, rows, slices); int16 when every value is a whole number that fits, uint8 in
        color, else float32.

    Raises
    ------
    SeriesError, DecodeError, GeometryError
    """
    chosen = choose_series(path, list_series(path, files), series)
    grid = grid_of(chosen.frames, uneven=resample)
    volume = Volume(stack(grid), grid.affine, info_of(grid))
    if suv:
        volume = as_suv(volume, grid)
    return straightened(with_even_slices(volume, grid)) if resample else volume


def as_suv(volume: Volume, grid: SliceGrid) -> Volume:
    """Return a PET volume in SUV by body weight."""
    factor = suvbw_factor(read_elements(grid.frames[0][0].header.path))
    array = volume.array.astype(np.float32) * np.float32(factor)
    return Volume(array, volume.affine, replace(volume.info, unit=SUVBW, window=None, padding=None))


def with_even_slices(volume: Volume, grid: SliceGrid) -> Volume:
    """Return a volume whose slices lie evenly, interpolated where those of its grid do not."""
    if not grid.uneven_mm:
        return volume
    array, step = evenly_spaced(volume.array, grid.uneven_mm)
    gap = usual_gap(np.asarray(grid.uneven_mm))  # what the grid's affine has
    affine = volume.affine.copy()
    affine[:3, 2] *= step / gap
    note = f"Slices were interpolated to lie {step:.3g} mm apart."
    info = replace(volume.info, notes=(*volume.info.notes, note))
    return Volume(array, check_affine(affine), info)


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
        padding=padding_values(first),
        channels=channels_of(grid),
        times=times_of(grid),
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


def times_of(grid: SliceGrid) -> tuple[float, ...]:
    """Return when each channel was taken (s since the first); empty where that is not known."""
    starts = [
        min((f.seconds for f in c if f.seconds is not None), default=None) for c in grid.frames
    ]
    if len(starts) == 1 or None in starts:
        return ()
    times = np.round(np.asarray(starts, dtype=np.float64) - (starts[0] or 0.0), 6)
    return tuple(times.tolist()) if (np.diff(times) > 0).all() else ()


def b_values_of(grid: SliceGrid) -> tuple[float, ...]:
    """Return the diffusion weighting of each channel in s/mm²; empty where there is none."""
    values = [channel[0].b_value for channel in grid.frames]
    known = [v for v in values if v is not None]
    if not any(known) and len(known) < len(values):
        return ()
    return tuple(v or 0.0 for v in values)  # some leave it out where it is 0


def b_vectors_of(grid: SliceGrid) -> tuple[tuple[float, float, float], ...]:
    """Return the gradient direction of each channel in RAS; zeros where nothing is weighted."""
    if not b_values_of(grid):
        return ()
    none = (0.0, 0.0, 0.0)
    firsts = [channel[0] for channel in grid.frames]
    vectors = [(f.b_vector or none) if f.b_value else none for f in firsts]
    ras = np.asarray(vectors) @ flip_ras_lps(np.eye(4))[:3, :3] + 0.0  # no -0
    return tuple((x, y, z) for x, y, z in ras.tolist())
