"""Volumes for a viewer in a browser: a NIfTI that it reads at once, windows, a first look.

Knows nothing of files and of the viewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip

from medvision.render.planes import Plane, channels_shown, display_window, planes_of
from medvision.volume import Volume, Window

WINDOWS = {  # HU; Hofer, CT Teaching Manual, and what radiology's viewers call them
    "Soft tissue": Window(40, 400),
    "Lung": Window(-600, 1500),
    "Bone": Window(400, 1800),
    "Brain": Window(40, 80),
    "Liver": Window(60, 160),
}
LARGE = 60_000_000  # voxels from which a smaller volume is shown first
RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
NARROW: dict[
    np.dtype[Any], type[np.generic]
] = {  # kinds of values that NIfTI's readers in browsers do not know, and what holds them
    np.dtype(np.float64): np.float32,
    np.dtype(np.float16): np.float32,
    np.dtype(np.int64): np.int32,
    np.dtype(np.uint64): np.uint32,
    np.dtype(np.bool_): np.uint8,
}


def viewer_nifti(volume: Volume) -> bytes:
    """Return a ``.nii.gz`` of a volume, zipped fast; colors as RGB, channels as the fourth axis.

    Voxels and affine are the volume's, but float64 becomes float32 and values of 64 bits 32, where
    they fit; else float32.
    """
    array = volume.array
    if channels_shown(volume) == 3:
        array = np.ascontiguousarray(np.moveaxis(array, 0, -1)).view(RGB)[..., 0]
    else:
        array = narrowed(array)
        array = array[0] if len(array) == 1 else np.moveaxis(array, 0, -1)
    image = nib.Nifti1Image(array, volume.affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(volume.affine, 2)
    image.set_qform(None, 0)  # cannot hold a shear
    return bytes(igzip.compress(image.to_bytes(), 1))


def narrowed(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the values as a kind that browsers' readers know."""
    kind = NARROW.get(array.dtype)
    if kind is None:
        return array
    if issubclass(kind, np.integer) and array.size:
        limits = np.iinfo(kind)
        if array.min() < limits.min or array.max() > limits.max:
            return array.astype(np.float32)
    return array.astype(kind)


def label_map(volume: Volume, values: Sequence[int]) -> Volume:
    """Return a map of labels, numbered from 1 in the order of `values`, all else 0.

    Small numbers, which a program on a graphics card looks up in a short table. Segments, one a
    channel, have their channel's number as value, from 1; the later covers the earlier.
    """
    dtype = np.uint8 if len(values) < 256 else np.uint16
    found = np.zeros(volume.shape, dtype)
    apart = volume.info.channels == "segment"
    array = volume.array[0]
    if apart:
        for number, value in sorted(enumerate(values, 1), key=lambda one: one[1]):
            if 1 <= value <= len(volume.array):
                found[volume.array[value - 1] > 0] = number
    elif array.dtype in (np.uint8, np.bool_):
        table = np.zeros(256, dtype)
        for number, value in enumerate(values, 1):
            if 0 < value < 256:
                table[value] = number
        found = table[array.astype(np.uint8, copy=False)]
    else:
        order = np.argsort(values)
        known = np.asarray(values)[order]
        if known.size:
            place = np.searchsorted(known, array).clip(0, len(known) - 1)
            found = np.where((known[place] == array) & (array != 0), order[place] + 1, 0)
    info = replace(volume.info, channels="") if apart else volume.info
    return Volume(found.astype(dtype, copy=False)[None], volume.affine, info)


def half_size(volume: Volume) -> Volume:
    """Return every other voxel along each axis that has more than one, of the first channels shown.

    Quick, and still in its place in the world: a first look at what takes long to load.
    """
    steps = [2 if side > 1 else 1 for side in volume.shape]
    thin = volume.array[: channels_shown(volume), :: steps[0], :: steps[1], :: steps[2]]
    affine = volume.affine.copy()
    affine[:3, :3] *= steps
    return Volume(np.ascontiguousarray(thin), affine, volume.info)


def is_large(volume: Volume) -> bool:
    """Tell whether a volume takes so long to load that `half_size` should be shown first."""
    return volume.array.size > LARGE


def windows_of(volume: Volume) -> dict[str, Window]:
    """Return windows by name, the usual one first; for CT those of its tissues."""
    usual = {"Default window": display_window(volume)}
    if volume.info.unit == "HU":
        return usual | WINDOWS
    if channels_shown(volume) == 3 or not np.issubdtype(volume.array.dtype, np.number):
        return usual
    low, high = extent_of(volume.array)
    return usual | ({"All values": Window((low + high) / 2, high - low)} if high > low else {})


def extent_of(array: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Return the lowest and the highest finite value; 0 and 1 where there is none."""
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 1.0)
    if np.isfinite([low, high]).all():
        return low, high
    finite = array[np.isfinite(array)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def flat_plane(volume: Volume) -> Plane | None:
    """Return the plane of a 2D image; None for a volume."""
    planes: Sequence[Plane] = planes_of(volume)
    return planes[0] if 1 in volume.shape and len(planes) == 1 else None
