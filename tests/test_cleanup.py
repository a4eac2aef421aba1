"""Masks after the network has spoken: what stays, what goes, and what it becomes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_predictor import SPEC, Bright

from medvision.cleanup import clean
from medvision.cleanup_spec import Cleanup
from medvision.errors import SpecError
from medvision.predictor import Predictor
from medvision.spec import ModelSpec
from medvision.study import Study
from medvision.volume import Volume

NAMES = ("organ", "lesion")


def scene():
    """Organ: a cube of 8³ with a hole and a crumb of 2³; lesion: 2³ inside the organ."""
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[2:10, 2:10, 2:10] = 1
    labels[4, 4, 4] = 0
    labels[6:8, 6:8, 6:8] = 2
    labels[15:17, 15:17, 15:17] = 1
    return labels


def count(labels):
    return np.bincount(labels.ravel(), minlength=3).tolist()


def test_the_largest_piece_stays_and_holes_are_filled():
    before = scene()
    after = clean(before, NAMES, {"organ": Cleanup(largest=True, fill=True)}, 0.001)
    assert count(before)[1:] == [512 - 1 - 8 + 8, 8]
    assert count(after)[1:] == [512 - 8, 8]  # the lesion inside is no hole
    assert after[4, 4, 4] == 1
    assert not after[15:17, 15:17, 15:17].any()
    assert np.array_equal(before, scene())  # nothing is changed in place


@pytest.mark.parametrize(("voxel_ml", "stays"), [(0.1, 8), (0.125, 8), (0.05, 0)])
def test_pieces_below_a_volume_go_whatever_the_voxel(voxel_ml, stays):
    """The lesion has 8 voxels; 0.8 ml are asked for."""
    after = clean(scene(), NAMES, {"lesion": Cleanup(min_ml=0.8)}, voxel_ml)
    assert count(after)[2] == stays


def test_what_is_taken_away_can_become_another_class():
    after = clean(scene(), NAMES, {"lesion": Cleanup(min_ml=1, instead="organ")}, 0.001)
    assert count(after)[1:] == [512 - 1 + 8, 0]


def test_pieces_that_share_a_corner_are_one():
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = labels[3, 3, 3] = 1
    after = clean(labels, ("a",), {"a": Cleanup(largest=True)}, 1)
    assert after.sum() == 2
    assert not after[3, 3, 3]


def test_nothing_is_done_where_nothing_is_asked_or_there():
    labels = scene()
    assert clean(labels, NAMES, {}, 1) is labels
    empty = np.zeros_like(labels)
    assert not clean(empty, NAMES, {"organ": Cleanup(largest=True, fill=True)}, 1).any()


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, (7, 6, 5), elements=st.integers(0, 1)))
def test_simpleitk_does_the_same(mask):
    sitk = pytest.importorskip("SimpleITK", reason="needs SimpleITK (extra test)")
    image = sitk.GetImageFromArray(mask)
    pieces = sitk.ConnectedComponent(image, True)
    ordered = sitk.GetArrayFromImage(sitk.RelabelComponent(pieces, 1, True))
    mine = clean(mask, ("a",), {"a": Cleanup(largest=True)}, 1)
    assert mine.sum() == (ordered == 1).sum()  # of equal pieces it may take another
    large = sitk.GetArrayFromImage(sitk.RelabelComponent(pieces, 4, True)) > 0
    assert np.array_equal(clean(mask, ("a",), {"a": Cleanup(min_ml=4)}, 1), large)
    filled = sitk.GetArrayFromImage(sitk.BinaryFillhole(image, False))
    assert np.array_equal(clean(mask, ("a",), {"a": Cleanup(fill=True)}, 1), filled)


def test_a_prediction_is_cleaned_in_ml_of_the_scan():
    scan = np.zeros((1, 24, 24, 24), np.float32)
    scan[0, 3:9, 3:9, 3:9] = 100
    scan[0, 15:17, 15:17, 15:17] = 100
    study = Study("a", {"image": Volume(scan, np.eye(4))})
    plain = Predictor(Bright(), SPEC, "cpu").predict(study)
    assert plain.measure()[0].voxels == 216 + 8
    for step in (Cleanup(largest=True), Cleanup(min_ml=0.009)):
        spec = replace(SPEC, cleanup={"ball": step})
        assert Predictor(Bright(), spec, "cpu").predict(study).measure()[0].voxels == 216
    spec = replace(SPEC, cleanup={"ball": Cleanup(min_ml=0.008)})
    assert Predictor(Bright(), spec, "cpu").predict(study).measure()[0].voxels == 216 + 8


def test_a_spec_keeps_it_and_one_without_reads_as_before():
    spec = replace(SPEC, cleanup={"ball": Cleanup(largest=True, min_ml=0.5)})
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert "cleanup" not in SPEC.to_json()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cleanup": {"bone": Cleanup(largest=True)}}, "bone"),
        ({"cleanup": {"ball": Cleanup(largest=True, instead="bone")}}, "bone"),
        ({"task": "classification", "class_names": ("a", "b")}, "segmentation"),
        ({"spacing": None, "cleanup": {"ball": Cleanup(min_ml=1)}}, "ml"),
    ],
)
def test_what_does_not_fit_is_told(changes, says):
    with pytest.raises(SpecError, match=says):
        replace(SPEC, **{"cleanup": {"a": Cleanup(fill=True)}} | changes)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"largest": 1}, "true or false"),
        ({"min_ml": -1}, "0 ml or more"),
        ({"min_ml": float("nan")}, "0 ml or more"),
        ({"instead": "organ"}, "Nothing is taken away"),
    ],
)
def test_a_step_that_is_none_is_told(wrong, says):
    with pytest.raises(SpecError, match=says):
        Cleanup(**wrong)
