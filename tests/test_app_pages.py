"""Browse, Compare and Results, headless, and what they refuse."""

import gc
import json
import re
import shutil
import time
import zipfile

import numpy as np
import pytest
from app_pages import open_page, press
from dicom_phantom import write_series
from toy_classifier import write_picture

from medvision import load_predictor, read_labels, read_study
from medvision.evaluate import mask_scores
from medvision.files import write_text
from medvision.outputs.nifti import save_nifti
from medvision.outputs.table import columns_of, write_results
from medvision.volume import Volume


def cube(value=1, shape=(12, 12, 12), start=3):
    array = np.zeros((1, *shape), np.uint8 if value < 256 else np.int16)
    array[0, start : start + 4, 3:7, 3:7] = value
    return Volume(array, np.eye(4))


@pytest.fixture
def root(tmp_path):
    """A DICOM study, a scan with two masks, a picture, and a folder of results."""
    root = tmp_path / "root"
    write_series(root / "dicom", cube(900, (12, 12, 6)))
    scan = np.random.default_rng(0).normal(100, 20, (1, 12, 12, 12)).astype(np.float32)
    save_nifti(Volume(scan, np.eye(4)), root / "scan.nii.gz")
    save_nifti(cube(), root / "drawn.nii.gz")
    write_text(root / "drawn.json", '{"labels": {"1": "lesion"}}')
    write_picture(root / "film.png", 140)
    rows = [
        {"case_id": "scan", "source": "scan.nii.gz", "status": "ok", "seconds": 1.0}
        | {"lesion_ml": 0.064, "mask": "scan.nii.gz"},
        {"case_id": "film", "source": "film.png", "status": "failed", "reason": "no mm"},
        {"case_id": "gone", "source": "gone.nii", "status": "ok", "lesion_ml": 2.5},
    ]
    results = root / "results"
    write_results(rows, columns_of("segmentation", ["lesion"]), results / "results.csv")
    write_text(results / "run.json", '{"model": {"name": "lesions"}, "cases": []}')
    save_nifti(cube(start=4), results / "scan.nii.gz")
    write_text(results / "scan.json", json.dumps({"labels": {"1": "lesion"}}))
    return root


def worklist(page):
    return page.dataframe[0].value


def test_the_worklist_shows_every_study_and_what_became_of_it(root, monkeypatch):
    page = open_page(monkeypatch, root, "Browse")
    assert not page.exception
    table = worklist(page).set_index("study")
    assert set(table.index) == {"dicom", "drawn", "film", "scan"}
    assert dict(table["results"]) == {"scan": "done", "film": "failed", "dicom": "", "drawn": ""}
    assert table["modality"]["dicom"] == "CT"
    assert not page.sidebar.selectbox
    page.text_input(key="filter text").set_value("SCA").run()
    assert list(worklist(page)["study"]) == ["scan"]
    page.text_input(key="filter text").set_value("").run()
    page.multiselect(key="filter state").select("failed").run()
    assert list(worklist(page)["study"]) == ["film"]
    page.multiselect(key="filter modality").select("CT").run()
    assert "No study fits" in page.info[0].value


def test_a_study_is_opened_from_the_worklist(root, monkeypatch):
    page = open_page(monkeypatch, root, "Browse")
    first = worklist(page)["study"][0]
    press(page, "View it")
    assert page.selectbox(key="scan").value == first
    assert page.query_params["page"] == "View"
    assert page.query_params["scan"] == first


def test_an_empty_folder_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    page = open_page(monkeypatch, tmp_path / "empty", "Browse")
    assert not page.exception
    assert "medvision app FOLDER" in page.info[0].value
    page = open_page(monkeypatch, tmp_path / "empty", "Results")
    assert "medvision predict" in page.info[0].value
    page = open_page(monkeypatch, tmp_path / "empty", "Compare")
    assert "No scan in" in page.info[0].value


