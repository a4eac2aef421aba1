"""Occlusion sensitivity: hide a part of the image, and see what the network then says.

Zeiler and Fergus, ECCV 2014. Needs nothing of a network but its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice, product

import torch
from torch import Tensor

from medvision.errors import SpecError
from medvision.progress import track

PARTS = 8  # that a window's side is cut into, if not told otherwise
BATCH = 16


def occlusion_map(
    odds: Callable[[Tensor], Tensor],
    window: Tensor,
    patch: int | None = None,
    stride: int | None = None,
    show: bool = False,
) -> tuple[Tensor, tuple[int, ...]]:
    """Return how much each voxel's absence takes from an answer, and the patches along each axis.

    A patch is filled with the window's mean, of each channel its own. A voxel has the mean of
    what the patches over it took from the log odds, where that is above 0, over the highest.

    Parameters
    ----------
    odds : callable
        Windows (B, C, I, J, K) → log odds (B,).
    window : Tensor, (1, C, I, J, K)
    patch : int, optional
        Side in voxels of the model's grid. Default: an eighth of the window's side, along each
        axis.
    stride : int, optional
        From patch to patch. Default: half a patch in 2D, a whole one in 3D.
    show : bool
        Show a progress bar.

    Returns
    -------
    heat : Tensor, (I, J[, K])
        0 to 1.
    patches : tuple of int

    Raises
    ------
    SpecError
        For a patch larger than the window, or a stride that leaves voxels out.
    """
    sides = [side for side in window.shape[2:] if side > 1]
    sizes = [patch or max(1, side // PARTS) for side in sides]
    half = 2 if len(sides) == 2 else 1
    steps = [stride or max(1, size // half) for size in sizes]
    for side, size, step in zip(sides, sizes, steps, strict=True):
        if not 1 <= size <= side or not 1 <= step <= size:
            raise SpecError(
                f"A patch has 1 to {side} voxels a side, and its stride is 1 to the patch's; found "
                f"{size} and {step}."
            )
    starts = [
        [*range(0, side - size, step), side - size]
        for side, size, step in zip(sides, sizes, steps, strict=True)
    ]
    corners = list(product(*starts))
    fill = window.flatten(2).mean(dim=2)[0][:, *[None] * 3]  # (C, 1, 1, 1)
    whole, taken = odds(window)[0], torch.zeros(sides, dtype=torch.float64, device=window.device)
    covered = torch.zeros_like(taken)
    count = -(-len(corners) // BATCH)
    for part in track(batched(corners), "Hide", count, show):
        shown = window.repeat(len(part), 1, 1, 1, 1)
        for number, corner in enumerate(part):
            shown[number][:, *box_at(corner, sizes)] = fill
        for corner, said in zip(part, odds(shown), strict=True):
            taken[box_at(corner, sizes)] += whole - said
            covered[box_at(corner, sizes)] += 1
    heat = (taken / covered).relu()
    heat = heat / heat.max().clamp_min(torch.finfo(heat.dtype).tiny)
    return heat, tuple(len(one) for one in starts)


def batched(corners: Sequence[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """Return corners in batches."""
    rest = iter(corners)
    return list(iter(lambda: list(islice(rest, BATCH)), []))


def box_at(corner: Sequence[int], sizes: Sequence[int]) -> tuple[slice, ...]:
    """Return the voxels of a patch."""
    return tuple(slice(low, low + size) for low, size in zip(corner, sizes, strict=True))
