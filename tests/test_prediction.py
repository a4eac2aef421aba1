"""Measurements of phantoms whose volumes and places are known."""

from dataclasses import replace

import numpy as np
import pytest

from medvision.errors import SpecError
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.prediction import Prediction, in_percent
from medvision.volume import SeriesInfo, Volume

BALL = Ellipsoid(center_mm=(4.0, -3.0, 11.0), radii_mm=(10.0, 8.0, 6.0))


def measured(mask, name, region):
    """The one structure of a mask."""
    return Prediction("a", "m", (name,), region, mask=mask).measure()[0]


def grid(spacing, shape, turn=0.0):
    """An affine whose grid is centered on (0, 0, 10) mm."""
    affine = np.diag([*spacing, 1.0])
    c, s = np.cos(turn), np.sin(turn)
    affine[:2, :2] = np.array([[c, -s], [s, c]]) @ affine[:2, :2]
    affine[:3, 3] = np.array([0, 0, 10]) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


@pytest.mark.parametrize(
    ("spacing", "shape", "turn"),
    [
        ((1, 1, 1), (50, 50, 40), 0.0),
        ((0.5, 0.7, 2.0), (100, 80, 20), 0.0),
        ((0.6, 0.6, 0.6), (90, 90, 60), 0.5),
    ],
)
def test_volume_and_centroid_of_an_ellipsoid(spacing, shape, turn):
    _, mask = ellipsoid_phantom(shape, grid(spacing, shape, turn), [BALL])
    whole = tuple(slice(0, n) for n in shape)
    found = measured(mask, "ball", whole)
    assert found.ml == pytest.approx(BALL.ml, rel=0.03)
    assert BALL.ml == pytest.approx(2.0106, abs=1e-4)
    assert found.centroid_mm == pytest.approx(BALL.center_mm, abs=0.1)
    assert not found.touches_border
    if turn == 0:
        assert found.extent_mm == pytest.approx((20, 16, 12), abs=2.01)


def test_a_structure_cut_by_what_the_model_saw_touches_the_border():
    _, mask = ellipsoid_phantom((50, 50, 40), grid((1, 1, 1), (50, 50, 40)), [BALL])
    cut = (slice(0, 29), slice(0, 50), slice(0, 40))  # through the middle of the ball
    found = measured(mask, "ball", cut)
    assert found.touches_border
    assert found.ml == pytest.approx(BALL.ml / 2, rel=0.1)


def test_an_absent_structure_has_no_place():
    _, mask = ellipsoid_phantom((9, 9, 9), np.eye(4), [])
    found = measured(mask, "ball", (slice(0, 9),) * 3)
    assert (found.voxels, found.ml, found.centroid_mm, found.touches_border) == (
        0,
        0.0,
        None,
        False,
    )


def test_a_picture_without_calibration_has_no_millimeters():
    mask = Volume(np.ones((1, 5, 5, 1), np.uint8), np.eye(4), SeriesInfo(spacing_known=False))
    found = measured(mask, "blob", (slice(0, 5), slice(0, 5), slice(0, 1)))
    assert found.voxels == 25
    assert found.ml is None
    assert found.centroid_mm is None


def test_dictionary_holds_the_grid_and_every_structure():
    _, mask = ellipsoid_phantom((50, 50, 40), grid((1, 1, 1), (50, 50, 40)), [BALL])
    said = Prediction(
        case_id="case",
        model="model",
        class_names=("ball", "other"),
        region=(slice(0, 50), slice(0, 50), slice(0, 40)),
        mask=mask,
    ).to_dict()
    assert said["task"] == "segmentation"
    assert [s["name"] for s in said["structures"]] == ["ball", "other"]
    assert said["grid"]["shape"] == [50, 50, 40]
    assert said["region"] == [[0, 50], [0, 50], [0, 40]]
    assert not {"predicted", "scores"} & set(said)


def classified(**scores):
    return Prediction("case", "model", ("no", "yes"), (slice(0, 28),) * 3, scores=scores)


def test_a_classification_says_the_likeliest_class_and_has_nothing_to_measure():
    one = classified(no=1 / 3, yes=2 / 3)
    assert (one.task, one.predicted, one.measure()) == ("classification", "yes", [])
    assert one.to_dict() == {
        "case_id": "case",
        "model": "model",
        "task": "classification",
        "predicted": "yes",
        "scores": {"no": 0.333333, "yes": 0.666667},
        "confidence": None,
        "review": None,
        "needs_review": False,
        "unlike": [],
        "region": [[0, 28], [0, 28], [0, 28]],
        "warnings": [],
    }
    assert classified(no=0.5, yes=0.5).predicted == "no"


def test_a_prediction_has_a_mask_or_scores():
    mask = Volume(np.zeros((1, 5, 5, 1), np.uint8), np.eye(4))
    region = (slice(0, 5), slice(0, 5), slice(0, 1))
    segmented = Prediction("case", "model", ("no", "yes"), region, mask=mask)
    assert (segmented.task, segmented.predicted) == ("segmentation", None)
    with pytest.raises(SpecError, match="has neither"):
        Prediction("case", "model", ("no", "yes"), region)
    with pytest.raises(SpecError, match="has both"):
        replace(segmented, scores={"no": 0.5, "yes": 0.5})
    with pytest.raises(SpecError, match="classes no, yes, in this order; found yes, no"):
        classified(yes=1.0, no=0.0)


@pytest.mark.parametrize(
    ("probability", "words"),
    [(0, "< 0.1%"), (0.001, "0.1%"), (0.4567, "45.7%"), (0.999, "99.9%"), (1, "> 99.9%")],
)
def test_no_probability_is_said_to_be_certain(probability, words):
    assert in_percent(probability) == words
