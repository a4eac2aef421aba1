"""Networks are built with no more numbers than the weights that are there for them.

A file of a few bytes can promise a network of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from medvision.errors import SpecError

MORE = 2  # times as many: what a network works out for itself while it is built
ROOM = 1 << 22  # numbers on top, 16 MB in single precision
SOME = 10_000  # tensors on top of twice as many, likewise: small ones take time, too
OF_SIZES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}


class BoundedBuild(TorchFunctionMode):
    """A ``with`` block in which tensors are made for a network whose weights are at hand.

    Parameters
    ----------
    states : iterable of mapping of str to Tensor
        The weights of each member.

    Raises
    ------
    SpecError
        In the block, before memory is taken for more numbers than could have weights.
    """

    def __init__(self, states: Iterable[Mapping[str, Tensor]]) -> None:
        super().__init__()
        sizes = [value.numel() for state in states for value in state.values()]
        self.held, self.most = sum(sizes), MORE * len(sizes) + SOME
        self.left = MORE * self.held + ROOM
        self.made = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Count what a function makes of sizes alone, then call it."""
        if func in OF_SIZES:
            sizes = args or ((kwargs or {}).get("size", ()),)  # a tuple, or one by one
            sides = sizes[0] if isinstance(sizes[0], Sequence) else sizes
            self.left -= prod(side for side in sides if isinstance(side, int))
            self.made += 1
        if self.left < 0 or self.made > self.most:
            raise SpecError(
                f"The network that the spec describes is larger than its weights: {self.held} "
                "numbers are there."
            )
        return func(*args, **(kwargs or {}))
