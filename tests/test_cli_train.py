"""plan, train, evaluate and models on the command line."""

import csv
import json
import shlex
import subprocess
import sys

import pytest
import torch
from training_phantom import write_phantom_cases, write_striped_cases
from typer.testing import CliRunner

from medvision import cli
from medvision.checkpoint import load_spec
from medvision.errors import CasesError, MedvisionError, SpecError, TrainingError
from medvision.extras import dataset_builder
from medvision.model_table import ModelFacts
from medvision.models import MODELS
from medvision.plan_file import read_plan
from medvision.scores import MaskScore, read_scores
from medvision.spec import TASKS

TINY = ("--set", "network.features=4,8", "--set", "steps=3", "--set", "batch_size=2")


def run(*arguments):
    """Run a command; what the user can fix is returned as `exception`."""
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        assert isinstance(result.exception, MedvisionError), result.exception
    return result


@pytest.fixture
def pictures(tmp_path):
    return write_striped_cases(tmp_path, 12, 2, ("", "", "val"))


@pytest.fixture
def planned(pictures):
    """A table of pictures and a plan for them."""
    out = pictures.with_name("plan.json")
    result = run("plan", pictures, "--model", "cnn2d", "--out", out, *TINY)
    assert result.exit_code == 0, result.output
    return pictures, out, result.output


def test_a_plan_is_shown_written_and_trained(planned, tmp_path):
    table, path, said = planned
    assert "8-bit pictures" in said
    assert "as set" in said
    assert f"Next: medvision train {table} --plan {path}" in said.replace("\n", " ")
    plan = read_plan(path)
    assert plan.spec.class_names == ("across_columns", "across_rows")
    assert (plan.train.steps, plan.train.batch_size) == (3, 2)
    assert plan.reasons["steps"] == "as set"
    data = json.loads(path.read_text())
    data["train"]["steps"] = 2  # a person's hand
    path.write_text(json.dumps(data))
    out = tmp_path / "run"
    result = run("train", table, "--plan", path, "--out", out, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "| cases | AUC | AUPRC | accuracy | balanced accuracy |" in result.output
    assert "Model folders: " in result.output
    assert read_plan(out / "plan.json").train.steps == 2
    assert torch.load(out / "checkpoint.pt", weights_only=True)["step"] == 2
    assert load_spec(out / "model") == plan.spec


def test_a_plan_with_reports_is_to_be_audited_first(tmp_path):
    table = tmp_path / "cases.csv"
    dataset_builder("pairs").build(table, cases=60, seed=1)
    out = tmp_path / "plan.json"
    options = ("--model", "cnn2d", "--fuse", "gated", "--out", out)
    said = run("plan", table, *options)
    assert said.exit_code == 0, said.output
    *_, first, then = said.output.splitlines()
    assert first == f"First: medvision audit {table}"
    assert then.startswith(f"Next: medvision train {table} --plan {out}")
    asked = ("--sections", "indication,findings", "--mask", "no pain", "--mask", "pneumon*")
    *_, first, then = run("plan", table, *options, *asked).output.splitlines()
    assert first == (
        f"First: medvision audit {table} --sections indication,findings --mask 'no pain' "
        "--mask 'pneumon*'"
    )
    words = shlex.split(first.removeprefix("First: medvision "))
    assert run(*words, "-q").exit_code in (0, 1)  # a command that runs as it stands
    plain = run("plan", table, "--model", "cnn2d", "--out", out)
    assert "First:" not in plain.output


def test_a_model_that_was_trained_predicts_and_is_judged(planned, tmp_path):
    table, path, _ = planned
    out = tmp_path / "run"
    run("train", table, "--plan", path, "--out", out, "--device", "cpu", "-q")
    picture = tmp_path / "s4.png"
    result = run("predict", picture, "--model", out / "model", "--out", tmp_path / "found", "-q")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "found" / "s4.json").read_text())
    assert sum(found["scores"].values()) == pytest.approx(1)
    judged = tmp_path / "judged"
    result = run("evaluate", table, "--model", out / "model", "--split", "val", "--out", judged)
    assert result.exit_code == 0, result.output
    with (
        (judged / "scores.csv").open(newline="") as file,
        (out / "metrics.csv").open(newline="") as trained,
    ):
        assert list(csv.DictReader(file)) == list(csv.DictReader(trained))
    bad = run("evaluate", table, "--model", "hippocampus", "--out", judged)
    assert isinstance(bad.exception, CasesError)
    assert "missing columns: mask" in str(bad.exception)


def test_what_is_not_planned_is_planned_first_and_gone_on_with(tmp_path):
    table, out = write_phantom_cases(tmp_path, 4), tmp_path / "run"
    options = ("--classes", "ball", "--width", "4", *TINY[2:], "--device", "cpu", "-q")
    assert run("train", table, "--out", out, *options).exit_code == 0
    plan = read_plan(out / "plan.json")
    assert (plan.spec.name, plan.spec.class_names) == ("run", ("ball",))
    before = (out / "plan.json").read_text()
    model = (out / "model" / "model.safetensors").read_bytes()
    # the same again is refused, and so is another plan; neither touches the one that is there
    assert "holds a run already" in str(run("train", table, "--out", out, *options).exception)
    other = run("train", table, "--out", out, *options, "--set", "steps=4")
    assert isinstance(other.exception, TrainingError)
    other = run("train", table, "--out", out, "--resume", "--set", "steps=4", "-q")
    assert "another plan" in str(other.exception)
    assert (out / "plan.json").read_text() == before
    # --resume needs no word of what was planned
    result = run("train", table, "--out", out, "--resume", "--device", "cpu", "-q")
    assert result.exit_code == 0, str(result.exception)
    assert (out / "plan.json").read_text() == before
    assert (out / "model" / "model.safetensors").read_bytes() == model


