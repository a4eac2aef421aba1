"""Random patches for training: one resampling for all of space, then intensity.

Flip, rotation, scaling, shear, elastic warp, shift and the cut of the patch are composed into one
coordinate field and sampled once. All randomness comes from the generator handed in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Generator, Tensor

from medvision.resize import gaussian_blur
from medvision.train_config import Augment
from medvision.transforms import sample_at

Block: TypeAlias = tuple[slice, slice, slice]  # of voxels


def uniform(low: float, high: float, size: Sequence[int], rng: Generator) -> Tensor:
    """Return uniform random numbers between `low` and `high`."""
    return low + (high - low) * torch.rand(tuple(size), generator=rng)


def chance(share: float, rng: Generator) -> bool:
    """Return True with probability `share`."""
    return bool(torch.rand((), generator=rng) < share)


@dataclass(frozen=True)
class Window:
    """The network's window, on the model's grid.

    Parameters
    ----------
    size : three ints
        Voxels; the third is 1 in 2D, and then all happens in the plane of the first two axes.
    spacing : three floats
        Voxel size in mm, so that rotations are rigid in the world.
    mirror : sequence of int
        Axes along which it may be mirrored.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    mirror: tuple[int, ...] = ()

    @property
    def dims(self) -> int:
        """2 or 3."""
        return 2 if self.size[2] == 1 else 3


def random_patch(
    image: Tensor,
    labels: Tensor | None,
    classes: int,
    window: Window,
    center: Tensor,
    rng: Generator,
    how: Augment,
) -> tuple[Tensor, Tensor | None]:
    """Cut one augmented patch.

    Parameters
    ----------
    image : Tensor, (C, I, J, K)
    labels : Tensor, (I, J, K), optional
        Integers below `classes`.
    window : Window
    center : Tensor, (3,)
        Of the patch, in voxels, before it is shifted at random.
    rng : torch.Generator
    how : Augment

    Returns
    -------
    image : Tensor, (C, *window.size)
    labels : Tensor, window.size, int64
    """
    size = torch.tensor(window.size, dtype=torch.float32)
    matrix = random_matrix(window, rng, how)
    center = center + uniform(-1, 1, (3,), rng) * how.shift * size
    warp = random_warp(window.size, how.warp, rng)
    if window.dims == 2:  # planes are not mixed
        center, warp = torch.cat([center[:2], center[2:].round()]), warp * torch.tensor([1, 1, 0])
    if torch.equal(matrix.abs(), torch.eye(3)) and not warp.any():
        patch, cut = whole_voxels(image, labels, window.size, center, matrix.diag())
    else:
        patch, cut = sampled(image, labels, classes, places_of(window.size, matrix, warp, center))
    # each channel was acquired by itself, and so changes by itself
    return torch.cat([random_intensity(one[None], rng, how) for one in patch]), cut


