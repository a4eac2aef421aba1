"""From any encoder's pyramid back to full size. Knows neither encoder nor classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medvision.models.layers import (
    UP_CONV,
    Stride,
    check_count,
    conv_block,
    init_he,
    ratios,
    stage_counts,
    stage_kernels,
)

SHALLOW = 32  # most channels of the skip that comes from the image itself


class Decoder(nn.Module):
    """Climb by transposed convolutions, joining the encoder's maps on the way (a U-Net's).

    Where the finest map is coarser than the image, a shallow convolution of the image is joined
    last; where two neighbours lie more than one doubling apart, there are steps without a skip.

    Parameters
    ----------
    dims : 2 or 3
    in_channels : int
        Of the image.
    channels, strides : sequence
        Of the encoder.
    convs : int or sequence of int
        Convolutions per step; of several numbers, as many as there are steps, coarsest first.
    widest : int, optional
        Most channels of a step; None for as many as the skip has.
    norm : str
        One of `layers.NORMS`.
    kernels : sequence, optional
        Sides of the convolutions that join each of the encoder's maps; 3 unless given.

    Attributes
    ----------
    channels : tuple of int
        Of the maps that `forward` returns.
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        channels: Sequence[int],
        strides: Sequence[Stride],
        convs: int | Sequence[int] = 2,
        widest: int | None = None,
        norm: str = "instance",
        kernels: Sequence[Stride] | None = None,
    ) -> None:
        super().__init__()
        check_count("widest", 1 if widest is None else widest)
        skips, grid = list(channels), list(strides)
        sides = stage_kernels(dims, len(skips), kernels)
        self.shallow = None
        if max(grid[0]) > 1:
            width = min(SHALLOW, channels[0])
            self.shallow = conv_block(dims, in_channels, width, norm=norm)
            skips, grid, sides = [width, *skips], [(1,) * dims, *grid], [(3,) * dims, *sides]
        if len(skips) < 2:
            raise ValueError("a decoder needs two maps or more")
        self.ups, self.joins, self.skipped = nn.ModuleList(), nn.ModuleList(), []
        before = skips[-1]
        widths: list[int] = []
        climbs = [small_steps(ratio) for ratio in ratios(grid)[::-1]]
        counts = stage_counts("decoder_convs", convs, sum(map(len, climbs)))
        for skip, steps, kernel in zip(skips[-2::-1], climbs, sides[-2::-1], strict=True):
            for number, step in enumerate(steps, start=1):
                joined = skip if number == len(steps) else 0
                width = joined or max(before // 2, skip)
                width = width if widest is None else min(width, widest)
                count = counts[len(widths)]
                blocks = [conv_block(dims, width + joined, width, norm=norm, kernel=kernel)]
                blocks += [
                    conv_block(dims, width, width, norm=norm, kernel=kernel)
                    for _ in range(count - 1)
                ]
                self.ups.append(UP_CONV[dims](before, width, step, stride=step))
                self.joins.append(nn.Sequential(*blocks))
                self.skipped.append(not joined)
                widths.append(width)
                before = width
        self.channels = tuple(widths)
        self.apply(init_he)

    def forward(self, image: Tensor, features: Sequence[Tensor]) -> list[Tensor]:
        """Return one map per step, coarsest first; the last is at full size."""
        skips = list(features) if self.shallow is None else [self.shallow(image), *features]
        deep, maps = skips.pop(), []
        for up, join, skipped in zip(self.ups, self.joins, self.skipped, strict=True):
            deep = up(deep)
            deep = join(deep if skipped else torch.cat([deep, skips.pop()], dim=1))
            maps.append(deep)
        return maps


def small_steps(ratio: Stride) -> list[Stride]:
    """Split a ratio into its prime factors: (4, 4, 2) → (2, 2, 2), (2, 2, 1)."""
    left, steps = list(ratio), []
    while max(left) > 1:
        step = tuple(next((f for f in range(2, side + 1) if side % f == 0), 1) for side in left)
        left = [side // f for side, f in zip(left, step, strict=True)]
        steps.append(step)
    return steps
