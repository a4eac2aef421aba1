"""Resample Volumes on the CPU: onto another grid, out of a gantry tilt, onto even slices.

For reading and comparing; a model's own preprocessing is in `transforms`. Knows nothing of files
or networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from medvision.errors import GeometryError, SpecError
from medvision.geometry import Voxels, check_affine, spacing_of
from medvision.room import check_grid
from medvision.volume import Volume, same_grid

SLAB = 1 << 22  # voxels sampled at once, to bound the memory of what lies inside
ORDERS = {0: "nearest", 1: "nearest", 3: "mirror"}  # spline order → how scipy goes beyond the edge
MAX_SHEAR = 1e-4  # |cosine| between two voxel axes below which they are at right angles
MAX_GROWTH = 10  # times as many slices as there were


def resample_to(
    volume: Volume,
    affine: ArrayLike,
    shape: Sequence[int],
    order: int = 1,
    fill: float | None = None,
) -> Volume:
    """Sample a Volume at the voxels of another grid.

    The scan reaches to the outer edges of its voxels; in the outer half of these its border value
    holds. A new voxel beside one that is not finite is not finite either.

    Parameters
    ----------
    volume : Volume
    affine : array_like, (4, 4)
        New voxel index to RAS mm.
    shape : three ints
        New grid (I, J, K).
    order : {0, 1, 3}
        Nearest voxel, which keeps the type; linear or cubic spline, which give float32.
    fill : float, optional
        Value outside the scan; its lowest finite value unless given.

    Raises
    ------
    SpecError
        When the order, the shape or the fill value does not fit.
    GeometryError
        When the affine is not usable.
    MemoryNeeded
        When there is no room for the grid.
    """
    grid = check_affine(affine)
    size = tuple(int(n) for n in shape)
    if order not in ORDERS or len(size) != 3 or min(size) < 1:
        raise SpecError(
            f"Resampling takes order 0, 1 or 3 and a grid of three sides above 0; found order "
            f"{order} and {list(shape)}."
        )
    kind = volume.array.dtype if order == 0 else np.dtype(np.float32)
    check_grid(size, spacing_of(grid), len(volume.array) * kind.itemsize)
    outside = _fill_value(volume.array, kind, fill)
    placed = Volume(np.broadcast_to(outside, (len(volume.array), *size)), grid, volume.info)
    if same_grid(volume, placed, tolerance_mm=1e-6):
        return replace(placed, array=volume.array.astype(kind, copy=False))
    step = np.linalg.inv(volume.affine) @ grid  # new index → old index
    found = np.empty(placed.array.shape, kind)
    for channel, values in enumerate(volume.array):
        _sample(values, step, order, outside, found[channel])
    return replace(placed, array=found)


def _fill_value(array: Voxels, kind: np.dtype[np.generic], fill: float | None) -> Voxels:
    if fill is None:
        whole = array.dtype.kind != "f"
        lowest = array.min() if whole else np.min(array, initial=np.inf, where=np.isfinite(array))
        fill = float(lowest) if math.isfinite(lowest) else 0.0
    with np.errstate(all="ignore"):
        value = np.asarray(fill).astype(kind)
    if kind.kind != "f" and value != fill:
        raise SpecError(f"The fill value {fill:g} is no {kind}, which the scan's voxels are.")
    return value


def _sample(
    values: Voxels, step: NDArray[np.float64], order: int, outside: Voxels, found: Voxels
) -> None:
    """Fill `found` (I, J, K) with `values` at ``step @ index``, a slab at a time."""
    if values.dtype == bool:
        values, found = values.view(np.uint8), found.view(np.uint8)
    mode = ORDERS[order]
    if order > 1:
        values = ndimage.spline_filter(values, order, output=np.float32, mode=mode)
    planes = max(1, SLAB // math.prod(found.shape[1:]))
    for start in range(0, len(found), planes):
        slab = found[start : start + planes]
        offset = step[:3, 3] + step[:3, 0] * start
        ndimage.affine_transform(
            values, step[:3, :3], offset, slab.shape, slab, order, mode, prefilter=False
        )
        i, j, k = np.ogrid[tuple(slice(n) for n in slab.shape)]
        for axis, side in enumerate(values.shape):
            where = step[axis, 0] * i + step[axis, 1] * j + step[axis, 2] * k + offset[axis]
            slab[(where < -0.5 - 1e-6) | (where > side - 0.5 + 1e-6)] = outside


def straightened(volume: Volume) -> Volume:
    """Bring a sheared Volume, such as a CT taken with a tilted gantry, onto right angles.

    Slices stay in their planes, with their in-plane axes and voxel size, and are shifted within
    them; the slice step becomes the distance along their normal, and the grid grows to hold every
    voxel. Images are interpolated linearly; label maps (``info.labels``) by the nearest voxel. A
    grid that is sheared every way loses its second axis' lean as well.

    Returns
    -------
    Volume
        The same one when its axes are at right angles.
    """
    axes = volume.affine[:3, :3]
    cosines = np.abs(_gram(axes / spacing_of(volume.affine)))
    worst = float(cosines.max())
    if worst <= MAX_SHEAR:
        return volume
    first, second, slices = _plane_first(cosines, volume.spacing)
    straight = np.empty((3, 3))  # columns: new voxel axes, mm
    straight[:, first] = axes[:, first]
    straight[:, second] = _beside(axes[:, second], axes[:, first])
    lifted = _beside(axes[:, slices], axes[:, first])
    straight[:, slices] = _beside(lifted, straight[:, second])
    ends = np.array(list(product(*[(0, n - 1) for n in volume.shape])))  # voxel centers, (8, 3)
    where = ends @ (np.linalg.inv(straight) @ axes).T  # in new steps from the first voxel
    low = np.floor(where.min(axis=0) + 1e-6)
    wanted = np.ceil(where.max(axis=0) - 1e-6) - low + 1
    affine = np.eye(4)
    affine[:3, :3] = straight
    affine[:3, 3] = volume.affine[:3, 3] + straight @ low
    check_grid(wanted, spacing_of(affine), len(volume.array))
    shape = wanted.astype(int).tolist()
    made = resample_to(volume, affine, shape, order=0 if volume.info.labels else 1)
    degrees = math.degrees(math.asin(min(1.0, worst)))
    note = f"The voxel axes leaned by {degrees:.1f}°; resampled onto right angles."
    return replace(made, info=replace(made.info, notes=(*made.info.notes, note)))


def _gram(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cosines between unit columns, the diagonal 0."""
    return np.asarray(directions.T @ directions * (1 - np.eye(3)))


