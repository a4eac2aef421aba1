"""U-Net in 2D and 3D: encoder, decoder and head kept apart.

The plain convolutional U-Net of nnU-Net (Isensee et al., Nature Methods 2021): instance norm,
leaky ReLU, strided convolutions down, transposed convolutions up.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
UP_CONV = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def conv_block(dims: int, channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    """Return conv 3 → instance norm → leaky ReLU.

    A group norm of one channel a group is an instance norm, and unlike torch's own it keeps
    channels-last memory.
    """
    return nn.Sequential(
        CONV[dims](channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(channels_out, channels_out),
        nn.LeakyReLU(0.01, inplace=True),
    )


class UNetEncoder(nn.Module):
    """One feature map per stage, each half the size of the one before."""

    def __init__(self, dims: int, in_channels: int, features: Sequence[int], convs: int) -> None:
        super().__init__()
        self.channels = tuple(features)
        self.stages = nn.ModuleList()
        for stage, width in enumerate(features):
            before = in_channels if stage == 0 else features[stage - 1]
            blocks = [conv_block(dims, before, width, stride=1 if stage == 0 else 2)]
            blocks += [conv_block(dims, width, width) for _ in range(convs - 1)]
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return features[s]: (B, C_s, I/2^s, J/2^s, K/2^s) for an image (B, C, I, J, K)."""
        features = []
        for stage in self.stages:
            image = stage(image)
            features.append(image)
        return features


class UNetDecoder(nn.Module):
    """Climb back to full size, joining the encoder's features on the way."""

    def __init__(self, dims: int, channels: Sequence[int], convs: int) -> None:
        super().__init__()
        pairs = list(pairwise(channels))[::-1]  # deepest first
        self.ups = nn.ModuleList(UP_CONV[dims](deep, skip, 2, stride=2) for skip, deep in pairs)
        self.joins = nn.ModuleList()
        for skip, _ in pairs:
            blocks = [conv_block(dims, 2 * skip, skip)]
            blocks += [conv_block(dims, skip, skip) for _ in range(convs - 1)]
            self.joins.append(nn.Sequential(*blocks))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return one map per decoder stage, coarsest first; the last is at full size."""
        deep, maps = features[-1], []
        for up, join, skip in zip(self.ups, self.joins, reversed(features[:-1]), strict=True):
            deep = join(torch.cat([up(deep), skip], dim=1))
            maps.append(deep)
        return maps


class UNet(nn.Module):
    """Encoder, decoder and a 1×1 head.

    Parameters
    ----------
    dims : 2 or 3
    in_channels, out_channels : int
        Image channels, and classes with the background.
    features : sequence of int
        Channels of each stage, finest first. Image sides must divide by ``2 ** (stages - 1)``.
    encoder_convs, decoder_convs : int
        Convolutions per stage.
    deep_supervision : bool
        In training mode, also return logits of the coarser decoder stages, so that the loss can
        reach them (Dou et al., MedIA 2017).
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        out_channels: int,
        features: Sequence[int] = (32, 64, 128, 256),
        encoder_convs: int = 2,
        decoder_convs: int = 2,
        deep_supervision: bool = True,
    ) -> None:
        super().__init__()
        self.divisor = 2 ** (len(features) - 1)
        self.encoder = UNetEncoder(dims, in_channels, features, encoder_convs)
        self.decoder = UNetDecoder(dims, features, decoder_convs)
        supervised = list(features[:-1])[::-1] if deep_supervision else [features[0]]
        self.heads = nn.ModuleList(CONV[dims](width, out_channels, 1) for width in supervised)
        self.apply(init_he)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Return logits (B, N, I, J, K); in training mode a list of them, finest first."""
        maps = self.decoder(self.encoder(image))
        if self.training and len(self.heads) > 1:
            return [head(m) for head, m in zip(self.heads, maps, strict=True)][::-1]
        return cast(Tensor, self.heads[-1](maps[-1]))


def init_he(module: nn.Module) -> None:
    """He initialisation for leaky ReLU (He et al., ICCV 2015)."""
    if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
