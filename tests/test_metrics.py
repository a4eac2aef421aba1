"""Agreement of masks, on cases worked by hand."""

import math

import numpy as np
import pytest

from medvision.metrics import dice, hd95_mm
from medvision.scores import MaskScore, read_scores, score_table, write_scores


def box(*slices):
    mask = np.zeros((20, 20, 20), bool)
    mask[slices] = True
    return mask


def test_dice_by_hand():
    a, b = box(slice(0, 4), 0, 0), box(slice(2, 8), 0, 0)
    assert dice(a, b) == pytest.approx(2 * 2 / (4 + 6))
    assert dice(a, a) == 1
    assert dice(a, box(slice(0, 0))) == 0
    assert dice(box(slice(0, 0)), box(slice(0, 0))) == 1


def test_surface_distance_is_in_mm():
    a = box(slice(5, 10), slice(5, 10), slice(5, 10))
    b = box(slice(5, 10), slice(5, 10), slice(8, 13))  # three slices further
    assert hd95_mm(a, b, (1, 1, 2.5)) == pytest.approx(7.5)
    assert hd95_mm(a, a, (1, 1, 1)) == 0
    assert math.isnan(hd95_mm(a, box(slice(0, 0)), (1, 1, 1)))


def test_scores_survive_their_file(tmp_path):
    scores = [
        MaskScore("x", "a", 0.9, float("nan"), 1.25, -0.1),
        MaskScore("y", "a", 0.8, 2.0, 2.0, 0.3),
    ]
    again = read_scores(write_scores(scores, tmp_path / "s.csv"))
    assert again[1] == scores[1]
    assert math.isnan(again[0].hd95_mm)
    assert "| a | 2 | 0.8500 ± 0.0500 | 2.00 | +0.100 | 0.200 |" in score_table(scores)
