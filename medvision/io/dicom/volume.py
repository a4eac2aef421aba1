"""One DICOM series to one Volume."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medvision.geometry import Voxels
from medvision.io.dicom.frames import decode
from medvision.io.dicom.grid import SliceGrid, grid_of
from medvision.io.dicom.headers import Header, check_readable
from medvision.io.dicom.series import choose_series, list_series
from medvision.volume import SeriesInfo, Volume, Window

INT16 = np.iinfo(np.int16)


def read_dicom(path: Path, series: str | None = None) -> Volume:
    """Read one series of a folder, or one file.

    Slices are sorted along their normal, whatever their file names and instance numbers say, and
    each is rescaled by its own slope and intercept.

    Parameters
    ----------
    path : Path
    series : str, optional
        UID, number or part of the description of the series, needed when there are several.

    Returns
    -------
    Volume
        (1, columns, rows, slices); int16 when every value is a whole number that fits, else
        float32.

    Raises
    ------
    SeriesError, DecodeError, GeometryError
    """
    chosen = choose_series(path, list_series(path), series)
    for header in chosen.headers:
        check_readable(header)
    grid = grid_of(chosen.headers)
    return Volume(stack(grid.headers), grid.affine, info_of(grid))


def stack(headers: Sequence[Header]) -> Voxels:
    """Decode slices into (1, columns, rows, slices)."""
    first = headers[0]
    shape = (1, first.columns, first.rows, len(headers))
    array = np.empty(shape, dtype=np.int16)
    for k, header in enumerate(headers):
        values = decode(header)
        if array.dtype == np.int16 and not fits_int16(values):
            array = array.astype(np.float32)
        array[0, :, :, k] = values
    return array


def fits_int16(values: Voxels) -> bool:
    """Tell whether values are whole numbers that 16 bits hold."""
    return bool(
        values.min() >= INT16.min
        and values.max() <= INT16.max
        and (values == np.rint(values)).all()
    )


def info_of(grid: SliceGrid) -> SeriesInfo:
    """Return what the headers say besides geometry."""
    first = grid.headers[0]
    return SeriesInfo(
        modality=first.modality,
        description=first.description,
        study_uid=first.study_uid,
        series_uid=first.series_uid,
        unit=first.unit,
        window=Window(*first.window) if first.window and not first.inverted else None,
        spacing_known=grid.spacing_known,
        space="scanner" if first.position is not None else "",
        sources=tuple(header.path for header in grid.headers),
        notes=grid.notes,
    )
