"""What every importer makes of a foreign model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from medvision.spec import ModelSpec

MOST = 255  # structures: labels are uint8


@dataclass(frozen=True)
class Imported:
    """A model from elsewhere, in medvision's words.

    Parameters
    ----------
    spec : ModelSpec
    states : sequence of dict of str to Tensor
        Weights by medvision's names, one a member.
    card : str
        Markdown: where it comes from, and what was translated how.
    """

    spec: ModelSpec
    states: Sequence[dict[str, Tensor]]
    card: str
