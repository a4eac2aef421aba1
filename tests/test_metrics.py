"""Agreement of masks and of classes: worked by hand, and by scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from medvision.metrics import auc, dice, hd95_mm
from medvision.scores import (
    ClassScore,
    MaskScore,
    class_table,
    figures,
    read_scores,
    score_table,
    write_scores,
)


def box(*slices):
    mask = np.zeros((20, 20, 20), bool)
    mask[slices] = True
    return mask


def test_dice_by_hand():
    a, b = box(slice(0, 4), 0, 0), box(slice(2, 8), 0, 0)
    assert dice(a, b) == pytest.approx(2 * 2 / (4 + 6))
    assert dice(a, a) == 1
    assert dice(a, box(slice(0, 0))) == 0
    assert dice(box(slice(0, 0)), box(slice(0, 0))) == 1


def test_surface_distance_is_in_mm():
    a = box(slice(5, 10), slice(5, 10), slice(5, 10))
    b = box(slice(5, 10), slice(5, 10), slice(8, 13))  # three slices further
    assert hd95_mm(a, b, (1, 1, 2.5)) == pytest.approx(7.5)
    assert hd95_mm(a, a, (1, 1, 1)) == 0
    assert math.isnan(hd95_mm(a, box(slice(0, 0)), (1, 1, 1)))


def test_scores_survive_their_file(tmp_path):
    scores = [
        MaskScore("x", "a", 0.9, float("nan"), 1.25, -0.1),
        MaskScore("y", "a", 0.8, 2.0, 2.0, 0.3),
    ]
    again = read_scores(write_scores(scores, tmp_path / "s.csv"))
    assert again[1] == scores[1]
    assert math.isnan(again[0].hd95_mm)
    assert "| a | 2 | 0.8500 ± 0.0500 | 2.00 | +0.100 | 0.200 |" in score_table(scores)


def scores_of(truth, shares, names=("a", "b", "c")):
    return [
        ClassScore(f"x{n}", names[t], dict(zip(names, map(float, row), strict=True)))
        for n, (t, row) in enumerate(zip(truth, shares, strict=True))
    ]


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_figures_of_classes_are_those_of_sklearn(classes):
    rng = np.random.default_rng(classes)
    truth = np.arange(60) % classes
    shares = rng.dirichlet(np.ones(classes), 60) + 0.3 * np.eye(classes)[truth]
    shares /= shares.sum(axis=1, keepdims=True)
    names = "abcde"[:classes]
    found = figures(scores_of(truth, shares, names))
    area = roc_auc_score(truth, shares[:, 1] if classes == 2 else shares, multi_class="ovr")
    said = shares.argmax(axis=1)
    assert list(found) == ["auc", "log_likelihood", "accuracy"]
    assert found["auc"] == auc(truth, shares) == pytest.approx(area)
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, said))
    assert found["log_likelihood"] == pytest.approx(-log_loss(truth, shares))
    lines = class_table(scores_of(truth, shares, names)).splitlines()
    balanced = balanced_accuracy_score(truth, said)
    assert lines[2] == f"| 60 | {area:.4f} | {accuracy_score(truth, said):.4f} | {balanced:.4f} |"
    recalls = recall_score(truth, said, average=None)
    precisions = precision_score(truth, said, average=None)
    for name, count, recall, precision, line in zip(
        names, np.bincount(truth), recalls, precisions, lines[6:], strict=True
    ):
        assert line == f"| {name} | {count} | {recall:.4f} | {precision:.4f} |"


def test_cases_that_lack_a_class_have_no_auc_but_a_likelihood():
    scores = scores_of([0, 0, 1], np.array([[0.5, 0.25, 0.25], [1, 0, 0], [0, 1, 0]]))
    found = figures(scores)
    assert list(found) == ["log_likelihood", "accuracy"]
    assert found["log_likelihood"] == pytest.approx(math.log(0.5) / 3)
    table = class_table(scores)
    assert "| 3 | – | 1.0000 | 1.0000 |" in table
    assert "| c | 0 | – | – |" in table
    sure = scores_of([0], np.array([[0.0, 1.0, 0.0]]))  # wrong and sure: bad, but not infinite
    assert math.isfinite(figures(sure)["log_likelihood"])


def test_figures_of_masks_are_means_over_cases():
    scores = [MaskScore("x", "a", 0.9, 1, 1, 0), MaskScore("x", "b", 0.5, 1, 1, 0)]
    scores += [MaskScore("y", "a", 0.7, 1, 1, 0), MaskScore("y", "b", 0.1, 1, 1, 0)]
    found = figures(scores)
    assert list(found) == ["dice", "dice/a", "dice/b"]
    assert list(found.values()) == pytest.approx([0.55, 0.8, 0.3])


def test_class_scores_survive_their_file(tmp_path):
    scores = scores_of([0, 2], np.array([[0.5, 0.25, 0.25], [0.125, 0.5, 0.375]]))
    path = write_scores(scores, tmp_path / "s.csv")
    assert read_scores(path) == scores
    first = path.read_text().splitlines()
    assert first[0] == "case_id,truth,predicted,a_probability,b_probability,c_probability"
    assert first[2].startswith("x1,c,b,")
