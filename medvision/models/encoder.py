"""What every encoder offers: an image in, a pyramid of feature maps out.

Knows nothing of tasks: the same encoder serves classification, segmentation and fusion.
"""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn

from medvision.models.layers import Stride


class Encoder(nn.Module):
    """A network from an image to feature maps.

    Attributes
    ----------
    channels : tuple of int
        Channels of each map, finest first.
    strides : tuple of tuple of int
        How many voxels of the image one voxel of each map stands for, per axis; where they do not
        divide the image, sides are rounded up (DenseNet's down).
    divisor : tuple of int
        What the sides of an image must divide by, whatever the task; ones for most.
    smallest : tuple of int
        Shortest sides of an image; ones for most.
    kernels : tuple of tuple of int, optional
        Sides of the convolutions before each map, where a decoder should have the same.
    frozen : int
        Stages, from the image on, that stay in eval mode when the network trains.
    """

    channels: tuple[int, ...]
    strides: tuple[Stride, ...]
    divisor: Stride
    smallest: Stride
    kernels: tuple[Stride, ...] | None = None
    frozen: int = 0

    def describe(self, channels: tuple[int, ...], strides: tuple[Stride, ...]) -> None:
        """Set what is known of the maps; `divisor` and `smallest` become ones."""
        self.channels, self.strides = channels, strides
        self.divisor = self.smallest = tuple(1 for _ in strides[0])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return maps[s]: (B, C_s, I/stride_s, …), finest first, of an image (B, C, I, J[, K])."""
        raise NotImplementedError

    def stage_modules(self) -> list[list[nn.Module]]:
        """Return all modules that hold weights, by depth from the image on.

        Freezing and layer-wise learning rates count these stages.
        """
        raise NotImplementedError

    def train(self, mode: bool = True) -> Self:
        """Set the mode, but of frozen stages: their running statistics must not move."""
        super().train(mode)
        for stage in self.stage_modules()[: self.frozen]:
            for module in stage:
                module.eval()
        return self


class StagedEncoder(Encoder):
    """An encoder whose stages follow one another, each giving one map."""

    stages: nn.ModuleList

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return one map per stage, finest first."""
        maps = []
        for stage in self.stages:
            image = stage(image)
            maps.append(image)
        return maps

    def stage_modules(self) -> list[list[nn.Module]]:
        """Return the blocks of each stage."""
        return [list(stage.children()) for stage in self.stages]
