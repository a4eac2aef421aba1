"""An evaluation as a table to read: in the terminal, and in the card of a training."""

from __future__ import annotations

from collections import Counter
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
SHOWN = {**MASKS, **CLASSES, **EACH}


def score_table(scores: Sequence[Score], patients: Mapping[str, str] | None = None) -> str:
    """Return Markdown tables of the main figures, with 95 % intervals over patients.

    Of masks a row a structure, and below how many cases lack it. Of classes a row of all, and one a
    class, with sensitivity, specificity and precision of the likeliest class, or of classes that
    come together of each that is as likely as not.

    Parameters
    ----------
    scores : sequence of Score
    patients : mapping of case_id to patient, optional
        Without them there are no intervals: cases of one patient would make them too narrow.
    """
    told = patients is not None
    return figure_table(scores, summarize(scores, patients, draws=DRAWS if told else 0), told)


def figure_table(scores: Sequence[Score], figures: Sequence[Figure], told: bool = True) -> str:
    """Return the tables of `score_table` from the figures that `summarize` made of these scores.

    Without being `told` there are no intervals.
    """
    if isinstance(scores[0], MaskScore):
        parts = [grid("structure", figures, MASKS, told), *empties(scores)]
    else:
        labels = isinstance(scores[0], LabelScore)
        whole = grid(
            "", [one for one in figures if one.of == ALL], LABELS if labels else CLASSES, told
        )
        parts = [whole, grid("class", figures, EACH, told)]
    if told:
        parts.append(note(figures))
    return "\n\n".join(parts)


def empties(scores: Sequence[Score]) -> list[str]:
    """Return a line for each structure that some masks lack: how many cases, and what they count.

    As `medvision.mask_figures` decides it.
    """
    counts: dict[str, Counter[str]] = {}
    for score in scores:
        if isinstance(score, MaskScore) and score.empty:
            counts.setdefault(score.structure, Counter())[score.empty] += 1
    lines = []
    for structure, found in counts.items():
        told = []
        if found["both"]:
            told.append(f"{cases_in_words(found['both'])} without any, not counted")
        if found["found"]:
            told.append(f"{found['found']} missed, counted as the worst")
        if found["truth"]:
            told.append(f"{found['truth']} found where there is none, counted as the worst")
        lines.append(f"{structure}: {'; '.join(told)}.")
    return ["\n".join(lines)] if lines else []


def cases_in_words(count: int) -> str:
    """Return how many cases there are."""
    return "1 case" if count == 1 else f"{count} cases"


def subgroup_table(figures: Sequence[Figure]) -> str:
    """Return a table of what `subgroup_figures` found: the figures whose differences were tested.

    Of a fact with two values the one difference stands beside the first.
    """
    gaps = {(one.subgroup, one.of, one.metric): one for one in figures if one.versus}
    wanted = list(dict.fromkeys((one.of, one.metric) for one in gaps.values()))
    columns = {**MASKS, **CLASSES}
    head = ("sub-group", "cases", "figure", "", "difference from the rest", "p", "corrected")
    lines = [line_of(head), "|---" * len(head) + "|"]
    for one in figures:
        if one.versus or (one.of, one.metric) not in wanted:
            continue
        gap = gaps.get((one.subgroup, one.of, one.metric))
        title, digits = columns[one.metric]
        few = " (few)" if one.few else ""
        cells = [one.subgroup + few, str(one.n), f"{title} {one.of}".strip()]
        cells += [cell(one, digits, True), cell(gap, signed(digits), True), *p_cells(gap)]
        lines.append(line_of(cells))
    return "\n".join(lines)


def difference_table(figures: Sequence[Figure], name: str, other: str) -> str:
    """Return a table of what `model_differences` found: by how much `name` is above `other`."""
    columns = {**EACH, **CLASSES, **MASKS}
    head = ("figure", "of", f"{name} − {other}", "p", "corrected")
    lines = [line_of(head), "|---" * len(head) + "|"]
    for one in figures:
        title, digits = columns.get(one.metric, (one.metric, ".3f"))
        gap = cell(one, signed(digits), True)
        lines.append(line_of([title, one.of or "all", gap, *p_cells(one)]))
    return "\n".join(lines)


