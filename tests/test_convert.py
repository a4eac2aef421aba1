"""Series to NIfTI: the voxels of the reader, side-cars without identities, FSL's gradients."""

import json
import subprocess

import dcm2niix
import nibabel as nib
import numpy as np
import pytest
from dicom_phantom import write_series
from hippocampus_data import DATA
from typer.testing import CliRunner

from medvision import cli
from medvision.convert import convert_studies, fsl_vectors
from medvision.errors import OutputError
from medvision.io import read_volume
from medvision.volume import SeriesInfo, Volume

SCAN = Volume(np.arange(4 * 5 * 3, dtype=np.int16).reshape(1, 4, 5, 3), np.diag([-1.0, -1, 2, 1]))
DIFFUSION = DATA / "dicom" / "dcm_qa_decubitus" / "In"


def tagged(data, k):
    data.EchoTime, data.RepetitionTime, data.FlipAngle = "4.6", "2300", "9"
    data.Manufacturer, data.ManufacturerModelName = "Maker", "Model 3T"
    data.MagneticFieldStrength, data.ProtocolName = "3", "t1"
    data.StudyDate, data.AccessionNumber = "20190703", "A123456"


def test_every_series_becomes_a_file_with_its_sidecar(tmp_path):
    write_series(tmp_path / "in" / "a", SCAN, number=2, modality="MR", change=tagged)
    write_series(tmp_path / "in" / "b", SCAN, number=3)[1].unlink()  # fewer slices, still even
    write_series(tmp_path / "in" / "gap", Volume(SCAN.array.repeat(2, -1), SCAN.affine))[2].unlink()
    rows = convert_studies([tmp_path / "in"], tmp_path / "out")
    assert [bool(row.problem) for row in rows] == [False, False, True]
    assert "missing" in rows[2].problem
    written = read_volume(tmp_path / "out" / "a_2.nii.gz")
    ours = read_volume(tmp_path / "in" / "a")
    assert np.array_equal(written.array, ours.array)
    assert np.allclose(written.affine, ours.affine)
    text = (tmp_path / "out" / "a_2.json").read_text()
    said = json.loads(text)
    assert said["EchoTime"] == pytest.approx(0.0046)
    assert said["RepetitionTime"] == pytest.approx(2.3)
    assert said["ManufacturersModelName"] == "Model 3T"
    assert said["ImageType"] == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert said["SeriesNumber"] == 2
    for word in ("DOE", "PID-4711-X", "2019", "A123456"):
        assert word not in text
    assert not list((tmp_path / "out").glob("gap*"))


def test_uneven_slices_are_resampled_on_request(tmp_path):
    write_series(tmp_path / "in", Volume(SCAN.array.repeat(2, -1), SCAN.affine))[2].unlink()
    [row] = convert_studies([tmp_path / "in"], tmp_path / "out", resample=True)
    assert not row.problem
    assert nib.load(row.files[0]).shape == (4, 5, 6)
    assert row.notes


def test_files_are_only_replaced_when_asked_to(tmp_path):
    write_series(tmp_path / "in", SCAN)
    convert_studies([tmp_path / "in"], tmp_path / "out")
    with pytest.raises(OutputError, match="--overwrite"):
        convert_studies([tmp_path / "in"], tmp_path / "out")
    assert not convert_studies([tmp_path / "in"], tmp_path / "out", overwrite=True)[0].problem


def test_one_number_twice_becomes_two_files(tmp_path):
    for name in ("a", "b"):
        write_series(
            tmp_path / "in" / name,
            SCAN,
            number=4,
            change=lambda data, k: setattr(data, "StudyInstanceUID", "1.2.3"),
        )
    rows = convert_studies([tmp_path / "in"], tmp_path / "out")
    assert [row.files[0].name for row in rows] == ["in_4.nii.gz", "in_4-2.nii.gz"]
    [row] = convert_studies([tmp_path / "in"], tmp_path / "out", series="5")
    assert "No series" in row.problem


def test_gradients_follow_the_voxel_axes():
    info = SeriesInfo(
        channels="diffusion", b_values=(0.0, 1000.0), b_vectors=((0, 0, 0), (0.6, 0.8, 0))
    )
    array = np.zeros((2, 3, 3, 3), np.int16)
    left_handed = Volume(array, np.diag([-2.0, 2, 2, 1]), info)  # FSL's own layout
    assert np.allclose(np.transpose(fsl_vectors(left_handed))[1], [-0.6, 0.8, 0])
    right_handed = Volume(array, np.diag([2.0, 2, 2, 1]), info)  # x is negated
    assert np.allclose(np.transpose(fsl_vectors(right_handed))[1], [-0.6, 0.8, 0])
    rows = Volume(array, np.diag([2.0, -2, 2, 1]), info)
    assert np.allclose(np.transpose(fsl_vectors(rows))[1], [0.6, -0.8, 0])


@pytest.mark.skipif(not DIFFUSION.is_dir(), reason=f"needs {DIFFUSION}")
@pytest.mark.parametrize("name", ["HFP/3_ep2d_diff_mddw_20_p2", "HFS/4_ep2d_diff_mddw_20_p2"])
def test_gradients_are_those_of_dcm2niix(tmp_path, name):
    [row] = convert_studies([DIFFUSION / name], tmp_path / "ours")
    assert [path.suffix for path in row.files] == [".gz", ".json", ".bval", ".bvec"]
    (tmp_path / "theirs").mkdir()
    command = [dcm2niix.bin, "-z", "n", "-f", "x", "-o", str(tmp_path / "theirs")]
    subprocess.run([*command, str(DIFFUSION / name)], check=True, capture_output=True)
    theirs, theirs_affine = gradients(tmp_path / "theirs" / "x.nii")
    ours, ours_affine = gradients(row.files[0])
    assert np.abs(ours[0] - theirs[0]).max() < 1
    weighted = ours[0] > 0
    assert weighted.sum() >= 12
    assert (
        np.abs(in_world(ours, ours_affine) - in_world(theirs, theirs_affine))[weighted].max() < 1e-3
    )


def gradients(image):
    stem = str(image).removesuffix(".gz").removesuffix(".nii")
    return (np.loadtxt(f"{stem}.bval"), np.loadtxt(f"{stem}.bvec")), nib.load(image).affine


def in_world(found, affine):
    """FSL's definition, written once more: one direction a row, in RAS."""
    vectors = found[1].copy()
    if np.linalg.det(affine[:3, :3]) > 0:
        vectors[0] *= -1
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return (axes @ vectors).T


def test_the_command_tells_what_failed(tmp_path):
    write_series(tmp_path / "in" / "a", SCAN)
    (tmp_path / "in" / "bad.nii").touch()
    command = ["convert", str(tmp_path / "in"), str(tmp_path / "out")]
    result = CliRunner().invoke(cli.app, command, env={"COLUMNS": "160"})
    assert result.exit_code == 1
    assert "1 series done, 1 failed" in result.output
    assert (tmp_path / "out" / "a_1.nii.gz").is_file()


def test_an_image_that_cannot_be_written_leaves_no_sidecar(tmp_path, monkeypatch):
    def full(volume, path):
        raise OSError(28, "No space left on device")

    write_series(tmp_path / "in", SCAN, modality="MR", change=tagged)
    monkeypatch.setattr("medvision.convert.save_nifti", full)
    [row] = convert_studies([tmp_path / "in"], tmp_path / "out")
    assert "cannot be written: No space left on device" in row.problem
    assert not list((tmp_path / "out").iterdir())
