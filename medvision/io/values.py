"""Voxel values as networks can take them, and what is odd about them. Knows nothing of files."""

from __future__ import annotations

import numpy as np

from medvision.geometry import Voxels


def plain_values(array: Voxels) -> Voxels:
    """Return values as float32, or as an integer of up to 32 bits.

    64-bit integers become int32 where they fit, else float32; values beyond float32 become
    infinite.
    """
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return array.astype(np.float32, copy=False)
    if array.dtype.itemsize < 8:
        return array
    low, high = np.iinfo(np.int32).min, np.iinfo(np.int32).max
    fits = low <= array.min() and array.max() <= high
    return array.astype(np.int32 if fits else np.float32)


def told_odd(array: Voxels) -> list[str]:
    """Return a note that counts the voxels that are not finite, or none.

    Looks at a plane at a time: a mapped file may be large.
    """
    if array.dtype.kind != "f":
        return []
    planes = np.moveaxis(array, -1, 0)
    odd = array.size - sum(int(np.isfinite(plane).sum()) for plane in planes)
    return [f"{odd} of {array.size} voxels are NaN or infinite; they are kept."] if odd else []
