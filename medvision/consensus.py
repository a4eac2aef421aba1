"""What all members of a model say together, of a window and of its mirror images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, TypeAlias

from torch import Tensor

from medvision.models.network import Mean, finest
from medvision.spec import ModelSpec

Member: TypeAlias = Callable[..., Any]  # windows (B, C, I, J, K), and reports → logits


class Consensus:
    """Asks each member of a model, and averages; no more than one answer and the sum is held.

    Parameters
    ----------
    members : sequence of callable
        Networks, or what runs them.
    spec : ModelSpec
    mirror : sequence of int
        Axes (0, 1, 2) along which windows are mirrored, to ask again (test-time augmentation).
    """

    def __init__(
        self, members: Sequence[Member], spec: ModelSpec, mirror: Sequence[int] = ()
    ) -> None:
        self.members = members
        self.flips = [
            [2 + axis for axis in axes]
            for count in range(len(mirror) + 1)
            for axes in combinations(sorted(mirror), count)
        ]
        apart = spec.multilabel or bool(spec.regions)
        self.of = "sigmoid" if apart else "softmax"
        if spec.sliding.average == "logits":
            self.of = "logits"

    def __call__(self, windows: Tensor, *rest: Any) -> Tensor:
        """Return the logits (B, N, …) of windows (B, C, I, J, K), and perhaps their reports."""
        mean = Mean(self.of)
        for flip in self.flips:
            turned = windows.flip(flip) if flip else windows
            for member in self.members:
                said = finest(member(turned, *rest))
                mean.add(said.flip(flip) if flip and said.dim() == windows.dim() else said)
        return mean.logits()