def whole_voxels(
    image: Tensor, labels: Tensor | None, size: Sequence[int], center: Tensor, signs: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Cut a patch on whole voxels, mirrored along the axes whose sign is negative."""
    patch, cut = image, labels
    for axis, side in enumerate(size):
        start = round(float(center[axis]) - (side - 1) / 2)
        index = torch.arange(start, start + side).clamp(0, image.shape[1 + axis] - 1)
        index = index.flip(0) if signs[axis] < 0 else index
        patch = patch.index_select(1 + axis, index)
        cut = None if cut is None else cut.index_select(axis, index)
    return patch, None if cut is None else cut.long()


def places_of(size: Sequence[int], matrix: Tensor, warp: Tensor, center: Tensor) -> Tensor:
    """Return the image's voxels (i, j, k, 3) that the patch's voxels come from.

    They are ``matrix @ (index + warp) + center``, stored axis by axis, which is faster to work on.
    """
    i, j, k = (torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in size)
    moved = (matrix @ warp.movedim(-1, 0).flatten(1)).reshape(3, *warp.shape[:3])
    a, b, c = matrix.T[..., None, None, None]  # what a step along I, J, K adds to each of three
    where: Tensor = a * i[:, None, None] + b * j[:, None] + c * k + center[:, None, None, None]
    return (where + moved).movedim(0, -1)


def sampled(
    image: Tensor, labels: Tensor | None, classes: int, where: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Sample an image (C, I, J, K) linearly at voxels (i, j, k, 3), and labels beside it."""
    block, places = block_of(where, image.shape[1:])
    patch = sample_at(image[(slice(None), *block)][None], places)[0]
    return patch, None if labels is None else labels_at(labels, classes, where, block)


def labels_at(labels: Tensor, classes: int, where: Tensor, block: Block) -> Tensor:
    """Return the class with the most share at voxels (i, j, k, 3) of labels (I, J, K).

    Shares are interpolated linearly. Only the part of the patch that comes from near a structure
    of the `block` that it comes from is looked at: the rest is background.
    """
    cut = torch.zeros(where.shape[:3], dtype=torch.long)
    near = torch.ones(where.shape[:3], dtype=torch.bool)
    inside = bounds(labels[block] > 0)
    for axis, one, reach, side in zip(where.unbind(-1), inside, block, labels.shape, strict=True):
        first, end = reach.start + one.start, reach.start + one.stop
        if first > 0:  # else what lies beyond the image repeats the structure
            near &= axis > first - 1
        if end < side:
            near &= axis < end
    part = bounds(near)
    if cut[part].numel() == 0:
        return cut
    core, places = block_of(where[part], labels.shape)
    masks = {c: labels[core] == c for c in range(1, classes)}
    masks = {c: mask for c, mask in masks.items() if mask.numpy().any()}
    if masks:
        layers = torch.stack(list(masks.values()), dim=-1).float()  # side by side: read at one go
        shares = sample_at(layers.movedim(-1, 0)[None], places)[0]
        best = 1 - shares.sum(dim=0)  # the background's
        for c, share in zip(masks, shares, strict=True):
            cut[part].masked_fill_(share > best, c)
            best = torch.maximum(best, share)
    return cut


def bounds(mask: Tensor) -> Block:
    """Return the smallest block that holds all that is true of (I, J, K), perhaps of no voxel."""
    found = []
    for others in ((1, 2), (0, 2), (0, 1)):
        places = np.flatnonzero(mask.numpy().any(axis=others))  # NumPy's is much faster
        found.append(slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0))
    i, j, k = found
    return i, j, k


def block_of(where: Tensor, shape: Sequence[int]) -> tuple[Block, Tensor]:
    """Return the block of an image that sampling at voxels (i, j, k, 3) needs, and where in it.

    The places come as (1, i, j, k, 3) in −1…1 and K, J, I order, as `sample_at` takes them.
    """
    found, places = [], []
    for axis, side in zip(where.unbind(dim=-1), shape, strict=True):
        least, most = (float(end) for end in axis.aminmax())
        low = min(max(math.floor(least), 0), side - 1)
        high = max(min(math.ceil(most), side - 1), low)
        size = high - low + 1
        found.append(slice(low, high + 1))
        places.append(axis * (2 / size) + ((1 - 2 * low) / size - 1))
    i, j, k = found
    return (i, j, k), torch.stack(places[::-1]).movedim(0, -1)[None]


