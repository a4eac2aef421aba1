"""Two results held against each other: label maps voxel by voxel, probabilities class by class.

Which of the two is right is not known here: ``truth`` is what the other is held against, be it a
person's drawing or an earlier run. Knows nothing of models or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvision.errors import GeometryError, SpecError
from medvision.geometry import voxel_mm3
from medvision.metrics import dice, hd95_mm
from medvision.volume import SeriesInfo, Volume, same_grid

MOST_LABELS = 1000  # a map with more is no label map
AGREE, ONLY_FOUND, ONLY_TRUTH, OTHER_LABEL = range(4)  # voxels of `Comparison.difference`


@dataclass(frozen=True)
class Agreement:
    """How far two masks of one structure agree.

    Parameters
    ----------
    name : str
    label : int
    dice : float
        2·|A∩B| / (|A|+|B|); 1 when both are empty.
    hd95_mm : float or None
        The larger of the two 95th percentiles of surface distances; None when either is empty.
    ml_found, ml_truth, difference_ml : float or None
        `difference_ml` is found minus truth.
    difference_percent : float or None
        Of the truth; None where it is empty.

    Notes
    -----
    Of pictures without known spacing nothing is told in mm or ml: these are None.
    """

    name: str
    label: int
    dice: float
    hd95_mm: float | None
    ml_found: float | None
    ml_truth: float | None
    difference_ml: float | None
    difference_percent: float | None


@dataclass(frozen=True)
class Comparison:
    """Two label maps, structure by structure and voxel by voxel.

    Parameters
    ----------
    rows : tuple of Agreement
        In the order of the labels: those with a name, and those that occur without one.
    difference : Volume
        (1, I, J, K) uint8 on the grid of what was found: 0 both agree, 1 only in what was found,
        2 only in the truth, 3 in both, but with different labels.
    """

    rows: tuple[Agreement, ...]
    difference: Volume


@dataclass(frozen=True)
class ScoreDifference:
    """The probabilities that two results give to one class; None where a result lacks it."""

    name: str
    a: float | None
    b: float | None
    difference: float | None  # b minus a


def compare_masks(found: Volume, truth: Volume, names: Mapping[int, str]) -> Comparison:
    """Hold a mask or a label map against another one of the same scan.

    Axes in another order or direction are no matter: `truth` is brought onto those of `found`,
    voxel by voxel. Nothing is ever resampled, which would change what is compared.

    Parameters
    ----------
    found, truth : Volume
        (1, I, J, K), whole numbers; 0 is nothing.
    names : mapping of int to str
        Label → name; a label without one is called ``"label 7"``.

    Returns
    -------
    Comparison

    Raises
    ------
    GeometryError
        When the two do not lie on one grid; it names both.
    SpecError
        When one of them is no label map.
    """
    truth = on_axes_of(found, truth)
    mine, theirs = labels_of(found, "what was found"), labels_of(truth, "the truth")
    difference = np.zeros(found.shape, np.uint8)
    difference[(mine != 0) & (theirs == 0)] = ONLY_FOUND
    difference[(mine == 0) & (theirs != 0)] = ONLY_TRUTH
    difference[(mine != theirs) & (mine != 0) & (theirs != 0)] = OTHER_LABEL
    block = block_of((mine != 0) | (theirs != 0))
    mine, theirs = mine[block], theirs[block]
    there = {int(label) for one in (mine, theirs) for label in np.unique(one)} - {0}
    if len(there) > MOST_LABELS:
        raise SpecError(f"The two hold {len(there)} different values: label maps hold few.")
    known = found.info.spacing_known and truth.info.spacing_known
    ml = voxel_mm3(found.affine) / 1000.0 if known else None  # mm³ → ml
    rows = tuple(
        agreement(
            (names.get(label, f"label {label}"), label), mine == label, theirs == label, found, ml
        )
        for label in sorted(there | set(names) - {0})
    )
    info = SeriesInfo(description="difference", spacing_known=known, space=found.info.space)
    return Comparison(rows, Volume(difference[None], found.affine, info))


def agreement(
    structure: tuple[str, int],
    mine: NDArray[np.bool_],
    theirs: NDArray[np.bool_],
    grid: Volume,
    ml: float | None,
) -> Agreement:
    """Return the row of one structure; `ml` is the volume of a voxel, None where unknown."""
    name, label = structure
    counts = int(mine.sum()), int(theirs.sum())
    block = block_of(mine | theirs)
    overlap = dice(mine[block], theirs[block])
    distance = None
    if ml is not None and all(counts):
        distance = hd95_mm(mine[block], theirs[block], grid.spacing)
    percent = 100.0 * (counts[0] - counts[1]) / counts[1] if counts[1] else None
    volumes = [None if ml is None else count * ml for count in counts]
    gap = None if ml is None else (counts[0] - counts[1]) * ml
    return Agreement(name, label, overlap, distance, volumes[0], volumes[1], gap, percent)


def compare_scores(a: Mapping[str, float], b: Mapping[str, float]) -> tuple[ScoreDifference, ...]:
    """Hold the probabilities of two classifications against each other.

    Parameters
    ----------
    a, b : mapping of str to float
        Class → probability.

    Returns
    -------
    tuple of ScoreDifference
        The classes of `a` in its order, then those that only `b` has.

    Examples
    --------
    >>> [row] = compare_scores({"tumor": 0.25}, {"tumor": 0.75})
    >>> (row.name, row.difference)
    ('tumor', 0.5)
    """
    rows = []
    for name in dict.fromkeys([*a, *b]):
        one, other = a.get(name), b.get(name)
        gap = None if one is None or other is None else other - one
        rows.append(ScoreDifference(name, one, other, gap))
    return tuple(rows)


def on_axes_of(found: Volume, truth: Volume) -> Volume:
    """Return `truth` with the axes of `found`.

    Raises
    ------
    GeometryError
        When its voxels do not lie where those of `found` do.
    """
    turned = truth.reoriented(found.orientation)
    if same_grid(found, turned):
        return turned
    raise GeometryError(
        f"The two masks do not lie on one grid: what was found has {grid_in_words(found)}; the "
        f"truth has {grid_in_words(truth)}. Read both on the grid of their scan "
        "(read_labels(path, reference=scan)), or bring one onto the other's "
        "(resample_to with order=0)."
    )


def grid_in_words(volume: Volume) -> str:
    """Return size, spacing, origin and orientation of a grid."""
    size = " × ".join(map(str, volume.shape))
    steps = " × ".join(f"{mm:.6g}" for mm in volume.spacing)
    x, y, z = volume.affine[:3, 3]
    where = f"({x:.6g}, {y:.6g}, {z:.6g})"
    return f"{size} voxels of {steps} mm, the first at {where} mm RAS, axes {volume.orientation}"


def labels_of(volume: Volume, what: str) -> NDArray[Any]:
    """Return the labels of a map (I, J, K) as whole numbers.

    Raises
    ------
    SpecError
        When it has several channels, or values between whole numbers.
    """
    if volume.array.shape[0] != 1:
        raise SpecError(
            f"A label map has one channel; {what} has {volume.array.shape[0]}: "
            "choose one, or join them."
        )
    array: NDArray[Any] = volume.array[0]
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind in "iu":
        return array
    with np.errstate(invalid="ignore"):
        whole: NDArray[Any] = array.astype(np.int64)
    if not np.array_equal(whole, array):
        raise SpecError(f"A label map holds whole numbers; {what} holds others: is it a scan?")
    return whole


def block_of(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the box around a mask and one voxel beyond it; all of the grid where it is empty.

    The voxel beyond keeps the surface what it is on the whole grid.
    """
    block = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        block.append(slice(max(int(hit[0]) - 1, 0), int(hit[-1]) + 2) if len(hit) else slice(None))
    return tuple(block)
