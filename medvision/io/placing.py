"""Putting label pixels on a grid: copied where voxels coincide, else nearest neighbor.

Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medvision.errors import GeometryError
from medvision.geometry import Affine, check_affine, spacing_of
from medvision.volume import Volume

TOLERANCE_MM = 0.05  # as DICOM readers allow slices to stray; between 2 % and 25 % of a voxel


@dataclass(frozen=True)
class Plane:
    """Where the pixels of one image lie."""

    affine: Affine  # (column, row, mm along the normal) → RAS mm
    columns: int
    rows: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Pixels along the plane's own axes."""
        return self.columns, self.rows, 1


@dataclass(frozen=True)
class Grid:
    """An affine and a shape."""

    affine: Affine
    shape: tuple[int, int, int]


def whole_steps(
    affine: Affine, shape: Sequence[int], onto: Affine, tolerance_mm: float = TOLERANCE_MM
) -> NDArray[np.int64] | None:
    """Return the (3, 4) whole numbers that take indices of one grid to those of another.

    None when the voxels do not coincide to within `tolerance_mm` (at most a quarter of a voxel):
    axes may be permuted and flipped, and the origin shifted by whole voxels, no more.
    """
    steps = (np.linalg.inv(onto) @ affine)[:3]  # (3, 4)
    whole = np.rint(steps)
    used = [axis for axis in range(3) if shape[axis] > 1]
    for axis in range(3):
        if axis not in used:
            whole[:, axis] = steps[:, axis] = 0.0  # a single slice: its thickness has no say
    if any(np.abs(whole[:, axis]).sum() != 1 for axis in used):
        return None
    ends = np.array(np.meshgrid(*[[0, n - 1] for n in shape], [1])).reshape(4, -1)  # (4, 8)
    off = np.abs((steps - whole) @ ends).max(axis=1)  # voxels
    allowed = np.clip(tolerance_mm / spacing_of(onto), 0.02, 0.25)
    return whole.astype(np.int64) if (off <= allowed).all() else None


def places_of(
    pixels: NDArray[Any], steps: NDArray[np.int64], shape: tuple[int, int, int]
) -> tuple[tuple[NDArray[np.int64], ...], NDArray[Any], int]:
    """Return where on a grid (i, j, k) the pixels above 0 lie, their values, and how many miss it.

    `pixels` is (columns, rows); `steps` as `whole_steps` gives them.
    """
    places = np.argwhere(pixels)  # (n, 2)
    values = pixels[places[:, 0], places[:, 1]]
    index = places @ steps[:, :2].T + steps[:, 3]  # (n, 3)
    inside = ((index >= 0) & (index < shape)).all(axis=1)
    i, j, k = index[inside].T
    return (i, j, k), values[inside], int((~inside).sum())


def grid_of_planes(planes: Sequence[Plane], step_mm: float | None) -> Grid:
    """Return the smallest grid that has every plane as a slice, or a part of one.

    Parameters
    ----------
    planes : sequence of Plane
    step_mm : float, optional
        Declared distance between slices; used where the planes keep to it, else the smallest
        distance between any two.

    Raises
    ------
    GeometryError
        When the planes differ in direction or spacing, or their gaps in more than whole slices.
    """
    first = planes[0]
    normal = first.affine[:3, 2]
    origins = np.array([plane.affine[:3, 3] for plane in planes])  # (N, 3) mm
    heights = (origins - origins[0]) @ normal  # mm
    order = np.argsort(heights, kind="stable")
    lowest, highest = origins[order[0]], origins[order[-1]]
    heights = heights - heights[order[0]]
    gap = slice_gap(heights, step_mm)
    count = round(float(heights.max()) / gap)
    along = [normal * gap, *([(highest - lowest) / count] if count else [])]  # straight, or tilted
    for step in along:
        affine = np.column_stack([first.affine[:, 0], first.affine[:, 1], [*step, 0], [*lowest, 1]])
        steps = [whole_steps(plane.affine, plane.shape, affine) for plane in planes]
        if all(s is not None and (s[:, :2] == np.eye(3)[:, :2]).all() for s in steps):
            starts = np.array([s[:, 3] for s in steps if s is not None])
            low = starts.min(axis=0)
            sizes = [[plane.columns, plane.rows, 1] for plane in planes]
            i, j, k = ((starts + sizes).max(axis=0) - low).tolist()
            affine[:3, 3] += affine[:3, :3] @ low
            return Grid(check_affine(affine), (i, j, k))
    raise GeometryError(
        f"the {len(planes)} frames make no grid of their own: they differ in direction or pixel "
        f"spacing, or shift by parts of a pixel (slices {gap:.2f} mm apart)"
    )


def slice_gap(heights: NDArray[np.float64], step_mm: float | None) -> float:
    """Return the distance between slices in mm, of which all gaps are multiples.

    Raises
    ------
    GeometryError
        When there is none.
    """
    levels = np.sort(heights)
    gaps = np.diff(levels)
    gaps = gaps[gaps > 0.01]
    if len(gaps) == 0:
        return step_mm or 1.0
    smallest = float(gaps.min())
    for gap in (step_mm, smallest):
        if gap and gap <= smallest * 1.02:
            slices = (levels - levels[0]) / gap
            if (np.abs(slices - np.rint(slices)) * gap <= max(TOLERANCE_MM, 0.02 * gap)).all():
                return float(levels[-1] - levels[0]) / float(np.rint(slices[-1]))
    raise GeometryError(
        f"the frames lie {gaps.min():.2f} to {gaps.max():.2f} mm apart, which no distance between "
        "slices divides"
    )


def on_grid(labels: Volume, reference: Volume) -> Volume:
    """Return labels on the grid of a reference: copied where voxels coincide, else the nearest.

    Values outside the labels' own grid are 0. A resampling is told in ``info.notes``.
    """
    exact = whole_steps(labels.affine, labels.shape, reference.affine)
    into = np.linalg.inv(labels.affine) @ reference.affine  # reference index → label index
    array = np.zeros((len(labels.array), *reference.shape), labels.array.dtype)
    for channel, found in zip(labels.array, array, strict=True):
        # grid-constant: half a voxel around the outermost centers still belongs to them
        ndimage.affine_transform(
            channel, into[:3, :3], into[:3, 3], output=found, order=0, mode="grid-constant"
        )
    notes = labels.info.notes
    if exact is None:
        was = " × ".join(f"{mm:.3g}" for mm in labels.spacing)
        now = " × ".join(f"{mm:.3g}" for mm in reference.spacing)
        notes += (
            f"The labels lie on another grid ({was} mm): each voxel of the scan's ({now} mm) took "
            "the nearest label.",
        )
    lost = np.count_nonzero(labels.array) and not np.count_nonzero(array)
    if lost:
        notes += ("No label lies on the scan: they may belong to another.",)
    return Volume(array, reference.affine, replace(labels.info, notes=notes))
