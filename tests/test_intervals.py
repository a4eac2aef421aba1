"""Intervals over patients: scikit-learn's weighted areas, and intervals that hold the truth."""

import math

import numpy as np
import pytest
from scipy.stats import norm, t
from sklearn.metrics import roc_auc_score

from medvision.errors import SpecError
from medvision.intervals import bootstrap, draw_groups, paired_bootstrap, weighted_auc
from medvision.metrics import auc, brier


def answers(cases, classes, seed=0, help_of=0.3, digits=1):
    """Classes, and probabilities with many ties that tell something of them."""
    rng = np.random.default_rng(seed)
    truth = np.arange(cases) % classes
    scores = rng.dirichlet(np.ones(classes), cases) + help_of * np.eye(classes)[truth]
    return truth, np.round(scores / scores.sum(axis=1, keepdims=True), digits)


def names(count):
    return [f"p{n}" for n in range(count)]


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_a_weighted_draw_is_what_sklearn_says_with_weights(classes):
    truth, scores = answers(90, classes)
    weights = np.concatenate(list(draw_groups([f"p{n // 3}" for n in range(90)], 20, seed=1)))
    assert weights.shape == (20, 90)
    assert (weights.reshape(20, 30, 3) == weights[:, ::3, None]).all()  # whole groups
    assert (weights.sum(axis=1) == 90).all()
    wanted = [1] if classes == 2 else range(classes)
    for row, area in zip(weights, weighted_auc(truth, scores, weights), strict=True):
        theirs = [roc_auc_score(truth == c, scores[:, c], sample_weight=row) for c in wanted]
        assert area == pytest.approx(np.mean(theirs), abs=1e-12)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_value_is_that_of_all_cases_and_lies_inside(classes):
    truth, scores = answers(80, classes)
    found = bootstrap(auc, truth, scores, names(80), draws=300)
    assert found.value == auc(truth, scores)
    assert found.low < found.value < found.high
    assert bootstrap(auc, truth, scores, names(80), draws=300) == found
    assert bootstrap(auc, truth, scores, names(80), draws=300, seed=1) != found


def test_any_figure_has_an_interval():
    truth, scores = answers(60, 2)
    found = bootstrap(brier, truth, scores, names(60), draws=200)
    each = (scores[:, 1] - truth) ** 2
    assert found.value == pytest.approx(each.mean())
    # of a mean, the interval is about ± 1.96 standard errors
    assert found.high - found.low == pytest.approx(2 * 1.96 * each.std() / 60**0.5, rel=0.25)


def test_a_difference_with_itself_is_nothing():
    truth, scores = answers(60, 3)
    found = paired_bootstrap(truth, scores, scores, names(60), draws=200)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_scores_of_one_order_do_not_differ():
    truth, scores = answers(60, 2)
    found = paired_bootstrap(truth, scores, np.sqrt(scores), names(60), draws=200)
    assert (found.low, found.high, found.p) == (0, 0, 1)


def test_a_difference_that_is_there_is_found():
    truth, good = answers(200, 2, help_of=1.0, digits=3)
    _, poor = answers(200, 2, seed=1, help_of=0.0, digits=3)
    found = paired_bootstrap(truth, good, poor, names(200), draws=500)
    assert found.value == auc(truth, good) - auc(truth, poor)
    assert found.low > 0
    plain = norm.ppf(1 / 501)  # no draw on the other side
    assert found.p == pytest.approx(2 * t.cdf(plain / (200 / 199) ** 0.5, 199))
    assert 2 / 501 < found.p < 2.5 / 501
    back = paired_bootstrap(truth, poor, good, names(200), draws=500)
    assert (back.value, back.p) == (-found.value, found.p)
    assert back.low == pytest.approx(-found.high)


def test_cases_of_one_patient_do_not_narrow_the_interval():
    truth, scores = answers(60, 2)
    once = bootstrap(auc, truth, scores, names(60), draws=500)
    rows = np.repeat(np.arange(60), 10)
    again = bootstrap(auc, truth[rows], scores[rows], np.array(names(60))[rows], draws=500)
    assert (again.low, again.high) == pytest.approx((once.low, once.high))
    alone = bootstrap(auc, truth[rows], scores[rows], names(600), draws=500)
    assert alone.high - alone.low < 0.5 * (once.high - once.low)


def test_intervals_hold_the_true_area_about_95_times_of_100():
    rng = np.random.default_rng(0)
    truth = np.arange(100) % 2
    true_area = 0.7602  # of two normal distributions 1 apart: Φ(1 / √2)
    held = 0
    for _ in range(150):
        score = rng.normal(truth.astype(float))
        found = bootstrap(auc, truth, np.stack([-score, score], 1), names(100), draws=200)
        held += found.low <= true_area <= found.high
    assert 0.89 <= held / 150 <= 0.99


def test_draws_that_lack_a_class_are_left_out():
    truth, scores = (
        np.array([0, 0, 0, 0, 0, 1]),
        np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4], [0.4, 0.6], [0.5, 0.5]]),
    )
    found = bootstrap(auc, truth, scores, names(6))
    assert found.value == pytest.approx(4 / 5)
    assert 0 <= found.low <= found.high <= 1


def test_what_is_not_defined_is_nan():
    scores = np.full((3, 2), 0.5)
    found = bootstrap(auc, np.zeros(3, int), scores, names(3), draws=50)
    assert all(math.isnan(x) for x in (found.value, found.low, found.high))
    pair = paired_bootstrap(np.zeros(3, int), scores, scores, names(3), draws=50)
    assert all(math.isnan(x) for x in (pair.value, pair.low, pair.high, pair.p))
    none = bootstrap(auc, np.zeros(0, int), np.zeros((0, 2)), [], draws=50)
    assert math.isnan(none.value)


def test_cases_must_be_the_same():
    with pytest.raises(SpecError, match=r"3 classes, scores of shape \(3, 2\) and 2 groups"):
        bootstrap(auc, np.zeros(3, int), np.zeros((3, 2)), names(2))
