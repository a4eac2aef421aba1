"""The variance of an AUC without drawing: DeLong's, and Obuchowski's for patients of many cases.

Knows nothing of models: who is wanted and how they score in, areas and their covariance out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from medvision.errors import SpecError
from medvision.intervals import LEVEL, Interval


def areas_of(
    wanted: NDArray[np.bool_],
    scores: NDArray[np.floating],
    groups: Sequence[str] | NDArray[np.integer] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return K areas under ROC curves of the same cases, and their covariance.

    Without groups DeLong, DeLong & Clarke-Pearson (Biometrics 1988) by midranks (Sun & Xu, IEEE
    Signal Processing Letters 2014): M·log M instead of the product of both sides. With groups
    Obuchowski (Biometrics 1997), which sums a patient's cases and allows for those of both sides;
    of one case a patient it is the same but for its last term, which is then that between
    patients of one side and the other: 0.

    Parameters
    ----------
    wanted : (M,) bool
    scores : (K, M)
        One row each of K ways to score them.
    groups : sequence of M, optional
        The patient of each case.

    Returns
    -------
    areas : (K,)
    covariance : (K, K)
        NaN where one side has fewer than two cases, or patients.

    Raises
    ------
    SpecError
        When these are not of the same M cases.
    """
    count = len(wanted)
    if (
        scores.ndim != 2
        or scores.shape[1] != count
        or (groups is not None and len(groups) != count)
    ):
        many = "no" if groups is None else len(groups)
        raise SpecError(
            f"{count} cases, scores of shape {scores.shape} and {many} groups are not of the same "
            "cases."
        )
    ways, m = len(scores), int(wanted.sum())
    n = count - m
    nothing = np.full((ways, ways), np.nan)
    if not m or not n:
        return np.full(ways, np.nan), nothing
    every = np.stack([rankdata(row) for row in scores])
    inside = np.stack([rankdata(row[wanted]) for row in scores])
    outside = np.stack([rankdata(row[~wanted]) for row in scores])
    above = (every[:, wanted] - inside) / n  # (K, m): unwanted cases below each wanted one
    below = 1 - (every[:, ~wanted] - outside) / m  # (K, n): wanted cases above each unwanted one
    areas = above.mean(axis=1)
    if groups is None:
        if m < 2 or n < 2:
            return areas, nothing
        return areas, np.atleast_2d(np.cov(above)) / m + np.atleast_2d(np.cov(below)) / n
    _, number = np.unique(np.asarray(groups), return_inverse=True)
    patients = int(number.max()) + 1
    of_wanted, of_others = (np.zeros((ways, patients)) for _ in range(2))
    for way in range(ways):  # a patient's sum of (component − area): 0 for one without such cases
        of_wanted[way] = np.bincount(number[wanted], above[way] - areas[way], patients)
        of_others[way] = np.bincount(number[~wanted], below[way] - areas[way], patients)
    a, b = len(set(number[wanted])), len(set(number[~wanted]))
    if a < 2 or b < 2:
        return areas, nothing
    first = a / ((a - 1) * m) * (of_wanted @ of_wanted.T) / m
    second = b / ((b - 1) * n) * (of_others @ of_others.T) / n
    cross = of_wanted @ of_others.T
    both = patients / ((patients - 1) * m) * (cross + cross.T) / n
    return areas, first + second + both


def delong(
    wanted: NDArray[np.bool_],
    scores: NDArray[np.floating],
    groups: Sequence[str] | NDArray[np.integer] | None = None,
) -> Interval:
    """Return the area under a ROC curve and its 95 % interval.

    The interval is symmetric in the area's logit, so that it stays below 1 and holds the true area
    more often where that is high (Qin & Hotilovac, Statistical Methods in Medical Research 2008).
    An area of 0 or 1 has no variance, and no interval: NaN.

    Parameters
    ----------
    wanted : (M,) bool
    scores : (M,)
    groups : sequence of M, optional
        The patient of each case.

    Examples
    --------
    >>> wanted = np.array([False, False, False, True, True, True])
    >>> print(delong(wanted, np.array([0.1, 0.4, 0.2, 0.3, 0.8, 0.9])))
    0.889 (0.261 to 0.995)
    """
    areas, covariance = areas_of(wanted, scores[None], groups)
    area, error = float(areas[0]), float(np.sqrt(max(covariance[0, 0], 0.0)))
    inside = 0 < area < 1 and np.isfinite(error)
    if not inside:
        return Interval(area, float("nan"), float("nan"))
    middle = np.log(area / (1 - area))
    reach = norm.ppf((1 + LEVEL) / 2) * error / (area * (1 - area))
    low, high = (1 / (1 + np.exp(-(middle + side * reach))) for side in (-1, 1))
    return Interval(area, float(low), float(high))


def delong_difference(
    wanted: NDArray[np.bool_],
    a: NDArray[np.floating],
    b: NDArray[np.floating],
    groups: Sequence[str] | NDArray[np.integer] | None = None,
) -> Interval:
    """Return by how much one area is larger than another of the same cases: a − b, and its p.

    p is two-sided, of a normal distribution; 1 where the two rank the cases alike. Arguments as
    of `delong`.
    """
    areas, covariance = areas_of(wanted, np.stack([a, b]), groups)
    value = float(areas[0] - areas[1])
    spread = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if not np.isfinite(spread):
        return Interval(value, float("nan"), float("nan"), float("nan"))
    error = float(np.sqrt(max(spread, 0.0)))
    if error < 1e-12:  # no case tells them apart, or each does by as much
        return Interval(value, value, value, 1.0 if abs(value) < 1e-12 else 0.0)
    reach = float(norm.ppf((1 + LEVEL) / 2)) * error
    p = float(2 * norm.sf(abs(value) / error))
    return Interval(value, value - reach, value + reach, p)
