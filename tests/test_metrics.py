"""Agreement of masks and of classes: worked by hand, and by scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from medvision.lesions import LesionCounts
from medvision.metrics import auc, auprc, brier, dice, ece, iou
from medvision.score_tables import score_table
from medvision.scores import (
    ClassScore,
    MaskScore,
    figures,
    least_confidences,
    read_scores,
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


def test_iou_by_hand():
    a, b = box(slice(0, 4), 0, 0), box(slice(2, 8), 0, 0)
    assert iou(a, b) == pytest.approx(2 / 8)
    assert iou(a, a) == 1
    assert iou(a, box(slice(0, 0))) == 0
    assert iou(box(slice(0, 0)), box(slice(0, 0))) == 1


def test_scores_survive_their_file(tmp_path):
    scores = [
        MaskScore("x", "a", 0.9, float("nan"), 1.25, -0.1),
        MaskScore("y", "a", 0.8, 2.0, 2.0, 0.3, 0.912345, 0.6667, 0.75, 0.5, 3, 2, 4, 1),
    ]
    again = read_scores(write_scores(scores, tmp_path / "s.csv"))
    assert again[1] == scores[1]
    assert math.isnan(again[0].hd95_mm)
    assert (again[0].confidence, again[0].iou, again[0].true_lesions) == (None, None, None)
    assert again[1].lesions == LesionCounts(true=3, hit=2, found=4, false=1)
    assert again[0].lesions is None
    assert (
        "| a | 2 | 0.850 | 0.667 | 0.750 | 2.00 | 0.50 | 0.667 | +0.100 | 0.200 |"
        in score_table(scores)
    )


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
    lines = score_table(scores_of(truth, shares, names)).splitlines()
    counts = f"{accuracy_score(truth, said):.3f} | {balanced_accuracy_score(truth, said):.3f}"
    whole = shares[:, 1] if classes == 2 else shares
    precision = average_precision_score(np.eye(classes)[truth] if classes > 2 else truth, whole)
    assert lines[2].startswith(f"| 60 | {area:.3f} | {precision:.3f} | {counts} |")
    recalls = recall_score(truth, said, average=None)
    precisions = precision_score(truth, said, average=None)
    for name, count, recall, precision, line in zip(
        names, np.bincount(truth), recalls, precisions, lines[6:], strict=True
    ):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert (cells[0], cells[1], cells[4]) == (name, str(count), f"{recall:.3f}")
        assert cells[6] == f"{precision:.3f}"


def test_cases_that_lack_a_class_have_no_auc_but_a_likelihood():
    scores = scores_of([0, 0, 1], np.array([[0.5, 0.25, 0.25], [1, 0, 0], [0, 1, 0]]))
    found = figures(scores)
    assert list(found) == ["log_likelihood", "accuracy"]
    assert found["log_likelihood"] == pytest.approx(math.log(0.5) / 3)
    table = score_table(scores)
    assert "| 3 | – | – | 1.000 | 1.000 |" in table
    assert "| c | 0 | – | – | – | 1.000 | – |" in table
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
    assert first[0] == (
        "case_id,truth,predicted,a_probability,b_probability,c_probability,confidence"
    )
    assert first[2].startswith("x1,c,b,")


@pytest.mark.parametrize("classes", [2, 4])
def test_average_precision_and_brier_are_those_of_sklearn(classes):
    rng = np.random.default_rng(classes)
    truth = np.arange(80) % classes
    shares = rng.dirichlet(np.ones(classes), 80) + 0.3 * np.eye(classes)[truth]
    shares /= shares.sum(axis=1, keepdims=True)
    right = np.eye(classes)[truth]
    wanted = slice(1, None) if classes == 2 else slice(None)
    theirs = average_precision_score(right[:, wanted], shares[:, wanted], average="macro")
    assert auprc(truth, shares) == pytest.approx(theirs)
    if classes == 2:
        assert brier(truth, shares) == pytest.approx(brier_score_loss(truth, shares[:, 1]))
    else:
        assert brier(truth, shares) == pytest.approx(((shares - right) ** 2).sum() / 80)


def test_brier_by_hand():
    assert brier(np.array([0, 2]), np.array([[1.0, 0, 0], [0.5, 0.5, 0]])) == pytest.approx(0.75)
    assert brier(np.array([1]), np.array([[0.75, 0.25]])) == pytest.approx(0.5625)


def test_calibration_error_by_hand():
    scores = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 10)
    truth = np.array([0] * 9 + [1] + [1] * 6 + [0] * 4)  # as often right as sure
    assert ece(truth, scores) == pytest.approx(0)
    truth[10:16] = 0  # sure to 60 %, never right
    assert ece(truth, scores) == pytest.approx(0.5 * 0.6)
    assert ece(truth, scores, bins=1) == pytest.approx(0.75 - 9 / 20)
    order = np.random.default_rng(0).permutation(20)
    assert ece(truth[order], scores[order]) == pytest.approx(ece(truth, scores))


def test_bins_hold_about_as_many_cases_each():
    sure = np.linspace(0.5, 1, 100, endpoint=False)
    right = np.array([n % 2 == 0 for n in range(100)])
    found = ece(np.where(right, 1, 0), np.stack([1 - sure, sure + 1e-9], 1), bins=10)
    halves = [abs(0.5 - sure[k : k + 10].mean()) for k in range(0, 100, 10)]
    assert found == pytest.approx(np.mean(halves), abs=1e-6)


def test_figures_that_are_not_defined_are_nan():
    none = np.zeros((0, 2))
    assert math.isnan(brier(np.zeros(0, int), none))
    assert math.isnan(ece(np.zeros(0, int), none))
    assert math.isnan(auprc(np.zeros(3, int), np.full((3, 2), 0.5)))


def test_a_table_of_an_earlier_version_has_no_confidence(tmp_path):
    head = "case_id,structure,dice,hd95_mm,truth_ml,error_ml"
    (tmp_path / "s.csv").write_text(f"{head}\nx,a,0.9,nan,1.25,-0.1\n")
    [old] = read_scores(tmp_path / "s.csv")
    assert (old.dice, old.error_ml, old.confidence) == (0.9, -0.1, None)
    assert (old.nsd, old.lesions, old.empty) == (None, None, "")
    (tmp_path / "c.csv").write_text("case_id,truth,predicted,a_probability\nx,a,a,0.9\n")
    assert read_scores(tmp_path / "c.csv") == [ClassScore("x", "a", {"a": 0.9})]


def test_a_case_is_as_sure_as_its_least_sure_structure():
    scores = [
        MaskScore("x", "a", 0.9, 1, 1, 0, 0.9),
        MaskScore("x", "b", 0.9, 1, 1, 0, 0.7),
        MaskScore("y", "a", 0.9, 1, 1, 0, 0.8),
        MaskScore("y", "b", 1, float("nan"), 0, 0),  # neither there nor found
        MaskScore("z", "a", 0, float("nan"), 1, -1),
    ]
    assert least_confidences(scores) == [0.7, 0.8]
    assert least_confidences([ClassScore("x", "a", {"a": 0.9}, 0.9)]) == [0.9]


def test_below_a_table_of_masks_stands_how_many_lack_a_structure():
    def score(case, structure, true, found):
        worst = {"hd95_mm": 40.0 if true or found else math.nan}
        lesions = {"true_lesions": true, "hit_lesions": 0, "found_lesions": found}
        overlap = 0.0 if true or found else 1.0
        return MaskScore(
            case,
            structure,
            overlap,
            truth_ml=0,
            error_ml=0,
            false_lesions=found,
            **worst,
            **lesions,
        )

    scores = [score("a", "cyst", 0, 0), score("b", "cyst", 0, 0), score("c", "cyst", 1, 0)]
    assert score_table(scores).endswith(
        "\n\ncyst: 2 cases without any, not counted; 1 missed, counted as the worst."
    )
    scores += [score("d", "cyst", 0, 2), score("a", "tumor", 0, 3), score("b", "tumor", 0, 0)]
    assert score_table(scores).endswith(
        "\n\ncyst: 2 cases without any, not counted; 1 missed, counted as the worst; 1 found where "
        "there is none, counted as the worst.\n"
        "tumor: 1 case without any, not counted; 1 found where there is none, counted as the worst."
    )
    plain = [MaskScore("x", "a", 0.9, 1, 1, 0)]  # of an earlier table: nothing is known
    assert score_table(plain).endswith("|")
