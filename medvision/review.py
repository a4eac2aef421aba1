"""Which results a person should look at, and in words why.

Those of scans unlike the training (`medvision.fingerprint`), and those that the model is less sure
of than it mostly was on the cases that it was validated on (`Prediction.confidence`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medvision.prediction import DIGITS, Prediction

LEAST_CASES = 10  # of which a limit of confidence, or a range of volumes, can be told
ONE_IN = 20  # of the validation cases may lie below the limit: 5 %
MOST_NAMES = 5  # structures named in a sentence
WORD, YES, NO = "Review", "yes", "no"  # as pages and tables say it


def limit_of(confidences: Sequence[float]) -> float | None:
    """Return the confidence below which a result is flagged: the 5th percentile of some cases'.

    By nearest rank: of N values in ascending order the one at ⌈N / 20⌉, so that at least 95 % of
    them are not below it.

    Parameters
    ----------
    confidences : sequence of float
        `Prediction.least_confidence` of each validation case in which something was found.

    Returns
    -------
    float or None
        None for fewer than ten cases, of which no such limit can be told.

    Examples
    --------
    >>> limit_of([0.5, 0.9, 0.8, 0.7, 0.6, 0.95, 0.94, 0.93, 0.92, 0.91])
    0.5
    """
    if len(confidences) < LEAST_CASES:
        return None
    rank = -(-len(confidences) // ONE_IN)  # rounded up
    return round(float(sorted(confidences)[rank - 1]), DIGITS)


def limit_in_words(
    confidences: Sequence[float], cases: int, whose: str = "validation cases"
) -> str:
    """Return what a model's card says of the limit that `limit_of` finds, in Markdown.

    Parameters
    ----------
    confidences : sequence of float
        As `limit_of` takes them.
    cases : int
        How many were validated on, those without anything found among them.
    whose : str
        Which cases they are.
    """
    found = f"{len(confidences)} of {cases} {whose} with something found"
    limit = limit_of(confidences)
    if limit is None:
        return (
            f"No result is flagged for review: that takes {LEAST_CASES} cases to tell how sure the "
            f"model mostly is, and there are {found}."
        )
    return (
        f"Results with a confidence below {limit:.4f} are flagged for review. It is the 5th "
        f"percentile (nearest rank) of {found}. Confidence is the model's own, and not "
        "calibrated: a confident model can be wrong."
    )


def doubts_of(prediction: Prediction) -> list[str]:
    """Return why a person should look, a sentence each; none where nobody needs to.

    For the warnings of a result.

    Examples
    --------
    >>> from medvision.prediction import Prediction
    >>> whole = (slice(0, 1),) * 3
    >>> said = {"scores": {"no": 0.4, "yes": 0.6}, "confidence": {"yes": 0.6}, "review": 0.8}
    >>> doubts_of(Prediction("a", "m", ("no", "yes"), whole, **said))
    ['the model is less sure of yes (0.60) than of 95 % of the cases it was validated on (0.80)']
    """
    limit = prediction.review
    if limit is None or not prediction.is_unsure:
        return list(prediction.unlike)
    below = {name: c for name, c in prediction.confidence.items() if c < limit}
    names = sorted(below, key=below.__getitem__)
    digits = apart(below, limit)
    said = [f"{name} ({below[name]:.{digits}f})" for name in names[:MOST_NAMES]]
    if left := len(names) - len(said):
        said.append(f"{left} more")
    *first, last = said
    of = f"{', '.join(first)} and {last}" if first else last
    unsure = (
        f"the model is less sure of {of} than of 95 % of the cases it was validated on "
        f"({limit:.{digits}f})"
    )
    return [unsure, *prediction.unlike]


def apart(below: Mapping[str, float], limit: float) -> int:
    """Return how many digits tell all values from the limit above them: two, or more."""
    nearest = max(below.values())
    return next((n for n in range(2, DIGITS) if f"{nearest:.{n}f}" != f"{limit:.{n}f}"), DIGITS)


def review_note(prediction: Prediction) -> str:
    """Return why a person should look at a result, as pictures and pages say it; else nothing."""
    doubts = "; ".join(doubts_of(prediction))
    return f"{WORD}: {doubts}" if doubts else ""


def other_warnings(prediction: Prediction) -> tuple[str, ...]:
    """Return the warnings without what `review_note` says."""
    doubts = doubts_of(prediction)
    return tuple(one for one in prediction.warnings if one not in doubts)


def review_word(prediction: Prediction) -> str:
    """Return ``"yes"`` or ``"no"``: is it to be reviewed? Empty where it cannot be told.

    That is where the scan is like those of the training, and the model knows no limit or found
    nothing that it could be sure of.
    """
    if prediction.needs_review:
        return YES
    return "" if prediction.review is None or prediction.least_confidence is None else NO
