"""Grids in the world."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvision.errors import GeometryError, SpecError
from medvision.geometry import (
    BOXES,
    Box,
    box_slices,
    check_affine,
    flip_ras_lps,
    nearest_axes,
    obliquity_degrees,
    orientation_of,
    parse_box,
    resized_affine,
    spacing_of,
    to_voxel,
    to_world,
    voxel_mm3,
)
from medvision.volume import Volume, on_axes_of, same_grid

angles = st.floats(-3.1, 3.1)
sizes = st.floats(0.2, 6.0)


def turned(a: float, b: float, c: float, spacing=(1.0, 1.0, 1.0)) -> np.ndarray:
    """An affine turned by three Euler angles in radians."""

    def turn(angle, i, j):
        m = np.eye(4)
        m[i, i] = m[j, j] = np.cos(angle)
        m[i, j], m[j, i] = -np.sin(angle), np.sin(angle)
        return m

    affine = turn(a, 0, 1) @ turn(b, 1, 2) @ turn(c, 0, 2) @ np.diag([*spacing, 1.0])
    affine[:3, 3] = [-30, 12, 7.5]
    return affine


@given(angles, angles, angles, sizes, sizes, sizes)
def test_world_and_voxel_are_inverse(a, b, c, x, y, z):
    affine = turned(a, b, c, (x, y, z))
    points = np.array([[0, 0, 0], [10, -3, 2.5], [4, 100, 7]])
    assert np.allclose(to_voxel(affine, to_world(affine, points)), points, atol=1e-6)
    assert np.allclose(spacing_of(affine), (x, y, z))
    assert voxel_mm3(affine) == pytest.approx(x * y * z)


@given(angles, angles, angles, st.permutations("RAS"), st.tuples(*[st.booleans()] * 3))
def test_reorientation_keeps_every_voxel_in_its_place(a, b, c, order, flips):
    other = {"R": "L", "A": "P", "S": "I"}
    wanted = "".join(other[axis] if f else axis for axis, f in zip(order, flips, strict=True))
    array = np.arange(2 * 3 * 4, dtype=np.float32).reshape(1, 2, 3, 4)
    volume = Volume(array, turned(a, b, c, (1, 2, 3)))
    moved = volume.reoriented(wanted)
    assert moved.orientation == wanted
    for value in (0, 5, 17, 23):
        before = to_world(volume.affine, np.argwhere(array[0] == value)[0])
        after = to_world(moved.affine, np.argwhere(moved.array[0] == value)[0])
        assert np.allclose(before, after, atol=1e-9)


@pytest.mark.parametrize("order", list(permutations("RAS")))
def test_reorientation_is_reached_at_any_multiple_of_45_degrees(order):
    eighths = [np.pi / 4 * n for n in range(8)]
    for a, b, c in product(eighths, repeat=3):
        volume = Volume(np.zeros((1, 2, 3, 4), np.uint8), turned(a, b, c))
        wanted = "".join(order)
        assert volume.reoriented(wanted).orientation == wanted
        assert volume.reoriented("LPI").reoriented(wanted).orientation == wanted


def test_a_box_has_an_end():
    with pytest.raises(SpecError, match="from low to high"):
        parse_box("-inf:inf,0:1,0:1")


def test_orientation_letters():
    assert orientation_of(np.eye(4)) == "RAS"
    assert orientation_of(flip_ras_lps(np.eye(4))) == "LPS"
    assert orientation_of(np.eye(4)[[2, 0, 1, 3]]) == "ASR"  # i runs along y, j along z, k along x


def test_flipping_twice_is_nothing():
    affine = turned(0.1, 0.2, 0.3)
    assert np.array_equal(flip_ras_lps(flip_ras_lps(affine)), affine)


def test_axes_are_never_used_twice():
    axes, _ = nearest_axes(turned(np.pi / 4, np.pi / 4, 0))
    assert sorted(axes) == [0, 1, 2]


def test_obliquity_is_the_angle_of_the_tilt():
    assert obliquity_degrees(np.eye(4)) == 0
    assert obliquity_degrees(turned(np.radians(20), 0, 0)) == pytest.approx(20)


def test_resizing_keeps_the_outer_edges():
    affine = turned(0.3, 0, 0, (1, 2, 3))
    new = resized_affine(affine, (10, 20, 30), (20, 20, 10))
    for old_corner, new_corner in (
        ((-0.5,) * 3, (-0.5,) * 3),
        ((9.5, 19.5, 29.5), (19.5, 19.5, 9.5)),
    ):
        assert np.allclose(to_world(affine, old_corner), to_world(new, new_corner))


@pytest.mark.parametrize(
    ("affine", "says"),
    [
        (np.full((4, 4), np.nan), "NaN"),
        (np.diag([1.0, 0, 1, 1]), "above 0"),
        (np.eye(3), "4×4"),
        (np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "singular"),
        (np.ones((4, 4)), "last row"),
    ],
)
def test_affines_that_are_none_are_refused(affine, says):
    with pytest.raises(GeometryError, match=says):
        check_affine(affine)


def test_box_in_the_world_cuts_the_same_voxels_in_any_axis_order():
    volume = Volume(np.random.default_rng(0).random((1, 20, 30, 25)), np.diag([1, 1, 2, 1.0]))
    box = Box((2.5, 4, 10), (9, 12, 31))
    first = volume.cropped_to(box)
    second = volume.reoriented("SLP").cropped_to(box).reoriented("RAS")
    assert first.shape == (7, 9, 11)  # centers 3…9, 4…12, 10…30 by 2
    assert np.array_equal(first.array, second.array)
    assert np.allclose(first.affine, second.affine)
    assert np.allclose(to_world(first.affine, (0, 0, 0)), (3, 4, 10))


def test_a_box_outside_the_scan_tells_where_the_scan_is():
    with pytest.raises(GeometryError, match=r"spans -0.5:9.5"):
        box_slices(np.eye(4), (10, 10, 10), Box((50, 0, 0), (60, 5, 5)))


def test_boxes_are_read_from_text():
    assert parse_box("mni:left-hippocampus") is BOXES["mni:left-hippocampus"]
    assert parse_box("-46:-6,-50:6,-37:7.5") == Box((-46, -50, -37), (-6, 6, 7.5), "box")
    for wrong in ("nowhere", "1:2,3:4", "5:1,0:1,0:1", "a:b,0:1,0:1"):
        with pytest.raises(SpecError):
            parse_box(wrong)


def test_the_named_boxes_mirror_each_other():
    left, right = BOXES["mni:left-hippocampus"], BOXES["mni:right-hippocampus"]
    assert (left.low[0], left.high[0]) == (-right.high[0], -right.low[0])
    assert left.low[1:] == right.low[1:]


def test_voxels_change_and_the_grid_stays():
    ct = Volume(np.zeros((1, 3, 4, 5), np.int16), turned(0.2, 0, 0))
    lesion = ct.with_array(ct.array[0] > 0.5)
    assert lesion.affine is ct.affine
    with pytest.raises(GeometryError, match="do not fit"):
        ct.with_array(np.zeros((1, 2, 2, 2)))
    with pytest.raises(ValueError, match="read-only"):
        ct.affine[0, 0] = 2


def test_same_grid_sees_a_tenth_of_a_millimeter():
    one = Volume(np.zeros((1, 4, 4, 4)), np.eye(4))
    moved = np.eye(4)
    moved[2, 3] = 0.1
    assert same_grid(one, Volume(np.ones((1, 4, 4, 4)), np.eye(4)))
    assert not same_grid(one, Volume(np.ones((1, 4, 4, 4)), moved))


def test_labels_take_the_axes_of_a_scan_voxel_by_voxel_or_are_refused():
    affine = np.array([[0, 2.0, 0, 5], [-1, 0, 0, 3], [0, 0, 3, 1], [0, 0, 0, 1]])
    labels = Volume(np.arange(60).reshape(1, 3, 4, 5), affine)
    for axes in ("RAS", "LPS", "SPL"):
        scan = Volume(np.zeros((1, 3, 4, 5)), affine).reoriented(axes)
        turned = on_axes_of(scan, labels)
        assert np.array_equal(turned.affine, scan.affine)
        for index in np.ndindex(scan.shape):
            place = to_voxel(labels.affine, to_world(scan.affine, index)).round().astype(int)
            assert turned.array[(0, *index)] == labels.array[(0, *place)]
    far = Volume(np.zeros((1, 3, 4, 6)), affine)
    says = "The mask does not lie on the grid of the scan: the scan has 3 × 4 × 6 voxels of 1 × 2 ×"
    with pytest.raises(GeometryError, match=f"{says} 3 mm.*; the mask has 3 × 4 × 5"):
        on_axes_of(far, labels, "the scan", "the mask")
