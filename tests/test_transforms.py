"""Preprocess and invert: onto the model's grid and exactly back."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from grids import labels_of

from medvision.errors import GeometryError, SpecError
from medvision.geometry import check_affine, to_voxel, to_world
from medvision.inference_spec import Sampling
from medvision.intensity_spec import Intensity
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.spec import InputSpec, ModelSpec
from medvision.transforms import (
    Grid,
    antialias,
    block_around,
    coverage,
    gaussian_blur,
    preprocess,
    resample,
    scale_intensity,
    warn_of_gaps,
)
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
    prepared = preprocess({"image": turned}, SPEC)
    assert prepared.exact
    straight = preprocess({"image": image}, SPEC)
    assert torch.equal(prepared.tensor, straight.tensor)
    assert np.array_equal(labels_of(logits_of(prepared), prepared, SPEC), truth.array[0])


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
    prepared = preprocess({"image": image}, SPEC)
    found = labels_of(logits_of(prepared), prepared, SPEC)
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
        preprocess({"image": Volume(np.full((1, 5, 5, 5), 7.0), np.eye(4))}, SPEC)
    with pytest.raises(SpecError, match="no finite"):
        preprocess({"image": Volume(np.full((1, 5, 5, 5), np.nan), np.eye(4))}, SPEC)
    with pytest.raises(SpecError, match="one channel"):
        preprocess({"image": Volume(np.zeros((3, 5, 5, 5)), np.eye(4))}, SPEC)


PAIR = replace(SPEC, inputs=(InputSpec("t1"), InputSpec("flair")))


def bump(shape, affine, center=BALL.center_mm, sigma=5.0):
    """A smooth landmark in the world: its brightest point is `center`, wherever the voxels lie."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    far2 = ((to_world(affine, index) - center) ** 2).sum(axis=-1)  # mm²
    return Volume((100 * np.exp(-far2 / (2 * sigma**2))).astype(np.float32)[None], affine)


def landmark(channel):
    """The center of what is bright, in voxels of the model's grid, (3,)."""
    weight = (channel - channel.max() / 2).clamp_min(0).double()
    axes = [torch.arange(n).double() for n in channel.shape]
    index = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    return ((index * weight[..., None]).sum(dim=(0, 1, 2)) / weight.sum()).numpy()


@pytest.mark.parametrize("reference", [(0, (1, 1, 1)), (3, (0.8, 1.2, 2)), (30, (1.1, 0.9, 1))])
@pytest.mark.parametrize("other", [(0, (2, 0.7, 1.5)), (25, (0.9, 0.9, 3)), (-50, (1.3, 1, 0.8))])
@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SPR"])
def test_a_landmark_of_both_inputs_lies_in_one_place(reference, other, orientation):
    shape = (60, 66, 48)
    first = bump(shape, check_affine(turned_affine(*reference, shape=shape)))
    center = (1.0, 2.0, 1.0)  # the two scans are not of the same field of view either
    second = bump((50, 70, 40), check_affine(turned_affine(*other, center, (50, 70, 40))))
    prepared = preprocess({"t1": first, "flair": second.reoriented(orientation)}, PAIR)
    assert prepared.tensor.shape == (2, *prepared.grid.shape)
    true = to_voxel(prepared.grid.affine, BALL.center_mm)
    for channel in prepared.tensor:
        assert np.abs(landmark(channel) - true).max() < 0.1


def test_inputs_of_one_grid_are_never_interpolated():
    rng = np.random.default_rng(0)
    affine = turned_affine(0, (1, 1, 1))
    first, second = (Volume(rng.random((1, 20, 24, 18)), affine).reoriented("LIP") for _ in "ab")
    both = preprocess({"flair": second, "t1": first}, PAIR)  # channels follow the spec
    assert both.exact
    for channel, volume in zip(both.tensor, (first, second), strict=True):
        assert torch.equal(channel, preprocess({"image": volume}, SPEC).tensor[0])


def test_each_input_is_scaled_on_its_own():
    rng = np.random.default_rng(0)
    affine = turned_affine(0, (1, 1, 1))
    first = Volume(rng.normal(0, 1, (1, 20, 20, 20)), affine)
    second = Volume(rng.normal(5000, 300, (1, 20, 20, 20)), affine)
    tensor = preprocess({"t1": first, "flair": second}, PAIR).tensor
    assert tensor.mean(dim=(1, 2, 3)).tolist() == pytest.approx([0, 0], abs=1e-3)
    assert tensor.std(dim=(1, 2, 3)).tolist() == pytest.approx([1, 1], abs=0.05)