def signed(digits: str) -> str:
    """Return how a difference is written, of how a number is."""
    return "+" + digits.removeprefix("+")


def p_cells(figure: Figure | None) -> list[str]:
    """Return the p value of a difference and the corrected one; dashes where there are none."""
    values = (None, None) if figure is None else (figure.p, figure.p_holm)
    return ["–" if p is None or np.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"
            for p in values]  # fmt: skip


def grid(title: str, figures: Sequence[Figure], columns: Columns, told: bool) -> str:
    """Return `grid_rows` as a Markdown table."""
    head, rows = grid_rows(title, figures, columns, told)
    return "\n".join([line_of(head), "|---" * len(head) + "|", *map(line_of, rows)])


def grid_rows(
    title: str, figures: Sequence[Figure], columns: Columns, told: bool
) -> tuple[list[str], list[list[str]]]:
    """Return the cells of a table's head, and of each row.

    Parameters
    ----------
    title : str
        Of the first column, then a row for each structure or class; empty: one row, of all.
    figures : sequence of Figure
    columns : mapping of metric to title and format
        Those that no row has are left out.
    told : bool
        Whether intervals are.
    """
    found = {(one.of, one.metric): one for one in figures}
    names = list(dict.fromkeys(one.of for one in figures if bool(one.of) == bool(title)))
    shown = {
        metric: how
        for metric, how in columns.items()
        if any((name, metric) in found for name in names)
    }
    head = [*([title] if title else []), "cases", *(name for name, _ in shown.values())]
    rows = []
    for name in names:
        cells = [*([name] if title else []), str(cases_of(figures, name))]
        cells += [
            cell(found.get((name, metric)), digits, told) for metric, (_, digits) in shown.items()
        ]
        rows.append(cells)
    return head, rows


def line_of(cells: Sequence[str]) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def cases_of(figures: Sequence[Figure], of: str) -> int:
    """Return how many cases have a structure, or it was found in them, or have a class.

    Of all structures how many have any; of all classes how many there are.
    """
    mine = [one for one in figures if one.of == of]
    telling = ("dice",) if of == ALL else ("dice", "sensitivity")
    told = [one.n for one in mine if one.metric in telling]
    return told[0] if told else max(one.n for one in mine)


def cell(figure: Figure | None, digits: str, told: bool) -> str:
    """Return a figure, and in brackets its interval where it has one; a dash for no figure."""
    if figure is None or np.isnan(figure.value):
        return "–"
    value = format(figure.value, digits)
    if not told or np.isnan(figure.low):
        return value
    return f"{value} ({figure.low:{digits}} to {figure.high:{digits}})"


def note(figures: Sequence[Figure]) -> str:
    """Return what the intervals are of, and why some figures have none."""
    shown = [one for one in figures if one.metric in SHOWN and not np.isnan(one.value)]
    bare = list(dict.fromkeys(why_none(one) for one in shown if np.isnan(one.low)))
    patients = max(one.patients for one in figures)
    if all(np.isnan(one.low) for one in shown):
        of = f"{patients} patient{'s' * (patients > 1)}"
        return f"No figure has an interval, of {of}: {'; '.join(bare)}."
    few = min(one.patients for one in figures) < patients and any(one.few for one in figures)
    less = " Some figures rest on fewer than 10 patients." if few else ""
    less = " These are few: the intervals tell little." if patients < 10 else less
    none = f" Where none stands: {'; '.join(bare)}." if bare else ""
    return f"In brackets: 95 % intervals over {patients} patients.{less}{none}"


def why_none(figure: Figure) -> str:
    """Return why a figure has no interval."""
    if figure.metric == "ece":
        return "draws of patients are no measure of an ECE, as they repeat cases"
    if figure.method == "none" and figure.patients > 1:
        return "all draws of patients give the same"
    return "too few patients"
