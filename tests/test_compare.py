"""Two masks of one scan: agreement known by construction, whatever the order of the axes."""

import time
from dataclasses import replace

import numpy as np
import pytest

from medvision.compare import Agreement, compare_masks, compare_scores
from medvision.errors import GeometryError, SpecError
from medvision.lesions import LesionCounts
from medvision.mask_figures import mask_figures
from medvision.volume import SeriesInfo, Volume

AFFINE = np.array([[-2.0, 0, 0, 30], [0, 1, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])  # LAS


def volume(labels, affine=AFFINE, **info):
    return Volume(np.asarray(labels)[None], affine, SeriesInfo(**info))


def cube(*start, side=10, value=1, shape=(30, 28, 26)):
    labels = np.zeros(shape, np.uint8)
    labels[tuple(slice(s, s + side) for s in start)] = value
    return labels


def test_a_shifted_cube_has_the_dice_and_distance_of_its_shift():
    found, truth = volume(cube(8, 8, 8)), volume(cube(8, 8, 10))  # 2 of 10 voxels of 3 mm
    comparison = compare_masks(found, truth, {1: "cube"})
    [row] = comparison.rows
    assert (row.name, row.label) == ("cube", 1)
    assert row.dice == pytest.approx(0.8)
    assert row.hd95_mm == pytest.approx(6)
    assert row.ml_found == row.ml_truth == pytest.approx(1000 * 6 / 1000)
    assert (row.difference_ml, row.difference_percent) == (0, 0)
    assert np.bincount(comparison.difference.array.ravel()).tolist() == [
        30 * 28 * 26 - 400,
        200,
        200,
    ]
    assert comparison.difference.array.dtype == np.uint8
    assert np.array_equal(comparison.difference.affine, found.affine)


def test_a_smaller_cube_misses_volume():
    [row] = compare_masks(volume(cube(8, 8, 8, side=5)), volume(cube(8, 8, 8)), {1: "a"}).rows
    assert row.difference_ml == pytest.approx((125 - 1000) * 6 / 1000)
    assert row.difference_percent == pytest.approx(-87.5)


@pytest.mark.parametrize("axes", ["LAS", "RAS", "PIR", "SLA"])
def test_the_order_of_the_axes_does_not_matter(axes):
    found = volume(cube(3, 4, 5) + cube(16, 15, 14, value=2))
    truth = volume(cube(3, 5, 5) + cube(15, 15, 14, value=2))
    names = {1: "a", 2: "b"}
    expected = compare_masks(found, truth, names)
    turned = compare_masks(found, truth.reoriented(axes), names)
    assert turned.rows == expected.rows
    assert np.array_equal(turned.difference.array, expected.difference.array)
    other = compare_masks(found.reoriented(axes), truth, names)
    for one, same in zip(other.rows, expected.rows, strict=True):
        assert (one.hd95_mm, one.assd_mm) == pytest.approx((same.hd95_mm, same.assd_mm))
        rounded = dict.fromkeys(("hd95_mm", "assd_mm", "ml_found", "ml_truth", "difference_ml"), 0)
        assert replace(one, **rounded) == replace(same, **rounded)
    again = other.difference.reoriented("LAS")
    assert np.array_equal(again.array, expected.difference.array)


def test_what_is_absent_is_stated():
    found, truth = volume(cube(3, 3, 3)), volume(cube(3, 3, 3, value=2))
    names = {1: "mine", 2: "theirs", 3: "nobody's"}
    mine, theirs, nobody = compare_masks(found, truth, names).rows
    worst = pytest.approx(np.linalg.norm([30 * 2, 28 * 1, 26 * 3]))  # the diagonal of the grid
    assert (mine.dice, mine.hd95_mm, mine.difference_percent) == (0, worst, None)
    assert (theirs.dice, theirs.hd95_mm, theirs.difference_percent) == (0, worst, -100)
    none = LesionCounts(0, 0, 0, 0)
    assert nobody == Agreement("nobody's", 3, 1.0, None, 0, 0, 0, None, 1.0, None, 1.0, none)
    nothing = volume(np.zeros((4, 4, 4), np.uint8))
    [row] = compare_masks(nothing, nothing, {1: "a"}).rows
    assert (row.dice, row.hd95_mm, row.ml_found) == (1.0, None, 0)
    assert compare_masks(nothing, nothing, {}).rows == ()


def test_the_difference_tells_kinds_apart():
    found, truth = np.zeros((2, 4, 4, 4), np.int16)
    found[0, 0, 0], truth[0, 0, 0] = 1, 1  # agree
    found[1, 1, 1] = 1  # only found
    truth[2, 2, 2] = 5  # only in the truth
    found[3, 3, 3], truth[3, 3, 3] = 1, 5  # of different labels
    comparison = compare_masks(volume(found), volume(truth.astype(np.float32)), {1: "a"})
    told = comparison.difference.array[0]
    assert [int(told[n, n, n]) for n in range(4)] == [0, 1, 2, 3]
    assert np.count_nonzero(told) == 3
    assert [row.name for row in comparison.rows] == ["a", "label 5"]


def test_masks_are_label_maps_of_one():
    found = volume(cube(5, 5, 5).astype(bool))
    [row] = compare_masks(found, found, {1: "a"}).rows
    assert (row.dice, row.hd95_mm) == (1, 0)


def test_cropping_changes_no_distance():
    rng = np.random.default_rng(0)
    found, truth = rng.random((2, 12, 11, 10)) > 0.9
    found[0, 0, 0] = truth[:, 0] = True  # at the border
    for mine, theirs in ((found, truth), (cube(0, 0, 0) > 0, cube(0, 3, 0) > 0)):
        [row] = compare_masks(volume(mine), volume(theirs), {1: "a"}).rows
        same = mask_figures(mine, theirs, (2, 1, 3))
        assert (row.hd95_mm, row.assd_mm, row.nsd) == (same.hd95_mm, same.assd_mm, same.nsd)


def test_two_grids_are_refused_with_both_named():
    found, truth = volume(cube(3, 3, 3)), volume(cube(3, 3, 3, shape=(30, 28, 25)))
    shape = r"30 × 28 × 26 voxels of 2 × 1 × 3 mm, the first at \(30, -20, 5\) mm RAS, axes LAS"
    with pytest.raises(GeometryError, match=f"{shape}; the truth has 30 × 28 × 25"):
        compare_masks(found, truth, {})
    moved = AFFINE.copy()
    moved[0, 3] += 0.5
    with pytest.raises(GeometryError, match=r"\(30\.5, -20, 5\).*resample_to"):
        compare_masks(found, volume(cube(3, 3, 3), moved), {})
    moved[0, 3] -= 0.4999
    assert compare_masks(found, volume(cube(3, 3, 3), moved), {}).rows[0].dice == 1


def test_what_is_no_label_map_is_refused():
    found = volume(cube(3, 3, 3))
    with pytest.raises(SpecError, match="whole numbers"):
        compare_masks(found, volume(cube(3, 3, 3) * 0.5), {})
    with pytest.raises(SpecError, match="whole numbers"):
        compare_masks(volume(np.full((30, 28, 26), np.nan)), found, {})
    with pytest.raises(SpecError, match="one channel"):
        compare_masks(Volume(np.zeros((2, 30, 28, 26)), AFFINE), found, {})
    scan = volume(np.arange(30 * 28 * 26).reshape(30, 28, 26))
    with pytest.raises(SpecError, match="different values"):
        compare_masks(scan, found, {})


def test_without_spacing_nothing_is_told_in_mm():
    found, truth = volume(cube(3, 3, 3), spacing_known=False), volume(cube(3, 3, 3, side=5))
    [row] = compare_masks(found, truth, {1: "a"}).rows
    assert (row.hd95_mm, row.assd_mm, row.nsd) == (None,) * 3
    assert (row.ml_found, row.ml_truth, row.difference_ml) == (None,) * 3
    assert row.difference_percent == pytest.approx(700)


def test_a_whole_brain_takes_seconds():
    i, j, k = np.ogrid[:182, :218, :182]
    ball = ((i - 90) / 70) ** 2 + ((j - 108) / 85) ** 2 + ((k - 90) / 65) ** 2 < 1
    grid = np.eye(4)
    start = time.perf_counter()
    [row] = compare_masks(volume(ball, grid), volume(np.roll(ball, 2, 0), grid), {1: "brain"}).rows
    assert time.perf_counter() - start < 10  # about 1 s on an idle core
    assert row.hd95_mm == pytest.approx(2, abs=0.3)


def test_probabilities_are_held_against_each_other():
    rows = compare_scores({"no": 0.25, "yes": 0.75}, {"yes": 0.5, "maybe": 0.5})
    assert [(r.name, r.a, r.b, r.difference) for r in rows] == [
        ("no", 0.25, None, None),
        ("yes", 0.75, 0.5, -0.25),
        ("maybe", None, 0.5, None),
    ]
