"""How sure a figure is: bootstrap intervals over patients, of one figure or of a difference.

Knows nothing of models: class numbers and probabilities in, an interval out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medvision.errors import SpecError
from medvision.metrics import auc

Metric: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], float]
Weights: TypeAlias = NDArray[np.int64]  # (D, M): how often each draw holds each case

LEVEL = 0.95
CHUNK = 2_000_000  # weights that are held at once, draws × cases


@dataclass(frozen=True)
class Interval:
    """A figure of all cases, and the 95 % interval around it.

    Parameters
    ----------
    value, low, high : float
        NaN where the figure is not defined.
    p : float, optional
        Of a difference: two-sided, of there being none.
    """

    value: float
    low: float
    high: float
    p: float | None = None

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def bootstrap(
    metric: Metric,
    truth: NDArray[np.integer],
    scores: NDArray[np.floating],
    groups: Sequence[str],
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a figure and its 95 % percentile interval (Efron & Tibshirani 1993, chapter 13).

    Whole groups are drawn, as cases of one patient are alike (Field & Welsh 2007). A draw that the
    figure is not defined for, as it lacks a class, is left out.

    Parameters
    ----------
    metric : callable
        Of `medvision.metrics`: truth, scores → float. `auc` is quick; any other one is computed
        anew for each draw.
    truth : (M,) class numbers
    scores : (M, N) probabilities
    groups : sequence of M str
        The patient of each case.
    draws, seed : int

    Raises
    ------
    SpecError
        When these are not of the same M cases.

    Examples
    --------
    >>> scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
    >>> bootstrap(auc, np.array([0, 0, 1, 1]), scores, ["p", "q", "r", "s"]).value
    0.75
    """
    check(truth, scores, groups)
    found = draw(metric, truth, [scores], groups, draws, seed)[0]
    return Interval(metric(truth, scores), *percentiles(found[np.isfinite(found)]))


def paired_bootstrap(
    truth: NDArray[np.integer],
    a: NDArray[np.floating],
    b: NDArray[np.floating],
    groups: Sequence[str],
    draws: int = 2000,
    seed: int = 0,
    metric: Metric = auc,
) -> Interval:
    """Return how much better `a` is than `b` on the same cases: a − b, its 95 % interval, and p.

    Both are judged on the same draws. p is twice the smaller share of draws on one side of 0, the
    figure itself counted as a draw (Davison & Hinkley 1997, section 4.2).

    Parameters
    ----------
    a, b : (M, N) probabilities
    truth, groups, draws, seed, metric
        As of `bootstrap`.

    Raises
    ------
    SpecError
        When these are not of the same M cases.
    """
    check(truth, a, groups)
    check(truth, b, groups)
    of_a, of_b = draw(metric, truth, [a, b], groups, draws, seed)
    found = np.round(of_a - of_b, 12)  # equal areas differ by rounding
    found = found[np.isfinite(found)]
    value = metric(truth, a) - metric(truth, b)
    if not len(found):
        return Interval(value, *percentiles(found), float("nan"))
    sides = min(int((found <= 0).sum()), int((found >= 0).sum()))
    p = min(1.0, 2 * (sides + 1) / (len(found) + 1))
    return Interval(value, *percentiles(found), p)


def check(truth: NDArray[np.integer], scores: NDArray[np.floating], groups: Sequence[str]) -> None:
    """Raise `SpecError` unless truth, scores and groups are of the same cases."""
    if scores.ndim != 2 or not len(truth) == len(scores) == len(groups):
        raise SpecError(
            f"{len(truth)} classes, scores of shape {scores.shape} and {len(groups)} groups are "
            "not of the same cases."
        )


def percentiles(found: NDArray[np.float64]) -> tuple[float, float]:
    """Return the bounds of the middle 95 %; NaN of nothing."""
    if not len(found):
        return float("nan"), float("nan")
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def draw(
    metric: Metric,
    truth: NDArray[np.integer],
    several: Sequence[NDArray[np.floating]],
    groups: Sequence[str],
    draws: int,
    seed: int,
) -> NDArray[np.float64]:
    """Return the figure of each of several scores (rows) in each draw (columns), NaN undefined."""
    parts = []
    for weights in draw_groups(groups, draws, seed):
        if metric is auc:
            parts.append([weighted_auc(truth, scores, weights) for scores in several])
            continue
        rows = [np.repeat(np.arange(len(truth)), row) for row in weights]
        parts.append([np.array([metric(truth[r], s[r]) for r in rows]) for s in several])
    if not parts:
        return np.empty((len(several), 0))
    return np.concatenate([np.stack(part) for part in parts], axis=1)


def draw_groups(groups: Sequence[str], draws: int, seed: int) -> Iterator[Weights]:
    """Yield how often each case is drawn, many draws at a time: as often as its group is."""
    if not len(groups):
        return
    rng = np.random.default_rng(seed)
    names, number = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    step = max(1, CHUNK // len(groups))
    for start in range(0, draws, step):
        counts = [
            np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
            for _ in range(min(step, draws - start))
        ]
        yield np.stack(counts)[:, number]


def weighted_auc(
    truth: NDArray[np.integer], scores: NDArray[np.floating], weights: Weights
) -> NDArray[np.float64]:
    """Return the AUC, as `medvision.metrics.auc` defines it, of D draws from M cases.

    Of each wanted case the share of unwanted cases that score below it, ties by half: the
    Mann-Whitney form of the area (Hanley & McNeil 1982).
    """
    classes = range(scores.shape[1])
    wanted = classes[1:] if len(classes) == 2 else classes
    areas = np.zeros(len(weights))
    for number in wanted:
        order = np.argsort(scores[:, number], kind="stable")
        ranked, is_wanted = scores[order, number], (truth == number)[order]
        ours, others = order[is_wanted], order[~is_wanted]
        unwanted = ranked[~is_wanted]
        # others by rising score, summed: how many lie below a score is one look-up
        below = np.zeros((len(weights), len(others) + 1))
        np.cumsum(weights[:, others], axis=1, out=below[:, 1:])
        low = np.searchsorted(unwanted, ranked[is_wanted], "left")
        high = np.searchsorted(unwanted, ranked[is_wanted], "right")
        mine = weights[:, ours]
        won = (mine * (below[:, low] + below[:, high])).sum(axis=1) / 2
        pairs = mine.sum(axis=1) * below[:, -1]
        with np.errstate(invalid="ignore"):  # 0 / 0 where a draw lacks a class: NaN
            areas += won / pairs
    return areas / len(wanted)
