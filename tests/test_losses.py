"""Losses: held against closed forms, MONAI and torch."""

import pytest
import torch
from monai.losses import DiceCELoss
from torch.nn import functional as F  # noqa: N812

from medvision.losses import SupervisedDice, WeightedCrossEntropy, dice_ce


def labels_of(count, classes=3):
    """Random labels (B, 8, 6, 4)."""
    return torch.randint(classes, (count, 8, 6, 4), generator=torch.Generator().manual_seed(0))


def logits_of(count, classes=3):
    """Random logits (B, N, 8, 6, 4) that want a gradient."""
    rng = torch.Generator().manual_seed(1)
    return torch.randn(count, classes, 8, 6, 4, generator=rng).requires_grad_()


def gradient(loss, logits):
    """The gradient of a loss at some logits."""
    (found,) = torch.autograd.grad(loss, logits)
    return found


def test_dice_and_cross_entropy_are_those_of_monai():
    logits, labels = logits_of(2), labels_of(2)
    peer = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    mine, yours = dice_ce(logits, labels), peer(logits, labels[:, None])
    assert mine.item() == pytest.approx(yours.item(), abs=1e-5)
    assert torch.allclose(gradient(mine, logits), gradient(yours, logits), atol=1e-7)


def test_a_perfect_answer_costs_nothing_and_no_answer_what_it_must():
    labels = labels_of(2, classes=2)
    sure = 50 * F.one_hot(labels, 2).movedim(-1, 1).float()
    assert dice_ce(sure, labels).item() == pytest.approx(0, abs=1e-4)
    voxels, inside = labels.numel(), int(labels.sum())
    unsure = dice_ce(torch.zeros(2, 2, 8, 6, 4), labels).item()  # a half everywhere
    dice = 2 * 0.5 * inside / (0.5 * voxels + inside)
    assert unsure == pytest.approx(1 - dice + torch.tensor(2.0).log().item(), abs=1e-5)


def test_a_structure_that_is_nowhere_leaves_the_loss_finite():
    logits = logits_of(1)
    loss = dice_ce(logits, torch.zeros(1, 8, 6, 4, dtype=torch.long))
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient(loss, logits)).all()


def test_a_plane_has_the_loss_of_an_image_of_one_plane():
    logits, labels = logits_of(2)[..., :1], labels_of(2)[..., :1]
    doubled = dice_ce(logits.repeat(1, 1, 1, 1, 2), labels.repeat(1, 1, 1, 2))
    assert dice_ce(logits, labels).item() == pytest.approx(doubled.item(), abs=1e-5)


def test_coarser_maps_count_half_and_meet_every_second_voxel():
    fine, labels = logits_of(2)[:, :, :, :4], labels_of(2)[:, :, :4]  # 8 × 4 × 4
    middle, coarse = fine[:, :, ::2, ::2, ::2] + 1, fine[:, :, ::4, ::4, ::4].flip(1)
    wanted = 4 * dice_ce(fine, labels) + 2 * dice_ce(middle, labels[:, ::2, ::2, ::2])
    wanted = (wanted + dice_ce(coarse, labels[:, ::4, ::4, ::4])) / 7
    criterion = SupervisedDice()
    assert criterion([fine, middle, coarse], labels).item() == pytest.approx(
        wanted.item(), abs=1e-5
    )
    assert criterion(fine, labels).item() == pytest.approx(dice_ce(fine, labels).item(), abs=1e-6)


def test_parts_of_a_batch_have_its_cross_entropy_but_a_dice_each():
    logits, labels = logits_of(2), labels_of(2)
    labels[1] = 0  # no structure in the second image
    whole = gradient(F.cross_entropy(logits, labels), logits)
    parts = sum(F.cross_entropy(logits[i : i + 1], labels[i : i + 1]) for i in (0, 1)) / 2
    assert torch.allclose(whole, gradient(parts, logits), atol=1e-8)
    together = dice_ce(logits, labels).item()
    one_by_one = sum(dice_ce(logits[i : i + 1], labels[i : i + 1]).item() for i in (0, 1)) / 2
    assert one_by_one > together + 0.05  # a Dice of zero where nothing is to be found


def test_a_class_of_double_weight_counts_as_if_it_were_there_twice():
    logits, classes = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)), [0, 0, 1]
    twice = [0, 0, 1, 1]
    weighted = WeightedCrossEntropy(torch.tensor([1.0, 2.0]))(logits, torch.tensor(classes))
    repeated = F.cross_entropy(logits[[0, 1, 2, 2]], torch.tensor(twice))
    assert weighted.item() * 3 == pytest.approx(repeated.item() * 4, abs=1e-6)


def test_parts_of_a_batch_of_cases_have_the_gradient_of_the_whole():
    logits = torch.randn(4, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    classes = torch.tensor([0, 0, 0, 1])
    criterion = WeightedCrossEntropy(torch.tensor([2 / 3, 2.0]), label_smoothing=0.1)
    whole = gradient(criterion(logits, classes), logits)
    parts = (criterion(logits[:2], classes[:2]) + criterion(logits[2:], classes[2:])) / 2
    assert torch.allclose(whole, gradient(parts, logits), atol=1e-8)


def test_label_smoothing_is_that_of_torch():
    logits, classes = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.arange(5)
    found = WeightedCrossEntropy(torch.ones(3), label_smoothing=0.2)(logits, classes % 3)
    expected = F.cross_entropy(logits, classes % 3, label_smoothing=0.2)
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)
