"""Evaluations whose true figures are known: patients of several cases that are alike."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from medvision.scores import ClassScore, MaskScore

EACH = 3  # cases a patient
ALIKE = 0.6  # intraclass correlation: the share of the variance that patients have in common
DICE_MIDDLE, DICE_SPREAD = 1.5, 0.8  # of the logit of Dice
APART = 1.5  # standard deviations between the scores of the two classes
CUT = 0.5  # score from which on a case is found
SENSITIVITY = float(norm.cdf(APART - CUT))
AUC = float(norm.cdf(APART / 2**0.5))


def mean_dice() -> float:
    """Return the true mean Dice: the expected value of a logistic-normal."""
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    values = 1 / (1 + np.exp(-(DICE_MIDDLE + DICE_SPREAD * points)))
    return float((weights * values).sum() / weights.sum())


def alike(rng: np.random.Generator, patients: int) -> np.ndarray:
    """Return standard normal values (patients × EACH,), correlated within a patient."""
    common = np.repeat(rng.normal(size=patients), EACH)
    return ALIKE**0.5 * common + (1 - ALIKE) ** 0.5 * rng.normal(size=patients * EACH)


def case_ids(patients: int) -> dict[str, str]:
    """Return the patient of each case."""
    return {f"c{n}": f"p{n // EACH}" for n in range(patients * EACH)}


def masks(rng: np.random.Generator, patients: int) -> list[MaskScore]:
    """Return an evaluation whose true mean Dice is `mean_dice`."""
    dice = 1 / (1 + np.exp(-(DICE_MIDDLE + DICE_SPREAD * alike(rng, patients))))
    ids = case_ids(patients)
    return [MaskScore(c, "a", float(d), 1.0, 1.0, 0.0) for c, d in zip(ids, dice, strict=True)]


def classes(rng: np.random.Generator, patients: int) -> list[ClassScore]:
    """Return an evaluation of as many ill as well patients, with true AUC and sensitivity."""
    ill = np.repeat(np.arange(patients) % 2, EACH)
    share = 1 / (1 + np.exp(-(alike(rng, patients) + APART * ill - CUT)))
    return [
        ClassScore(c, ("well", "ill")[i], {"well": 1 - float(s), "ill": float(s)})
        for c, i, s in zip(case_ids(patients), ill, share, strict=True)
    ]
