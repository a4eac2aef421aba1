"""A plain convolutional encoder in 2D and 3D."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from medvision.models.encoder import StagedEncoder
from medvision.models.layers import (
    MAX_POOL,
    Stride,
    check_count,
    conv_block,
    cumulative,
    init_he,
    stage_strides,
)


class CNNEncoder(StagedEncoder):
    """Stages of conv → norm → ReLU with max pooling between them (after VGG; Simonyan, 2015).

    Parameters
    ----------
    dims : 2 or 3
    in_channels : int
    features : sequence of int
        Channels of each stage, finest first.
    convs : int
        Convolutions per stage.
    strides : sequence, optional
        Of each stage: a whole number, or one per axis. Default: 1, then 2.
    norm : {"batch", "instance", "group"}
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        *,
        features: Sequence[int] = (32, 64, 128, 256),
        convs: int = 2,
        strides: Sequence[int | Sequence[int]] | None = None,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        check_count("convs", convs)
        steps = stage_strides(dims, features, strides)
        self.describe(tuple(features), cumulative(steps))
        self.stages = nn.ModuleList()
        before = in_channels
        for width, step in zip(features, steps, strict=True):
            blocks = [conv_block(dims, before, width, norm=norm, slope=0.0)]
            blocks += [
                conv_block(dims, width, width, norm=norm, slope=0.0) for _ in range(convs - 1)
            ]
            self.stages.append(nn.Sequential(pool(dims, step), *blocks))
            before = width
        self.apply(init_he)


def pool(dims: int, stride: Stride) -> nn.Module:
    """Return max pooling that keeps a last incomplete window, so that no side falls to zero."""
    return MAX_POOL[dims](stride, ceil_mode=True) if max(stride) > 1 else nn.Identity()
