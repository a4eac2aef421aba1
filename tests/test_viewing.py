"""What a viewer in a browser is given: the same voxels in the same place."""

import nibabel as nib
import numpy as np
import pytest

from medvision.render import flat_plane, half_size, is_large, viewer_nifti, windows_of
from medvision.render.viewing import label_map
from medvision.volume import SeriesInfo, Volume, Window

AFFINE = np.array([[0, -2.0, 0.3, 10], [-1, 0, 0, 20], [0, 0.2, 3, -5], [0, 0, 0, 1]])


def read(volume):
    return nib.Nifti1Image.from_bytes(__import__("gzip").decompress(viewer_nifti(volume)))


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        (np.int16, np.int16),
        (np.uint8, np.uint8),
        (np.float32, np.float32),
        (np.float64, np.float32),
        (np.int64, np.int32),
        (np.uint64, np.uint32),
        (bool, np.uint8),
    ],
)
def test_voxels_and_their_places_are_the_volumes(kind, stored):
    array = np.random.default_rng(0).integers(0, 2, (1, 5, 4, 3)).astype(kind)
    image = read(Volume(array, AFFINE))
    assert image.get_data_dtype() == stored
    assert np.array_equal(np.asarray(image.dataobj), array[0])
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)
    assert image.header["qform_code"] == 0  # it could not hold the shear


def test_numbers_beyond_32_bits_become_floats():
    array = np.array([2**40, 0, 1, 2], np.int64).reshape(1, 2, 2, 1)
    image = read(Volume(array, np.eye(4)))
    assert image.get_data_dtype() == np.float32
    assert np.asarray(image.dataobj).max() == 2**40


def test_colors_are_rgb_and_time_is_the_fourth_axis():
    colors = np.random.default_rng(0).integers(0, 256, (3, 6, 5, 1), np.uint8)
    image = read(Volume(colors, np.eye(4), SeriesInfo(channels="color")))
    voxels = np.asarray(image.dataobj)
    for channel, name in enumerate("RGB"):
        assert np.array_equal(voxels[name], colors[channel])
    series = read(Volume(np.zeros((7, 4, 4, 2), np.int16), np.eye(4), SeriesInfo(channels="time")))
    assert series.shape == (4, 4, 2, 7)


def test_half_the_size_lies_where_the_whole_does():
    array = np.arange(6 * 5 * 1, dtype=np.int16).reshape(1, 6, 5, 1)
    whole = Volume(array, AFFINE)
    half = half_size(whole)
    assert half.shape == (3, 3, 1)
    for i, j in ((0, 0), (2, 1), (1, 2)):
        assert half.array[0, i, j, 0] == array[0, 2 * i, 2 * j, 0]
        place = half.affine @ [i, j, 0, 1]
        np.testing.assert_allclose(place, AFFINE @ [2 * i, 2 * j, 0, 1])
    assert not is_large(whole)
    assert is_large(Volume(np.broadcast_to(np.int16(0), (1, 512, 512, 300)), np.eye(4)))


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64, np.float32])
def test_labels_are_numbered_as_they_are_named(kind):
    array = np.array([0, 7, 100, 7, 3, 0], kind).reshape(1, 6, 1, 1)
    found = label_map(Volume(array, AFFINE), [100, 7])
    assert found.array.dtype == np.uint8
    assert found.array.ravel().tolist() == [0, 2, 1, 2, 0, 0]  # 3 has no name
    assert np.array_equal(found.affine, AFFINE)
    assert not label_map(Volume(array, AFFINE), []).array.any()


def test_what_is_no_number_is_no_label():
    array = np.array([np.nan, 1.5, 12_101, -1], np.float32).reshape(1, 4, 1, 1)
    assert label_map(Volume(array, AFFINE), [12_101, 1]).array.ravel().tolist() == [0, 0, 1, 0]
    many = label_map(Volume(array, AFFINE), [*range(1, 300), 12_101])
    assert many.array.dtype == np.uint16
    assert many.array.max() == 300


def test_segments_become_one_map_and_the_later_covers_the_earlier():
    array = np.zeros((3, 4, 1, 1), np.uint8)
    array[0, :3], array[1, 2:], array[2, 3] = 1, 1, 1
    info = SeriesInfo(channels="segment")
    found = label_map(Volume(array, AFFINE, info), [2, 1, 3])
    assert found.array.ravel().tolist() == [2, 2, 1, 3]
    assert found.info.channels == ""


def test_windows_are_those_of_the_modality():
    ct = Volume(np.full((1, 4, 4, 4), -50, np.int16), np.eye(4), SeriesInfo("CT", unit="HU"))
    found = windows_of(ct)
    assert next(iter(found)) == "Default window"
    assert found["Lung"] == Window(-600, 1500)
    assert (found["Brain"].low, found["Brain"].high) == (0, 80)
    mr = Volume(np.arange(64, dtype=np.float32).reshape(1, 4, 4, 4), np.eye(4))
    found = windows_of(mr)
    assert list(found) == ["Default window", "All values"]
    assert (found["All values"].low, found["All values"].high) == (0, 63)
    flat = Volume(np.full((1, 4, 4, 4), np.nan, np.float32), np.eye(4))
    assert list(windows_of(flat)) == ["Default window", "All values"]
    colors = Volume(np.zeros((3, 4, 4, 1), np.uint8), np.eye(4), SeriesInfo(channels="color"))
    assert list(windows_of(colors)) == ["Default window"]


def test_a_film_has_one_plane_and_a_scan_none_of_its_own():
    film = Volume(np.zeros((1, 30, 20, 1), np.uint8), np.diag([-1.0, 1, 1, 1])[:, [0, 2, 1, 3]])
    assert flat_plane(film).name == "coronal"
    assert flat_plane(Volume(np.zeros((1, 30, 20, 1), np.uint8), np.eye(4))).name == "axial"
    assert flat_plane(Volume(np.zeros((1, 30, 20, 9), np.uint8), np.eye(4))) is None
