"""Charts and tables of an evaluation's masks: Dice, volumes, lesions, and which were empty.

Knows nothing of models or of pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np

from medvision.outputs.charts import histogram
from medvision.outputs.curves import FIRST, GUIDE, Axes, chart, curve, dot, spread, thinned
from medvision.outputs.html_tables import table_html
from medvision.render.ink import label_color
from medvision.score_tables import cases_in_words, cell
from medvision.scores import MaskScore
from medvision.statistics import Figure

MOST_CHARTS = 60  # structures that have charts
NEITHER = ("both", "both")  # two models agree that there is nothing, and rightly so
SIGMAS = 1.96  # standard deviations within which 95 % of normal values lie


def by_structure(scores: Sequence[MaskScore]) -> dict[str, list[MaskScore]]:
    """Return the scores of each structure, in the order that they have."""
    found: dict[str, list[MaskScore]] = {}
    for score in scores:
        found.setdefault(score.structure, []).append(score)
    return found


def color_of(number: int) -> str:
    """Return the color of a structure in CSS: that of its label in pictures (0: the first)."""
    return "#{:02x}{:02x}{:02x}".format(*label_color(number + 1))


def dice_html(scores: Sequence[MaskScore]) -> str:
    """Return a histogram of the Dice of each structure that any case has."""
    each = [
        (name, color_of(n), dice)
        for n, (name, mine) in enumerate(by_structure(scores).items())
        if (dice := [one.dice for one in mine if one.empty != "both"])
    ]
    least = min((value for *_, dice in each for value in dice), default=0.0)  # all have one axis
    charts = [
        histogram(f"Dice of {name}", dice, cases_in_words(len(dice)), "", color, (least, 1.0))
        for name, color, dice in each[:MOST_CHARTS]
    ]
    return f'<div class="charts">{"".join(charts)}</div>{left_out(len(each))}'


def left_out(count: int) -> str:
    """Return how many structures have no chart."""
    left = count - MOST_CHARTS
    return f'<p class="small">{left} more structures have no chart.</p>' if left > 0 else ""


@dataclass(frozen=True)
class Limits:
    """How far volumes found lie from the true ones, in ml."""

    cases: int
    mean: float
    low: float
    high: float


def limits_of_agreement(errors: Sequence[float], mean: float) -> Limits:
    """Return the limits of agreement of errors: their mean ± 1.96 standard deviations.

    As Bland & Altman (Lancet 1986) have them; NaN of fewer than two cases. The mean is given:
    worked out a second time it may end in another last digit than in the table of figures.

    Examples
    --------
    >>> limits_of_agreement([1.0, 1.0], 1.0)
    Limits(cases=2, mean=1.0, low=1.0, high=1.0)
    """
    room = SIGMAS * float(np.std(errors, ddof=1)) if len(errors) > 1 else float("nan")
    return Limits(len(errors), mean, mean - room, mean + room)


def volumes_html(scores: Sequence[MaskScore], figures: Sequence[Figure]) -> str:
    """Return how far volumes are off, over how large they are; nothing where none is known."""
    means = {one.of: one.value for one in figures if one.metric == "error_ml"}
    charts: list[str] = []
    rows = []
    each = by_structure(scores)
    for number, (name, every) in enumerate(each.items()):
        mine = [one for one in every if np.isfinite(one.error_ml)]
        if not mine:
            continue
        found = limits_of_agreement([one.error_ml for one in mine], means[name])
        limits = [found.low, found.high] if np.isfinite(found.low) else []
        written = [f"{value:+.3f}" for value in (found.mean, *limits)]
        rows.append([name, str(found.cases), *[*written, "–", "–"][:3]])
        if len(charts) >= MOST_CHARTS:
            continue
        some, which = thinned(mine)
        middle = [one.truth_ml + one.error_ml / 2 for one in some]
        errors = [one.error_ml for one in some]
        axes = Axes(
            "mean of found and true, ml",
            "found − true, ml",
            spread(middle),
            spread([*errors, *limits, 0.0]),
        )
        ends = axes.x
        marks = [curve(axes, [(x, 0.0) for x in ends], "rule", "no error")]
        marks += [curve(axes, [(x, v) for x in ends], GUIDE, f"{v:+.3f} ml") for v in limits]
        marks += [curve(axes, [(x, found.mean) for x in ends], FIRST, f"{found.mean:+.3f} ml")]
        marks += [
            dot(
                axes,
                (mean, one.error_ml),
                f"{one.case_id}: true {one.truth_ml:.3f} ml, {one.error_ml:+.3f} ml",
                color_of(number),
            )
            for mean, one in zip(middle, some, strict=True)
        ]
        room = f", limits of agreement {' to '.join(written[1:])} ml" if limits else ""
        words = f"mean error {written[0]} ml{room}{which}"
        charts.append(chart(f"Volume of {name}", axes, marks, words))
    if not rows:
        return ""
    head = ["structure", "cases", "mean error, ml", "lower limit, ml", "upper limit, ml"]
    table = table_html(head, rows, "Dotted: limits of agreement, the mean ± 1.96 SD")
    return f'<div class="charts">{"".join(charts)}</div>{left_out(len(each))}{table}'


def lesions_html(scores: Sequence[MaskScore], figures: Sequence[Figure]) -> str:
    """Return how many lesions of all cases were found; nothing where they were not counted."""
    said = {(one.of, one.metric): one for one in figures}
    rows = []
    for name, mine in by_structure(scores).items():
        known = [one.lesions for one in mine if one.lesions is not None]
        if not known:
            continue
        whole = reduce(add, known)
        shares = [
            cell(said.get((name, f"lesion_{metric}")), ".3f", True)
            for metric in ("sensitivity", "precision", "f1")
        ]
        rows.append([name, *(str(n) for n in (whole.true, whole.hit, whole.false)), *shares])
    if not rows:
        return ""
    head = ["structure", "lesions", "found", "false", "sensitivity", "precision", "F1"]
    words = (
        "A lesion is what hangs together by faces; one is found where one voxel of it was, and "
        "false where none of its voxels is in the truth. Sums over all cases"
    )
    return table_html(head, rows, words)


def empty_html(scores: Sequence[MaskScore], figures: Sequence[Figure]) -> str:
    """Return how many cases had nothing to find, were missed, or had no distance."""
    said = {(one.of, one.metric): one for one in figures}
    rows = []
    for name, mine in by_structure(scores).items():
        if all(one.lesions is None for one in mine):
            continue  # tables of earlier versions cannot tell
        kinds = [one.empty for one in mine]
        counts = [kinds.count(kind) for kind in ("both", "truth", "found")]
        far = said.get((name, "hd95_mm"))
        without = len(mine) if far is None else far.left_out
        rows.append([name, str(len(mine)), *map(str, counts), str(without)])
    if not rows:
        return ""
    head = [
        "structure",
        "cases",
        "neither there nor found",
        "not there, but found",
        "there, but missed",
        "without a distance",
    ]
    words = (
        "Where both are empty, overlaps and distances are not defined and not counted, as by "
        "nnU-Net; where one is, overlaps are 0 and distances are the diagonal of the grid"
    )
    return table_html(head, rows, words)


def against_html(scores: Sequence[MaskScore], other: Sequence[MaskScore], name: str) -> str:
    """Return the Dice of each case over that of a second model; above the line it is better."""
    theirs = {(one.case_id, one.structure): one for one in other}
    charts: list[str] = []
    for number, (structure, mine) in enumerate(by_structure(scores).items()):
        pairs = [
            (one.case_id, two.dice, one.dice)
            for one in mine
            if (two := theirs.get((one.case_id, structure))) and (one.empty, two.empty) != NEITHER
        ]
        if not pairs or len(charts) >= MOST_CHARTS:
            continue
        least = min(min(a, b) for _, a, b in pairs)
        span = (max(0.0, least - 0.05), 1.0)
        axes = Axes("Dice of the other model", "Dice", span, span)
        marks = [curve(axes, [(v, v) for v in span], GUIDE, "equal")]
        some, which = thinned(pairs)
        marks += [
            dot(axes, (a, b), f"{case_id}: {b:.3f}, {name} {a:.3f}", color_of(number))
            for case_id, a, b in some
        ]
        better = sum(b > a for _, a, b in pairs)
        worse = sum(b < a for _, a, b in pairs)
        words = f"higher than of {name} in {better} of {len(pairs)} cases, lower in {worse}{which}"
        charts.append(chart(f"Dice of {structure}", axes, marks, words))
    return f'<div class="charts">{"".join(charts)}</div>'
