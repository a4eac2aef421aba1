"""MONAI's ResNet as an encoder, its keys kept (conv1, bn1, layer1.0.conv1, …).

MedicalNet's and torchvision's weights have the same keys, and so load one to one.
"""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from medvision.models.encoder import Encoder
from medvision.models.from_monai import net_of_monai
from medvision.models.layers import BATCH_NORM, check_count, cumulative, norm_layer

LAYERS = {  # He et al., CVPR 2016, table 1; 10 and 200 as in MedicalNet
    10: ("basic", (1, 1, 1, 1)),
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
    200: ("bottleneck", (3, 24, 36, 3)),
}
STEMS = {"large": (7, 2, True), "medium": (3, 2, False), "small": (3, 1, False)}
SHORTCUTS = ("A", "B")
EXPANSION = {"basic": 1, "bottleneck": 4}  # channels that a block ends in, by its width


class ResNetEncoder(Encoder):
    """A residual network.

    Parameters
    ----------
    dims : 2 or 3
    in_channels : int
    depth : int
        A key of `LAYERS`.
    stem : {"large", "medium", "small"}
        ``large``: convolution 7 with stride 2, and max pooling, as published. ``medium``:
        convolution 3 with stride 2. ``small``: convolution 3 with stride 1, for images of about
        28 voxels a side, which ``large`` brings down to one voxel.
    width : int
        Channels of the first stage.
    norm : {"batch", "instance", "group"}
    shortcut : {"B", "A"}
        How a shortcut gets more channels: by a 1×1 convolution, or by zeros (MedicalNet's 18 and
        34).
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        depth: int,
        *,
        stem: str = "large",
        width: int = 64,
        norm: str = "batch",
        shortcut: str = "B",
    ) -> None:
        super().__init__()
        check_count("width", width)
        if stem not in STEMS:
            raise ValueError(f"unknown stem {stem!r}, choose from {', '.join(STEMS)}")
        if shortcut not in SHORTCUTS:
            raise ValueError(f"unknown shortcut {shortcut!r}, choose from {', '.join(SHORTCUTS)}")
        block, layers = LAYERS[depth]
        kernel, stride, pooled = STEMS[stem]
        widths = [width * 2**stage for stage in range(4)]
        net = net_of_monai("ResNet")(
            block=block,
            layers=list(layers),
            block_inplanes=widths,
            spatial_dims=dims,
            n_input_channels=in_channels,
            conv1_t_size=kernel,
            conv1_t_stride=stride,
            no_max_pool=not pooled,
            shortcut_type="B",
            feed_forward=False,
            bias_downsample=False,
        )
        if shortcut == "A":
            pad_shortcuts(net)
        if norm != "batch":  # MONAI's own argument reaches bn1 alone
            replace_norms(net, dims, norm)
        self.conv1, self.bn1, self.act = net.conv1, net.bn1, net.act
        self.maxpool = net.maxpool if pooled else None
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            net.layer1, net.layer2, net.layer3, net.layer4,
        )  # fmt: skip
        expansion = EXPANSION[block]
        channels = [expansion * one for one in widths]
        strides = [(stride * (2 if pooled else 1),) * dims] + [(2,) * dims] * 3
        maps = cumulative(strides)
        if pooled:  # the stem's own map is finer than the first stage's
            channels, maps = [width, *channels], ((stride,) * dims, *maps)
        self.describe(tuple(channels), maps)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return a map of each stage, and before them of a large stem."""
        stem = self.act(self.bn1(self.conv1(image)))
        maps = [stem]
        if self.maxpool is not None:
            stem = self.maxpool(stem)
        maps.append(self.layer1(stem))
        for layer in (self.layer2, self.layer3, self.layer4):
            maps.append(layer(maps[-1]))
        return maps if self.maxpool is not None else maps[1:]

    def stage_modules(self) -> list[list[nn.Module]]:
        """Return the stem, then the blocks of each stage."""
        layers = (self.layer1, self.layer2, self.layer3, self.layer4)
        return [[self.conv1, self.bn1], *(list(layer.children()) for layer in layers)]


class PadShortcut(nn.Module):
    """Take every `stride`-th voxel and add channels of zeros (He et al., CVPR 2016, option A).

    MONAI's own cuts the gradient off.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride

    def forward(self, x: Tensor) -> Tensor:
        """Return the padded map."""
        steps = (slice(None), slice(None), *[slice(None, None, self.stride)] * (x.ndim - 2))
        return F.pad(x[steps], [0, 0] * (x.ndim - 2) + [0, self.channels - x.shape[1]])


def pad_shortcuts(net: nn.Module) -> None:
    """Replace each 1×1 convolution of a shortcut by zeros."""
    for module in net.modules():
        conv = getattr(module, "downsample", None)
        if isinstance(conv, nn.Sequential):
            first = cast(nn.Conv3d, conv[0])
            module.downsample = PadShortcut(first.out_channels, first.stride[0])


def replace_norms(net: nn.Module, dims: int, norm: str) -> None:
    """Replace each batch norm by another norm."""
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, BATCH_NORM[dims]):
                setattr(module, name, norm_layer(dims, norm, child.num_features))
