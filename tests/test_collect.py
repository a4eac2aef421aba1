"""Blocks of logits on the scan's own grid: labels, confidence, entropy; a slab at a time."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medvision.collect import collect
from medvision.inference_spec import Sampling, thick_axis
from medvision.sliding import Block
from medvision.spec import ModelSpec
from medvision.transforms import Grid, Prepared, model_grid
from medvision.volume import Volume

CLASSES = 4
SPEC = ModelSpec(
    "m", "segmentation", "unet3d", ("a", "b", "c"), (1.0, 1.0, 1.0), (8, 8, 8), orientation="RAS"
)


def place(shape, spacing, angles=(0, 0, 0), orientation="LPS"):
    """A scan's grid."""
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    affine[:3, :3] = turn @ np.diag(spacing)
    return Volume(np.zeros((1, *shape), np.uint8), affine).reoriented(orientation)


def prepared_of(scan, spec):
    """As preprocessing places it, without voxels."""
    grid, exact = model_grid(scan, spec)
    return Prepared(torch.zeros(1, 1, 1, 1), grid, Grid(scan.shape, scan.affine), exact)


def smooth_logits(shape, outputs=CLASSES, seed=0):
    """Logits of regions some voxels wide."""
    noise = np.random.default_rng(seed).normal(size=(outputs, *shape))
    wide = [ndimage.gaussian_filter(one, 2, mode="nearest") for one in noise]
    return torch.from_numpy(np.stack(wide) * 20).float()


def rows(logits, outer, cuts):
    """Blocks of these logits in rows along an axis, each row cut in two along another."""
    shape = logits.shape[1:]
    across = (outer + 1) % 3
    edges = sorted({0, shape[outer], *(c for c in cuts if 0 < c < shape[outer])})
    for low, high in pairwise(edges):
        for start, stop in ((0, shape[across] // 2), (shape[across] // 2, shape[across])):
            where = [slice(0, n) for n in shape]
            where[outer], where[across] = slice(low, high), slice(start, stop)
            yield Block(tuple(where), logits[(slice(None), *where)].clone())


def expected_labels(logits, prepared, spec):
    """What scipy makes of it: each class interpolated linearly over the whole grid."""
    shares = logits.sigmoid() if spec.regions else logits.softmax(dim=0)
    values = shares if spec.sampling.back == "probabilities" else logits
    step = np.linalg.inv(prepared.grid.affine) @ prepared.source.affine
    index = np.stack(np.meshgrid(*map(np.arange, prepared.source.shape), indexing="ij"))
    where = np.tensordot(step[:3, :3], index.astype(float), axes=1) + step[:3, 3, None, None, None]
    sampled = [
        ndimage.map_coordinates(np.asarray(one, np.float64), where, order=1, mode="nearest")
        for one in values
    ]
    if not spec.regions:
        return np.argmax(sampled, axis=0)
    labels = np.zeros(prepared.source.shape, int)
    for one, label in zip(sampled, spec.regions, strict=True):
        labels[one > (0.5 if spec.sampling.back == "probabilities" else 0)] = label
    return labels


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(*[st.integers(6, 18)] * 3),
    spacing=st.tuples(*[st.sampled_from([0.6, 1.0, 1.7, 2.5])] * 3),
    angles=st.sampled_from([(0, 0, 0), (0, 0, 2), (20, -10, 35)]),
    orientation=st.sampled_from(["RAS", "LPS", "SAR", "PIL"]),
    outer=st.integers(0, 2),
    cuts=st.lists(st.integers(1, 30), max_size=4),
    back=st.sampled_from(["probabilities", "logits"]),
)
def test_slabs_make_what_the_whole_makes(shape, spacing, angles, orientation, outer, cuts, back):
    spec = replace(SPEC, sampling=Sampling(back=back))
    prepared = prepared_of(place(shape, spacing, angles, orientation), spec)
    logits = smooth_logits(prepared.grid.shape)
    found = collect(rows(logits, outer, cuts), prepared, spec, outer).labels
    if prepared.exact:
        assert np.bincount(found.ravel()).tolist() == np.bincount(logits.argmax(0).ravel()).tolist()
    expected = expected_labels(logits, prepared, spec)
    assert found.shape == expected.shape
    assert (found != expected).mean() < 2e-3  # ties, in another precision


@pytest.mark.parametrize("back", ["probabilities", "logits"])
@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.7, 0.7, 2)])
def test_regions_paint_one_over_the_other(back, spacing):
    spec = replace(SPEC, regions=(2, 1, 3), sampling=Sampling(back=back))
    prepared = prepared_of(place((12, 14, 10), spacing), spec)
    logits = smooth_logits(prepared.grid.shape, outputs=3)
    found = collect(rows(logits, 0, [3, 4, 9]), prepared, spec).labels
    expected = expected_labels(logits, prepared, spec)
    assert set(np.unique(expected)) == {0, 1, 2, 3}
    assert (found != expected).mean() < 2e-3


