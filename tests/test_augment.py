"""Random changes of patches, intensity and space."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator

from medvision.augment import (
    Window,
    block_of,
    random_center,
    random_intensity,
    random_matrix,
    random_patch,
    random_warp,
    sampled,
)
from medvision.train_config import Augment
from medvision.transforms import sample_at

STILL = Augment(
    flip=0, still=1, shift=0, warp=0, gamma=0, bias=0, level=0, blur=0, coarse=0, noise=0
)
INTENSITY = ("gamma", "bias", "level", "blur", "coarse", "noise")


def seeded(number):
    return Generator().manual_seed(number)


def test_nothing_asked_for_cuts_the_window_as_it_is():
    image, labels = torch.rand(2, 20, 22, 18), torch.randint(3, (20, 22, 18))
    window = Window((8, 10, 6), (1, 1, 1), (0, 1, 2))
    center = torch.tensor([7.5, 8.5, 9.5])
    patch, cut = random_patch(image, labels, 3, window, center, seeded(0), STILL)
    assert torch.allclose(patch, image[:, 4:12, 4:14, 7:13], atol=1e-5)
    assert torch.equal(cut, labels[4:12, 4:14, 7:13])


def test_beyond_the_image_its_border_is_repeated():
    image = torch.arange(4.0).reshape(1, 4, 1, 1).expand(1, 4, 4, 4)
    window = Window((8, 4, 4), (1, 1, 1))
    patch, _ = random_patch(image, None, 1, window, torch.full((3,), 1.5), seeded(0), STILL)
    assert torch.allclose(patch[0, :, 0, 0], torch.tensor([0.0, 0, 0, 1, 2, 3, 3, 3]), atol=1e-5)


def test_coarse_images_stay_where_their_labels_are():
    """Sampled down and up again, a ramp is the same ramp: nothing has moved."""
    only = Augment(gamma=0, bias=0, level=0, blur=0, coarse=1.0, noise=0)
    ramp = torch.arange(40.0).expand(1, 36, 38, 40)
    moved = [(random_intensity(ramp, seeded(n), only) - ramp)[..., 8:32].mean() for n in range(20)]
    assert max(abs(float(m)) for m in moved) < 0.01


@pytest.mark.parametrize("one", INTENSITY)
def test_each_change_of_intensity_changes_and_keeps_numbers(one):
    only = replace(STILL, **{one: 1.0})
    image = torch.randn(1, 12, 14, 10, generator=seeded(0))
    changed = random_intensity(image, seeded(1), only)
    assert changed.shape == image.shape
    assert changed.isfinite().all()
    assert not torch.allclose(changed, image, atol=1e-3)
    constant = torch.full((1, 6, 6, 1), 2.0)  # an empty plane must not divide by zero
    assert random_intensity(constant, seeded(1), only).isfinite().all()
    assert torch.equal(random_intensity(image, seeded(1), STILL), image)


def test_channels_change_by_themselves_in_intensity_and_together_in_space():
    one = torch.rand(1, 16, 16, 16, generator=seeded(0))
    image, window = torch.cat([one, one]), Window((16, 16, 16), (1, 1, 1), (0,))
    center = torch.full((3,), 7.5)
    how = replace(Augment(), still=0, **dict.fromkeys(INTENSITY, 0.0))
    patch, _ = random_patch(image, None, 1, window, center, seeded(3), how)
    assert torch.equal(patch[0], patch[1])
    assert not torch.allclose(patch[0], one[0], atol=0.1)
    patch, _ = random_patch(image, None, 1, window, center, seeded(3), replace(STILL, noise=1))
    assert not torch.allclose(patch[0], patch[1], atol=0.01)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(1, 1, 3.5), (0.5, 2, 1), (1, 1, 1)]))
def test_rotations_are_rigid_in_the_world(seed, spacing):
    how = replace(STILL, still=0, rotate=40, scale=0, shear=0)
    matrix = random_matrix(Window((9, 9, 9), spacing), seeded(seed), how)
    mm = torch.tensor(spacing, dtype=torch.float32)
    world = matrix * mm[:, None] / mm  # patch offsets to image offsets, both in mm
    assert torch.allclose(world @ world.T, torch.eye(3), atol=1e-5)
    assert torch.det(world) == pytest.approx(1, abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_scales_stay_within_their_range(seed):
    how = replace(STILL, still=0, rotate=0, scale=0.25, shear=0)
    matrix = random_matrix(Window((9, 9, 9), (1, 1, 2)), seeded(seed), how)
    scales = matrix.diag()
    assert torch.equal(matrix, torch.diag(scales))
    assert scales.min() >= 1 / 1.25 - 1e-5
    assert scales.max() <= 1.25 + 1e-5


def test_mirroring_happens_as_often_as_asked():
    window, how = Window((8, 8, 8), (1, 1, 1), (1,)), replace(STILL, flip=0.25)
    signs = [random_matrix(window, seeded(n), how).diag() for n in range(400)]
    mirrored = torch.stack(signs) < 0
    assert not mirrored[:, [0, 2]].any()
    assert float(mirrored[:, 1].float().mean()) == pytest.approx(0.25, abs=0.07)


@pytest.mark.parametrize("seed", range(6))
def test_a_2d_window_never_mixes_planes(seed):
    planes = torch.arange(7.0).expand(1, 30, 28, 7)
    labels = (planes[0] % 3).long()
    window = Window((16, 12, 1), (1, 1, 5), (0, 1, 2))
    how = replace(Augment(flip=0.5), still=0, warp=4.0, **dict.fromkeys(INTENSITY, 0.0))
    center = torch.tensor([15.0, 14, 4.3])
    patch, cut = random_patch(planes, labels, 3, window, center, seeded(seed), how)
    assert patch.shape == (1, 16, 12, 1)
    assert torch.allclose(patch, torch.full_like(patch, 4.0))
    assert (cut == 1).all()


def test_a_warp_is_smooth_and_as_wide_as_asked():
    fields = [random_warp((20, 24, 16), 2.0, seeded(n)) for n in range(60)]
    moved = [f for f in fields if f.abs().max() > 0]
    assert 15 <= len(moved) <= 45  # half of the time
    corners = torch.stack([f[::19, ::23, ::15] for f in moved])  # control points lie there
    assert float(corners.std()) == pytest.approx(2.0, rel=0.15)
    steps = max(float((f[1:] - f[:-1]).abs().max()) for f in moved)
    assert steps < 4 * 2.0 * 2**0.5 / (19 / 4)  # voxels from one voxel to the next


def test_a_block_gives_what_the_whole_image_gives():
    image = torch.rand(2, 20, 15, 9, generator=seeded(0))
    where = torch.rand(4, 5, 6, 3, generator=seeded(1)) * torch.tensor([30.0, 6, 4])
    where -= torch.tensor([5.0, 2, 1])  # partly beyond the image
    block, places = block_of(where, image.shape[1:])
    found = sample_at(image[(slice(None), *block)][None], places)
    whole = ((2 * where + 1) / torch.tensor([20.0, 15, 9]) - 1).flip(-1)[None]
    assert torch.allclose(found, sample_at(image[None], whole), atol=1e-5)
    assert math.prod(s.stop - s.start for s in block) < 20 * 15 * 9 / 2


@pytest.mark.parametrize("seed", range(6))
def test_labels_are_those_with_the_most_share_beyond_the_image_too(seed):
    rng = seeded(seed)
    coarse = torch.randint(4, (1, 1, 5, 4, 3), generator=rng).float() * (seed < 4)
    labels = F.interpolate(coarse, scale_factor=4, mode="nearest")[0, 0].to(torch.uint8)
    labels[: 5 * (seed % 2)] = 0  # structures reach the border, or not on every side
    shape = torch.tensor(labels.shape)
    where = (torch.rand(9, 8, 7, 3, generator=rng) * 1.4 - 0.2) * shape
    _, cut = sampled(torch.zeros(1, *labels.shape), labels, 4, where)
    hot = F.one_hot(labels.long(), 4).movedim(-1, 0).float()
    shares = sample_at(hot[None], ((2 * where + 1) / shape - 1).flip(-1)[None])[0]
    most = shares.topk(2, dim=0)
    clear = most.values[0] - most.values[1] > 1e-4
    assert clear.float().mean() > 0.9
    assert torch.equal(cut[clear], most.indices[0][clear])


@pytest.mark.parametrize("seed", range(8))
def test_a_window_that_is_only_shifted_and_mirrored_shows_voxels_as_they_are(seed):
    image = torch.rand(1, 20, 20, 20, generator=seeded(0))
    window = Window((6, 7, 8), (1, 2, 3), (0, 1, 2))
    how = replace(STILL, flip=0.5, shift=0.4)
    patch, cut = random_patch(
        image, (image[0] > 0.5).byte(), 2, window, torch.full((3,), 9.7), seeded(seed), how
    )
    assert torch.isin(patch, image).all()
    assert torch.equal(cut, (patch[0] > 0.5).long())


SHAPES = st.tuples(*[st.integers(1, 40)] * 3)


@settings(max_examples=60, deadline=None)
@given(SHAPES, SHAPES, st.integers(0, 10_000), st.booleans())
def test_a_window_lies_inside_the_image_where_it_fits(shape, size, seed, aimed):
    voxel = torch.tensor([n - 1 for n in shape], dtype=torch.int16)  # the far corner
    center = random_center(shape, size, (voxel[None],) if aimed else (), seeded(seed))
    for place, side, n in zip(center.tolist(), size, shape, strict=True):
        low, high = place - (side - 1) / 2, place + (side - 1) / 2
        if side >= n:
            assert place == pytest.approx((n - 1) / 2, abs=1e-4)
        else:
            assert low >= -1e-4
            assert high <= n - 1 + 1e-4


def test_structures_are_chosen_equally_often():
    small, large = torch.tensor([[20, 20, 20]]), torch.full((5000, 3), 30)
    centers = [random_center((60,) * 3, (8,) * 3, (small, large), seeded(n)) for n in range(300)]
    share = float(torch.tensor([float(c[0]) == 20 for c in centers]).float().mean())
    assert share == pytest.approx(0.5, abs=0.1)
