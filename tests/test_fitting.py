"""How pictures, and scans without a voxel size, are fitted into the network's window."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from grids import labels_of

from medvision.errors import SpecError
from medvision.intensity_spec import Intensity
from medvision.spec import InputSpec, ModelSpec
from medvision.transforms import center_window, laid_flat, preprocess
from medvision.volume import SeriesInfo, Volume

PICTURE = ModelSpec(
    "p",
    "classification",
    "cnn2d",
    ("a", "b"),
    None,
    (20, 20, 1),
    orientation="LIA",
    inputs=(InputSpec(intensity=Intensity("window", low=0, high=2)),),
)


def picture(array, affine=None):
    """A picture of columns and rows; as `read_raster` lays it, unless it has an affine."""
    coronal = np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    place = coronal if affine is None else affine
    return Volume(np.asarray(array, np.float32)[None, :, :, None], place)


def shown(array, **changes):
    """What the network sees of a picture, (i, j), in the picture's own values."""
    prepared = preprocess({"image": picture(array)}, replace(PICTURE, **changes))
    return prepared.tensor[0, :, :, 0].numpy() + 1


def test_a_picture_that_fits_is_shown_pixel_by_pixel():
    array = np.random.default_rng(0).uniform(0, 2, (20, 20))
    prepared = preprocess({"image": picture(array)}, PICTURE)
    assert prepared.exact
    assert np.allclose(prepared.tensor[0, :, :, 0] + 1, array, atol=1e-6)


def test_pad_shows_the_whole_picture_and_repeats_its_border():
    array = np.zeros((40, 20))  # columns, rows
    array[:, :2], array[:, -2:] = 1, 2  # its first and last rows
    seen = shown(array)
    assert seen.shape == (20, 20)
    rows = seen.mean(axis=0)  # half as many: ten in the middle
    assert np.allclose(rows[:5], rows[0], atol=0.05)
    assert np.allclose(rows[-5:], rows[-1], atol=0.05)
    assert rows[0] == pytest.approx(1, abs=0.15)  # a little of the black beside it is mixed in
    assert rows[-1] == pytest.approx(2, abs=0.3)
    assert np.allclose(rows[8:12], 0, atol=1e-3)


def test_crop_shows_the_largest_centered_part_that_fills_the_window():
    array = np.random.default_rng(0).uniform(0, 2, (40, 20))
    assert np.allclose(shown(array, fit="crop"), array[10:30], atol=1e-6)
    tall = np.random.default_rng(0).uniform(0, 2, (20, 50))
    assert np.allclose(shown(tall, fit="crop"), tall[:, 15:35], atol=1e-6)


@pytest.mark.parametrize("fit", ["pad", "crop"])
@pytest.mark.parametrize("shape", [(20, 20), (41, 30), (19, 64), (10, 10), (200, 90)])
def test_a_mark_in_the_middle_stays_in_the_middle(fit, shape):
    axes = [np.arange(n) - (n - 1) / 2 for n in shape]
    x, y = np.meshgrid(*axes, indexing="ij")
    array = 2 * np.exp(-(x**2 + y**2) / (min(shape) / 5) ** 2)
    seen = shown(array, fit=fit)
    for axis in (0, 1):
        place = np.average(np.arange(20) - 9.5, weights=seen.sum(axis=1 - axis))
        assert place == pytest.approx(0, abs=1e-3)
    assert np.allclose(seen, seen[::-1, ::-1], atol=1e-4)


def test_a_disk_stays_round_whatever_the_shape_of_its_picture():
    x, y = np.meshgrid(np.arange(120) - 59.5, np.arange(60) - 29.5, indexing="ij")
    seen = shown(2 * (np.hypot(x, y) < 20), roi_size=(40, 40, 1))
    wide, high = seen.sum(axis=1) > 0.5, seen.sum(axis=0) > 0.5
    assert wide.sum() == high.sum() == pytest.approx(40 / 3, abs=1)


