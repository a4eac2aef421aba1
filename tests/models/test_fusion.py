"""Fusion heads: what is absent is never looked at, and no sample knows of its neighbors."""

import pytest
import torch

from medvision.errors import SpecError
from medvision.models.fusion import FusionHead, drop_modalities
from medvision.text_spec import METHODS

B, S, T, CLASSES = 6, 5, 7, 3


def head(method, **more):
    torch.manual_seed(0)
    return FusionHead(11, 13, CLASSES, method, width=16, **more).eval()


def batch(seed=1):
    rng = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([7, 3, 1, 5, 2, 4])
    real = torch.arange(T) < lengths[:, None]
    image = torch.randn(B, S, 11, generator=rng)
    return image, torch.randn(B, T, 13, generator=rng), real


HAS_IMAGE = torch.tensor([1, 0, 1, 1, 0, 1]).bool()
HAS_TEXT = torch.tensor([1, 1, 0, 1, 1, 0]).bool()


@pytest.mark.parametrize("method", METHODS)
def test_what_is_absent_or_padded_changes_nothing(method):
    net, (image, text, real) = head(method), batch()
    before = net(image, text, real, HAS_IMAGE, HAS_TEXT)
    spoilt_image, spoilt_text = image.clone(), text.clone()
    spoilt_image[~HAS_IMAGE] = float("nan")
    spoilt_text[~HAS_TEXT] = float("inf")
    spoilt_text[~real] = float("nan")
    after = net(spoilt_image, spoilt_text, real, HAS_IMAGE, HAS_TEXT)
    for mine, yours in zip(before, after, strict=True):
        if mine is not None:
            torch.testing.assert_close(mine, yours, atol=1e-5, rtol=0)
    assert before.logits.isfinite().all()


