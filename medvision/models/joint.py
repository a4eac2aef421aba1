"""Networks that take an image with its report: `FusionClassifier` and `FilmSegmenter`.

Images are (B, C, I, J, K); reports are texts, the empty one standing for none.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medvision.models.encoder import Encoder
from medvision.models.fusion import AttentionPool, Fused, FusionHead, present
from medvision.models.network import Segmenter, flatten
from medvision.models.text import TextEncoder


class FusionClassifier(nn.Module):
    """An image encoder, a text encoder, and a fusion head on the tokens of both.

    Parameters
    ----------
    encoder : Encoder
        Any of `medvision.models`; each voxel of its deepest map is a token.
    text_encoder : TextEncoder
    classes : int
    method, modality_dropout, width, dropout
        As of `FusionHead`.
    """

    def __init__(
        self,
        encoder: Encoder,
        text_encoder: TextEncoder,
        classes: int,
        method: str = "gated",
        modality_dropout: tuple[float, float] = (0.1, 0.3),
        width: int = 128,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.dims, self.divisor = len(encoder.strides[0]), encoder.divisor
        self.encoder, self.text_encoder = encoder, text_encoder
        self.head = FusionHead(
            encoder.channels[-1] + self.dims,
            text_encoder.dim,
            classes,
            method,
            modality_dropout,
            width,
            dropout,
        )

    def forward(
        self, image: Tensor, reports: Sequence[str], has_image: Tensor | None = None
    ) -> Tensor | list[Tensor]:
        """Return logits (B, N); in training mode those of both, of the image, and of the report.

        The latter two let the loss reach either encoder by itself.
        """
        fused = self.read(image, reports, has_image)
        if self.training:
            return [fused.logits, fused.image_logits, fused.text_logits]
        return fused.logits

    def read(self, image: Tensor, reports: Sequence[str], has_image: Tensor | None = None) -> Fused:
        """Return all that the head says of images (B, C, I, J, K) and as many reports."""
        deepest = self.encoder(flatten(image, self.dims))[-1]
        fused: Fused = self.head(image_tokens(deepest), *self.text_encoder(reports), has_image)
        return fused


class FilmSegmenter(Segmenter):
    """A segmentation whose deepest map is scaled and shifted by what the report says.

    Perez et al., AAAI 2018. It begins as if there were no report.

    Parameters
    ----------
    segmenter : Segmenter
        Its encoder, decoder and heads become this network's.
    text_encoder : TextEncoder
    text_dropout : float
        Chance, in training, to leave the report out.
    """

    def __init__(
        self, segmenter: Segmenter, text_encoder: TextEncoder, text_dropout: float = 0.3
    ) -> None:
        super().__init__(segmenter.encoder, segmenter.decoder, list(segmenter.heads))
        self.text_encoder, self.text_dropout = text_encoder, text_dropout
        width, channels = text_encoder.dim, self.encoder.channels[-1]
        self.text = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())
        self.no_text = nn.Parameter(torch.randn(width) * 0.02)
        self.pool, self.film = AttentionPool(width), nn.Linear(width, 2 * channels)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, image: Tensor, reports: Sequence[str] = ()) -> Tensor | list[Tensor]:
        """Return logits (B, N, I, J, K); in training mode a list of them, finest first."""
        flat = flatten(image, self.dims)
        *finer, deepest = self.encoder(flat)
        tokens, real = self.text_encoder(reports or [""] * len(image))
        if self.training:
            real = real & (torch.rand(len(real), 1, device=real.device) >= self.text_dropout)
        read = self.pool(*present(tokens, real, self.text, self.no_text))  # (B, W)
        scale, shift = self.film(read).unflatten(1, (2, -1, *[1] * self.dims)).unbind(dim=1)
        return self.decode(flat, [*finer, (1 + scale) * deepest + shift])


def image_tokens(features: Tensor) -> Tensor:
    """Return the voxels of a map (B, C, I, J[, K]) as tokens (B, S, C + 2 or 3).

    The last numbers say where each lies, from -1 to 1 along each axis: without them nothing that
    takes a mean over tokens could tell left from right.
    """
    sides = features.shape[2:]
    axes = [torch.linspace(-1, 1, n, device=features.device, dtype=features.dtype) for n in sides]
    axes = [axis if n > 1 else axis * 0 for axis, n in zip(axes, sides, strict=True)]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"))  # (2 or 3, I, J[, K])
    places = places.expand(len(features), *places.shape)
    return torch.cat([features, places], dim=1).flatten(2).transpose(1, 2)
