"""Tables of an evaluation's figures: of all cases, by sub-group with a forest plot, differences.

The numbers are written as `medvision.score_tables` writes them. Knows nothing of models or pages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from medvision.differences import MAIN
from medvision.measures import ALL
from medvision.outputs.html_tables import raw_table, table_html, unfolded
from medvision.outputs.page import shown
from medvision.score_tables import (
    CLASSES,
    EACH,
    LABELS,
    MASKS,
    Columns,
    cell,
    grid_rows,
    note,
    p_cells,
    signed,
)
from medvision.scores import LabelScore, MaskScore, Score
from medvision.statistics import OTHER, REST, Figure

EVERY: Columns = {
    **MASKS,
    **CLASSES,
    **EACH,
    "absolute_error_ml": ("absolute volume error, ml", ".3f"),
    "sensitivity_at_specificity_90": ("sensitivity at 90 % specificity", ".3f"),
    "specificity_at_sensitivity_90": ("specificity at 90 % sensitivity", ".3f"),
}
STRIP = (200, 18)  # pixels of a line of a forest plot
FEW_WORDS = "Hollow, and marked *: fewer than 10 patients, whose interval tells little."
PLAIN_FORMAT = ".3f"


def told_in(figures: Sequence[Figure]) -> bool:
    """Tell whether intervals were worked out at all."""
    return any(math.isfinite(one.low) for one in figures)


def title_of(metric: str) -> str:
    """Return what a metric is called in a table."""
    return EVERY[metric][0] if metric in EVERY else metric.replace("_", " ")


def format_of(metric: str) -> str:
    """Return how a number of a metric is written."""
    return EVERY[metric][1] if metric in EVERY else PLAIN_FORMAT


def main_tables(scores: Sequence[Score], figures: Sequence[Figure]) -> str:
    """Return what `medvision.score_tables.score_table` tells, as HTML; of all structures, too."""
    told, masks = told_in(figures), isinstance(scores[0], MaskScore)
    whole = MASKS if masks else LABELS if isinstance(scores[0], LabelScore) else CLASSES
    each = ("structure", MASKS) if masks else ("class", EACH)
    parts = []
    for title, columns in (("", whole), each):
        chosen = [one for one in figures if title or one.of == ALL]
        head, rows = grid_rows(title, chosen, columns, told)
        if rows:
            caption = "" if title else "All together: the mean over structures" if masks else ""
            parts.append(table_html(head, rows, caption, bool(title), stacked=True))
    if told:
        parts.append(f'<p class="small">{shown(note(figures))}</p>')
    return "".join(parts)


def every_figure(figures: Sequence[Figure]) -> str:
    """Return every figure that there is, with how many cases it is of, and how it came about."""
    told = told_in(figures)
    rows = [
        [
            one.of or "all",
            title_of(one.metric),
            str(one.n),
            str(one.patients) + ("*" if one.few else ""),
            str(one.left_out),
            cell(one, format_of(one.metric), told),
            one.method if math.isfinite(one.low) else "–",
        ]
        for one in figures
    ]
    head = ["of", "figure", "cases", "patients", "left out", "value (95 % interval)", "interval by"]
    words = "Left out: cases that a figure is not defined for. *: fewer than 10 patients"
    return unfolded(f"All {len(rows)} figures", table_html(head, rows, words))


def subgroups_html(figures: Sequence[Figure], subgroups: Sequence[Figure]) -> str:
    """Return a table with a forest plot for each main metric, and a table of all that was found."""
    parts = []
    for metric in MAIN:
        whole = main_figure(figures, metric)
        if whole is not None:
            mine = [one for one in subgroups if (one.of, one.metric) == (whole.of, metric)]
            lines = [whole, *(one for one in mine if not one.versus)]
            parts.append(forest(metric, lines, [one for one in mine if one.versus == REST]))
    words = f"Dashed: of all cases. {FEW_WORDS} Differences are tested against all other cases."
    parts.append(f'<p class="small">{words}</p>')
    own = [one for one in subgroups if not one.versus]
    told = told_in(own)
    rows = [
        [one.subgroup, one.of or "all", title_of(one.metric), str(one.n), str(one.patients),
         cell(one, format_of(one.metric), told)]
        for one in own
    ]  # fmt: skip
    head = ["sub-group", "of", "figure", "cases", "patients", "value (95 % interval)"]
    return "".join(parts) + unfolded(f"All {len(rows)} figures of sub-groups",
                                     table_html(head, rows))  # fmt: skip


def main_figure(figures: Sequence[Figure], metric: str) -> Figure | None:
    """Return a figure of all structures or classes together, or of the only one."""
    mine = [one for one in figures if one.metric == metric]
    whole = [one for one in mine if one.of == ALL]
    return next(iter(whole or mine), None)


def forest(metric: str, lines: Sequence[Figure], gaps: Sequence[Figure]) -> str:
    """Return a table of one metric, a row a sub-group, each with its interval as a picture.

    Parameters
    ----------
    metric : str
    lines : sequence of Figure
        The first is of all cases.
    gaps : sequence of Figure
        Differences of sub-groups from the rest.
    """
    ends = [v for one in lines for v in (one.value, one.low, one.high) if math.isfinite(v)]
    span = (min(ends, default=0.0), max(ends, default=1.0))
    far = {one.subgroup: one for one in gaps}
    digits = format_of(metric)
    rows = []
    for one in lines:
        gap = far.get(one.subgroup)
        rows.append(
            [
                shown(one.subgroup or "all"),
                str(one.n),
                str(one.patients) + ("*" if one.few else ""),
                shown(cell(one, digits, True)),
                strip(one, span, lines[0].value),
                shown(cell(gap, signed(digits), True)) if gap else "",
                *(map(shown, p_cells(gap)) if gap else ("", "")),
            ]
        )
    title = title_of(metric)
    scale = f'<span class="scale"><span>{span[0]:.2f}</span><span>{span[1]:.2f}</span></span>'
    head = ["sub-group", "cases", "patients", f"{shown(title)} (95 % interval)", scale,
            "difference from the rest", "p", "p, Holm"]  # fmt: skip
    return raw_table(head, rows, title)


def strip(one: Figure, span: tuple[float, float], whole: float) -> str:
    """Return a figure and its interval as a line of a forest plot; the table has the numbers."""
    wide, tall = STRIP
    room = max(span[1] - span[0], 1e-9)

    def at(value: float) -> float:
        return 6 + (value - span[0]) / room * (wide - 12)

    marks = []
    if math.isfinite(whole):
        marks.append(f'<path class="guide" d="M{at(whole):.1f} 0V{tall}"/>')
    if math.isfinite(one.low):
        marks.append(f'<path class="reach" d="M{at(one.low):.1f} {tall / 2}H{at(one.high):.1f}"/>')
    if math.isfinite(one.value):
        look = "few" if one.few else "first"
        marks.append(f'<circle class="{look}" cx="{at(one.value):.1f}" cy="{tall / 2}" r="4"/>')
    return (
        f'<svg class="strip" viewBox="0 0 {wide} {tall}" width="{wide}" height="{tall}" '
        f'aria-hidden="true">{"".join(marks)}</svg>'
    )


def differences_html(figures: Sequence[Figure], other: str) -> str:
    """Return by how much a second model's figures are below those of the first."""
    rows = []
    for one in figures:
        if one.versus != OTHER:
            continue
        gap = cell(one, signed(format_of(one.metric)), True)
        rows.append([one.of or "all", title_of(one.metric), str(one.n),
                     str(one.patients) + ("*" if one.few else ""), gap,
                     *p_cells(one)])  # fmt: skip
    head = ["of", "figure", "cases", "patients", "difference (95 % interval)", "p", "p, Holm"]
    compared = max((one.compared for one in figures), default=0)
    words = (
        f"This model minus {other}, on the same cases. p: two-sided, of there being no "
        f"difference; Holm: corrected for the {compared} differences of this table"
    )
    return table_html(head, rows, words)
