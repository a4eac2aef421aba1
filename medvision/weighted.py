"""Figures of many draws at once: weights of the cases in, a figure a draw out.

A draw is a row of weights, how often it holds each case; a row of ones gives the figure itself.
Knows nothing of models or of intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Draws: TypeAlias = NDArray[np.float64]  # (D, M): how often each of D draws holds each of M cases
PerDraw: TypeAlias = NDArray[np.float64]  # (D,) a figure of each draw; NaN where there is none


def share(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return top / bottom, NaN where bottom is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(bottom > 0, top / bottom, np.nan)


@dataclass(frozen=True)
class Curve:
    """How many of each side score at or above each threshold, in each of D draws.

    Parameters
    ----------
    hits, alarms : (D, T + 1)
        Weights of wanted and of unwanted cases at or above each of T rising-in-number thresholds,
        from none (first column) to all (last).
    """

    hits: NDArray[np.float64]
    alarms: NDArray[np.float64]

    def auc(self) -> PerDraw:
        """Return the area under the ROC curve: trapezoids, so that ties count by half."""
        area = (np.diff(self.alarms) * (self.hits[:, 1:] + self.hits[:, :-1])).sum(axis=1) / 2
        return share(area, self.hits[:, -1] * self.alarms[:, -1])

    def average_precision(self) -> PerDraw:
        """Return Σ (Rₙ − Rₙ₋₁) · Pₙ over falling thresholds, as scikit-learn defines it."""
        said = self.hits[:, 1:] + self.alarms[:, 1:]
        precision = np.divide(self.hits[:, 1:], said, out=np.zeros_like(said), where=said > 0)
        found = (np.diff(self.hits) * precision).sum(axis=1)
        whole = share(found, self.hits[:, -1])
        return np.where(self.alarms[:, -1] > 0, whole, np.nan)

    def sensitivity_at(self, specificity: float) -> PerDraw:
        """Return the highest sensitivity among thresholds with at least this specificity.

        The threshold is read off these cases' own curve, so that the figure tells how well the
        scores rank, not what a threshold chosen beforehand would give.
        """
        return highest(self.hits, self.alarms, specificity)

    def specificity_at(self, sensitivity: float) -> PerDraw:
        """Return the highest specificity among thresholds with at least this sensitivity."""
        missed = self.hits[:, -1:] - self.hits
        passed = self.alarms[:, -1:] - self.alarms
        return highest(passed[:, ::-1], missed[:, ::-1], sensitivity)


def highest(
    gain: NDArray[np.float64], loss: NDArray[np.float64], least: float
) -> NDArray[np.float64]:
    """Return the highest share of `gain` (D, T) where the share not in `loss` is at least so."""
    kept = share(loss[:, -1:] - loss, loss[:, -1:])
    reached = np.where(kept >= least - 1e-12, share(gain, gain[:, -1:]), 0.0)
    found = reached.max(axis=1)
    return np.where((loss[:, -1] > 0) & (gain[:, -1] > 0), found, np.nan)


def curve_of(wanted: NDArray[np.bool_], scores: NDArray[np.floating], draws: Draws) -> Curve:
    """Return the curve of one class against the rest.

    Parameters
    ----------
    wanted : (M,) bool
        The cases that have the class.
    scores : (M,)
        Higher is surer.
    draws : (D, M)
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # of each distinct score
    sides = []
    for side in (wanted, ~wanted):
        total = np.zeros((len(draws), len(last) + 1))
        total[:, 1:] = np.cumsum(draws[:, order] * side[order], axis=1)[:, last]
        sides.append(total)
    return Curve(*sides)


def calibration_error(
    sure: NDArray[np.floating], right: NDArray[np.bool_], draws: Draws, bins: int = 15
) -> PerDraw:
    """Return the expected calibration error as `medvision.metrics.ece` defines it.

    The bins are those of all M cases, in each draw.

    Parameters
    ----------
    sure, right : (M,)
        How sure the likeliest class is, and whether it is right.
    """
    edges = np.unique(np.quantile(sure, np.arange(1, bins) / bins, method="inverted_cdf"))
    bin_of = np.searchsorted(edges, sure)
    gap = np.zeros((len(sure), len(edges) + 1))
    gap[np.arange(len(sure)), bin_of] = right - sure
    return share(np.abs(draws @ gap).sum(axis=1), draws.sum(axis=1))
