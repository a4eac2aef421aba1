"""MONAI's Swin UNETR (Hatamizadeh et al., BrainLes 2021), taken apart as SegResNet is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medvision.models.encoder import Encoder
from medvision.models.from_monai import net_of_monai
from medvision.models.layers import check_count, cumulative
from medvision.models.network import Segmenter


class SwinEncoder(Encoder):
    """Swin Transformer: attention within windows that shift from block to block.

    Parameters
    ----------
    dims : 2 or 3
    in_channels : int
    feature_size : int
        Channels of the first map, divisible by 12; each map has twice those of the one before.
    depths, num_heads : sequence of four ints
        Blocks, and attention heads, per stage.
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        *,
        feature_size: int = 24,
        depths: Sequence[int] = (2, 2, 2, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
    ) -> None:
        super().__init__()
        check_count("feature_size", feature_size)
        if len(depths) != 4 or len(num_heads) != 4:
            raise ValueError(f"depths and num_heads are four each, found {depths}, {num_heads}")
        net = build_whole(
            in_channels=in_channels,
            out_channels=1,
            feature_size=feature_size,
            depths=tuple(depths),
            num_heads=tuple(num_heads),
            spatial_dims=dims,
        )
        self.swinViT = net.swinViT
        channels = tuple(feature_size * 2**stage for stage in range(5))
        self.describe(channels, cumulative([(2,) * dims] * 5))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the map of the patches and of each stage, finest first, normalized."""
        maps: list[Tensor] = self.swinViT(image, normalize=True)
        return maps

    def stage_modules(self) -> list[list[nn.Module]]:
        """Return the embedding of patches, then the blocks of each stage."""
        swin = self.swinViT
        layers = (swin.layers1, swin.layers2, swin.layers3, swin.layers4)
        return [[swin.patch_embed], *(list(layer.children()) for layer in layers)]


class SwinDecoder(nn.Module):
    """Residual blocks on every skip, the image among them, and transposed convolutions up."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.encoder1, self.encoder2, self.encoder3 = net.encoder1, net.encoder2, net.encoder3
        self.encoder4, self.encoder10 = net.encoder4, net.encoder10
        self.decoder5, self.decoder4, self.decoder3 = net.decoder5, net.decoder4, net.decoder3
        self.decoder2, self.decoder1 = net.decoder2, net.decoder1

    def forward(self, image: Tensor, features: Sequence[Tensor]) -> list[Tensor]:
        """Return the last map, at full size."""
        deep = self.decoder5(self.encoder10(features[4]), features[3])
        deep = self.decoder4(deep, self.encoder4(features[2]))
        deep = self.decoder3(deep, self.encoder3(features[1]))
        deep = self.decoder2(deep, self.encoder2(features[0]))
        return [self.decoder1(deep, self.encoder1(image))]


def build_swin_unetr(encoder: SwinEncoder, in_channels: int, outputs: int) -> Segmenter:
    """Put Swin UNETR's own decoder and head on its encoder."""
    net = build_whole(
        in_channels=in_channels,
        out_channels=outputs,
        feature_size=encoder.channels[0],
        spatial_dims=len(encoder.strides[0]),
    )
    return Segmenter(encoder, SwinDecoder(net), [net.out])


def build_whole(**settings: Any) -> Any:
    """Build MONAI's network, also where the default device is meta: it reads numbers on its way."""
    with torch.device("cpu"):
        net = net_of_monai("SwinUNETR")(**settings)
    return net.to(torch.get_default_device())
