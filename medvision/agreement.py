"""Whether a runtime gives the masks of eager torch: window by window, in thin slabs.

Of a window's answer no more than its labels is kept, and the probabilities of what is not there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from medvision.spec import ModelSpec

SLAB = 4_000_000  # numbers looked at in one go

Ask: TypeAlias = Callable[[Tensor], Tensor]  # windows (B, C, I, J, K) → logits (B, N, …)


def slabs(logits: Tensor) -> Iterator[Tensor]:
    """Yield logits (B, N, …) in parts (N, n, …), each a view of few numbers."""
    for one in logits if logits.ndim > 2 else logits[..., None]:
        step = max(1, SLAB * one.shape[1] // one.numel())
        yield from one.split(step, dim=1)


def is_finite(part: Tensor) -> bool:
    """Tell whether all numbers are; quicker than asking each."""
    return all(math.isfinite(float(one)) for one in part.aminmax())


def shares(part: Tensor, spec: ModelSpec) -> Tensor:
    """Return probabilities (N, …) of logits (N, …)."""
    return part.sigmoid() if spec.regions or spec.multilabel else part.softmax(dim=0)


def labels(part: Tensor, spec: ModelSpec) -> Tensor:
    """Return the label of each voxel (…), or which voxels each region takes (N, …)."""
    return part > 0 if spec.regions else part.argmax(dim=0).to(torch.int16)


def sizes_of(found: Tensor, spec: ModelSpec, where: Tensor | None = None) -> Tensor:
    """Return the voxels of each structure, or region, on the CPU; those alone that are `where`."""
    if spec.regions:
        taken = found if where is None else found & where
        return taken.flatten(1).sum(dim=1).cpu()
    taken = found.flatten() if where is None else found[where]
    return torch.bincount(taken, minlength=spec.outputs)[1:].cpu()


@torch.inference_mode()
def structures(ask: Ask, windows: Sequence[Tensor], spec: ModelSpec) -> tuple[Tensor, bool]:
    """Return the voxels of each structure (M,) in all windows, and whether all is finite.

    Of a classification there are none.
    """
    sizes = torch.zeros(len(spec.regions) or len(spec.class_names), dtype=torch.int64)
    finite = True
    for window in windows:
        for part in slabs(ask(window)):
            finite = finite and is_finite(part)
            if spec.task == "segmentation":
                sizes += sizes_of(labels(part, spec), spec)
        del part  # with it the answer, before the next is there
    return sizes, finite


@torch.inference_mode()
def compare(
    eager: Ask, other: Ask, windows: Sequence[Tensor], spec: ModelSpec, sizes: Tensor
) -> dict[str, Any]:
    """Compare two runtimes on windows.

    Parameters
    ----------
    eager, other : callable
    windows : sequence of Tensor
    spec : ModelSpec
    sizes : Tensor
        Of each structure, under eager: what `structures` returned.

    Returns
    -------
    dict
        The worst ``dice`` and ``volume`` of the structures that eager finds, and as ``share`` the
        largest difference of a probability of the others; or a ``problem``.
    """
    segments = spec.task == "segmentation"
    channels = list(range(spec.outputs))
    if segments:
        background = spec.outputs - len(sizes)
        channels = [background + int(index) for index in (sizes == 0).nonzero()]
    kind = torch.float16 if segments else torch.float32  # half is exact to 0.0005

    def share_of(part: Tensor) -> Tensor:
        return shares(part, spec)[channels].to(kind)

    both, there, share = torch.zeros_like(sizes), torch.zeros_like(sizes), 0.0
    for window in windows:
        kept = [
            (labels(part, spec).cpu(), share_of(part).cpu() if channels else None)
            for part in slabs(eager(window))
        ]
        for part, (here, truth) in zip(slabs(other(window)), kept, strict=True):
            if not is_finite(part):
                return {"problem": "its numbers are not finite"}
            if truth is not None:
                differs = share_of(part).float() - truth.to(part.device).float()
                share = max(share, float(differs.abs().max()))
            if segments:
                found, here = labels(part, spec), here.to(part.device)
                there += sizes_of(found, spec)
                both += sizes_of(found, spec, here if spec.regions else found == here)
        del part, kept
    if not segments or not (is_there := sizes > 0).any():
        return {"share": share}
    both, there, sizes = (one[is_there].double() for one in (both, there, sizes))
    return {
        "dice": float((2 * both / (sizes + there)).min()),
        "volume": float(((there - sizes).abs() / sizes).max()),
        "share": share,
    }
