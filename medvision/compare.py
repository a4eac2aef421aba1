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

from medvision.errors import SpecError
from medvision.geometry import voxel_mm3
from medvision.lesions import LesionCounts
from medvision.mask_figures import (
    TOLERANCE_MM,
    MaskFigures,
    Tolerance,
    check_tolerances,
    figures_of_labels,
    tolerance_of,
)
from medvision.volume import SeriesInfo, Volume, on_axes_of

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
    iou, hd95_mm, assd_mm, nsd, lesions
        As `MaskFigures` has them, those of an evaluation: of two masks of which one is empty, the
        distances are the grid's diagonal.
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
    iou: float
    assd_mm: float | None
    nsd: float | None
    lesions: LesionCounts


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


def compare_masks(
    found: Volume,
    truth: Volume,
    names: Mapping[int, str],
    tolerance_mm: Tolerance = TOLERANCE_MM,
) -> Comparison:
    """Hold a mask or a label map against another one of the same scan.

    Axes in another order or direction are no matter: `truth` is brought onto those of `found`,
    voxel by voxel. Nothing is ever resampled, which would change what is compared.

    Parameters
    ----------
    found, truth : Volume
        (1, I, J, K), whole numbers; 0 is nothing.
    names : mapping of int to str
        Label → name; a label without one is called ``"label 7"``.
    tolerance_mm : float, or mapping of str to float
        Of the NSD in mm: of all structures, or by name.

    Returns
    -------
    Comparison

    Raises
    ------
    GeometryError
        When the two do not lie on one grid; it names both.
    SpecError
        When one of them is no label map, or a tolerance does not fit.
    """
    truth = on_axes_of(found, truth)
    mine, theirs = labels_of(found, "what was found"), labels_of(truth, "the truth")
    difference = np.zeros(found.shape, np.uint8)
    difference[(mine != 0) & (theirs == 0)] = ONLY_FOUND
    difference[(mine == 0) & (theirs != 0)] = ONLY_TRUTH
    difference[(mine != theirs) & (mine != 0) & (theirs != 0)] = OTHER_LABEL
    there = {int(label) for one in (mine, theirs) for label in np.unique(one)} - {0}
    if len(there) > MOST_LABELS:
        raise SpecError(f"The two hold {len(there)} different values: label maps hold few.")
    called = {
        label: names.get(label, f"label {label}") for label in sorted(there | set(names) - {0})
    }
    check_tolerances(tolerance_mm, list(called.values()))
    known = found.info.spacing_known and truth.info.spacing_known
    each = figures_of_labels(
        mine,
        theirs,
        {label: tolerance_of(name, tolerance_mm) for label, name in called.items()},
        found.spacing if known else None,
    )
    ml = voxel_mm3(found.affine) / 1000.0 if known else None  # mm³ → ml
    rows = tuple(agreement(called[label], label, one, ml) for label, one in each)
    info = SeriesInfo(description="difference", spacing_known=known, space=found.info.space)
    return Comparison(rows, Volume(difference[None], found.affine, info))


def agreement(name: str, label: int, one: MaskFigures, ml: float | None) -> Agreement:
    """Return the row of one structure; `ml` is the volume of a voxel, None where unknown."""
    gap = one.found - one.truth
    return Agreement(
        name,
        label,
        one.dice,
        one.hd95_mm,
        ml_found=None if ml is None else one.found * ml,
        ml_truth=None if ml is None else one.truth * ml,
        difference_ml=None if ml is None else gap * ml,
        difference_percent=100.0 * gap / one.truth if one.truth else None,
        iou=one.iou,
        assd_mm=one.assd_mm,
        nsd=one.nsd,
        lesions=one.lesions,
    )


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
