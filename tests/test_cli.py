"""The command line on files, good and bad."""

import csv
import json
import re
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import torch
from dicom_phantom import write_series
from typer.main import get_command
from typer.testing import CliRunner

from medvision import cli
from medvision.checkpoint import save_model
from medvision.errors import MedvisionError
from medvision.files import sha256
from medvision.models import build_model
from medvision.outputs.nifti import save_nifti
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.spec import ModelSpec

BALL = Ellipsoid((12.0, 12, 12), (7, 6, 5))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small network with random weights: what it finds means nothing, but it runs."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    spec = ModelSpec(
        "tiny",
        "segmentation",
        "unet3d",
        ("a", "b"),
        (1, 1, 1),
        (16, 16, 16),
        network={"features": (4, 8)},
    )
    torch.manual_seed(0)
    return save_model(folder, spec, build_model(spec).state_dict(), "# tiny\n")


@pytest.fixture
def scans(tmp_path):
    """Three good scans, two bad files, and something else."""
    folder = tmp_path / "scans"
    for number in range(3):
        image, _ = ellipsoid_phantom(
            (24, 26, 22), np.diag([-1, -1, 1, 1]) @ np.eye(4), [BALL], noise=5, seed=number
        )
        save_nifti(image, folder / f"scan{number}.nii.gz")
    (folder / "empty.nii").touch()
    (folder / "text.nii.gz").write_text("no image")
    (folder / "notes.txt").write_text("hello")
    return folder


def run(*arguments):
    """Run a command; a MedvisionError becomes what `main` makes of it."""
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        assert isinstance(result.exception, MedvisionError), result.exception
    return result


def rows_of(folder):
    with (folder / "results.csv").open(newline="") as file:
        return {row["case_id"]: row for row in csv.DictReader(file)}


def test_bad_studies_are_rows_and_the_others_finish(model, scans, tmp_path):
    out = tmp_path / "out"
    result = run("predict", scans, "--model", model, "--out", out, "--device", "cpu")
    assert result.exit_code == 1, result.output
    rows = rows_of(out)
    assert {k: r["status"] for k, r in rows.items()} == {
        "scan0": "ok",
        "scan1": "ok",
        "scan2": "ok",
        "empty": "failed",
        "text": "failed",
    }
    assert "empty (0 bytes)" in rows["empty"]["reason"]
    assert "no NIfTI header" in rows["text"]["reason"]
    assert "3 done (3 with warnings), 2 failed" in result.output  # noise fills the whole scan
    assert sorted(p.name for p in out.iterdir()) == sorted(
        [
            "report.html",
            "results.csv",
            "run.json",
            "status.sqlite",
            *(f"scan{n}{s}" for n in range(3) for s in (".json", ".nii.gz", ".png")),
        ]
    )
    page = (out / "report.html").read_bytes()
    assert b"<b>3</b> done" in page
    assert page.count(b"data:image/jpeg") == 3
    assert f"Page: {out / 'report.html'};" in result.output
    (out / "report.html").unlink()
    assert run("report", out).exit_code == 0
    assert (out / "report.html").read_bytes() == page


def test_the_mask_has_the_grid_of_its_scan(model, scans, tmp_path):
    run("predict", scans / "scan0.nii.gz", "--model", model, "--out", tmp_path / "o", "-q")
    scan, mask = (nib.load(p / "scan0.nii.gz") for p in (scans, tmp_path / "o"))
    assert mask.shape == scan.shape
    assert np.array_equal(mask.affine, scan.affine)
    said = json.loads((tmp_path / "o" / "scan0.json").read_text())
    counts = [int((np.asarray(mask.dataobj) == label).sum()) for label in (1, 2)]
    assert [s["voxels"] for s in said["structures"]] == counts
    assert [s["ml"] for s in said["structures"]] == pytest.approx([n / 1000 for n in counts])
    assert float(rows_of(tmp_path / "o")["scan0"]["a_ml"]) == pytest.approx(counts[0] / 1000)


