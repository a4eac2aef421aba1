"""What a prediction leaves in a folder."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from medvision.errors import OutputError
from medvision.io import read_volume
from medvision.outputs import choose_formats, write_outputs
from medvision.outputs.nifti import save_nifti
from medvision.outputs.table import columns_of, failed_row, row_of, write_results
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.prediction import Prediction
from medvision.study import Study
from medvision.volume import SeriesInfo, Volume

BALL = Ellipsoid((15.0, 15, 15), (8, 7, 6))


def result(case_id="case"):
    image, mask = ellipsoid_phantom((30, 31, 32), np.eye(4), [BALL], noise=5)
    region = tuple(slice(0, n) for n in mask.shape)
    return (
        Prediction(case_id, "toy", ("ball", "none"), region, mask, warnings=("looks odd",)),
        Study(case_id, {"image": image}),
    )


def classified(case_id="case"):
    picture = Volume(
        np.arange(784, dtype=np.uint8).reshape(1, 28, 28, 1),
        np.eye(4),
        SeriesInfo(spacing_known=False),
    )
    region = tuple(slice(0, n) for n in picture.shape)
    scores = {"no": 1 / 3, "yes": 2 / 3}
    return (
        Prediction(case_id, "toy", ("no", "yes"), region, scores=scores, warnings=("looks odd",)),
        Study(case_id, {"image": picture}),
    )


def test_every_format_is_one_file_named_after_the_case(tmp_path):
    prediction, study = result()
    files = write_outputs(prediction, study, tmp_path)
    assert {k: p.name for k, p in files.items()} == {
        "nifti": "case.nii.gz",
        "json": "case.json",
        "overlay": "case.png",
    }
    assert sorted(p.name for p in tmp_path.iterdir()) == ["case.json", "case.nii.gz", "case.png"]
    said = json.loads(files["json"].read_text())
    assert said["structures"][0]["ml"] == pytest.approx(BALL.ml, rel=0.04)
    assert said["warnings"] == ["looks odd"]
    with Image.open(files["overlay"]) as picture:
        assert picture.width > 600
        assert "Research use only" in picture.info["Description"]


@pytest.mark.parametrize("case_id", ["", "../up", "a/b", ".hidden", "a\nb", 'a"b', "a:b"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path, case_id):
    prediction, study = result(case_id)
    with pytest.raises(OutputError, match="cannot name a file"):
        write_outputs(prediction, study, tmp_path / "out")
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize("case_id", ["run", "Results"])
def test_names_of_the_run_itself_are_kept_free(tmp_path, case_id):
    with pytest.raises(OutputError, match="cannot name a file"):
        write_outputs(*result(case_id), tmp_path)


def test_a_result_never_replaces_the_scan(tmp_path):
    prediction, study = result()
    path = save_nifti(study.image, tmp_path / "case.nii.gz")
    before = path.read_bytes()
    with pytest.raises(OutputError, match=r"case\.nii\.gz is the scan itself"):
        write_outputs(prediction, Study("case", {"image": read_volume(path)}), tmp_path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["case.nii.gz"]


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(
        OutputError, match=r"'dicom'\. Choose from: nifti, json, overlay, csv, html"
    ):
        write_outputs(*result(), tmp_path, ["nifti", "dicom"])
    assert not list(tmp_path.iterdir())


def test_a_classification_leaves_what_fits_it(tmp_path):
    prediction, study = classified()
    files = write_outputs(prediction, study, tmp_path)
    assert {k: p.name for k, p in files.items()} == {"json": "case.json", "overlay": "case.png"}
    said = json.loads(files["json"].read_text())
    assert (said["task"], said["predicted"]) == ("classification", "yes")
    assert said["scores"] == {"no": 0.333333, "yes": 0.666667}
    with Image.open(files["overlay"]) as picture:
        assert picture.width > 400  # of a scan of 28 × 28 pixels
        assert "Research use only" in picture.info["Description"]
    before = {kind: path.read_bytes() for kind, path in files.items()}
    again = write_outputs(prediction, study, tmp_path / "again")
    assert before == {kind: path.read_bytes() for kind, path in again.items()}


def test_a_mask_of_a_classification_is_refused_before_anything_is_written(tmp_path):
    says = (
        r"A classification has no output 'nifti'\. Choose from: json, overlay, csv, html, sr, sc\."
    )
    with pytest.raises(OutputError, match=says):
        write_outputs(*classified(), tmp_path, ["json", "nifti"])
    assert not list(tmp_path.iterdir())


def test_without_formats_the_usual_ones_that_fit_are_chosen():
    assert choose_formats((), "segmentation") == ("nifti", "json", "overlay")
    assert choose_formats([], "classification") == ("json", "overlay")
    assert choose_formats(["html", "csv"], "classification") == ("html", "csv")
    assert choose_formats(["overlay", "json", "overlay"], "segmentation") == ("overlay", "json")


def test_a_folder_that_cannot_be_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        write_outputs(*result(), tmp_path / "file")


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_table_has_a_row_a_study_in_order(tmp_path):
    prediction, study = result()
    files = write_outputs(prediction, study, tmp_path)
    rows = [
        row_of(prediction, "in/scan.nii", 1.5, files),
        failed_row("bad", "in/bad.nii", "in/bad.nii is empty (0 bytes).", 0.1),
    ]
    columns = columns_of("segmentation", prediction.class_names)
    found = read(write_results(rows, columns, tmp_path / "results.csv"))
    assert [r["status"] for r in found] == ["ok", "failed"]
    assert float(found[0]["ball_ml"]) == pytest.approx(BALL.ml, rel=0.04)
    assert int(found[0]["ball_voxels"]) == int((prediction.mask.array == 1).sum())
    assert found[0]["none_voxels"] == "0"
    assert found[0]["mask"] == "case.nii.gz"
    assert found[0]["warnings"] == "looks odd"
    assert found[1]["reason"] == "in/bad.nii is empty (0 bytes)."
    assert found[1]["ball_ml"] == ""


def test_the_table_of_a_classification_holds_probabilities(tmp_path):
    prediction, _ = classified()
    rows = [row_of(prediction, "a.png", 0.1, {}), failed_row("bad", "b.png", "is empty.", 0.1)]
    columns = columns_of(prediction.task, prediction.class_names)
    done, failed = read(write_results(rows, columns, tmp_path / "results.csv"))
    assert list(done)[-4:] == ["predicted", "no_probability", "yes_probability", "study_key"]
    assert (done["predicted"], done["no_probability"]) == ("yes", "0.333333")
    assert done["yes_probability"] == "0.666667"
    assert done["warnings"] == "looks odd"
    assert (failed["reason"], failed["predicted"], failed["yes_probability"]) == (
        "is empty.",
        "",
        "",
    )


def test_a_spreadsheet_runs_no_formula(tmp_path):
    row = failed_row("=cmd|' /C calc'!A0", "@x", "+1\nsecond line", 0.0)
    columns = columns_of("classification", ["=1+1"])
    found = read(write_results([row], columns, tmp_path / "r.csv"))[0]
    assert "'=1+1_probability" in found
    assert found["case_id"].startswith("'=")
    assert found["source"] == "'@x"
    assert found["reason"] == "'+1 second line"


UNSURE = {"confidence": {"ball": 0.7123456}, "review": 0.83}


def test_how_sure_the_model_is_stands_in_every_table(tmp_path):
    prediction, study = result()
    found = replace(prediction, **UNSURE)
    files = write_outputs(found, study, tmp_path, ["json", "csv"])
    said = json.loads(files["json"].read_text())
    assert said["needs_review"] is True
    assert [s["confidence"] for s in said["structures"]] == [0.712346, None]
    assert [r["confidence"] for r in read(files["csv"])] == ["0.712346", ""]
    rows = [row_of(found, "a.nii", 1.0, files), row_of(prediction, "b.nii", 1.0, {})]
    rows.append(row_of(replace(found, confidence={"ball": 0.9}), "c.nii", 1.0, {}))
    rows.append(failed_row("bad", "d.nii", "is empty.", 0.1))
    columns = columns_of("segmentation", prediction.class_names)
    table = read(write_results(rows, columns, tmp_path / "results.csv"))
    assert [(r["confidence"], r["review"]) for r in table] == [
        ("0.712346", "yes"),
        ("", ""),
        ("0.9", "no"),
        ("", ""),
    ]


def mapped(level):
    """A result with an uncertainty map of one level, but for a voxel of the highest."""
    prediction, study = result()
    array = np.full(study.image.array.shape, level, np.float16)
    array[0, 3, 4, 5] = 1
    return replace(prediction, uncertainty=study.image.with_array(array)), study


def test_an_uncertainty_map_lies_on_the_scan_s_grid(tmp_path):
    prediction, study = mapped(0.3)
    files = write_outputs(prediction, study, tmp_path, ["uncertainty"])
    assert files["uncertainty"].name == "case_uncertainty.nii.gz"
    found = read_volume(files["uncertainty"])
    assert np.array_equal(found.affine, study.image.affine)
    assert found.array.shape == study.image.array.shape
    assert found.array[0, 3, 4, 5] == pytest.approx(1)
    assert np.abs(found.array - prediction.uncertainty.array).max() < 0.5 / 255 + 1e-3
    again = write_outputs(prediction, study, tmp_path / "again", ["uncertainty"])
    assert files["uncertainty"].read_bytes() == again["uncertainty"].read_bytes()
    assert files["uncertainty"].stat().st_size < 1000


def test_a_map_that_is_not_there_is_told(tmp_path):
    with pytest.raises(OutputError, match=r"case has no uncertainty map to write.*load_predictor"):
        write_outputs(*result(), tmp_path, ["uncertainty"])
    with pytest.raises(OutputError, match="A classification has no output 'uncertainty'"):
        choose_formats(["uncertainty"], "classification")
    assert "uncertainty" not in choose_formats((), "segmentation")
    assert not list(tmp_path.iterdir())
