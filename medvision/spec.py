"""Specs: all that training and inference must agree on, as frozen data with units.

One `ModelSpec` drives both, so that they cannot drift apart. Knows nothing of torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from math import isfinite, prod
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from medvision.calibration_spec import Calibration
from medvision.cleanup_spec import Cleanup
from medvision.codes import ClassCodes
from medvision.errors import SpecError
from medvision.fingerprint_spec import Fingerprint
from medvision.from_json import build_dataclass, parse_json
from medvision.inference_spec import Sampling, Sliding
from medvision.intensity_spec import Intensity
from medvision.text_spec import TextSpec

Task = Literal["segmentation", "classification"]

TASKS: tuple[Task, ...] = get_args(Task)
PLANES = ("axial", "coronal", "sagittal")
MOST_LABELS = 255  # of a mask
MOST_VOXELS = 1 << 27  # of a window: 512 along each side
LATER = ("codes", "cleanup", "sampling", "sliding", "regions", "review", "calibration")
LATER_INTENSITY = ("mean", "std", "to", "clip", "inside")
BETWEEN, NO_CLASS = "|", "none"  # the names in a label, and the label without any

_T = TypeVar("_T")


@dataclass(frozen=True)
class InputSpec:
    """One image that a model takes, and which series of a study may feed it.

    Parameters
    ----------
    name : str
        Letters, digits, ``-`` and ``_``: the key in `Study.volumes`.
    modality : str
        DICOM modality that the model was trained on (``"MR"``); empty for any.
    description : str
        Regular expression, searched for in the series description whatever the case; empty for
        any.
    plane : {"", "axial", "coronal", "sagittal"}
        Of the slices; empty for any.
    contrast : bool, optional
        Whether a contrast agent was given; None for either.
    channels : {1, 3}
        3 for color pictures (RGB).
    intensity : Intensity
    """

    name: str = "image"
    modality: str = ""
    description: str = ""
    plane: str = ""
    contrast: bool | None = None
    channels: int = 1
    intensity: Intensity = field(default_factory=Intensity)

    def __post_init__(self) -> None:
        texts = (self.name, self.modality, self.description, self.plane)
        if not all(isinstance(text, str) for text in texts):
            raise SpecError(f"Name, modality, description and plane are text: {self}.")
        if not re.fullmatch(r"[\w-]+", self.name):
            raise SpecError(f"An input's name is letters, digits, - and _; found {self.name!r}.")
        if self.plane not in ("", *PLANES):
            raise SpecError(f"Unknown plane {self.plane!r}. Choose from: {', '.join(PLANES)}.")
        if self.contrast is not None and not isinstance(self.contrast, bool):
            raise SpecError(f"Contrast is true, false or null; found {self.contrast!r}.")
        if self.channels not in (1, 3):
            raise SpecError(f"An input has 1 channel, or 3 of color; found {self.channels!r}.")
        try:
            re.compile(self.description)
        except re.error as error:
            raise SpecError(
                f"Input {self.name}: {self.description!r} is no regular expression: {error}."
            ) from None


@dataclass(frozen=True)
class ModelSpec:
    """Everything that training and inference share.

    Parameters
    ----------
    name : str
        Short name of the model.
    task : {"segmentation", "classification"}
    architecture : str
        A key of `medvision.models.MODELS`.
    network : mapping
        Arguments of that architecture.
    inputs : tuple of InputSpec
        The volumes a study must bring. The first is the reference: the others
        are brought to its grid, and the result lies on it.
    class_names : tuple of str
        Of a segmentation the structures: label ``i + 1`` in a mask is ``class_names[i]``, 0 is
        background. Of a classification the classes, of which an image has exactly one, or with
        `multilabel` any number.
    multilabel : bool
        Whether each class of a classification is a question of its own, yes or no.
    codes : mapping of str to ClassCodes
        What DICOM results call the classes, by class name; a class may lack them.
    cleanup : mapping of str to Cleanup
        What is done to a structure of a mask after the network has spoken, by class name.
    orientation : str
        Voxel axes of the model's grid, such as ``"RAS"``; or the axes of the scan as they are
        stored, I, J and K in some order, whatever their direction (nnU-Net). A 2D network looks
        at planes of the first two, one by one along the third.
    spacing : three floats, optional
        Voxel size of the model's grid in mm, along `orientation`; in 2D the third may be 0: the
        scan's own. None: there is no such size, and each image is fitted into `roi_size` as `fit`
        says (pictures).
    fit : {"pad", "crop"}
        Without `spacing`: show the whole image, with its borders repeated where it is narrower
        than the window, or the largest centered part that fills the window.
    max_obliquity : float
        A scan tilted more than this many degrees is resampled along the world's axes first.
    roi_size : three ints
        Window of the network in voxels of the model's grid; the third is 1 in 2D. A segmentation
        moves it over the scan; a classification looks through one at the scan's center.
    overlap : float
        Share of a window that neighbours repeat, 0 to below 1.
    members : int
        Networks whose probabilities are averaged (an ensemble); each is built from this spec.
    sampling : Sampling
        How a scan comes onto the model's grid, and the answer back.
    sliding : Sliding
        How the window moves over a scan, and what its answers make together.
    regions : tuple of int
        Of a segmentation whose outputs are regions, each judged by itself and perhaps one inside
        another: the label that each output paints, one after the other. Empty: the outputs are
        background and classes, of which a voxel has one.
    review : float, optional
        Below this confidence (0 to 1, see `Prediction.confidence`) a person should look at the
        result; None when it is not known.
    calibration : Calibration, optional
        Of a classification's probabilities.
    fingerprint : Fingerprint, optional
        Of the reference.
    text : TextSpec, optional
        How the report is read and joined with the image; None: the model takes none.
    """

    name: str
    task: Task
    architecture: str
    class_names: tuple[str, ...]
    spacing: tuple[float, float, float] | None  # mm
    roi_size: tuple[int, int, int]
    network: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[InputSpec, ...] = (InputSpec(),)
    orientation: str = "RAS"
    fit: Literal["pad", "crop"] = "pad"
    max_obliquity: float = 5.0  # degrees
    overlap: float = 0.5
    members: int = 1
    fingerprint: Fingerprint | None = None
    text: TextSpec | None = None
    multilabel: bool = False
    codes: Mapping[str, ClassCodes] = field(default_factory=dict)
    cleanup: Mapping[str, Cleanup] = field(default_factory=dict)
    sampling: Sampling = field(default_factory=Sampling)
    sliding: Sliding = field(default_factory=Sliding)
    regions: tuple[int, ...] = ()
    review: float | None = None
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise SpecError(f"Unknown task {self.task!r}. Choose from: {', '.join(TASKS)}.")
        if not self.inputs or not all(isinstance(one, InputSpec) for one in self.inputs):
            raise SpecError(f"inputs is one InputSpec or several; found {self.inputs!r}.")
        if len({one.name for one in self.inputs}) != len(self.inputs):
            raise SpecError(f"Inputs must differ in name: {', '.join(self.input_names)}.")
        if not self.class_names or len(set(self.class_names)) != len(self.class_names):
            raise SpecError(f"Class names must be given and differ: {self.class_names}.")
        if type(self.multilabel) is not bool or (self.multilabel and self.task != "classification"):
            raise SpecError(
                f"multilabel is true or false, and true of a classification alone; found "
                f"{self.multilabel!r} of a {self.task}."
            )
        strange = [n for n in self.class_names if BETWEEN in n or n == NO_CLASS]
        if self.multilabel and strange:
            raise SpecError(
                f"A class of several is not named {NO_CLASS!r}, nor with {BETWEEN!r} in its name; "
                f"found {', '.join(strange)}."
            )
        if set(self.codes) - set(self.class_names):
            raise SpecError(
                f"Codes are of {', '.join(self.class_names)}; found some of "
                f"{', '.join(sorted(set(self.codes) - set(self.class_names)))}."
            )
        self._check_cleanup()
        self._check_regions()
        least = 1 if self.multilabel else 2
        if self.task == "classification" and len(self.class_names) < least:
            raise SpecError(f"A classification has two classes or more; found {self.class_names}.")
        if self.spacing is not None and not self._is_spacing(self.spacing):
            raise SpecError(
                "Spacing is three sizes above 0 mm (in 2D the third may be 0, the scan's own), or "
                f"null; found {self.spacing}."
            )
        if self.fit not in ("pad", "crop"):
            raise SpecError(f"Unknown fit {self.fit!r}. Choose from: pad, crop.")
        if self.fit == "crop" and self.task == "segmentation":
            raise SpecError("A segmentation looks at the whole image: its fit is pad.")
        if len(self.roi_size) != 3 or min(self.roi_size) < 1:
            raise SpecError(f"roi_size is three voxel counts; found {self.roi_size}.")
        if prod(self.roi_size) > MOST_VOXELS:
            raise SpecError(f"A window has {MOST_VOXELS:,} voxels at most; found {self.roi_size}.")
        if not 0 <= self.overlap < 1:
            raise SpecError(f"Overlap lies from 0 to below 1; found {self.overlap}.")
        if self.members < 1:
            raise SpecError(f"A model has one member or more; found {self.members}.")
        if self.text and self.task == "segmentation" and self.text.fusion != "film":
            raise SpecError(
                f"A segmentation joins image and report by film; found {self.text.fusion}."
            )

    def _is_spacing(self, sides: Sequence[float]) -> bool:
        if len(sides) != 3 or min(sides[:2]) <= 0 or not all(map(isfinite, sides)):
            return False
        return sides[2] > 0 or (sides[2] == 0 and self.roi_size[2] == 1)

    def _check_cleanup(self) -> None:
        named = {*self.cleanup, *(one.instead for one in self.cleanup.values())} - {""}
        if strange := sorted(named - set(self.class_names)):
            raise SpecError(
                f"Cleanup is of {', '.join(self.class_names)}; found {', '.join(strange)}."
            )
        if self.cleanup and self.task != "segmentation":
            raise SpecError(f"Cleanup is of the masks of a segmentation; {self.name} has none.")
        if self.spacing is None and any(one.min_ml for one in self.cleanup.values()):
            raise SpecError("A model without spacing knows no ml: its cleanup has no min_ml.")

    def _check_regions(self) -> None:
        labels = list(range(1, len(self.class_names) + 1))
        if self.regions and (sorted(self.regions) != labels or self.task != "segmentation"):
            raise SpecError(
                f"Regions paint each label of a segmentation once, {labels}; found {self.regions}."
            )
        if self.task == "segmentation" and len(self.class_names) > MOST_LABELS:
            raise SpecError(
                f"A mask has {MOST_LABELS} labels at most; found {len(self.class_names)} classes."
            )
        filled = any(one.intensity.inside == "filled" for one in self.inputs)
        if filled and self.sampling.scale == "after":
            raise SpecError("What is filled is known before a scan is sampled: scale it before.")
        if self.review is not None and not 0 <= self.review <= 1:
            raise SpecError(f"review is a confidence from 0 to 1, or null; found {self.review}.")
        thresholds = self.calibration.thresholds if self.calibration else {}
        if self.calibration and (
            self.task != "classification" or not set(thresholds) <= set(self.class_names)
        ):
            raise SpecError(f"Calibration is of the classes of a classification: {self.name}.")

    @property
    def dims(self) -> int:
        """2 or 3: how many axes the network's window has."""
        return 2 if self.roi_size[2] == 1 else 3

    @property
    def channels(self) -> int:
        """Channels of the network's input."""
        return sum(one.channels for one in self.inputs)

    @property
    def outputs(self) -> int:
        """Channels of the network's output: the classes, and of a segmentation the background.

        Regions have no background.
        """
        return len(self.class_names) + (self.task == "segmentation" and not self.regions)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, the reference first."""
        return tuple(one.name for one in self.inputs)

    def feed(self, given: Mapping[str, _T]) -> dict[str, _T]:
        """Return what of `given` feeds each input, the reference first.

        A single thing feeds a single input, whatever its name.

        Raises
        ------
        SpecError
            Naming the inputs that nothing feeds.
        """
        if len(self.inputs) == len(given) == 1:
            return dict(zip(self.input_names, given.values(), strict=True))
        missing = [name for name in self.input_names if name not in given]
        if missing:
            raise SpecError(
                f"{self.name} takes {', '.join(self.input_names)}; missing: {', '.join(missing)}; "
                f"found: {', '.join(given) or 'none'}."
            )
        return {name: given[name] for name in self.input_names}

    def to_json(self) -> str:
        """Return the spec as indented JSON.

        What earlier versions of medvision do not know is there only where it says something.
        """
        said = asdict(self)
        for name in unsaid(self, LATER):
            del said[name]
        for one, table in zip(self.inputs, said["inputs"], strict=True):
            for name in unsaid(one.intensity, LATER_INTENSITY):
                del table["intensity"][name]
        return json.dumps(said, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read what `to_json` wrote; unknown or missing keys are a `SpecError`."""
        try:
            data = parse_json(text)
        except ValueError as error:
            raise SpecError(f"The spec is not JSON: {error}.") from None
        return build_dataclass(cls, data)


