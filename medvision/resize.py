"""Bring an image to another number of voxels along its own axes: one matrix an axis, exactly.

Resampling along axes is linear and separable, so each axis has a matrix (new voxels × old ones),
made once by scipy and multiplied on the device. Knows nothing of models or files.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from medvision.inference_spec import Ends


def resize(
    image: Tensor,
    shape: Sequence[int],
    order: int = 1,
    ends: Ends = "edges",
    zooms: Sequence[float] = (1.0, 1.0, 1.0),
    thick: int | None = None,
) -> Tensor:
    """Return an image (C, I, J, K) in `shape`, its border values held beyond it.

    With `ends` of edges the result is ``skimage.transform.resize(mode="edge",
    anti_aliasing=False)``: values stay within those of the channel.

    Parameters
    ----------
    image : Tensor, (C, I, J, K)
        Float; not changed.
    shape : three ints
        New sides.
    order : {0, 1, 3}
        Nearest voxel, linear or cubic B-spline.
    ends : {"edges", "centers"}
        What stays in place: see `Sampling`.
    zooms : three floats
        With `ends` of centers, new voxel size over old.
    thick : int, optional
        An axis that is sampled apart, by the nearest slice; the slices are resized one by one.
    """
    axes = [axis for axis in range(3) if axis != thick]
    if thick is not None:  # first, so that no slice is resized in vain where there are fewer
        rows = nearest(image.shape[1 + thick], shape[thick], ends, zooms[thick])
        if rows is not None:
            image = image.index_select(1 + thick, torch.from_numpy(rows).to(image.device))
    kept = [1 + axis for axis in axes]
    clip = order > 1 and ends == "edges" and tuple(image.shape[1:]) != tuple(shape)
    low, high = image, image
    if clip:
        low, high = image.amin(dim=kept, keepdim=True), image.amax(dim=kept, keepdim=True)
    axes.sort(key=lambda axis: shape[axis] / image.shape[1 + axis])  # what shrinks goes first
    for axis in axes:
        old, new = image.shape[1 + axis], int(shape[axis])
        if order == 0:
            rows = nearest(old, new, ends, zooms[axis])
            if rows is not None:
                image = image.index_select(1 + axis, torch.from_numpy(rows).to(image.device))
        elif (found := matrix(old, new, order, ends, float(zooms[axis]))) is not None:
            image = along(image, torch.from_numpy(found).to(image.device, image.dtype), 1 + axis)
    return image.clamp_(low, high) if clip else image


def along(image: Tensor, weights: Tensor, axis: int) -> Tensor:
    """Multiply one axis of an image by a matrix (new, old)."""
    sides = list(image.shape)
    before, after = image.shape[:axis].numel(), image.shape[axis + 1 :].numel()
    sides[axis] = len(weights)
    if after == 1:
        return (image.reshape(before, -1) @ weights.T).reshape(sides)
    return torch.matmul(weights, image.reshape(before, -1, after)).reshape(sides)


@functools.lru_cache(maxsize=16)
def matrix(old: int, new: int, order: int, ends: Ends, zoom: float) -> NDArray[np.float32] | None:
    """Return the weights (new, old) of a line of voxels in another; None where nothing changes."""
    if old == new and (ends == "edges" or zoom == 1):
        return None
    columns = np.empty((new, old), np.float32)
    for number, line in enumerate(np.eye(old)):
        if ends == "edges":
            columns[:, number] = ndimage.zoom(
                line, new / old, order=order, mode="nearest", grid_mode=True
            )
        else:
            where = np.arange(new)[None] * zoom
            columns[:, number] = ndimage.map_coordinates(line, where, order=order, mode="nearest")
    return columns


def nearest(old: int, new: int, ends: Ends, zoom: float) -> NDArray[np.int64] | None:
    """Return which old voxel is nearest to each new one; None where nothing changes."""
    if old == new and (ends == "edges" or zoom == 1):
        return None
    where = np.arange(new, dtype=np.float64)
    where = (where + 0.5) * (old / new) - 0.5 if ends == "edges" else where * zoom
    found = ndimage.map_coordinates(np.arange(old), where[None], order=0, mode="nearest")
    return np.asarray(found, np.int64)


def gaussian_blur(image: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Blur (C, I, J, K) by a Gaussian of `sigmas` voxels along I, J, K, borders repeated.

    It reaches four times the image's side at most: beyond, all is border.
    """
    for axis, sigma in enumerate(sigmas):
        if sigma <= 0 or image.shape[1 + axis] == 1:
            continue
        reach = max(1, round(min(3 * sigma, 4 * image.shape[1 + axis])))
        weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
        shape, pad = [1, 1, 1, 1, 1], [0] * 6
        shape[2 + axis] = len(weights)
        pad[2 * (2 - axis)] = pad[2 * (2 - axis) + 1] = reach
        padded = F.pad(image[:, None], pad, mode="replicate")
        weights = (weights / weights.sum()).reshape(shape).to(image.device)
        image = F.conv3d(padded, weights)[:, 0]
    return image
