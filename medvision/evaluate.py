"""Evaluate a predictor on cases whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence

from medvision.dataset import Case, name_case, read_case, read_images, refuse, strange_labels
from medvision.errors import CasesError, MedvisionError
from medvision.geometry import voxel_mm3
from medvision.metrics import dice, hd95_mm
from medvision.predictor import Predictor
from medvision.progress import track
from medvision.scores import ClassScore, LabelScore, MaskScore, Score
from medvision.spec import names_of


def evaluate(predictor: Predictor, cases: Sequence[Case], show: bool = True) -> list[Score]:
    """Predict every case, and hold it against its mask (on the reference's own grid) or label.

    Each score also has the model's own confidence.

    Raises
    ------
    CasesError
        When a case cannot be read, does not fit the model, or has no such truth.
    """
    spec = predictor.spec
    if spec.task == "classification":
        refuse(strange_labels(cases, spec.class_names, spec.multilabel))
    one = score_class if spec.task == "classification" else score_masks
    scores: list[Score] = []
    for case in track(cases, "Evaluate", len(cases), show):
        try:
            scores += one(predictor, case)
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


def score_masks(predictor: Predictor, case: Case) -> list[Score]:
    """Segment one case, and measure how each structure agrees."""
    study, truth = read_case(case, predictor.spec)
    said = predictor.predict(study)
    found = said.mask
    assert found is not None  # what a segmentation has
    ml = voxel_mm3(found.affine) / 1000.0
    scores: list[Score] = []
    for label, name in enumerate(predictor.spec.class_names, start=1):
        mine, yours = found.array[0] == label, truth.array[0] == label
        scores.append(
            MaskScore(
                case.case_id,
                name,
                dice(mine, yours),
                hd95_mm(mine, yours, found.spacing),
                truth_ml=float(yours.sum() * ml),
                error_ml=float((mine.sum() - yours.sum()) * ml),
                confidence=said.confidence.get(name),
            )
        )
    return scores
