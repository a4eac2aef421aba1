"""Which cases of an evaluation are worth looking at: those it went worst and best in.

Knows nothing of models or of pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from medvision.scores import ClassScore, LabelScore, MaskScore, Score, true_classes

MOST_NAMED = 4  # structures below a picture


@dataclass(frozen=True)
class CasePicture:
    """A case to look at.

    Parameters
    ----------
    case_id : str
    words : str
        ``"worst: posterior Dice 0.412"``.
    image : PIL.Image.Image
        As `medvision.render.draw_case` draws masks, `medvision.render.scores_png` classes.
    """

    case_id: str
    words: str
    image: Image.Image


def goodness(score: Score) -> float:
    """Return how well a case went, from 0 to 1: its Dice, or the probability of what is true.

    Of several labels the mean probability of the right answer to each.
    """
    if isinstance(score, MaskScore):
        return score.dice
    if isinstance(score, LabelScore):
        right = [p if name in score.truths else 1 - p for name, p in score.scores.items()]
        return float(np.mean(right))
    return score.scores[score.truth]


def extreme_cases(scores: Sequence[Score], count: int = 3) -> tuple[list[str], list[str]]:
    """Return the cases that went worst, the worst first, and those that went best, the best first.

    By the mean Dice over structures that are there or were found, or the probability of what is
    true. No case is in both: of few cases half are worst. Equal ones are in the order of their
    names, and one in which nothing was to be found and nothing was went as well as can be.

    Parameters
    ----------
    scores : sequence of Score
    count : int
        Of each kind at most.

    Examples
    --------
    >>> scores = [ClassScore(c, "ill", {"ill": p}) for c, p in (("a", 0.9), ("b", 0.2), ("c", 0.5))]
    >>> extreme_cases(scores, 1)
    (['b'], ['a'])
    """
    each: dict[str, list[float]] = {}
    for score in scores:
        mine = each.setdefault(score.case_id, [])
        if not isinstance(score, MaskScore) or score.empty != "both":
            mine.append(goodness(score))
    mean = {case_id: float(np.mean(values or [1.0])) for case_id, values in each.items()}
    ranked = sorted(mean, key=lambda case_id: (mean[case_id], case_id))
    worst = ranked[: min(count, (len(ranked) + 1) // 2)]
    rest = [case_id for case_id in ranked if case_id not in worst]
    best = sorted(rest, key=lambda case_id: (-mean[case_id], case_id))[:count]
    return worst, best


def case_in_words(scores: Sequence[Score], case_id: str) -> str:
    """Return how a case went, for below its picture; of many structures its worst ones first.

    Examples
    --------
    >>> case_in_words([ClassScore("a", "ill", {"ill": 0.25, "well": 0.75})], "a")
    'true: ill, with probability 0.250; likeliest: well'
    """
    mine = [score for score in scores if score.case_id == case_id]
    masks = [score for score in mine if isinstance(score, MaskScore)]
    if masks:
        ranked = sorted(masks, key=lambda one: one.dice)[:MOST_NAMED]
        words = ", ".join(f"{one.structure} Dice {one.dice:.3f}" for one in ranked)
        left = len(masks) - len(ranked)
        return f"{words} and {left} more" if left else words
    [score] = (score for score in mine if isinstance(score, ClassScore | LabelScore))
    true = true_classes(score)
    said = ", ".join(f"{name}, with probability {score.scores[name]:.3f}" for name in true)
    likely = f"; likeliest: {score.predicted}" if isinstance(score, ClassScore) else ""
    return f"true: {said or 'none'}{likely}"
