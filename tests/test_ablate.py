"""The honest comparison, on phantoms where its answer is known."""

import json
import shutil
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
from medvision.ablation_page import (
    ONE_SEED,
    SAYS,
    ablation_page,
    conclusions,
    difference,
    missing_curve,
)
from medvision.checkpoint import CARD
from medvision.cli import app
from medvision.cross_validation import plan_cases, train_folds
from medvision.dataset import Case, read_cases, write_cases
from medvision.errors import AuditError, CasesError, SpecError
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
        (0,),
    )
    curve = missing_curve(found)
    assert curve[0] == pytest.approx(auc(truth, told))
    assert curve[-1] == pytest.approx(auc(truth, untold))
    assert all(a > b - 0.03 for a, b in pairwise(curve))


def compared(seeds=(0, 1), count=300, **shares):
    """A comparison whose variants see, of two signs that the label is drawn from, these shares."""
    rng = np.random.default_rng(5)
    signs = rng.normal(size=(2, count))  # what image and report hold
    truth = (signs.sum(axis=0) + rng.normal(0, 0.5, count) > 0).astype(np.int64)

    def said(of_image, of_report):
        odds = of_image * signs[0] + of_report * signs[1] + rng.normal(0, 0.3, count)
        share = 1 / (1 + np.exp(-odds))
        return np.stack([1 - share, share], axis=1)

    seen = {BOTH: (1, 1), IMAGE: (1, 0), TEXT: (0, 1), SHUFFLED: (1, 0), TFIDF: (0, 1)}
    seen |= {globals()[name]: share for name, share in shares.items()}
    names = [str(number) for number in range(count)]
    scores = {name: [said(*share) for _ in seeds] for name, share in seen.items()}
    return Ablation(("a", "b"), names, names, truth, scores, scores[IMAGE], 0, tuple(seeds))


def conclusion(found):
    """What is concluded, without figures."""
    said = conclusions(found, {pair: difference(found, *pair) for pair in SAYS})
    return [line.split(":")[0] for line in said]


def test_conclusions_speak_of_image_report_another_s_report_and_words():
    wanted = [
        "The report surely adds to the image",
        "The image surely adds to the report",
        "A case's own report is surely better than another's",
        "With another's report the model falls back to the image only, as far as can be told",
        "Image and report are surely better than counting words (TF-IDF)",
    ]
    assert conclusion(compared()) == wanted
    page = ablation_page(compared(seeds=(0, 3)))
    lines = [line.split(":")[0] for line in page.splitlines() if line.startswith("- ")]
    assert lines == [f"- {line}" for line in wanted]
    assert "trained with seeds 0, 3;" in page
    assert f"| {SHUFFLED} − {IMAGE} |" in page


@pytest.mark.parametrize(
    ("shares", "line", "says"),
    [
        ({"BOTH": (1, 0)}, 0, "The report does not surely add to the image"),
        ({"BOTH": (0.1, 0)}, 0, "Image and report are surely worse than the image alone"),
        ({"BOTH": (0, 1)}, 1, "The image does not surely add to the report"),
        ({"TEXT": (1, 1), "BOTH": (0, 1)}, 1, "Image and report are surely worse than the report"),
        ({"SHUFFLED": (1, 1)}, 2, "A case's own report is not surely better than another's"),
        ({"BOTH": (1, 0), "SHUFFLED": (1, 1)}, 2, "Another's report is surely better"),
        ({"SHUFFLED": (1, 0.5)}, 3, "With another's report the model is surely better than"),
        ({"SHUFFLED": (0.2, 0)}, 3, "With another's report the model is surely worse than"),
        ({"TFIDF": (1, 1)}, 4, "Image and report are not surely better than counting words"),
        ({"BOTH": (1, 0), "TFIDF": (1, 1)}, 4, "Counting words (TF-IDF) is surely better"),
    ],
)
def test_surely_is_said_where_the_interval_excludes_0_alone(shares, line, says):
    found = compared(**shares)
    assert conclusion(found)[line].startswith(says)
    a, b = list(SAYS)[line]
    gain = difference(found, a, b)
    sure = gain.low > 0 or gain.high < 0
    assert sure == ("not surely" not in says and "falls back" not in says)
    assert ("surely" in says.replace("not surely", "")) == sure


def test_one_seed_cannot_tell_chance_of_training_apart():
    assert ONE_SEED not in ablation_page(compared(seeds=(0, 1)))
    page = ablation_page(compared(seeds=(2,)))
    assert f"- {ONE_SEED}" in page
    assert "trained with seed 2;" in page


