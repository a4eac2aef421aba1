"""How far masks overlap with the truth, and how well scores tell classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from medvision.weighted import calibration_error


def dice(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return 2·|A∩B| / (|A|+|B|); 1 when both are empty."""
    total = int(found.sum()) + int(truth.sum())
    return 2.0 * int((found & truth).sum()) / total if total else 1.0


def iou(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return |A∩B| / |A∪B|; 1 when both are empty."""
    total = int((found | truth).sum())
    return int((found & truth).sum()) / total if total else 1.0


def auc(truth: NDArray[np.integer], scores: NDArray[np.floating]) -> float:
    """Return the area under the ROC curve; of more than two classes the mean of one against rest.

    Parameters
    ----------
    truth : (M,) class numbers
    scores : (M, N) probabilities
        Of two classes, the second is the one that is looked for.

    Returns
    -------
    float
        NaN where `truth` lacks a class, for then there is nothing to tell apart.
    """
    classes = range(scores.shape[1])
    if set(np.unique(truth)) != set(classes):
        return float("nan")
    wanted = classes[1:] if len(classes) == 2 else classes
    return float(np.mean([roc_auc_score(truth == c, scores[:, c]) for c in wanted]))


def auprc(truth: NDArray[np.integer], scores: NDArray[np.floating]) -> float:
    """Return the average precision; of more than two classes the mean of one against rest.

    Unlike the AUC it has no fixed floor: a guess gets the share of the class. Arguments as of
    `auc`; NaN where `truth` lacks a class.
    """
    classes = range(scores.shape[1])
    if set(np.unique(truth)) != set(classes):
        return float("nan")
    wanted = classes[1:] if len(classes) == 2 else classes
    return float(np.mean([average_precision_score(truth == c, scores[:, c]) for c in wanted]))


def brier(truth: NDArray[np.integer], scores: NDArray[np.floating]) -> float:
    """Return the mean over cases of the squared error, summed over classes (Brier 1950).

    Of two classes half of it, the squared error of one probability, as everybody gives it.
    Arguments as of `auc`; NaN of no cases.
    """
    if not len(truth):
        return float("nan")
    right = np.eye(scores.shape[1])[truth]  # (M, N)
    error = float(((scores - right) ** 2).sum(axis=1).mean())
    return error / 2 if scores.shape[1] == 2 else error


def ece(truth: NDArray[np.integer], scores: NDArray[np.floating], bins: int = 15) -> float:
    """Return the expected calibration error of the likeliest class.

    The mean distance between how sure the scores are and how often they are right, in bins
    (Naeini et al., AAAI 2015) of about as many cases each (Nixon et al. 2019); cases that are
    equally sure are in one bin. Arguments as of `auc`; NaN of no cases.
    """
    if not len(truth):
        return float("nan")
    every = np.ones((1, len(truth)))
    right = scores.argmax(axis=1) == truth
    return float(calibration_error(scores.max(axis=1), right, every, bins)[0])
