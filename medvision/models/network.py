"""Encoder, decoder and head put together: `Segmenter`, `Classifier`, and an `Ensemble` of either.

Images are (B, C, I, J, K) here; in 2D K is 1, and goes and comes back inside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from medvision.errors import SpecError
from medvision.models.encoder import Encoder
from medvision.models.layers import CONV, Stride, init_he


class Segmenter(nn.Module):
    """An encoder, a decoder, and a head on the finest of the decoder's maps, or on each.

    Parameters
    ----------
    encoder : Encoder
    decoder : nn.Module
        ``(image, features)`` → maps, coarsest first, the last at full size.
    heads : sequence of nn.Module
        From a map to logits: one for the finest, or one for each. With several, training mode
        also gives the logits of coarser maps, so that the loss can reach them (deep supervision:
        Dou et al., MedIA 2017).

    Attributes
    ----------
    divisor : tuple of int
        What the sides of an image must divide by.
    """

    def __init__(self, encoder: Encoder, decoder: nn.Module, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.dims = len(encoder.strides[0])
        self.encoder, self.decoder, self.heads = encoder, decoder, nn.ModuleList(heads)
        sides = zip(*encoder.strides, encoder.divisor, strict=True)
        self.divisor: Stride = tuple(math.lcm(*side) for side in sides)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Return logits (B, N, I, J, K); in training mode a list of them, finest first."""
        flat = flatten(image, self.dims)
        return self.decode(flat, self.encoder(flat))

    def decode(self, flat: Tensor, features: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Return the logits that belong to an image without its last axis, if 2D, and its maps."""
        maps = self.decoder(flat, features)
        if self.training and len(self.heads) > 1:
            pairs = zip(self.heads, maps, strict=True)
            return [unflatten(head(one), self.dims) for head, one in pairs][::-1]
        return unflatten(self.heads[-1](maps[-1]), self.dims)


def one_by_one_heads(
    dims: int, channels: Sequence[int], outputs: int, deep_supervision: bool
) -> list[nn.Module]:
    """Return 1×1 convolutions to logits, for each of a decoder's maps or for the last alone."""
    supervised = channels if deep_supervision else channels[-1:]
    heads: list[nn.Module] = [CONV[dims](width, outputs, 1) for width in supervised]
    for head in heads:
        init_he(head)
    return heads


class Classifier(nn.Module):
    """An encoder, the mean of its deepest map, dropout, and a linear head.

    Attributes
    ----------
    features : int
        Length of what `encode` returns.
    divisor : tuple of int
        What the sides of an image must divide by; ones for most encoders.
    """

    def __init__(self, encoder: Encoder, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dims, self.divisor = len(encoder.strides[0]), encoder.divisor
        self.features = encoder.channels[-1]
        self.encoder, self.dropout = encoder, nn.Dropout(dropout)
        self.head = nn.Linear(self.features, classes)

    def encode(self, image: Tensor) -> Tensor:
        """Return the pooled features (B, F) of an image (B, C, I, J, K)."""
        deepest: Tensor = self.encoder(flatten(image, self.dims))[-1]
        return deepest.flatten(2).mean(dim=2)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, N) of an image (B, C, I, J, K)."""
        return cast(Tensor, self.head(self.dropout(self.encode(image))))


class Ensemble(nn.Module):
    """Networks of one shape, under one roof; `medvision.consensus` asks them all."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)


def members_of(model: nn.Module) -> list[nn.Module]:
    """Return the networks of an ensemble, or the one network."""
    return list(model.members) if isinstance(model, Ensemble) else [model]


class Mean:
    """The mean of several answers, of which no more than the sum is held.

    Parameters
    ----------
    of : {"softmax", "sigmoid", "logits"}
        Probabilities of classes of which one is there, or of each by itself; or logits.
    """

    def __init__(self, of: str) -> None:
        self.of, self.count = of, 0
        self.sum: Tensor | None = None
        self.no: Tensor | None = None

    def add(self, logits: Tensor) -> None:
        """Add an answer (B, N, …)."""
        self.count += 1
        if self.count == 1 and self.of != "logits":
            self.sum = logits  # as it is, in case it stays alone
        elif self.of == "logits":
            self.sum = logits if self.sum is None else self.sum + logits
        elif self.of == "softmax":
            before = cast(Tensor, self.sum)
            before = before.log_softmax(dim=1) if self.count == 2 else before
            self.sum = torch.logaddexp(before, logits.log_softmax(dim=1))
        else:
            before = cast(Tensor, self.sum)
            yes, no = before, self.no
            if no is None:
                yes, no = F.logsigmoid(before), F.logsigmoid(-before)
            self.sum = torch.logaddexp(yes, F.logsigmoid(logits))
            self.no = torch.logaddexp(no, F.logsigmoid(-logits))

    def logits(self) -> Tensor:
        """Return logits (B, N, …) whose softmax, sigmoid or value is the mean of all answers."""
        found = cast(Tensor, self.sum)
        if self.count == 1:
            return found
        if self.of == "logits":
            return found / self.count
        return found - math.log(self.count) if self.no is None else found - self.no


def finest(answer: Any) -> Tensor:
    """Return the logits at full size, whether or not coarser ones came with them.

    Raises
    ------
    SpecError
        When a network's answer is neither logits nor a list of them, the finest first.
    """
    first = answer[0] if isinstance(answer, list | tuple) and answer else answer
    if not isinstance(first, Tensor):
        raise SpecError(
            "A network answers with a tensor of logits, or with several, the finest first; found "
            f"a {type(first).__name__}."
        )
    return first


def flatten(image: Tensor, dims: int) -> Tensor:
    """Drop the last axis of an image (B, C, I, J, 1) in 2D."""
    return image.squeeze(-1) if dims == 2 else image


def unflatten(image: Tensor, dims: int) -> Tensor:
    """Give the last axis back."""
    return image.unsqueeze(-1) if dims == 2 else image
