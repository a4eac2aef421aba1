"""Fusion heads: image tokens and text tokens in, logits out, whichever of the two is there.

Knows nothing of encoders: any that gives tokens will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import NamedTuple

import torch
from torch import Tensor, nn

from medvision.errors import SpecError
from medvision.text_spec import METHODS, check_modality_dropout

HEADS = 4  # of cross-attention


class Fused(NamedTuple):
    """What a fusion head says of a batch.

    Attributes
    ----------
    logits : (B, N)
    image_logits, text_logits : (B, N)
        Of each alone; where it is absent, what is said without having seen anything.
    gates : (B, 2), optional
        How much of the image's and the text's vector is let through, summing to 1 (``gated``); no
        shares of the evidence.
    attention : (B, T), optional
        Where in the text the image looks; sums to 1 over its tokens, 0 where there is no text
        (``cross_attention``).
    image_attention : (B, S), optional
        Where in the image the text looks, likewise.
    """

    logits: Tensor
    image_logits: Tensor
    text_logits: Tensor
    gates: Tensor | None = None
    attention: Tensor | None = None
    image_attention: Tensor | None = None


class FusionHead(nn.Module):
    """Join an image with a text.

    What is absent is replaced by a learned token (Lee et al., CVPR 2023), never looked at, and
    practiced by leaving either out at random (modality dropout: Neverova et al., PAMI 2016).

    Parameters
    ----------
    image_dim, text_dim : int
        Length of the tokens' vectors.
    num_classes : int
    method : str
        ``late``: the mean of the logits that each gives alone. ``concat``: both vectors and their
        product, and a hidden layer. ``gated``: the same, but each vector is let through in part
        first, by what both hold (after Arevalo et al., ICLR 2017). ``film``: the text
        scales and shifts the image's features (Perez et al., AAAI 2018). ``cross_attention``: each
        looks at the tokens of the other (Vaswani et al., 2017), then as concat.
    modality_dropout : (float, float)
        Chances, in training, to leave out the image, and the text; never both.
    width : int
        Length of the vectors that are joined.
    dropout : float
        Of these vectors, in training.

    Raises
    ------
    SpecError
        Naming the argument that does not fit.
    """

    def __init__(
        self,
        image_dim: int,
        text_dim: int,
        num_classes: int,
        method: str = "gated",
        modality_dropout: tuple[float, float] = (0.1, 0.3),
        width: int = 128,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        sizes = {"image_dim": image_dim, "text_dim": text_dim, "num_classes": num_classes}
        check_settings(sizes, method, modality_dropout, width, dropout)
        self.method, self.modality_dropout = method, modality_dropout
        self.image, self.text = (
            nn.Sequential(nn.LayerNorm(size), nn.Linear(size, width), nn.GELU())
            for size in (image_dim, text_dim)
        )
        self.no_image = nn.Parameter(torch.randn(width) * 0.02)
        self.no_text = nn.Parameter(torch.randn(width) * 0.02)
        self.image_pool, self.text_pool = AttentionPool(width), AttentionPool(width)
        self.image_head, self.text_head = (head(width, num_classes, dropout) for _ in range(2))
        if method == "gated":
            self.gate = nn.Linear(2 * width, 2)
        elif method == "film":
            self.scale, self.shift = nn.Linear(width, width), nn.Linear(width, width)
        elif method == "cross_attention":
            self.looks = nn.ModuleList(
                nn.MultiheadAttention(width, HEADS, batch_first=True) for _ in range(2)
            )
        if method != "late":
            joined = width if method == "film" else 3 * width
            self.head = head(joined, num_classes, dropout, hidden=width)

    def forward(
        self,
        image: Tensor,
        text: Tensor,
        text_mask: Tensor | None = None,
        has_image: Tensor | None = None,
        has_text: Tensor | None = None,
    ) -> Fused:
        """Join a batch.

        Parameters
        ----------
        image : (B, S, image_dim)
        text : (B, T, text_dim)
        text_mask : (B, T) bool, optional
            Which tokens are real; by default all are.
        has_image, has_text : (B,) bool, optional
            Which are there; by default every image, and every text with a real token. What an
            absent one holds does not matter, not even if it is NaN.

        Raises
        ------
        SpecError
            When a sample has neither.
        """
        count, device = len(image), image.device
        real = torch.ones(text.shape[:2], dtype=torch.bool, device=device)
        real = real if text_mask is None else text_mask.bool()
        seen = torch.ones(count, dtype=torch.bool, device=device)
        seen = seen if has_image is None else has_image.bool()
        told = real.any(dim=1) & (True if has_text is None else has_text.bool())
        neither = (~seen & ~told).nonzero().flatten().tolist()
        if neither:
            raise SpecError(f"Neither image nor report: samples {neither} of the batch.")
        if self.training:
            seen, told = drop_modalities(seen, told, self.modality_dropout)
        real = real & told[:, None]
        pixels = torch.ones(image.shape[:2], dtype=torch.bool, device=device) & seen[:, None]
        image, pixels = present(image, pixels, self.image, self.no_image)
        text, real = present(text, real, self.text, self.no_text)
        look, read = self.image_pool(image, pixels), self.text_pool(text, real)  # (B, W)
        alone = self.image_head(look), self.text_head(read)
        if self.method == "late":
            shares = torch.stack([seen, told], dim=1).to(look.dtype)  # (B, 2)
            shares = shares / shares.sum(dim=1, keepdim=True)
            return Fused(shares[:, :1] * alone[0] + shares[:, 1:] * alone[1], *alone)
        if self.method == "concat":
            return Fused(self.head(side_by_side(look, read)), *alone)
        if self.method == "gated":
            gates = self.gate(torch.cat([look, read], dim=1))  # (B, 2)
            there = torch.stack([seen, told], dim=1)
            gates = gates.masked_fill(~there, float("-inf")).softmax(dim=1)
            joined = side_by_side(2 * gates[:, :1] * look, 2 * gates[:, 1:] * read)
            return Fused(self.head(joined), *alone, gates=gates)
        if self.method == "film":
            joined = (1 + self.scale(read)) * look + self.shift(read)
            return Fused(self.head(joined), *alone)
        to_text, attention = self.looks[0](look[:, None], text, text, key_padding_mask=~real)
        to_image, places = self.looks[1](read[:, None], image, image, key_padding_mask=~pixels)
        joined = side_by_side(look + to_text[:, 0], read + to_image[:, 0])
        return Fused(
            self.head(joined),
            *alone,
            attention=attention[:, 0] * told[:, None],
            image_attention=places[:, 0] * seen[:, None],
        )


def check_settings(
    sizes: Mapping[str, int],
    method: str,
    modality_dropout: tuple[float, float],
    width: int,
    dropout: float,
) -> None:
    """Raise `SpecError` for a setting of `FusionHead` that does not fit; `sizes` start at 1."""
    if method not in METHODS:
        raise SpecError(f"method: unknown {method!r}. Choose from: {', '.join(METHODS)}.")
    for name, value in (*sizes.items(), ("width", width)):
        if not isinstance(value, Integral) or value < 1:
            raise SpecError(f"{name} is a whole number from 1 on; found {value!r}.")
    if width % HEADS:
        raise SpecError(f"width divides by {HEADS}; found {width}.")
    if not 0 <= dropout <= 1:
        raise SpecError(f"dropout is a share, 0 to 1; found {dropout!r}.")
    check_modality_dropout(modality_dropout)


class AttentionPool(nn.Module):
    """One vector of many tokens: their mean, weighted by what each holds, plus their maximum.

    The mean is that of Ilse et al. (ICML 2018). The maximum keeps what a single token says, a
    word or a small lesion, as loud as it was: without it, tasks that only the pair of image and
    text decides were learned late or not at all.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Return (B, W) of tokens (B, T, W), of which at least one a row is real."""
        scores = self.score(tokens)[:, :, 0].masked_fill(~real, float("-inf"))
        mean: Tensor = (scores.softmax(dim=1)[:, :, None] * tokens).sum(dim=1)
        return mean + tokens.masked_fill(~real[:, :, None], float("-inf")).amax(dim=1)


def side_by_side(image: Tensor, text: Tensor) -> Tensor:
    """Return two vectors (B, W) and their product as one (B, 3 W).

    The product (as in InferSent: Conneau et al., EMNLP 2017) says what only the pair decides;
    without it a hidden layer must find that out, and often does not.
    """
    return torch.cat([image, text, image * text], dim=1)


def head(size: int, classes: int, dropout: float, hidden: int = 0) -> nn.Sequential:
    """Return a linear head, with a hidden layer when its width is given."""
    layers = [nn.Linear(size, hidden), nn.GELU()] if hidden else []
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(hidden or size, classes))


def present(
    tokens: Tensor, real: Tensor, project: nn.Module, absent: Tensor
) -> tuple[Tensor, Tensor]:
    """Project tokens (B, T, D) to (B, T, W), and put `absent` first where none is real.

    What is not real is set to zero before anything is calculated with it. Returns the tokens and
    which of them may be looked at.
    """
    tokens = project(torch.where(real[:, :, None], tokens, 0.0))
    first = torch.arange(tokens.shape[1], device=tokens.device) == 0
    instead = ~real.any(dim=1, keepdim=True) & first  # (B, T)
    return torch.where(instead[:, :, None], absent.to(tokens.dtype), tokens), real | instead


def drop_modalities(
    seen: Tensor, told: Tensor, shares: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Leave out images and texts (B,) at random; where both would go, one of them stays.

    Which of them stays is drawn as often as each would go. What was absent stays so.
    """
    count, device = len(seen), seen.device
    drop = torch.rand(2, count, device=device) < torch.tensor(shares, device=device)[:, None]
    both = drop.all(dim=0)
    odds = shares[0] / max(sum(shares), 1e-9)
    keep_image = torch.rand(count, device=device) >= odds
    drop_image = (drop[0] & ~(both & keep_image)) & told
    drop_text = (drop[1] & ~(both & ~keep_image)) & seen
    return seen & ~drop_image, told & ~drop_text
