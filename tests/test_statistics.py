"""Figures and their intervals: scikit-learn under weights, scipy's bootstrap, and a simulation."""

import csv
import json
import math

import numpy as np
import pytest
import simulated_scores as simulated
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from medvision.delong import delong
from medvision.differences import model_differences
from medvision.errors import SpecError
from medvision.intervals import percentiles
from medvision.measures import LESIONS, measures_of
from medvision.metrics import auc, auprc, brier, ece
from medvision.score_tables import score_table
from medvision.scores import ClassScore, LabelScore, MaskScore, arrays, label_arrays
from medvision.statistics import FEW, Figure, edge, holm, summarize, write_figures
from medvision.weighted import curve_of


def class_scores(cases=60, names="abc", seed=0, help_of=0.5):
    rng = np.random.default_rng(seed)
    truth = np.arange(cases) % len(names)
    shares = rng.dirichlet(np.ones(len(names)), cases) + help_of * np.eye(len(names))[truth]
    shares = np.round(shares / shares.sum(axis=1, keepdims=True), 3)
    return [
        ClassScore(f"c{n}", names[t], dict(zip(names, map(float, row), strict=True)))
        for n, (t, row) in enumerate(zip(truth, shares, strict=True))
    ]


def mask_scores(cases=30, seed=0):
    rng = np.random.default_rng(seed)
    return [
        MaskScore(f"c{n}", name, float(rng.beta(8, 2)), float(rng.gamma(2)), 5, float(rng.normal()))
        for n in range(cases)
        for name in ("a", "b")
    ]


def by_key(figures):
    return {(one.of, one.metric): one for one in figures}


@settings(deadline=None)
@given(seed=st.integers(0, 5000), digits=st.integers(1, 3))
def test_curves_under_weights_are_scikit_learns(seed, digits):
    rng = np.random.default_rng(seed)
    wanted = rng.random(50) < 0.4
    wanted[:2] = True, False
    scores = np.round(rng.random(50) + 0.3 * wanted, digits)
    draws = rng.integers(0, 4, (5, 50)).astype(float)
    draws[:, :2] = 1
    curve = curve_of(wanted, scores, draws)
    for n, row in enumerate(draws):
        area = sk.roc_auc_score(wanted, scores, sample_weight=row)
        precision = sk.average_precision_score(wanted, scores, sample_weight=row)
        false, true, _ = sk.roc_curve(wanted, scores, sample_weight=row, drop_intermediate=False)
        assert curve.auc()[n] == pytest.approx(area)
        assert curve.average_precision()[n] == pytest.approx(precision)
        at = curve.sensitivity_at(0.8)[n]
        assert at == pytest.approx(true[false <= 0.2 + 1e-12].max())
        at = curve.specificity_at(0.8)[n]
        assert at == pytest.approx((1 - false)[true >= 0.8 - 1e-12].max())


@pytest.mark.parametrize("names", ["ab", "abc", "abcde"])
def test_figures_of_classes_are_scikit_learns(names):
    scores = class_scores(names=names)
    truth, shares = arrays(scores)
    said, two = shares.argmax(axis=1), len(names) == 2
    found = by_key(summarize(scores, draws=0))
    for metric, function in (("auc", auc), ("average_precision", auprc), ("ece", ece)):
        assert found["", metric].value == pytest.approx(function(truth, shares))
    assert found["", "brier"].value == pytest.approx(brier(truth, shares))
    assert found["", "accuracy"].value == pytest.approx(sk.accuracy_score(truth, said))
    balanced = sk.balanced_accuracy_score(truth, said)
    assert found["", "balanced_accuracy"].value == pytest.approx(balanced)
    average = {"pos_label": 1} if two else {"average": "macro"}
    assert found["", "f1"].value == pytest.approx(sk.f1_score(truth, said, **average))
    for number, name in enumerate(names):
        mine, yours = truth == number, said == number
        assert found[name, "f1"].value == pytest.approx(sk.f1_score(mine, yours))
        assert found[name, "sensitivity"].value == pytest.approx(sk.recall_score(mine, yours))
        assert found[name, "specificity"].value == pytest.approx(sk.recall_score(~mine, ~yours))
        assert found[name, "precision"].value == pytest.approx(sk.precision_score(mine, yours))
        both = sk.balanced_accuracy_score(mine, yours)
        assert found[name, "balanced_accuracy"].value == pytest.approx(both)
        assert found[name, "sensitivity"].n == mine.sum()


