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

from medvision.train_config import Augment
from medvision.transforms import gaussian_blur, sample_at


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
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in window.size]
    index = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)  # (i, j, k, 3)
    warp = random_warp(window.size, how.warp, rng)
    if window.dims == 2:  # planes are not mixed
        center, warp = torch.cat([center[:2], center[2:].round()]), warp * torch.tensor([1, 1, 0])
    where = (index + warp) @ matrix.T + center
    block, where = block_of(where, image.shape[1:])
    patch = sample_at(image[(slice(None), *block)][None], where)[0]
    cut = None
    if labels is not None:
        hot = F.one_hot(labels[block].long(), classes).movedim(-1, 0).float()
        cut = sample_at(hot[None], where)[0].argmax(dim=0)
    # each channel was acquired by itself, and so changes by itself
    return torch.cat([random_intensity(one[None], rng, how) for one in patch]), cut


def block_of(where: Tensor, shape: Sequence[int]) -> tuple[tuple[slice, ...], Tensor]:
    """Return the block of an image that sampling at voxels (i, j, k, 3) needs, and where in it.

    The places come as (1, i, j, k, 3) in −1…1 and K, J, I order, as `sample_at` takes them.
    """
    flat = where.reshape(-1, 3)
    last = torch.tensor(shape) - 1
    low = torch.minimum(flat.amin(0).floor().long().clamp(min=0), last)
    high = torch.maximum(torch.minimum(flat.amax(0).ceil().long(), last), low)
    sizes = (high - low + 1).float()
    places = ((2 * (where - low) + 1) / sizes - 1).flip(-1)[None]
    return tuple(slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True)), places


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
        patch = (patch - low) * field[0].exp() + low
    if chance(how.gamma, rng):
        low, span = patch.min(), (patch.max() - patch.min()).clamp_min(1e-6)
        power = torch.exp(uniform(-0.5, 0.5, (), rng))
        patch = ((patch - low) / span).clamp_min(0) ** power * span + low
    if chance(how.coarse, rng):
        zoom = uniform(0.5, 1.0, (3,), rng)
        sides = zip(patch.shape[1:], zoom, strict=True)
        small = [max(min(n, 2), round(n * float(z))) for n, z in sides]
        down = F.interpolate(patch[None], size=small, mode="area")  # keeps everything in place
        patch = F.interpolate(down, size=patch.shape[1:], mode="trilinear", align_corners=False)[0]
    if chance(how.blur, rng):
        patch = gaussian_blur(patch, [float(uniform(0.4, 1.1, (), rng))] * 3)
    if chance(how.level, rng):
        patch = patch * torch.exp(uniform(-0.3, 0.3, (), rng)) + uniform(-0.4, 0.4, (), rng)
    if chance(how.noise, rng):
        patch = patch + torch.randn(patch.shape, generator=rng) * uniform(0.02, 0.2, (), rng)
    return patch