def test_the_run_card_repeats_the_run_to_the_byte(model, scans, tmp_path):
    out = tmp_path / "out"
    run(
        "predict",
        scans,
        "--model",
        model,
        "--out",
        out,
        "--device",
        "cpu",
        "-q",
        "--box",
        "-20:-3,-20:-3,3:20",
    )
    card = json.loads((out / "run.json").read_text())
    assert card["resolved"]["device"] == "cpu"
    assert card["resolved"]["threads"] == torch.get_num_threads()
    [ran] = card["runs"]
    assert ran["versions"]["torch"] == torch.__version__
    assert ran["peak_memory_mb"] > 50
    case = next(c for c in card["cases"] if c["case_id"] == "scan1_box")
    assert case["input_sha256"] == sha256(scans / "scan1.nii.gz")
    assert case["outputs"]["nifti"]["sha256"] == sha256(out / "scan1_box.nii.gz")

    again = run("replay", out, "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output
    assert again.output.count("identical") == 5
    for name in ("scan0_box.nii.gz", "scan1_box.nii.gz", "scan2_box.nii.gz"):
        assert (out / name).read_bytes() == (tmp_path / "again" / name).read_bytes()

    shutil.copy(scans / "scan0.nii.gz", scans / "scan1.nii.gz")
    changed = run("replay", out / "run.json", "--out", tmp_path / "third")
    assert changed.exit_code == 1
    assert "the input has changed" in changed.output


def test_results_of_other_settings_are_only_replaced_when_asked_to(model, scans, tmp_path):
    command = ["predict", scans / "scan0.nii.gz", "--model", model, "--out", tmp_path / "o"]
    assert run(*command).exit_code == 0
    again = run(*command)
    assert again.exit_code == 0
    assert "1 of 1 are done already" in again.stderr
    assert "1 done (1 with warnings), 0 failed; 1 of these 1 in an earlier run" in again.stdout
    other = [*command, "--outputs", "json"]
    refused = str(run(*other).exception)
    assert "outputs was nifti, json, overlay and is json" in refused
    assert "--overwrite" in refused
    assert run(*other, "--overwrite").exit_code == 0
    assert "begin anew" in str(
        run(*other, "--box", "-20:-3,-20:-3,3:20", "--outputs", "csv").exception
    )


def test_failed_studies_are_tried_again_when_asked_to(model, scans, tmp_path):
    command = ["predict", scans, "--model", model, "--out", tmp_path / "o"]
    assert run(*command).exit_code == 1
    again = run(*command)
    assert again.exit_code == 1
    assert "3 of 5 are done already; 2 failed and are not tried again" in again.stderr
    assert "2 that failed are tried again" in run(*command, "--retry-failed").stderr
    shutil.copy(scans / "scan0.nii.gz", scans / "text.nii.gz")
    mended = run(*command)
    assert "1 are done again, for their files have changed" in mended.stderr
    assert rows_of(tmp_path / "o")["text"]["status"] == "ok"


def test_shards_share_a_folder_and_the_last_one_ends_the_table(model, scans, tmp_path):
    command = ["predict", scans, "--model", model, "--out", tmp_path / "o", "-q"]
    for number in (1, 2, 3):
        run(*command, "--shard", f"{number}/3")
        card = json.loads((tmp_path / "o" / "run.json").read_text())
        assert (card.get("status") == "unfinished") == (len(rows_of(tmp_path / "o")) < 5)
    assert list(rows_of(tmp_path / "o")) == ["empty", "scan0", "scan1", "scan2", "text"]
    assert "4/3" in str(run(*command, "--shard", "4/3").exception)
    assert "such as 3/16" in str(run(*command, "--shard", "one").exception)


def test_tables_and_pages_are_written_when_asked_for_and_replayed(model, scans, tmp_path):
    out, scan = tmp_path / "o", scans / "scan0.nii.gz"
    run("predict", scan, "--model", model, "--out", out, "-q", "--outputs", "csv,html")
    names = {"scan0.csv", "scan0.html", "report.html", "results.csv", "run.json", "status.sqlite"}
    assert {p.name for p in out.iterdir()} == names
    again = run("replay", out, "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output


def test_a_scan_that_vanishes_stops_no_other(model, scans, tmp_path, monkeypatch):
    def hash_inputs(sources):
        if sources[0].name.startswith("scan1"):
            raise FileNotFoundError(sources[0])
        return "hash"

    monkeypatch.setattr("medvision.batch.hash_inputs", hash_inputs)
    out = tmp_path / "o"
    run("predict", scans, "--model", model, "--out", out, "-q")
    assert [r["status"] for r in rows_of(out).values()].count("ok") == 2


def test_a_card_that_is_damaged_or_unfinished_is_refused(tmp_path):
    card = tmp_path / "run.json"
    for text, says in (
        ('{"status": "unfinished"}', "did not finish"),
        ('{"model": {}, "cases": [], "resolved": {}, "formats": []}', "that can be repeated"),
        ("[]", "is no run card"),
    ):
        card.write_text(text)
        assert says in str(run("replay", card).exception)


def test_replay_refuses_another_model(model, scans, tmp_path):
    mine = shutil.copytree(model, tmp_path / "mine")
    run("predict", scans / "scan0.nii.gz", "--model", mine, "--out", tmp_path / "o", "-q")
    spec = (mine / "spec.json").read_text()
    (mine / "spec.json").write_text(spec.replace('"overlap": 0.5', '"overlap": 0.25'))
    assert "SHA-256 differs" in str(run("replay", tmp_path / "o").exception)


def test_results_inside_the_input_are_not_taken_for_scans(model, scans):
    for _ in range(2):
        run(
            "predict",
            scans,
            "--model",
            model,
            "--out",
            scans / "out",
            "-q",
            "--outputs",
            "nifti",
            "--overwrite",
        )
        assert len(rows_of(scans / "out")) == 5
    run("predict", scans, "--model", model, "--out", scans / "more", "-q", "--outputs", "nifti")
    assert len(rows_of(scans / "more")) == 5


def test_a_box_outside_fails_its_study_alone(model, scans, tmp_path):
    result = run(
        "predict",
        scans / "scan0.nii.gz",
        "--model",
        model,
        "--out",
        tmp_path / "o",
        "--box",
        "-20:-4,-20:-4,4:20",
        "--box",
        "500:510,0:9,0:9",
    )
    assert result.exit_code == 1
    rows = rows_of(tmp_path / "o")
    assert rows["scan0_box-1"]["status"] == "ok"
    assert "outside the scan" in rows["scan0_box-2"]["reason"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["predict", "{scans}", "--model", "nobody", "--out", "o"], "No model 'nobody'"),
        (["predict", "{empty}", "--model", "{model}", "--out", "o"], "No scan in"),
        (["predict", "{scans}/none.nii", "--model", "{model}", "--out", "o"], "No such file"),
        (["predict", "{scans}", "--model", "{model}", "--out", "o", "--box", "x"], "Box 'x'"),
        (
            ["predict", "{scans}", "--model", "{model}", "--out", "o", "--device", "abacus"],
            "Unknown device",
        ),
        (["predict", "{scans}", "--model", "{scans}", "--out", "o"], "spec.json"),
        (["replay", "{scans}"], "run.json"),
        (["report", "{scans}"], "results.csv"),
        (
            ["predict", "{scans}", "--model", "{model}", "--out", "{scans}/notes.txt"],
            "cannot hold results",
        ),
        (
            ["predict", "{scans}", "--model", "{model}", "--out", "{scans}"],
            "folder for the results",
        ),
        (["evaluate", "{scans}/notes.txt", "--model", "{model}", "--out", "{scans}"], "columns"),
        (["train", "{scans}/none.csv", "--out", "o", "--classes", "a"], "No such file"),
        (
            ["evaluate", "{scans}/notes.txt", "--model", "{model}", "--out", "o"],
            "missing columns",
        ),
        (["datasets", "msd", "{scans}", "--out", "c.csv"], "no Decathlon task"),
        (["datasets", "msd", "{scans}", "--out", "c.csv", "--download", "Task99"], "Unknown task"),
    ],
)
def test_mistakes_are_one_line_without_traceback(model, scans, tmp_path, arguments, says):
    (tmp_path / "empty").mkdir()
    places = {"scans": scans, "model": model, "empty": tmp_path / "empty"}
    command = [sys.executable, "-m", "medvision", *(a.format(**places) for a in arguments)]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert says in found.stderr
    assert found.stderr.startswith("Error: ")
    assert "Traceback" not in found.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "scans"]