def random_matrix(window: Window, rng: Generator, how: Augment) -> Tensor:
    """Return a (3, 3) map from patch offsets to image offsets, both in voxels."""
    matrix, dims = torch.eye(3), window.dims
    if not chance(how.still, rng):
        angles = uniform(-how.rotate, how.rotate, (3,), rng) * math.pi / 180
        for axis, angle in enumerate(angles):
            if dims == 2 and axis != 2:
                continue
            turn = torch.eye(3)
            a, b = [v for v in range(3) if v != axis]
            turn[a, a] = turn[b, b] = torch.cos(angle)
            turn[a, b], turn[b, a] = -torch.sin(angle), torch.sin(angle)
            matrix = turn @ matrix
        spread = math.log1p(how.scale)
        scales = torch.exp(uniform(-spread, spread, (3,), rng))
        shears = uniform(-how.shear, how.shear, (3, 3), rng)
        scales[dims:], shears[dims:], shears[:, dims:] = 1, 0, 0
        matrix = matrix @ torch.diag(scales) @ (torch.eye(3) + shears)
    for axis in window.mirror:
        if axis < dims and chance(how.flip, rng):
            matrix[:, axis] *= -1
    mm = torch.tensor(window.spacing, dtype=torch.float32)
    return matrix * mm / mm[:, None]  # mm⁻¹ · matrix · mm


def random_center(
    shape: Sequence[int], size: Sequence[int], foreground: Sequence[Tensor], rng: Generator
) -> Tensor:
    """Return a patch center in voxels: on a voxel of the foreground, else anywhere inside.

    Parameters
    ----------
    shape, size : three ints
        Of the image and of the patch; a patch larger than the image is centered on it.
    foreground : sequence of Tensor, (V, 3)
        Voxels of each structure, which are chosen equally often; none: anywhere.
    rng : torch.Generator
    """
    whole = torch.tensor(shape, dtype=torch.float32)
    margin = torch.minimum(torch.tensor(size, dtype=torch.float32), whole) / 2
    if foreground:
        voxels = foreground[int(torch.randint(len(foreground), (), generator=rng))]
        pick = voxels[int(torch.randint(len(voxels), (), generator=rng))]
        return torch.minimum(torch.maximum(pick + 0.5, margin), whole - margin) - 0.5
    return margin + uniform(0, 1, (3,), rng) * (whole - 2 * margin) - 0.5


def random_warp(size: Sequence[int], sigma: float, rng: Generator) -> Tensor:
    """Return a smooth displacement (i, j, k, 3) in voxels; zero half of the time."""
    if sigma <= 0 or chance(0.5, rng):
        return torch.zeros(1, 1, 1, 3)
    knots = torch.randn(1, 3, 5, 5, 5, generator=rng) * sigma
    field = F.interpolate(knots, size=tuple(size), mode="trilinear", align_corners=True)
    return field[0].movedim(0, -1)


def random_intensity(patch: Tensor, rng: Generator, how: Augment) -> Tensor:
    """Change contrast, shading, sharpness and noise of a (C, I, J, K) patch."""
    if chance(how.bias, rng):
        knots = torch.randn(1, 1, 3, 3, 3, generator=rng) * 0.25
        field = F.interpolate(knots, size=patch.shape[1:], mode="trilinear", align_corners=True)
        low = patch.min()
        patch = (patch - low).mul_(field[0].exp_()).add_(low)
    if chance(how.gamma, rng):
        low, high = patch.aminmax()
        span = (high - low).clamp_min(1e-6)
        power = torch.exp(uniform(-0.5, 0.5, (), rng))
        patch = (patch - low).div_(span).clamp_min_(0).pow_(power).mul_(span).add_(low)
    if chance(how.coarse, rng):
        zoom = uniform(0.5, 1.0, (3,), rng)
        sides = zip(patch.shape[1:], zoom, strict=True)
        small = [max(min(n, 2), round(n * float(z))) for n, z in sides]
        down = F.interpolate(patch[None], size=small, mode="area")  # keeps everything in place
        patch = F.interpolate(down, size=patch.shape[1:], mode="trilinear", align_corners=False)[0]
    if chance(how.blur, rng):
        patch = gaussian_blur(patch, [float(uniform(0.4, 1.1, (), rng))] * 3)
    if chance(how.level, rng):
        patch = patch * torch.exp(uniform(-0.3, 0.3, (), rng))
        patch += uniform(-0.4, 0.4, (), rng)
    if chance(how.noise, rng):
        patch = torch.randn(patch.shape, generator=rng).mul_(uniform(0.02, 0.2, (), rng)) + patch
    return patch
