"""How sure a figure is: bootstrap intervals over patients, of one figure or of a difference.

Knows nothing of models: class numbers and probabilities in, an interval out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from medvision.errors import SpecError
from medvision.metrics import auc
from medvision.weighted import curve_of

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

    The interval is expanded as `percentiles` says, as few patients tell less than they seem to.
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
    return Interval(metric(truth, scores), *percentiles(found, len(set(groups))))


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

    Both are judged on the same draws; p is as `p_of` says.

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
    found, patients = of_a - of_b, len(set(groups))
    value = metric(truth, a) - metric(truth, b)
    return Interval(value, *percentiles(found, patients), p_of(found, patients))


def check(truth: NDArray[np.integer], scores: NDArray[np.floating], groups: Sequence[str]) -> None:
    """Raise `SpecError` unless truth, scores and groups are of the same cases."""
    if scores.ndim != 2 or not len(truth) == len(scores) == len(groups):
        raise SpecError(
            f"{len(truth)} classes, scores of shape {scores.shape} and {len(groups)} groups are "
            "not of the same cases."
        )


def percentiles(found: NDArray[np.float64], groups: int) -> tuple[float, float]:
    """Return the bounds of the middle 95 % of draws, expanded for few groups; NaN of nothing.

    The share outside is Φ(−√(G / (G − 1)) · t), t the 97.5th percentile of Student's distribution
    with G − 1 degrees of freedom: plain percentiles are too narrow for few groups G, as they take
    a normal quantile and a variance of G, not of G − 1 (Hesterberg, The American Statistician
    2015, "expanded percentile interval"). `benchmarks/coverage.md` has what this does. Where that
    is less than one draw, as of four groups and 2,000 draws, there is no interval.

    Parameters
    ----------
    found : (D,) float
        The figure in each draw; those that are not finite are left out.
    groups : int
        How many were drawn from.
    """
    found = np.round(found[np.isfinite(found)], 12)  # equal areas differ by rounding
    if groups < 2:
        return float("nan"), float("nan")
    outside = norm.cdf(-stretch(groups) * t.ppf((1 + LEVEL) / 2, groups - 1))
    if outside * len(found) < 1:  # further out than draws reach: they would look sure
        return float("nan"), float("nan")
    low, high = np.quantile(found, [outside, 1 - outside])
    return float(low), float(high)


def p_of(found: NDArray[np.float64], groups: int) -> float:
    """Return the two-sided p of there being no difference, from differences (D,) of draws.

    Twice the smaller share of draws on one side of 0, the figure itself counted as a draw (Davison
    & Hinkley 1997, section 4.2), and expanded as the interval is: p is below 0.05 where 0 lies
    outside of it. It is never that small where groups are too few for an interval. NaN of nothing.
    """
    found = np.round(found[np.isfinite(found)], 12)
    if not len(found) or groups < 2:
        return float("nan")
    sides = min(int((found <= 0).sum()), int((found >= 0).sum()))
    share = min(0.5, (sides + 1) / (len(found) + 1))
    return float(2 * t.cdf(norm.ppf(share) / stretch(groups), groups - 1))


def stretch(groups: int) -> float:
    """Return by how much a bootstrap's standard error of a mean of G groups is too small."""
    return float(np.sqrt(groups / (groups - 1)))


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
    step, count = max(1, CHUNK // len(groups)), len(names)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        drawn = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)[:, number]


def weighted_auc(
    truth: NDArray[np.integer], scores: NDArray[np.floating], weights: Weights
) -> NDArray[np.float64]:
    """Return the AUC, as `medvision.metrics.auc` defines it, of D draws from M cases."""
    classes = range(scores.shape[1])
    wanted = classes[1:] if len(classes) == 2 else classes
    draws = weights.astype(np.float64)
    areas = [curve_of(truth == number, scores[:, number], draws).auc() for number in wanted]
    return np.asarray(np.mean(areas, axis=0), np.float64)
