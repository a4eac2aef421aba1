"""Charts and tables of an evaluation's classes: curves, reliability, confusion, confidence.

The points of the curves are scikit-learn's. Knows nothing of models or of pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    confusion_matrix,
    precision_recall_curve,
    roc_curve,
)

from medvision.outputs.charts import histogram
from medvision.outputs.curves import FIRST, GUIDE, SECOND, Axes, Point, chart, curve, dot
from medvision.outputs.html_tables import raw_table, table_html
from medvision.outputs.page import shown
from medvision.score_tables import cases_in_words, cell
from medvision.scores import ClassScore, LabelScore, arrays, label_arrays
from medvision.statistics import Figure

BINS = 10  # of equal width, of a reliability diagram
MOST_CHARTS = 40  # classes that have charts
PLAIN = "var(--bar)"

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Classes = Sequence[ClassScore] | Sequence[LabelScore]


@dataclass(frozen=True)
class OneClass:
    """One class against the rest: which cases have it (M,), and how likely they were said to."""

    name: str
    wanted: Bools
    share: Floats


def singles(scores: Classes) -> list[ClassScore]:
    """Return the scores of classes that exclude each other."""
    return [one for one in scores if isinstance(one, ClassScore)]


def labels_among(scores: Classes) -> list[LabelScore]:
    """Return the scores of classes that come together."""
    return [one for one in scores if isinstance(one, LabelScore)]


def classes_of(scores: Classes) -> list[OneClass]:
    """Return each class; of two that exclude each other the second alone: the first mirrors it."""
    names = list(scores[0].scores)
    single = singles(scores)
    if single:
        truth, shares = arrays(single)
        has = np.eye(len(names), dtype=bool)[truth]
    else:
        has, shares = label_arrays(labels_among(scores))
    every = [OneClass(name, has[:, n], shares[:, n]) for n, name in enumerate(names)]
    return every[1:] if single and len(names) == 2 else every


def roc_points(one: OneClass) -> list[Point]:
    """Return (1 − specificity, sensitivity) over falling thresholds; none where one side is empty.

    Examples
    --------
    >>> wanted, share = np.array([False, True, True]), np.array([0.5, 0.4, 0.9])
    >>> roc_points(OneClass("ill", wanted, share))
    [(0.0, 0.0), (0.0, 0.5), (1.0, 0.5), (1.0, 1.0)]
    """
    if one.wanted.all() or not one.wanted.any():
        return []
    alarms, hits, _ = roc_curve(one.wanted, one.share)
    return [(float(x), float(y)) for x, y in zip(alarms, hits, strict=True)]


def precision_recall_points(one: OneClass) -> list[Point]:
    """Return (recall, precision) as steps, the area below which is the average precision.

    Between two recalls the precision is that of the higher one, as Σ (Rₙ − Rₙ₋₁) · Pₙ has it.
    """
    if one.wanted.all() or not one.wanted.any():
        return []
    precision, recall, _ = precision_recall_curve(one.wanted, one.share)
    points = []
    for n in range(len(recall) - 2, -1, -1):
        points += [(float(recall[n + 1]), float(precision[n]))]
        points += [(float(recall[n]), float(precision[n]))]
    return points


def curves_html(scores: Classes, figures: Sequence[Figure], other: Classes, name: str) -> str:
    """Return the ROC and the precision–recall curve of each class, with what lies below them.

    Parameters
    ----------
    scores : sequence of ClassScore or LabelScore
    figures : sequence of Figure
        Of all cases.
    other : sequence of ClassScore or LabelScore
        Of a second model, whose curves are dashed; may be empty.
    name : str
        Of the second model.
    """
    every = classes_of(scores)
    second = {one.name: one for one in classes_of(other)} if other else {}
    said = {(one.of, one.metric): one for one in figures}
    rocs, precisions = [], []
    for one in every[:MOST_CHARTS]:
        their = second.get(one.name)
        area = cell(said.get((one.name, "auc")), ".3f", True)
        precise = cell(said.get((one.name, "average_precision")), ".3f", True)
        share = float(one.wanted.mean())
        rocs.append(
            curves_of(
                f"ROC of {one.name}",
                Axes("1 − specificity", "sensitivity"),
                (roc_points(one), roc_points(their) if their else []),
                [(0.0, 0.0), (1.0, 1.0)],
                f"AUC {area}; {int(one.wanted.sum())} of {len(one.wanted)} cases have it",
                name,
            )
        )
        precisions.append(
            curves_of(
                f"Precision and recall of {one.name}",
                Axes("recall (sensitivity)", "precision"),
                (precision_recall_points(one), precision_recall_points(their) if their else []),
                [(0.0, share), (1.0, share)],
                f"AUPRC {precise}; by chance {share:.3f}",
                name,
            )
        )
    left = len(every) - MOST_CHARTS
    more = f'<p class="small">{left} more classes have no chart.</p>' if left > 0 else ""
    told = f"Dashed: {shown(name)}. " if other else ""
    return (
        f'<div class="charts">{"".join(rocs)}{"".join(precisions)}</div>'
        f'{more}<p class="small">{told}Dotted: chance. '
        "In brackets: 95 % intervals over patients.</p>"
    )


def curves_of(
    name: str,
    axes: Axes,
    both: tuple[Sequence[Point], Sequence[Point]],
    guide: Sequence[Point],
    words: str,
    other: str,
) -> str:
    """Return a chart of one class; words alone where there is no curve."""
    first, second = both
    if not first:
        words = "no curve, as no case has it or all have"
    marks = [curve(axes, guide, GUIDE, "chance")] if first else []
    marks += [curve(axes, second, SECOND, other)] if second else []
    marks += [curve(axes, first, FIRST, name)] if first else []
    return chart(name, axes, marks, words)


@dataclass(frozen=True)
class Bin:
    """Answers about as sure as each other."""

    low: float
    high: float
    count: int
    said: float  # mean probability
    true: float  # share that is so


def reliability(share: Floats, true: Bools) -> list[Bin]:
    """Return the bins of equal width that hold cases, as scikit-learn's `calibration_curve` does.

    Parameters
    ----------
    share : (M,)
        Probabilities.
    true : (M,)
        What turned out to be so.
    """
    share = share.clip(0.0, 1.0)  # a sum may be above 1 in its last digit
    edges = np.linspace(0.0, 1.0, BINS + 1)
    counts = np.bincount(np.searchsorted(edges[1:-1], share), minlength=BINS)
    so, said = calibration_curve(true, share, n_bins=BINS)
    filled = np.flatnonzero(counts)
    return [
        Bin(float(edges[n]), float(edges[n + 1]), int(counts[n]), float(mean), float(part))
        for n, mean, part in zip(filled, said, so, strict=True)
    ]


def reliability_html(scores: Classes, figures: Sequence[Figure]) -> str:
    """Return how often what is said to be so sure is so, as a chart with the table of its bins.

    Of classes that exclude each other, of the likeliest one; of others, of each.
    """
    said = {(one.of, one.metric): one for one in figures}
    single = singles(scores)
    if single:
        truth, shares = arrays(single)
        each = [("the likeliest class", "", shares.max(axis=1), shares.argmax(axis=1) == truth)]
    else:
        each = [(one.name, one.name, one.share, one.wanted) for one in classes_of(scores)]
    parts = []
    for name, of, share, true in each[:MOST_CHARTS]:
        bins = reliability(share, true)
        axes = Axes("probability", "share that is so")
        line = [(one.said, one.true) for one in bins]
        marks = [curve(axes, [(0, 0), (1, 1)], GUIDE, "as sure as right")]
        marks += [curve(axes, line, FIRST, name)]
        marks += [
            dot(axes, point, f"{one.count} cases: said {one.said:.3f}, true {one.true:.3f}")
            for point, one in zip(line, bins, strict=True)
        ]
        ece = cell(said.get((of, "ece")), ".3f", True)
        table = table_html(
            ["probability", "cases", "mean probability", "share that is so"],
            [
                [f"{b.low:.1f} to {b.high:.1f}", str(b.count), f"{b.said:.3f}", f"{b.true:.3f}"]
                for b in bins
            ],
        )
        figure = chart(f"Reliability of {name}", axes, marks, f"ECE {ece}")
        parts.append(f'<div class="charts">{figure}{table}</div>')
    words = "On the dotted line probabilities are as often true as they say, above more often. "
    what = "" if single else " of the answers yes and no to a class,"
    words += f"The ECE is{what} over 15 bins of about as many cases each."
    return f'{"".join(parts)}<p class="small">{words}</p>'


def confusion_html(scores: Classes) -> str:
    """Return how often each class was taken for which; of several labels, of each by itself."""
    single = singles(scores)
    names = list(scores[0].scores)
    if not single:
        truth, shares = label_arrays(labels_among(scores))
        found = shares >= 0.5
        parts = (truth & found, truth & ~found, ~truth & found, ~truth & ~found)
        counts = np.stack([cell.sum(axis=0) for cell in parts], axis=1)  # (N, 4)
        rows = [[name, *map(str, line)] for name, line in zip(names, counts, strict=True)]
        head = ["class", "there and found", "there, missed", "not there, found", "neither"]
        return table_html(head, rows, "Found: at least as likely as not.")
    true, shares = arrays(single)
    matrix = confusion_matrix(true, shares.argmax(axis=1), labels=range(len(names)))
    rows = []
    for name, line in zip(names, matrix, strict=True):
        part = line / max(int(line.sum()), 1)
        cells = [
            f'<span class="share" style="--share:{share:.3f}">{count}</span>'
            for count, share in zip(line, part, strict=True)
        ]
        rows.append([shown(name), *cells])
    heads = ["true, by row; found, by column", *map(shown, names)]
    return raw_table(heads, rows, "Cases. Found: the likeliest class. Shaded by the share of a row")


def confidence_html(scores: Classes) -> str:
    """Return how sure the model was, where it was right and where it was wrong."""
    if single := singles(scores):
        sides = {
            "Where it was right": [s.confidence for s in single if s.predicted == s.truth],
            "Where it was wrong": [s.confidence for s in single if s.predicted != s.truth],
        }
    else:
        sides = {"Of the class it was least sure of": [one.confidence for one in scores]}
    known = {
        name: [float(one) for one in values if one is not None] for name, values in sides.items()
    }
    span = (min((one for values in known.values() for one in values), default=0.0), 1.0)
    charts = [
        histogram(name, values, cases_in_words(len(values)), "", PLAIN, span)
        for name, values in known.items()
        if values
    ]
    return f'<div class="charts">{"".join(charts)}</div>' if charts else ""
