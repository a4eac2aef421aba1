"""Calibration: a known temperature is found again, sets hold the truth as often as they say."""

import json
from dataclasses import replace

import numpy as np
import pytest
import toy_classifier
from scipy.special import expit, softmax
from scipy.stats import binom
from typer.testing import CliRunner

import medvision.checkpoint
from medvision.calibrate import HEADING, fit_scores, with_calibration
from medvision.calibration import (
    brier_score,
    calibration_error,
    fit_temperature,
    log_loss,
    tempered,
)
from medvision.calibration_spec import Calibration
from medvision.checkpoint import load_model, load_spec
from medvision.cli import app
from medvision.conformal import conformal_quantile, one_a_group
from medvision.dataset import Case, write_cases
from medvision.errors import CasesError, SpecError
from medvision.io import read_study
from medvision.outputs.table import columns_of, row_of
from medvision.prediction import calibrated_note
from medvision.predictor import Predictor, load_predictor
from medvision.scores import ClassScore, LabelScore
from medvision.spec import ModelSpec
from medvision.thresholds import (
    sensitivity_threshold,
    specificity_threshold,
    youden_threshold,
)

SHARE = np.array([0.1, 0.3, 0.4, 0.6, 0.7, 0.9])
TRUTH = np.array([False, False, True, False, True, True])


def draw(random, cases, classes=4, temperature=2.5):
    """Probabilities of a model that is too sure by a temperature, and truths (M, N)."""
    logits = random.normal(0, 1.5, (cases, classes))
    honest = softmax(logits, axis=1)
    truth = (random.random((cases, 1)) > honest.cumsum(axis=1)).sum(axis=1).clip(0, classes - 1)
    return softmax(logits * temperature, axis=1), np.eye(classes, dtype=bool)[truth]


def scored(shares, truth, groups=None):
    names = [f"c{n}" for n in range(shares.shape[1])]
    scores, cases = [], []
    for n, (row, yes) in enumerate(zip(shares, truth, strict=True)):
        label = names[int(yes.argmax())]
        scores.append(ClassScore(str(n), label, dict(zip(names, row.tolist(), strict=True))))
        cases.append(Case(str(n), {}, None, groups[n] if groups else str(n), "val", label))
    return scores, cases


def test_a_known_temperature_is_found_again():
    shares, truth = draw(np.random.default_rng(0), 6000)
    found = fit_temperature(shares, truth)
    assert found == pytest.approx(2.5, rel=0.05)
    after = tempered(shares, found)
    assert log_loss(after, truth) < log_loss(shares, truth) - 0.1
    assert calibration_error(after, truth) < 0.02 < calibration_error(shares, truth)
    assert (after.argmax(axis=1) == shares.argmax(axis=1)).all()


def test_a_known_temperature_of_questions_by_themselves_is_found_again():
    random = np.random.default_rng(1)
    logits = random.normal(-1, 1.5, (4000, 3))
    truth = random.random(logits.shape) < expit(logits)
    found = fit_temperature(expit(3 * logits), truth, multilabel=True)
    assert found == pytest.approx(3.0, rel=0.05)
    np.testing.assert_allclose(tempered(expit(3 * logits), 3.0, True), expit(logits), atol=1e-6)


def test_figures_by_hand():
    shares = np.array([[0.8, 0.2], [0.3, 0.7]])
    truth = np.array([[True, False], [True, False]])
    assert log_loss(shares, truth) == pytest.approx(-(np.log(0.8) + np.log(0.3)) / 2)
    assert brier_score(shares, truth) == pytest.approx((0.04 + 0.49) / 2)
    assert calibration_error(shares, truth) == pytest.approx((0.2 + 0.7) / 2)
    assert brier_score(shares, truth, True) == pytest.approx((0.08 + 0.98) / 4)


def test_thresholds_by_hand():
    assert youden_threshold(SHARE, TRUTH) == 0.7  # 2/3 + 3/3, as 0.4 with 3/3 + 2/3: the higher
    assert specificity_threshold(SHARE, TRUTH, 1.0) == 0.7
    assert specificity_threshold(SHARE, TRUTH, 0.6) == 0.4
    assert sensitivity_threshold(SHARE, TRUTH, 1.0) == 0.4
    assert sensitivity_threshold(SHARE, TRUTH, 0.3) == 0.7
    assert youden_threshold(SHARE, np.ones(6, bool)) is None
    above = specificity_threshold(np.array([0.2, 0.9]), np.array([True, False]), 1.0)
    assert above is not None
    assert above > 0.9
    with pytest.raises(SpecError, match="specificity is above 0"):
        specificity_threshold(SHARE, TRUTH, 90)


def test_the_quantile_by_hand_and_what_too_few_cases_are():
    scores = np.arange(1, 20) / 20  # 19 of them: ⌈20 · 0.9⌉ = 18
    assert conformal_quantile(scores, 0.1) == 18 / 20
    assert conformal_quantile(np.arange(9.0), 0.1) == 8
    with pytest.raises(SpecError, match="take 9 patients or more to tell; found 8"):
        conformal_quantile(np.arange(8.0), 0.1)


