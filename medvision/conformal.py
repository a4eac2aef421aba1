"""Split-conformal prediction sets: classes that hold the truth as often as is stated.

After Angelopoulos and Bates, "Conformal Prediction: A Gentle Introduction", 2023. The promise
asks that the cases at hand and the next are exchangeable: drawn alike, none told by another. Cases
of one patient are not; so one of each patient counts (`one_a_group`), and what is promised is about
a case of a new patient, of the same kind as those. Knows nothing of models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medvision.errors import SpecError


def conformal_quantile(scores: NDArray[np.float64], alpha: float) -> float:
    """Return the limit that the next score stays below with a probability of 1 − α or more.

    It is the ⌈(n + 1)(1 − α)⌉-th smallest of n scores (section 1 there).

    Parameters
    ----------
    scores : (n,)
        How strange the truth was: 1 − its probability (LAC: Sadinle et al., JASA 2019).
    alpha : float
        Share of sets that may miss, between 0 and 1.

    Raises
    ------
    SpecError
        When there are too few scores for such an α: below 1 / α − 1, sets would hold all classes.

    Examples
    --------
    >>> conformal_quantile(np.arange(1, 11) / 10, alpha=0.2)  # the 9th of 10
    0.9
    """
    if not 0 < alpha < 1:
        raise SpecError(f"alpha lies between 0 and 1; found {alpha}.")
    rank = math.ceil(round((len(scores) + 1) * (1 - alpha), 9))
    if rank > len(scores):
        least = math.ceil(round(1 / alpha - 1, 9))
        raise SpecError(
            f"Sets that miss {alpha:.3g} of the truths take {least} patients or more to tell; "
            f"found {len(scores)}. Give more cases, or a larger alpha."
        )
    return float(np.sort(scores)[rank - 1])


def one_a_group(groups: Sequence[str], seed: int = 0) -> list[int]:
    """Return the places of one case of each group, drawn at random, in ascending order."""
    order = np.random.default_rng(seed).permutation(len(groups))
    drawn = {groups[place]: int(place) for place in order}
    return sorted(drawn.values())
