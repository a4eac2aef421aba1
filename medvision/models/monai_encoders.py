"""MONAI's DenseNet, EfficientNet and ViT as encoders; their modules keep MONAI's keys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from medvision.models.encoder import Encoder
from medvision.models.from_monai import net_of_monai
from medvision.models.layers import CONV, check_count, cumulative

STEMS = ("large", "small")


class DenseNetEncoder(Encoder):
    """DenseNet-121 (Huang et al., CVPR 2017).

    Parameters
    ----------
    dims : 2 or 3
    in_channels : int
    stem : {"large", "small"}
        ``large``: convolution 7 with stride 2, and max pooling, as published. ``small``:
        convolution 3 with stride 1, for images of about 28 voxels a side.
    """

    def __init__(self, dims: int, in_channels: int, *, stem: str = "large") -> None:
        super().__init__()
        check_stem(stem)
        self.large = stem == "large"
        net = net_of_monai("DenseNet")(dims, in_channels, out_channels=1)
        if not self.large:
            net.features.conv0 = CONV[dims](in_channels, 64, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(net.features.conv0.weight)
            net.features.pool0 = nn.Identity()
        self.features, self.relu = net.features, nn.ReLU()
        first, halves = (2 if self.large else 1,) * dims, [(2,) * dims] * 4
        channels, strides = (64, 256, 512, 1024, 1024), cumulative([first, *halves])
        skipped = 0 if self.large else 1  # nothing halves between a small stem and the first block
        self.describe(channels[skipped:], strides[: len(channels) - skipped])
        self.smallest = self.strides[-1]  # its mean pooling rounds down

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the map of each dense block, and before them of a large stem."""
        maps, x = [], image
        for name, layer in self.features.named_children():
            x = layer(x)
            if name.startswith("denseblock") or (name == "relu0" and self.large):
                maps.append(x)
        return [*maps[:-1], self.relu(x)]  # what follows the last block is its norm

    def stage_modules(self) -> list[list[nn.Module]]:
        """Return the stem, then each dense block with what follows it."""
        stages: list[list[nn.Module]] = [[]]
        for name, layer in self.features.named_children():
            if name.startswith("denseblock"):
                stages.append([])
            stages[-1].append(layer)
        return stages


