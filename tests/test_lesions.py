"""Lesions that were found, missed and invented: by hand, and by looking at each part."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label

from medvision.errors import SpecError
from medvision.lesions import LesionCounts, count_lesions


def line(text):
    return np.array([[c != "." for c in text]])


def test_lesions_by_hand():
    truth = line("aa..bbb...cc.d")
    found = line(".x..x.x.xx....")  # a once, b in two parts, one invented, c and d missed
    counts = count_lesions(found, truth)
    assert counts == LesionCounts(true=4, hit=2, found=4, false=1)
    assert counts.sensitivity == 2 / 4
    assert counts.precision == 2 / 3
    assert counts.f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 2))


def test_one_part_over_two_lesions_hits_both_unless_matched_one_to_one():
    truth, found = line("aaa.bb.."), line("xxxxxx..")
    assert count_lesions(found, truth) == LesionCounts(2, 2, 1, 0)
    assert count_lesions(found, truth, min_iou=0.1) == LesionCounts(2, 1, 1, 0)
    assert count_lesions(found, truth, min_iou=0.49) == LesionCounts(2, 1, 1, 0)  # IoU 3/6
    assert count_lesions(found, truth, min_iou=0.5) == LesionCounts(2, 0, 1, 1)


def test_as_many_pairs_as_can_be():
    truth, found = line("aaaa.bb..."), line("..xxxx.yyy")  # x: a and b; y: none
    found[0, 0] = True  # a part of a of its own
    assert count_lesions(found, truth, min_iou=0.1).hit == 2  # x with b, for a has another


def test_connectivity():
    truth = np.eye(3, dtype=bool)
    assert count_lesions(truth, truth) == LesionCounts(3, 3, 3, 0)
    assert count_lesions(truth, truth, connectivity=2) == LesionCounts(1, 1, 1, 0)


def test_empty_masks():
    nothing, some = np.zeros((2, 5), bool), line("a.b..").repeat(2, axis=0)
    both = count_lesions(nothing, nothing)
    assert both == LesionCounts(0, 0, 0, 0)
    assert both.f1 == 1
    assert np.isnan(both.sensitivity)
    assert np.isnan(both.precision)
    missed, invented = count_lesions(nothing, some), count_lesions(some, nothing)
    assert (missed, missed.f1, missed.sensitivity) == (LesionCounts(2, 0, 0, 0), 0, 0)
    assert (invented, invented.f1, invented.precision) == (LesionCounts(0, 0, 2, 2), 0, 0)
    assert missed + invented == LesionCounts(2, 0, 2, 2)
    assert count_lesions(nothing, some, min_iou=0.5) == missed


def test_totals_are_sums_of_counts():
    one, other = LesionCounts(1, 1, 1, 0), LesionCounts(9, 3, 4, 1)
    assert (one + other).sensitivity == 4 / 10
    assert (one + other).precision == 4 / 5


def test_a_threshold_is_a_share():
    with pytest.raises(SpecError, match="from 0 to below 1"):
        count_lesions(line("a"), line("a"), min_iou=1)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.3, 0.6]))
def test_counts_are_those_of_looking_at_each_part(seed, share):
    rng = np.random.default_rng(seed)
    found, truth = rng.random((2, 7, 6, 5)) < share
    mine, n_mine = label(found)
    yours, n_yours = label(truth)
    hit = sum(found[yours == n].any() for n in range(1, n_yours + 1))
    false = sum(not truth[mine == n].any() for n in range(1, n_mine + 1))
    assert count_lesions(found, truth) == LesionCounts(n_yours, hit, n_mine, false)
    matched = sum(
        ((yours == n) & (mine == m)).sum() / ((yours == n) | (mine == m)).sum() > 0.5
        for n in range(1, n_yours + 1)
        for m in np.unique(mine[yours == n])
        if m
    )  # above a half every pair is the only one of both
    assert count_lesions(found, truth, min_iou=0.5).hit == matched
