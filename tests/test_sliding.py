"""The window that moves over a scan: MONAI's sums, in blocks, with little held meanwhile."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference

from medvision.inference_spec import Sliding
from medvision.sliding import plan_windows, slide, stops_along

SHAPES = st.tuples(*[st.integers(5, 40)] * 3)
WINDOWS = st.tuples(*[st.sampled_from([1, 6, 8, 13, 16])] * 3)


def net(windows):
    """Three outputs that depend on the place in the window, and on all of it."""
    place = torch.linspace(-1, 1, windows[0, 0].numel()).reshape(windows.shape[2:])
    mean = windows.mean(dim=(1, 2, 3, 4), keepdim=True)
    return torch.cat([windows[:, :1] * place, windows[:, :1] + mean, place.expand_as(windows)], 1)


def joined(image, windows, sliding, look=net, **options):
    """All blocks in their places, and how many there were."""
    found, count = torch.full((3, *image.shape[1:]), torch.nan), 0
    for block in slide(image, look, windows, sliding, **options):
        place = (slice(None), *block.where)
        assert found[place].isnan().all()  # every voxel comes once
        found[place] = block.logits
        count += 1
    return found, count


@settings(max_examples=25, deadline=None)
@given(shape=SHAPES, roi=WINDOWS, overlap=st.sampled_from([0, 0.25, 0.5, 0.7]))
def test_blocks_make_what_monai_makes(shape, roi, overlap):
    image = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    windows = plan_windows(shape, roi, overlap, Sliding())
    pad = [n for axis in (2, 1, 0) for n in margins(shape[axis], roi[axis])]
    padded = torch.nn.functional.pad(image[None], pad, mode="replicate")
    expected = sliding_window_inference(padded, roi, 1, net, overlap=overlap, mode="gaussian")[0]
    i, j, k = (slice(before, before + n) for before, n in zip(pad[-2::-2], shape, strict=True))
    found, _ = joined(image, windows, Sliding())
    assert torch.allclose(found, expected[:, i, j, k], atol=1e-5)


def margins(size, side):
    return max(0, side - size) // 2, max(0, side - size) - max(0, side - size) // 2


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_how_many_are_asked_at_once_changes_nothing(batch):
    image = torch.randn(1, 20, 33, 25)
    windows = plan_windows((20, 33, 25), (8, 16, 8), 0.5, Sliding())
    shares = []
    found, _ = joined(image, windows, Sliding(), batch=batch, step=shares.append)
    alone, _ = joined(image, windows, Sliding())
    assert torch.allclose(found, alone, atol=1e-6)
    assert shares[-1] == 1
    assert shares == sorted(shares)


def test_stops_reach_both_ends():
    assert stops_along(100, 32, 0.5, "fixed") == (0, 16, 32, 48, 64, 68)
    assert stops_along(100, 32, 0.5, "even") == (0, 14, 27, 41, 54, 68)
    assert stops_along(32, 32, 0.5, "even") == stops_along(32, 32, 0, "fixed") == (0,)
    assert stops_along(33, 32, 0.5, "even") == (0, 1)
    assert stops_along(64, 32, 0, "fixed") == (0, 32)


@given(size=st.integers(10, 200), side=st.integers(1, 10), overlap=st.sampled_from([0, 0.25, 0.5]))
def test_even_stops_leave_no_gap_and_differ_by_one_at_most(size, side, overlap):
    stops = stops_along(size, side, overlap, "even")
    steps = np.diff(stops)
    assert stops[0] == 0
    assert stops[-1] == size - side
    assert (steps <= max(1, np.ceil(side * (1 - overlap)))).all()
    assert not len(steps) or np.ptp(steps) <= 1


def test_the_axis_of_least_overlap_is_outermost():
    assert plan_windows((64, 64, 200), (32, 32, 32), 0.5, Sliding()).order[0] == 2
    assert plan_windows((64, 64, 20), (32, 32, 1), 0.5, Sliding()).order[0] == 2
    assert plan_windows((300, 64, 64), (32, 32, 32), 0.5, Sliding()).order[0] == 0


def test_windows_that_show_nothing_are_asked_about_once():
    image = torch.full((1, 64, 64, 64), -1.0)
    image[:, 50:, 50:, 50:] = torch.rand(1, 14, 14, 14)
    windows = plan_windows((64, 64, 64), (16, 16, 16), 0.5, Sliding())
    asked = []

    def look(views):
        asked.extend(views)
        return net(views)

    found, count = joined(image, windows, Sliding(), look)
    expected = sliding_window_inference(image[None], (16, 16, 16), 1, net, 0.5, mode="gaussian")[0]
    assert torch.allclose(found, expected, atol=1e-5)
    assert windows.count == count == 7**3
    assert len(asked) == 2**3 + 1  # what reaches the corner, and one of the others


def test_what_lies_around_a_small_scan_is_its_border_or_zero():
    image = torch.full((1, 4, 4, 4), 5.0)
    windows = plan_windows((4, 4, 4), (8, 8, 8), 0.5, Sliding())
    seen = []

    def look(views):
        seen.append(views)
        return net(views)

    list(slide(image, look, windows, Sliding()))
    list(slide(image, look, windows, Sliding(beyond="zero")))
    assert (seen[0] == 5).all()
    assert seen[1].sum() == 5 * 4**3


@pytest.mark.parametrize("keep", ["half", "disk"])
def test_sums_in_half_precision_are_near(keep, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    image = 20 * torch.randn(1, 30, 33, 35)
    windows = plan_windows((30, 33, 35), (16, 16, 16), 0.5, Sliding())
    full, _ = joined(image, windows, Sliding())
    half, _ = joined(image, windows, Sliding(), keep=keep)
    assert torch.allclose(half, full, rtol=2e-3, atol=0.05)
    assert not torch.equal(half, full)
    assert not list(tmp_path.iterdir())


def test_constant_weights_are_plain_means():
    image = torch.zeros(1, 8, 8, 24)
    windows = plan_windows((8, 8, 24), (8, 8, 16), 0.5, Sliding())
    asked = iter([1.0, 2.0])  # of the two windows
    image[..., 0], image[..., -1] = 1, 1  # so that neither shows nothing
    look = lambda views: torch.full((1, 3, 8, 8, 16), next(asked))  # noqa: E731
    found, _ = joined(image, windows, Sliding(blend="constant"), look)
    assert torch.equal(found[0, 0, 0], torch.tensor([1.0] * 8 + [1.5] * 8 + [2.0] * 8))


@pytest.mark.parametrize("keep", ["half", "disk"])
def test_large_logits_do_not_overflow_in_half_precision(keep):
    image = torch.randn(1, 40, 40, 40)
    windows = plan_windows((40, 40, 40), (16, 16, 16), 0.75, Sliding())
    look = lambda views: torch.cat([views, -views, views], dim=1) * 1500  # noqa: E731
    for blend in ("constant", "gaussian"):
        sliding = Sliding(blend=blend, steps="even")
        full, _ = joined(image, windows, sliding, look)
        half, _ = joined(image, windows, sliding, look, keep=keep)
        assert torch.allclose(half, full, rtol=2e-3, atol=8)
