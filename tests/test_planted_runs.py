"""Runs over planted files: no value of their headers reaches what is written, said or kept."""

import logging
import shutil

import numpy as np
import pytest
from batch_runs import SIDE, Threshold, write_model
from dicom_phantom import write_series
from planted import ROOT, found_below, found_in, plant, write_planted
from trail import Trail
from typer.testing import CliRunner

import medvision.checkpoint
from medvision import cli
from medvision.batch import run_batch
from medvision.convert import convert_studies
from medvision.deidentify import deidentify_studies
from medvision.errors import MedvisionError
from medvision.io import find_studies, read_labels, read_report, read_study
from medvision.io.doctor import diagnose
from medvision.jobs import plan_jobs
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.predictor import load_predictor
from medvision.replay import replay
from medvision.tags import read_tags
from medvision.volume import Volume

TABLES = ("nifti", "json", "overlay", "csv", "html", "uncertainty")
ARCHIVE = ("seg", "sr", "sc")  # of the scan's patient, as an archive needs them
DESCRIPTION, PROTOCOL = b"ZQ0008103E", b"ZQ00181030"


def scan():
    """A ball that the toy model finds, as stored values."""
    ball = Ellipsoid((-8.0, -8, 8), (5, 5, 5))
    image, _ = ellipsoid_phantom((SIDE,) * 3, np.diag([-1.0, -1, 1, 1]), [ball])
    return Volume(image.array[..., 6:9].astype(np.int16), image.affine)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDVISION_INDEX", str(tmp_path / "index"))
    monkeypatch.setattr(medvision.checkpoint, "build_model", lambda spec: Threshold())
    write_model(tmp_path / "balls")
    write_planted(tmp_path / "in" / "one", scan())
    write_planted(tmp_path / "in" / "broken", scan(), study=1)
    for path in (tmp_path / "in" / "broken").iterdir():
        path.write_bytes(path.read_bytes()[:-400])
    return tmp_path


def predicted(tree, inputs, out, formats):
    """Run the toy model over a folder; the model lies beside it."""
    predictor = load_predictor(tree / "balls", "cpu", uncertainty=True)
    jobs = plan_jobs([tree / inputs], tree / out)
    return run_batch(jobs, predictor, tree / out, str(tree / "balls"), formats, show=False)


