"""Random patches for training: one resampling for all of space, then intensity.

Flip, rotation, scaling, shear, elastic warp, shift and the cut of the patch are composed into one
coordinate field and sampled once. All randomness comes from the generator handed in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Generator, Tensor

from medvision.transforms import sample_at


@dataclass(frozen=True)
class Augment:
    """How far random changes go; chances are per sample."""

    flip: float = 0.5  # chance to mirror left and right
    rotate: float = 15.0  # degrees about each axis
    scale: float = 0.15  # log-uniform between 1/(1+s) and 1+s, per axis
    shear: float = 0.05
    shift: float = 0.1  # of the patch's side
    warp: float = 1.5  # voxels, standard deviation at the control points
    still: float = 0.3  # chance that nothing but flip and shift happens to space
    gamma: float = 0.4
    bias: float = 0.4
    level: float = 0.4
    blur: float = 0.2
    coarse: float = 0.2
    noise: float = 0.2


def uniform(low: float, high: float, size: Sequence[int], rng: Generator) -> Tensor:
    """Return uniform random numbers between `low` and `high`."""
    return low + (high - low) * torch.rand(tuple(size), generator=rng)


def chance(share: float, rng: Generator) -> bool:
    """Return True with probability `share`."""
    return bool(torch.rand((), generator=rng) < share)


def random_patch(
    image: Tensor,
    labels: Tensor,
    classes: int,
    roi_size: Sequence[int],
    spacing: Sequence[float],
    flip_axis: int,
    rng: Generator,
    how: Augment,
) -> tuple[Tensor, Tensor]:
    """Cut one augmented patch.

    Parameters
    ----------
    image : Tensor, (C, I, J, K)
    labels : Tensor, (I, J, K)
        Integers below `classes`.
    roi_size : three ints
    spacing : three floats
        Voxel size in mm, so that rotations are rigid in the world.
    flip_axis : int
        The axis that runs between left and right.
    rng : torch.Generator
    how : Augment

    Returns
    -------
    image : Tensor, (C, *roi_size)
    labels : Tensor, roi_size, int64
    """
    roi = torch.tensor(roi_size, dtype=torch.float32)
    matrix = random_matrix(spacing, flip_axis, rng, how)
    center = random_center(labels, roi, rng) + uniform(-1, 1, (3,), rng) * how.shift * roi
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in roi_size]
    index = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)  # (i, j, k, 3)
    index = index + random_warp(roi_size, how.warp, rng)
    where = index @ matrix.T + center
    sizes = torch.tensor(labels.shape, dtype=torch.float32)
    where = ((2 * where + 1) / sizes - 1).flip(-1)[None]
    patch = sample_at(image[None], where)[0]
    hot = F.one_hot(labels.long(), classes).movedim(-1, 0).float()
    cut = sample_at(hot[None], where)[0].argmax(dim=0)
    # each channel was acquired by itself, and so changes by itself
    return torch.cat([random_intensity(one[None], rng, how) for one in patch]), cut


def random_matrix(spacing: Sequence[float], flip_axis: int, rng: Generator, how: Augment) -> Tensor:
    """Return a (3, 3) map from patch offsets to image offsets, both in voxels."""
    matrix = torch.eye(3)
    if not chance(how.still, rng):
        angles = uniform(-how.rotate, how.rotate, (3,), rng) * math.pi / 180
        for axis, angle in enumerate(angles):
            turn = torch.eye(3)
            a, b = [v for v in range(3) if v != axis]
            turn[a, a] = turn[b, b] = torch.cos(angle)
            turn[a, b], turn[b, a] = -torch.sin(angle), torch.sin(angle)
            matrix = turn @ matrix
        spread = math.log1p(how.scale)
        matrix = matrix @ torch.diag(torch.exp(uniform(-spread, spread, (3,), rng)))
        matrix = matrix @ (torch.eye(3) + uniform(-how.shear, how.shear, (3, 3), rng))
    if chance(how.flip, rng):
        matrix[:, flip_axis] *= -1
    mm = torch.tensor(spacing, dtype=torch.float32)
    return matrix * mm / mm[:, None]  # mm⁻¹ · matrix · mm


def random_center(labels: Tensor, roi: Tensor, rng: Generator) -> Tensor:
    """Return a patch center in voxels: on the foreground one time in two, else anywhere inside."""
    size = torch.tensor(labels.shape, dtype=torch.float32)
    margin = torch.minimum(roi, size) / 2  # a patch larger than the image is centered on it
    center = margin + uniform(0, 1, (3,), rng) * (size - 2 * margin) - 0.5
    if chance(0.5, rng):
        voxels = labels.nonzero()
        if len(voxels):
            pick = int(torch.randint(len(voxels), (), generator=rng))
            inside = torch.minimum(torch.maximum(voxels[pick] + 0.5, margin), size - margin)
            center = inside - 0.5
    return center


def random_warp(roi_size: Sequence[int], sigma: float, rng: Generator) -> Tensor:
    """Return a smooth displacement (i, j, k, 3) in voxels; zero half of the time."""
    if sigma <= 0 or chance(0.5, rng):
        return torch.zeros(1, 1, 1, 3)
    knots = torch.randn(1, 3, 5, 5, 5, generator=rng) * sigma
    field = F.interpolate(knots, size=tuple(roi_size), mode="trilinear", align_corners=True)
    return field[0].movedim(0, -1)


def random_intensity(patch: Tensor, rng: Generator, how: Augment) -> Tensor:
    """Change contrast, shading, sharpness and noise of a (C, I, J, K) patch."""
    if chance(how.bias, rng):
        knots = torch.randn(1, 1, 3, 3, 3, generator=rng) * 0.25
        field = F.interpolate(knots, size=patch.shape[1:], mode="trilinear", align_corners=True)
        low = patch.min()
        patch = (patch - low) * field[0].exp() + low
    if chance(how.gamma, rng):
        low, span = patch.min(), (patch.max() - patch.min()).clamp_min(1e-6)
        power = torch.exp(uniform(-0.5, 0.5, (), rng))
        patch = ((patch - low) / span).clamp_min(0) ** power * span + low
    if chance(how.coarse, rng):
        zoom = uniform(0.5, 1.0, (3,), rng)
        small = [max(2, round(n * float(z))) for n, z in zip(patch.shape[1:], zoom, strict=True)]
        down = F.interpolate(patch[None], size=small, mode="area")  # keeps everything in place
        patch = F.interpolate(down, size=patch.shape[1:], mode="trilinear", align_corners=False)[0]
    if chance(how.blur, rng):
        patch = gaussian_blur(patch, float(uniform(0.4, 1.1, (), rng)))
    if chance(how.level, rng):
        patch = patch * torch.exp(uniform(-0.3, 0.3, (), rng)) + uniform(-0.4, 0.4, (), rng)
    if chance(how.noise, rng):
        patch = patch + torch.randn(patch.shape, generator=rng) * uniform(0.02, 0.2, (), rng)
    return patch


def gaussian_blur(patch: Tensor, sigma: float) -> Tensor:
    """Blur (C, I, J, K) by a separable Gaussian of `sigma` voxels, borders repeated."""
    reach = max(1, round(3 * sigma))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    weights = weights / weights.sum()
    for axis in range(3):
        shape, pad = [1, 1, 1, 1, 1], [0] * 6
        shape[2 + axis] = len(weights)
        pad[2 * (2 - axis)] = pad[2 * (2 - axis) + 1] = reach
        padded = F.pad(patch[:, None], pad, mode="replicate")
        patch = F.conv3d(padded, weights.reshape(shape))[:, 0]
    return patch
