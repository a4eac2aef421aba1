"""Losses: what training lowers. The same on one process and on several."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

SMOOTH = 1e-5  # keeps an absent structure from dividing by zero


class SupervisedDice(nn.Module):
    """Dice plus cross-entropy on every supervised scale.

    Each coarser map counts half of the one before, and is held against labels taken at every
    second voxel (nnU-Net's deep supervision; Isensee et al., 2021).
    """

    def forward(self, logits: Tensor | Sequence[Tensor], labels: Tensor) -> Tensor:
        """Return the loss of logits (B, N, I, J, K), or of a list of them, finest first.

        `labels` is (B, I, J, K), integers.
        """
        maps = [logits] if isinstance(logits, Tensor) else list(logits)
        weights = [0.5**scale for scale in range(len(maps))]
        total = labels.new_zeros((), dtype=torch.float32)
        for weight, one in zip(weights, maps, strict=True):
            target = F.interpolate(labels[:, None].float(), size=one.shape[2:], mode="nearest")
            total = total + weight * dice_ce(one.float(), target[:, 0].long())
        return total / sum(weights)


def dice_ce(logits: Tensor, labels: Tensor) -> Tensor:
    """Return soft Dice (without the background, over the whole batch) plus cross-entropy.

    `logits` is (B, N, I, J, K), `labels` (B, I, J, K). The batch is that of all processes: sums
    are added up over them, and gradients go through the sums.
    """
    found = logits.softmax(dim=1)[:, 1:]
    truth = F.one_hot(labels, logits.shape[1]).movedim(-1, 1)[:, 1:].to(found.dtype)
    axes = [0, *range(2, logits.ndim)]
    sums = torch.stack([(found * truth).sum(axes), (found + truth).sum(axes)])  # (2, N - 1)
    if dist.is_initialized():
        sums = all_reduce(sums)
    overlap = (2 * sums[0] + SMOOTH) / (sums[1] + SMOOTH)
    return 1 - overlap.mean() + F.cross_entropy(logits, labels)


class WeightedCrossEntropy(nn.Module):
    """Cross-entropy of classes, each case weighted by its class.

    Parameters
    ----------
    weights : Tensor, (N,)
    label_smoothing : float
        Share of the truth given to all classes alike (Szegedy et al., CVPR 2016).
    """

    def __init__(self, weights: Tensor, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Return the mean over cases of logits (B, N) and class numbers (B,)."""
        weights = self.get_buffer("weights").to(logits.device)[classes]
        loss = F.cross_entropy(
            logits.float(), classes, reduction="none", label_smoothing=self.label_smoothing
        )
        return (weights * loss).mean()
