"""Distances between surfaces: by hand, by brute force, by MONAI and by SimpleITK."""

import warnings

import numpy as np
import pytest
import SimpleITK
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import (
    compute_average_surface_distance,
    compute_hausdorff_distance,
    compute_surface_dice,
)

from medvision.surface import border, surface_distances


def cube(*start, side=6, shape=(20, 20, 20)):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(s, s + side) for s in start)] = True
    return mask


def blobs(seed, shape, share):
    """A mask of some voxels that hang together, never empty, and often on the edge."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape)
    for axis in range(len(shape)):
        values = values + np.roll(values, 1, axis)
    mask = values > np.quantile(values, 1 - share)
    mask[tuple(int(rng.integers(side)) for side in shape)] = True
    return mask


@st.composite
def pairs(draw, dims=(2, 3)):
    """Two masks of one grid, and its spacing."""
    count = draw(st.sampled_from(dims))
    shape = tuple(draw(st.integers(2, 11)) for _ in range(count))
    spacing = tuple(draw(st.sampled_from([0.3, 0.7, 1.0, 2.5, 6.0])) for _ in range(count))
    shares = draw(st.tuples(*[st.sampled_from([0.01, 0.1, 0.5, 1.0])] * 2))
    seed = draw(st.integers(0, 10_000))
    return *(blobs(seed + n, shape, share) for n, share in enumerate(shares)), spacing


def by_force(found, truth, spacing):
    """All distances between border voxels, each voxel's own neighbors looked at one by one."""

    def edge(mask):
        at = []
        for index in np.argwhere(mask):
            for axis in range(mask.ndim):
                for way in (-1, 1):
                    near = index.copy()
                    near[axis] += way
                    outside = not 0 <= near[axis] < mask.shape[axis]
                    if outside or not mask[tuple(near)]:
                        at.append(tuple(index))
        return np.array(sorted(set(at))) * np.array(spacing)

    a, b = edge(found), edge(truth)
    far = np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2))
    return far.min(axis=1), far.min(axis=0)


def test_two_cubes_along_the_thick_axis():
    found, truth = cube(5, 5, 5), cube(5, 5, 7)  # two slices of 2.5 mm further
    far = surface_distances(found, truth, (1, 1, 2.5))
    assert far.hd_mm == far.hd95_mm == 5
    assert len(far.there) == len(far.back) == 6**3 - 4**3
    assert np.count_nonzero(far.there == 0) == 4 * 20  # the ring of each slice that both have
    same = surface_distances(found, found, (1, 1, 2.5))
    assert (same.hd_mm, same.hd95_mm, same.assd_mm, same.nsd(0)) == (0, 0, 0, 1)


def test_a_line_and_its_neighbor_by_hand():
    found, truth = np.zeros((2, 8, 6), bool)
    found[1, 1:5], truth[4, 1:5] = True, True  # three rows of 1.5 mm apart
    far = surface_distances(found, truth, (1.5, 1))
    assert (far.hd_mm, far.hd95_mm, far.assd_mm) == (4.5, 4.5, 4.5)
    assert (far.nsd(4.4), far.nsd(4.5)) == (0, 1)


def test_one_voxel_of_two_is_half_within_the_tolerance():
    found, truth = np.zeros((2, 12), bool)
    found[[1, 4]], truth[1] = True, True
    far = surface_distances(found, truth, (2.0,))
    assert far.there.tolist() == [0, 6]
    assert far.back.tolist() == [0]
    assert far.assd_mm == pytest.approx(6 / 3)
    assert far.nsd(1) == pytest.approx(2 / 3)
    assert far.hd95_mm == pytest.approx(0.95 * 6)


def test_a_tolerance_of_one_voxel_reaches_one_voxel_whatever_its_rounding():
    step = float(np.float32(0.7))
    far = surface_distances(cube(5, 5, 5), cube(5, 5, 6), (1, 1, step))
    assert step != 0.7
    assert far.nsd(0.7) == 1
    wider = surface_distances(cube(5, 5, 5), cube(5, 5, 6), (1, 1, 0.7 + 1e-7))
    assert wider.nsd(0.7) == 1


@settings(deadline=None, max_examples=150)
@given(pairs())
def test_distances_are_those_of_brute_force(pair):
    far = surface_distances(*pair)
    there, back = by_force(*pair)
    np.testing.assert_allclose(far.there, there, rtol=1e-12)
    np.testing.assert_allclose(far.back, back, rtol=1e-12)


@settings(deadline=None, max_examples=100)
@given(pairs(), st.sampled_from([0.0, 0.5, 1.2, 3.1]))
def test_figures_are_those_of_monai(pair, tolerance):
    found, truth, spacing = pair
    far = surface_distances(found, truth, spacing)
    both = [torch.from_numpy(mask)[None, None].float() for mask in (found, truth)]
    every = {"include_background": True, "spacing": list(spacing)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hd95 = compute_hausdorff_distance(*both, percentile=95, **every)
        hd = compute_hausdorff_distance(*both, **every)
        assd = compute_average_surface_distance(*both, symmetric=True, **every)
        nsd = compute_surface_dice(*both, [tolerance], **every)
    assert far.hd95_mm == pytest.approx(float(hd95), rel=1e-5)
    assert far.hd_mm == pytest.approx(float(hd), rel=1e-5)
    assert far.assd_mm == pytest.approx(float(assd), rel=1e-5)
    assert far.nsd(tolerance) == pytest.approx(float(nsd), rel=1e-5)


@settings(deadline=None, max_examples=60)
@given(pairs(dims=(3,)))
def test_distances_are_those_of_simpleitk(pair):
    found, truth, spacing = pair

    def image(mask):
        one = SimpleITK.GetImageFromArray(mask.astype(np.uint8).transpose())
        one.SetSpacing(spacing)
        return one

    def edge(mask):
        padded = SimpleITK.ConstantPad(image(mask), [1, 1, 1], [1, 1, 1], 0)
        return SimpleITK.BinaryContour(padded, fullyConnected=False)

    far = surface_distances(found, truth, spacing)
    for one, other, ours in ((found, truth, far.there), (truth, found, far.back)):
        distance = SimpleITK.SignedMaurerDistanceMap(edge(other), False, False, True)
        theirs = SimpleITK.GetArrayFromImage(SimpleITK.Abs(distance)).transpose()
        on = SimpleITK.GetArrayFromImage(edge(one)).transpose() > 0
        np.testing.assert_allclose(ours, theirs[on], rtol=1e-4, atol=1e-5)


def test_far_surfaces_ask_the_tree():
    found, truth = cube(0, 0, 0, shape=(60, 20, 20)), cube(50, 3, 1, shape=(60, 20, 20))
    far = surface_distances(found, truth, (1.3, 1, 2))
    there, back = by_force(found, truth, (1.3, 1, 2))
    np.testing.assert_allclose(far.there, there)
    np.testing.assert_allclose(far.back, back)


def test_the_border_has_a_face_outside():
    mask = cube(0, 2, 2, side=4, shape=(6, 8, 8))
    inner = mask & ~border(mask)
    assert np.argwhere(inner).tolist() == [
        [i, j, k] for i in (1, 2) for j in (3, 4) for k in (3, 4)
    ]  # the first slice lies on the edge of the grid
