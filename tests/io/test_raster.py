"""PNG and JPEG: one slice without millimeters."""

import numpy as np
import pytest
from PIL import Image

from medvision.errors import DecodeError, GeometryError, SpecError
from medvision.io import read_study, read_volume


def test_columns_and_rows_are_the_first_two_axes(tmp_path):
    plane = np.arange(12, dtype=np.uint8).reshape(3, 4)  # 3 rows, 4 columns
    Image.fromarray(plane).save(tmp_path / "a.png")
    found = read_volume(tmp_path / "a.png")
    assert found.array.shape == (1, 4, 3, 1)
    assert found.array[0, 3, 1, 0] == plane[1, 3]
    assert not found.info.spacing_known
    assert found.orientation == "LIA"


def test_sixteen_bits_are_kept(tmp_path):
    plane = np.array([[0, 60_000], [1, 2]], dtype=np.uint16)
    Image.fromarray(plane).save(tmp_path / "a.png")
    found = read_volume(tmp_path / "a.png").array
    assert found.dtype == np.uint16
    assert np.array_equal(found[0, :, :, 0].T, plane)


def test_color_is_channels_and_gray_in_color_is_gray(tmp_path):
    color = np.zeros((3, 4, 3), np.uint8)
    color[..., 1] = 7
    Image.fromarray(color).save(tmp_path / "color.png")
    found = read_volume(tmp_path / "color.png")
    assert found.array.shape == (3, 4, 3, 1)
    assert (found.array[1] == 7).all()
    assert found.info.channels == "color"
    Image.fromarray(np.full((3, 4, 3), 9, np.uint8)).save(tmp_path / "gray.png")
    assert read_volume(tmp_path / "gray.png").array.shape == (1, 4, 3, 1)


def test_alpha_and_palettes_are_resolved(tmp_path):
    Image.new("LA", (4, 3), (9, 128)).save(tmp_path / "la.png")
    assert (read_volume(tmp_path / "la.png").array == 9).all()
    Image.new("RGB", (4, 3), (5, 6, 7)).quantize(4).save(tmp_path / "p.png")
    assert read_volume(tmp_path / "p.png").array[:, 0, 0, 0].tolist() == [5, 6, 7]


def test_exif_rotation_is_applied(tmp_path):
    plane = np.zeros((8, 16), np.uint8)
    plane[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to show
    Image.fromarray(plane).save(tmp_path / "a.jpg", exif=exif, quality=95)
    found = read_volume(tmp_path / "a.jpg")
    assert found.shape == (8, 16, 1)
    assert found.array[0, 4, 2, 0] > 200 > 50 > found.array[0, 4, 13, 0]


@pytest.mark.parametrize("name", ["empty.png", "text.png", "short.png", "short.jpg"])
def test_damaged_pictures_are_refused_by_name(tmp_path, name):
    path = tmp_path / name
    if name == "empty.png":
        path.touch()
    elif name == "text.png":
        path.write_text("this is no picture")
    else:
        noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DecodeError, match=name):
        read_volume(path)


def test_a_picture_has_no_volume_in_milliliters(tmp_path):
    from medvision.predictor import load_predictor

    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(tmp_path / "a.png")
    study = read_study(tmp_path / "a.png")
    assert study.image.spacing == (1, 1, 1)
    with pytest.raises((SpecError, GeometryError), match="without a known voxel size"):
        load_predictor("hippocampus", "cpu").predict(study)
