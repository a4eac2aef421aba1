"""What lies in a folder, without reading a voxel."""

import nibabel as nib
import numpy as np
import pytest
from dicom_phantom import write_series
from typer.testing import CliRunner

from medvision import cli
from medvision.geometry import check_affine
from medvision.io import find_studies, read_volume
from medvision.io.facts import scan_facts
from medvision.volume import Volume

AFFINE = check_affine([[0, 0, 3, 0], [0.8, 0, 0, 0], [0, -0.9, 0, 5], [0, 0, 0, 1]])


@pytest.fixture
def folder(tmp_path):
    scan = Volume(np.arange(5 * 6 * 4, dtype=np.int16).reshape(1, 5, 6, 4), AFFINE)
    write_series(tmp_path / "exam", scan, number=2, description="T1", modality="MR")
    for path in write_series(tmp_path / "more", scan, number=5, description="CT"):
        path.rename(tmp_path / "exam" / f"b-{path.name}")
    (tmp_path / "more").rmdir()
    write_series(tmp_path / "gap", scan)[2].unlink()
    image = nib.Nifti1Image(np.zeros((3, 4, 5, 6), np.int16), np.diag([-2, 1, 1, 1]))
    nib.save(image, tmp_path / "fmri.nii.gz")
    (tmp_path / "bad.nii").touch()
    return tmp_path


def test_the_facts_are_those_of_the_volumes(folder):
    facts = [one for ref in find_studies(folder) for one in scan_facts(ref)]
    assert len(facts) == 5
    readable = [one for one in facts if not one.problem]
    assert sorted(one.series for one in readable) == ["", "2", "5"]
    for one in readable:
        volume = read_volume(one.path, one.series or None)
        assert one.shape == volume.array.shape
        assert one.spacing == pytest.approx(volume.spacing, abs=1e-3)
        assert one.orientation == volume.orientation
    problems = {one.case_id: one.problem for one in facts if one.problem}
    assert "1 slice(s) missing" in problems["gap"]
    assert "empty" in problems["bad"]


def test_the_table_names_what_is_wrong_and_no_patient(folder):
    result = CliRunner().invoke(cli.app, ["info", str(folder)], env={"COLUMNS": "140"})
    assert result.exit_code == 1
    for words in ("T1", "5×6×4", "0.8×0.9×3", "6 of 3×4×5", "5 series, 2 unreadable"):
        assert words in result.output
    assert "DOE" not in result.output
