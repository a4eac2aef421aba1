"""NIfTI written: the same place, the same values, the same bytes."""

import gzip
import shutil
import subprocess

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medvision.errors import OutputError
from medvision.geometry import corners, to_world
from medvision.io import read_volume
from medvision.outputs.nifti import save_nifti
from medvision.volume import SeriesInfo, Volume


@settings(max_examples=30, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 5)] * 3),
    shear=st.floats(-0.3, 0.3),
    zipped=st.booleans(),
)
def test_what_is_written_is_read_in_the_same_place(
    tmp_path_factory, angles, spacing, shear, zipped
):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(spacing)
    affine[:3, 2] += shear * affine[:3, 1]
    affine[:3, 3] = (-80, 120, 30)
    truth = Volume(np.arange(24, dtype=np.int16).reshape(1, 2, 3, 4), affine)
    path = tmp_path_factory.mktemp("n") / ("a.nii.gz" if zipped else "a.nii")
    found = read_volume(save_nifti(truth, path))
    edges = corners(truth.shape)
    assert np.allclose(to_world(found.affine, edges), to_world(affine, edges), atol=1e-4)
    assert np.array_equal(found.array, truth.array)
    assert not [note for note in found.info.notes if "differ" in note]


def test_the_affine_of_a_file_comes_back_to_the_bit(tmp_path):
    affine = np.array(
        [[0.91, 0.02, 0.1, -3], [0, 1.1, 0, 4], [-0.1, 0, 2, 5], [0, 0, 0, 1]], np.float32
    ).astype(float)
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), affine), tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    save_nifti(volume, tmp_path / "b.nii.gz")
    assert np.array_equal(nib.load(tmp_path / "b.nii.gz").affine, affine)


def test_the_same_volume_gives_the_same_bytes(tmp_path):
    volume = Volume(np.arange(24, dtype=np.uint8).reshape(1, 2, 3, 4), np.eye(4))
    first = save_nifti(volume, tmp_path / "a.nii.gz").read_bytes()
    assert save_nifti(volume, tmp_path / "other.nii.gz").read_bytes() == first


@pytest.mark.parametrize("shape", [(1, 37, 21, 5), (3, 17, 9, 4), (1, 40, 50, 1), (1, 1, 1, 300)])
@pytest.mark.parametrize("order", ["C", "F", "flipped", "NIfTI"])
def test_voxels_in_any_order_in_memory_give_the_bytes_of_nibabel(tmp_path, shape, order):
    truth = np.random.default_rng(0).integers(-999, 999, shape, dtype=np.int16)
    array = {
        "C": truth,
        "F": np.asfortranarray(truth),
        "flipped": truth[:, ::-1, :, ::-1].copy()[:, ::-1, :, ::-1],
        "NIfTI": np.moveaxis(np.asfortranarray(np.moveaxis(truth, 0, -1)), -1, 0),
    }[order]
    volume = Volume(array, np.diag([1.0, 2, 3, 1]))
    plain = save_nifti(volume, tmp_path / "a.nii").read_bytes()
    there = np.moveaxis(truth, 0, -1) if len(truth) > 1 else truth[0]
    assert plain[352:] == there.tobytes(order="F")
    assert plain[352:] == nib.Nifti1Image(there, volume.affine).to_bytes()[352:]
    packed = save_nifti(volume, tmp_path / "a.nii.gz").read_bytes()
    assert gzip.decompress(packed) == plain
    assert packed[:8] == b"\x1f\x8b\x08\0\0\0\0\0"  # neither name nor time


def test_others_read_what_is_zipped(tmp_path):
    noise = np.random.default_rng(0).integers(-999, 999, (60, 50, 40), dtype=np.int16)
    path = save_nifti(Volume(noise[None], np.eye(4)), tmp_path / "a.nii.gz")
    assert np.array_equal(np.asarray(nib.load(path).dataobj), noise)
    found = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    assert np.array_equal(found.transpose(2, 1, 0), noise)
    if shutil.which("gzip"):
        subprocess.run(["gzip", "-t", str(path)], check=True)


def test_a_disk_that_fills_up_leaves_the_old_file(tmp_path, monkeypatch):
    volume = Volume(np.zeros((1, 9, 9, 9), np.uint8), np.eye(4))
    path = save_nifti(volume, tmp_path / "a.nii.gz")
    old = path.read_bytes()

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("isal.igzip.IGzipFile.write", full)
    with pytest.raises(OSError, match="No space"):
        save_nifti(volume.with_array(volume.array + 1), path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_channels_become_the_fourth_axis(tmp_path):
    array = np.random.default_rng(0).random((3, 2, 4, 5)).astype(np.float32)
    save_nifti(Volume(array, np.eye(4)), tmp_path / "a.nii")
    assert nib.load(tmp_path / "a.nii").shape == (2, 4, 5, 3)
    assert np.array_equal(read_volume(tmp_path / "a.nii").array, array)


def test_the_space_is_kept(tmp_path):
    volume = Volume(np.zeros((1, 2, 2, 2), np.uint8), np.eye(4), SeriesInfo(space="mni"))
    assert read_volume(save_nifti(volume, tmp_path / "a.nii.gz")).info.space == "mni"


def test_other_names_and_values_are_refused(tmp_path):
    volume = Volume(np.zeros((1, 2, 2, 2), np.int64), np.eye(4))
    with pytest.raises(OutputError, match="int64"):
        save_nifti(volume, tmp_path / "a.nii")
    with pytest.raises(OutputError, match=r"must end in .nii"):
        save_nifti(volume, tmp_path / "a.mha")
    assert not list(tmp_path.iterdir())