def test_the_mask_of_two_inputs_lies_on_the_first():
    shape = (60, 66, 48)
    first, mask = ellipsoid_phantom(shape, turned_affine(20, (1, 1, 1), shape=shape), [BALL])
    coarse = turned_affine(0, (2, 2, 2), shape=(32, 32, 32))
    second, _ = ellipsoid_phantom((32, 32, 32), coarse, [BALL])
    prepared = preprocess({"t1": first, "flair": second}, PAIR)
    found = labels_of(logits_of(prepared), prepared, SPEC)
    assert found.shape == shape
    truth = mask.array[0] > 0
    assert 2 * (found.astype(bool) & truth).sum() / (found.sum() + truth.sum()) > 0.95


def shifted(shift_mm, side=20):
    affine = np.eye(4)
    affine[0, 3] = shift_mm
    return Volume(np.random.default_rng(0).random((1, side, side, side)), affine)


@pytest.mark.parametrize(("shift", "share"), [(0, 1.0), (5, 0.75), (12, 0.4), (-19, 0.05)])
def test_coverage_is_the_shared_part_of_the_reference(shift, share):
    first, second = shifted(0), shifted(shift)
    assert coverage(second, Grid(first.shape, first.affine)) == pytest.approx(share)
    said = warn_of_gaps({"t1": first, "flair": second})
    assert said == (
        [] if share > 0.5 else [f"flair covers {share:.0%} of t1: the rest repeats its border"]
    )


def test_an_input_beside_the_reference_is_refused():
    with pytest.raises(GeometryError, match=r"flair does not overlap t1: flair spans 30:50,"):
        preprocess({"t1": shifted(0), "flair": shifted(30)}, PAIR)
    with pytest.raises(SpecError, match="missing: flair"):
        preprocess({"t1": shifted(0)}, PAIR)
    with pytest.raises(SpecError, match="flair: The model takes one channel; this image has 2"):
        two = Volume(np.zeros((2, 20, 20, 20)), np.eye(4))
        preprocess({"t1": shifted(0), "flair": two}, PAIR)


def test_a_block_around_a_grid_holds_it_and_stays_in_place():
    volume = bump((60, 66, 48), check_affine(turned_affine(20, (0.8, 1.2, 1), shape=(60, 66, 48))))
    grid = Grid((9, 7, 11), check_affine(turned_affine(0, (1, 1, 1), (2, -3, 5), (9, 7, 11))))
    block = block_around(volume, grid)
    assert block.array.size < volume.array.size / 20
    image, part = (torch.from_numpy(v.array).double() for v in (volume, block))
    same = resample(part, block.affine, grid)
    assert torch.allclose(same, resample(image, volume.affine, grid), atol=1e-6)


def test_a_fitted_volume_keeps_its_shape_in_the_world():
    spec = replace(SPEC, spacing=None)
    shape, affine = (30, 40, 12), np.diag([1.0, 1, 3, 1])
    volume = bump(shape, affine, (14.5, 19.5, 16.5), sigma=6)
    for orientation in ("RAS", "LPS", "SAL"):
        prepared = preprocess({"image": volume.reoriented(orientation)}, spec)
        assert prepared.tensor.shape == (1, 16, 16, 16)
        spacing = np.linalg.norm(prepared.grid.affine[:3, :3], axis=0)
        assert np.allclose(spacing, 2.5)  # 40 mm in 16
        assert np.allclose(to_world(prepared.grid.affine, (7.5, 7.5, 7.5)), (14.5, 19.5, 16.5))
        assert np.allclose(landmark(prepared.tensor[0]), 7.5, atol=0.1)


def checkerboard(shape):
    index = np.indices(shape).sum(axis=0) % 2
    return torch.from_numpy(index.astype(np.float32))[None]