def _beside(vector: NDArray[np.float64], axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the part of `vector` at right angles to `axis`."""
    return np.asarray(vector - axis * (vector @ axis) / (axis @ axis))


def _plane_first(cosines: NDArray[np.float64], spacing: tuple[float, ...]) -> tuple[int, int, int]:
    """Return two axes at right angles, and the third, the thickest there is, as the slices'."""
    orders = [(0, 1, 2), (0, 2, 1), (1, 2, 0)]
    flat = [o for o in orders if cosines[o[0], o[1]] <= MAX_SHEAR]
    return max(flat or orders[:1], key=lambda o: round(spacing[o[2]], 6))


def evenly_spaced(array: Voxels, distances: ArrayLike) -> tuple[Voxels, float]:
    """Interpolate slices that lie at uneven distances onto even ones, linearly.

    The new step is the lower quartile of the gaps: the usual one where slices are missing, the
    fine one where a scan is fine in one part. The first slice stays where it is.

    Parameters
    ----------
    array : ndarray, (C, I, J, K)
    distances : array_like, (K,)
        Where each slice lies along the normal in mm, rising.

    Returns
    -------
    array : ndarray, (C, I, J, K')
        float32; the same array when its slices are even.
    step : float
        mm

    Raises
    ------
    GeometryError
        When the distances do not rise, do not fit the slices, or are so uneven that more than ten
        times as many slices would be needed.
    """
    where = np.asarray(distances, dtype=np.float64)
    gaps = np.diff(where)
    if where.shape != array.shape[-1:] or len(where) < 2 or not (gaps > 0).all():
        raise GeometryError(
            f"Slices need rising distances, one each; found {where.size} for "
            f"{array.shape[-1]} slices."
        )
    step = float(np.percentile(gaps, 25, method="lower"))
    if gaps.max() - gaps.min() <= 1e-3 * step:
        return array, float(gaps.mean())
    count = math.floor((where[-1] - where[0]) / step + 1e-3) + 1
    if count > MAX_GROWTH * len(where):
        raise GeometryError(
            f"Slice gaps run from {gaps.min():.2f} to {gaps.max():.2f} mm: too uneven to be "
            "resampled."
        )
    wanted = np.minimum(where[0] + step * np.arange(count), where[-1])
    below = np.clip(np.searchsorted(where, wanted, side="right") - 1, 0, len(gaps) - 1)
    share = ((wanted - where[below]) / gaps[below]).astype(np.float32)
    found = np.empty((*array.shape[:-1], count), np.float32)
    for new, (old, weight) in enumerate(zip(below.tolist(), share.tolist(), strict=True)):
        low = array[..., old].astype(np.float32)
        high = array[..., old + 1].astype(np.float32)
        found[..., new] = low if weight == 0 else low * (1 - weight) + high * weight
    return found, step
