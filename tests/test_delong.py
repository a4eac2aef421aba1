"""Variance of areas: the definition by every pair, known values, and patients of many cases."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medvision.delong import areas_of, delong, delong_difference
from medvision.errors import SpecError


def by_pairs(wanted, scores, groups):
    """Areas and covariance as the papers define them, pair by pair."""
    ways, patients = len(scores), sorted(set(groups))
    x, y = scores[:, wanted], scores[:, ~wanted]
    m, n, count = x.shape[1], y.shape[1], len(patients)
    won = (x[:, :, None] > y[:, None, :]) + 0.5 * (x[:, :, None] == y[:, None, :])
    areas = won.mean(axis=(1, 2))
    v10, v01 = won.mean(axis=2), won.mean(axis=1)
    of_x, of_y = np.asarray(groups)[wanted], np.asarray(groups)[~wanted]
    sums_x = np.array(
        [
            [v10[k, of_x == p].sum() - (of_x == p).sum() * areas[k] for p in patients]
            for k in range(ways)
        ]
    )
    sums_y = np.array(
        [
            [v01[k, of_y == p].sum() - (of_y == p).sum() * areas[k] for p in patients]
            for k in range(ways)
        ]
    )
    i10, i01 = len(set(of_x)), len(set(of_y))
    cov = np.zeros((ways, ways))
    for a in range(ways):
        for b in range(ways):
            s10 = i10 / ((i10 - 1) * m) * (sums_x[a] * sums_x[b]).sum()
            s01 = i01 / ((i01 - 1) * n) * (sums_y[a] * sums_y[b]).sum()
            s11 = count / (count - 1) * (sums_x[a] * sums_y[b]).sum()
            s11t = count / (count - 1) * (sums_x[b] * sums_y[a]).sum()
            cov[a, b] = s10 / m + s01 / n + (s11 + s11t) / (m * n)
    return areas, cov


def sample(seed, cases=40, digits=1):
    rng = np.random.default_rng(seed)
    wanted = np.arange(cases) % 3 == 0
    scores = np.round(rng.normal(size=(2, cases)) + 0.8 * wanted, digits)
    return wanted, scores


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), each=st.integers(1, 5))
def test_the_fast_form_is_the_definition(seed, each):
    wanted, scores = sample(seed)
    groups = [f"p{n // each}" for n in range(40)]
    areas, covariance = areas_of(wanted, scores, groups)
    true_areas, true_covariance = by_pairs(wanted, scores, groups)
    assert areas == pytest.approx(true_areas)
    assert covariance == pytest.approx(true_covariance, abs=1e-12)
    assert covariance == pytest.approx(covariance.T)
    if each == 1:  # one case a patient: DeLong's own
        assert covariance == pytest.approx(areas_of(wanted, scores)[1])


def test_a_case_worked_by_hand():
    # 2/3, 1, 1 of the well lie below each ill one; 1, 2/3, 1 of the ill above each well one
    wanted = np.array([False, False, False, True, True, True])
    scores = np.array([[0.1, 0.4, 0.2, 0.3, 0.8, 0.9]])
    areas, covariance = areas_of(wanted, scores)
    assert areas[0] == pytest.approx(8 / 9)
    assert covariance[0, 0] == pytest.approx(2 * (1 / 27) / 3)  # both variances 1/27, of 3 each
    found = delong(wanted, scores[0])
    reach = 1.959964 * math.sqrt(2 / 81) / (8 / 9 * 1 / 9)
    assert math.log(found.high / (1 - found.high)) == pytest.approx(math.log(8) + reach, rel=1e-6)
    assert math.log(found.low / (1 - found.low)) == pytest.approx(math.log(8) - reach, rel=1e-6)


def test_copies_of_cases_tell_nothing_new_where_patients_are_known():
    wanted, scores = sample(1, digits=3)
    groups = [f"p{n}" for n in range(40)]
    once = areas_of(wanted, scores, groups)[1]
    rows = np.repeat(np.arange(40), 5)
    again = areas_of(wanted[rows], scores[:, rows], np.asarray(groups)[rows])[1]
    assert again == pytest.approx(once)
    alone = areas_of(wanted[rows], scores[:, rows])[1]
    assert (np.diag(alone) < 0.25 * np.diag(once)).all()


def test_patients_with_cases_of_both_sides_are_allowed_for():
    rng = np.random.default_rng(0)
    common = np.repeat(rng.normal(size=60), 2)
    wanted = np.tile([True, False], 60)  # a sick and a sound side of each
    scores = (common + 0.5 * rng.normal(size=120) + wanted)[None]
    pairs = [f"p{n // 2}" for n in range(120)]
    paired = areas_of(wanted, scores, pairs)[1]
    alone = areas_of(wanted, scores)[1]
    assert paired[0, 0] < alone[0, 0]  # what both sides share cancels


def test_the_difference_of_one_with_itself_is_nothing():
    wanted, scores = sample(2)
    found = delong_difference(wanted, scores[0], scores[0])
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)
    found = delong_difference(wanted, scores[0], 2 * scores[0] + 3)  # of one order
    assert found.p == 1


def test_p_is_that_of_chance_where_there_is_no_difference():
    below = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        wanted = np.repeat(np.arange(30) % 2 == 0, 2)
        shift = np.repeat(rng.normal(size=30), 2)
        a, b = (shift + rng.normal(size=60) + wanted for _ in range(2))
        found = delong_difference(wanted, a, b, np.repeat(np.arange(30), 2))
        assert found.p == pytest.approx(
            delong_difference(wanted, b, a, np.repeat(np.arange(30), 2)).p
        )
        below += found.p < 0.05
    assert 0.02 <= below / 300 <= 0.10


def test_what_has_no_variance_has_no_interval():
    apart = delong(np.array([False, False, True, True]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert apart.value == 1
    assert math.isnan(apart.low)
    one = delong(np.array([False, False, True]), np.array([1.0, 3.0, 2.0]))
    assert one.value == 0.5
    assert math.isnan(one.high)
    none = delong(np.array([False, False]), np.array([1.0, 3.0]))
    assert math.isnan(none.value)
    lone = delong_difference(np.array([False, False]), np.array([1.0, 3.0]), np.array([3.0, 1.0]))
    assert math.isnan(lone.p)


def test_arguments_are_of_the_same_cases():
    with pytest.raises(SpecError, match=r"3 cases, scores of shape \(1, 4\) and no groups"):
        areas_of(np.ones(3, bool), np.ones((1, 4)))
    with pytest.raises(SpecError, match="and 2 groups are not of the same"):
        areas_of(np.ones(3, bool), np.ones((1, 3)), ["a", "b"])