def test_the_calibration_error_has_no_interval():
    figure = by_key(summarize(class_scores()))["", "ece"]
    assert figure.value > 0
    assert np.isnan(figure.low)
    assert np.isnan(figure.high)
    assert figure.method == "none"


def test_figures_of_classes_that_come_together():
    rng = np.random.default_rng(0)
    shares = rng.random((50, 2))
    truths = shares + rng.normal(0, 0.3, (50, 2)) > 0.5
    scores = [
        LabelScore(
            f"c{n}",
            tuple(name for name, has in zip("AB", row, strict=True) if has),
            dict(zip("AB", map(float, said), strict=True)),
        )
        for n, (row, said) in enumerate(zip(truths, shares, strict=True))
    ]
    truth, share = label_arrays(scores)
    found = by_key(summarize(scores, draws=100))
    assert found["", "auc"].value == pytest.approx(sk.roc_auc_score(truth, share))
    for n, name in enumerate("AB"):
        assert found[name, "auc"].value == pytest.approx(sk.roc_auc_score(truth[:, n], share[:, n]))
        loss = sk.brier_score_loss(truth[:, n], share[:, n])
        assert found[name, "brier"].value == pytest.approx(loss)
    both = sk.f1_score(truth, share >= 0.5, average="macro")
    assert found["", "f1"].value == pytest.approx(both)
    assert found["", "f1"].low < both < found["", "f1"].high


def test_means_of_masks_and_what_is_left_out():
    scores = [
        MaskScore("x", "a", 0.9, math.nan, 1, -1),
        MaskScore("x", "b", 0.5, 4, 1, 0),
        MaskScore("y", "a", 0.7, 2, 1, 3),
        MaskScore("y", "b", 0.1, 6, 1, 0),
    ]
    found = by_key(summarize(scores, {"x": "p", "y": "q"}, draws=50))
    assert found["a", "dice"].value == pytest.approx(0.8)
    assert found["", "dice"].value == pytest.approx(0.55)
    assert (found["a", "hd95_mm"].value, found["a", "hd95_mm"].n) == (2, 1)
    assert found["a", "hd95_mm"].left_out == found["", "hd95_mm"].left_out == 1
    assert math.isnan(found["a", "hd95_mm"].low)  # of one patient
    assert found["", "hd95_mm"].value == pytest.approx((2 + 5) / 2)
    assert found["a", "error_ml"].value == pytest.approx(1)
    assert found["a", "absolute_error_ml"].value == pytest.approx(2)
    assert all(one.few for one in found.values())


def test_lesions_are_summed_over_cases_and_any_number_is_told():
    def score(case_id, *counts, nsd=0.5):
        lesions = dict(zip(LESIONS, counts, strict=False))
        return MaskScore(case_id, "a", 1, 1, 1, 0, nsd=nsd, **lesions)

    scores = [score("x", 3, 2, 4, 1), score("y", 0, 0, 2, 2), score("z", nsd=None)]
    found = by_key(summarize(scores, draws=200))
    assert found["a", "lesion_f1"].value == pytest.approx(2 * 2 / (2 * 2 + 3 + 1))  # missed 1
    assert found["a", "lesion_sensitivity"].value == pytest.approx(2 / 3)
    assert found["a", "lesion_precision"].value == pytest.approx(2 / 5)
    assert (found["a", "lesion_f1"].n, found["a", "lesion_f1"].left_out) == (2, 1)
    assert (found["a", "nsd"].value, found["a", "nsd"].left_out) == (0.5, 1)
    none = by_key(summarize([score("x", 0, 0, 0, 0)], draws=0))
    assert math.isnan(none["a", "lesion_f1"].value)
    assert math.isnan(none["a", "lesion_precision"].value)


def test_a_mean_has_the_interval_that_scipy_gives_it():
    scores = mask_scores(60)
    dice = np.array([one.dice for one in scores if one.structure == "a"])
    found = by_key(summarize(scores, draws=4000))["a", "dice"]
    level = 1 - 2 * stats.norm.cdf(-math.sqrt(60 / 59) * stats.t.ppf(0.975, 59))
    theirs = stats.bootstrap(
        (dice,), np.mean, n_resamples=20000, confidence_level=level, method="percentile", rng=0
    ).confidence_interval
    wide = theirs.high - theirs.low
    assert found.low == pytest.approx(theirs.low, abs=0.04 * wide)
    assert found.high == pytest.approx(theirs.high, abs=0.04 * wide)
    reach = stats.t.ppf(0.975, 59) * dice.std(ddof=1) / math.sqrt(60)
    assert (found.high - found.low) / 2 == pytest.approx(reach, rel=0.08)  # Student's t


