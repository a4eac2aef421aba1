"""Prediction: what a model said of one study, and what can be measured from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from medvision.codes import ClassCodes
from medvision.errors import SpecError
from medvision.geometry import spacing_of, to_world, voxel_mm3
from medvision.spec import Task, found_in, label_of
from medvision.volume import Volume

DIGITS = 6  # of a probability in a file


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
    """What a model said of one study: a mask (segmentation) or probabilities (classification).

    Parameters
    ----------
    case_id : str
    model : str
        Name of the model.
    class_names : tuple of str
        Of a segmentation, label ``i + 1`` is ``class_names[i]``; of a classification, the classes.
    region : three slices
        The block of the scan that the model was shown.
    mask : Volume, optional
        (1, I, J, K) uint8 labels, on the grid of the scan.
    scores : mapping of str to float, optional
        Probability of each class, in the order of `class_names`; they sum to 1, unless
        `multilabel`.
    warnings : tuple of str
        Why the result may deserve less trust.
    alone : mapping of str to mapping
        Of a model that takes a report: the `scores` that it gives to the ``image`` alone and to
        the ``report`` alone.
    multilabel : bool
        Whether each class has a probability of its own, so that several are found, or none.
    codes : mapping of str to ClassCodes
        What DICOM results call the classes; a class may lack them.

    Raises
    ------
    SpecError
        When it has both a mask and scores or neither, or scores of other classes.
    """

    case_id: str
    model: str
    class_names: tuple[str, ...]
    region: tuple[slice, slice, slice]
    mask: Volume | None = None
    scores: Mapping[str, float] | None = None
    warnings: tuple[str, ...] = ()
    alone: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    multilabel: bool = False
    codes: Mapping[str, ClassCodes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.mask is None) == (self.scores is None):
            found = "neither" if self.mask is None else "both"
            raise SpecError(f"A prediction has a mask or scores; that of {self.model} has {found}.")
        if self.scores is not None and tuple(self.scores) != self.class_names:
            raise SpecError(
                f"Scores are those of the classes {', '.join(self.class_names)}, in this order; "
                f"found {', '.join(self.scores) or 'none'}."
            )

    @property
    def task(self) -> Task:
        """``"segmentation"`` or ``"classification"``."""
        return "segmentation" if self.scores is None else "classification"

    @property
    def predicted(self) -> str | None:
        """The likeliest class; None for a segmentation.

        With `multilabel` the classes of a probability of 0.5 or more, as ``"a|b"``, or ``"none"``.
        """
        if self.scores and self.multilabel:
            return label_of(found_in(self.scores))
        return self.likeliest

    @property
    def likeliest(self) -> str | None:
        """The class of the highest probability, the first of equals; None for a segmentation."""
        return max(self.scores, key=self.scores.__getitem__) if self.scores else None

    def measure(self) -> list[Structure]:
        """Measure every structure, in label order; a classification has none."""
        if self.mask is None:
            return []
        return [
            measure_structure(self.mask, label, name, self.region)
            for label, name in enumerate(self.class_names, start=1)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return what a JSON result holds."""
        said: dict[str, Any] = {"case_id": self.case_id, "model": self.model, "task": self.task}
        if self.mask is not None:
            said["structures"] = [asdict(s) for s in self.measure()]
            said["grid"] = {
                "shape": list(self.mask.shape),
                "affine": self.mask.affine.tolist(),
                "spacing_mm": list(self.mask.spacing),
                "orientation": self.mask.orientation,
            }
        if self.scores is not None:
            said["predicted"] = self.predicted
            said["scores"] = rounded(self.scores)
            for what, scores in self.alone.items():
                said[f"scores_{what}_alone"] = rounded(scores)
        said["region"] = [[s.start, s.stop] for s in self.region]
        said["warnings"] = list(self.warnings)
        return said


def rounded(scores: Mapping[str, float]) -> dict[str, float]:
    """Return probabilities as a file holds them."""
    return {name: round(float(p), DIGITS) for name, p in scores.items()}


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


def in_percent(probability: float) -> str:
    """Return a probability as text; never 0% or 100%, which no model can promise."""
    if probability < 0.001:
        return "< 0.1%"
    return "> 99.9%" if probability > 0.999 else f"{probability:.1%}"
