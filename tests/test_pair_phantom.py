"""Phantoms of image and report: the best possible AUC is what the formula says."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medvision.dataset import read_cases
from medvision.errors import CasesError
from medvision.extras import dataset_builder
from medvision.geometry import to_world
from medvision.io import read_volume
from medvision.pair_phantom import (
    BASE,
    BRIGHT,
    CLASSES,
    KINDS,
    SIDES,
    STEP,
    WORDS,
    best_auc,
    draw_case,
    pair_phantoms,
    separation,
    word_shares,
)
from medvision.report import DEFAULT_SECTIONS, report_for_model

DRAWS = 20_000
FOUR_ERRORS = 4 * 0.0035  # of an AUC near 0.75 from so many cases


def latent(kind):
    rng = np.random.default_rng(5)
    return [draw_case(kind, rng) for _ in range(DRAWS)]


def test_the_additive_limits_are_met_by_the_likelihood_ratio():
    rows = latent("additive")
    truth = [label for label, *_ in rows]
    image = np.array([separation() * brightness for _, _, brightness, *_ in rows])
    absent, present = word_shares()
    text = np.array([np.log(present / absent)[WORDS.index(word)] for *_, word, _ in rows])
    assert best_auc("additive", "image") == best_auc("additive", "report") == 0.75
    assert best_auc("additive", "both") == pytest.approx(0.8315, abs=1e-4)
    for seen, ratio in (("image", image), ("report", text), ("both", image + text)):
        assert abs(roc_auc_score(truth, ratio) - best_auc("additive", seen)) < FOUR_ERRORS


def test_only_the_pair_decides_an_interaction():
    rows = latent("interaction")
    truth = np.array([label for label, *_ in rows])
    side = np.array([side for _, side, *_ in rows])
    told = np.array([SIDES.index(told) for *_, told in rows])
    assert abs(roc_auc_score(truth, side) - 0.5) < FOUR_ERRORS
    assert abs(roc_auc_score(truth, told) - 0.5) < FOUR_ERRORS
    assert abs(roc_auc_score(truth, side == told) - 0.97) < FOUR_ERRORS
    assert best_auc("interaction", "both") == 0.97
    assert best_auc("interaction", "image") == best_auc("interaction", "report") == 0.5


@pytest.mark.parametrize("size", [(32, 32, 1), (20, 20, 20)])
def test_the_lesion_lies_on_the_side_that_is_meant_in_the_world(size):
    agree = []
    for one in pair_phantoms("interaction", 400, size, seed=2):
        bright = np.argwhere(one.image.array[0] > BASE + 40).mean(axis=0)
        middle = to_world(one.image.affine, (np.array(size) - 1) / 2)
        right = to_world(one.image.affine, bright)[0] > middle[0]
        told = "right" if "right side" in one.report else "left"
        agree.append((told == SIDES[int(right)]) == (one.label == CLASSES[1]))
    assert abs(np.mean(agree) - 0.97) < 4 * 0.0085
    assert one.image.orientation == ("LIA" if size[2] == 1 else "RAS")


def test_the_brightness_can_be_read_off_the_image():
    phantoms = pair_phantoms("additive", 400, seed=3)
    peak = np.array([np.sort(one.image.array.ravel())[-6:].mean() for one in phantoms])
    truth = [one.label == CLASSES[1] for one in phantoms]
    assert abs(roc_auc_score(truth, peak) - 0.75) < 4 * 0.025
    assert peak.mean() == pytest.approx(BASE + BRIGHT, abs=12)
    assert np.std(peak) == pytest.approx(STEP * np.hypot(1, separation() / 2), rel=0.2)
    assert (peak < 255).mean() > 0.99


@pytest.mark.parametrize("kind", KINDS)
def test_the_evidence_lies_in_sections_that_a_model_sees_by_default(kind):
    for one in pair_phantoms(kind, 20, seed=1):
        seen = report_for_model(one.report, DEFAULT_SECTIONS)
        assert any(word in seen for word in (*WORDS, "left side", "right side"))
        assert "Synthetic" not in seen
        assert one.label not in seen


def test_a_label_is_said_where_it_is_asked_for_and_nothing_else_changes():
    open_, leaky = (pair_phantoms("additive", 20, seed=1, leak=leak) for leak in (False, True))
    for one, other in zip(open_, leaky, strict=True):
        assert other.report == f"{one.report}IMPRESSION: Disease {one.label}.\n"
        assert np.array_equal(one.image.array, other.image.array)
        assert one.label not in one.report


def test_the_same_seed_draws_the_same(tmp_path):
    first, again = (pair_phantoms("additive", 3, seed=4) for _ in range(2))
    assert [one.report for one in first] == [one.report for one in again]
    assert all(
        np.array_equal(a.image.array, b.image.array) for a, b in zip(first, again, strict=True)
    )


@pytest.mark.parametrize("dims", [2, 3])
def test_files_hold_what_was_drawn(tmp_path, dims):
    builder = dataset_builder("pairs")
    rows = builder.build(tmp_path / "cases.csv", "interaction", 60, dims, seed=6)
    cases = read_cases(tmp_path / "cases.csv", (), "classification")
    size = (32, 32, 1) if dims == 2 else (20, 20, 20)
    drawn = pair_phantoms("interaction", 60, size, seed=6)
    assert len(rows) == len(cases) == 60
    assert {case.split for case in cases} == {"train", "val", "test"}
    for case, one in zip(cases[:5], drawn, strict=False):
        volume = read_volume(case.images["image"])
        assert np.array_equal(volume.array, one.image.array)
        assert volume.orientation == one.image.orientation
        assert case.report.split() == one.report.split()
        assert case.label == one.label


def test_what_cannot_be_built_is_told(tmp_path):
    builder = dataset_builder("pairs")
    with pytest.raises(CasesError, match="additive, interaction"):
        builder.build(tmp_path / "cases.csv", "sum")
    with pytest.raises(CasesError, match="three splits"):
        builder.build(tmp_path / "cases.csv", cases=10)
