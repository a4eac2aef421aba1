"""Blocks of logits to labels on the scan's own grid, and how sure they are, as the blocks come.

Where the model's grid only differs by flips and permuted axes, each block is labelled at once; else
slabs across the whole grid, and what lies between their voxels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medvision.between import Across, Along, Reach
from medvision.errors import SpecError
from medvision.sliding import Block, Region, Sides
from medvision.spec import ModelSpec
from medvision.transforms import Grid, Prepared, resample
from medvision.volume import Volume

FINE = 2**24  # steps of a probability in sums of whole numbers, whose order does not matter
PARALLEL = 1e-3  # voxels that a line may stray over a whole grid, to count as along an axis


@dataclass(frozen=True)
class Found:
    """What the blocks came to.

    Parameters
    ----------
    labels : (I, J, K) uint8
        On the scan's grid.
    confidence : dict of int to float
        Of each label that the model's grid has: 2 Σ p over its voxels / (their number + Σ p over
        all voxels).
    entropy : (I, J, K) float32, optional
        On the scan's grid, 0 to 1.
    """

    labels: NDArray[np.uint8]
    confidence: dict[int, float]
    entropy: NDArray[np.float32] | None = None


def collect(
    blocks: Iterable[Block],
    prepared: Prepared,
    spec: ModelSpec,
    outer: int = 0,
    entropy: bool = False,
) -> Found:
    """Return what blocks of logits on the model's grid say on the scan's own.

    Parameters
    ----------
    blocks : iterable of Block
        In rows along one axis, together the whole grid; their logits are used up.
    prepared : Prepared
        Where they lie.
    spec : ModelSpec
    outer : int
        The axis of the rows.
    entropy : bool
        Whether to map it.
    """
    whole, prepared = prepared, replace(prepared, source=prepared.seen, region=None)
    device = prepared.tensor.device
    tally = Tally(spec)
    sure = torch.zeros(prepared.grid.shape, device=device) if entropy else None
    labels: Painter = Plain(prepared) if prepared.exact else Slabs(prepared, spec, outer)
    for block in blocks:
        shares = shares_of(block.logits, spec)
        label = tally.add(shares)
        if sure is not None:
            sure[block.where] = entropy_of(shares, spec).to(device)
        back = shares if spec.sampling.back == "probabilities" else block.logits
        labels.add(block.where, back, label)
        del shares, block, back, label
    spread = None
    if sure is not None:
        spread = in_place(on_source(sure, prepared), whole)
    return Found(in_place(labels.result(), whole), tally.confidence(), spread)


def in_place(values: NDArray[Any], prepared: Prepared) -> NDArray[Any]:
    """Return values of what was seen on the whole of the scan's grid, 0 where it was cropped."""
    if prepared.region is None:
        return values
    found = np.zeros(prepared.source.shape, values.dtype)
    found[prepared.region] = values
    return found


def shares_of(logits: Tensor, spec: ModelSpec) -> Tensor:
    """Return the probabilities that logits (N, …) stand for; in their place where they may go."""
    if spec.regions:
        return logits.sigmoid()
    if spec.sampling.back == "logits":
        return logits.softmax(dim=0)
    logits.sub_(logits.amax(dim=0)).exp_()
    return logits.div_(logits.sum(dim=0))


def entropy_of(shares: Tensor, spec: ModelSpec) -> Tensor:
    """Return the entropy of probabilities (N, …), 0 to 1; of regions the mean of theirs."""
    found = torch.zeros_like(shares[0])
    for one in shares:
        found -= torch.xlogy(one, one)
        if spec.regions:
            found -= torch.xlogy(1 - one, 1 - one)
    return found / (len(shares) * math.log(2) if spec.regions else math.log(len(shares)))


class Tally:
    """Sums of probabilities, in whole numbers: the same whatever the order of adding."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        zeros = [0] * spec.outputs
        self.voxels, self.inside, self.every = list(zeros), list(zeros), list(zeros)

    def add(self, shares: Tensor) -> Tensor:
        """Add a block of probabilities (N, i, j, k); return its labels (i, j, k) uint8."""
        every = shares.flatten(1).sum(dim=1).tolist()
        if not all(map(math.isfinite, every)):
            raise SpecError(
                f"The network of {self.spec.name} does not say numbers here. In half precision "
                "they may have become too large: run it in full (--runtime torch)."
            )
        for number, one in enumerate(every):
            self.every[number] += round(one * FINE)
        if self.spec.regions:
            label = torch.zeros(shares.shape[1:], dtype=torch.uint8, device=shares.device)
            for number, (one, paint) in enumerate(zip(shares, self.spec.regions, strict=True)):
                mine = one > 0.5
                self.voxels[number] += int(mine.sum())
                self.inside[number] += round(float((one * mine).sum()) * FINE)
                label.masked_fill_(mine, paint)
            return label
        best, label = best_of(shares)
        found = label.flatten().long()
        counts = torch.zeros(len(shares), dtype=torch.int64, device=shares.device)
        sums = counts.clone().index_add_(0, found, (best.flatten().double() * FINE).long())
        counts.index_add_(0, found, torch.ones_like(found))
        for number, (voxels, inside) in enumerate(zip(counts.tolist(), sums.tolist(), strict=True)):
            self.voxels[number] += voxels
            self.inside[number] += inside
        return label

    def confidence(self) -> dict[int, float]:
        """Return the confidence of each label found."""
        names = self.spec.regions or range(len(self.voxels))
        return {
            label: 2 * inside / (voxels * FINE + every)
            for label, voxels, inside, every in zip(
                names, self.voxels, self.inside, self.every, strict=True
            )
            if voxels and label
        }


def best_of(shares: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest of (N, …), and which it is, uint8; of equal ones the first.

    As `Tensor.max`, but several times as fast where there are many.
    """
    best = shares[0].clone()
    label = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
    for number, one in enumerate(shares[1:], start=1):
        label.masked_fill_(one > best, number)
        torch.maximum(best, one, out=best)
    return best, label