@pytest.mark.parametrize("alpha", [0.1, 0.2])
def test_sets_hold_the_truth_as_often_as_stated(alpha):
    """Over many draws of validation cases and one next case each, temperature fitted, too."""
    random, draws, hits = np.random.default_rng(7), 300, 0
    for _ in range(draws):
        shares, truth = draw(random, 61)
        fit = fit_scores(*scored(shares[:60], truth[:60]), alpha=alpha)
        last = tempered(shares[60:], fit.calibration.temperature)[0]
        found = fit.calibration.set_of({f"c{n}": p for n, p in enumerate(last)})
        hits += f"c{truth[60].argmax()}" in found
    low, high = binom.ppf([0.005, 0.995], draws, 1 - alpha)
    assert low <= hits <= high + draws / 61  # the quantile's rank is rounded up


def test_one_case_of_each_patient_counts():
    groups = ["a"] * 30 + [f"p{n}" for n in range(19)]
    chosen = one_a_group(groups)
    assert sorted(groups[n] for n in chosen) == sorted(set(groups))
    shares, truth = draw(np.random.default_rng(2), len(groups))
    known = fit_scores(*scored(shares, truth, groups)).calibration
    assert (known.cases, known.groups) == (49, 20)


def test_cases_that_were_trained_or_tested_on_are_refused():
    shares, truth = draw(np.random.default_rng(3), 30)
    scores, cases = scored(shares, truth)
    for split in ("train", "test"):
        with pytest.raises(CasesError, match=f"split {split} do not calibrate"):
            fit_scores(scores, [replace(case, split=split) for case in cases])
    with pytest.raises(SpecError, match="is calibrated on the split val"):
        Calibration(1.0, "test", 30)


def test_questions_by_themselves_have_thresholds_and_no_sets():
    random = np.random.default_rng(4)
    shares = random.random((40, 2))
    truth = random.random((40, 2)) < shares
    scores = [
        LabelScore(str(n), tuple(np.array(["a", "b"])[yes]), {"a": row[0], "b": row[1]})
        for n, (row, yes) in enumerate(zip(shares, truth, strict=True))
    ]
    cases = [Case(one.case_id, {}, None, one.case_id, "val") for one in scores]
    known = fit_scores(scores, cases, sensitivity=0.9).calibration
    assert known.quantile is None
    assert set(known.thresholds) == {"a", "b"}


def test_a_spec_without_calibration_has_no_such_key(tmp_path):
    folder = toy_classifier.write_classifier(tmp_path / "toy")
    spec = load_spec(folder)
    assert "calibration" not in json.loads(spec.to_json())
    known = Calibration(2.0, "val", 50, 0.1, 0.7, 40, {"bright": 0.4}, "Youden")
    told = replace(spec, calibration=known)
    assert ModelSpec.from_json(told.to_json()) == told
    with pytest.raises(SpecError, match="of the classes"):
        replace(spec, calibration=replace(known, thresholds={"other": 0.4}))


def test_an_earlier_calibration_in_a_card_gives_way():
    card = with_calibration(f"# m\n\n{HEADING}\nold\n\n## More\n\nkept\n", f"{HEADING}\nnew\n")
    assert card == f"# m\n\n## More\n\nkept\n\n{HEADING}\nnew\n"


def test_calibrate_writes_a_new_model_that_predict_obeys(tmp_path, monkeypatch):
    monkeypatch.setattr(
        medvision.checkpoint, "build_model", lambda spec: toy_classifier.Brightness()
    )
    folder = toy_classifier.write_classifier(tmp_path / "toy")
    before = (folder / "spec.json").read_bytes()
    random, rows = np.random.default_rng(5), []
    for n in range(60):
        value = int(random.integers(60, 200))
        path = toy_classifier.write_picture(tmp_path / f"{n}.png", value)
        bright = random.random() < expit(0.5 * np.log(toy_odds(value)))
        rows.append(
            {"case_id": str(n), "image": path.name, "label": "bright" if bright else "dark"}
        )
    table, out = tmp_path / "cases.csv", tmp_path / "calibrated"
    arguments = ["calibrate", str(table), "--model", str(folder), "--out", str(out), "-q"]
    write_cases(table, [row | {"split": "test"} for row in rows])
    found = CliRunner().invoke(app, [*arguments, "--split", "test"])
    assert isinstance(found.exception, CasesError)
    assert not out.exists()
    write_cases(table, rows)
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, found.output
    assert "has no splits" in found.output
    assert (folder / "spec.json").read_bytes() == before
    known = load_spec(out).calibration
    assert known is not None
    assert known.temperature > 1.2
    assert HEADING in (out / "card.md").read_text()
    said = load_predictor(out, "cpu").predict(read_study(tmp_path / "3.png"))
    network, spec = load_model(folder)
    plain = Predictor(network, spec, "cpu").predict(read_study(tmp_path / "3.png"))
    odds = [np.log(one.scores["bright"] / one.scores["dark"]) for one in (plain, said)]
    assert odds[0] / odds[1] == pytest.approx(known.temperature, rel=1e-6)
    row = row_of(said, "3.png", 0.1, {})
    assert set(row) <= set(columns_of("classification", spec.class_names, calibrated=True))
    assert row["prediction_set"].split("|") == list(said.prediction_set)
    assert said.to_dict()["calibration"]["prediction_set"] == said.prediction_set
    assert "90% of such sets hold the truth" in calibrated_note(said)
    assert "calibration" not in plain.to_dict()


def toy_odds(value):
    share = toy_classifier.probability(value)
    return share / (1 - share)
