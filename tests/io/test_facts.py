"""What lies in a folder, without reading a voxel."""

import json
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
from dicom_phantom import write_series
from typer.testing import CliRunner

from medvision import cli
from medvision.geometry import check_affine
from medvision.io import find_studies, read_study
from medvision.io.doctor import diagnose
from medvision.io.pseudonym import SCOPE
from medvision.volume import Volume

AFFINE = check_affine([[0, 0, 3, 0], [0.8, 0, 0, 0], [0, -0.9, 0, 5], [0, 0, 0, 1]])


@pytest.fixture
def folder(tmp_path):
    scan = Volume(np.arange(5 * 6 * 4, dtype=np.int16).reshape(1, 5, 6, 4), AFFINE)
    write_series(tmp_path / "exam", scan, number=2, description="T1", modality="MR")
    write_series(tmp_path / "more", scan, number=5, description="T1 localizer", modality="MR")
    write_series(tmp_path / "gap", scan)[2].unlink()
    image = nib.Nifti1Image(np.zeros((3, 4, 5, 6), np.int16), np.diag([-2, 1, 1, 1]))
    nib.save(image, tmp_path / "fmri.nii.gz")
    (tmp_path / "fmri.json").write_text('{"Modality": "MR", "SeriesDescription": "rest"}')
    (tmp_path / "bad.nii").touch()
    return tmp_path


def facts_in(folder):
    return {ref.case_id: (ref, *ref.series) for ref in find_studies(folder)}


def test_the_facts_are_those_of_the_volumes(folder):
    found = facts_in(folder)
    assert sorted(found) == ["bad", "exam", "fmri", "gap", "more"]
    for name in ("exam", "fmri", "more"):
        ref, one = found[name]
        volume = read_study(ref).image
        assert one.shape == volume.array.shape
        assert one.spacing == pytest.approx(volume.spacing, abs=1e-3)
        assert one.orientation == volume.orientation
        assert one.modality == "MR"
    assert found["exam"][1].plane == "sagittal"
    assert found["fmri"][1].description == "rest"
    assert "1 slice(s) missing" in found["gap"][1].problem
    assert "empty" in found["bad"][1].problem


def test_the_table_names_what_is_wrong_and_no_patient(folder):
    result = CliRunner().invoke(cli.app, ["info", str(folder)], env={"COLUMNS": "160"})
    assert result.exit_code == 1
    for words in ("T1", "5×6×4", "0.8×0.9×3", "6 of 3×4×5", "5 series, 2 unreadable", "P-"):
        assert words in result.output
    assert "DOE" not in result.output
    assert "PID-4711-X" not in result.output


def test_a_pipe_gets_one_plain_line_a_series(folder):
    for columns in ("20", "300"):
        result = CliRunner().invoke(cli.app, ["info", str(folder)], env={"COLUMNS": columns})
        heads, *rows = [line.split("\t") for line in result.stdout.splitlines()]
        assert {len(row) for row in rows} == {len(heads)}
        told = {row[0]: dict(zip(heads, row, strict=True)) for row in rows}
        assert set(told) == {"exam", "more", "gap", "fmri", "bad"}
        assert told["exam"]["voxels"] == "5×6×4"
        assert told["exam"]["mm"] == "0.8×0.9×3"
        assert told["bad"]["problem"].endswith("is empty (0 bytes).")
        assert "5 series, 2 unreadable" in result.stderr


NAME = "5f2c6f70-8b1e-4f0b-9b7f-3a2d7f0c9a11"


def test_a_narrow_terminal_gets_fewer_columns_and_whole_values(tmp_path):
    scan = Volume(np.zeros((1, 512, 512, 3), np.int16), np.diag([0.488, 0.488, 5, 1]))
    write_series(tmp_path / NAME, scan, number=12, description="T1 mprage " * 6, modality="MR")
    (tmp_path / f"{NAME[::-1]}.nii").touch()

    def shown(*options, columns):
        env = {"FORCE_COLOR": "1", "COLUMNS": columns}
        result = CliRunner().invoke(cli.app, ["info", str(tmp_path), *options], env=env)
        return re.sub(r"\x1b\[[0-9;]*m", "", result.output).split("is empty")[0]

    narrow, wide = shown(columns="80"), shown(columns="160")
    for words in (NAME, NAME[::-1], " 12 ", " MR ", "512×512×3", "0.488×0.488×5", "unreadable"):
        assert words in narrow
    assert "patient" not in narrow
    for words in (NAME, "patient", "T1 mprage", "512×512×3"):
        assert words in wide
    assert " P-" in wide
    dated = shown("--dates", columns="80")
    assert "date" in dated.splitlines()[1]


