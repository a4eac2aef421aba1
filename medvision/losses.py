"""Losses: what training lowers."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812
from monai.losses import DiceCELoss
from torch import Tensor, nn


class SupervisedDice(nn.Module):
    """Dice plus cross-entropy on every supervised scale.

    Each coarser map counts half of the one before, and is held against labels taken at every
    second voxel (nnU-Net's deep supervision; Isensee et al., 2021).
    """

    def __init__(self) -> None:
        super().__init__()
        self.loss = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)

    def forward(self, logits: Tensor | Sequence[Tensor], labels: Tensor) -> Tensor:
        """Return the loss of logits (B, N, I, J, K), or of a list of them, finest first.

        `labels` is (B, I, J, K), integers.
        """
        maps = [logits] if isinstance(logits, Tensor) else list(logits)
        weights = [0.5**scale for scale in range(len(maps))]
        total = labels.new_zeros((), dtype=maps[0].float().dtype)
        for weight, one in zip(weights, maps, strict=True):
            target = F.interpolate(labels[:, None].float(), size=one.shape[2:], mode="nearest")
            total = total + weight * self.loss(one.float(), target)
        return total / sum(weights)
