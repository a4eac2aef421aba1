"""How a model is used on a scan larger or finer than its window; parts of a model's spec.

Knows nothing of voxels: `medvision.transforms` and `medvision.sliding` do it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from medvision.errors import SpecError

Ends = Literal["edges", "centers"]
Scaled = Literal["before", "after"]
Average = Literal["probabilities", "logits"]
Steps = Literal["fixed", "even"]
Blend = Literal["gaussian", "constant"]
Beyond = Literal["border", "zero"]

ALIKE = 1e-4  # share by which voxel sides may differ and count as one


@dataclass(frozen=True)
class Sampling:
    """How a scan comes onto the model's grid, and the network's answer back onto the scan's.

    Parameters
    ----------
    order : {0, 1, 3}
        Nearest voxel, linear, or cubic B-spline; of the scan. The answer comes back linearly.
    antialias : bool
        Whether what is finer than the model's grid is smoothed before it is sampled.
    ends : {"edges", "centers"}
        What stays in place when a scan is brought to another voxel size: the outer edges of the
        first and last voxels, or the center of the first.
    thick : float
        Where the largest side of a voxel is more than this many times the smallest, the axis of
        that side is sampled apart, by the nearest slice; 0: never. (nnU-Net's rule.)
    back : {"probabilities", "logits"}
        Which are interpolated.
    crop : {"", "nonzero"}
        Show the network the whole scan, or the box around what is not 0.
    scale : {"before", "after"}
        Whether intensities are scaled before the scan is sampled, or after (MONAI): where they
        are clipped, the edges of what is bright differ.

    Raises
    ------
    SpecError
    """

    order: int = 1
    antialias: bool = True
    ends: Ends = "edges"
    thick: float = 0.0
    back: Average = "probabilities"
    crop: Literal["", "nonzero"] = ""
    scale: Scaled = "before"

    def __post_init__(self) -> None:
        if self.order not in (0, 1, 3):
            raise SpecError(f"Sampling is of order 0, 1 or 3; found {self.order!r}.")
        if not self.thick >= 0:
            raise SpecError(f"thick is 0 or more; found {self.thick!r}.")
        choose("ends", self.ends, get_args(Ends))
        choose("back", self.back, get_args(Average))
        choose("crop", self.crop, ("", "nonzero"))
        choose("scale", self.scale, get_args(Scaled))


@dataclass(frozen=True)
class Sliding:
    """How the window moves over a scan, and what its answers make together.

    Parameters
    ----------
    steps : {"fixed", "even"}
        Steps of one size, the last cut short (MONAI); or all alike, none larger (nnU-Net).
    blend : {"gaussian", "constant"}
        Weights of a window's voxels.
    sigma : float
        Of the Gaussian, as a share of the window's side.
    beyond : {"border", "zero"}
        What lies around a scan smaller than the window: its border again, or 0.
    mirror : tuple of int
        Axes (0, 1, 2) of the model's grid along which the scan may be mirrored to ask again, for
        those who want that (test-time augmentation); every combination is averaged.
    average : {"probabilities", "logits"}
        Of members and mirrored answers. Overlapping windows average their logits.

    Raises
    ------
    SpecError
    """

    steps: Steps = "fixed"
    blend: Blend = "gaussian"
    sigma: float = 0.125
    beyond: Beyond = "border"
    mirror: tuple[int, ...] = ()
    average: Average = "probabilities"

    def __post_init__(self) -> None:
        choose("steps", self.steps, get_args(Steps))
        choose("blend", self.blend, get_args(Blend))
        choose("beyond", self.beyond, get_args(Beyond))
        choose("average", self.average, get_args(Average))
        if not self.sigma > 0:
            raise SpecError(f"sigma is above 0; found {self.sigma!r}.")
        if len(set(self.mirror)) != len(self.mirror) or not set(self.mirror) <= {0, 1, 2}:
            raise SpecError(f"mirror is some of the axes 0, 1, 2; found {self.mirror!r}.")


def thick_axis(old: Sequence[float], new: Sequence[float], factor: float) -> int | None:
    """Return the axis that is sampled apart between two voxel sizes, if any (nnU-Net's rule).

    Sides are alike within a ten thousandth: those of an affine are rounded.

    Examples
    --------
    >>> thick_axis((0.5, 0.5, 5), (1, 1, 1), 3)
    2
    >>> thick_axis((1, 1, 1.5), (0.5, 0.5, 4), 3)
    2
    >>> thick_axis((1, 1, 1.5), (1, 1, 1), 3)
    >>> thick_axis((1, 4, 4), (1, 1, 1), 3)
    """
    for sides in (old, new) if factor else ():
        if max(sides) > factor * min(sides):
            most = max(sides) * (1 - ALIKE)
            largest = [axis for axis, side in enumerate(sides) if side >= most]
            return largest[0] if len(largest) == 1 else None
    return None


def choose(name: str, found: str, known: tuple[str, ...]) -> None:
    """Refuse a setting that is none of those known."""
    if found not in known:
        raise SpecError(f"Unknown {name} {found!r}. Choose from: {', '.join(map(repr, known))}.")
