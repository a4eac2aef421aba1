"""What is told of two masks of a structure, and where one or both are empty."""

import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_hausdorff_distance

from medvision.compare import compare_masks
from medvision.errors import GeometryError, SpecError
from medvision.evaluate import mask_scores
from medvision.lesions import LesionCounts
from medvision.mask_figures import figures_of_labels, mask_figures, parse_tolerances
from medvision.scores import figures
from medvision.volume import SeriesInfo, Volume

AFFINE = np.diag([2.0, 1.0, 3.0, 1.0])
DIAGONAL = pytest.approx(math.sqrt(20**2 + 12**2 + 24**2))


def volume(labels, **info):
    return Volume(labels[None], AFFINE, SeriesInfo(**info))


def cube(*start, value=1):
    labels = np.zeros((10, 12, 8), np.uint8)
    labels[tuple(slice(s, s + 4) for s in start)] = value
    return labels


def test_a_shifted_cube():
    found, truth = cube(2, 2, 2) > 0, cube(2, 2, 3) > 0  # one slice of 3 mm
    told = mask_figures(found, truth, (2, 1, 3), tolerance_mm=3)
    assert (told.dice, told.iou) == (0.75, 0.6)
    assert (told.hd95_mm, told.nsd) == (3, 1)
    assert (told.found, told.truth) == (64, 64)
    assert told.lesions == LesionCounts(1, 1, 1, 0)
    assert mask_figures(found, truth, (2, 1, 3), tolerance_mm=2).nsd < 1


def test_a_missed_structure_has_the_worst_figures():
    nothing, some = np.zeros((10, 12, 8), bool), cube(2, 2, 2) > 0
    for found, truth in ((nothing, some), (some, nothing)):
        told = mask_figures(found, truth, (2, 1, 3))
        assert (told.dice, told.iou, told.nsd, told.lesions.f1) == (0, 0, 0, 0)
        assert (told.hd95_mm, told.assd_mm) == (DIAGONAL, DIAGONAL)
    both = mask_figures(nothing, nothing, (2, 1, 3))
    assert (both.dice, both.iou, both.nsd, both.lesions.f1) == (1, 1, 1, 1)
    assert (both.hd95_mm, both.assd_mm) == (None, None)


def test_no_distance_of_a_found_structure_is_the_worst():
    ends = np.zeros((2, 10, 12, 8), bool)
    ends[0, 0, 0, 0] = ends[1, -1, -1, -1] = True
    assert mask_figures(*ends, (2, 1, 3)).hd95_mm < math.sqrt(20**2 + 12**2 + 24**2)


def test_the_surface_of_a_picture_is_its_outline():
    rng = np.random.default_rng(3)
    found, truth = np.zeros((2, 30, 40), bool)
    found[5:25, 8:30], truth[7:25, 6:33] = True, True
    found[rng.random(found.shape) > 0.99] = True
    expected = compute_hausdorff_distance(
        *(torch.from_numpy(one)[None, None].float() for one in (found, truth)),
        include_background=True,
        percentile=95,
        spacing=[0.5, 0.25],
    )
    flat = mask_figures(found[..., None], truth[..., None], (0.5, 0.25, 1))
    upright = mask_figures(found[:, None], truth[:, None], (0.5, 7, 0.25))
    assert flat.hd95_mm == upright.hd95_mm == pytest.approx(float(expected))


def test_one_plane_of_a_scan_is_no_picture():
    found, truth = np.zeros((2, 10, 12, 8), bool)
    found[2:8, 2:8, 3] = truth[3:7, 3:7, 3] = True  # every voxel is border: inside none is far
    assert mask_figures(found, truth, (1, 1, 1)).hd95_mm == pytest.approx(math.sqrt(2), abs=0.5)
    assert mask_figures(found[..., 3:4], truth[..., 3:4], (1, 1, 1)).assd_mm == pytest.approx(
        (20 * 1 + 4 * (math.sqrt(2) - 1) + 12 * 1) / (20 + 12)
    )