def test_it_is_said_when_pseudonyms_come_again(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDVISION_INDEX", str(tmp_path / "index"))
    scan = Volume(np.zeros((1, 4, 4, 2), np.int16), np.eye(4))
    write_series(tmp_path / "in" / "a", scan)

    def pseudonym(*inputs):
        refs = find_studies([tmp_path / name for name in inputs])
        return next(ref.patient for ref in refs if ref.patient)

    first = pseudonym("in")
    assert pseudonym("in") == first
    shutil.copytree(tmp_path / "in", tmp_path / "copy")
    assert first not in (pseudonym("copy"), pseudonym("in/a"), pseudonym("in", "copy"))
    monkeypatch.setenv("MEDVISION_INDEX", "off")
    assert first != pseudonym("in") != pseudonym("in")
    result = CliRunner().invoke(cli.app, ["info", str(tmp_path / "in")])
    assert SCOPE in result.output
    help_text = CliRunner().invoke(cli.app, ["info", "--help"]).output
    assert "In a copy" in " ".join(help_text.split())


def test_the_lists_hold_what_the_table_shows(folder, tmp_path):
    out = tmp_path / "lists"
    command = ["info", str(folder), "--json", str(out / "a.json"), "--csv", str(out / "a.csv")]
    CliRunner().invoke(cli.app, command)
    studies = {one["case_id"]: one for one in json.loads((out / "a.json").read_text())}
    assert studies["exam"]["series"][0]["shape"] == [1, 5, 6, 4]
    rows = (out / "a.csv").read_text().splitlines()
    assert len(rows) == 6
    assert all("PID-4711-X" not in row for row in rows)


def test_dates_are_read_when_asked_for(tmp_path):
    scan = Volume(np.zeros((1, 4, 4, 2), np.int16), np.eye(4))

    def dated(text):
        return lambda data, k: setattr(data, "StudyDate", text)

    write_series(tmp_path / "a", scan, change=dated("20200110"))
    write_series(tmp_path / "b", scan, change=dated("20200101"))
    refs = {ref.case_id: ref for ref in find_studies(tmp_path)}
    assert (refs["a"].day, refs["b"].day) == (9, 0)
    assert refs["a"].patient == refs["b"].patient != ""
    shown = CliRunner().invoke(cli.app, ["info", str(tmp_path)], env={"COLUMNS": "160"}).output
    assert "day 9" in shown
    assert "2020" not in shown
    shown = CliRunner().invoke(cli.app, ["info", str(tmp_path), "--dates"], env={"COLUMNS": "160"})
    assert "2020-01-10" in shown.output


def test_the_doctor_says_what_to_do(folder):
    found = {ref.case_id: diagnose(ref) for ref in find_studies(folder)}
    assert "--resample" in found["gap"][0].do
    assert "Copy or export" in found["bad"][0].do
    assert "localizer" in found["more"][0].what
    assert found["exam"] == found["fmri"] == []
    result = CliRunner().invoke(cli.app, ["doctor", str(folder)])
    assert result.exit_code == 1
    assert "hole" in result.output


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mgz", "a.nrrd", "a.mha", "a.png"])
def test_the_doctor_knows_files_that_are_not_what_they_are_called(tmp_path, name):
    (tmp_path / name).write_text("<html>Sign in to go on</html>" * 20)
    [found] = diagnose(find_studies(tmp_path)[0])
    assert "It has a scan's name and holds something else" in found.why
    assert "Copy or download it again" in found.do


def test_segmentations_and_broken_files_beside_a_scan_are_told(tmp_path):
    scan = Volume(np.zeros((1, 4, 4, 3), np.int16), np.eye(4))
    write_series(tmp_path / "a", scan)
    (tmp_path / "a" / "IM9.dcm").write_text("no slice")
    [ref] = find_studies(tmp_path)
    image, broken = ref.series
    assert not image.problem
    assert "IM9.dcm is no DICOM file" in broken.problem
    with pytest.raises(Exception, match=r"IM9\.dcm"):  # it may be a slice of the scan
        read_study(ref)
