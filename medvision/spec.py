"""Specs: all that training and inference must agree on, as frozen data with units.

One `ModelSpec` drives both, so that they cannot drift apart. Knows nothing of torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from medvision.errors import SpecError

Task = Literal["segmentation"]
Range = tuple[float, float]  # (low, high), low ≤ high

PLANES = ("axial", "coronal", "sagittal")

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
    """

    name: str = "image"
    modality: str = ""
    description: str = ""
    plane: str = ""
    contrast: bool | None = None

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
        try:
            re.compile(self.description)
        except re.error as error:
            raise SpecError(
                f"Input {self.name}: {self.description!r} is no regular expression: {error}."
            ) from None


@dataclass(frozen=True)
class Intensity:
    """How voxel values reach the network.

    Parameters
    ----------
    rule : {"zscore", "window"}
        ``zscore``: clip to the `percentiles` of the image, subtract the mean, divide by the
        standard deviation (MR). ``window``: map `low`…`high` to −1…1 and clip (CT, in HU).
    percentiles : (float, float)
        For ``zscore``.
    low, high : float
        For ``window``.
    """

    rule: Literal["zscore", "window"] = "zscore"
    percentiles: Range = (0.5, 99.5)
    low: float = -100.0
    high: float = 300.0

    def __post_init__(self) -> None:
        if self.rule not in ("zscore", "window"):
            raise SpecError(f"Unknown intensity rule {self.rule!r}. Choose from: zscore, window.")
        if not 0 <= self.percentiles[0] < self.percentiles[1] <= 100 or not self.low < self.high:
            raise SpecError(f"Intensity limits must rise: {self}.")


@dataclass(frozen=True)
class Fingerprint:
    """The range of the training images; what lies far outside is warned about.

    Parameters
    ----------
    cases : int
    extent_mm, spacing_mm : three (low, high)
        Along the model's axes, in mm.
    brightness : (low, high)
        Where the median lies between the 1st (0) and the 99th (1) percentile: a measure of
        contrast that does not depend on the scanner's units.
    level : (low, high)
        Median value, meaningful only for the ``window`` rule.
    """

    cases: int
    extent_mm: tuple[Range, Range, Range]
    spacing_mm: tuple[Range, Range, Range]
    brightness: Range
    level: Range


