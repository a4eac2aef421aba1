"""NIfTI files through nibabel: right, or refused by name."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from medvision.errors import DecodeError, GeometryError, MedvisionError
from medvision.geometry import to_world
from medvision.io import read_volume

OBLIQUE = np.array(
    [[0.9, 0.1, 0, -20], [-0.1, 0.8, 0.3, 31], [0, -0.2, 2.0, 7], [0, 0, 0, 1]], dtype=np.float32
).astype(float)


def save(path, array, affine=OBLIQUE, **header):
    image = nib.Nifti1Image(array, affine)
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_voxels_and_world_are_those_of_the_file(tmp_path, suffix, dtype):
    array = np.arange(5 * 6 * 7, dtype=dtype).reshape(5, 6, 7)
    volume = read_volume(save(tmp_path / f"a{suffix}", array))
    assert volume.array.dtype == dtype
    assert np.array_equal(volume.array[0], array)
    assert np.allclose(to_world(volume.affine, (1, 2, 3)), (OBLIQUE @ [1, 2, 3, 1])[:3])
    assert volume.info.description == "a"


def test_two_axes_are_one_slice(tmp_path):
    assert read_volume(save(tmp_path / "a.nii", np.ones((4, 5), np.int16))).shape == (4, 5, 1)


def test_the_fourth_axis_is_time(tmp_path):
    array = np.random.default_rng(0).random((4, 5, 6, 3)).astype(np.float32)
    volume = read_volume(save(tmp_path / "a.nii.gz", array))
    assert volume.array.shape == (3, 4, 5, 6)
    assert volume.info.channels == "time"
    assert np.array_equal(volume.array[2], array[..., 2])


def test_slope_and_intercept_are_applied(tmp_path):
    image = nib.Nifti1Image(np.full((3, 3, 3), 10, np.int16), OBLIQUE)
    image.header.set_slope_inter(0.5, -7)
    nib.save(image, tmp_path / "a.nii")
    raw = nib.load(tmp_path / "a.nii")
    stored = np.asarray(raw.dataobj.get_unscaled())
    volume = read_volume(tmp_path / "a.nii")
    assert np.allclose(volume.array[0], stored * raw.dataobj.slope + raw.dataobj.inter)


def write_forms(path, sform, s_code, qform, q_code):
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), None)
    image.header.set_qform(qform, q_code)
    image.header.set_sform(sform, s_code)
    nib.save(image, path)
    return path


def test_sform_wins_and_the_conflict_is_told(tmp_path):
    sform, qform = np.diag([1.0, 1, 1, 1]), np.diag([1.0, 1, 1, 1])
    qform[0, 3] = 5
    volume = read_volume(write_forms(tmp_path / "a.nii", sform, 1, qform, 1))
    assert np.array_equal(volume.affine, sform)
    assert "differ by up to 5.0 mm" in volume.info.notes[0]


def test_qform_serves_without_sform(tmp_path):
    qform = np.diag([2.0, 2, 3, 1])
    qform[:3, 3] = (1, 2, 3)
    volume = read_volume(write_forms(tmp_path / "a.nii", np.eye(4), 0, qform, 1))
    assert np.allclose(volume.affine, qform)
    assert volume.info.notes == ()


def test_a_file_without_orientation_says_so(tmp_path):
    volume = read_volume(write_forms(tmp_path / "a.nii", np.eye(4), 0, np.eye(4), 0))
    assert "left and right are a guess" in volume.info.notes[0]


def test_mni_space_is_known_by_its_code(tmp_path):
    path = write_forms(tmp_path / "a.nii", np.eye(4), 4, np.eye(4), 0)
    assert read_volume(path).info.space == "mni"


def test_microns_become_millimeters(tmp_path):
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.diag([250.0, 250, 250, 1]))
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    assert volume.spacing == pytest.approx((0.25, 0.25, 0.25))
    assert "micron" in volume.info.notes[0]


def bad_files(folder):
    """Every way in which a .nii is none, by name."""
    good = save(folder / "good.nii", np.zeros((9, 9, 9), np.int16)).read_bytes()
    zipped = gzip.compress(good)
    nan, flat = OBLIQUE.copy(), np.diag([1.0, 1, 0, 1])
    nan[0, 0] = np.nan
    (folder / "empty.nii").touch()
    (folder / "empty.nii.gz").touch()
    (folder / "short.nii").write_bytes(good[:700])
    (folder / "header.nii").write_bytes(good[:100])
    (folder / "short.nii.gz").write_bytes(zipped[: len(zipped) // 2])
    (folder / "text.nii").write_text("this is no image\n" * 100)
    (folder / "text.nii.gz").write_text("this is no image\n" * 100)
    for name, affine in (("nan.nii", nan), ("flat.nii", flat)):
        write_forms(folder / name, affine, 1, np.eye(4), 0)
    save(folder / "complex.nii", np.zeros((3, 3, 3), np.complex64))


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("empty.nii", DecodeError, "empty"),
        ("empty.nii.gz", DecodeError, "empty"),
        ("short.nii", DecodeError, "cut short"),
        ("header.nii", DecodeError, "not a readable"),
        ("short.nii.gz", DecodeError, "cut short"),
        ("text.nii", DecodeError, "not a readable"),
        ("text.nii.gz", DecodeError, "not a readable"),
        ("nan.nii", GeometryError, "NaN"),
        ("flat.nii", GeometryError, "above 0"),
        ("complex.nii", DecodeError, "real numbers"),
        ("absent.nii", MedvisionError, "No such file"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, name, kind, says):
    bad_files(tmp_path)
    with pytest.raises(kind, match=says) as error:
        read_volume(tmp_path / name)
    assert name in str(error.value)


def test_what_is_no_scan_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DecodeError, match=r"notes.txt is no scan"):
        read_volume(tmp_path / "notes.txt")