def test_what_links_lead_out_of_the_folder_for_is_not_shown(root, tmp_path, monkeypatch):
    outside = tmp_path / "outside"
    shutil.copytree(root, outside)
    inside = tmp_path / "inside"
    inside.mkdir()
    save_nifti(cube(), inside / "mine.nii.gz")
    (inside / "theirs.nii.gz").symlink_to(outside / "scan.nii.gz")
    (inside / "film.png").symlink_to(outside / "film.png")
    page = open_page(monkeypatch, inside, "Browse")
    assert list(worklist(page)["study"]) == ["mine"]
    assert any(one.value.startswith("2 not shown") for one in page.caption)
    results = inside / "results"
    results.mkdir()
    row = {"case_id": "mine", "source": "mine.nii.gz", "status": "ok", "mask": "mine.nii.gz"}
    write_results([row], columns_of("segmentation", ["lesion"]), results / "results.csv")
    (results / "mine.nii.gz").symlink_to(outside / "drawn.nii.gz")
    page = open_page(monkeypatch, inside, "View")
    assert not page.multiselect  # there is no mask to lay over it


def test_two_masks_are_compared(root, monkeypatch):
    page = open_page(monkeypatch, root, "Compare", pictures=True)
    page.selectbox(key="scan").select("scan").run()
    assert not page.exception
    assert page.selectbox(key="compare found").options == ["results/scan.nii.gz", "drawn.nii.gz"]
    table = page.dataframe[0].value
    assert list(table["structure"]) == ["lesion"]
    assert table["Dice"][0] == pytest.approx(2 * 48 / 128)  # cubes of 4³, one voxel apart
    assert table["found, ml"][0] == pytest.approx(0.064)
    assert table["IoU"][0] == pytest.approx(48 / 80)
    assert table["HD95, mm"][0] == pytest.approx(1)
    assert table["NSD at 1 mm"][0] == 1
    assert list(table[["parts", "parts hit", "parts beyond"]].loc[0]) == [1, 1, 0]
    page.selectbox(key="scan").select("film").run()
    assert "Two results of film are needed, and there are none" in page.info[0].value


def test_a_mask_is_laid_over_the_scan(root, monkeypatch):
    page = open_page(monkeypatch, root, "View", pictures=True)
    page.selectbox(key="scan").select("scan").run()
    assert not page.checkbox
    page.multiselect(key="over").select("drawn.nii.gz").run()
    assert not page.exception
    assert page.checkbox[0].label == "Show the mask"


def test_results_are_a_table_to_look_through(root, monkeypatch):
    page = open_page(monkeypatch, root, "Results")
    assert not page.exception
    assert page.caption[0].value == "lesions: 3 studies, 1 failed, 0 with warnings."
    table = page.dataframe[0].value
    assert list(table["study"]) == ["scan", "film", "gone"]
    assert table["lesion, ml"][0] == 0.064
    [failures] = [one.value for one in page.dataframe if list(one.value) == ["study", "reason"]]
    assert failures.to_dict("records") == [{"study": "film", "reason": "no mm"}]
    assert page.get("vega_lite_chart")