def test_percentiles_expand_as_patients_get_few():
    draws = np.random.default_rng(0).normal(size=100_000)
    for groups, outside in ((1_000_000, 0.025), (20, stats.norm.cdf(-2.0930 * (20 / 19) ** 0.5))):
        low, high = percentiles(draws, groups)
        assert (low, high) == pytest.approx(np.quantile(draws, [outside, 1 - outside]), abs=1e-3)
    assert all(math.isnan(one) for one in percentiles(draws, 1))


@pytest.mark.parametrize("kind", ["masks", "classes"])
def test_copies_of_cases_change_no_interval(kind):
    scores = mask_scores() if kind == "masks" else class_scores()
    ids = list(dict.fromkeys(one.case_id for one in scores))
    copies = [
        type(one)(**{**one.__dict__, "case_id": f"{one.case_id}/{copy}"})
        for copy in range(3)
        for one in scores
    ]
    patients = {f"{case_id}/{copy}": case_id for copy in range(3) for case_id in ids}
    once = by_key(summarize(scores, draws=200))
    again = by_key(summarize(copies, patients, draws=200))
    for key, one in once.items():
        if key[1] != "ece":  # its bins are of about as many cases, whole or not
            assert again[key].value == pytest.approx(one.value), key
            assert again[key].low == pytest.approx(one.low), key
            assert again[key].high == pytest.approx(one.high), key
            assert again[key].patients == one.patients


def test_an_area_has_delongs_interval():
    scores = class_scores(names="ab")
    truth, shares = arrays(scores)
    found = by_key(summarize(scores, draws=50))["", "auc"]
    area = delong(truth == 1, shares[:, 1])
    assert (found.method, found.low, found.high) == ("delong", area.low, area.high)


def test_what_is_always_right_is_not_sure():
    scores = [
        ClassScore(f"c{n}", "ab"[n % 2], {"a": float(1 - n % 2), "b": float(n % 2)})
        for n in range(20)
    ]
    found = by_key(summarize(scores, draws=50))
    assert (found["b", "sensitivity"].value, found["b", "sensitivity"].method) == (1, "exact")
    theirs = stats.binomtest(10, 10).proportion_ci(0.95, "exact")
    assert found["b", "sensitivity"].low == pytest.approx(theirs.low)
    assert found["b", "auc"].low == pytest.approx(theirs.low)  # of the ten of the rarer side
    assert found["", "accuracy"].low == pytest.approx(0.025 ** (1 / 20))
    assert edge(0, 10) == pytest.approx((0, 1 - theirs.low))


def test_a_case_without_a_patient_is_refused():
    with pytest.raises(SpecError, match="29 of 30 cases have no patient, the first 'c1'"):
        summarize(mask_scores(), {"c0": "p"})
    with pytest.raises(SpecError, match="found: ClassScore, MaskScore"):
        measures_of([*mask_scores(1), *class_scores(1)])
    with pytest.raises(SpecError, match="found: none"):
        measures_of([])


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_lies_between_plain_and_bonferroni(values):
    found = holm(values)
    for plain, corrected in zip(values, found, strict=True):
        assert plain - 1e-9 <= corrected <= min(1, len(values) * plain) + 1e-9
    order = np.argsort(values, kind="stable")
    assert (np.diff(np.array(found)[order]) >= 0).all()
    assert found[order[0]] == pytest.approx(min(1, len(values) * values[order[0]]))


def test_holm_does_not_count_what_was_not_tested():
    assert holm([0.01, math.nan, 0.04])[::2] == [0.02, 0.04]
    assert math.isnan(holm([0.01, math.nan])[1])


