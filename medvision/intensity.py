"""The values of an image on a network's scale, and which voxels speak for them.

What each rule means is in `medvision.intensity_spec`. Knows nothing of grids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from medvision.errors import SpecError
from medvision.intensity_spec import Intensity

MAX_SAMPLES = 4_000_000  # voxels that percentiles are taken from
WHOLE = (0, 100)  # percentiles that need no sample: statistics are of every voxel


def scale_intensity(image: Tensor, rule: Intensity, filled: Tensor | None = None) -> Tensor:
    """Return the image on the network's intensity scale; voxels that are not finite get the lowest.

    Percentiles, and what is taken within them, are of an even sample of at most four million
    voxels, in float64; without percentiles (0 to 100) statistics are of every voxel.

    Parameters
    ----------
    image : Tensor, (C, I, J, K)
        Float; not changed.
    rule : Intensity
    filled : Tensor, (I, J, K) bool, optional
        For a rule that acts inside what is filled.

    Raises
    ------
    SpecError
        When there is no finite voxel, or all are alike where the rule compares them.
    """
    finite = torch.isfinite(image)
    if not finite.any():
        raise SpecError("The image has no finite voxel.")
    keep = None if finite.all() else finite
    inside = inside_of(image, rule, filled)
    if inside is not None and keep is not None:
        inside &= keep
    keep = keep if inside is None else inside
    low, high, center, width = numbers(image, rule, keep)
    if not width > 0:
        raise SpecError(f"The image is constant ({low:g} everywhere): nothing to look at.")
    image = torch.nan_to_num(image, nan=low, posinf=high, neginf=low)
    if rule.clip or rule.rule == "window":
        image.clamp_(low, high)
    image.sub_(center).div_(width)
    return image if inside is None else image.masked_fill_(~inside, 0.0)


def numbers(
    image: Tensor, rule: Intensity, keep: Tensor | None
) -> tuple[float, float, float, float]:
    """Return the rule's limits, and what is subtracted and divided by, from the voxels to `keep`.

    Without limits they are the lowest and highest value.
    """
    if rule.rule == "window":
        return rule.low, rule.high, (rule.low + rule.high) / 2, (rule.high - rule.low) / 2
    if rule.rule == "fixed":
        low, high = (rule.low, rule.high) if rule.clip else ends_of(image, keep)
        return low, high, rule.mean, rule.std
    if tuple(rule.percentiles) == WHOLE:
        low, high = ends_of(image, keep)
        some = None
    else:
        some = sample(image, keep)
        low, high = (float(one) for one in np.percentile(some, rule.percentiles))
    if rule.rule == "range":
        width = (high - low) / (rule.to[1] - rule.to[0])
        return low, high, low - rule.to[0] * width, width
    if some is None:
        return low, high, *moments(image, keep)
    some = some.clip(low, high) if rule.clip else some
    return low, high, float(some.mean()), float(some.std())


def ends_of(image: Tensor, keep: Tensor | None) -> tuple[float, float]:
    """Return the lowest and highest value."""
    some = image if keep is None else image[keep]
    return float(some.min()), float(some.max())


def moments(image: Tensor, keep: Tensor | None) -> tuple[float, float]:
    """Return mean and standard deviation of every voxel to keep, plane by plane in float64."""
    count, total, spread = 0, 0.0, 0.0
    for plane in planes(image, keep):
        count += plane.numel()
        total += float(plane.sum(dtype=torch.float64))
    mean = total / count
    for plane in planes(image, keep):
        spread += float((plane.double() - mean).square_().sum())
    return mean, (spread / count) ** 0.5


def planes(image: Tensor, keep: Tensor | None) -> Iterator[Tensor]:
    """Yield what is to keep of each plane of (C, I, J, K)."""
    for number in range(image.shape[1]):
        yield image[:, number] if keep is None else image[:, number][keep[:, number]]


def inside_of(image: Tensor, rule: Intensity, filled: Tensor | None) -> Tensor | None:
    """Return the voxels (C, I, J, K) that a rule acts on; None for all."""
    if not rule.inside:
        return None
    found = image != 0
    if rule.inside == "filled" and filled is not None:
        found = filled.to(image.device).expand_as(image).clone()
    if not found.any():
        raise SpecError("The image is 0 everywhere: nothing to look at.")
    return found


def sample(image: Tensor, keep: Tensor | None) -> NDArray[np.float64]:
    """Return an even sample of what is to keep, in float64."""
    step = max(1, round((image.numel() / MAX_SAMPLES) ** (1 / 3)))
    some = image[..., ::step, ::step, ::step]
    if keep is not None:
        some = some[keep[..., ::step, ::step, ::step]]
    if some.numel() == 0:
        raise SpecError("The image has no finite voxel.")
    return some.cpu().numpy().astype(np.float64).ravel()


def filled_mask(images: Iterable[NDArray[Any]]) -> NDArray[np.bool_]:
    """Return where any channel of any image (C, I, J, K) is not 0, holes filled: (I, J, K).

    As ``scipy.ndimage.binary_fill_holes``: a hole does not touch the border, by faces.
    """
    mask: NDArray[np.bool_] = np.logical_or.reduce([(one != 0).any(axis=0) for one in images])
    if mask.all():
        return mask
    parts, count = ndimage.label(~mask)
    open_ones = np.zeros(count + 1, bool)
    for axis in range(3):
        for end in (0, -1):
            open_ones[np.unique(parts.take(end, axis=axis))] = True
    open_ones[0] = False
    found: NDArray[np.bool_] = ~open_ones[parts]
    return found


def box_of(mask: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """Return the smallest block that holds a mask (I, J, K), all of it where there is none."""
    found = []
    for axis, side in enumerate(mask.shape):
        others = tuple(one for one in range(3) if one != axis)
        there = np.flatnonzero(mask.any(axis=others))
        found.append(slice(int(there[0]), int(there[-1]) + 1) if len(there) else slice(0, side))
    i, j, k = found
    return i, j, k
