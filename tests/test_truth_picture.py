"""A mask beside the truth: the planes that differ most, the truth outlined, the found filled."""

import numpy as np
import pytest

from medvision.errors import GeometryError
from medvision.render import center_of, draw_case, label_color
from medvision.render.planes import FILL
from medvision.render.truth import worst_planes
from medvision.volume import Volume

GRAY = 100.0


def masks():
    """A scan, a cube, and the cube with a plate more at k = 8 that is as thick as one voxel."""
    scan = np.full((1, 20, 22, 24), GRAY, np.float32)
    scan[0, 0, 0, 0], scan[0, 1, 1, 1] = 0, 2 * GRAY
    truth = np.zeros((1, 20, 22, 24), np.uint8)
    truth[0, 5:11, 6:12, 7:13] = 1
    found = truth.copy()
    found[0, 11:16, 6:12, 8] = 1
    return tuple(Volume(one, np.eye(4)) for one in (scan, truth, found))


def test_the_planes_are_those_that_differ_most():
    _, truth, found = masks()
    differs = truth.array[0] != found.array[0]
    i, j, k = worst_planes(differs, truth)
    assert k == 8
    assert i in range(11, 16)
    assert j in range(6, 12)
    assert worst_planes(differs & False, truth) == center_of(truth)
    nothing = truth.with_array(np.zeros_like(truth.array))
    assert worst_planes(differs & False, nothing) == (10, 10, 12)  # the scan's middle


def test_what_was_found_is_filled_and_the_truth_outlined():
    scan, truth, found = masks()
    image = np.asarray(draw_case(scan, truth, found, ("cube",))).astype(float)
    color = np.array(label_color(1), float)

    def pixels(wanted):
        return int((np.abs(image - wanted).max(axis=-1) < 3).sum())

    edges = pixels(color)
    assert edges > 1000
    gray = np.full(3, 255 * 0.5)
    assert pixels((1 - FILL) * gray + FILL * color) > 1000
    nothing = found.with_array(np.zeros_like(found.array))
    image = np.asarray(draw_case(scan, truth, nothing, ("cube",))).astype(float)
    assert pixels(color) > 1000
    assert pixels((1 - FILL) * gray + FILL * color) < 50


def test_axes_in_another_order_change_nothing_and_another_grid_is_refused():
    scan, truth, found = masks()
    plain = np.asarray(draw_case(scan, truth, found, ("cube",)))
    turned = np.asarray(draw_case(scan, truth.reoriented("LPS"), found.reoriented("PIR"), ["cube"]))
    np.testing.assert_array_equal(plain, turned)
    far = Volume(truth.array, np.diag([2.0, 1, 1, 1]))
    says = "the grid of the scan: .*; the mask of the truth has .* 2 × 1 × 1 mm"
    with pytest.raises(GeometryError, match=says):
        draw_case(scan, far, found, ("cube",))


def test_a_picture_without_any_mask_is_drawn():
    scan, truth, _ = masks()
    nothing = truth.with_array(np.zeros_like(truth.array))
    assert draw_case(scan, nothing, nothing, ("cube",)).width > 900