def test_figures_are_written_as_csv_and_json(tmp_path):
    figures = [
        Figure("", "a", "dice", 5, 4, 0.8, math.nan, 0.9),
        Figure("sex: F", "", "auc", 50, FEW, 0.1, 0.0, 0.2, versus="rest", p=0.01, p_holm=0.02),
    ]
    first, second = json.loads(write_figures(figures, tmp_path / "f.json").read_text())
    assert (first["low"], first["few"], first["p"]) == (None, True, None)
    assert (second["subgroup"], second["p_holm"], second["few"]) == ("sex: F", 0.02, False)
    with write_figures(figures, tmp_path / "f.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(first)
    assert (rows[0]["low"], rows[1]["versus"]) == ("", "rest")


def test_tables_show_intervals_where_patients_are_known():
    scores = mask_scores()
    patients = {f"c{n}": f"p{n // 2}" for n in range(30)}
    one = by_key(summarize(scores, patients))["a", "dice"]
    table = score_table(scores, patients)
    assert f"| a | 30 | {one.value:.3f} ({one.low:.3f} to {one.high:.3f}) |" in table
    assert table.endswith("In brackets: 95 % intervals over 15 patients.")
    assert "(" not in score_table(scores)
    few = score_table(scores[:24], patients)
    assert few.endswith("over 6 patients. These are few: the intervals tell little.")
    alone = score_table(scores[:2], patients)
    assert "(" not in alone
    assert alone.endswith("No figure has an interval, of 1 patient: too few patients.")


def test_a_table_says_once_why_a_figure_has_no_interval():
    shares = np.random.default_rng(0).uniform(0, 1, 40)
    scores = [
        ClassScore(f"c{n}", "ill" if n % 3 else "well", {"well": 1 - p, "ill": p})
        for n, p in enumerate(shares)
    ]
    table = score_table(scores, {f"c{n}": f"p{n}" for n in range(40)})
    ece = by_key(summarize(scores))["", "ece"]
    assert table.splitlines()[2].endswith(f" | {ece.value:.3f} |")
    assert table.endswith(
        "over 40 patients. Where none stands: draws of patients are no measure of an ECE, as they "
        "repeat cases."
    )


@pytest.mark.parametrize(
    ("make", "key", "true", "least_gap"),
    [
        (simulated.masks, ("a", "dice"), simulated.mean_dice(), 0.06),
        (simulated.classes, ("ill", "auc"), simulated.AUC, 0.0),
        (simulated.classes, ("ill", "sensitivity"), simulated.SENSITIVITY, 0.04),
    ],
)
def test_intervals_hold_the_truth_where_patients_are_drawn(make, key, true, least_gap):
    """300 sets of 50 patients; three cases of one are alike, so that drawing cases is too sure."""
    patients, held, loose = simulated.case_ids(50), 0, 0
    for seed in range(300):
        scores = make(np.random.default_rng(seed), 50)
        found = by_key(summarize(scores, patients, draws=200, seed=seed))[key]
        alone = by_key(summarize(scores, draws=200, seed=seed))[key]
        held += found.low <= true <= found.high
        loose += alone.low <= true <= alone.high
    assert 0.90 <= held / 300 <= 0.99
    assert loose / 300 < 0.89
    assert held / 300 - loose / 300 >= least_gap


def with_structure(scores, name, truth, found):
    """Add a structure that the truth has in some cases (of a Dice), or that is found in others."""
    cases = list(dict.fromkeys(score.case_id for score in scores))
    more = [
        MaskScore(
            case, name, truth.get(case, 0.0 if case in found else 1.0), 1.0, 1.0, 0.0,
            true_lesions=int(case in truth), hit_lesions=int(case in truth),
            found_lesions=int(case in truth or case in found), false_lesions=int(case in found),
        )
        for case in cases
    ]  # fmt: skip
    return [*scores, *more]


def test_a_structure_that_the_truth_never_has_is_no_part_of_the_mean():
    scores = mask_scores()
    plain = by_key(summarize(scores, draws=50))["", "dice"].value
    never = by_key(summarize(with_structure(scores, "cyst", {}, {"c3"}), draws=50))
    assert never["cyst", "dice"].value == 0  # where it was found and is not there
    assert never["", "dice"].value == plain
    gained = model_differences(
        with_structure(scores, "cyst", {}, set()),
        with_structure(scores, "cyst", {}, {"c3"}),
        metrics=("dice",),
        draws=50,
    )
    [mean] = [one for one in gained if one.of == ""]
    assert mean.value == 0


def test_a_mean_is_no_surer_than_its_rarest_structure():
    scores = mask_scores()
    for count, has in ((3, False), (7, True)):
        truth = {f"c{n}": 0.5 + n / 20 for n in range(count)}
        found = by_key(summarize(with_structure(scores, "tumor", truth, set()), draws=400))
        for of in ("tumor", ""):
            assert found[of, "dice"].patients == count
            assert np.isfinite(found[of, "dice"].low) == has
        assert found["", "dice"].few
