"""How voxel values reach a network; part of a model's spec. Knows nothing of voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from medvision.errors import SpecError

Range = tuple[float, float]  # (low, high), low ≤ high


@dataclass(frozen=True)
class Intensity:
    """How voxel values reach the network.

    Parameters
    ----------
    rule : {"zscore", "window", "fixed", "range"}
        ``zscore``: clip to the `percentiles` of the image, subtract the mean, divide by the
        standard deviation (MR). ``window``: map `low`…`high` to −1…1 and clip (CT, in HU;
        pictures, 0 to 255). ``fixed``: clip to `low`…`high`, subtract `mean`, divide by `std`,
        whatever the image. ``range``: map the `percentiles` of the image to `to`, and clip.
    percentiles : (float, float)
        For ``zscore`` and ``range``.
    low, high : float
        For ``window`` and ``fixed``.
    mean, std : float
        For ``fixed``.
    to : (float, float)
        For ``range``.
    clip : bool
        False leaves values beyond the limits (not of ``window``) as they come.
    inside : {"", "nonzero", "filled"}
        Where ``zscore`` takes its statistics from, and acts; what lies outside is 0. Everywhere;
        the voxels that are not 0; or these with the holes among them, of all inputs together.
    """

    rule: Literal["zscore", "window", "fixed", "range"] = "zscore"
    percentiles: Range = (0.5, 99.5)
    low: float = -100.0
    high: float = 300.0
    mean: float = 0.0
    std: float = 1.0
    to: Range = (0.0, 1.0)
    clip: bool = True
    inside: Literal["", "nonzero", "filled"] = ""

    def __post_init__(self) -> None:
        rules, places = ("zscore", "window", "fixed", "range"), ("", "nonzero", "filled")
        if self.rule not in rules:
            raise SpecError(
                f"Unknown intensity rule {self.rule!r}. Choose from: {', '.join(rules)}."
            )
        if not 0 <= self.percentiles[0] < self.percentiles[1] <= 100 or not self.low < self.high:
            raise SpecError(f"Intensity limits must rise: {self}.")
        if not self.std > 0 or not self.to[0] < self.to[1]:
            raise SpecError(f"std is above 0, and `to` rises: {self}.")
        if self.inside not in places or (self.inside and self.rule != "zscore"):
            raise SpecError(f"inside is of zscore, one of {', '.join(places)}: {self}.")
