"""What all members of a model say together, of a window and of its mirror images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, TypeAlias

from torch import Tensor

from medvision.errors import SpecError
from medvision.models.network import Mean, finest
from medvision.openvino_model import lines_of
from medvision.spec import ModelSpec

MACHINE = ("memory", "cuda", "cudnn", "alloc")  # what is said when it is not the window's fault
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
        self.members, self.spec, self.answered = members, spec, False
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
                said = self.checked(member, turned, *rest)
                mean.add(said.flip(flip) if flip and said.dim() == windows.dim() else said)
        return mean.logits()

    def checked(self, member: Member, windows: Tensor, *rest: Any) -> Tensor:
        """Return what a member says of windows; a `SpecError` where the spec says otherwise."""
        spec = self.spec
        try:
            said = finest(member(windows, *rest))
        except (RuntimeError, ValueError) as error:
            why = lines_of(error)[-1]
            if self.answered or any(word in why.lower() for word in MACHINE):
                raise
            size = " × ".join(map(str, windows.shape[1:]))
            raise SpecError(
                f"The network of {spec.name} does not take windows of {size} (channels, then "
                f"voxels): {why} Its spec's inputs and roi_size must be what it was built for."
            ) from None
        sides = windows.shape[2:] if spec.task == "segmentation" else ()
        wanted = [len(windows), spec.outputs, *sides]
        if list(said.shape) != wanted:
            kind = "background and " if spec.task == "segmentation" and not spec.regions else ""
            raise SpecError(
                f"The network of {spec.name} answers with {list(said.shape)}, and by its spec "
                f"it is {wanted}: {spec.task} of {kind}{', '.join(spec.class_names)}."
            )
        self.answered = True
        return said
