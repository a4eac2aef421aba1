"""From which probability on a class counts as found: a threshold, chosen on validation cases.

Never on test cases: what was chosen to look good on them says nothing. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from medvision.errors import SpecError

Worth: TypeAlias = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]

ENOUGH = 1e-9  # by which a share may fall short for rounding
TIE = 1e-9  # of a sensitivity, where specificities are equal


def youden_threshold(share: NDArray[np.float64], truth: NDArray[np.bool_]) -> float | None:
    """Return the threshold of the largest sensitivity + specificity − 1 (Youden, 1950).

    Of equals the highest. A case counts as found where its probability is not below a threshold.

    Parameters
    ----------
    share : (M,)
        Probability of the class.
    truth : (M,)
        Which cases have it.

    Returns
    -------
    float or None
        None where all cases have the class, or none has: there is nothing to choose by.

    Examples
    --------
    >>> share = np.array([0.1, 0.4, 0.35, 0.8])
    >>> youden_threshold(share, np.array([False, False, True, True]))
    0.8
    """
    return highest(share, truth, lambda sensitivity, specificity: sensitivity + specificity)


def specificity_threshold(
    share: NDArray[np.float64], truth: NDArray[np.bool_], least: float
) -> float | None:
    """Return the threshold of the highest sensitivity with a specificity of `least` or more.

    Of equals the highest; may lie above all probabilities. Else as `youden_threshold`.

    Examples
    --------
    >>> share = np.array([0.1, 0.4, 0.35, 0.8])
    >>> specificity_threshold(share, np.array([False, False, True, True]), 0.5)
    0.35
    """
    check_share("specificity", least)
    return highest(share, truth, lambda sen, spe: np.where(spe >= least - ENOUGH, sen, -1.0))


def sensitivity_threshold(
    share: NDArray[np.float64], truth: NDArray[np.bool_], least: float
) -> float | None:
    """Return the threshold of the highest specificity with a sensitivity of `least` or more.

    Of equals the lowest. Else as `youden_threshold`.

    Examples
    --------
    >>> share = np.array([0.1, 0.4, 0.35, 0.8])
    >>> sensitivity_threshold(share, np.array([False, False, True, True]), 1.0)
    0.35
    """
    check_share("sensitivity", least)
    return highest(
        share, truth, lambda sen, spe: np.where(sen >= least - ENOUGH, spe + sen * TIE, -1.0)
    )


def highest(share: NDArray[np.float64], truth: NDArray[np.bool_], worth: Worth) -> float | None:
    """Return the highest threshold of the most worth, by sensitivities and specificities."""
    yes, no = np.sort(share[truth]), np.sort(share[~truth])
    if not yes.size or not no.size:
        return None
    limits = np.append(np.unique(share), np.nextafter(share.max(), np.inf))[::-1]
    sensitivity = 1 - np.searchsorted(yes, limits, "left") / yes.size
    specificity = np.searchsorted(no, limits, "left") / no.size
    return float(limits[np.round(worth(sensitivity, specificity), 12).argmax()])


def check_share(what: str, value: float) -> None:
    """Refuse what is no share of cases."""
    if not 0 < value <= 1:
        raise SpecError(f"A {what} is above 0 and at most 1; found {value}.")
