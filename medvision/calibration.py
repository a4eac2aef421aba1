"""Temperature scaling, and how far probabilities are from what happens.

Probabilities go in and come out: dividing logits by a temperature is a power of probabilities.
Knows nothing of models.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax

from medvision.metrics import brier, ece

Shares: TypeAlias = NDArray[np.float64]  # (M, N), probabilities of N classes in M cases
Truth: TypeAlias = NDArray[np.bool_]  # (M, N), which classes a case has

LEAST, MOST = 0.05, 20.0  # temperatures; of cases that are all right the best would be 0
SMALLEST = 1e-15  # of probabilities, so that none is beyond all odds


def fit_temperature(shares: Shares, truth: Truth, multilabel: bool = False) -> float:
    """Return the temperature of the least negative log-likelihood (Guo et al., ICML 2017).

    One for all classes, also where each is a question of its own: with one parameter the few cases
    of a rare class are not fitted by heart, and no order of cases changes.

    Parameters
    ----------
    shares : (M, N)
        Probabilities at temperature 1.
    truth : (M, N)
    multilabel : bool
        Whether each class has a probability of its own.

    Returns
    -------
    float
        0.05 to 20; above 1 where the model is too sure.

    Examples
    --------
    >>> shares = np.array([[0.9, 0.1]] * 4)  # right in three of four: log 9 / log 3 is 2
    >>> truth = np.array([[True, False]] * 3 + [[False, True]])
    >>> round(fit_temperature(shares, truth), 3)
    2.0
    """

    def loss(power: float) -> float:
        return log_loss(tempered(shares, float(np.exp(power)), multilabel), truth, multilabel)

    best = minimize_scalar(loss, bounds=np.log([LEAST, MOST]), method="bounded")
    return float(np.exp(best.x))


def tempered(shares: Shares, temperature: float, multilabel: bool = False) -> Shares:
    """Return the probabilities (M, N) of logits divided by a temperature."""
    bounded = np.clip(shares, SMALLEST, 1 - SMALLEST)
    if multilabel:
        return np.asarray(expit((np.log(bounded) - np.log1p(-bounded)) / temperature))
    return np.asarray(softmax(np.log(bounded) / temperature, axis=1))


def log_loss(shares: Shares, truth: Truth, multilabel: bool = False) -> float:
    """Return the mean negative log-likelihood, in nats; of several labels of each by itself."""
    bounded = np.clip(shares, SMALLEST, 1 - SMALLEST)
    if multilabel:
        return float(-np.log(np.where(truth, bounded, 1 - bounded)).mean())
    return float(-log_softmax(np.log(bounded), axis=1)[truth].mean())


def brier_score(shares: Shares, truth: Truth, multilabel: bool = False) -> float:
    """Return `medvision.metrics.brier`; of several labels the mean over each by itself."""
    if multilabel:
        return float(((shares - truth) ** 2).mean())
    return brier(truth.argmax(axis=1), shares)


def calibration_error(shares: Shares, truth: Truth, multilabel: bool = False) -> float:
    """Return `medvision.metrics.ece`; of several labels that of the answers yes and no to each."""
    if not multilabel:
        return ece(truth.argmax(axis=1), shares)
    share, right = shares.ravel(), truth.ravel().astype(np.int64)
    return ece(right, np.stack([1 - share, share], axis=1))
