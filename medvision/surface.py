"""How far the surfaces of two masks lie apart, in mm.

Knows nothing of labels, files or what is to be done where there is no surface: `mask_figures` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

NEAR = 60  # neighbours that are looked at one by one; what has none so near asks a tree
REACH = 7  # voxels along each axis within which they lie
ROUNDING = 1e-5  # share of a tolerance: a distance of one voxel is within a tolerance of one voxel


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances between two surfaces, each way.

    The surface of a mask is its border voxels: those with a face on a voxel that is not in it, or
    on the edge of the grid. MONAI's Hausdorff distance counts so, and so do the published figures
    that ours are held against; surface elements with areas (Nikolov et al., JMIR 2021) would weigh
    slanted surfaces better, but give another HD95 of the same masks.

    Parameters
    ----------
    there : (M,) mm
        From each border voxel of what was found to the nearest one of the truth; at least one.
    back : (N,) mm
        From each border voxel of the truth to the nearest one of what was found.
    """

    there: NDArray[np.float64]
    back: NDArray[np.float64]

    @property
    def hd_mm(self) -> float:
        """The largest distance (Hausdorff)."""
        return float(max(self.there.max(), self.back.max()))

    @property
    def hd95_mm(self) -> float:
        """The larger of the 95th percentiles of the two ways, as MONAI's and Metrics Reloaded's.

        Others take one percentile of both ways together (medpy), which is no more than this.
        """
        return float(max(np.percentile(self.there, 95), np.percentile(self.back, 95)))

    @property
    def assd_mm(self) -> float:
        """The mean over the border voxels of both (average symmetric surface distance)."""
        total = float(self.there.sum() + self.back.sum())
        return total / (len(self.there) + len(self.back))

    def nsd(self, tolerance_mm: float) -> float:
        """Return the share of both surfaces within a tolerance of the other (Nikolov et al. 2021).

        A distance that is the tolerance counts as within.
        """
        most = tolerance_mm * (1 + ROUNDING)
        near = np.count_nonzero(self.there <= most) + np.count_nonzero(self.back <= most)
        return float(near / (len(self.there) + len(self.back)))


def surface_distances(
    found: NDArray[np.bool_], truth: NDArray[np.bool_], spacing: Sequence[float]
) -> SurfaceDistances:
    """Measure the distances between the surfaces of two masks.

    Exact: most border voxels have the other surface within a few voxels, which is looked up by
    shifting it, nearest first; the others ask a k-d tree. What is beyond the masks counts as not in
    them, so a box around both gives what the whole grid gives.

    Parameters
    ----------
    found, truth : (I, J), (I, J, K) …
        Neither is empty. An axis of length one is an axis: there all voxels are border.
    spacing : sequence of float
        mm along each axis.

    Returns
    -------
    SurfaceDistances
    """
    mine, yours = border(found), border(truth)
    return SurfaceDistances(
        distances_to(yours, mine, tuple(map(float, spacing))),
        distances_to(mine, yours, tuple(map(float, spacing))),
    )


def border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the voxels of a mask that have a face on one that is not in it, or on the edge."""
    inner = mask.copy()
    for axis in range(mask.ndim):
        into, of = inner.swapaxes(0, axis), mask.swapaxes(0, axis)  # views
        into[1:] &= of[:-1]
        into[:-1] &= of[1:]
        into[[0, -1]] = False
    return mask ^ inner


def distances_to(
    surface: NDArray[np.bool_], points: NDArray[np.bool_], spacing: tuple[float, ...]
) -> NDArray[np.float64]:
    """Return how far each of `points` (of the same grid, in its order) is from `surface`, in mm."""
    offsets, far = neighbours(spacing)
    pads = np.abs(offsets).max(axis=0)
    padded = np.pad(surface, [(int(pad), int(pad)) for pad in pads])
    flat = padded.ravel()
    steps = np.cumprod([1, *padded.shape[:0:-1]])[::-1]  # of each axis in `flat`
    where = np.nonzero(points)
    start = sum((axis + pad) * step for axis, pad, step in zip(where, pads, steps, strict=True))
    distances = np.full(len(start), np.inf)
    left = np.arange(len(start))
    for offset, distance in zip(offsets @ steps, far, strict=True):
        hit = flat[start[left] + offset]
        distances[left[hit]] = distance
        left = left[~hit]
        if not len(left):
            return distances
    scale = np.array(spacing)
    tree = cKDTree(  # asked once: what makes asking quicker takes longer to build
        np.argwhere(surface) * scale, leafsize=32, balanced_tree=False, compact_nodes=False
    )
    rest = np.stack([axis[left] for axis in where], axis=1) * scale
    distances[left] = tree.query(rest)[0]
    return distances


@lru_cache(maxsize=32)
def neighbours(spacing: tuple[float, ...]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the offsets to the nearest voxels (n, axes) and how far they are (n,) in mm.

    Nearest first, the voxel itself among them, and none left out that is nearer than the last.
    """
    axes = len(spacing)
    grid = np.indices((2 * REACH + 1,) * axes).reshape(axes, -1).T - REACH
    far = np.sqrt(((grid * np.array(spacing)) ** 2).sum(axis=1))
    order = np.argsort(far, kind="stable")
    order = order[far[order] < (REACH + 1) * min(spacing)][:NEAR]
    return grid[order], far[order]