def unsaid(of: Any, names: Sequence[str]) -> list[str]:
    """Return those fields of a dataclass that are as they are where nothing is said."""
    known = {one.name: one for one in fields(of)}
    return [name for name in names if getattr(of, name) == usual_of(known[name])]


def usual_of(one: Field[Any]) -> Any:
    """Return what a field of a dataclass is where nothing is said."""
    return one.default if one.default_factory is MISSING else one.default_factory()


def names_of(label: str, multilabel: bool = True) -> tuple[str, ...]:
    """Return the classes that a label names: ``"a|b"``, ``"none"``; without `multilabel` itself."""
    if not multilabel:
        return (label,)
    return () if label == NO_CLASS else tuple(name.strip() for name in label.split(BETWEEN))


def label_of(names: Sequence[str]) -> str:
    """Return the label that `names_of` reads."""
    return BETWEEN.join(names) or NO_CLASS


def found_in(scores: Mapping[str, float]) -> tuple[str, ...]:
    """Return the classes with a probability of one half or more, each judged by itself."""
    return tuple(name for name, share in scores.items() if share >= 0.5)


def read_spec(path: Path) -> ModelSpec:
    """Read a spec.json."""
    try:
        return ModelSpec.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, SpecError) as error:
        raise SpecError(f"{path}: {error}") from None
