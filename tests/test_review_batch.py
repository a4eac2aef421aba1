"""Many studies, some of which a person should look at: what a run leaves to find them by."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from batch_runs import SPEC, Threshold, write_model, write_scans

import medvision.checkpoint
import medvision.replay
from medvision.batch import run_batch
from medvision.errors import OutputError
from medvision.io import read_volume
from medvision.jobs import plan_jobs
from medvision.outputs.saved import read_saved
from medvision.predictor import Predictor
from medvision.replay import replay
from medvision.review import doubts_of
from medvision.tables import print_outcomes

FORMATS = ("nifti", "json", "overlay", "uncertainty")
SURE = {"scan000": 0.95, "scan001": 0.6, "scan002": 0.85, "scan003": 0.7}


class Unsure(Predictor):
    """Is as sure of each study as the table above says; flags those below 0.8."""

    def __init__(self, uncertainty=True):
        super().__init__(Threshold(), replace(SPEC, review=0.8), "cpu")
        self.uncertainty = uncertainty

    def finish(self, ready, answer):
        """Say how sure the model is."""
        found = super().finish(ready, answer)
        sure = SURE[ready.case_id]
        doubt = ready.scan.with_array(np.full(found.mask.array.shape, 1 - sure, np.float16))
        found = replace(found, confidence={"ball": sure}, uncertainty=doubt)
        return replace(found, warnings=tuple(doubts_of(found)))


@pytest.fixture
def jobs(tmp_path):
    return plan_jobs([write_scans(tmp_path / "scans", 4)], tmp_path / "out")


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setattr(medvision.checkpoint, "build_model", lambda spec: Threshold())
    return write_model(tmp_path / "model")


def test_a_run_says_which_studies_to_look_at(jobs, model, tmp_path, capsys):
    out = tmp_path / "out"
    outcomes = run_batch(jobs, Unsure(), out, str(model), FORMATS, show=False)
    print_outcomes(outcomes, SPEC.class_names, out)
    said = capsys.readouterr().out
    assert said.count("to review") == 3
    assert ", 2 to review), 0 failed" in said
    with (out / "results.csv").open(newline="") as file:
        rows = {row["case_id"]: row for row in csv.DictReader(file)}
    assert {name: row["confidence"] for name, row in rows.items()} == {
        name: str(sure) for name, sure in SURE.items()
    }
    assert [name for name, row in rows.items() if row["review"] == "yes"] == ["scan001", "scan003"]
    assert [name for name, row in rows.items() if row["review"] == "no"] == ["scan000", "scan002"]
    assert "less sure of ball (0.60)" in rows["scan001"]["warnings"]
    assert json.loads((out / "scan003.json").read_text())["needs_review"] is True
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<b>2</b> to review" in page
    listed = page[page.index("<h2>Studies") :]
    places = [listed.index(f"<b>{name}</b>") for name in ("scan001", "scan003", "scan000")]
    assert places == sorted(places)  # the least sure first
    saved = read_saved(out)
    path = saved.uncertainty_of(saved.rows[1])
    assert path == out / "scan001_uncertainty.nii.gz"
    assert read_volume(path).array.mean() == pytest.approx(0.4, abs=0.003)


def test_a_map_that_the_predictor_does_not_make_is_refused_before_anything_happens(
    jobs, model, tmp_path
):
    with pytest.raises(OutputError, match=r"load_predictor\(model, uncertainty=True\)"):
        run_batch(jobs, Unsure(uncertainty=False), tmp_path / "out", str(model), FORMATS)
    assert not (tmp_path / "out").exists()
    run_batch(jobs, Unsure(False), tmp_path / "out", str(model), ["nifti"], show=False)


def test_a_mask_never_replaces_a_map_of_another_study(jobs, model, tmp_path):
    twin = replace(jobs[1], case_id="scan000_uncertainty")
    with pytest.raises(OutputError, match="would replace the uncertainty map of 'scan000'"):
        run_batch([jobs[0], twin], Unsure(), tmp_path / "out", str(model), FORMATS, show=False)
    assert not (tmp_path / "out" / "results.csv").exists()


def test_a_run_with_maps_is_repeated_with_maps(jobs, model, tmp_path, monkeypatch):
    run_batch(jobs, Unsure(), tmp_path / "out", str(model), FORMATS, show=False)
    asked = []

    def load(given, device, **more):
        asked.append(more)
        return Unsure(more["uncertainty"])

    monkeypatch.setattr(medvision.replay, "load_predictor", load)
    again = replay(tmp_path / "out", tmp_path / "again", show=False)
    assert [one["uncertainty"] for one in asked] == [True]
    assert all(one.identical for one in again)
