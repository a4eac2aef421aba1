"""What differs: one model from another on the same cases, a sub-group from the rest.

Every difference has an interval and a p value over patients, corrected by Holm for how many
differences were asked for together; nothing else is tested.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from medvision.delong import delong_difference
from medvision.errors import SpecError
from medvision.facts import UNKNOWN
from medvision.intervals import Interval, draw_groups, p_of, percentiles
from medvision.measures import ALL, Floats, Head, measures_of
from medvision.scores import ClassScore, MaskScore, Score, true_classes
from medvision.statistics import DRAWS, OTHER, REST, Figure, corrected, groups_of, summarize
from medvision.weighted import Draws

MAIN = ("dice", "auc", "balanced_accuracy")  # what sub-groups are compared by


def model_differences(
    a: Sequence[Score],
    b: Sequence[Score],
    patients: Mapping[str, str] | None = None,
    *,
    metrics: Sequence[str] = (),
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Figure]:
    """Return by how much one model's figures are above another's, on the same cases: a − b.

    Both are judged on the same draws of patients; intervals and p values are the bootstrap's, of
    the AUC of one class DeLong's with Obuchowski's allowance for patients. All are corrected by
    Holm together, so that who asks for fewer `metrics` pays less: choose them beforehand. Of two
    classes each figure is compared once, as of the second; the first's would only mirror it.

    Parameters
    ----------
    a, b : sequence of Score
        Of the same cases with the same truth; their order does not matter.
    patients : mapping of case_id to patient, optional
    metrics : sequence of str
        Only these, such as ``("dice",)``; none means all that both have.
    draws, seed : int

    Raises
    ------
    SpecError
        When these are not of the same cases, classes or truths, or none has such a metric.
    """
    ours, theirs = (sorted(one, key=key_of) for one in (a, b))
    check_same(ours, theirs)
    of_a, of_b = measures_of(ours), measures_of(theirs)
    two = isinstance(ours[0], ClassScore) and len(ours[0].scores) == 2
    places = {(head.of, head.metric): n for n, head in enumerate(of_b.heads)}
    pairs = [
        (n, places[head.of, head.metric])
        for n, head in enumerate(of_a.heads)
        if (head.of, head.metric) in places
        and (not metrics or head.metric in metrics)
        and (not two or head.of == ALL)
    ]
    if not pairs:
        known = ", ".join(dict.fromkeys(head.metric for head in of_a.heads))
        raise SpecError(f"Neither model has {', '.join(metrics)}. Choose from: {known}.")
    groups = groups_of(of_a.case_ids, patients)
    every = np.ones((1, len(groups)))
    first, second = ([i for i, _ in pairs], [j for _, j in pairs])

    def difference(draws: Draws) -> Floats:
        return of_a.columns(draws)[:, first] - of_b.columns(draws)[:, second]

    value = difference(every)[0]
    drawn = np.concatenate([difference(w) for w in weights_of(groups, draws, seed)])
    found = []
    for k, (i, j) in enumerate(pairs):
        mine, other = of_a.heads[i], of_b.heads[j]
        both = mine.counted | other.counted
        n, count = int(both.sum()), min(mine.patients(groups), other.patients(groups))
        left_out = max(mine.left_out, other.left_out)
        if mine.ranked is not None and mine.wanted is not None and other.ranked is not None:
            gain = delong_difference(mine.wanted, mine.ranked, other.ranked, groups)
            method = "delong"
        else:
            column = drawn[:, k]
            gain = Interval(float(value[k]), *percentiles(column, count), p_of(column, count))
            method = "bootstrap"
        found.append(
            Figure("", mine.of, mine.metric, n, count, gain.value, gain.low, gain.high,
                   left_out, method, OTHER, gain.p)
        )  # fmt: skip
    return corrected(found)


def weights_of(groups: Sequence[str], draws: int, seed: int) -> Iterator[Draws]:
    """Yield draws of patients as `medvision.intervals.draw_groups` does, as numbers to weigh by."""
    for weights in draw_groups(groups, draws, seed):
        yield weights.astype(np.float64)


def key_of(score: Score) -> tuple[str, str]:
    """Return what a score is of: its case, and of masks the structure."""
    return score.case_id, getattr(score, "structure", "")


def truth_of(score: Score) -> object:
    """Return what is true of a case, as far as a score says it; of masks the volume."""
    if isinstance(score, MaskScore):
        return None if math.isnan(score.truth_ml) else round(score.truth_ml, 3)
    return true_classes(score), tuple(score.scores)


def check_same(a: Sequence[Score], b: Sequence[Score]) -> None:
    """Raise `SpecError` unless two evaluations are of the same cases and truths, in one order."""
    if [key_of(one) for one in a] != [key_of(one) for one in b]:
        ours, theirs = ({key_of(one) for one in some} for some in (a, b))
        alone = [" ".join(key).strip() for key in sorted(ours ^ theirs)]
        raise SpecError(
            f"The two evaluations are not of the same cases: {len(alone)} are in one only or there "
            f"twice: {', '.join(alone[:5]) or 'some twice'}."
        )
    strange = [one.case_id for one, two in zip(a, b, strict=True) if truth_of(one) != truth_of(two)]
    if strange:
        raise SpecError(
            f"The two evaluations differ in what is true, or in their classes, of {len(strange)} "
            f"cases: {', '.join(strange[:5])}."
        )


def subgroup_figures(
    scores: Sequence[Score],
    facts: Mapping[str, Mapping[str, str]],
    patients: Mapping[str, str] | None = None,
    *,
    main: Sequence[str] = MAIN,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Figure]:
    """Return every figure of each sub-group, and how the main ones differ from the rest.

    A sub-group is the cases that share a fact, such as ``"sex: F"``; those without it are
    ``"unknown"``. None is hidden: one of fewer than 10 patients is marked (`Figure.few`), and one
    of a single patient has no interval. Tested are only the `main` figures, of all structures or
    classes together, each sub-group of at least 2 patients against all cases outside of it, by the
    bootstrap over patients; of a fact with two values the one difference that there is, once. All
    are corrected by Holm together. A fact that all cases share is no sub-group.

    Parameters
    ----------
    scores : sequence of Score
    facts : mapping of case_id to facts
        By name: ``{"sex": "F", "age": "60–79"}``.
    patients : mapping of case_id to patient, optional
    main : sequence of str
        Metrics that differences are tested of.
    draws, seed : int
    """
    measures = measures_of(scores)
    case_ids = measures.case_ids
    groups = groups_of(case_ids, patients)
    names = list(dict.fromkeys(name for case_id in case_ids for name in facts.get(case_id, {})))
    figures: list[Figure] = []
    tests: list[tuple[str, NDArray[np.bool_]]] = []
    for name in names:
        said = np.array([facts.get(case_id, {}).get(name) or UNKNOWN for case_id in case_ids])
        values = sorted(set(said), key=lambda value: (value == UNKNOWN, value))
        if len(values) < 2:
            continue
        for value in values:
            title, inside = f"{name}: {value}", said == value
            chosen = {c for c, there in zip(case_ids, inside, strict=True) if there}
            part = [score for score in scores if score.case_id in chosen]
            figures += summarize(part, patients, subgroup=title, draws=draws, seed=seed)
            if len(values) > 2 or value == values[0]:
                tests.append((title, inside))
    heads = measures.heads
    columns = main_columns(heads, main)
    if not tests or not columns:
        return figures
    parts: list[list[Floats]] = [[] for _ in tests]
    for weights in weights_of(groups, draws, seed):
        for part_of, (_, inside) in zip(parts, tests, strict=True):
            gap = measures.columns(weights * inside) - measures.columns(weights * ~inside)
            part_of.append(gap[:, columns])
    every = np.ones((1, len(groups)))
    found = []
    for drawn, (title, inside) in zip(parts, tests, strict=True):
        value = (measures.columns(every * inside) - measures.columns(every * ~inside))[0, columns]
        for k, column in enumerate(columns):
            head, gaps = heads[column], np.concatenate(drawn)[:, k]
            mine = inside & head.counted
            count = head.patients(groups, inside)
            fewer = min(count, head.patients(groups, ~inside))
            found.append(
                Figure(title, head.of, head.metric, int(mine.sum()), count, float(value[k]),
                       *percentiles(gaps, fewer), versus=REST, p=p_of(gaps, fewer))
            )  # fmt: skip
    return [*figures, *corrected(found)]


def main_columns(heads: Sequence[Head], main: Sequence[str]) -> list[int]:
    """Return the columns of main metrics: of all structures or classes, or of the only one."""
    found = []
    for metric in main:
        which = [n for n, head in enumerate(heads) if head.metric == metric]
        whole = [n for n in which if heads[n].of == ALL]
        found += whole or which[:1]
    return found