def test_a_thick_axis_takes_the_nearest_slice():
    spec = replace(SPEC, sampling=Sampling(back="logits", thick=3), spacing=(1, 1, 5))
    prepared = prepared_of(place((10, 10, 20), (2, 2, 2), orientation="RAS"), spec)
    assert prepared.grid.shape == (20, 20, 8)
    logits = smooth_logits(prepared.grid.shape)
    found = collect(rows(logits, 2, [1, 2, 5]), prepared, spec, 2).labels
    planes = np.floor((np.arange(20) + 0.5) * 8 / 20 - 0.5 + 0.5).astype(int).clip(0, 7)
    flat = [ndimage.zoom(one, (0.5, 0.5, 1), order=1, mode="nearest", grid_mode=True)
            for one in logits.numpy()]  # fmt: skip
    assert np.array_equal(found, np.argmax(flat, axis=0)[:, :, planes])


def test_the_axis_that_is_thick():
    assert thick_axis((0.5, 0.5, 5), (1, 1, 1), 3) == 2
    assert thick_axis((1, 1, 1), (4, 1, 1), 3) == 0
    assert thick_axis((4, 4, 1), (1, 1, 1), 3) is None  # two are
    assert thick_axis((0.5, 0.5, 5), (1, 1, 1), 0) is None


def test_confidence_is_the_dice_that_probabilities_promise():
    shares = torch.tensor([[0.9, 0.4, 0.2, 0.05], [0.1, 0.6, 0.8, 0.95]])
    logits = shares.log().reshape(2, 4, 1, 1)
    spec = replace(SPEC, class_names=("a",))
    prepared = prepared_of(place((4, 1, 1), (1, 1, 1), orientation="RAS"), spec)
    blocks = [Block((slice(0, 2), slice(0, 1), slice(0, 1)), logits[:, :2].clone()),
              Block((slice(2, 4), slice(0, 1), slice(0, 1)), logits[:, 2:].clone())]  # fmt: skip
    found = collect(blocks, prepared, spec, entropy=True)
    assert found.labels[:, 0, 0].tolist() == [0, 1, 1, 1]
    inside, every = 0.6 + 0.8 + 0.95, 0.1 + 0.6 + 0.8 + 0.95
    assert found.confidence[1] == pytest.approx(2 * inside / (3 + every), abs=1e-6)
    entropy = -(shares * shares.log2()).sum(dim=0)
    assert found.entropy[:, 0, 0] == pytest.approx(entropy.numpy(), abs=1e-6)


def test_what_is_not_found_has_no_confidence():
    prepared = prepared_of(place((4, 4, 4), (1, 1, 1)), SPEC)
    logits = torch.zeros(4, 4, 4, 4)
    logits[2, 0] = 50.0
    whole = (slice(0, 4),) * 3
    found = collect([Block(whole, logits)], prepared, SPEC, entropy=True)
    assert found.confidence.keys() == {2}
    sure, unsure = found.entropy.min(), found.entropy.max()
    assert sure == pytest.approx(0, abs=1e-6)
    assert unsure == pytest.approx(1, abs=1e-6)  # no class likelier than another