def test_planes_of_a_2d_segmentation_are_all_kept():
    spec = ModelSpec("m", "segmentation", "unet2d", ("a",), None, (8, 8, 1))
    array = np.random.default_rng(0).random((1, 16, 16, 5))
    array[..., 2] += 5
    prepared = preprocess({"image": Volume(array, np.diag([1.0, 1, 7, 1]))}, spec)
    assert prepared.tensor.shape == (1, 8, 8, 5)
    assert prepared.grid.affine[2, 2] == 7
    bright = prepared.tensor.mean(dim=(0, 1, 2))
    assert bright.argmax() == 2
    assert bright.sort().values[-2] < bright[2] - 1  # nothing of it in the planes beside
    back = labels_of(torch.stack([-prepared.tensor[0], prepared.tensor[0]]), prepared, spec)
    assert back.shape == (16, 16, 5)
    assert back[..., 2].all()


AXIAL = np.diag([-1.0, -1, 1, 1])  # where a DICOM picture without a place is laid


@pytest.mark.parametrize("orientation", ["LIA", "LPS", "PIR"])
def test_a_picture_looks_the_same_wherever_it_is_laid(orientation):
    array = np.random.default_rng(0).uniform(0, 2, (24, 30))
    spec = replace(PICTURE, orientation=orientation)
    sagittal = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    seen = [
        preprocess({"image": picture(array, affine)}, spec).tensor
        for affine in (None, AXIAL, sagittal)
    ]
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])


def test_laying_flat_keeps_rows_columns_and_pixel_size():
    array = np.random.default_rng(0).uniform(0, 2, (24, 30))
    flat = laid_flat(picture(array, AXIAL @ np.diag([0.2, 0.3, 1, 1])), PICTURE)
    assert flat.orientation == "LIA"
    assert np.allclose(flat.spacing, (0.2, 0.3, 1))
    assert np.array_equal(flat.reoriented("LIA").array[0, :, :, 0], array.astype(np.float32))
    scan = Volume(np.zeros((1, 4, 5, 6)), np.eye(4))
    assert laid_flat(scan, PICTURE) is scan
    coronal = picture(array)
    assert laid_flat(coronal, PICTURE) is coronal
    for change in ({"task": "segmentation"}, {"roi_size": (20, 20, 20)}):
        axial = picture(array, AXIAL)
        assert laid_flat(axial, replace(PICTURE, **change)) is axial


def test_what_is_no_picture_of_the_model_is_refused():
    scan = Volume(np.zeros((1, 8, 9, 5)), np.eye(4))
    with pytest.raises(SpecError, match=r"takes one picture; this scan has 9 slices .*\(LIA\)"):
        preprocess({"image": scan}, PICTURE)
    color = Volume(np.zeros((3, 8, 9, 1)), np.eye(4), SeriesInfo(channels="color"))
    with pytest.raises(SpecError, match=r"takes one channel; .* 3 channel\(s\) \(color\)"):
        preprocess({"image": color}, PICTURE)
    three = replace(PICTURE, inputs=(replace(PICTURE.inputs[0], channels=3),))
    with pytest.raises(SpecError, match=r"takes a color picture \(RGB\); this image has 1"):
        preprocess({"image": picture(np.zeros((8, 9)))}, three)
    assert preprocess({"image": color}, three).tensor.shape == (3, 20, 20, 1)


def test_channels_of_color_keep_their_order():
    spec = replace(PICTURE, inputs=(replace(PICTURE.inputs[0], channels=3),))
    array = np.stack([np.full((20, 20, 1), value) for value in (0.0, 1.0, 2.0)])
    seen = preprocess({"image": Volume(array, picture(array[0, ..., 0]).affine)}, spec).tensor
    assert seen.mean(dim=(1, 2, 3)).tolist() == [-1, 0, 1]


@pytest.mark.parametrize(("size", "side"), [(10, 4), (11, 4), (10, 5), (11, 5), (4, 4)])
def test_the_window_lies_at_the_center(size, side):
    image = torch.arange(float(size)).reshape(1, size, 1, 1)
    found = center_window(image, (side, 1, 1)).flatten()
    before, after = float(found[0]), size - 1 - float(found[-1])
    assert after - before in (0, 1)  # as even as whole voxels allow
    assert torch.equal(found, torch.arange(before, before + side))


def test_a_window_beyond_the_scan_repeats_its_border():
    image = torch.tensor([5.0, 6, 7]).reshape(1, 1, 3, 1)
    assert center_window(image, (1, 7, 1)).flatten().tolist() == [5, 5, 5, 6, 7, 7, 7]
