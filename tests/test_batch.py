"""Many studies through a classifier: rows, files and the run card."""

import csv
import json

import numpy as np
import pytest
from toy_classifier import BRIGHT, DARK, Brightness, probability, write_classifier, write_picture

from medvision.batch import run_batch
from medvision.errors import OutputError
from medvision.fingerprint import FORCED
from medvision.jobs import plan_jobs
from medvision.outputs.nifti import save_nifti
from medvision.predictor import load_predictor
from medvision.replay import replay
from medvision.tables import print_outcomes
from medvision.volume import Volume


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setattr("medvision.checkpoint.build_model", lambda spec: Brightness())
    return write_classifier(tmp_path / "toy")


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    write_picture(folder / "black.png", 10)
    write_picture(folder / "gray.png", 140)
    write_picture(folder / "large.png", 200, size=(640, 480))
    (folder / "empty.png").touch()
    save_nifti(Volume(np.full((1, 28, 1, 28), 90, np.uint8), np.eye(4)), folder / "scan.nii.gz")
    return folder


def classify(pictures, model, out, formats=()):
    jobs = plan_jobs([pictures], out)
    return run_batch(jobs, load_predictor(model, "cpu"), out, str(model), formats, show=False)


def test_every_picture_is_a_row_with_probabilities(pictures, model, tmp_path):
    out = tmp_path / "out"
    classify(pictures, model, out)
    with (out / "results.csv").open(newline="") as file:
        rows = {row["case_id"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"black", "gray", "large", "empty", "scan"}
    told = ["predicted", "dark_probability", "bright_probability", "study_key"]
    assert list(rows["gray"])[-4:] == told
    for name, value in (("black", 10), ("gray", 140), ("large", 200), ("scan", 90)):
        assert rows[name]["predicted"] == (BRIGHT if value > 127 else DARK)
        found = float(rows[name]["bright_probability"])
        assert found == pytest.approx(probability(value), abs=2e-6)
        assert found + float(rows[name]["dark_probability"]) == pytest.approx(1, abs=2e-6)
    assert rows["empty"]["status"] == "failed"
    assert (rows["empty"]["predicted"], rows["empty"]["dark_probability"]) == ("", "")
    assert rows["gray"]["warnings"] == rows["large"]["warnings"] == ""
    assert rows["scan"]["review"] == "yes"
    assert "a voxel size of 1 × 1 × 1 mm: trained on pictures without" in rows["scan"]["warnings"]
    assert FORCED in rows["scan"]["warnings"]
    assert sorted(p.name for p in out.iterdir()) == sorted(
        [f"{name}{end}" for name in set(rows) - {"empty"} for end in (".json", ".png")]
        + ["report.html", "results.csv", "run.json", "status.sqlite"]
    )


def test_a_run_of_a_classifier_is_repeated_to_the_byte(pictures, model, tmp_path):
    out = tmp_path / "out"
    classify(pictures, model, out)
    card = json.loads((out / "run.json").read_text())
    assert card["formats"] == ["json", "overlay"]
    assert all(case.identical for case in replay(out, tmp_path / "again", show=False))
    for path in [*out.glob("*.json"), *out.glob("*.png")]:
        if path.name != "run.json":
            assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
    write_picture(pictures / "gray.png", 150)
    changed = {c.case_id: c for c in replay(out, tmp_path / "third", show=False)}
    assert changed.pop("gray").why == "the input has changed"
    assert all(case.identical for case in changed.values())


def test_masks_of_a_classifier_are_refused_before_anything_happens(pictures, model, tmp_path):
    with pytest.raises(OutputError, match="A classification has no output 'nifti'"):
        classify(pictures, model, tmp_path / "out", ["json", "nifti"])
    assert not (tmp_path / "out").exists()


def test_the_terminal_says_the_likeliest_class(pictures, model, tmp_path, capsys):
    outcomes = classify(pictures, model, tmp_path / "out")
    print_outcomes(outcomes, (DARK, BRIGHT), tmp_path / "out", "classification")
    said = capsys.readouterr().out
    lines = {line.split("│")[1].strip(): line for line in said.splitlines() if "│" in line}
    assert "bright" in lines["gray"]
    assert f"{probability(140):.1%}" in lines["gray"]
    assert "dark" in lines["black"]
    assert "failed" in lines["empty"]
    assert "4 done (1 with warnings, 1 to review), 1 failed" in said