class EfficientNetEncoder(Encoder):
    """EfficientNet-B0 (Tan & Le, ICML 2019).

    Parameters
    ----------
    dims : 2 or 3
    in_channels : int
    stem : {"large", "small"}
        Stride of the first convolution: 2, as published, or 1 for images of about 28 voxels a
        side.
    """

    def __init__(self, dims: int, in_channels: int, *, stem: str = "large") -> None:
        super().__init__()
        check_stem(stem)
        net = net_of_monai("EfficientNetBN")(
            "efficientnet-b0", pretrained=False, spatial_dims=dims, in_channels=in_channels
        )
        if stem == "small":
            net._conv_stem.stride = (1,) * dims
        for module in list(net.modules()):
            adapt_to_any_size(module)
        self._conv_stem_padding, self._conv_stem = net._conv_stem_padding, net._conv_stem
        self._bn0, self._blocks = net._bn0, net._blocks
        self._conv_head, self._bn1 = net._conv_head, net._bn1
        self._swish = nn.SiLU(inplace=True)
        first = (2 if stem == "large" else 1,) * dims
        steps = [first] + [(2,) * dims] * 4
        self.describe((16, 24, 40, 112, 1280), cumulative(steps))
        self.ends = (0, 1, 2, 4, 6)  # the last stack before each halving

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the last map of each size."""
        x = self._swish(self._bn0(self._conv_stem(self._conv_stem_padding(image))))
        maps = []
        for number, stack in enumerate(self._blocks):
            x = stack(x)
            if number in self.ends:
                maps.append(x)
        return [*maps[:-1], self._swish(self._bn1(self._conv_head(x)))]

    def stage_modules(self) -> list[list[nn.Module]]:
        """Return the stacks by the size of their maps, the stem with the first."""
        stages: list[list[nn.Module]] = [[self._conv_stem, self._bn0]]
        for number, stack in enumerate(self._blocks):
            stages[-1].append(stack)
            if number in self.ends[:-1]:
                stages.append([])
        stages[-1] += [self._conv_head, self._bn1]
        return stages


class ViTEncoder(Encoder):
    """Vision Transformer (Dosovitskiy et al., ICLR 2021): one map, of the last block's tokens.

    Parameters
    ----------
    dims : 2 or 3
    in_channels : int
    image_size : sequence of int
        It takes images of this size alone: each place has an embedding of its own.
    patch_size : int or sequence of int
        Voxels that make a token, per axis; the image must divide by it.
    hidden_size, mlp_dim, num_layers, num_heads : int
    dropout_rate : float
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        image_size: Sequence[int],
        *,
        patch_size: int | Sequence[int] = 16,
        hidden_size: int = 768,
        mlp_dim: int = 3072,
        num_layers: int = 12,
        num_heads: int = 12,
        dropout_rate: float = 0.0,
    ) -> None:
        super().__init__()
        check_count("hidden_size", hidden_size)
        check_count("mlp_dim", mlp_dim)
        check_count("num_layers", num_layers)
        patch = (patch_size,) * dims if isinstance(patch_size, int) else tuple(patch_size)
        self.grid = tuple(side // one for side, one in zip(image_size, patch, strict=True))
        if any(side % one for side, one in zip(image_size, patch, strict=True)):
            raise ValueError(f"its sides must divide by patch_size, {patch_size}")
        net = net_of_monai("ViT")(
            in_channels=in_channels,
            img_size=image_size,
            patch_size=patch,
            hidden_size=hidden_size,
            mlp_dim=mlp_dim,
            num_layers=num_layers,
            num_heads=num_heads,
            dropout_rate=dropout_rate,
            spatial_dims=dims,
            qkv_bias=True,
        )
        for block in net.blocks:
            cast(Any, block).norm_cross_attn = nn.Identity()  # never used: it would not learn
        self.patch_embedding, self.blocks, self.norm = net.patch_embedding, net.blocks, net.norm
        self.describe((hidden_size,), (patch,))
        self.divisor = patch

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return [map], the map (B, hidden_size, I/patch_size, …)."""
        tokens = self.patch_embedding(image)  # (B, places, hidden_size)
        for block in self.blocks:
            tokens = block(tokens)
        return [self.norm(tokens).transpose(1, 2).unflatten(2, self.grid)]

    def stage_modules(self) -> list[list[nn.Module]]:
        """Return the embedding, then each block, the last with the norm."""
        stages: list[list[nn.Module]] = [[self.patch_embedding], *([one] for one in self.blocks)]
        stages[-1].append(self.norm)
        return stages


class SamePadding(nn.Module):
    """TensorFlow's SAME padding: sides are divided by the stride and rounded up, whatever they are.

    MONAI's own is made for one size of image.
    """

    def __init__(self, kernel: Sequence[int], stride: Sequence[int]) -> None:
        super().__init__()
        self.kernel, self.stride = tuple(kernel), tuple(stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the padded map."""
        pads: list[int] = []
        for side, kernel, stride in zip(x.shape[2:], self.kernel, self.stride, strict=True):
            total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
            pads = [total // 2, total - total // 2, *pads]  # torch names the last axis first
        return F.pad(x, pads)


def adapt_to_any_size(module: nn.Module) -> None:
    """Give a module of EfficientNet padding for images of any size, and torch's own swish."""
    for name, child in list(module.named_children()):
        if name.endswith("_padding") and not isinstance(child, nn.Identity):
            conv = getattr(module, name.removesuffix("_padding"))
            setattr(module, name, SamePadding(conv.kernel_size, conv.stride))
        elif name == "_swish":
            setattr(module, name, nn.SiLU(inplace=True))


def check_stem(stem: str) -> None:
    """Refuse an unknown stem."""
    if stem not in STEMS:
        raise ValueError(f"unknown stem {stem!r}, choose from {', '.join(STEMS)}")