def test_masks_are_judged_within_a_tolerance(tmp_path):
    table, out, folder = write_phantom_cases(tmp_path, 4), tmp_path / "run", tmp_path / "judged"
    options = ("--classes", "ball", "--width", "4", *TINY[2:], "--device", "cpu", "-q")
    assert run("train", table, "--out", out, *options).exit_code == 0
    judge = ("evaluate", table, "--model", out / "model", "--out", folder, "-q")

    def judged(tolerance):
        result = run(*judge, "--tolerance", tolerance)
        assert result.exit_code == 0, str(result.exception)
        return [one for one in read_scores(folder / "scores.csv") if isinstance(one, MaskScore)]

    wide, narrow = judged("ball=1000"), judged("0")
    assert len(wide) == 4
    for most, least in zip(wide, narrow, strict=True):
        assert most.nsd == (0 if most.empty else 1)
        assert least.nsd < 1
        assert most.true_lesions == 1
        assert most.iou == pytest.approx(most.dice / (2 - most.dice), abs=1e-3)
    bad = run(*judge, "--tolerance", "liver=1")
    assert "no structure 'liver'" in str(bad.exception)
    assert "1.5 or name=1.5" in str(run(*judge, "--tolerance", "wide").exception)


def test_folds_leave_an_ensemble_that_predicts(pictures, tmp_path):
    out = tmp_path / "cv"
    result = run(
        *("train", pictures, "--model", "cnn2d", *TINY, "--folds", "2", "--out", out),
        *("--device", "cpu"),
    )
    assert result.exit_code == 0, result.output
    assert "All folds" in result.output
    picture = tmp_path / "s0.png"
    result = run("predict", picture, "--model", out / "ensemble", "--out", tmp_path / "o", "-q")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "o" / "s0.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        (["--set", "speed=9"], SpecError, "No setting 'speed=9'"),
        (["--model", "oracle"], SpecError, "Unknown model 'oracle'"),
        (["--model", "resnet18_3d"], SpecError, "resnet18_3d is 3D"),
        (["--classes", "a,b"], CasesError, "is none of the classes a, b"),
        (["--classes", "across_rows"], CasesError, "label 'across_columns' is none"),
        (["--task", "segmentation"], CasesError, "missing columns: mask"),
        (["--task", "poetry"], SystemExit, "'poetry' is none of segmentation, classification"),
    ],
)
def test_what_cannot_be_planned_is_said_and_nothing_written(
    pictures, tmp_path, arguments, kind, says
):
    result = run("plan", pictures, *arguments, "--out", tmp_path / "p.json", "-q")
    assert isinstance(result.exception, kind)
    assert says in str(result.exception) + " ".join(result.output.split())
    assert not (tmp_path / "p.json").exists()


LATE = """
import sys
from medvision.cli import app
from medvision.errors import MedvisionError
try:
    app(sys.argv[1:], standalone_mode=False)
except Exception as error:
    print(error)
    assert isinstance(error, MedvisionError) or hasattr(error, "exit_code")
print(sorted({"torch", "monai"} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["plan", "cases.csv"], "Name the structures: --classes"),
        (["plan", "empty.csv", "--classes", "ball"], "empty.csv has no rows"),
        (["plan", "cases.csv", "--classes", "ball", "--set", "speed=9"], "No setting 'speed=9'"),
        (["plan", "cases.csv", "--classes", "ball", "--fuse", "glue"], "Unknown fusion 'glue'"),
        (["train", "cases.csv", "--out", "run"], "Name the structures: --classes"),
        (
            ["train", "cases.csv", "--out", "run", "--plan", "p.json", "--classes", "ball"],
            "already",
        ),
        (["train", "cases.csv", "--out", "run", "--plan", "p.json"], "No such file: p.json"),
    ],
)
def test_what_is_asked_wrongly_is_said_before_torch_is_loaded(tmp_path, arguments, says):
    (tmp_path / "empty.csv").write_text("case_id,image,mask\n")
    (tmp_path / "scan.nii").touch()
    (tmp_path / "cases.csv").write_text("case_id,image,mask\na,scan.nii,scan.nii\n")
    command = [sys.executable, "-c", LATE, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    *told, loaded = done.stdout.splitlines()
    assert says in " ".join(told)
    assert loaded == "[]"


def test_a_plan_is_not_overruled_by_options(planned, tmp_path):
    table, path, _ = planned
    result = run("train", table, "--plan", path, "--model", "cnn2d", "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "a plan already says" in " ".join(result.output.split())
    assert not (tmp_path / "run").exists()


def test_every_network_is_listed_whole_with_its_cost(monkeypatch):
    """On a terminal of 80 columns, names are there to be copied."""
    monkeypatch.setenv("COLUMNS", "80")
    facts = [
        ModelFacts(name, 3, task, (96, 96, 96), 1_926_854, 1014.06, 7.7, 1242.5)
        for name in MODELS
        for task in TASKS
    ]
    monkeypatch.setattr("medvision.model_table.describe_models", lambda: facts)
    result = run("models")
    assert result.exit_code == 0
    assert "hippocampus: segmentation, unet3d" in result.output
    rows = [line.split() for line in result.output.splitlines() if "96×96×96" in line]
    assert rows == [[f.name, f.task, "96×96×96", "1.9", "1014.1", "1,250"] for f in facts]
