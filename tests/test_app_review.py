"""The app, headless: what a person is told of how sure a model is, and whom to look at first."""

import json
from dataclasses import replace

import numpy as np
import pytest
from app_pages import open_page, press
from state import plain

from medvision.files import write_text
from medvision.outputs.nifti import save_nifti
from medvision.outputs.table import columns_of, write_results
from medvision.prediction import Prediction
from medvision.predictor import Predictor
from medvision.review import doubts_of
from medvision.volume import Volume

NOTE = "the model is less sure of anterior (0.71) than of 95 % of the cases it was validated on"
SURE = {"a": 0.95, "b": 0.6, "c": 0.7, "d": None}


def scan(shape=(12, 12, 12)):
    array = np.random.default_rng(0).normal(100, 20, (1, *shape)).astype(np.float32)
    return Volume(array, np.eye(4))


@pytest.fixture
def root(tmp_path):
    """Four scans with results, one of which has an uncertainty map."""
    root = tmp_path / "root"
    results, rows = root / "results", []
    for name, sure in SURE.items():
        save_nifti(scan(), root / f"{name}.nii.gz")
        save_nifti(
            scan().with_array(np.ones((1, 12, 12, 12), np.uint8)), results / f"{name}.nii.gz"
        )
        row = {"case_id": name, "source": f"{name}.nii.gz", "status": "ok", "lesion_ml": 1.7}
        row |= {"mask": f"{name}.nii.gz"}
        if sure is not None:
            row |= {"confidence": sure, "review": "yes" if sure < 0.8 else "no"}
        rows.append(row)
    write_results(rows, columns_of("segmentation", ["lesion"]), results / "results.csv")
    level = np.full((1, 12, 12, 12), 51, np.uint8)
    save_nifti(Volume(level, np.eye(4)), results / "b_uncertainty.nii.gz", step=1 / 255)
    outputs = {"uncertainty": {"file": "b_uncertainty.nii.gz", "sha256": ""}}
    card = {"model": {"name": "lesions"}, "cases": [{"case_id": "b", "outputs": outputs}]}
    write_text(results / "run.json", json.dumps(card))
    return root


def test_results_are_looked_through_by_how_sure_the_model_is(root, monkeypatch):
    page = open_page(monkeypatch, root, "Results")
    assert not page.exception
    said = "lesions: 4 studies, 0 failed, 0 with warnings, 2 to review."
    assert page.caption[0].value == said
    table = page.dataframe[0].value
    assert list(table["review"]) == [False, True, True, False]
    assert table["confidence"].tolist()[:3] == [0.95, 0.6, 0.7]
    page.toggle[0].set_value(True).run()
    assert not page.exception
    assert list(page.dataframe[0].value["study"]) == ["b", "c"]


def test_results_without_confidence_look_as_before(root, monkeypatch):
    rows = [{"case_id": "a", "source": "a.nii.gz", "status": "ok", "lesion_ml": 1.7}]
    old = ["case_id", "source", "status", "reason", "warnings", "seconds", "lesion_ml"]
    write_results(rows, old, root / "results" / "results.csv")
    page = open_page(monkeypatch, root, "Results")
    assert not page.exception
    assert not page.toggle
    assert not {"confidence", "review"} & set(page.dataframe[0].value)
    assert "to review" not in page.caption[0].value


def test_the_worklist_finds_those_to_review(root, monkeypatch):
    page = open_page(monkeypatch, root, "Browse")
    page.multiselect(key="filter state").select("to review").run()
    assert list(page.dataframe[0].value["study"]) == ["b", "c"]


def test_a_batch_counts_those_to_review(root, monkeypatch):
    page = open_page(monkeypatch, root, "Batch")
    page.text_input(key="batch folder").set_value("results").run()
    assert not page.exception
    assert {one.label: one.value for one in page.metric}["To review"] == "2"


def test_an_uncertainty_map_is_laid_over_the_scan(root, monkeypatch):
    page = open_page(monkeypatch, root, "View")
    page.selectbox(key="scan").select("a").run()
    title = "results/b_uncertainty.nii.gz"
    assert title not in page.multiselect(key="over").options
    page.selectbox(key="scan").select("b").run()
    page.multiselect(key="over").select(title).run()
    assert not page.exception
    [viewer] = page.get("bidi_component")
    data = viewer.proto.json or viewer.proto.mixed.json
    [layer] = json.loads(data)["layers"]
    assert (layer["kind"], layer["name"]) == ("heat", "Uncertainty")
    page = open_page(monkeypatch, root, "View", pictures=True)
    page.selectbox(key="scan").select("b").run()
    page.multiselect(key="over").select(title).run()
    assert not page.exception
    assert not page.checkbox  # no mask to hide
    assert "An uncertainty map is not shown" in page.info[0].value
    page = open_page(monkeypatch, root, "Compare", pictures=True)
    page.selectbox(key="scan").select("b").run()
    options = page.selectbox(key="compare found").options
    assert "results/b.nii.gz" in options
    assert title not in options  # it is no mask


@pytest.fixture
def unsure(monkeypatch):
    """Make the app's model unsure of one of its structures."""

    def predict(self, study, box=None, step=None):
        mask = np.ones(study.image.array.shape, np.uint8)
        whole = tuple(slice(0, n) for n in study.image.shape)
        doubt = study.image.with_array(np.full(mask.shape, 0.2, np.float16))
        found = Prediction(
            study.case_id,
            self.spec.name,
            self.spec.class_names,
            whole,
            study.image.with_array(mask),
            confidence={"anterior": 0.71},
            review=0.83,
            uncertainty=doubt,
        )
        return replace(found, warnings=("looks odd", *doubts_of(found)))

    monkeypatch.setattr(Predictor, "predict", predict)


def test_an_answer_says_how_sure_it_is_and_that_a_person_should_look(root, unsure, monkeypatch):
    page = open_page(monkeypatch, root, "View", pictures=True)
    page.selectbox(key="scan").select("a").run()
    page.selectbox(key="where").select("the whole scan").run()
    press(page, "Run")
    assert not page.exception
    assert plain(NOTE) in page.error[0].value
    assert [one.value for one in page.warning] == ["looks odd"]
    table = page.dataframe[0].value
    assert table["confidence"][0] == 0.71
    assert table["review"].tolist() == [True, False]
    assert any("a model can be sure and wrong" in one.value for one in page.caption)
    labels = [one.label for one in page.get("download_button")]
    assert labels[-1] == "Uncertainty (NIfTI)"
    assert "Uncertainty of hippocampus" in page.multiselect(key="over").options
