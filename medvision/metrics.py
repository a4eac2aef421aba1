"""How well masks agree with the truth, per structure in mm, and how well scores tell classes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score


def dice(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return 2·|A∩B| / (|A|+|B|); 1 when both are empty."""
    total = int(found.sum()) + int(truth.sum())
    return 2.0 * int((found & truth).sum()) / total if total else 1.0


def hd95_mm(found: NDArray[np.bool_], truth: NDArray[np.bool_], spacing: Sequence[float]) -> float:
    """Return the larger of the two 95th percentiles of surface distances, in mm.

    NaN when either is empty.
    """
    if not found.any() or not truth.any():
        return float("nan")
    from monai.metrics import compute_hausdorff_distance  # takes seconds

    pair = [torch.from_numpy(np.ascontiguousarray(m))[None, None].float() for m in (found, truth)]
    with warnings.catch_warnings():  # MONAI deprecates an argument that it passes itself
        warnings.simplefilter("ignore", FutureWarning)
        distance = compute_hausdorff_distance(
            *pair, include_background=True, percentile=95, spacing=[float(mm) for mm in spacing]
        )
    return float(distance[0, 0])


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
    sure = scores.max(axis=1)
    right = scores.argmax(axis=1) == truth
    edges = np.unique(np.quantile(sure, np.arange(1, bins) / bins, method="inverted_cdf"))
    bin_of = np.searchsorted(edges, sure)
    gap = np.bincount(bin_of, weights=right - sure)  # |gap| = cases in the bin × |right − sure|
    return float(np.abs(gap).sum() / len(truth))