def test_every_command_explains_itself_with_an_example():
    for command in (
        *("predict", "info", "doctor", "convert", "report"),
        *("replay", "train", "evaluate", "app"),
    ):
        text = CliRunner().invoke(cli.app, [command, "--help"]).output
        assert f"medvision {command}" in text


def test_help_on_80_columns_has_every_value_whole():
    for command in app_commands():
        env = {"COLUMNS": "80", "TERMINAL_WIDTH": "80"}
        text = CliRunner().invoke(cli.app, [command, "--help"], env=env).output
        assert not re.search(r"[^=\s]…", text.replace("NAME=…", "")), command
    text = CliRunner().invoke(cli.app, ["predict", "--help"], env=env).output
    assert "mni:left-hippocampus," in text
    assert "torch-channels-last," in text


def app_commands():
    return sorted(get_command(cli.app).commands)


def test_an_unexpected_failure_keeps_its_words_to_itself(model, scans, tmp_path, monkeypatch):
    def fail(path, series, case_id, inputs):
        raise RuntimeError("DOE^JANE")

    monkeypatch.setattr("medvision.batch.read_study", fail)
    result = run("predict", scans / "scan0.nii.gz", "--model", model, "--out", tmp_path / "o")
    assert result.exit_code == 1
    assert "DOE" not in result.output + (tmp_path / "o" / "results.csv").read_text()
    assert "Unexpected RuntimeError" in rows_of(tmp_path / "o")["scan0"]["reason"]


