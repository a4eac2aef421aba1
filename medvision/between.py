"""Labels between the voxels of a model's grid: a slab of answers onto the scan's voxels in it.

One output is interpolated at a time, and only where it can win: interpolation never rises above
what lies beside, so not where the output is below the background all around.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medvision.geometry import Affine, corners, spacing_of
from medvision.inference_spec import thick_axis
from medvision.sliding import Region
from medvision.spec import ModelSpec
from medvision.transforms import Grid, sample_at, wanted_spacing

SLAB = 32  # planes whose coordinates are held at once
TIE = 1e-6  # voxels: halfway between two planes the later one is the nearest
EDGE = 0.5 + 1e-3  # voxels: how far beyond the centers of the outermost a grid reaches


def threshold_of(spec: ModelSpec) -> float:
    """Return above what a region is there: a probability of one half."""
    return 0.5 if spec.sampling.back == "probabilities" else 0.0


@dataclass(frozen=True)
class Reach:
    """What a slab is asked for: the new voxels from `low` to below `high` along an axis.

    `first` is the plane of the model's grid at which the slab begins.
    """

    outer: int
    first: int
    low: float
    high: float


class Along:
    """A target whose axes are those of the model's grid: three interpolations, one an axis.

    Along a thick axis the nearest plane speaks.
    """

    def __init__(self, step: Affine, target: Grid, grid: Grid, spec: ModelSpec) -> None:
        self.spec = spec
        self.where: list[NDArray[np.float64]] = []  # of the target's voxels, in the model's
        self.inside: list[NDArray[np.bool_]] = []
        thick = None
        if spec.spacing is not None:  # what the model asks for, not what its grid was rounded to
            own = [float(mm) for mm in spacing_of(target.affine)]
            wanted = wanted_spacing(spec.spacing, own)
            thick = thick_axis(wanted, own, spec.sampling.thick)
        for axis, (size, new) in enumerate(zip(grid.shape, target.shape, strict=True)):
            place = step[axis, axis] * np.arange(new) + step[axis, 3]
            self.inside.append((place >= -EDGE) & (place <= size - 1 + EDGE))
            place = place.clip(0, size - 1)
            self.where.append(np.floor(place + 0.5 + TIE) if axis == thick else place)

    def paint(self, slab: Tensor, labels: Tensor, reach: Reach) -> None:
        """Label the target's voxels that lie between the planes of a slab (N, i, j, k)."""
        wanted = []
        for axis, (place, inside) in enumerate(zip(self.where, self.inside, strict=True)):
            if axis == reach.outer:
                inside = inside & (place >= reach.low) & (place < reach.high)
            wanted.append(run_of(inside))
        if any(one.start == one.stop for one in wanted):
            return
        spec = self.spec
        found = {n: self.box(mask, wanted, reach) for n, mask in rising(slab, spec)}
        boxes = {n: box for n, box in found.items() if box is not None}
        if spec.regions:
            for number, box in boxes.items():
                there = self.sample(slab[number], box, reach) > threshold_of(spec)
                labels[box].masked_fill_(there.to(labels.device), spec.regions[number])
            return
        if not boxes:
            return
        around = union(list(boxes.values()))
        best = self.sample(slab[0], around, reach)
        label = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
        for number, box in boxes.items():
            part = tuple(
                slice(one.start - a.start, one.stop - a.start)
                for one, a in zip(box, around, strict=True)
            )
            one, most = self.sample(slab[number], box, reach), best[part]
            better = one > most
            best[part] = torch.where(better, one, most)
            label[part].masked_fill_(better, number)
        labels[around] = label.to(labels.device)

    def box(self, mask: Tensor, wanted: list[slice], reach: Reach) -> Region | None:
        """Return the block of wanted voxels that have one of a mask (i, j, k) beside them."""
        found = []
        for axis, one in enumerate(wanted):
            others = [other for other in range(3) if other != axis]
            there = torch.nonzero(mask.any(dim=others[1]).any(dim=others[0])).flatten()
            if not len(there):
                return None
            offset = reach.first if axis == reach.outer else 0
            low, high = int(there[0]) + offset, int(there[-1]) + offset
            place = self.where[axis][one]
            near = run_of((place > low - 1) & (place < high + 1))
            found.append(slice(one.start + near.start, one.start + near.stop))
            if near.start == near.stop:
                return None
        i, j, k = found
        return i, j, k

    def sample(self, values: Tensor, box: Region, reach: Reach) -> Tensor:
        """Interpolate values (i, j, k) at the target's voxels of a block."""
        growth = [len(self.where[axis]) / values.shape[axis] for axis in range(3)]
        for axis in sorted(range(3), key=growth.__getitem__):
            place = self.where[axis][box[axis]] - (reach.first if axis == reach.outer else 0)
            below = np.floor(place).astype(np.int64)
            above = np.minimum(below + 1, values.shape[axis] - 1)
            share = torch.from_numpy((place - below).astype(np.float32)).to(values.device)
            low = values.index_select(axis, torch.from_numpy(below).to(values.device))
            if not share.any():
                values = low
                continue
            high = values.index_select(axis, torch.from_numpy(above).to(values.device))
            shape = [1, 1, 1]
            shape[axis] = len(share)
            values = torch.lerp(low.float(), high.float(), share.reshape(shape))
        return values.float()


