"""The text encoder that a spec asks for."""

from __future__ import annotations

from medvision.errors import SpecError
from medvision.models.huggingface import HuggingFaceEncoder
from medvision.models.text import HEADS, SmallTextEncoder, TextEncoder
from medvision.text_spec import TextSpec


def build_text_encoder(spec: TextSpec) -> TextEncoder:
    """Build the encoder that a spec asks for, its own one with random weights.

    Raises
    ------
    SpecError
        When it has no vocabulary, or there is no such Hugging Face encoder.
    MissingExtra
        When that needs packages that are not installed.
    """
    if spec.encoder:
        return HuggingFaceEncoder(spec.encoder, spec.trained_layers, spec.max_tokens)
    if not spec.vocabulary:
        raise SpecError(
            "The text encoder has no vocabulary: it is learned from the training reports "
            "(medvision plan --fuse …, or medvision.models.text.learn_vocabulary)."
        )
    if spec.width % HEADS:
        raise SpecError(f"The width of a text encoder divides by {HEADS}; found {spec.width}.")
    return SmallTextEncoder(spec.vocabulary, spec.width, spec.layers, spec.max_tokens)
