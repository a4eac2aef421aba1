"""What an evaluation leaves in its folder: scores, figures, and a page with pictures."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from medvision.dataset import Case, read_mask
from medvision.errors import GeometryError, MedvisionError, SeriesError
from medvision.evaluation import Evaluation
from medvision.files import sha256, write_text
from medvision.io import read_volume
from medvision.mask_figures import Tolerance
from medvision.outputs.evaluation_page import (
    CasePicture,
    EvaluationFacts,
    case_in_words,
    draw_case,
    evaluation_html,
    extreme_cases,
)
from medvision.render import scores_png
from medvision.run_card import package_versions
from medvision.scores import MaskScore, write_scores
from medvision.statistics import DRAWS, write_figures

SCORES, FIGURES, FIGURES_JSON = "scores.csv", "figures.csv", "figures.json"
OTHER_SCORES, REPORT = "other_scores.csv", "report.html"


def write_evaluation(
    found: Evaluation,
    cases: Sequence[Case],
    out: Path,
    table: str,
    settings: Mapping[str, str],
    command: Sequence[str],
) -> tuple[str, ...]:
    """Write scores, figures and the page into a folder; return what is to be known of them.

    Parameters
    ----------
    found : Evaluation
    cases : sequence of Case
        What it is of.
    out : Path
    table : str
        As the user called it.
    settings : mapping of str to str
        What the page says beside the models: see `table_settings`.
    command : sequence of str
        As it was given.
    """
    write_scores(found.scores, out / SCORES)
    if found.other_scores:
        write_scores(found.other_scores, out / OTHER_SCORES)
    else:
        (out / OTHER_SCORES).unlink(missing_ok=True)  # of an earlier evaluation
    figures = [*found.figures, *found.subgroups, *found.differences]
    for name in (FIGURES, FIGURES_JSON):
        write_figures(figures, out / name)
    facts = facts_of(found, cases, table, settings, command)
    write_text(out / REPORT, evaluation_html(facts))
    return tuple(facts.warnings)


def facts_of(
    found: Evaluation,
    cases: Sequence[Case],
    table: str,
    settings: Mapping[str, str],
    command: Sequence[str],
) -> EvaluationFacts:
    """Return what the page tells, with pictures of the worst and best cases.

    Parameters are those of `write_evaluation`.
    """
    pictures, undrawn = pictures_of(found, cases)
    return EvaluationFacts(
        title=f"{found.name} on {table}",
        scores=found.scores,
        figures=found.figures,
        subgroups=found.subgroups,
        differences=found.differences,
        other=found.other,
        other_scores=found.other_scores,
        pictures=pictures,
        command=shlex.join(command),
        settings={**found.settings, **settings},
        versions=package_versions(),
        warnings=(*found.notes, *undrawn),
    )


def table_settings(
    table: Path, cases: Sequence[Case], split: str, tolerance_mm: Tolerance
) -> dict[str, str]:
    """Return what a page says of the cases, and of how they were judged.

    Parameters
    ----------
    table : Path
        The cases.csv.
    cases : sequence of Case
        Those of it that were taken.
    split : str
        By which they were chosen; empty of all.
    tolerance_mm : float, or mapping of str to float
        Of the NSD, where there are masks; else empty.
    """
    each = tolerance_mm if isinstance(tolerance_mm, Mapping) else {"all": tolerance_mm}
    said = set(each.values())
    alike = f"{said.pop():g}" if len(said) == 1 else ""
    tolerances = alike or ", ".join(f"{name} {mm:g}" for name, mm in each.items())
    return {
        "table": str(table),
        "SHA-256 of the table": sha256(table),
        "cases": str(len(cases)),
        "split": split or "all rows",
        **({"tolerance of the NSD, mm": tolerances} if tolerances else {}),
        "intervals": f"95 %, over patients; bootstrap of {DRAWS} draws, seed 0",
    }


def pictures_of(
    found: Evaluation, cases: Sequence[Case]
) -> tuple[list[CasePicture], tuple[str, ...]]:
    """Return pictures of the cases that went worst and best, and why some cannot be drawn."""
    by_name = {case.case_id: case for case in cases}
    pictures, problems = [], []
    for kind, names in zip(("worst", "best"), extreme_cases(found.scores), strict=True):
        for case_id in names:
            words = f"{kind}: {case_in_words(found.scores, case_id)}"
            try:
                image = picture_of(found, by_name[case_id])
            except (MedvisionError, OSError) as error:
                problems.append(f"{case_id} has no picture: {error}")
                continue
            pictures.append(CasePicture(case_id, words, image))
    return pictures, tuple(problems)


def picture_of(found: Evaluation, case: Case) -> Image.Image:
    """Draw a case: where its masks differ most, or its image with what was said of it.

    Raises
    ------
    MedvisionError
        When its files cannot be read, or no image has the grid of the mask.
    """
    score = next(one for one in found.scores if one.case_id == case.case_id)
    images = (read_volume(path) for path in case.images.values())
    if not isinstance(score, MaskScore):
        return scores_png(next(images), score.scores)
    truth = read_mask(case, len(found.class_names))
    mask = read_volume(found.masks[case.case_id])
    for image in images:
        try:
            return draw_case(image, truth, mask, found.class_names)
        except GeometryError:
            continue  # an input on another grid than the reference
    raise SeriesError("none of its images has the grid of its mask.")
