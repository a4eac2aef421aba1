"""What was learned about a classification's probabilities on cases it was not trained on.

A part of a model's spec. Knows nothing of how it was found: see `medvision.calibrate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from medvision.errors import SpecError


@dataclass(frozen=True)
class Calibration:
    """Temperature, prediction sets and thresholds, and the cases that they were found on.

    Parameters
    ----------
    temperature : float
        What logits are divided by before the softmax or sigmoid; of an ensemble the mean's.
    split : str
        Of the cases: ``"val"``, or empty where the table had no splits.
    cases : int
        How many probabilities were fitted on.
    alpha : float, optional
        Share of sets that may miss the truth; None: the model makes no sets.
    quantile : float, optional
        Of the scores 1 − p(truth): a class is in the set where 1 − p is not above it.
    groups : int
        Patients that the quantile came from, one case of each.
    thresholds : mapping of str to float
        Calibrated probability from which a class counts as found; a class may lack one.
    rule : str
        How thresholds were chosen, in words.

    Raises
    ------
    SpecError
    """

    temperature: float
    split: str
    cases: int
    alpha: float | None = None
    quantile: float | None = None
    groups: int = 0
    thresholds: Mapping[str, float] = field(default_factory=dict)
    rule: str = ""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise SpecError(f"A temperature is above 0; found {self.temperature!r}.")
        if self.split not in ("", "val"):
            raise SpecError(f"A model is calibrated on the split val; found {self.split!r}.")
        if (self.alpha is None) != (self.quantile is None):
            raise SpecError("alpha and quantile come together: the share of misses, and its limit.")
        if self.alpha is not None and not 0 < self.alpha < 1:
            raise SpecError(f"alpha lies between 0 and 1; found {self.alpha!r}.")

    def set_of(self, scores: Mapping[str, float]) -> tuple[str, ...] | None:
        """Return the classes of a prediction set, the likeliest first; None without a quantile.

        The likeliest class is always in it, so that no set is empty; that only adds coverage.

        Parameters
        ----------
        scores : mapping of str to float
            Calibrated probability of each class, of which one is true.
        """
        if self.quantile is None:
            return None
        first, *others = sorted(scores, key=scores.__getitem__, reverse=True)
        return (first, *(name for name in others if 1 - scores[name] <= self.quantile))

    def found_by(self, scores: Mapping[str, float]) -> tuple[str, ...]:
        """Return the classes whose calibrated probability reaches their threshold."""
        return tuple(n for n, t in self.thresholds.items() if scores[n] >= t)
