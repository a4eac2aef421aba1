"""Prediction: what a model said of one study, and what can be measured from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvision.calibration_spec import Calibration
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


@dataclass(frozen=True, repr=False)
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
    confidence : mapping of str to float
        How sure the model is, 0 to 1: of each structure that was found the Dice that its own
        probabilities promise, 2 Σ p over the mask / (voxels of the mask + Σ p) (soft Dice
        confidence: Borges et al., arXiv 2402.10665), before the mask was cleaned, and of a region
        with what others cover of it; of a classification the probability of what is `predicted`.
    review : float, optional
        The confidence below which a person should look; None when the model does not know one.
    uncertainty : Volume, optional
        (1, I, J, K) float16 on the grid of the scan: entropy of the mean probabilities of all
        members and mirrored answers, 0 (sure) to 1 (no class likelier than another); where it
        was asked for.
    calibration : Calibration, optional
        Of `scores`, which are calibrated where there is one.
    unlike : tuple of str
        Ways in which the scan, or what was found in it, is unlike what the model was trained on;
        they are among the warnings.

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
    confidence: Mapping[str, float] = field(default_factory=dict)
    review: float | None = None
    uncertainty: Volume | None = None
    calibration: Calibration | None = None
    unlike: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.mask is None) == (self.scores is None):
            found = "neither" if self.mask is None else "both"
            raise SpecError(f"A prediction has a mask or scores; that of {self.model} has {found}.")
        if self.scores is not None and tuple(self.scores) != self.class_names:
            raise SpecError(
                f"Scores are those of the classes {', '.join(self.class_names)}, in this order; "
                f"found {', '.join(self.scores) or 'none'}."
            )

    def __repr__(self) -> str:
        """On one line: what was found, and whether a person should look."""
        if self.scores is not None:
            found = ", ".join(f"{name} {in_percent(p)}" for name, p in self.scores.items())
        else:
            measured = self.measure()
            found = ", ".join(
                f"{s.name} {s.voxels} voxels" if s.ml is None else f"{s.name} {s.ml:.3g} ml"
                for s in measured
            )
        review = "; needs review" if self.needs_review else ""
        return f"Prediction({self.case_id!r} by {self.model}: {found}{review})"

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

    @property
    def least_confidence(self) -> float | None:
        """The confidence of the least sure structure or class; None where nothing was found."""
        return min(self.confidence.values(), default=None)

    @property
    def needs_review(self) -> bool:
        """Whether a person should look: it is unlike training, or the model less sure than then."""
        return bool(self.unlike) or self.is_unsure

    @property
    def is_unsure(self) -> bool:
        """Whether the model is less sure than it mostly was in training; False where unknown."""
        least = self.least_confidence
        return self.review is not None and least is not None and least < self.review

    @property
    def prediction_set(self) -> tuple[str, ...] | None:
        """Classes of which one is true as often as `calibration` states; None where unknown."""
        if self.calibration is None or self.scores is None or self.multilabel:
            return None
        return self.calibration.set_of(self.scores)

    @property
    def decided(self) -> tuple[str, ...] | None:
        """The classes that reach their thresholds; None where there are no thresholds."""
        if self.calibration is None or self.scores is None or not self.calibration.thresholds:
            return None
        return self.calibration.found_by(self.scores)

    def measure(self) -> list[Structure]:
        """Measure every structure, in label order; a classification has none."""
        return list(self._measured)

    @cached_property
    def _measured(self) -> tuple[Structure, ...]:
        if self.mask is None:
            return ()
        profiles = count_along(self.mask.array[0][self.region], len(self.class_names))
        return tuple(
            measure_structure(self.mask, label, name, self.region, [one[label] for one in profiles])
            for label, name in enumerate(self.class_names, start=1)
        )

    def saying(self, **changes: Any) -> Prediction:
        """Return the same mask with other things said of it; what was measured is kept."""
        other = replace(self, **changes)
        other.__dict__.update({k: v for k, v in vars(self).items() if k == "_measured"})
        return other

    def to_dict(self) -> dict[str, Any]:
        """Return what a JSON result holds; a confidence or limit that is not known is None."""
        said: dict[str, Any] = {"case_id": self.case_id, "model": self.model, "task": self.task}
        if self.mask is not None:
            said["structures"] = [
                asdict(s) | {"confidence": digits_of(self.confidence.get(s.name))}
                for s in self.measure()
            ]
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
        if self.calibration is not None:
            said["calibration"] = {
                "temperature": self.calibration.temperature,
                "alpha": self.calibration.alpha,
                "prediction_set": self.prediction_set,
                "thresholds": dict(self.calibration.thresholds),
                "decided": self.decided,
            }
        said["confidence"] = digits_of(self.least_confidence)
        said["review"] = self.review
        said["needs_review"] = self.needs_review
        said["unlike"] = list(self.unlike)
        said["region"] = [[s.start, s.stop] for s in self.region]
        said["warnings"] = list(self.warnings)
        return said


def rounded(scores: Mapping[str, float]) -> dict[str, float]:
    """Return probabilities as a file holds them."""
    return {name: round(float(p), DIGITS) for name, p in scores.items()}


def digits_of(confidence: float | None) -> float | None:
    """Return a confidence as a file holds it; None where there is none."""
    return None if confidence is None else round(float(confidence), DIGITS)


def count_along(labels: NDArray[np.uint8], most: int) -> list[NDArray[np.int64]]:
    """Return how many voxels of each label lie in each plane across each axis, in one pass.

    Parameters
    ----------
    labels : (I, J, K)
    most : int
        The highest label that is counted.

    Returns
    -------
    list of three arrays
        (most + 1, I), (most + 1, J) and (most + 1, K); background is not counted.
    """
    kinds = most + 1
    found = [np.zeros((kinds, side), np.int64) for side in labels.shape]
    _, wide, deep = labels.shape
    for number, plane in enumerate(labels):
        flat = plane.ravel()
        there = np.flatnonzero(flat)
        label = flat[there].astype(np.int64)
        there, label = there[label < kinds], label[label < kinds]
        j, k = np.divmod(there, deep)
        found[0][:, number] = np.bincount(label, minlength=kinds)
        found[1] += np.bincount(label * wide + j, minlength=kinds * wide).reshape(kinds, wide)
        found[2] += np.bincount(label * deep + k, minlength=kinds * deep).reshape(kinds, deep)
    return found


def measure_structure(
    mask: Volume,
    label: int,
    name: str,
    region: tuple[slice, slice, slice],
    profiles: Sequence[NDArray[np.int64]],
) -> Structure:
    """Measure a structure of which each plane across each axis of `region` has so many voxels.

    Volumes are voxel counts times the voxel's volume.
    """
    voxels, known = int(profiles[0].sum()), mask.info.spacing_known
    ml = voxels * voxel_mm3(mask.affine) / 1000.0 if known else None  # mm³ → ml
    if voxels == 0:
        return Structure(name, label, 0, ml, None, None, False)
    there = [np.flatnonzero(one) for one in profiles]
    low, high = np.array([one[0] for one in there]), np.array([one[-1] for one in there])
    shape = np.array([len(one) for one in profiles])
    sides = shape > 1  # the one slice of a 2D image is no border
    touches = bool((((low == 0) | (high == shape - 1)) & sides).any())
    centroid = extent = None
    if known:
        mean = [float(np.arange(len(one)) @ one) / voxels for one in profiles]
        start = [s.start for s in region]
        x, y, z = (float(v) for v in to_world(mask.affine, np.add(mean, start)))
        a, b, c = (float(v) for v in (high - low + 1) * spacing_of(mask.affine))
        centroid, extent = (x, y, z), (a, b, c)
    return Structure(name, label, voxels, ml, centroid, extent, touches)


def in_percent(probability: float) -> str:
    """Return a probability as text; never 0% or 100%, which no model can promise."""
    if probability < 0.001:
        return "< 0.1%"
    return "> 99.9%" if probability > 0.999 else f"{probability:.1%}"


def calibrated_note(prediction: Prediction) -> str:
    """Return in words the prediction set, and which classes reach their thresholds; or nothing.

    Examples
    --------
    >>> whole = (slice(0, 1),) * 3
    >>> known = Calibration(1.5, "val", 99, 0.1, 0.8, 99, {"no": 0.7, "yes": 0.3}, "Youden")
    >>> said = {"scores": {"no": 0.6, "yes": 0.4}, "calibration": known}
    >>> print(calibrated_note(Prediction("a", "m", ("no", "yes"), whole, **said)))
    One of: no, yes; 90% of such sets hold the truth. At or above its threshold (Youden): yes.
    """
    told, known = [], prediction.calibration
    if known is None:
        return ""
    if prediction.prediction_set is not None and known.alpha is not None:
        names = ", ".join(prediction.prediction_set)
        told.append(f"One of: {names}; {100 * (1 - known.alpha):.3g}% of such sets hold the truth.")
    if prediction.decided is not None:
        names = ", ".join(prediction.decided) or "none"
        told.append(f"At or above its threshold ({known.rule}): {names}.")
    return " ".join(told)