def test_results_hold_no_value_of_a_header(tree, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    rows = predicted(tree, "in", "out", TABLES)
    assert sorted(row.failed for row in rows) == [False, True]
    again = predicted(tree, "in", "out", TABLES)  # from the store
    assert [row.study_key for row in again] == [row.study_key for row in rows]
    written = {path.name for path in (tree / "out").iterdir()}
    assert {"status.sqlite", "results.csv", "run.json", "report.html", "one.html"} <= written
    assert found_below(tree / "out") == {}
    assert found_in(caplog.text.encode()) == set()
    assert found_in("".join(capfd.readouterr()).encode()) == set()


def test_errors_that_list_series_say_nothing_of_their_text(tree):
    for kind, protocol in (("a", "ZQ-FIRST"), ("b", "ZQ-SECOND")):

        def change(data, k, protocol=protocol):
            plant(data, k)
            data.Modality, data.ProtocolName = "MR", protocol

        write_series(tree / "in" / "parts" / kind, scan(), change=change)
    rows = predicted(tree, "in", "out", TABLES)
    reasons = "\n".join(row.row["reason"] for row in rows)
    assert "choose one" in reasons
    assert found_in(reasons.encode()) == set()
    assert found_below(tree / "out") == {}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "one"
    write_planted(folder)
    return folder


@pytest.mark.parametrize("seed", range(12))
def test_errors_of_readers_say_no_value(whole, tmp_path, monkeypatch, seed, caplog, capfd):
    """Files that are cut, or of which bytes are others, in every reader that takes DICOM."""
    random = np.random.default_rng(seed)
    monkeypatch.setenv("MEDVISION_INDEX", "off")
    folder = tmp_path / "hurt"
    shutil.copytree(whole, folder)
    for path in sorted(folder.iterdir())[: random.integers(1, 4)]:
        whole = bytearray(path.read_bytes())
        if seed % 4 == 0:
            whole = whole[: random.integers(200, len(whole))]
        for at in random.integers(132, len(whole), 1 + seed % 30):
            whole[at] = random.integers(0, 256)
        path.write_bytes(whole)
    said, scans = [], sorted(folder.iterdir())
    for ask in (
        lambda: [repr(finding) for ref in find_studies([folder]) for finding in diagnose(ref)],
        lambda: [one.problem for ref in find_studies([folder]) for one in ref.series],
        lambda: read_study(folder),
        lambda: [str(tag) for path in scans for tag in read_tags(path)],
        lambda: read_labels(scans[0]),
        lambda: read_report(scans[0]),
        lambda: [row.problem for row in deidentify_studies([folder], tmp_path / "clean", "seed")],
        lambda: [row.problem for row in convert_studies([folder], tmp_path / "nii")],
    ):
        try:
            told = ask()
            said += told if isinstance(told, list) else []
        except MedvisionError as error:
            said.append(str(error))
    text = "\n".join(map(str, said)) + caplog.text + "".join(capfd.readouterr())
    assert found_in(text.encode("utf-8", "replace")) - {DESCRIPTION} == set()


def test_replay_knows_the_study_by_its_digest(tree):
    for path in (tree / "in" / "broken").iterdir():
        path.unlink()
    predicted(tree, "in", "out", ("json",))
    [again] = replay(tree / "out" / "run.json", tree / "again", show=False)
    assert again.identical
    assert found_below(tree / "again") == {}


def test_the_index_holds_what_info_shows_of_series_and_no_more(tree):
    find_studies([tree / "in"])
    [found] = found_below(tree / "index").values()
    assert found == {DESCRIPTION, ROOT.encode()}


def test_commands_say_no_more_than_what_they_are_asked_for(tree):
    said = {}
    for command in ("info", "info --dates", "doctor", "convert", "convert --deidentify"):
        name, *options = command.split()
        out = [str(tree / command.replace(" ", ""))] if name == "convert" else []
        result = CliRunner().invoke(
            cli.app, [name, str(tree / "in"), *out, *options], env={"COLUMNS": "300"}
        )
        said[command] = found_in(result.output.encode())
    assert said["info"] == {DESCRIPTION}
    assert {word[:5] for word in said["info --dates"]} == {DESCRIPTION[:5], b"1947-"}
    assert said["doctor"] == said["convert"] == said["convert --deidentify"] == set()
    assert found_below(tree / "convert--deidentify") == {}
    sidecars = set().union(*found_below(tree / "convert").values())
    assert sidecars == {DESCRIPTION, PROTOCOL}  # of BIDS: what the series is


def test_lists_of_what_is_there_have_descriptions_and_uids(tree):
    lists = tree / "lists"
    options = ("--json", str(lists / "a.json"), "--csv", str(lists / "a.csv"))
    assert CliRunner().invoke(cli.app, ["info", str(tree / "in"), *options]).exit_code == 0
    shown = {DESCRIPTION, ROOT.encode()}
    assert found_below(lists) == {"a.csv": shown, "a.json": shown}


def test_dicom_results_are_of_the_scans_patient_and_no_others(tree):
    predicted(tree, "in", "out", ARCHIVE)
    found = found_below(tree / "out")
    assert set(found) == {f"one_{kind}.dcm" for kind in ARCHIVE}
    for marks in found.values():
        assert {b"ZQ00100010", b"ZQ00100020", b"ZQ00080050"} <= marks  # name, number, accession
        assert not any(mark.startswith(b"ZQ-") for mark in marks)  # private, overlays, file meta


def test_nothing_of_a_header_is_in_results_of_what_was_de_identified(tree):
    pytest.importorskip("dicognito", reason="needs dicognito (extra deidentify)")
    deidentify_studies([tree / "in" / "one"], tree / "clean", "seed")
    [row] = predicted(tree, "clean", "out", (*TABLES, *ARCHIVE))
    assert not row.failed
    assert len(list((tree / "out").glob("*.dcm"))) == 3
    assert found_below(tree / "out") == {}


def test_reports_and_documents_are_left_out_and_told(tree):
    pytest.importorskip("dicognito", reason="needs dicognito (extra deidentify)")
    kinds = {"sr": "1.2.840.10008.5.1.4.1.1.88.11", "pdf": "1.2.840.10008.5.1.4.1.1.104.1"}
    for kind, sop_class in kinds.items():

        def change(data, k, sop_class=sop_class, kind=kind):
            plant(data, k)
            data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = sop_class
            data.Modality = "SR" if kind == "sr" else "DOC"
            del data.PixelData, data.Rows, data.Columns

        write_series(
            tree / "documents" / kind, Volume(np.zeros((1, 2, 2, 1)), np.eye(4)), change=change
        )
    rows = deidentify_studies([tree / "documents"], tree / "clean", "seed")
    assert rows
    assert not list((tree / "clean").rglob("*.dcm"))
    told = " ".join(" ".join((*row.notes, row.problem)) for row in rows)
    assert "Left out" in told
    assert found_in(told.encode()) == set()


def test_the_audit_log_has_no_name_of_a_folder(tree):
    (tree / "in" / "one").rename(tree / "in" / "ZQ-JANE")
    trail = Trail(tree / "trail.jsonl")
    for ref in find_studies([tree / "in"]):
        for event in ("view", "run", "identity", "export"):
            trail.write("browser", event, ref.case_id, model="balls")
    assert (tree / "trail.jsonl").read_text(encoding="utf-8").count("\n") == 8
    assert found_in((tree / "trail.jsonl").read_bytes()) == set()
