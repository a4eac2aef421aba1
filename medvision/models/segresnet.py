"""MONAI's SegResNet (Myronenko, BrainLes 2018), taken apart into encoder, decoder and head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from medvision.models.encoder import Encoder
from medvision.models.from_monai import net_of_monai
from medvision.models.layers import check_count, cumulative, stage_strides
from medvision.models.network import Segmenter


class SegResNetEncoder(Encoder):
    """Residual blocks with group norm before the activation.

    Parameters
    ----------
    dims : 2 or 3
    in_channels : int
    init_filters : int
        Channels of the first stage, divisible by 8; each stage has twice those of the one before.
    blocks_down : sequence of int
        Residual blocks per stage.
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        *,
        init_filters: int = 16,
        blocks_down: Sequence[int] = (1, 2, 2, 4),
    ) -> None:
        super().__init__()
        check_count("init_filters", init_filters)
        steps = stage_strides(dims, blocks_down, None)
        self.init_filters, self.blocks_down = init_filters, tuple(blocks_down)
        net = net_of_monai("SegResNet")(
            spatial_dims=dims,
            in_channels=in_channels,
            init_filters=init_filters,
            blocks_down=self.blocks_down,
        )
        self.convInit, self.down_layers = net.convInit, net.down_layers
        widths = tuple(init_filters * 2**stage for stage in range(len(blocks_down)))
        self.describe(widths, cumulative(steps))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return one map per stage, finest first."""
        x, maps = self.convInit(image), []
        for down in self.down_layers:
            x = down(x)
            maps.append(x)
        return maps

    def stage_modules(self) -> list[list[nn.Module]]:
        """Return the blocks of each stage, the first convolution with the first."""
        first, *others = [list(down.children()) for down in self.down_layers]
        return [[self.convInit, *first], *others]


class SegResNetDecoder(nn.Module):
    """Linear upsampling, and skips that are added."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.up_samples, self.up_layers = net.up_samples, net.up_layers

    def forward(self, image: Tensor, features: Sequence[Tensor]) -> list[Tensor]:
        """Return one map per step, coarsest first; the last is at full size."""
        deep, maps = features[-1], []
        skips = reversed(features[:-1])
        for up, layer, skip in zip(self.up_samples, self.up_layers, skips, strict=True):
            deep = layer(up(deep) + skip)
            maps.append(deep)
        return maps


def build_segresnet(encoder: SegResNetEncoder, in_channels: int, outputs: int) -> Segmenter:
    """Put SegResNet's own decoder and head on its encoder."""
    net = net_of_monai("SegResNet")(
        spatial_dims=len(encoder.strides[0]),
        in_channels=in_channels,
        out_channels=outputs,
        init_filters=encoder.init_filters,
        blocks_down=encoder.blocks_down,
        blocks_up=(1,) * (len(encoder.blocks_down) - 1),
    )
    return Segmenter(encoder, SegResNetDecoder(net), [net.conv_final])
