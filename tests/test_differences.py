"""Differences of models and of sub-groups: found where they are, corrected for their number."""

import math
from dataclasses import replace

import numpy as np
import pytest

from medvision.delong import delong_difference
from medvision.differences import model_differences, subgroup_figures
from medvision.errors import SpecError
from medvision.scores import ClassScore, MaskScore
from medvision.statistics import OTHER, REST, holm

PATIENTS = {f"c{n}": f"p{n // 2}" for n in range(80)}


def masks(better=0.0, seed=0):
    """Two structures of 80 cases; what is hard is hard for every model."""
    hard, rng = np.random.default_rng(99).normal(0, 0.1, 80), np.random.default_rng(seed)
    return [
        MaskScore(f"c{n}", name, float(0.7 + hard[n] + better + rng.normal(0, 0.02)), 1, 5, 0.1)
        for n in range(80)
        for name in ("a", "b")
    ]


def classes(seed, help_of):
    rng = np.random.default_rng(seed)
    ill = np.arange(80) % 2
    share = 1 / (1 + np.exp(-(rng.normal(size=80) + help_of * (ill - 0.5))))
    return [
        ClassScore(f"c{n}", ("well", "ill")[i], {"well": 1 - float(s), "ill": float(s)})
        for n, (i, s) in enumerate(zip(ill, share, strict=True))
    ]


def test_a_better_model_is_found_on_the_same_cases():
    a, b = masks(0.02), masks(seed=1)
    found = model_differences(a, b[::-1], PATIENTS, metrics=("dice",), draws=1000)
    assert [(one.of, one.versus, one.compared) for one in found] == [
        ("", OTHER, 3),
        ("a", OTHER, 3),
        ("b", OTHER, 3),
    ]
    gaps = np.array([x.dice - y.dice for x, y in zip(a, b, strict=True)]).reshape(40, -1).mean(1)
    assert found[0].value == pytest.approx(gaps.mean())
    wide = 2 * 2.0227 * gaps.std(ddof=1) / 40**0.5  # Student's t of 40 patients
    assert found[0].high - found[0].low == pytest.approx(wide, rel=0.1)
    assert found[0].low > 0
    assert found[0].p_holm < 0.02
    assert [one.p_holm for one in found] == holm([one.p for one in found])
    back = model_differences(b, a, PATIENTS, metrics=("dice",), draws=1000)
    assert back[0].value == pytest.approx(-found[0].value)
    assert back[0].p == found[0].p


def test_models_that_are_one_do_not_differ():
    scores = classes(0, 1.0)
    for one in model_differences(scores, scores, PATIENTS, draws=100):
        assert (one.value, one.p, one.p_holm) == pytest.approx((0, 1, 1)), one


def test_areas_are_compared_by_delong():
    a, b = classes(0, 2.5), classes(1, 0.5)
    found = model_differences(a, b, PATIENTS, metrics=("auc",))
    assert {one.method for one in found} == {"delong"}
    ill = np.array([one.truth == "ill" for one in a])
    ours, theirs = (np.array([one.scores["ill"] for one in some]) for some in (a, b))
    gain = delong_difference(ill, ours, theirs, [PATIENTS[one.case_id] for one in a])
    (area,) = found  # of two classes once
    assert (area.value, area.low, area.p) == pytest.approx((gain.value, gain.low, gain.p))
    assert (area.of, area.compared) == ("", 1)
    assert area.p_holm == pytest.approx(gain.p, abs=1e-11)


def test_other_cases_and_other_truths_are_refused():
    a = masks()
    with pytest.raises(SpecError, match=r"not of the same cases: 1 are in one only.*c0 a"):
        model_differences(a, a[1:])
    with pytest.raises(SpecError, match=r"differ in what is true.* of 1 cases: c0"):
        model_differences(a, [replace(a[0], truth_ml=6), *a[1:]])
    with pytest.raises(SpecError, match=r"Neither model has auc\. Choose from: dice"):
        model_differences(a, a, metrics=("auc",))


def test_subgroups_that_differ_are_found_and_none_is_hidden():
    sites = ["A", "B", "C"]
    facts = {
        f"c{n}": {"site": sites[n // 2 % 3] if n > 1 else "", "sex": "FM"[n // 2 % 2]}
        for n in range(80)
    }
    poor = [
        replace(one, dice=one.dice - 0.2) if facts[one.case_id]["site"] == "B" else one
        for one in masks()
    ]
    found = subgroup_figures(poor, facts, PATIENTS, draws=1000)
    plain = {one.subgroup: one for one in found if not one.versus and one.of == ""
             and one.metric == "dice"}  # fmt: skip
    assert list(plain) == [
        "site: A", "site: B", "site: C", "site: unknown", "sex: F", "sex: M",
    ]  # fmt: skip
    assert (plain["site: unknown"].patients, plain["site: unknown"].few) == (1, True)
    assert math.isnan(plain["site: unknown"].low)
    mine = [one.dice for one in poor if facts[one.case_id]["site"] == "B"]
    rest = [one.dice for one in poor if facts[one.case_id]["site"] != "B"]
    tested = {one.subgroup: one for one in found if one.versus == REST}
    assert list(tested) == ["site: A", "site: B", "site: C", "site: unknown", "sex: F"]
    assert tested["site: B"].value == pytest.approx(np.mean(mine) - np.mean(rest))
    assert tested["site: B"].high < 0
    assert tested["site: B"].p_holm < 0.05
    assert tested["site: B"].compared == 4  # one patient cannot be tested
    assert tested["sex: F"].p_holm > 0.05


def test_a_fact_that_all_share_makes_no_subgroups():
    assert subgroup_figures(masks(), {f"c{n}": {"site": "A"} for n in range(80)}, draws=10) == []


def test_differences_that_are_none_are_rarely_found():
    """Of 200 comparisons of five sites that are alike, about one in twenty finds any."""
    facts = {f"c{n}": {"site": "ABCDE"[n // 2 % 5]} for n in range(80)}
    wrong = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        common = np.repeat(rng.normal(0, 0.1, 40), 2)
        scores = [MaskScore(f"c{n}", "a", float(0.7 + common[n]), 1, 1, 0) for n in range(80)]
        found = subgroup_figures(scores, facts, PATIENTS, draws=400, seed=seed)
        wrong += any(one.p_holm < 0.05 for one in found if one.versus)
    assert wrong / 200 < 0.15
