"""An evaluation as a whole: who is judged by which cases, and all figures made of the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from medvision.dataset import Case, patients_of
from medvision.differences import model_differences, subgroup_figures
from medvision.errors import SpecError
from medvision.found_masks import FOUND, keep_masks, mask_path
from medvision.judged import Judged
from medvision.mask_figures import TOLERANCE_MM, Tolerance
from medvision.measures import measures_of
from medvision.score_tables import difference_table, figure_table, subgroup_table
from medvision.scores import ClassScore, MaskScore, Score
from medvision.spec import Task
from medvision.statistics import Figure, summarize

COMPARED = ("dice", "nsd", "hd95_mm", "auc", "balanced_accuracy", "brier")  # two models by these
NAMED = 10  # results without a case that are named


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Parameters
    ----------
    name : str
        Of who was judged.
    class_names : tuple of str
        Of masks, label ``i + 1`` is ``class_names[i]``.
    scores : tuple of Score
    figures : tuple of Figure
        Of all cases.
    subgroups : tuple of Figure
        Of those that share a fact, and how they differ from the rest.
    other : str
        A second that was judged by the same cases; empty without one.
    other_scores : tuple of Score
    differences : tuple of Figure
        By how much the first is above it.
    masks : mapping of str to Path
        Where the masks of the first lie, by case_id.
    notes : tuple of str
        What is to be known of the results.
    settings : mapping of str to str
        Which models these were, or results.
    """

    name: str
    class_names: tuple[str, ...]
    scores: tuple[Score, ...]
    figures: tuple[Figure, ...]
    subgroups: tuple[Figure, ...] = ()
    other: str = ""
    other_scores: tuple[Score, ...] = ()
    differences: tuple[Figure, ...] = ()
    masks: Mapping[str, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


def judge_cases(
    first: Judged,
    cases: Sequence[Case],
    out: Path,
    other: Judged | None = None,
    tolerance_mm: Tolerance = TOLERANCE_MM,
    show: bool = True,
    metrics: Sequence[str] = (),
) -> Evaluation:
    """Judge one, or one and another, by cases, with all figures that are made of the scores.

    Parameters
    ----------
    first : Judged
    cases : sequence of Case
        Intervals are over their patients, sub-groups by their facts.
    out : Path
        Folder; the masks that a model finds are kept in ``found`` in it, in place of earlier ones.
    other : Judged, optional
    tolerance_mm : float, or mapping of str to float
        Of the NSD in mm.
    show : bool
        Whether to show progress.
    metrics : sequence of str
        What the two are compared by; none means those of `COMPARED` that they have. The more there
        are, the more each p value is corrected.

    Raises
    ------
    CasesError
        When a case cannot be read, or has no result.
    SpecError
        When the two do not have the same classes, or there is no such metric.
    OutputError
        When a mask cannot be kept.
    """
    if other is not None and (other.task, other.class_names) != (first.task, first.class_names):
        raise SpecError(
            f"{first.name} is a {first.task} with the classes {', '.join(first.class_names)}, and "
            f"{other.name} a {other.task} with {', '.join(other.class_names)}: only the same, in "
            "one order, can be compared."
        )
    check_metrics(metrics, first.task)
    both = (first, other) if other else (first,)
    for one in both:
        one.check(cases)
    others = list(other.masks_of(cases).values()) if other else []
    masks = first.masks_of(cases)
    keeping = None
    if first.task == "segmentation" and not masks:
        keeping = keep_masks(cases, out / FOUND, first.class_names, others)
        masks = {case.case_id: mask_path(out / FOUND, case.case_id) for case in cases}
    patients, facts = patients_of(cases), {case.case_id: case.facts for case in cases}
    with keeping or nullcontext() as keep:
        scores = first.judge(cases, tolerance_mm, show, keep)
        theirs = other.judge(cases, tolerance_mm, show) if other else []
    return Evaluation(
        first.name,
        first.class_names,
        tuple(scores),
        tuple(summarize(scores, patients)),
        tuple(subgroup_figures(scores, facts, patients)),
        other=other.name if other else "",
        other_scores=tuple(theirs),
        differences=tuple(
            model_differences(scores, theirs, patients, metrics=metrics or COMPARED)
            if theirs
            else ()
        ),
        masks=masks,
        notes=tuple(unmatched_in_words(one, cases) for one in both if one.unmatched(cases)),
        settings={
            **first.settings,
            **({f"other {key}": value for key, value in other.settings.items()} if other else {}),
        },
    )


def check_metrics(metrics: Sequence[str], task: Task) -> None:
    """Raise `SpecError` for a metric that no two of a task can be compared by."""
    sample: Score = ClassScore("", "a", {"a": 0.5, "b": 0.5})
    if task == "segmentation":
        sample = MaskScore("", "a", 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0)
    known = list(dict.fromkeys(head.metric for head in measures_of([sample]).heads))
    strange = [metric for metric in metrics if metric not in known]
    if strange:
        raise SpecError(
            f"There is no figure {' or '.join(strange)} to compare by. Choose from: "
            f"{', '.join(known)}."
        )


def unmatched_in_words(judged: Judged, cases: Sequence[Case]) -> str:
    """Return a sentence that names the results that are of none of the cases."""
    names = judged.unmatched(cases)
    more = f", and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (
        f"{judged.name}: {len(names)} results are of none of the cases, and are not counted: "
        f"{', '.join(names[:NAMED])}{more}."
    )


def tables(found: Evaluation) -> str:
    """Return an evaluation as Markdown tables to read."""
    parts = [figure_table(found.scores, found.figures)]
    if any(one.versus for one in found.subgroups):
        parts.append(subgroup_table(found.subgroups))
    if found.differences:
        count = found.differences[0].compared
        parts += [
            difference_table(found.differences, found.name, found.other),
            f"p is two-sided, over patients, and corrected by Holm over {count} differences.",
        ]
    return "\n\n".join(parts)