class Painter(Protocol):
    """Takes blocks of what comes back, and makes labels of them."""

    def add(self, where: Region, values: Tensor, label: Tensor) -> None:
        """Take a block (N, i, j, k) of what comes back, on the model's grid, and its labels."""

    def result(self) -> NDArray[np.uint8]:
        """Return the labels on the scan's grid, after the last block."""
        ...


class Plain:
    """Labels of a grid that differs from the scan's by flips and permuted axes alone."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        device = prepared.tensor.device
        self.labels = torch.zeros(prepared.grid.shape, dtype=torch.uint8, device=device)

    def add(self, where: Region, values: Tensor, label: Tensor) -> None:
        """Label a block."""
        self.labels[where] = label.to(self.labels.device)

    def result(self) -> NDArray[np.uint8]:
        """Return the labels on the scan's axes."""
        return to_source_axes(self.labels.cpu().numpy(), self.prepared.grid, self.prepared.source)


class Slabs:
    """Labels between the voxels of the model's grid, a slab of it at a time.

    A slab is all voxels of a row of blocks, and the last plane of the row before.
    """

    def __init__(self, prepared: Prepared, spec: ModelSpec, outer: int) -> None:
        self.spec, self.outer, self.source = spec, outer, prepared.source
        self.shape = prepared.grid.shape
        self.slab: Tensor | None = None
        self.first, self.stop = 0, 0  # planes that the slab holds
        upright = upright_grid(prepared)
        step = np.linalg.inv(prepared.grid.affine) @ upright.affine  # new index → model's index
        stray = np.abs(step[:3, :3] - np.diag(np.diag(step)[:3])) @ np.asarray(upright.shape)
        device = prepared.tensor.device
        if stray.max() < PARALLEL:
            self.target = upright
            self.place: Along | Across = Along(step, upright, prepared.grid, spec)
        else:
            self.target = prepared.source
            step = np.linalg.inv(prepared.grid.affine) @ prepared.source.affine
            self.place = Across(step, prepared.source, prepared.grid, spec)
        self.labels = torch.zeros(self.target.shape, dtype=torch.uint8, device=device)

    def add(self, where: Region, values: Tensor, label: Tensor) -> None:
        """Take a block into the slab; with the first of a new row, the slab before is done."""
        row = where[self.outer]
        if row.stop > self.stop:
            self.begin(row, values)
        assert self.slab is not None
        place = list(where)
        place[self.outer] = slice(row.start - self.first, row.stop - self.first)
        self.slab[(slice(None), *place)] = values

    def begin(self, row: slice, like: Tensor) -> None:
        """Begin a slab for a row of blocks, with the last plane of the slab before."""
        last = None
        if self.slab is not None:
            self.paint()
            last = self.slab.narrow(1 + self.outer, self.slab.shape[1 + self.outer] - 1, 1).clone()
            self.slab = None
        self.first, self.stop = max(0, row.start - 1), row.stop
        shape = list(self.shape)
        shape[self.outer] = self.stop - self.first
        self.slab = like.new_empty((len(like), *shape))
        if last is not None:
            self.slab.narrow(1 + self.outer, 0, 1).copy_(last)

    def paint(self) -> None:
        """Label what lies between the planes of the slab."""
        assert self.slab is not None
        low = -math.inf if self.first == 0 else self.first
        high = math.inf if self.stop == self.shape[self.outer] else self.stop - 1
        self.place.paint(self.slab, self.labels, Reach(self.outer, self.first, low, high))

    def result(self) -> NDArray[np.uint8]:
        """Return the labels on the scan's axes."""
        self.paint()
        self.slab = None
        return to_source_axes(self.labels.cpu().numpy(), self.target, self.source)


def upright_grid(prepared: Prepared) -> Grid:
    """Return the scan's grid with its axes in the order and directions of the model's."""
    source = prepared.source
    code = Volume(nothing(prepared.grid.shape), prepared.grid.affine).orientation
    turned = Volume(nothing(source.shape), source.affine).reoriented(code)
    return Grid(turned.shape, turned.affine)


def to_source_axes(values: NDArray[Any], grid: Grid, source: Grid) -> NDArray[Any]:
    """Turn values (I, J, K) on a grid to the axes of another that differs by flips and order."""
    wanted = Volume(nothing(source.shape), source.affine).orientation
    return np.ascontiguousarray(Volume(values[None], grid.affine).reoriented(wanted).array[0])


def nothing(shape: Sides) -> NDArray[np.uint8]:
    """Return an image of zeros (1, I, J, K) that takes no memory."""
    return np.broadcast_to(np.uint8(0), (1, *shape))


def on_source(values: Tensor, prepared: Prepared) -> NDArray[np.float32]:
    """Return values (I, J, K) on the model's grid, interpolated on the scan's."""
    if prepared.exact:
        array = values.float().cpu().numpy()
        return to_source_axes(array, prepared.grid, prepared.source)
    found = resample(values[None].float(), prepared.grid.affine, prepared.source)[0]
    return found.cpu().numpy()