@pytest.mark.parametrize("method", METHODS)
def test_a_mixed_batch_is_each_case_alone_in_any_order(method):
    net, (image, text, real) = head(method), batch()
    together = net(image, text, real, HAS_IMAGE, HAS_TEXT).logits
    for i in range(B):
        length = int(real[i].sum())
        one = net(
            image[i : i + 1],
            text[i : i + 1, :length],
            has_image=HAS_IMAGE[i : i + 1],
            has_text=HAS_TEXT[i : i + 1],
        )
        torch.testing.assert_close(one.logits[0], together[i], atol=1e-5, rtol=0)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    turned = net(image[order], text[order], real[order], HAS_IMAGE[order], HAS_TEXT[order]).logits
    torch.testing.assert_close(turned, together[order], atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_both_absent_is_an_error_that_names_the_samples(method):
    image, text, real = batch()
    with pytest.raises(SpecError, match=r"samples \[1, 4\]"):
        head(method)(image, text, real & HAS_IMAGE[:, None], HAS_IMAGE)


@pytest.mark.parametrize("method", METHODS)
def test_both_modalities_are_heard_where_they_are_there(method):
    net, (image, text, real) = head(method), batch()
    said = net(image, text, real).logits
    assert not torch.allclose(said, net(image + 1.0 * torch.randn_like(image), text, real).logits)
    assert not torch.allclose(said, net(image, text + 1.0 * torch.randn_like(text), real).logits)


def test_attention_sums_to_one_over_real_tokens_alone():
    image, text, real = batch()
    said = head("cross_attention")(image, text, real, HAS_IMAGE, HAS_TEXT)
    torch.testing.assert_close(said.attention.sum(dim=1), HAS_TEXT.float())
    torch.testing.assert_close(said.image_attention.sum(dim=1), HAS_IMAGE.float())
    assert (said.attention[~real] == 0).all()


def test_gates_sum_to_one_and_let_nothing_absent_through():
    image, text, real = batch()
    gates = head("gated")(image, text, real, HAS_IMAGE, HAS_TEXT).gates
    torch.testing.assert_close(gates.sum(dim=1), torch.ones(B))
    assert (gates[~HAS_IMAGE, 0] == 0).all()
    assert (gates[~HAS_TEXT, 1] == 0).all()
    assert (gates[HAS_IMAGE & HAS_TEXT] > 0).all()


def test_late_is_the_mean_of_what_is_there():
    image, text, real = batch()
    said = head("late")(image, text, real, HAS_IMAGE, HAS_TEXT)
    mean = (said.image_logits + said.text_logits) / 2
    both = HAS_IMAGE & HAS_TEXT
    torch.testing.assert_close(said.logits[both], mean[both])
    torch.testing.assert_close(said.logits[~HAS_TEXT], said.image_logits[~HAS_TEXT])
    torch.testing.assert_close(said.logits[~HAS_IMAGE], said.text_logits[~HAS_IMAGE])


@pytest.mark.parametrize("method", METHODS)
def test_every_weight_learns(method):
    net = head(method).train()
    image, text, real = batch()
    has_image, has_text = HAS_IMAGE, HAS_TEXT
    said = net(image, text, real, has_image, has_text)
    (said.logits.square() + said.image_logits.square() + said.text_logits.square()).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_modality_dropout_leaves_out_as_many_as_asked_and_never_both():
    torch.manual_seed(0)
    seen = told = torch.ones(20_000, dtype=torch.bool)
    kept = drop_modalities(seen, told, (0.1, 0.3))
    # of the 3 % that would lose both, the image goes in a quarter, the text in three quarters
    assert abs(float((~kept[0]).float().mean()) - (0.1 * 0.7 + 0.03 / 4)) < 0.006
    assert abs(float((~kept[1]).float().mean()) - (0.3 * 0.9 + 0.03 * 3 / 4)) < 0.01
    assert (kept[0] | kept[1]).all()


@pytest.mark.parametrize("shares", [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0)])
def test_what_is_alone_is_never_left_out(shares):
    seen, told = torch.tensor([1, 0, 1]).bool(), torch.tensor([0, 1, 1]).bool()
    for _ in range(20):
        image, text = drop_modalities(seen, told, shares)
        assert (image | text).all()
        assert not (image & ~seen).any()
        assert not (text & ~told).any()
    if shares == (1.0, 0.0):
        assert image.tolist() == [True, False, False]
    if shares == (0.0, 1.0):
        assert text.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"method": "sum"}, "method: unknown 'sum'. Choose from: late, concat, gated"),
        ({"image_dim": 0}, "image_dim is a whole number from 1 on; found 0"),
        ({"text_dim": -3}, "text_dim is a whole number from 1 on; found -3"),
        ({"text_dim": 1.5}, "text_dim is a whole number from 1 on; found 1.5"),
        ({"num_classes": 0}, "num_classes is a whole number from 1 on; found 0"),
        ({"width": 0}, "width is a whole number from 1 on; found 0"),
        ({"width": 10}, "width divides by 4; found 10"),
        ({"dropout": 1.2}, "dropout is a share, 0 to 1; found 1.2"),
        ({"dropout": float("nan")}, "dropout is a share, 0 to 1; found nan"),
        ({"modality_dropout": (-0.1, 0.3)}, "modality_dropout is two shares"),
        ({"modality_dropout": (0.1, 1.3)}, "modality_dropout is two shares"),
        ({"modality_dropout": (0.7, 0.7)}, r"together at most 1; found (0.7, 0.7)"),
        ({"modality_dropout": (0.1, 0.1, 0.1)}, "modality_dropout is two shares"),
    ],
)
def test_a_wrong_setting_names_itself_and_what_fits(wrong, says):
    with pytest.raises(SpecError) as caught:
        FusionHead(**{"image_dim": 4, "text_dim": 4, "num_classes": 2} | wrong)
    assert says in str(caught.value)


@pytest.mark.parametrize("shares", [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (0.1, 0.9)])
def test_shares_that_fit_are_taken(shares):
    assert FusionHead(4, 4, 1, modality_dropout=shares).modality_dropout == shares
