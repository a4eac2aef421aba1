"""Figures of an evaluation with their intervals, by model, by sub-group, and between two models.

Every interval is over patients: whole patients are drawn, as cases of one are alike.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from medvision.delong import delong
from medvision.errors import SpecError
from medvision.files import atomic_path
from medvision.intervals import LEVEL, draw_groups, percentiles
from medvision.measures import Floats, Head, measures_of
from medvision.scores import Score
from medvision.spreadsheet import harmless

DRAWS = 2000
FEW = 10  # patients, below which a figure is marked: its interval tells little
REST, OTHER = "rest", "other model"


@dataclass(frozen=True)
class Figure:
    """One figure with its 95 % interval; of a difference also how likely it is by chance.

    Parameters
    ----------
    subgroup : str
        ``"sex: F"``; empty of all cases.
    of : str
        A structure or class; empty of all of them.
    metric : str
        ``"dice"``, ``"auc"``, …
    n, patients : int
        How many cases and patients count; of a mean the patients of its rarest part.
    value, low, high : float
        The figure, and its interval; NaN where there is none.
    left_out : int
        Cases that the figure is not defined for, as a surface distance without a surface.
    method : str
        Of the interval: ``"bootstrap"``, ``"delong"``, ``"exact"`` where all are right or wrong, or
        ``"none"``: draws that are all alike tell nothing, and those of the ECE, which repeat cases,
        are larger than itself, so that it may lie outside of theirs.
    versus : str
        Empty of a figure itself. Of a difference what was taken off: ``"rest"`` (the cases outside
        of the sub-group) or ``"other model"``.
    p, p_holm : float, optional
        Of a difference: two-sided, of there being none; and corrected by Holm
    compared : int
        over so many differences, those that were asked for together.
    """

    subgroup: str
    of: str
    metric: str
    n: int
    patients: int
    value: float
    low: float
    high: float
    left_out: int = 0
    method: str = "bootstrap"
    versus: str = ""
    p: float | None = None
    p_holm: float | None = None
    compared: int = 0

    @property
    def few(self) -> bool:
        """Whether it rests on fewer than 10 patients: it is shown, and said to tell little."""
        return self.patients < FEW

    def row(self) -> dict[str, Any]:
        """Return what a CSV or JSON holds, None for what is not defined."""
        return {
            key: None if isinstance(value, float) and np.isnan(value) else value
            for key, value in asdict(self).items()
        } | {"few": self.few}


def summarize(
    scores: Sequence[Score],
    patients: Mapping[str, str] | None = None,
    *,
    subgroup: str = "",
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Figure]:
    """Return every figure of an evaluation with its 95 % interval over patients.

    What figures there are `measures_of` says. Intervals are percentiles of the bootstrap, expanded
    for few patients (`medvision.intervals.percentiles`); of the AUC of one class Obuchowski's form
    of DeLong's (`medvision.delong`). Where a share of cases is 0 or 1, or an AUC, all draws agree
    and would say that it is sure; the bound is then Clopper and Pearson's of one case a patient.
    Nothing is tested here. Of one patient there is no interval.

    Parameters
    ----------
    scores : sequence of Score
        Of one kind.
    patients : mapping of case_id to patient, optional
        Without one each case is a patient of its own.
    subgroup : str
        What the figures are said to be of.
    draws, seed : int
        Without draws the bootstrap's intervals are NaN.
    """
    measures = measures_of(scores)
    groups = groups_of(measures.case_ids, patients)
    value = measures.columns(np.ones((1, len(groups))))[0]
    parts = [measures.columns(w.astype(np.float64)) for w in draw_groups(groups, draws, seed)]
    drawn = np.concatenate([np.empty((0, len(value))), *parts])
    return [
        figure_of(head, float(value[k]), drawn[:, k], groups, subgroup)
        for k, head in enumerate(measures.heads)
    ]


def groups_of(case_ids: Sequence[str], patients: Mapping[str, str] | None) -> list[str]:
    """Return the patient of each case.

    Raises
    ------
    SpecError
        When a case has none.
    """
    if patients is None:
        return list(case_ids)
    unknown = [case_id for case_id in case_ids if case_id not in patients]
    if unknown:
        raise SpecError(
            f"{len(unknown)} of {len(case_ids)} cases have no patient, the first {unknown[0]!r}: "
            "the scores and the cases are not of one evaluation."
        )
    return [patients[case_id] for case_id in case_ids]


def figure_of(
    head: Head, value: float, drawn: Floats, groups: Sequence[str], subgroup: str
) -> Figure:
    """Return one figure with its interval, from its draws (D,)."""
    names = np.asarray(groups, dtype=str)
    count = head.patients(groups)
    method, bounds = "bootstrap", percentiles(drawn, count)
    if head.ranked is not None and head.wanted is not None and not np.isnan(value):
        method = "delong"
        area = delong(head.wanted, head.ranked, groups)
        bounds = (area.low, area.high)
        rarer = min(len(np.unique(names[side])) for side in (head.wanted, ~head.wanted))
        if value in (0.0, 1.0):
            method, bounds = "exact", edge(value, rarer)
    elif head.binary and value in (0.0, 1.0):
        method, bounds = "exact", edge(value, count)
    elif head.metric == "ece" or (drawn.size and np.ptp(drawn) == 0):
        method, bounds = "none", (float("nan"), float("nan"))
    return Figure(
        subgroup, head.of, head.metric, int(head.counted.sum()), count, value, *bounds,
        left_out=head.left_out, method=method,
    )  # fmt: skip


def edge(value: float, patients: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a share of 0 or 1 (Clopper & Pearson 1934)."""
    far = ((1 - LEVEL) / 2) ** (1 / patients)
    return (far, 1.0) if value == 1 else (0.0, 1 - far)


def holm(values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number (Holm, Scandinavian Journal of Statistics 1979).

    Those that are NaN stay so, and do not count.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    found, most = [float("nan")] * len(values), 0.0
    known = [n for n in np.argsort(values, kind="stable") if not np.isnan(values[n])]
    for rank, n in enumerate(known):
        most = max(most, min(1.0, (len(known) - rank) * values[n]))
        found[n] = round(most, 12)
    return found


def corrected(figures: Sequence[Figure]) -> list[Figure]:
    """Return differences with their p values corrected over all of them."""
    values = [float("nan") if one.p is None else one.p for one in figures]
    known = int(np.isfinite(values).sum())
    return [
        replace(one, p_holm=p, compared=known) for one, p in zip(figures, holm(values), strict=True)
    ]


def write_figures(figures: Sequence[Figure], path: Path) -> Path:
    """Write figures as a CSV or JSON, by the ending of the name."""
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        if path.suffix == ".json":
            json.dump([one.row() for one in figures], file, indent=1, allow_nan=False)
            return path
        writer = csv.DictWriter(file, [*(f.name for f in fields(Figure)), "few"])
        writer.writeheader()
        writer.writerows(
            {k: round(v, 6) if isinstance(v, float) else harmless(v) for k, v in one.row().items()}
            for one in figures
        )
    return path
