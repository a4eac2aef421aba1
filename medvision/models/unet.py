"""The encoders of nnU-Net in 2D and 3D: plain and residual.

Isensee et al., Nature Methods 2021, and the residual presets of "nnU-Net Revisited" (MICCAI
2024): instance norm, leaky ReLU, strided convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from medvision.models.encoder import StagedEncoder
from medvision.models.layers import (
    AVG_POOL,
    CONV,
    Stride,
    check_counts,
    conv_block,
    conv_layer,
    cumulative,
    init_he,
    norm_layer,
    stage_counts,
    stage_kernels,
    stage_strides,
)


class UNetEncoder(StagedEncoder):
    """Plain convolutions.

    Parameters
    ----------
    dims : 2 or 3
    in_channels : int
    features : sequence of int
        Channels of each stage, finest first.
    encoder_convs : int or sequence of int
        Convolutions per stage.
    strides : sequence, optional
        Of each stage: a whole number, or one per axis (thick slices are halved less often than
        the plane). Default: 1, then 2.
    kernels : sequence, optional
        Sides of each stage's convolutions, as for strides. Default: 3.
    norm : {"instance", "batch", "group"}
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        *,
        features: Sequence[int] = (32, 64, 128, 256),
        encoder_convs: int | Sequence[int] = 2,
        strides: Sequence[int | Sequence[int]] | None = None,
        kernels: Sequence[int | Sequence[int]] | None = None,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        steps = stage_strides(dims, features, strides)
        counts = stage_counts("encoder_convs", encoder_convs, len(features))
        self.describe(tuple(features), cumulative(steps))
        self.kernels = tuple(stage_kernels(dims, len(features), kernels))
        self.stages = nn.ModuleList()
        before = in_channels
        for width, step, count, kernel in zip(features, steps, counts, self.kernels, strict=True):
            blocks = [conv_block(dims, before, width, step, norm, kernel=kernel)]
            blocks += [
                conv_block(dims, width, width, norm=norm, kernel=kernel) for _ in range(count - 1)
            ]
            self.stages.append(nn.Sequential(*blocks))
            before = width
        self.apply(init_he)


class ResidualEncoder(StagedEncoder):
    """Residual blocks, more of them the deeper the stage.

    Parameters
    ----------
    dims : 2 or 3
    in_channels : int
    features : sequence of int
        Channels of each stage, finest first.
    blocks : sequence of int
        Residual blocks per stage.
    strides, kernels : sequence, optional
        Of each stage, as for `UNetEncoder`.
    norm : {"instance", "batch", "group"}
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        *,
        features: Sequence[int] = (32, 64, 128, 256),
        blocks: Sequence[int] = (1, 3, 4, 6),
        strides: Sequence[int | Sequence[int]] | None = None,
        kernels: Sequence[int | Sequence[int]] | None = None,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        if len(check_counts("blocks", blocks)) != len(features):
            raise ValueError(f"{len(features)} stages need {len(features)} entries of blocks")
        steps = stage_strides(dims, features, strides)
        self.describe(tuple(features), cumulative(steps))
        self.kernels = tuple(stage_kernels(dims, len(features), kernels))
        stem = conv_block(dims, in_channels, features[0], norm=norm, kernel=self.kernels[0])
        self.stages = nn.ModuleList()
        before, same = features[0], (1,) * dims
        for number, (width, step, count, kernel) in enumerate(
            zip(features, steps, blocks, self.kernels, strict=True)
        ):
            stage = [ResidualBlock(dims, before, width, step, norm, kernel)]
            stage += [
                ResidualBlock(dims, width, width, same, norm, kernel) for _ in range(count - 1)
            ]
            self.stages.append(nn.Sequential(*([stem] if number == 0 else []), *stage))
            before = width
        self.apply(init_he)


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut of mean pooling and a 1×1 convolution where needed.

    (ResNet-D: He et al., "Bag of tricks", CVPR 2019.)
    """

    def __init__(
        self,
        dims: int,
        channels_in: int,
        channels_out: int,
        stride: Stride,
        norm: str,
        kernel: int | Stride = 3,
    ) -> None:
        super().__init__()
        self.first = conv_block(dims, channels_in, channels_out, stride, norm, kernel=kernel)
        self.conv = conv_layer(dims, channels_out, channels_out, kernel)
        self.norm = norm_layer(dims, norm, channels_out)
        shortcut: list[nn.Module] = []
        if max(stride) > 1:
            shortcut.append(AVG_POOL[dims](stride, ceil_mode=True))
        if channels_in != channels_out:
            shortcut.append(CONV[dims](channels_in, channels_out, 1, bias=False))
            shortcut.append(norm_layer(dims, norm, channels_out))
        self.shortcut = nn.Sequential(*shortcut)
        self.act = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map."""
        out: Tensor = self.act(self.norm(self.conv(self.first(x))) + self.shortcut(x))
        return out
