"""What a model remembers of the scans that it was trained on, as frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from medvision.intensity_spec import Range


@dataclass(frozen=True)
class Fingerprint:
    """The range of the training images; what lies far outside is warned about.

    Parameters
    ----------
    cases : int
    extent_mm, spacing_mm : three (low, high)
        Along the model's axes, in mm; pixels, and 1, where the pictures have no known spacing.
    brightness : (low, high)
        Where the median lies between the 1st (0) and the 99th (1) percentile: a measure of
        contrast that does not depend on the scanner's units.
    level : (low, high)
        Median value, meaningful only for the ``window`` rule.
    spacing_known : bool
        Whether the training images had a voxel size.
    saturated : (low, high)
        Of the voxels above the lowest value, the share at the highest: 1 for shapes of two
        values, near 0 for gray images.
    peak : (low, high), optional
        Highest value, meaningful only for the ``window`` rule; None when unknown.
    volumes_ml : mapping of str to (low, high)
        Of each structure that ten cases or more hold, in those; of a segmentation whose scans have
        a voxel size.
    """

    cases: int
    extent_mm: tuple[Range, Range, Range]
    spacing_mm: tuple[Range, Range, Range]
    brightness: Range
    level: Range
    spacing_known: bool = True
    saturated: Range = (0.0, 1.0)
    peak: Range | None = None
    volumes_ml: Mapping[str, Range] = field(default_factory=dict)
