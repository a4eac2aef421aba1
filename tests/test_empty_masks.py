"""Cases without a structure tell nothing of it: means leave them out, as nnU-Net's do."""

import math

import numpy as np
import pytest

from medvision.evaluate import mask_scores
from medvision.outputs.case_pictures import extreme_cases
from medvision.outputs.evaluation_page import EvaluationFacts, evaluation_html
from medvision.score_tables import score_table
from medvision.scores import figures
from medvision.statistics import summarize
from medvision.volume import Volume

NAMES = ("liver", "tumor", "cyst")  # no case has a cyst


def label_map(*present):
    labels = np.zeros((1, 8, 8, 8), np.uint8)
    for label, start in present:
        labels[0, start : start + 3, 2 * label : 2 * label + 2, 1:4] = label
    return Volume(labels, np.eye(4))


# case → what was found, and what is true: (label, where it begins)
CASES = {
    "a": ([(1, 1), (2, 2)], [(1, 2), (2, 2)]),
    "b": ([(1, 1)], [(1, 1)]),  # no tumor, and none found
    "c": ([(1, 3)], [(1, 3), (2, 1)]),  # missed
    "d": ([(2, 1)], []),  # found where there is none; no liver
    "e": ([], []),
}


@pytest.fixture(scope="module")
def scores():
    return [
        score
        for case_id, (found, truth) in CASES.items()
        for score in mask_scores(label_map(*found), label_map(*truth), NAMES, case_id=case_id)
    ]


def nnunet_dice(label):
    """The Dice of each case as nnU-Net's `compute_metrics` has it, NaN where both are empty."""
    values = []
    for found, truth in CASES.values():
        one, other = (label_map(*some).array == label for some in (found, truth))
        hit, wrong = (one & other).sum(), (one ^ other).sum()
        values.append(2 * hit / (2 * hit + wrong) if hit + wrong else np.nan)
    return np.array(values)


def test_means_are_those_of_nnunet(scores):
    told = {(one.of, one.metric): one for one in summarize(scores, draws=0)}
    means = {}
    for label, name in enumerate(NAMES[:2], start=1):
        dice = nnunet_dice(label)
        means[name] = np.nanmean(dice)
        one = told[name, "dice"]
        assert one.value == pytest.approx(means[name])
        assert (one.n, one.left_out) == (np.isfinite(dice).sum(), np.isnan(dice).sum())
        assert (told[name, "nsd"].n, told[name, "iou"].n, told[name, "hd95_mm"].n) == (one.n,) * 3
        assert told[name, "error_ml"].n == len(CASES)
    assert np.isnan(nnunet_dice(3)).all()
    for metric in ("dice", "iou", "nsd", "lesion_f1"):
        assert math.isnan(told["cyst", metric].value)
    assert told["", "dice"].value == pytest.approx(np.mean(list(means.values())))
    watched = figures(scores)
    assert watched == pytest.approx(
        {"dice": told["", "dice"].value} | {f"dice/{name}": mean for name, mean in means.items()}
    )


def test_how_many_cases_stands_beside_the_mean(scores):
    lines = score_table(scores).splitlines()
    assert [line[:17] for line in lines if line.startswith("| ")][1:] == [
        "| liver | 3 | 0.8",
        "| tumor | 3 | 0.3",
        "| cyst | 0 | – | ",
    ]
    assert "liver: 2 cases without any, not counted." in lines
    html = evaluation_html(EvaluationFacts("toy", scores, summarize(scores, draws=0)))
    assert "Dice of tumor" in html
    assert "Dice of cyst" not in html


def test_where_nothing_is_to_be_found_and_nothing_was_all_is_well(scores):
    nothing = [one for one in scores if one.case_id == "e"]
    assert figures(nothing) == {"dice": 1.0}
    worst, best = extreme_cases(scores, 2)
    assert worst == ["d", "c"]  # the means of what is there or was found: 0 and 1/2
    assert best == ["b", "e"]