@pytest.mark.parametrize("factor", [2.0, 3.0, 4.7])
def test_a_checkerboard_seen_coarsely_is_gray(factor):
    image, affine = checkerboard((48, 48, 48)), np.eye(4)
    grid = Grid((9, 9, 9), check_affine(turned_affine(0, (factor,) * 3, (23,) * 3, (9, 9, 9))))
    assert (resample(image, affine, grid) - 0.5).abs().max() > 0.4  # black or white by chance
    smooth = resample(antialias(image, affine, grid), affine, grid)
    assert torch.allclose(smooth, torch.full_like(smooth, 0.5), atol=0.02)


def test_smoothing_keeps_means_and_places_and_coarse_axes():
    volume = bump((40, 40, 40), check_affine(turned_affine(0, (1, 1, 1))), (0, 0, 0), sigma=3.0)
    image = torch.from_numpy(volume.array)
    coarse = Grid((20, 20, 40), check_affine(np.diag([2.0, 2, 1, 1])))
    smooth = antialias(image, volume.affine, coarse)
    assert smooth.sum() == pytest.approx(float(image.sum()), rel=1e-4)
    assert np.allclose(landmark(smooth[0]), 19.5, atol=1e-3)
    spread = [float(one.sum(dim=(0, 1, 2)).std()) for one in (image, smooth)]
    assert spread[0] == pytest.approx(spread[1], rel=1e-4)  # along k nothing is smoothed
    assert float(smooth.max()) < 0.95 * float(image.max())
    fine = Grid((80, 80, 80), check_affine(np.diag([0.5, 0.5, 0.5, 1])))
    assert antialias(image, volume.affine, fine) is image


def test_smoothing_follows_turned_axes():
    image = torch.rand(1, 12, 12, 12)
    affine = np.array([[0, 1.0, 0, 0], [2, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    smooth = antialias(image, np.eye(4), Grid((6, 12, 12), check_affine(affine)))
    sigma = 3**0.5 / (2 * (2 * np.log(2)) ** 0.5)  # the new i, 2 mm wide, runs along the old j
    assert torch.allclose(smooth, gaussian_blur(image, [0, sigma, 0]))
    assert not torch.allclose(smooth, image, atol=0.1)


@pytest.mark.parametrize("spacing", [(1.5, 1.5, 2.0), (0.7, 3.1, 0.9)])
def test_with_centers_in_place_a_scan_is_sampled_as_monai_does(spacing):
    from monai.data import MetaTensor
    from monai.transforms import Orientation, Spacing

    affine = turned_affine(0, (0.9, 1.3, 2.5), shape=(40, 44, 17)) @ np.diag([-1, 1, -1, 1])
    image, _ = ellipsoid_phantom((40, 44, 17), affine, [BALL], noise=1)
    image = image.with_array(image.array.astype(np.float32))
    upright = Orientation("RAS", labels=None)(MetaTensor(image.array, torch.tensor(affine)))
    theirs = Spacing(spacing)(upright)
    rule = Intensity("window", low=-1e4, high=1e4)
    spec = replace(
        SPEC,
        spacing=spacing,
        inputs=(InputSpec(intensity=rule),),
        sampling=Sampling(ends="centers", antialias=False),
    )
    ours = preprocess({"image": image}, spec)
    assert ours.tensor.shape == theirs.shape
    assert np.allclose(ours.grid.affine, theirs.affine)
    assert torch.allclose(ours.tensor * 1e4, theirs.as_tensor(), atol=0.1)


def test_a_scan_is_scaled_after_it_is_sampled_where_the_spec_says_so():
    spec = replace(
        SPEC,
        spacing=(2.0, 2.0, 2.0),
        inputs=(InputSpec(intensity=Intensity("window", low=0, high=50)),),
        sampling=Sampling(scale="after", antialias=False),
    )
    image, _ = ellipsoid_phantom((40, 44, 36), np.eye(4), [BALL], noise=1)
    image.array[0, 0, 0, 0] = np.nan
    filled = image.with_array(np.nan_to_num(image.array, nan=float(np.nanmin(image.array))))
    ours = preprocess({"image": image}, spec)
    sampled = resample(torch.from_numpy(filled.array), filled.affine, ours.grid)
    assert torch.allclose(ours.tensor, (sampled.clamp(0, 50) - 25) / 25, atol=1e-5)
    before = preprocess({"image": image}, replace(spec, sampling=Sampling(antialias=False)))
    assert (ours.tensor - before.tensor).abs().max() > 0.1
