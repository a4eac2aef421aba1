"""Prediction: what a model said of one study, and what can be measured from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medvision.geometry import spacing_of, to_world, voxel_mm3
from medvision.volume import Volume


@dataclass(frozen=True)
class Structure:
    """Measurements of one labelled structure.

    `ml`, `centroid_mm` and `extent_mm` are None where the structure is absent or the picture has
    no known spacing; `centroid_mm` is in RAS mm.
    """

    name: str
    label: int
    voxels: int
    ml: float | None
    centroid_mm: tuple[float, float, float] | None
    extent_mm: tuple[float, float, float] | None  # bounding box along the voxel axes
    touches_border: bool  # of what the model was shown: part of it may lie outside


@dataclass(frozen=True)
class Prediction:
    """A segmentation on the grid of the source scan.

    Parameters
    ----------
    case_id : str
    model : str
        Name of the model.
    class_names : tuple of str
        Label ``i + 1`` is ``class_names[i]``.
    mask : Volume
        (1, I, J, K) uint8 labels, on the grid of the scan.
    region : three slices
        The block of the scan that the model was shown.
    warnings : tuple of str
        Why the result may deserve less trust.
    """

    case_id: str
    model: str
    class_names: tuple[str, ...]
    mask: Volume
    region: tuple[slice, slice, slice]
    warnings: tuple[str, ...] = ()

    def measure(self) -> list[Structure]:
        """Measure every structure, in label order."""
        return [
            measure_structure(self.mask, label, name, self.region)
            for label, name in enumerate(self.class_names, start=1)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return what a JSON result holds."""
        return {
            "case_id": self.case_id,
            "model": self.model,
            "structures": [asdict(s) for s in self.measure()],
            "grid": {
                "shape": list(self.mask.shape),
                "affine": self.mask.affine.tolist(),
                "spacing_mm": list(self.mask.spacing),
                "orientation": self.mask.orientation,
            },
            "region": [[s.start, s.stop] for s in self.region],
            "warnings": list(self.warnings),
        }


def measure_structure(
    mask: Volume, label: int, name: str, region: tuple[slice, slice, slice]
) -> Structure:
    """Measure the voxels equal to `label`; volumes are voxel counts times the voxel's volume."""
    inside = mask.array[0][region] == label
    index = np.argwhere(inside)  # (V, 3)
    voxels, known = len(index), mask.info.spacing_known
    ml = voxels * voxel_mm3(mask.affine) / 1000.0 if known else None  # mm³ → ml
    if voxels == 0:
        return Structure(name, label, 0, ml, None, None, False)
    low, high = index.min(axis=0), index.max(axis=0)
    sides = np.asarray(inside.shape) > 1  # the one slice of a 2D image is no border
    touches = bool((((low == 0) | (high == np.asarray(inside.shape) - 1)) & sides).any())
    centroid = extent = None
    if known:
        start = [s.start for s in region]
        x, y, z = (float(v) for v in to_world(mask.affine, index.mean(axis=0) + start))
        a, b, c = (float(v) for v in (high - low + 1) * spacing_of(mask.affine))
        centroid, extent = (x, y, z), (a, b, c)
    return Structure(name, label, voxels, ml, centroid, extent, touches)