def test_studies_of_one_folder_are_predicted_and_repeated_one_by_one(model, tmp_path):
    folder = tmp_path / "scans" / "all"
    for number in (1, 2):
        image, _ = ellipsoid_phantom(
            (16, 16, 16), np.diag([-1, -1, 1, 1]), [BALL], noise=5, seed=number
        )
        stored = image.with_array(image.array.astype(np.int16))
        for path in write_series(tmp_path / "x", stored, number=number, modality="MR"):
            folder.mkdir(parents=True, exist_ok=True)
            path.rename(folder / f"{number}-{path.name}")
    out = tmp_path / "out"
    assert run("predict", folder, "--model", model, "--out", out, "-q").exit_code == 0
    assert sorted(rows_of(out)) == ["all", "all-2"]
    again = run("replay", out, "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output
    assert again.output.count("identical") == 2


def test_a_study_of_several_series_fails_until_one_is_named(model, tmp_path):
    image, _ = ellipsoid_phantom((16, 16, 16), np.diag([-1, -1, 1, 1]), [BALL], noise=5)
    stored = image.with_array(image.array.astype(np.int16))
    for number in (1, 2):
        write_series(
            tmp_path / "exam" / str(number),
            stored,
            number=number,
            change=lambda data, k: setattr(data, "StudyInstanceUID", "1.2.3"),
        )
    command = ["predict", tmp_path / "exam", "--model", model, "--out", tmp_path / "o", "-q"]
    assert run(*command).exit_code == 1
    assert "--series" in rows_of(tmp_path / "o")["exam"]["reason"]
    assert run(*command, "--overwrite", "--series", "2").exit_code == 0
    assert rows_of(tmp_path / "o")["exam_2"]["status"] == "ok"