class Across:
    """A target turned against the model's grid."""

    def __init__(self, step: Affine, target: Grid, grid: Grid, spec: ModelSpec) -> None:
        self.spec, self.step, self.target, self.grid = spec, step, target, grid

    def paint(self, slab: Tensor, labels: Tensor, reach: Reach) -> None:
        """Label the target's voxels that lie between the planes of a slab (N, i, j, k)."""
        spec = self.spec
        chosen = [number for number, mask in rising(slab, spec) if mask.any()]
        if not chosen:
            return
        for part, where in self.places(slab, reach):
            place = where[..., reach.outer]
            sizes = torch.tensor(self.grid.shape, dtype=torch.float64)
            inside = ((where >= -EDGE) & (where <= sizes - 1 + EDGE)).all(dim=-1)
            inside &= (place >= reach.low) & (place < reach.high)
            if not inside.any():
                continue
            shown = torch.tensor(slab.shape[1:], dtype=torch.float64)
            where[..., reach.outer] -= reach.first
            at = ((2 * where + 1) / shown - 1).flip(-1)[None].to(slab.device, torch.float32)
            old = labels[part]
            best = None if spec.regions else sample_at(slab[None, :1].float(), at)[0, 0]
            label = torch.zeros_like(old, device=slab.device)
            for number in chosen:
                one = sample_at(slab[None, number : number + 1].float(), at)[0, 0]
                if best is None:
                    label.masked_fill_(one > threshold_of(spec), spec.regions[number])
                else:
                    better = one > best
                    best = torch.where(better, one, best)
                    label.masked_fill_(better, number)
            labels[part] = torch.where(inside.to(old.device), label.to(old.device), old)

    def places(self, slab: Tensor, reach: Reach) -> Iterator[tuple[Region, Tensor]]:
        """Yield blocks of the target, and where they lie in the model's grid: (i, j, k, 3)."""
        low, high = np.full(3, -EDGE), np.asarray(self.grid.shape) - 1 + EDGE
        low[reach.outer] = max(low[reach.outer], reach.low)
        high[reach.outer] = min(high[reach.outer], reach.high)
        ends = corners((2, 2, 2)) > 0.5  # (8, 3)
        back = np.linalg.inv(self.step)
        seen = np.where(ends, high, low) @ back[:3, :3].T + back[:3, 3]
        first = np.clip(np.floor(seen.min(axis=0)), 0, self.target.shape).astype(int)
        last = np.clip(np.ceil(seen.max(axis=0)) + 1, 0, self.target.shape).astype(int)
        step = torch.from_numpy(self.step)
        for start in range(first[0], last[0], SLAB):
            stop = min(start + SLAB, last[0])
            axes = [torch.arange(start, stop), *(torch.arange(first[a], last[a]) for a in (1, 2))]
            if not all(len(one) for one in axes):
                return
            index = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).double()
            i, j, k = (slice(int(one[0]), int(one[-1]) + 1) for one in axes)
            yield (i, j, k), index @ step[:3, :3].T + step[:3, 3]


def rising(slab: Tensor, spec: ModelSpec) -> Iterator[tuple[int, Tensor]]:
    """Yield each output that may be the likeliest, and where it is above background (i, j, k).

    Interpolated, it can only be so where it is in a voxel beside.
    """
    if spec.regions:
        for number, one in enumerate(slab):
            yield number, one > threshold_of(spec)
        return
    for number in range(1, len(slab)):
        yield number, slab[number] > slab[0]


def run_of(mask: NDArray[np.bool_]) -> slice:
    """Return the run from the first to the last that is true; an empty one where none is."""
    there = np.flatnonzero(mask)
    return slice(int(there[0]), int(there[-1]) + 1) if len(there) else slice(0, 0)


def union(boxes: list[Region]) -> Region:
    """Return the smallest block that holds all."""
    i, j, k = (
        slice(min(one[axis].start for one in boxes), max(one[axis].stop for one in boxes))
        for axis in range(3)
    )
    return i, j, k
