"""How a model reads the report that comes with an image, and joins the two, as frozen data.

Knows nothing of torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medvision.errors import SpecError
from medvision.report import DEFAULT_SECTIONS, SECTIONS

METHODS = ("late", "concat", "gated", "film", "cross_attention")


def check_modality_dropout(shares: Sequence[float]) -> None:
    """Raise `SpecError` unless these are two shares of the samples: no sample loses both."""
    if len(shares) != 2 or not all(0 <= one <= 1 for one in shares) or sum(shares) > 1:
        raise SpecError(
            "modality_dropout is two shares, without image and without report, each 0 to 1 and "
            f"together at most 1; found {tuple(shares)}."
        )


@dataclass(frozen=True)
class TextSpec:
    """What a model sees of a report, and what it does with it.

    Parameters
    ----------
    fusion : {"late", "concat", "gated", "film", "cross_attention"}
        See `medvision.models.fusion.FusionHead`. A segmentation takes ``film``.
    sections : tuple of str
        Of the report, those that the model sees. The default ones are written before anybody looks
        at the image; labels are mostly mined from ``findings`` and ``impression``, which hold the
        answer then. ``note`` is text under no heading.
    masked : tuple of str
        Words and phrases that are hidden from the model, negations with them.
    encoder : str
        A Hugging Face encoder, by folder or name; empty for a small transformer of our own.
    trained_layers : int
        Last layers of a Hugging Face encoder that are trained; the others stay as they are.
    vocabulary : str
        Of our own encoder: the pieces of words it knows, separated by blanks (WordPiece).
    max_tokens : int
        Pieces that are read of a report; what comes after them is not seen.
    width, layers : int
        Of our own encoder.
    modality_dropout : (float, float)
        Shares of the training samples that are shown without their image, and without their
        report; a sample never loses both.
    """

    fusion: str = "gated"
    sections: tuple[str, ...] = DEFAULT_SECTIONS
    masked: tuple[str, ...] = ()
    encoder: str = ""
    trained_layers: int = 0
    vocabulary: str = ""
    max_tokens: int = 256
    width: int = 64
    layers: int = 2
    modality_dropout: tuple[float, float] = (0.1, 0.3)

    def __post_init__(self) -> None:
        if self.fusion not in METHODS:
            raise SpecError(f"Unknown fusion {self.fusion!r}. Choose from: {', '.join(METHODS)}.")
        strange = [name for name in self.sections if name not in SECTIONS]
        if strange or not self.sections:
            raise SpecError(
                f"Sections are some of {', '.join(SECTIONS)}; found {', '.join(strange) or 'none'}."
            )
        if min(self.max_tokens, self.width, self.layers) < 1 or self.trained_layers < 0:
            raise SpecError(f"max_tokens, width and layers start at 1, trained_layers at 0: {self}")
        check_modality_dropout(self.modality_dropout)

    @property
    def opted_in(self) -> tuple[str, ...]:
        """Sections beyond the default ones."""
        return tuple(name for name in self.sections if name not in DEFAULT_SECTIONS)
