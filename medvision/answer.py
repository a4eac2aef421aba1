"""What passes between the three steps of a prediction: a study made ready, and the answer to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from medvision.collect import Found
from medvision.sliding import Keep, Region
from medvision.transforms import Prepared
from medvision.volume import Volume

Scores: TypeAlias = dict[str, float]


@dataclass(frozen=True)
class Ready:
    """A study as the network takes it, and what is to be said of it.

    Parameters
    ----------
    case_id : str
    scan : Volume
        The reference.
    region : three slices
        The block of it that is shown.
    prepared : Prepared
    report : str
        What the model sees of it.
    warnings : tuple of str
    unlike : tuple of str
        Ways in which it is unlike the training.
    keep : {"full", "half", "disk"}
        How sums of answers are kept, such that there is room for them.
    """

    case_id: str
    scan: Volume
    region: Region
    prepared: Prepared
    report: str
    warnings: tuple[str, ...]
    unlike: tuple[str, ...] = ()
    keep: Keep = "full"


@dataclass(frozen=True)
class Answer:
    """What the network said: labels on the shown part of the scan, or scores."""

    found: Found | None = None
    scores: Scores | None = None
    alone: Mapping[str, Scores] = field(default_factory=dict)


def sureness(scores: Scores, multilabel: bool) -> dict[str, float]:
    """Return how sure the answers to each question of a classification are.

    Of one class of several it is the likeliest's probability, under its name; of a multilabel each
    class has that of its answer, yes or no.
    """
    if multilabel:
        return {name: max(p, 1 - p) for name, p in scores.items()}
    best = max(scores, key=scores.__getitem__)
    return {best: scores[best]}
