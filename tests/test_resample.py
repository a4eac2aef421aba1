"""Resampling: what lies at a place in the world stays there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medvision.errors import GeometryError, SpecError
from medvision.geometry import check_affine, to_voxel, to_world, voxel_mm3
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.resample import evenly_spaced, resample_to, straightened
from medvision.volume import Label, SeriesInfo, Volume

SLOPE = np.array([0.7, -1.3, 2.1])  # of a value that rises linearly through the world


def world_of(affine, shape):
    """RAS mm of every voxel, (I, J, K, 3)."""
    return to_world(affine, np.moveaxis(np.indices(shape), 0, -1))


def ramp(affine, shape):
    """A volume whose value at a place of the world is SLOPE · place + 5."""
    values = world_of(affine, shape) @ SLOPE + 5
    return Volume(values.astype(np.float32)[None], check_affine(affine))


def inside(affine, shape, volume, margin):
    """Voxels of a grid that lie in the volume, `margin` voxels from its outer centers."""
    where = to_voxel(volume.affine, world_of(affine, shape))
    return ((where >= margin) & (where <= np.array(volume.shape) - 1 - margin)).all(axis=-1)


def affine_from(numbers):
    """An affine that is no worse than a lean of about 45°, its scale between 0.5 and 2 mm."""
    matrix = np.diag([1.0, 1.2, 1.5]) + np.reshape(numbers[:9], (3, 3)) * 0.3
    return np.vstack([np.column_stack([matrix, numbers[9:]]), [0, 0, 0, 1]])


NUMBERS = st.lists(st.floats(-1, 1), min_size=12, max_size=12)


@settings(max_examples=40, deadline=None)
@given(NUMBERS, NUMBERS, st.sampled_from([1, 3]))
def test_a_ramp_stays_that_ramp_on_any_grid(source, target, order):
    volume = ramp(affine_from(source), (24, 22, 20))
    affine = affine_from(target)
    affine[:3, 3] += to_world(volume.affine, (12, 11, 10)) - affine[:3, :3] @ [4, 4, 4]
    found = resample_to(volume, affine, (8, 9, 10), order)
    assert found.array.dtype == np.float32
    seen = inside(affine, (8, 9, 10), volume, 0 if order == 1 else 6)
    assert seen[4, 4, 4]
    truth = ramp(affine, (8, 9, 10)).array[0]
    assert np.allclose(found.array[0][seen], truth[seen], atol=1e-4 if order == 1 else 0.02)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_the_same_grid_gives_the_same_voxels(order):
    noise = np.random.default_rng(0).integers(-99, 99, (2, 5, 6, 7), dtype=np.int16)
    noise[0, 0, 0, 0] = 98
    volume = Volume(noise, check_affine(affine_from(np.linspace(-1, 1, 12))))
    found = resample_to(volume, volume.affine, volume.shape, order)
    assert found.array.dtype == (np.int16 if order == 0 else np.float32)
    assert np.array_equal(found.array, noise)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.float32])
def test_nearest_keeps_type_and_flips_are_exact(dtype):
    noise = np.random.default_rng(0).integers(0, 2, (1, 5, 6, 7)).astype(dtype)
    volume = Volume(noise, check_affine(np.diag([1.0, 2, 3, 1])))
    turned = volume.reoriented("PIR")
    found = resample_to(volume, turned.affine, turned.shape, 0)
    assert found.array.dtype == dtype
    assert np.array_equal(found.array, turned.array)


def test_outside_is_the_lowest_value_unless_said():
    volume = Volume(np.full((1, 4, 4, 4), -1000, np.int16), check_affine(np.eye(4)))
    volume.array[0, 1, 1, 1] = 50
    affine = np.eye(4)
    affine[:3, 3] = -2  # two voxels before the scan
    assert (resample_to(volume, affine, (2, 2, 2)).array == -1000).all()
    assert (resample_to(volume, affine, (2, 2, 2), fill=7).array == 7).all()
    affine[:3, 3] = (0.6, 1, 1)  # the last of four voxels lies at 3.6, beyond the edge at 3.5
    found = resample_to(volume, affine, (4, 1, 1), fill=7).array[0, :, 0, 0]
    assert found == pytest.approx([-370, -580, -1000, 7])


@pytest.mark.parametrize(
    ("order", "shape", "fill"), [(2, (3, 3, 3), None), (1, (3, 0, 3), None), (0, (3, 3, 3), 0.5)]
)
def test_what_does_not_fit_is_refused(order, shape, fill):
    volume = Volume(np.zeros((1, 3, 3, 3), np.int16), check_affine(np.eye(4)))
    with pytest.raises(SpecError):
        resample_to(volume, np.diag([2.0, 2, 2, 1]), shape, order, fill)


@pytest.mark.parametrize("tilt_mm", [0.8, -1.1])
@pytest.mark.parametrize("orientation", ["LPS", "SAR"])
def test_a_tilted_gantry_is_straightened_in_place(tilt_mm, orientation):
    affine = np.diag([-0.8, -0.8, 2.5, 1.0])
    affine[1, 2] = tilt_mm  # each slice lies a little further front or back
    affine[:3, 3] = (20, 30, -40)
    tilted = ramp(affine, (24, 26, 20)).reoriented(orientation)
    found = straightened(tilted)
    axes = found.affine[:3, :3] / found.spacing
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    assert sorted(found.spacing) == pytest.approx([0.8, 0.8, 2.5])
    assert found.orientation == tilted.orientation
    assert "resampled onto right angles" in found.info.notes[-1]
    assert inside(tilted.affine, tilted.shape, found, -1e-6).all()  # nothing is cut off
    seen = inside(found.affine, found.shape, tilted, 0)
    assert seen.sum() > 0.85 * tilted.array[0].size
    truth = ramp(found.affine, found.shape).array[0]
    assert np.allclose(found.array[0][seen], truth[seen], atol=1e-4)


def test_a_straight_volume_is_left_alone():
    turn = np.linalg.qr(np.array([[1.0, 0.2, 0.1], [-0.3, 1, 0.4], [0.2, -0.1, 1]]))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn * [1, 2, 3]
    volume = ramp(affine, (4, 5, 6))
    assert straightened(volume) is volume


@settings(max_examples=30, deadline=None)
@given(NUMBERS)
def test_any_shear_is_straightened_in_place(numbers):
    volume = ramp(affine_from(numbers), (9, 8, 7))
    found = straightened(volume)
    axes = found.affine[:3, :3] / found.spacing
    assert np.abs(axes.T @ axes - np.eye(3)).max() <= 1e-4
    assert inside(volume.affine, volume.shape, found, -1e-5).all()
    seen = inside(found.affine, found.shape, volume, 0)
    truth = ramp(found.affine, found.shape).array[0]
    assert np.allclose(found.array[0][seen], truth[seen], atol=1e-4)


def test_a_tilted_label_map_keeps_its_labels():
    affine = np.diag([1.0, 1, 3, 1])
    affine[1, 2] = 1.3
    array = np.random.default_rng(0).integers(0, 3, (1, 8, 9, 5), dtype=np.uint8) * 40
    found = straightened(Volume(array, check_affine(affine), SeriesInfo(labels=(Label(40, "a"),))))
    assert found.array.dtype == np.uint8
    assert set(np.unique(found.array)) == {0, 40, 80}


@pytest.mark.parametrize("order", [0, 1])
def test_a_sphere_keeps_its_volume(order):
    sphere = Ellipsoid((1, -2, 3), (14, 14, 14))
    affine = np.diag([-0.9, -0.9, 2.0, 1])
    affine[1, 2] = 0.7
    affine[:3, 3] = (24, 10, -20)
    image, _ = ellipsoid_phantom((56, 56, 24), affine, [sphere])
    grid = np.diag([1.1, 1.1, 1.1, 1])
    grid[:3, 3] = (-20, -23, -18)
    for found in (resample_to(image, grid, (40, 40, 40), order), straightened(image)):
        ml = float((found.array > 50).sum()) * voxel_mm3(found.affine) / 1000
        assert ml == pytest.approx(sphere.ml, rel=0.02)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.5, 3), min_size=3, max_size=12), st.floats(-50, 50))
def test_a_ramp_along_the_slices_stays_one(gaps, start):
    distances = start + np.concatenate([[0], np.cumsum(gaps)])
    array = np.broadcast_to(distances * 2 + 1, (1, 2, 3, len(distances))).copy()
    found, step = evenly_spaced(array, distances)
    places = start + step * np.arange(found.shape[-1])
    assert np.allclose(found[0, 1, 2], places * 2 + 1, atol=0.01)
    assert distances[-1] - places[-1] < step * 1.001


def test_a_missing_slice_is_filled_and_even_ones_stay():
    array = np.arange(5, dtype=np.int16).reshape(1, 1, 1, 5)
    same, step = evenly_spaced(array, [3, 5, 7, 9, 11])
    assert same is array
    assert step == 2
    found, step = evenly_spaced(np.delete(array, 2, axis=-1), [3, 5, 9, 11])
    assert step == 2
    assert found.ravel().tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("distances", "says"),
    [
        ([0, 1, 1], "rising"),
        ([0, 1], "2 for 3 slices"),
        ([0, np.nan, 2], "rising"),
        ([0, 0.01, 9], "too uneven"),
    ],
)
def test_distances_that_make_no_order_are_refused(distances, says):
    with pytest.raises(GeometryError, match=says):
        evenly_spaced(np.zeros((1, 2, 2, 3)), distances)