def test_what_cannot_be_compared_is_no_conclusion():
    found = compared()
    alike = replace(found, truth=np.zeros_like(found.truth))
    told = "Image and report and image only cannot be compared on these cases."
    assert conclusion(alike)[0] == told


def test_a_plan_without_reports_is_told(table, tmp_path):
    plan = plan_of(table)
    plain = replace(plan, spec=replace(plan.spec, text=None))
    with pytest.raises(SpecError, match="The plan reads no reports"):
        ablate(table, tmp_path, plain, device="cpu")
    path = write_plan(plain, tmp_path / "plain.json")
    done = compare(table, "--plan", str(path), "--out", str(tmp_path / "abl"))
    assert str(done.exception) == (
        f"{path} reads no reports, and compared are classifications that read reports. Make one: "
        f"medvision plan {table} --fuse gated --out plan.json"
    )
    gone = compare(table, "--plan", str(tmp_path / "no.json"), "--out", str(tmp_path / "abl"))
    assert str(gone.exception).startswith(f"No such file: {tmp_path / 'no.json'}.")
    assert not (tmp_path / "abl").exists()


@pytest.mark.parametrize("option", [("--split", "test"), ("--model", "synthetic-pairs")])
def test_what_does_not_go_with_a_comparison_is_refused(table, tmp_path, option):
    path = write_plan(plan_of(table), tmp_path / "plan.json")
    done = compare(table, "--plan", str(path), "--out", str(tmp_path / "abl"), *option)
    assert done.exit_code == 2
    assert f"--ablate does not go with {option[0]}" in " ".join(done.output.split())
    assert not (tmp_path / "abl").exists()


def compare(table, *options):
    """Run the comparison by its command."""
    run = ["evaluate", str(table), "--ablate", "--device", "cpu", *options]
    return CliRunner().invoke(app, run)


def test_the_command_says_which_training_runs_and_writes_the_page(table, tmp_path):
    write_plan(plan_of(table, "steps=3"), tmp_path / "plan.json")
    out = tmp_path / "abl"
    options = ("--plan", str(tmp_path / "plan.json"), "--seeds", "1", "--out", str(out))
    done = compare(table, *options)
    assert done.exit_code == 0, done.output
    said = [line for line in done.stderr.splitlines() if line.startswith("Training")]
    assert said == [
        f"Training {number} of 4: {name}, seed 0"
        for number, name in enumerate((BOTH, IMAGE, TEXT, SHUFFLED), start=1)
    ]
    page = (out / "ablation.md").read_text()
    assert "Does the report add anything?" in page
    assert page in done.stdout
    again = compare(table, *options)  # nothing is left to train
    assert "Training" not in again.stderr
    shutil.rmtree(out / slug(IMAGE))
    quiet = compare(table, *options, "-q")
    assert (quiet.exit_code, quiet.output) == (0, "")
    wrong = CliRunner().invoke(app, ["evaluate", str(table), "--out", str(tmp_path / "x")])
    assert wrong.exit_code == 2


def test_of_folds_the_one_that_is_trained_is_named(table, tmp_path, capsys):
    cases = read_cases(table, ("train",), "classification")
    images = [{"case_id": c.case_id, "image": str(c.images["image"])} for c in cases]
    truth = [{"label": c.label, "report": c.report} for c in cases]
    rows = [{**a, **b} for a, b in zip(images, truth, strict=True)]
    plain = write_cases(tmp_path / "plain.csv", rows)
    ablate(plain, tmp_path, plan_of(plain, "steps=1"), seeds=(4,), folds=2, device="cpu")
    said = capsys.readouterr().err.splitlines()
    said = [line for line in said if line.startswith("Training")]
    assert said[2] == f"Training 3 of 8: {IMAGE}, seed 4, fold 0"
    assert said[-1] == f"Training 8 of 8: {SHUFFLED}, seed 4, fold 1"
    assert len(said) == 8


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
    assert "What the data give away\n\n- 54 reports of 54 cases were audited.\n" in card
    assert "called by its name" in card


def test_a_training_stops_where_no_report_has_what_the_model_may_see(table, tmp_path):
    plan = plan_of(table)  # of reports with an indication
    cases = leaking(table, tmp_path)  # of a history alone
    text = replace(plan.spec.text, sections=("indication", "comparison"))
    plan = replace(plan, spec=replace(plan.spec, text=text))
    with pytest.raises(CasesError) as caught:
        train_folds(cases, tmp_path / "run", plan, device="cpu", show=False, accept=True)
    assert str(caught.value) == (
        f"{cases}: Failed: no report has a section that the model may see (indication, "
        "comparison); found: history in 54. Choose from these: --sections."
    )


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
