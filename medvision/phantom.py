"""Synthetic scans whose right answers are known in closed form. Knows nothing of files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medvision.geometry import check_affine, to_world
from medvision.volume import SeriesInfo, Volume


@dataclass(frozen=True)
class Ellipsoid:
    """A structure of known place and size, its axes along the world's."""

    center_mm: tuple[float, float, float]  # RAS
    radii_mm: tuple[float, float, float]
    label: int = 1
    value: float = 100.0  # voxel value inside

    @property
    def ml(self) -> float:
        """True volume, 4/3·π·a·b·c."""
        return 4 / 3 * math.pi * math.prod(self.radii_mm) / 1000.0  # mm³ → ml


def ellipsoid_phantom(
    shape: tuple[int, int, int],
    affine: ArrayLike,
    structures: Sequence[Ellipsoid],
    noise: float = 0.0,
    seed: int = 0,
) -> tuple[Volume, Volume]:
    """Draw ellipsoids on a grid.

    Parameters
    ----------
    shape : three ints
        Grid (I, J, K).
    affine : array_like, (4, 4)
        Voxel index to RAS mm.
    structures : sequence of Ellipsoid
        Later ones cover earlier ones.
    noise : float
        Standard deviation of Gaussian noise.
    seed : int

    Returns
    -------
    image : Volume, float32
        Background 0, plus noise.
    mask : Volume, uint8
        A voxel belongs to a structure when its center does.
    """
    grid = check_affine(affine)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    world = to_world(grid, index)  # (I, J, K, 3) mm
    image = np.random.default_rng(seed).normal(0, noise, shape) if noise else np.zeros(shape)
    mask = np.zeros(shape, np.uint8)
    for one in structures:
        inside = (((world - one.center_mm) / one.radii_mm) ** 2).sum(axis=-1) <= 1
        image[inside] += one.value
        mask[inside] = one.label
    info = SeriesInfo(description="phantom")
    return (Volume(image.astype(np.float32)[None], grid, info), Volume(mask[None], grid, info))
