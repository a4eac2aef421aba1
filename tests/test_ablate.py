"""The honest comparison, on phantoms where its answer is known."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from typer.testing import CliRunner

from medvision.ablate import (
    BOTH,
    IMAGE,
    SHUFFLED,
    TEXT,
    TFIDF,
    Ablation,
    ablate,
    ask,
    parts_of,
    shuffled,
    slug,
)
from medvision.ablation_page import ablation_page, missing_curve
from medvision.checkpoint import CARD
from medvision.cli import app
from medvision.cross_validation import plan_cases, train_folds
from medvision.dataset import Case, read_cases, write_cases
from medvision.errors import AuditError, CasesError
from medvision.explain import explain
from medvision.extras import dataset_builder
from medvision.io import read_volume
from medvision.metrics import auc
from medvision.pair_phantom import CLASSES
from medvision.plan_file import with_settings, write_plan
from medvision.predictor import load_predictor
from medvision.study import Study

QUICK = ("steps=40", "batch_size=16", "network.features=4,8", "text.width=16", "text.layers=1")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    out = tmp_path_factory.mktemp("pairs") / "cases.csv"
    dataset_builder("pairs").build(out, "additive", 90, seed=3)
    return out


def plan_of(table, *settings, fusion="gated", **more):
    plan = plan_cases(
        table,
        class_names=CLASSES,
        name="pairs",
        architecture="cnn2d",
        fusion=fusion,
        show=False,
        **more,
    )
    return with_settings(plan, [*QUICK, *settings])


def test_the_comparison_trains_every_variant_and_goes_on_where_it_was(table, tmp_path):
    plan = plan_of(table)
    found = ablate(table, tmp_path, plan, seeds=(0, 1), device="cpu", show=False)
    test = read_cases(table, ("test",), "classification")
    assert list(found.case_ids) == [case.case_id for case in test]
    assert list(found.scores) == [BOTH, IMAGE, TEXT, SHUFFLED, TFIDF]
    assert [len(one) for one in found.scores.values()] == [2, 2, 2, 2, 1]
    for scores in found.scores.values():
        assert all(np.allclose(one.sum(axis=1), 1, atol=1e-6) for one in scores)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("answers.csv")}
    again = ablate(table, tmp_path, plan, seeds=(0, 1), device="cpu", show=False)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("answers.csv")} == before
    assert np.array_equal(again.scores[BOTH][1], found.scores[BOTH][1])
    page = ablation_page(found)
    assert f"| {BOTH} − {IMAGE} |" in page
    assert "36 cases of 36 patients" in page


def test_what_a_variant_shall_not_use_does_not_change_its_answer(table, tmp_path):
    """Other reports change nothing of image only, other images nothing of report only."""
    ablate(table, tmp_path, plan_of(table), seeds=(0,), device="cpu", show=False)
    cases = read_cases(table, ("test",), "classification")
    reports = [replace(case, report="INDICATION: severe pain.") for case in cases]
    images = [replace(case, images=cases[0].images) for case in cases]
    for name, alike, other in ((IMAGE, reports, images), (TEXT, images, reports)):
        predictor = load_predictor(tmp_path / slug(name) / "seed_0_0" / "model", "cpu")
        said, same, changed = (
            np.array([list(one.values()) for one, _ in ask(predictor, name, some, False)])
            for some in (cases, alike, other)
        )
        assert np.array_equal(said, same)
        assert not np.allclose(said, changed, atol=1e-6)


def test_without_a_test_split_each_patient_is_judged_once_by_networks_that_never_saw_it():
    cases = [
        Case(f"c{i}", {}, None, f"p{i // 2}", label="ab"[(i // 2) % 2], report="x")
        for i in range(40)
    ]
    parts = parts_of(cases, 4)
    judged = [case.case_id for _, _, test in parts for case in test]
    assert sorted(judged) == sorted(case.case_id for case in cases)
    for rest, _, test in parts:
        assert not {case.group for case in rest} & {case.group for case in test}


def test_shuffled_reports_are_all_there_and_of_other_patients():
    cases = [Case(f"c{i}", {}, None, f"p{i // 2}", report=f"r{i // 2}") for i in range(60)]
    other = shuffled(cases, 1)
    assert sorted(case.report for case in other) == sorted(case.report for case in cases)
    assert all(a.report != b.report for a, b in zip(cases, other, strict=True))


def test_the_curve_runs_from_all_reports_to_none():
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=400)
    told = np.stack([1 - truth, truth], axis=1) + rng.normal(0, 0.3, (400, 1)) * [1, -1]
    untold = rng.random((400, 2))
    found = Ablation(
        ("a", "b"),
        [str(i) for i in range(400)],
        [str(i) for i in range(400)],
        truth,
        {BOTH: [told]},
        [untold],
        0,
    )
    curve = missing_curve(found)
    assert curve[0] == pytest.approx(auc(truth, told))
    assert curve[-1] == pytest.approx(auc(truth, untold))
    assert all(a > b - 0.03 for a, b in pairwise(curve))


def test_a_plan_without_reports_is_told(table, tmp_path):
    plan = plan_of(table)
    with pytest.raises(CasesError, match="--fuse"):
        ablate(table, tmp_path, replace(plan, spec=replace(plan.spec, text=None)), device="cpu")


def test_the_command_writes_the_page(table, tmp_path):
    write_plan(plan_of(table, "steps=3"), tmp_path / "plan.json")
    run = [
        "evaluate",
        str(table),
        "--ablate",
        "--plan",
        str(tmp_path / "plan.json"),
        "--seeds",
        "1",
    ]
    done = CliRunner().invoke(app, [*run, "--out", str(tmp_path / "abl"), "--device", "cpu", "-q"])
    assert done.exit_code == 0, done.output
    assert "Does the report add anything?" in (tmp_path / "abl" / "ablation.md").read_text()
    wrong = CliRunner().invoke(app, ["evaluate", str(table), "--out", str(tmp_path / "x.csv")])
    assert wrong.exit_code == 2


def leaking(table, tmp_path):
    """The phantoms, with the answer written in the history."""
    rows = [
        {
            "case_id": case.case_id,
            "image": str(case.images["image"]),
            "report": f"HISTORY: the disease is {case.label}.",
            "label": case.label,
            "split": case.split,
        }
        for case in read_cases(table, (), "classification")
    ]
    return write_cases(tmp_path / "leak.csv", rows)


def test_a_training_stops_where_the_report_holds_the_answer(table, tmp_path):
    cases = leaking(table, tmp_path)
    plan = plan_of(cases, "steps=2")
    with pytest.raises(AuditError, match=r"called by its name[\s\S]*--accept-findings"):
        train_folds(cases, tmp_path / "run", plan, device="cpu", show=False)
    assert not (tmp_path / "run").exists()
    [run] = train_folds(cases, tmp_path / "run", plan, device="cpu", show=False, accept=True)
    card = (run.model / CARD).read_text()
    assert "What the data give away" in card
    assert "called by its name" in card


def test_sections_without_text_are_told_with_what_there_is(table, tmp_path):
    with pytest.raises(CasesError, match=r"impression; found: .*findings in 45"):
        plan_of(table, sections=("impression",))
    plan = plan_of(table, sections=("findings",))
    assert plan.spec.text.opted_in == ("findings",)
    assert "see the audit" in plan.reasons["text.sections"]
    assert plan.train.augment.mirror == ""


def test_a_table_without_reports_is_told(table, tmp_path):
    rows = [
        {"case_id": c.case_id, "image": str(c.images["image"]), "label": c.label, "split": c.split}
        for c in read_cases(table, (), "classification")
    ]
    with pytest.raises(CasesError, match="column report"):
        plan_of(write_cases(tmp_path / "plain.csv", rows))


def test_of_several_classes_each_is_audited_by_itself(table, tmp_path):
    rows = [
        {
            "case_id": case.case_id,
            "image": str(case.images["image"]),
            "report": f"HISTORY: known to have {'gout' if number % 3 else 'nothing'}.",
            "label": "|".join(["gout"] * (number % 3 > 0) + ["cough"] * (number % 2)) or "none",
            "split": case.split,
        }
        for number, case in enumerate(read_cases(table, (), "classification"))
    ]
    cases = write_cases(tmp_path / "several.csv", rows)
    plan = with_settings(
        plan_cases(cases, name="several", architecture="cnn2d", fusion="late", show=False),
        [*QUICK, "steps=2"],
    )
    assert plan.spec.multilabel
    assert plan.spec.class_names == ("cough", "gout")
    with pytest.raises(AuditError, match="'gout' tells gout"):
        train_folds(cases, tmp_path / "run", plan, device="cpu", show=False)
    [run] = train_folds(cases, tmp_path / "run", plan, device="cpu", show=False, accept=True)
    predictor = load_predictor(run.model, "cpu")
    study = Study("a", {"image": read_volume(rows[0]["image"])})
    said = predictor.predict(study)
    assert said.predicted in ("none", "cough", "gout", "cough|gout")
    found = explain(predictor, study)
    assert found.class_name == said.likeliest
    run = ["audit", str(cases), "--out", str(tmp_path / "audit.json"), "--sections", "history"]
    done = CliRunner().invoke(app, run)
    assert done.exit_code == 1
    assert "no gout or gout" in done.output
    audits = json.loads((tmp_path / "audit.json").read_text())
    assert [one["class_names"] for one in audits] == [["no cough", "cough"], ["no gout", "gout"]]
    found = ablate(cases, tmp_path / "abl", plan, seeds=(0,), device="cpu", show=False)
    test = read_cases(cases, ("test",), "classification")
    assert found.truth.tolist() == [[int(n in c.label) for n in ("cough", "gout")] for c in test]
    cough, gout = found.questions
    assert auc(gout.truth, gout.scores[TFIDF][0]) == 1  # the report names it
    assert auc(cough.truth, cough.scores[TFIDF][0]) < 0.8
    [[told]] = [found.scores[BOTH]]
    assert np.allclose(gout.scores[BOTH][0][:, 1], told[:, 1])
    page = ablation_page(found)
    assert f"## gout\n\n{sum('gout' in c.label for c in test)} cases have it." in page
