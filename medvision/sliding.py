"""A window that moves over a scan: where it stops, and what its answers make, block by block.

Answers are added up as they come, and a block is handed on as soon as no later window reaches it:
no more is held than what windows still share. Knows nothing of what becomes of the blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise, permutations, product
from math import ceil, prod
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from medvision.drawer import Drawer
from medvision.inference_spec import Sliding

Look: TypeAlias = Callable[[Tensor], Tensor]  # windows (B, C, I, J, K) → logits (B, N, I, J, K)
Step: TypeAlias = Callable[[float], None]  # told how much is done, 0 to 1
Region: TypeAlias = tuple[slice, slice, slice]
Sides: TypeAlias = tuple[int, int, int]
Keep: TypeAlias = Literal["full", "half", "disk"]

LEAST_WEIGHT = 1e-3  # of a window's voxel, relative to its center (as MONAI)
LEAST_OF_EVEN = 6e-9  # with even steps (nnU-Net: a tenth of half precision's least)
PLANES = 16  # that a 2D network looks at in one go
PROBE = 8  # every so many voxels are looked at first, where all must be the lowest
KINDS: dict[Keep, torch.dtype] = {
    "full": torch.float32,
    "half": torch.float16,
    "disk": torch.float16,
}
HIGHEST = 6e4  # of a logit in half precision


@dataclass(frozen=True)
class Windows:
    """Where a window stops in an image.

    Parameters
    ----------
    sides : three ints
        Of the image, with what is added to it where it is smaller than the window.
    before : three ints
        How much of that lies before the image's first voxel.
    roi : three ints
        Sides of the window.
    starts : three tuples of int
        Its first voxels along each axis, rising.
    order : three ints
        The axes, outermost first: the last one's stops follow each other.
    """

    sides: Sides
    before: Sides
    roi: Sides
    starts: tuple[tuple[int, ...], ...]
    order: Sides

    @property
    def count(self) -> int:
        """How many windows there are."""
        return prod(len(one) for one in self.starts)

    def stops(self) -> Iterator[Sides]:
        """Yield the number of each stop along the axes of `order`, in the order of `order`."""
        yield from product(*(range(len(self.starts[axis])) for axis in self.order))  # type: ignore[misc]

    def region(self, stop: Sides) -> Region:
        """Return the block of the padded image that a window sees."""
        number = dict(zip(self.order, stop, strict=True))
        i, j, k = (
            slice(self.starts[axis][number[axis]], self.starts[axis][number[axis]] + self.roi[axis])
            for axis in range(3)
        )
        return i, j, k

    def shared(self, axis: int) -> int:
        """Return the most voxels along an axis that two neighbours both see."""
        steps = [b - a for a, b in pairwise(self.starts[axis])]
        return max((self.roi[axis] - step for step in steps), default=0)

    def kept(self, order: Sides | None = None) -> tuple[int, int, int]:
        """Return how many voxels are held for later windows, level by level, outermost first."""
        a, b, c = order or self.order
        return (
            self.shared(a) * self.sides[b] * self.sides[c],
            self.roi[a] * self.shared(b) * self.sides[c],
            self.roi[a] * self.roi[b] * self.shared(c),
        )


def plan_windows(shape: Sequence[int], roi: Sides, overlap: float, sliding: Sliding) -> Windows:
    """Return where the window stops in an image of `shape`, (I, J, K).

    The axes are gone through so that the least is held meanwhile.
    """
    missing = [max(0, side - size) for size, side in zip(shape, roi, strict=True)]
    i, j, k = (size + more for size, more in zip(shape, missing, strict=True))
    before = (missing[0] // 2, missing[1] // 2, missing[2] // 2)
    sides = (i, j, k)
    starts = tuple(
        stops_along(size, side, overlap, sliding.steps)
        for size, side in zip(sides, roi, strict=True)
    )
    plan = Windows(sides, before, roi, starts, (0, 1, 2))
    order = min(permutations(range(3)), key=lambda one: (sum(plan.kept(one)), one))  # type: ignore[arg-type]
    return Windows(sides, before, roi, starts, order)  # type: ignore[arg-type]


def stops_along(size: int, side: int, overlap: float, steps: str) -> tuple[int, ...]:
    """Return the first voxels of windows of `side` voxels along `size`.

    Examples
    --------
    >>> stops_along(100, 32, 0.5, "fixed")
    (0, 16, 32, 48, 64, 68)
    >>> stops_along(100, 32, 0.5, "even")
    (0, 14, 27, 41, 54, 68)
    """
    last = size - side
    if last == 0:
        return (0,)
    if steps == "fixed":
        step = max(1, int(side * (1 - overlap)))
        return (*range(0, last, step), last)
    count = ceil(last / max(1.0, side * (1 - overlap)))
    return tuple(round(last / count * number) for number in range(count + 1))


def weights_of(roi: Sides, sliding: Sliding, least: float = LEAST_WEIGHT) -> Tensor:
    """Return the weights (I, J, K) of a window's voxels, 1 at most and `least` at least.

    With even steps the bell stands where nnU-Net's does, on a voxel, also where sides are even.
    """
    weights = torch.ones(roi)
    if sliding.blend == "constant":
        return weights
    for axis, side in enumerate(roi):
        middle = side // 2 if sliding.steps == "even" else (side - 1) / 2
        where = torch.arange(side, dtype=torch.float64) - middle
        bell = torch.exp(-0.5 * (where / (sliding.sigma * side)) ** 2)
        shape = [1, 1, 1]
        shape[axis] = side
        weights = weights * bell.reshape(shape)
    return weights.clamp_min(least).float()


@dataclass(frozen=True)
class Block:
    """A part of the image that all windows have spoken of.

    Parameters
    ----------
    where : three slices
    logits : Tensor, (N, i, j, k)
        Weighted means, float32.
    """

    where: Region
    logits: Tensor


def slide(
    image: Tensor,
    look: Look,
    windows: Windows,
    sliding: Sliding,
    *,
    batch: int = 1,
    step: Step | None = None,
    keep: Keep = "full",
    home: torch.device | None = None,
) -> Iterator[Block]:
    """Ask `look` about every window, and yield what comes of it.

    Windows that show nothing, every channel at its lowest value throughout (air around a patient),
    are all alike: the network is asked about one, and the others have the same answer. Blocks come
    in rows along the outermost axis of ``windows.order``; together they are the image.

    Parameters
    ----------
    image : Tensor, (C, I, J, K)
    look : callable
        Turns windows (B, C, *roi) into logits (B, N, *roi).
    windows : Windows
        Of that image.
    sliding : Sliding
    batch : int
        How many windows are asked about at once.
    step : callable, optional
        Told the share of windows that is done.
    keep : {"full", "half", "disk"}
        How sums wait for later windows: in float32; in float16; or the most of these in temporary
        files.
    home : torch.device, optional
        Where sums are kept; that of the image unless given.
    """
    home = home or image.device
    padded = pad(image, windows, sliding)
    least = LEAST_OF_EVEN if sliding.steps == "even" else LEAST_WEIGHT
    weights = weights_of(windows.roi, sliding, least).to(home)
    with closing(Sums(windows, keep)) as sums:
        for stop, logits in answers(padded, look, windows, batch, step, KINDS[keep]):
            block = logits.to(home).mul_(weights)
            del logits
            where, total, weight = sums.add(stop, block, weights[None].clone())
            del block
            inside = within(where, windows, image.shape[1:])
            if inside is not None:
                place, part = inside
                yield Block(place, total[(slice(None), *part)].div_(weight[(slice(None), *part)]))
            del total, weight


def pad(image: Tensor, windows: Windows, sliding: Sliding) -> Tensor:
    """Return the image with what it needs around it to fill a window."""
    pads: list[int] = []  # last axis first, as F.pad counts
    for axis in (2, 1, 0):
        before = windows.before[axis]
        pads += [before, windows.sides[axis] - image.shape[1 + axis] - before]
    if not any(pads):
        return image
    mode = "replicate" if sliding.beyond == "border" else "constant"
    return F.pad(image[None], pads, mode=mode)[0]


def answers(
    padded: Tensor,
    look: Look,
    windows: Windows,
    batch: int,
    step: Step | None,
    kind: torch.dtype,
) -> Iterator[tuple[Sides, Tensor]]:
    """Yield every stop with what the network says of it, in order: float32, to be used up."""
    empty = nothing_in(padded, windows)
    of_nothing: Tensor | None = None
    waiting: list[Sides] = []
    chosen: list[Sides] = []
    done = 0
    for stop in windows.stops():
        waiting.append(stop)
        if stop not in empty or (of_nothing is None and not empty.intersection(chosen)):
            chosen.append(stop)
        if len(chosen) < batch and done + len(waiting) < windows.count:
            continue
        said: dict[Sides, Tensor] = {}
        if chosen:
            views = [padded[(slice(None), *windows.region(one))] for one in chosen]
            said = dict(zip(chosen, look(torch.stack(views)), strict=True))
        done += len(waiting)
        if step is not None:
            step(min(1.0, done / windows.count))
        for one in waiting:
            if one in empty and of_nothing is None:
                of_nothing = said[one].clamp(-HIGHEST, HIGHEST).to(kind)
            if one in said:
                yield one, said.pop(one).float()
            else:
                assert of_nothing is not None
                yield one, of_nothing.to(torch.float32, copy=True)
        waiting, chosen = [], []


def nothing_in(padded: Tensor, windows: Windows) -> set[Sides]:
    """Return the stops at which there is nothing to see: every channel at its lowest value."""
    lowest = padded.flatten(1).amin(dim=1)[:, None, None, None]
    stops = list(windows.stops())
    for every in (PROBE, 1):
        grain = slice(None, None, every)
        flags = [
            (padded[(slice(None), *windows.region(one))][:, grain, grain, grain] == lowest).all()
            for one in stops
        ]
        found = torch.stack(flags).tolist() if flags else []  # one wait for the device
        stops = [one for one, empty in zip(stops, found, strict=True) if empty]
    return set(stops) if len(stops) > 1 else set()


class Sums:
    """Weighted answers of windows, added up and handed on as early as may be.

    Along each axis, innermost first, the part of a block that the next window shares is put aside,
    to be added to that one's; what remains is complete. In half precision the means so far are put
    aside, which have the range of logits whatever the weights.

    Parameters
    ----------
    windows : Windows
    keep : {"full", "half", "disk"}
        See `slide`; along the innermost axis always full.
    """

    def __init__(self, windows: Windows, keep: Keep) -> None:
        self.windows, self.half = windows, keep != "full"
        self.drawer = Drawer() if keep == "disk" else None
        self.aside: list[Drawer | dict[tuple[int, ...], Tensor]] = [self.drawer or {}, {}, {}]
        self.weights: list[dict[tuple[int, ...], Tensor]] = [{}, {}, {}]

    def close(self) -> None:
        """Let go of what is put aside."""
        self.aside.clear()
        self.weights.clear()
        if self.drawer is not None:
            self.drawer.folder.cleanup()

    def add(self, stop: Sides, block: Tensor, weight: Tensor) -> tuple[Region, Tensor, Tensor]:
        """Take a window's block and its weights; return where all is complete, and the sums there.

        Both, (N, *roi) and (1, *roi), are used up.
        """
        begin = [one.start for one in self.windows.region(stop)]
        for level in (2, 1, 0):
            axis, key = self.windows.order[level], stop[level + 1 :]
            starts, number = self.windows.starts[axis], stop[level]
            self.fetch(level, key, block, weight)
            side = block.shape[1 + axis]
            if number + 1 < len(starts):
                cut = min(starts[number + 1] - starts[number], side)
                if cut < side:
                    rest = [one.narrow(1 + axis, cut, side - cut) for one in (block, weight)]
                    self.put_aside(level, key, *rest)
                block, weight = (one.narrow(1 + axis, 0, cut) for one in (block, weight))
        i, j, k = (slice(a, a + n) for a, n in zip(begin, block.shape[1:], strict=True))
        return (i, j, k), block, weight

    def put_aside(self, level: int, key: tuple[int, ...], block: Tensor, weight: Tensor) -> None:
        """Keep sums and their weights for the next window along an axis."""
        self.weights[level][key] = weight.clone()
        if level == 2 or not self.half:
            self.aside[level][key] = block.clone()
            return
        means = torch.empty(block.shape, dtype=torch.float16, device=block.device)
        for one, place in zip(block, means, strict=True):
            place.copy_((one / weight[0]).clamp_(-HIGHEST, HIGHEST))
        self.aside[level][key] = means

    def fetch(self, level: int, key: tuple[int, ...], block: Tensor, weight: Tensor) -> None:
        """Add what was kept to the beginning of a block."""
        before = self.aside[level].pop(key, None)
        if before is None:
            return
        theirs, axis = self.weights[level].pop(key), self.windows.order[level]
        shared = before.shape[1 + axis]
        if before.dtype == torch.float16:
            for one, mean in zip(block.narrow(1 + axis, 0, shared), before, strict=True):
                one.addcmul_(mean.to(one.device).float(), theirs[0])
        else:
            block.narrow(1 + axis, 0, shared).add_(before)
        weight.narrow(1 + axis, 0, shared).add_(theirs)


def within(where: Region, windows: Windows, shape: Sequence[int]) -> tuple[Region, Region] | None:
    """Return which voxels of the image a block of the padded one holds, and where it holds them.

    None where it holds none.
    """
    place, part = [], []
    for one, before, size in zip(where, windows.before, shape, strict=True):
        low, high = max(one.start, before), min(one.stop, before + size)
        if low >= high:
            return None
        place.append(slice(low - before, high - before))
        part.append(slice(low - one.start, high - one.start))
    (i, j, k), (a, b, c) = place, part
    return (i, j, k), (a, b, c)
