"""An evaluation as a table to read: in the terminal, and in the card of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from medvision.measures import ALL
from medvision.scores import LabelScore, MaskScore, Score
from medvision.statistics import DRAWS, Figure, summarize

Columns = Mapping[str, tuple[str, str]]  # metric → its title, and how a number of it is written

MASKS: Columns = {
    "dice": ("Dice", ".3f"),
    "iou": ("IoU", ".3f"),
    "nsd": ("NSD", ".3f"),
    "hd95_mm": ("HD95, mm", ".2f"),
    "assd_mm": ("ASSD, mm", ".2f"),
    "lesion_f1": ("lesion F1", ".3f"),
    "error_ml": ("volume error, ml", "+.3f"),
    "absolute_error_ml": ("absolute, ml", ".3f"),
}
CLASSES: Columns = {
    "auc": ("AUC", ".3f"),
    "average_precision": ("AUPRC", ".3f"),
    "accuracy": ("accuracy", ".3f"),
    "balanced_accuracy": ("balanced accuracy", ".3f"),
    "brier": ("Brier", ".3f"),
    "ece": ("ECE", ".3f"),
}
LABELS: Columns = {metric: CLASSES[metric] for metric in ("auc", "average_precision", "ece")}
EACH: Columns = {
    "auc": ("AUC", ".3f"),
    "average_precision": ("AUPRC", ".3f"),
    "sensitivity": ("sensitivity", ".3f"),
    "specificity": ("specificity", ".3f"),
    "precision": ("precision", ".3f"),
}


def score_table(scores: Sequence[Score], patients: Mapping[str, str] | None = None) -> str:
    """Return Markdown tables of the main figures, each with its 95 % interval over patients.

    Of masks a row a structure. Of classes a row of all, and one a class, with sensitivity,
    specificity and precision of the likeliest class, or of classes that come together of each that
    is as likely as not.

    Parameters
    ----------
    scores : sequence of Score
    patients : mapping of case_id to patient, optional
        Without them there are no intervals: cases of one patient would make them too narrow.
    """
    figures = summarize(scores, patients, draws=DRAWS if patients is not None else 0)
    told = patients is not None
    if isinstance(scores[0], MaskScore):
        parts = [grid("structure", figures, MASKS, told)]
    else:
        labels = isinstance(scores[0], LabelScore)
        whole = grid(
            "", [one for one in figures if one.of == ALL], LABELS if labels else CLASSES, told
        )
        parts = [whole, grid("class", figures, EACH, told)]
    if told:
        parts.append(note(figures))
    return "\n\n".join(parts)


def grid(title: str, figures: Sequence[Figure], columns: Columns, told: bool) -> str:
    """Return a table with a row for each structure or class, or without a title of all of them."""
    found = {(one.of, one.metric): one for one in figures}
    rows = list(dict.fromkeys(one.of for one in figures if bool(one.of) == bool(title)))
    shown = {
        metric: how
        for metric, how in columns.items()
        if any((row, metric) in found for row in rows)
    }
    head = [*([title] if title else []), "cases", *(name for name, _ in shown.values())]
    lines = [line_of(head), "|---" * len(head) + "|"]
    for row in rows:
        cells = [*([row] if title else []), str(cases_of(figures, row))]
        cells += [
            cell(found.get((row, metric)), digits, told) for metric, (_, digits) in shown.items()
        ]
        lines.append(line_of(cells))
    return "\n".join(lines)


def line_of(cells: Sequence[str]) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def cases_of(figures: Sequence[Figure], of: str) -> int:
    """Return how many cases have a structure or class; of all, how many there are."""
    mine = [one for one in figures if one.of == of]
    sick = [one.n for one in mine if one.metric == "sensitivity"] if of != ALL else []
    return sick[0] if sick else max(one.n for one in mine)


def cell(figure: Figure | None, digits: str, told: bool) -> str:
    """Return a figure with its interval; a dash where there is none."""
    if figure is None or np.isnan(figure.value):
        return "–"
    value = format(figure.value, digits)
    if not told:
        return value
    if np.isnan(figure.low):
        return f"{value} (no interval)"
    return f"{value} ({figure.low:{digits}} to {figure.high:{digits}})"


def note(figures: Sequence[Figure]) -> str:
    """Return what the intervals are of."""
    patients = max(one.patients for one in figures)
    few = min(one.patients for one in figures) < patients and any(one.few for one in figures)
    less = " Some figures rest on fewer than 10 patients." if few else ""
    less = " These are few: the intervals tell little." if patients < 10 else less
    return f"In brackets: 95 % intervals over {patients} patients.{less}"
