"""Losses: what training lowers. The same on one process and on several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

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

    `logits` is (B, N, I, J, K), `labels` (B, I, J, K). The batch of Dice is that of all processes;
    cross-entropy is of this process alone, since the mean of their gradients is that of the whole.
    """
    log_shares = logits.log_softmax(dim=1)
    found = log_shares[:, 1:].exp()
    classes = torch.arange(1, logits.shape[1], device=labels.device)
    truth = labels[:, None] == classes.view(-1, *[1] * (labels.ndim - 1))
    axes = [0, *range(2, logits.ndim)]
    sums = torch.stack([(found * truth).sum(axes), found.sum(axes) + truth.sum(axes)])  # (2, N - 1)
    common, size = sum_over_processes(sums)
    overlap = (2 * common + SMOOTH) / (size + SMOOTH)
    loss: Tensor = 1 - overlap.mean() + F.nll_loss(log_shares, labels)
    return loss


def sum_over_processes(sums: Tensor) -> Tensor:
    """Add a tensor up over all processes; gradients go through the sum."""
    if not dist.is_initialized():
        return sums
    added: Tensor = _SumOverProcesses.apply(sums)  # type: ignore[no-untyped-call]
    return added


class _SumOverProcesses(torch.autograd.Function):
    """A sum whose gradient is the sum of all processes' gradients, as each of them depends on it.

    DDP then takes the mean over the processes, which leaves the gradient of the loss.
    """

    @staticmethod
    def forward(ctx: Any, sums: Tensor) -> Tensor:
        return _added(sums)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _added(gradients[0])


def _added(values: Tensor) -> Tensor:
    values = values.clone()
    dist.all_reduce(values)
    return values


class WeightedCrossEntropy(nn.Module):
    """Cross-entropy of classes, each case weighted by its class.

    Parameters
    ----------
    weights : Tensor, (N,)
    label_smoothing : float
        Share of the truth given to all classes alike (Szegedy et al., CVPR 2016).
    alone : float
        How much each modality's own logits count, so that neither encoder is left behind (Wang
        et al., CVPR 2020).
    """

    def __init__(self, weights: Tensor, label_smoothing: float = 0.0, alone: float = 0.3) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.label_smoothing, self.alone = label_smoothing, alone

    def forward(self, logits: Tensor | Sequence[Tensor], classes: Tensor) -> Tensor:
        """Return the mean over cases of logits (B, N) and class numbers (B,).

        Of a list, the first counts in full, the others as `alone`.
        """
        first, *others = [logits] if isinstance(logits, Tensor) else logits
        loss = self.of(first, classes)
        for one in others:
            loss = loss + self.alone * self.of(one, classes)
        return loss

    def of(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Return the weighted mean of one set of logits."""
        weights = self.get_buffer("weights").to(logits.device)[classes]
        loss = F.cross_entropy(
            logits.float(), classes, reduction="none", label_smoothing=self.label_smoothing
        )
        return (weights * loss).mean()


class BinaryCrossEntropy(WeightedCrossEntropy):
    """Cross-entropy of classes of which a case may have any number, each a yes or no of its own.

    `weights` (N,) is how much the cases that have a class count; label smoothing moves yes and no
    towards one half.
    """

    def of(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Return the mean over cases and classes of logits (B, N) and truth (B, N), 0 or 1."""
        truth = classes * (1 - self.label_smoothing) + self.label_smoothing / 2
        weights = self.get_buffer("weights").to(logits.device)
        return F.binary_cross_entropy_with_logits(logits.float(), truth, pos_weight=weights)
