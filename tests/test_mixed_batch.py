"""A folder of all sorts: what each study is known by, and what options mean for it."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from batch_runs import SIDE, Threshold, write_model
from dicom_phantom import write_series

import medvision.checkpoint
from medvision.batch import run_batch
from medvision.errors import DecodeError, MissingExtra
from medvision.geometry import parse_box
from medvision.io import find_studies, read_study, read_volume
from medvision.jobs import jobs_of, plan_jobs
from medvision.outputs.nifti import save_nifti
from medvision.outputs.table import series_of
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.predictor import Predictor, load_predictor
from medvision.study import SeriesRef, Study, StudyRef, digest_of
from medvision.volume import SeriesInfo, Volume


def scan():
    """A ball that the toy model finds, as stored values."""
    ball = Ellipsoid((-8.0, -8, 8), (5, 5, 5))
    image, _ = ellipsoid_phantom((SIDE,) * 3, np.diag([-1.0, -1, 1, 1]), [ball])
    return Volume(image.array[..., 6:9].astype(np.int16), image.affine)


@pytest.fixture
def mixed(tmp_path, monkeypatch):
    """Two NIfTI files, one of them empty, and a study of two MR series, all of one folder."""
    monkeypatch.setenv("MEDVISION_INDEX", "off")
    monkeypatch.setattr(medvision.checkpoint, "build_model", lambda spec: Threshold())
    write_model(tmp_path / "balls")
    folder = tmp_path / "mixed"
    save_nifti(scan(), folder / "crop.nii.gz")
    (folder / "empty.nii.gz").touch()
    for number in (2, 3):
        for path in write_series(
            tmp_path / "x",
            scan(),
            number=number,
            modality="MR",
            change=lambda data, k: setattr(data, "StudyInstanceUID", "1.2.3"),
        ):
            path.rename(folder / f"{number}-{path.name}")
    return folder


def predicted(inputs, series=(), formats=("json",), boxes=()):
    """Predict with the toy model, which lies beside the folder; return results.csv by case."""
    beside = next(one for one in inputs[0].parents if (one / "balls").is_dir())
    predictor = load_predictor(beside / "balls", "cpu")
    jobs = plan_jobs(inputs, beside / "out", series, boxes)
    run_batch(
        jobs, predictor, beside / "out", str(beside / "balls"), formats, show=False, overwrite=True
    )
    with (beside / "out" / "results.csv").open(newline="") as file:
        return {row["case_id"]: row for row in csv.DictReader(file)}


def test_a_series_is_chosen_where_there_is_such_a_one_and_others_are_taken_as_they_are(mixed):
    rows = predicted([mixed], ["3"])
    states = {name: row["status"] for name, row in rows.items()}
    assert states == {"crop": "ok", "empty": "failed", "mixed_3": "ok"}
    assert "--series 3 does not apply" in rows["crop"]["warnings"]
    assert "--series" not in rows["mixed_3"]["warnings"]
    assert rows["empty"]["warnings"] == ""  # it would not have helped
    plain = predicted([mixed])
    assert plain["crop"]["ball_ml"] == rows["crop"]["ball_ml"]
    assert "--series" not in plain["crop"]["warnings"]
    assert "2 series" in plain["mixed"]["reason"]


def test_several_series_without_the_one_that_is_asked_for_say_so(mixed):
    for path in write_series(mixed.parent / "x", scan(), number=7, modality="MR"):
        path.rename(mixed / f"7-{path.name}")
    rows = predicted([mixed], ["7"])
    assert (rows["mixed"]["status"], rows["mixed-2_7"]["status"]) == ("failed", "ok")
    note, _, reason = rows["mixed"]["reason"].partition(". ")
    assert note.startswith("option --series 7 does not apply")
    assert reason.startswith("2 series of")


def test_names_stay_apart_where_only_some_have_the_series():
    def study(name, *labels):
        series = tuple(SeriesRef(one, (), "dicom") for one in labels)
        return StudyRef(name, Path(name), series=series)

    jobs = jobs_of([study("a", "3", "4"), study("a_3", "5")], ["3"])
    assert [(job.case_id, job.series) for job in jobs] == [("a_3", ("3",)), ("a_3-2", ())]


def test_a_series_that_no_study_has_stays_an_error(mixed):
    for inputs in ([mixed / "crop.nii.gz"], [mixed]):
        rows = predicted(inputs, ["7"])
        assert {row["status"] for row in rows.values()} == {"failed"}
        assert "fits '7'" in rows["crop_7"]["reason"]


def test_results_of_loose_dicom_files_say_which_series_they_are_of(mixed):
    for path in write_series(
        mixed.parent / "x", scan(), number=7, description="DOE", modality="CT"
    ):
        path.rename(mixed / f"7-{path.name}")
    rows = predicted([mixed], ["3"])
    found = {name: (row["series"], row["modality"]) for name, row in rows.items()}
    assert found == {
        "crop": ("crop", ""),
        "empty": ("empty", ""),
        "mixed_3": ("3", "MR"),
        "mixed-2": ("7", "CT"),
    }
    keys = {name: digest_of(uid) for name, uid in (("mixed_3", "1.2.3"), ("crop", ""))}
    assert {name: rows[name]["study_key"] for name in keys} == keys
    assert len({row["study_key"] for row in rows.values()}) == 3  # none, and one of each study
    said = json.loads((mixed.parent / "out" / "mixed_3.json").read_text(encoding="utf-8"))
    assert (said["series"], said["modality"]) == ("3", "MR")
    assert said["study_key"] == keys["mixed_3"]
    page = (mixed.parent / "out" / "report.html").read_text(encoding="utf-8")
    assert f"{mixed}, series 3, MR<" in page
    assert "DOE" not in page + json.dumps(rows)


def test_a_study_keeps_its_name_whatever_is_taken_of_it(mixed):
    boxes = [parse_box("-16:0,-16:0,6:9"), parse_box("-14:0,-16:0,6:9")]
    for series, of in (((), ()), (("3",), boxes), (("2",), boxes[:1])):
        rows = predicted([mixed], series, boxes=of)
        assert {row["study"] for row in rows.values()} == {"crop", "empty", "mixed"}
        assert len(rows) == 3 * max(1, len(of))


def test_what_cannot_be_written_of_a_scan_is_said_before_the_network_runs(mixed, monkeypatch):
    pytest.importorskip("highdicom", reason="needs highdicom (extra seg)")
    asked, look = [], Predictor.look

    def noted(self, ready, step=None):
        asked.append(ready.case_id)
        return look(self, ready, step)

    monkeypatch.setattr(Predictor, "look", noted)
    rows = predicted([mixed], ["3"], ["json", "sr"])
    assert asked == ["mixed_3"]
    assert "crop.nii.gz is none. NIfTI fits" in rows["crop"]["reason"]
    assert rows["crop"]["failure"] == "other"
    monkeypatch.setattr("medvision.errors.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="DICOM SR needs highdicom"):
        predicted([mixed], ["3"], ["json", "sr"])


def test_several_inputs_are_told_apart():
    volume = Volume(np.zeros((1, 2, 2, 2)), np.eye(4), SeriesInfo(modality="MR"))
    refs = {name: SeriesRef(label, (), "dicom") for name, label in (("t1", "2"), ("flair", "3.1"))}
    told = series_of(Study("a", dict.fromkeys(refs, volume), series=refs))
    assert told == {"series": "t1=2; flair=3.1", "modality": "t1=MR; flair=MR", "study_key": ""}


def test_what_is_said_of_a_scan_over_time_helps(mixed):
    image = scan()
    save_nifti(image.with_array(np.repeat(image.array, 3, axis=0)), mixed / "fmri.nii.gz")
    reason = predicted([mixed / "fmri.nii.gz"])["fmri"]["reason"]
    assert "this image has 3 channel(s)" in reason
    assert "scan = read_volume(PATH); save_nifti(scan.with_array(scan.array[:1])" in reason
    over_time = read_volume(mixed / "fmri.nii.gz")
    save_nifti(over_time.with_array(over_time.array[:1]), mixed / "one.nii.gz")
    assert predicted([mixed / "one.nii.gz"])["one"]["status"] == "ok"


def test_of_a_file_that_cannot_be_read_only_that_is_said(mixed):
    for inputs in ([mixed / "empty.nii.gz"], [mixed]):
        row = predicted(inputs)["empty"]
        assert row["reason"] == f"{mixed / 'empty.nii.gz'} is empty (0 bytes)."
        assert row["failure"] == "unreadable"
    with pytest.raises(DecodeError, match=r"^\S+empty\.nii\.gz is empty \(0 bytes\)\.$"):
        read_study(find_studies(mixed / "empty.nii.gz")[0], "3")


def test_failures_stand_on_the_page_by_their_kind(mixed):
    save_nifti(scan().with_array(np.repeat(scan().array, 2, axis=0)), mixed / "pair.nii.gz")
    rows = predicted([mixed])
    kinds = {name: row["failure"] for name, row in rows.items()}
    assert kinds == {"crop": "", "empty": "unreadable", "mixed": "series", "pair": "model"}
    html = (mixed.parent / "out" / "report.html").read_text(encoding="utf-8")
    heads = re.findall("<h3>(.*?)</h3>", html)
    assert heads == [
        "Cannot be read",
        "No series, or several: --series chooses one",
        "Not for this model",
    ]
    assert html.count("is empty (0 bytes).") == 2
    assert html.count(rows["mixed"]["reason"].split(";")[1]) == 2
