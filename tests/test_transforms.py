"""Preprocess and invert: onto the model's grid and exactly back."""

import numpy as np
import pytest
import torch

from medvision.errors import SpecError
from medvision.geometry import check_affine, to_voxel, to_world
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.spec import Intensity, ModelSpec
from medvision.transforms import Grid, invert, preprocess, resample, scale_intensity
from medvision.volume import Volume

SPEC = ModelSpec("m", "segmentation", "unet3d", ("ball",), (1, 1, 1), (16, 16, 16))
BALL = Ellipsoid((2.0, -3.0, 5.0), (9.0, 7.0, 6.0))


def turned_affine(degrees, spacing, center=(0, 0, 0), shape=(40, 40, 40)):
    """A grid turned about z, centered on `center`."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    affine[:2, :2] = [[c, -s], [s, c]]
    affine = affine @ np.diag([*spacing, 1.0])
    affine[:3, 3] = np.array(center) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def logits_of(prepared):
    """A network that knows the ball: it looks for brightness above the middle."""
    low, high = prepared.tensor.min(), prepared.tensor.max()
    bright = (prepared.tensor[0] - low) / (high - low)
    return torch.stack([1 - bright, bright]) * 4


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SAR", "PIR", "AIL"])
def test_flips_and_permutations_are_undone_to_the_voxel(orientation):
    image, mask = ellipsoid_phantom((40, 44, 36), turned_affine(0, (1, 1, 1)), [BALL], noise=1)
    turned, truth = image.reoriented(orientation), mask.reoriented(orientation)
    prepared = preprocess(turned, SPEC)
    assert prepared.exact
    straight = preprocess(image, SPEC)
    assert torch.equal(prepared.tensor, straight.tensor)
    assert np.array_equal(invert(logits_of(prepared), prepared), truth.array[0])


@pytest.mark.parametrize(
    ("degrees", "spacing", "dice"),
    [
        (0, (0.7, 0.7, 2.5), 0.93),
        (25, (0.8, 0.8, 0.8), 0.97),
        (40, (1, 1, 1), 0.95),
        (3, (1.2, 0.9, 1), 0.96),
    ],
)
def test_other_grids_come_back_in_place(degrees, spacing, dice):
    shape = (60, 60, 50)
    image, mask = ellipsoid_phantom(shape, turned_affine(degrees, spacing, shape=shape), [BALL])
    prepared = preprocess(image, SPEC)
    found = invert(logits_of(prepared), prepared)
    assert found.shape == shape
    assert not prepared.exact
    truth = mask.array[0] > 0
    assert 2 * (found.astype(bool) & truth).sum() / (found.sum() + truth.sum()) >= dice
    center = to_world(image.affine, np.argwhere(found).mean(axis=0))
    assert np.allclose(center, BALL.center_mm, atol=0.3)


def test_resampling_follows_the_world():
    affine = check_affine(turned_affine(20, (1.5, 1, 2)))
    index = np.stack(np.meshgrid(*[np.arange(n) for n in (30, 40, 20)], indexing="ij"), axis=-1)
    ramp = to_world(affine, index) @ [1.0, -2.0, 0.5]  # linear in the world
    grid = Grid(
        (7, 6, 5),
        check_affine(turned_affine(-10, (1, 1, 1), to_world(affine, (15, 20, 10)), (7, 6, 5))),
    )
    found = resample(torch.from_numpy(ramp)[None], affine, grid)[0].numpy()
    where = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    assert (to_voxel(affine, to_world(grid.affine, where)) >= 0).all()
    assert np.allclose(found, to_world(grid.affine, where) @ [1.0, -2.0, 0.5], atol=1e-9)


def test_zscore_has_mean_zero_and_spread_one():
    image = torch.from_numpy(np.random.default_rng(0).normal(300, 40, (1, 30, 30, 30)))
    scaled = scale_intensity(image.float(), Intensity(percentiles=(0, 100)))
    assert scaled.mean().item() == pytest.approx(0, abs=1e-4)
    assert scaled.std().item() == pytest.approx(1, abs=1e-4)


def test_window_maps_its_ends_to_one():
    image = torch.tensor([-2000.0, -100, 100, 300, 4000]).reshape(1, 5, 1, 1)
    scaled = scale_intensity(image, Intensity("window", low=-100, high=300))
    assert scaled.flatten().tolist() == [-1, -1, 0, 1, 1]


def test_voxels_that_are_not_finite_become_the_lowest():
    image = torch.rand(1, 8, 8, 8)
    image[0, 0, 0] = torch.nan
    scaled = scale_intensity(image, Intensity())
    assert scaled.isfinite().all()
    assert scaled[0, 0, 0, 0] == scaled.min()


def test_images_that_show_nothing_are_refused():
    with pytest.raises(SpecError, match="constant"):
        preprocess(Volume(np.full((1, 5, 5, 5), 7.0), np.eye(4)), SPEC)
    with pytest.raises(SpecError, match="no finite"):
        preprocess(Volume(np.full((1, 5, 5, 5), np.nan), np.eye(4)), SPEC)
    with pytest.raises(SpecError, match="one channel"):
        preprocess(Volume(np.zeros((3, 5, 5, 5)), np.eye(4)), SPEC)
