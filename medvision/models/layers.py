"""The layers that networks of medvision are made of, in 2D and 3D. Knows no network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeAlias, cast

from torch import nn

Stride: TypeAlias = tuple[int, ...]  # one whole number per axis of the image

CONV: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
UP_CONV: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MAX_POOL: dict[int, Any] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVG_POOL: dict[int, Any] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
BATCH_NORM: dict[int, Any] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
NORMS = ("instance", "batch", "group")


def norm_layer(dims: int, norm: str, channels: int) -> nn.Module:
    """Return a normalization of `channels` maps.

    ``instance`` is a group norm of one channel a group: the same numbers as torch's own instance
    norm, which does not keep channels-last memory. ``group`` makes eight groups, or as many as
    divide the channels.
    """
    if norm not in NORMS:
        raise ValueError(f"unknown norm {norm!r}, choose from {', '.join(NORMS)}")
    if norm == "batch":
        return cast(nn.Module, BATCH_NORM[dims](channels))
    return nn.GroupNorm(channels if norm == "instance" else math.gcd(8, channels), channels)


def conv_block(
    dims: int,
    channels_in: int,
    channels_out: int,
    stride: int | Stride = 1,
    norm: str = "instance",
    slope: float = 0.01,
    kernel: int | Stride = 3,
) -> nn.Sequential:
    """Return conv → norm → leaky ReLU; with a `slope` of 0 it is a ReLU."""
    return nn.Sequential(
        conv_layer(dims, channels_in, channels_out, kernel, stride),
        norm_layer(dims, norm, channels_out),
        nn.LeakyReLU(slope, inplace=True),
    )


def conv_layer(
    dims: int,
    channels_in: int,
    channels_out: int,
    kernel: int | Stride = 3,
    stride: int | Stride = 1,
) -> nn.Module:
    """Return a convolution without bias; with a stride of 1 the map keeps its size."""
    sides = (kernel,) * dims if isinstance(kernel, int) else kernel
    padding = tuple(side // 2 for side in sides)
    conv = CONV[dims](channels_in, channels_out, sides, stride=stride, padding=padding, bias=False)
    return cast(nn.Module, conv)


def init_he(module: nn.Module) -> None:
    """He initialisation for leaky ReLU (He et al., ICCV 2015)."""
    if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def check_counts(name: str, counts: Sequence[int]) -> Sequence[int]:
    """Refuse what is not a list of whole numbers above 0."""
    whole = isinstance(counts, (list, tuple)) and all(type(one) is int for one in counts)
    if not whole or not counts or min(counts) < 1:
        raise ValueError(f"{name} is a list of whole numbers above 0, found {counts!r}")
    return counts


def stage_counts(name: str, given: int | Sequence[int], stages: int) -> list[int]:
    """Return a count for each of some stages: as `given`, or one number for all."""
    if isinstance(given, int):
        check_count(name, given)
        return [given] * stages
    if len(check_counts(name, given)) != stages:
        raise ValueError(f"{stages} stages need {stages} entries of {name}, found {len(given)}")
    return list(given)


def check_count(name: str, count: int) -> None:
    """Refuse what is not a whole number above 0."""
    if type(count) is not int or count < 1:
        raise ValueError(f"{name} is a whole number above 0, found {count!r}")


def stage_strides(
    dims: int, features: Sequence[int], given: Sequence[int | Sequence[int]] | None
) -> list[Stride]:
    """Return the stride of each stage: as `given`, else 1 for the first and 2 for the others."""
    stages = len(check_counts("features", features))
    if given is None:
        given = [1] + [2] * (stages - 1)
    if len(given) != stages:
        raise ValueError(f"{stages} stages need {stages} strides, found {len(given)}")
    strides = [(one,) * dims if isinstance(one, int) else tuple(one) for one in given]
    if any(len(one) != dims or min(one) < 1 for one in strides):
        raise ValueError(f"a stride is a whole number, or {dims} of them, found {given}")
    return strides


def stage_kernels(
    dims: int, stages: int, given: Sequence[int | Sequence[int]] | None
) -> list[Stride]:
    """Return the sides of each stage's convolutions: as `given`, else 3."""
    if given is None:
        return [(3,) * dims] * stages
    if len(given) != stages:
        raise ValueError(f"{stages} stages need {stages} kernels, found {len(given)}")
    kernels = [(one,) * dims if isinstance(one, int) else tuple(one) for one in given]
    if any(len(one) != dims or any(side < 1 or side % 2 == 0 for side in one) for one in kernels):
        raise ValueError(f"a kernel is an odd number, or {dims} of them, found {given}")
    return kernels


def cumulative(strides: Sequence[Stride]) -> tuple[Stride, ...]:
    """Return the product of strides up to each stage: the stride relative to the image."""
    found = [tuple(1 for _ in strides[0])]
    for stride in strides:
        found.append(tuple(a * b for a, b in zip(found[-1], stride, strict=True)))
    return tuple(found[1:])


def ratios(strides: Sequence[Stride]) -> list[Stride]:
    """Return the ratio between each two neighbours of cumulative strides.

    Raises
    ------
    ValueError
        When one is not a whole number.
    """
    found = []
    for fine, coarse in pairwise(strides):
        if any(c % f for f, c in zip(fine, coarse, strict=True)):
            raise ValueError(f"a map of stride {coarse} cannot climb to one of stride {fine}")
        found.append(tuple(c // f for f, c in zip(fine, coarse, strict=True)))
    return found