def test_labels_of_any_number_are_found():
    found, truth = cube(2, 2, 2), cube(2, 2, 3)
    expected = mask_figures(found > 0, truth > 0, (2, 1, 3))
    for label in (7, 614_454_277, -3):
        maps = [one.astype(np.int64) * label for one in (found, truth)]
        [(_, told)] = figures_of_labels(*maps, {label: 1.0}, (2, 1, 3))
        assert told == expected


def test_a_prediction_is_scored_as_it_is_compared():
    found = volume(cube(1, 1, 1) + cube(6, 6, 4, value=2))
    truth = volume(cube(1, 2, 1) + cube(5, 7, 4, value=2))
    names = ("a", "b", "c")
    tolerances = {"b": 2.0}
    scores = mask_scores(found, truth.reoriented("PIR"), names, tolerances, "case")
    rows = compare_masks(found, truth, dict(enumerate(names, 1)), tolerances).rows
    assert [(one.case_id, one.structure) for one in scores] == [("case", n) for n in names]
    for score, row in zip(scores, rows, strict=True):
        assert (score.dice, score.iou, score.nsd) == (row.dice, row.iou, row.nsd)
        assert (score.truth_ml, score.error_ml) == (row.ml_truth, row.difference_ml)
        assert score.lesions == row.lesions
    assert scores[0].hd95_mm == pytest.approx(rows[0].hd95_mm)
    assert math.isnan(scores[2].hd95_mm)
    assert [one.empty for one in scores] == ["", "", "both"]
    assert scores[0].nsd == 1  # one voxel of 1 mm off
    assert 0 < scores[1].nsd <= 1


def test_a_mean_gets_no_better_where_a_case_is_missed():
    names = ("a", "b")
    truth = volume(cube(1, 1, 1) + cube(6, 6, 4, value=2))
    poor, missed = volume(cube(3, 2, 3)), volume(np.zeros((10, 12, 8), np.uint8))
    poor, missed = (mask_scores(one, truth, names) for one in (poor, missed))
    assert [one.empty for one in missed] == ["found", "found"]
    assert missed[0].hd95_mm == DIAGONAL
    assert missed[0].hd95_mm > poor[0].hd95_mm
    assert missed[0].assd_mm > poor[0].assd_mm
    assert missed[0].nsd <= poor[0].nsd
    assert figures(missed)["dice"] <= figures(poor)["dice"]


def test_a_picture_without_spacing_is_told_in_no_mm():
    found = volume(cube(2, 2, 2), spacing_known=False)
    [score] = mask_scores(found, volume(cube(2, 2, 3)), ["a"])
    assert (score.dice, score.iou) == (0.75, 0.6)
    told = (score.hd95_mm, score.assd_mm, score.nsd, score.truth_ml, score.error_ml)
    assert all(math.isnan(one) for one in told)
    assert (score.empty, score.true_lesions) == ("", 1)


def test_what_does_not_fit_is_refused():
    found = volume(cube(2, 2, 2))
    with pytest.raises(GeometryError, match="The truth does not lie on the grid of what was found"):
        mask_scores(found, Volume(found.array, np.eye(4)), ["a"])
    with pytest.raises(SpecError, match=r"no structure 'liver'.*a, b"):
        mask_scores(found, found, ["a", "b"], {"liver": 1.0})
    with pytest.raises(SpecError, match="from 0; this is -1"):
        mask_scores(found, found, ["a"], -1.0)
    with pytest.raises(SpecError, match="from 0; this is nan"):
        compare_masks(found, found, {1: "a"}, float("nan"))


def test_tolerances_are_said_for_all_or_by_name():
    assert parse_tolerances([], ["a", "b"]) == {"a": 1, "b": 1}
    assert parse_tolerances(["b=0.5", "2"], ["a", "b"]) == {"a": 2, "b": 0.5}
    with pytest.raises(SpecError, match=r"name=1\.5, in mm; this is 'b=wide'"):
        parse_tolerances(["b=wide"], ["a", "b"])
    with pytest.raises(SpecError, match="no structure 'c'"):
        parse_tolerances(["c=1"], ["a", "b"])