@dataclass(frozen=True)
class ModelSpec:
    """Everything that training and inference share.

    Parameters
    ----------
    name : str
        Short name of the model.
    task : {"segmentation"}
    architecture : str
        A key of `medvision.models.MODELS`.
    network : mapping
        Arguments of that architecture.
    inputs : tuple of InputSpec
        The volumes a study must bring, one channel each. The first is the reference: the others
        are brought to its grid, and the result lies on it.
    class_names : tuple of str
        Structures; label ``i + 1`` in a mask is ``class_names[i]``, 0 is background.
    orientation : str
        Voxel axes of the model's grid, such as ``"RAS"``.
    spacing : three floats
        Voxel size of the model's grid in mm, along `orientation`.
    max_obliquity : float
        A scan tilted more than this many degrees is resampled along the world's axes first.
    intensity : Intensity
    roi_size : three ints
        Window of the network in voxels of the model's grid.
    overlap : float
        Share of a window that neighbours repeat, 0 to below 1.
    fingerprint : Fingerprint, optional
        Of the reference.
    """

    name: str
    task: Task
    architecture: str
    class_names: tuple[str, ...]
    spacing: tuple[float, float, float]  # mm
    roi_size: tuple[int, int, int]
    network: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[InputSpec, ...] = (InputSpec(),)
    orientation: str = "RAS"
    max_obliquity: float = 5.0  # degrees
    intensity: Intensity = field(default_factory=Intensity)
    overlap: float = 0.5
    fingerprint: Fingerprint | None = None

    def __post_init__(self) -> None:
        if self.task not in ("segmentation",):
            raise SpecError(f"Unknown task {self.task!r}. Choose from: segmentation.")
        if not self.inputs or not all(isinstance(one, InputSpec) for one in self.inputs):
            raise SpecError(f"inputs is one InputSpec or several; found {self.inputs!r}.")
        if len({one.name for one in self.inputs}) != len(self.inputs):
            raise SpecError(f"Inputs must differ in name: {', '.join(self.input_names)}.")
        if not self.class_names or len(set(self.class_names)) != len(self.class_names):
            raise SpecError(f"Class names must be given and differ: {self.class_names}.")
        if len(self.spacing) != 3 or min(self.spacing) <= 0:
            raise SpecError(f"Spacing is three sizes above 0 mm; found {self.spacing}.")
        if len(self.roi_size) != 3 or min(self.roi_size) < 1:
            raise SpecError(f"roi_size is three voxel counts; found {self.roi_size}.")
        if not 0 <= self.overlap < 1:
            raise SpecError(f"Overlap lies from 0 to below 1; found {self.overlap}.")

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
        """Return the spec as indented JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read what `to_json` wrote; unknown or missing keys are a `SpecError`."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise SpecError(f"The spec is not JSON: {error}.") from None
        if isinstance(data, dict):  # anything else is refused below
            if data.get("inputs") == ["image"]:  # as written when models took one input only
                data["inputs"] = [{"modality": data.pop("modality", "")}]
            if isinstance(data.get("inputs"), list):
                data["inputs"] = [build_dataclass(InputSpec, one) for one in data["inputs"]]
            if "intensity" in data:
                data["intensity"] = build_dataclass(Intensity, data["intensity"])
            if data.get("fingerprint") is not None:
                data["fingerprint"] = build_dataclass(Fingerprint, data["fingerprint"])
        return build_dataclass(cls, data)


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained; what it is stands in `ModelSpec`."""

    steps: int = 1000
    batch_size: int = 2
    learning_rate: float = 4e-3  # peak of the first cycle
    cycles: int = 1  # the schedule starts again with half the peak, this often in all
    weight_decay: float = 1e-2
    warmup: float = 0.1  # share of the steps
    ema: float = 0.99  # decay of the averaged weights, per step
    grad_clip: float = 5.0  # L2 norm
    flip: float = 0.5  # chance to mirror left and right
    eval_every: int = 250  # steps
    seed: int = 0
    workers: int = 0  # processes that cut patches; 0 is right on few cores
    precision: str = "32-true"  # or "bf16-mixed"

    def __post_init__(self) -> None:
        if min(self.steps, self.batch_size, self.eval_every, self.cycles) < 1:
            raise SpecError(f"steps, batch_size, eval_every and cycles start at 1: {self}.")
        if self.precision not in ("32-true", "bf16-mixed"):
            raise SpecError(f"Unknown precision {self.precision!r}: 32-true or bf16-mixed.")
        if not 0 <= self.ema < 1 or not 0 <= self.warmup < 1 or not 0 <= self.flip <= 1:
            raise SpecError(f"ema, warmup and flip are shares of 1: {self}.")


def build_dataclass(kind: type[_T], data: Any) -> _T:
    """Build a flat dataclass from JSON, turning lists into tuples; other keys are a `SpecError`."""
    if not isinstance(data, Mapping):
        raise SpecError(f"{kind.__name__} is a table of settings; found {type(data).__name__}.")
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    strange = sorted(set(data) - set(known))
    if strange:
        raise SpecError(
            f"Unknown {kind.__name__} settings: {', '.join(strange)}. Known: {', '.join(known)}."
        )
    try:
        return kind(**{key: _tuples(value) for key, value in data.items()})
    except (TypeError, ValueError) as error:
        raise SpecError(f"{kind.__name__} cannot be built: {error}.") from None


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(v) for key, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def read_spec(path: Path) -> ModelSpec:
    """Read a spec.json."""
    try:
        return ModelSpec.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, SpecError) as error:
        raise SpecError(f"{path}: {error}") from None
