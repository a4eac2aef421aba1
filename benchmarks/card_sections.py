"""The part of a model's card that holds its figures, between two marks, so that it can be remade.

Scores that figures were made of are kept in ``scores/``, where they are small.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medvision.errors import CasesError
from medvision.score_tables import score_table
from medvision.scores import Score

# Links that nothing refers to: no page shows them, the app's included.
START, END = "[//]: # (figures, made by: make cards)", "[//]: # (end of figures)"
SCORES = Path(__file__).parent / "scores"
BUNDLED = Path(__file__).parents[1] / "medvision" / "weights"


def section(text: str) -> str:
    """Return figures between their marks."""
    return f"{START}\n\n{text.strip()}\n\n{END}"


def with_section(card: str, text: str) -> str:
    """Return a card with other figures.

    Raises
    ------
    CasesError
        When it has not both marks, once and in order.
    """
    before, start, rest = card.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end or START in after or END in after:
        raise CasesError(f"A card has {START} and {END} once each; this one has not.")
    return before + section(text) + after


def classifier_text(scores: Sequence[Score]) -> str:
    """Return the figures of a classifier of MedMNIST, whose sets do not say whose an image is."""
    patients = {score.case_id: score.case_id for score in scores}
    return (
        "On the official test split, which had no say in anything. The data set does not say whose "
        f"image\nis whose: each counts as a patient.\n\n{score_table(scores, patients)}"
    )
