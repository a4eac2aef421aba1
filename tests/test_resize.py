"""One matrix an axis gives what skimage and MONAI give."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Spacing

from medvision.geometry import check_affine
from medvision.inference_spec import Sampling
from medvision.intensity_spec import Intensity
from medvision.resize import resize
from medvision.spec import InputSpec, ModelSpec
from medvision.transforms import model_grid, preprocess
from medvision.volume import Volume

SHAPES = [(20, 15, 9), (30, 40, 20), (17, 10, 5)]
FIXED = InputSpec(intensity=Intensity("fixed", clip=False))


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", [0, 1, 3])
def test_edges_in_place_as_in_skimage(shape, order):
    transform = pytest.importorskip("skimage.transform", reason="needs scikit-image")
    image = noise(2, 17, 23, 9)
    theirs = [
        transform.resize(one, shape, order, mode="edge", anti_aliasing=False) for one in image
    ]
    mine = resize(torch.from_numpy(image), shape, order).numpy()
    assert np.abs(mine - np.stack(theirs)).max() < 1e-5


def test_a_thick_axis_takes_whole_slices_and_each_keeps_its_range():
    image = torch.from_numpy(noise(1, 12, 14, 5))
    found = resize(image, (18, 21, 10), 3, thick=2)
    assert torch.equal(found[..., 0::2], found[..., 1::2])
    assert (found[..., ::2].amax(dim=(1, 2)) <= image.amax(dim=(1, 2))).all()


def test_an_image_of_the_same_shape_is_itself():
    image = torch.from_numpy(noise(1, 6, 7, 8))
    assert resize(image, (6, 7, 8), 3) is image


def test_the_first_center_stays_in_place_as_in_monai():
    affine = np.diag([1.3, 0.9, 2.0, 1.0])
    affine[:3, 3] = 5, -3, 11
    volume = Volume(noise(1, 21, 30, 12), check_affine(affine))
    sampling = Sampling(antialias=False, ends="centers")
    spec = ModelSpec(
        "m", "segmentation", "unet3d", ("a",), (1, 1, 1), (16, 16, 16), inputs=(FIXED,),
        sampling=sampling,
    )  # fmt: skip
    theirs = Spacing((1, 1, 1))(MetaTensor(torch.from_numpy(volume.array), affine=affine))
    mine = preprocess({"image": volume}, spec)
    assert mine.tensor.shape == theirs.shape
    assert np.allclose(mine.grid.affine, theirs.affine)
    assert np.abs(mine.tensor.numpy() - theirs.numpy()).max() < 1e-4


def test_what_is_zero_all_around_is_not_seen():
    array = np.zeros((1, 20, 18, 16), np.int16)
    array[0, 3:15, 4:17, 2:9] = 7
    array[0, 8, 8, 5] = 0  # a hole is inside
    array[0, 9, 9, 6] = 9
    affine = np.diag([-1.0, 1.0, 2.0, 1.0])
    volume = Volume(array, check_affine(affine))
    inside = InputSpec(intensity=Intensity(percentiles=(0, 100), inside="filled"))
    spec = ModelSpec(
        "m", "segmentation", "unet3d", ("a",), (2, 1, 1), (16, 16, 16), orientation="KJI",
        inputs=(inside,), sampling=Sampling(3, antialias=False, crop="nonzero"),
    )  # fmt: skip
    prepared = preprocess({"image": volume}, spec)
    assert prepared.region == (slice(3, 15), slice(4, 17), slice(2, 9))
    assert prepared.seen.shape == (12, 13, 7)
    assert prepared.tensor.shape == (1, 7, 13, 12)
    assert prepared.exact
    assert prepared.grid.affine @ (0, 0, 0, 1) == pytest.approx([-3, 4, 4, 1])
    values = array[array > 0].astype(float)
    values = np.append(values, 0)  # the hole
    expected = (array[0, 3:15, 4:17, 2:9] - values.mean()) / values.std()
    assert np.allclose(prepared.tensor[0].numpy(), expected.transpose(2, 1, 0), atol=1e-5)


def test_planes_keep_the_distance_that_a_scan_has():
    spec = ModelSpec(
        "m", "segmentation", "unet2d", ("a",), (2, 1, 0), (16, 16, 1), orientation="JIK"
    )
    volume = Volume(noise(1, 20, 18, 7), check_affine(np.diag([1.0, 1.0, 3.3, 1.0])))
    grid, exact = model_grid(volume, spec)
    assert grid.shape == (9, 20, 7)
    assert not exact
    assert np.allclose(np.linalg.norm(grid.affine[:3, :3], axis=0), (2, 1, 3.3))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Intensity("fixed", low=-1, high=2, mean=1, std=2), [-1, -0.5, 0, 0.5, 0.5]),
        (Intensity("fixed", mean=1, std=2, clip=False), [-1.5, -0.5, 0, 0.5, 1.5]),
        (Intensity("range", percentiles=(0, 100), to=(-1, 1)), [-1, -1 / 3, 0, 1 / 3, 1]),
    ],
)
def test_what_the_rules_say(rule, expected):
    array = np.array([-2, 0, 1, 2, 4], np.int16).reshape(1, 5, 1, 1)
    spec = ModelSpec(
        "m", "segmentation", "unet3d", ("a",), (1, 1, 1), (16, 16, 16),
        inputs=(InputSpec(intensity=rule),),
    )  # fmt: skip
    found = preprocess({"image": Volume(array, check_affine(np.eye(4)))}, spec).tensor
    assert found.flatten().tolist() == pytest.approx(expected, abs=1e-6)