def test_uploads_are_kept_within_limits_and_deleted_with_their_session(root, tmp_path, monkeypatch):
    page = open_page(monkeypatch, root, "Browse")
    packed, many = tmp_path / "exam.zip", tmp_path / "many.zip"
    with zipfile.ZipFile(packed, "w") as file:
        for one in sorted((root / "dicom").iterdir()):
            file.write(one, one.name)
    with zipfile.ZipFile(many, "w") as file:
        for number in range(10_001):
            file.writestr(f"{number}.txt", "")
    scan = (root / "scan.nii.gz").read_bytes()
    page.file_uploader[0].set_value(
        [
            ("exam.zip", packed.read_bytes(), "application/zip"),
            ("../../evil.nii.gz", scan, "application/gzip"),
            ("many.zip", many.read_bytes(), "application/zip"),
            ("cut.nii.gz", scan[: len(scan) // 2], "application/gzip"),
            ("notes.nii", b"no scan", "application/octet-stream"),
        ]
    ).run()
    assert not page.exception
    told = [one.value for one in page.error]
    assert [one.split(":")[0] for one in told] == ["many.zip", "cut.nii.gz", "notes.nii"]
    assert "10,000" in told[0]
    assert not any("medvision-upload" in one for one in told)
    assert {"exam", "evil"} <= set(worklist(page)["study"])
    folder = page.session_state["uploads"].folder
    kept = {one.name for one in folder.rglob("*") if one.is_file()}
    assert kept == {"exam.zip", "evil.nii.gz"}
    del page
    gc.collect()
    for _ in range(100):
        if not folder.exists():
            break
        time.sleep(0.05)
    assert not folder.exists()


def test_dicom_results_are_made_when_asked_for(root, monkeypatch):
    pytest.importorskip("highdicom", reason="needs highdicom (extra seg)")

    def as_mr(data, k):  # the model takes nothing else
        data.Modality = "MR"

    write_series(root / "dicom", cube(900, (12, 12, 6)), change=as_mr)
    page = open_page(monkeypatch, root, "View", pictures=True)
    page.selectbox(key="scan").select("dicom").run()
    page.selectbox(key="where").select("the whole scan").run()
    press(page, "Run")
    labels = [one.label for one in page.get("download_button")]
    assert not any("DICOM" in label for label in labels)
    press(page, "Make DICOM files")
    assert not page.exception
    labels = [one.label for one in page.get("download_button")]
    assert labels[-3:] == ["Mask (DICOM SEG)", "Findings (DICOM SR)", "Picture (DICOM SC)"]
    page.selectbox(key="scan").select("scan").run()
    press(page, "Run")
    assert "Make DICOM files" not in [one.label for one in page.button]
    trail = (root.parent / "root.trail").read_text(encoding="utf-8")
    assert "DOE" not in trail
    assert "dicom" not in trail


def test_a_batch_is_started_watched_and_gone_on_with(root, monkeypatch):
    shutil.rmtree(root / "results")
    page = open_page(monkeypatch, root, "Batch")
    assert not page.exception
    assert "Nothing here yet" in page.info[0].value
    page.multiselect(key="batch studies").select("scan").run()
    press(page, "Start")
    assert not page.exception
    assert not page.error
    assert [one.value for one in page.metric] == ["1", "0", "1", "1"]  # noise is to review
    assert (root / "results_hippocampus" / "scan.nii.gz").exists()
    page.multiselect(key="batch studies").unselect("scan").run()
    press(page, "Go on")
    found = {one.label: one.value for one in page.metric}
    assert int(found["Done"]) >= 2
    assert int(found["Failed"]) >= 1  # a picture has no mm
    press(page, "Look through them")
    assert page.selectbox(key="folder").value == "results_hippocampus"


@pytest.mark.parametrize("folder", ["../elsewhere", ".", "/tmp/elsewhere"])
def test_a_batch_writes_nowhere_else(root, monkeypatch, folder):
    page = open_page(monkeypatch, root, "Batch")
    page.text_input(key="batch folder").set_value(folder).run()
    press(page, "Start")
    assert "below the app's" in page.error[0].value
    assert not (root.parent / "elsewhere").exists()


def test_the_tolerance_of_a_comparison_can_be_chosen(root, monkeypatch):
    page = open_page(monkeypatch, root, "Compare", pictures=True)
    page.selectbox(key="scan").select("scan").run()
    page.number_input(key="tolerance").set_value(0.5).run()
    assert not page.exception
    table = page.dataframe[0].value
    assert 0 < table["NSD at 0.5 mm"][0] < 1  # the cubes lie one voxel apart
    assert any("Where both are empty, overlaps are 1" in one.value for one in page.caption)


def test_an_answer_is_held_against_a_mask_beside_the_scan(root, monkeypatch):
    page = open_page(monkeypatch, root, "View", pictures=True)
    page.selectbox(key="scan").select("scan").run()
    page.selectbox(key="model").select("hippocampus").run()
    press(page, "Run")
    assert not page.exception
    [choose] = [one for one in page.selectbox if one.label == "Reference"]
    assert choose.value is None  # which of two files is the truth nobody knows
    choose.select("drawn.nii.gz").run()
    assert not page.exception
    [table] = [one.value for one in page.dataframe if "NSD at 1 mm" in one.value]
    assert list(table["structure"]) == ["anterior", "posterior"]
    said = load_predictor("hippocampus", "cpu").predict(read_study(root / "scan.nii.gz"))
    drawn = read_labels(root / "drawn.nii.gz", root / "scan.nii.gz")
    scores = mask_scores(said.mask, drawn, said.class_names)
    assert list(table["Dice"]) == [one.dice for one in scores]
    assert list(table["reference, ml"]) == [one.truth_ml for one in scores]
    warned = [one.value for one in page.warning]
    assert "Label 1 is anterior for the model, and lesion in the mask." in warned


def evaluations_on(page):
    return [one.proto.srcdoc for one in page.get("iframe")]


def test_results_are_held_against_a_table_with_the_truth(root, monkeypatch):
    evil = "<b>x"
    table = "case_id,image,mask,sex\nscan,scan.nii.gz,drawn.nii.gz,F\n"
    write_text(root / "cases.csv", table)
    write_text(root / f"{evil}.csv", table)
    write_text(root / "other.csv", "a,b\n1,2\n")
    page = open_page(monkeypatch, root, "Results")
    page.segmented_control(key="results part").set_value("Evaluation").run()
    assert not page.exception
    choose = page.selectbox(key="truth table")
    assert choose.options == ["<b>x.csv", "cases.csv"]
    choose.select("cases.csv").run()
    assert page.caption[-1].value == "Cases with truth: 1."
    press(page, "Evaluate")
    assert not page.exception
    assert not page.error
    [shown] = evaluations_on(page)
    trail = (root.parent / f"{root.name}.trail").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["event"] for line in trail] == ["compare"]
    assert "scan" not in trail[0]  # studies have pseudonyms there
    assert "0.750 Dice" in re.sub(r"<[^>]+>", "", shown)  # cubes of 4³, one voxel apart
    assert "medvision evaluate cases.csv --results results --tolerance 1" in shown
    assert str(root) not in shown
    page.number_input(key="tolerance").set_value(0.5).run()
    assert not evaluations_on(page)
    assert page.caption[-1].value == "Cases with truth: 1."  # it is to be asked for again
    choose.select(f"{evil}.csv").run()
    press(page, "Evaluate")
    assert evil not in evaluations_on(page)[0]


def test_results_are_held_against_other_results_of_the_same_classes(root, monkeypatch):
    write_text(root / "cases.csv", "case_id,image,mask\nscan,scan.nii.gz,drawn.nii.gz\n")
    for name in ("better", "others"):
        shutil.copytree(root / "results", root / name)
    shutil.copy(root / "drawn.nii.gz", root / "better" / "scan.nii.gz")  # just as the truth
    table = (root / "results" / "results.csv").read_text(encoding="utf-8")
    write_text(root / "others" / "results.csv", table.replace("lesion_ml", "cyst_ml"))
    page = open_page(monkeypatch, root, "Results")
    page.selectbox(key="folder").select("results").run()
    page.segmented_control(key="results part").set_value("Evaluation").run()
    choose = page.selectbox(key="other results")
    assert (choose.value, choose.options) == (None, ["better"])
    press(page, "Evaluate")
    assert "Against" not in evaluations_on(page)[0]
    page.selectbox(key="other results").select("better").run()
    assert not evaluations_on(page)  # it is to be asked for again
    press(page, "Evaluate")
    assert not page.exception
    [shown] = evaluations_on(page)
    words = re.sub(r"<[^>]+>", " ", shown)
    assert "Against better" in words
    assert "lesion Dice 1 1* -0.250" in " ".join(words.split())  # 0.75 less 1
    assert "--results results --against better" in words
    assert str(root) not in shown
    page.selectbox(key="folder").select("better").run()
    assert page.selectbox(key="other results").options == ["results"]
    assert not page.exception


def test_an_evaluation_says_what_a_table_of_the_truth_is(root, monkeypatch):
    page = open_page(monkeypatch, root, "Results")
    page.segmented_control(key="results part").set_value("Evaluation").run()
    assert "There is no table with the truth here" in page.info[0].value


def test_an_evaluation_says_what_is_missing(root, tmp_path, monkeypatch):
    table = "case_id,image,mask\nscan,scan.nii.gz,drawn.nii.gz\nfilm,film.png,drawn.nii.gz\n"
    write_text(root / "cases.csv", table)
    page = open_page(monkeypatch, root, "Results")
    page.segmented_control(key="results part").set_value("Evaluation").run()
    press(page, "Evaluate")
    assert not page.exception
    assert "no mm" in page.error[0].value  # why there is no result of film
    save_nifti(cube(), tmp_path / "secret.nii.gz")
    write_text(root / "cases.csv", "case_id,image,mask\nscan,scan.nii.gz,../secret.nii.gz\n")
    page = open_page(monkeypatch, root, "Results")
    page.segmented_control(key="results part").set_value("Evaluation").run()
    assert "names files outside of the folder of the app" in page.error[0].value
