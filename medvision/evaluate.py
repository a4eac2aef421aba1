"""Evaluate a predictor on cases whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from medvision.compare import labels_of
from medvision.dataset import Case, name_case, read_case, read_images, refuse, strange_labels
from medvision.errors import CasesError, MedvisionError
from medvision.geometry import voxel_mm3
from medvision.mask_figures import (
    TOLERANCE_MM,
    Tolerance,
    check_tolerances,
    figures_of_labels,
    tolerance_of,
)
from medvision.predictor import Predictor
from medvision.progress import track
from medvision.scores import ClassScore, LabelScore, MaskScore, Score
from medvision.spec import names_of
from medvision.volume import Volume, on_axes_of


def evaluate(
    predictor: Predictor,
    cases: Sequence[Case],
    show: bool = True,
    tolerance_mm: Tolerance = TOLERANCE_MM,
    keep: Callable[[str, Volume], object] | None = None,
) -> list[Score]:
    """Predict every case, and hold it against its mask (on the reference's own grid) or label.

    Each score also has the model's own confidence.

    Parameters
    ----------
    predictor : Predictor
    cases : sequence of Case
    show : bool
        Whether to show a progress bar.
    tolerance_mm : float, or mapping of str to float
        Of the NSD in mm: of all structures, or by name.
    keep : callable, optional
        Given each case_id with the mask that was found, on the grid of the reference.

    Raises
    ------
    CasesError
        When a case cannot be read, does not fit the model, or has no such truth.
    SpecError
        When a tolerance does not fit the model's structures.
    """
    spec = predictor.spec
    if spec.task == "classification":
        refuse(strange_labels(cases, spec.class_names, spec.multilabel))
    else:
        check_tolerances(tolerance_mm, spec.class_names)
    scores: list[Score] = []
    for case in track(cases, "Evaluate", len(cases), show):
        try:
            if spec.task == "classification":
                scores += score_class(predictor, case)
            else:
                scores += score_masks(predictor, case, tolerance_mm, keep)
        except MedvisionError as error:
            raise CasesError(name_case(case, error)) from None
    return scores


def score_class(predictor: Predictor, case: Case) -> list[Score]:
    """Classify one case."""
    said = predictor.predict(read_images(case, predictor.spec))
    found, sure = said.scores, said.least_confidence
    assert found is not None  # what a classification has
    if predictor.spec.multilabel:
        return [LabelScore(case.case_id, names_of(case.label), found, sure)]
    return [ClassScore(case.case_id, case.label, found, sure)]


def score_masks(
    predictor: Predictor,
    case: Case,
    tolerance_mm: Tolerance,
    keep: Callable[[str, Volume], object] | None = None,
) -> list[MaskScore]:
    """Segment one case, and measure how each structure agrees."""
    study, truth = read_case(case, predictor.spec)
    said = predictor.predict(study)
    assert said.mask is not None  # what a segmentation has
    if keep is not None:
        keep(case.case_id, said.mask)
    names = predictor.spec.class_names
    scores = mask_scores(said.mask, truth, names, tolerance_mm, case.case_id)
    return [replace(one, confidence=said.confidence.get(one.structure)) for one in scores]


def mask_scores(
    found: Volume,
    truth: Volume,
    class_names: Sequence[str],
    tolerance_mm: Tolerance = TOLERANCE_MM,
    case_id: str = "",
) -> list[MaskScore]:
    """Hold a label map against the truth, structure by structure.

    Axes in another order or direction are no matter; nothing is resampled.

    Parameters
    ----------
    found, truth : Volume
        (1, I, J, K), whole numbers: label ``i + 1`` is ``class_names[i]``.
    class_names : sequence of str
    tolerance_mm : float, or mapping of str to float
        Of the NSD in mm: of all structures, or by name (1 where a name is missing).
    case_id : str
        What the scores are to say.

    Returns
    -------
    list of MaskScore
        In the order of `class_names`; without the confidence of a model.

    Raises
    ------
    GeometryError
        When the two do not lie on one grid.
    SpecError
        When one of them is no label map, or a tolerance does not fit.
    """
    check_tolerances(tolerance_mm, class_names)
    truth = on_axes_of(found, truth)
    known = found.info.spacing_known and truth.info.spacing_known
    ml = voxel_mm3(found.affine) / 1000.0 if known else math.nan  # mm³ → ml
    each = figures_of_labels(
        labels_of(found, "what was found"),
        labels_of(truth, "the truth"),
        {n: tolerance_of(name, tolerance_mm) for n, name in enumerate(class_names, start=1)},
        found.spacing if known else None,
    )
    return [
        MaskScore(
            case_id,
            class_names[label - 1],
            one.dice,
            hd95_mm=math.nan if one.hd95_mm is None else one.hd95_mm,
            truth_ml=one.truth * ml,
            error_ml=(one.found - one.truth) * ml,
            iou=one.iou,
            nsd=math.nan if one.nsd is None else one.nsd,
            assd_mm=math.nan if one.assd_mm is None else one.assd_mm,
            true_lesions=one.lesions.true,
            hit_lesions=one.lesions.hit,
            found_lesions=one.lesions.found,
            false_lesions=one.lesions.false,
        )
        for label, one in each
    ]
