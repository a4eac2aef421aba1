"""A plan from the data: a ModelSpec and a TrainConfig, each decision with its reason.

In the spirit of nnU-Net's fingerprint and rules (Isensee et al., Nature Methods 2021).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from medvision.dataset import Case, read_images
from medvision.errors import CasesError, MedvisionError
from medvision.fingerprint import fingerprint_of
from medvision.intensity_spec import Intensity
from medvision.models import build_model
from medvision.plan_file import Plan
from medvision.spec import InputSpec, ModelSpec, Task
from medvision.survey import Survey, survey
from medvision.text_spec import TextSpec
from medvision.train_config import Augment, TrainConfig

MAX_VOXELS = {2: 512**2, 3: 96**3}  # of a segmentation's window
MAX_SIDE = {2: 224, 3: 64}  # of a classification's window
MAX_STAGES, MAX_FEATURES = 6, 320  # of a U-Net
BLOCKS = (1, 3, 4, 6, 6, 6)  # of a residual encoder's stages (nnU-Net ResEnc)
SMALLEST = 4  # voxels a side that a U-Net's deepest map keeps
EVEN = 4  # what the sides of any window divide by
COARSE = 3.0  # an axis that is this much coarser than the finest is taken finer (nnU-Net)
BUDGET = {2: 24 * 256**2, 3: 2 * 96**3}  # voxels of a batch
MAX_BATCH = {"segmentation": 8, "classification": 32}
EPOCHS = 30  # of a classification
STEPS = {"segmentation": (2500, 2500), "classification": (300, 10_000)}  # fewest and most
BALANCE = 1.5  # a class that is this much rarer is weighted up


def plan(
    cases: Sequence[Case],
    class_names: Sequence[str],
    name: str,
    task: Task = "segmentation",
    architecture: str = "",
    modality: str = "",
    width: int = 32,
    inputs: Sequence[InputSpec] = (),
    show: bool = True,
    text: TextSpec | None = None,
    multilabel: bool = False,
) -> Plan:
    """Measure the training cases and return a plan for them.

    Parameters
    ----------
    cases : sequence of Case
    class_names : sequence of str
    name : str
        Name of the model.
    task : {"segmentation", "classification"}
    architecture : str
        A key of `medvision.models.MODELS`; empty for a U-Net, or a ResNet-18.
    modality : str
        ``"CT"`` or ``"MR"`` for files that do not say it, such as NIfTI.
    width : int
        Channels of a network's first stage.
    inputs : sequence of InputSpec
        None given, they are the image columns of the cases, the first being the reference.
    show : bool
        Show a progress bar.
    text : TextSpec, optional
        How the model reads the reports; see `medvision.plan_text.plan_text`.
    multilabel : bool
        Whether an image of a classification may have several classes, or none.

    Raises
    ------
    CasesError
        Naming every case that cannot be used.
    SpecError
        When there is no such architecture.
    """
    blank = ModelSpec(
        name,
        task,
        architecture,
        tuple(class_names),
        None,
        (1, 1, 1),
        inputs=tuple(inputs)
        or tuple(InputSpec(one) for one in (cases[0].images if cases else ("image",))),
        multilabel=multilabel,
    )
    reasons: dict[str, str] = {}
    if multilabel:
        reasons["multilabel"] = "an image may have several of the classes, or none"
    if cases:
        blank = replace(blank, orientation=orientation(cases[0], blank, reasons))
    seen = survey(cases, blank, modality, show)
    dims = 2 if seen.shape[:, 2].max() == 1 or architecture.endswith("2d") else 3
    if not architecture:
        architecture = f"unet{dims}d" if task == "segmentation" else f"resnet18_{dims}d"
        kind = "pictures" if seen.shape[:, 2].max() == 1 else "scans"
        reasons["architecture"] = f"{kind}: a network in {dims}D that serves a {task}"
    if task == "classification" and dims == 2 and seen.shape[:, 2].max() > 1:
        raise CasesError(
            f"{architecture} takes single pictures, and these are scans of up to "
            f"{seen.shape[:, 2].max()} slices: choose a network in 3D."
        )
    spacing, size = geometry(seen, task, dims, reasons)
    network = network_of(architecture, task, size, width, reasons)
    inputs = [input_of(n, one, seen, task, reasons) for n, one in enumerate(blank.inputs)]
    spec = replace(
        blank,
        architecture=architecture,
        spacing=spacing,
        network=network,
        inputs=tuple(inputs),
        fingerprint=fingerprint_of(seen.facts),
        text=text,
    )
    spec = replace(spec, roi_size=window(size, spec, reasons))
    return Plan(spec, config_of(seen, spec, len(cases), reasons), reasons)


def orientation(case: Case, blank: ModelSpec, reasons: dict[str, str]) -> str:
    """Return the model's axes: those of pictures, in 2D planes across the coarsest axis, or RAS."""
    try:
        volume = next(iter(read_images(case, blank).volumes.values()))
    except MedvisionError:  # will be told with all others
        return blank.orientation
    if volume.shape[2] == 1:
        reasons["orientation"] = "that of the pictures"
        return volume.orientation
    if blank.architecture.endswith("2d"):
        coarse = int(np.argmax(volume.reoriented("RAS").spacing))
        reasons["orientation"] = "planes lie across the coarsest axis (or are axial)"
        return "RAS" if np.ptp(volume.spacing) < 0.01 else ("ASR", "RSA", "RAS")[coarse]
    return blank.orientation


def geometry(
    seen: Survey, task: Task, dims: int, reasons: dict[str, str]
) -> tuple[tuple[float, float, float] | None, NDArray[np.float64]]:
    """Return the spacing (None for pictures), and how much a window should show, in voxels."""
    size = np.median(seen.shape, axis=0)[:dims]
    if not seen.spacing_known:
        reasons["spacing"] = "pictures have no voxel size: each is fitted into the window"
        side = MAX_SIDE[dims] if task == "classification" else math.sqrt(MAX_VOXELS[2])
        return None, size * min(1.0, side / size.max())
    mm = np.median(seen.spacing, axis=0)
    reasons["spacing"] = "median voxel size of the cases, mm"
    coarse = int(mm.argmax())
    if mm[coarse] > COARSE * mm.min() and dims == 3:
        mm[coarse] = np.percentile(seen.spacing[:, coarse], 10)
        reasons["spacing"] += "; the 10th percentile of the coarse axis"
    extent = seen.spacing * seen.shape
    if task == "classification":
        need = np.percentile(extent, 95, axis=0)[:dims]
        if (need > MAX_SIDE[dims] * mm[:dims]).any():
            reasons["spacing"] += f", or coarser: {MAX_SIDE[dims]} voxels show a scan whole"
        mm[:dims] = np.maximum(mm[:dims], need / MAX_SIDE[dims])
    else:
        need = np.median(extent, axis=0)[:dims]
    i, j, k = (round(float(v), 4) for v in mm)
    return (i, j, k), need / mm[:dims]


def window(
    size: NDArray[np.float64], spec: ModelSpec, reasons: dict[str, str]
) -> tuple[int, int, int]:
    """Return the window of the network: `size` (2 or 3 sides), as far as the network takes it."""
    dims = len(size)
    step = np.array([math.lcm(EVEN, one) for one in divisor_of(spec, dims)])
    sides = np.ceil(np.round(size, 2) / step) * step
    if spec.task == "segmentation":
        while sides.prod() > MAX_VOXELS[dims]:
            widest = np.where(sides > step, sides / size, 0).argmax()
            sides[widest] -= step[widest]
        whole = "median size of the cases on that grid"
        shrunk = f"; as much of it as {MAX_VOXELS[dims]:,} voxels allow"
        reasons["roi_size"] = whole + (shrunk if (sides < np.floor(size)).any() else "")
    else:
        reasons["roi_size"] = (
            "holds 95 % of the cases whole" if spec.spacing else "size of the pictures"
        )
    ri, rj, rk = (int(s) for s in (*sides, *([1] * (3 - dims))))
    return ri, rj, rk


def divisor_of(spec: ModelSpec, dims: int) -> tuple[int, ...]:
    """Return what the sides of a window must divide by for the network of a spec."""
    example = replace(spec, roi_size=(64, 64, 1 if dims == 2 else 64), text=None)
    with torch.device("meta"):  # shapes alone, no numbers
        return cast(tuple[int, ...], build_model(example).divisor)


def stages_for(size: NDArray[np.float64]) -> int:
    """Return how many stages a U-Net may have that keeps 4 voxels a side of what it looks at."""
    dims = len(size)
    shrink = min(1.0, (MAX_VOXELS[dims] / size.prod()) ** (1 / dims))
    depth = int(math.log2(max(1.0, float(size.min()) * shrink / SMALLEST)))
    return int(np.clip(depth + 1, 2, MAX_STAGES))


def network_of(
    architecture: str,
    task: Task,
    size: NDArray[np.float64],
    width: int,
    reasons: dict[str, str],
) -> dict[str, Any]:
    """Return the settings of the network, by how much a window should show."""
    if architecture.startswith(("unet", "resunet")):
        stages = stages_for(size)
        reasons["network"] = (
            f"{stages} stages, so that the deepest map keeps about {SMALLEST} voxels a side or more"
        )
        features = tuple(min(width * 2**s, MAX_FEATURES) for s in range(stages))
        blocks = {"blocks": BLOCKS[:stages]} if architecture.startswith("res") else {}
        top = {"decoder_convs": 1} if task == "segmentation" else {}
        return {"features": features, **blocks, **top}
    if architecture.startswith("resnet"):
        small = size.max() <= 64
        reasons["network"] = (
            "a window this small keeps its voxels in the first stage"
            if small
            else "the first stage takes a window of this size to a quarter"
        )
        reasons["network"] += "; group norm needs no running statistics, and is the same on several"
        reasons["network"] += " processes (weights from elsewhere mostly want norm=batch)"
        stem = "small" if size.max() <= 32 else "medium" if small else "large"
        return {"stem": stem, "norm": "group"}
    return {}


def input_of(
    number: int, one: InputSpec, seen: Survey, task: Task, reasons: dict[str, str]
) -> InputSpec:
    """Return an input with its modality, channels and intensity rule."""
    look = seen.looks[one.name]
    modality = one.modality or only(look.modalities)
    low, high = (float(v) for v in np.percentile(look.values, [0.5, 99.5]))
    levels = np.unique(look.values)
    rule, why = Intensity(), "no common unit: each image by its own mean and deviation"
    if look.modalities == {"CT"} and low < high:
        rule = Intensity("window", low=low, high=high)
        where = "inside the structures" if task == "segmentation" else "of all voxels"
        why = f"CT in HU: 0.5th to 99.5th percentile {where}"
    elif look.pictures:
        rule, why = Intensity("window", low=0.0, high=255.0), "8-bit pictures"
    elif len(levels) == 2 and task == "classification":
        rule = Intensity("window", low=float(levels[0]), high=float(levels[1]))
        why = f"two values only, {levels[0]:g} and {levels[1]:g}: a shape"
    reasons[f"inputs.{number}.intensity"] = why
    return replace(one, modality=modality, channels=look.channels, intensity=rule)


def config_of(seen: Survey, spec: ModelSpec, cases: int, reasons: dict[str, str]) -> TrainConfig:
    """Return how to train."""
    voxels, task = math.prod(spec.roi_size), spec.task
    batch = int(np.clip(BUDGET[spec.dims] // voxels, 2, min(MAX_BATCH[task], max(2, cases // 4))))
    reasons["batch_size"] = (
        f"{batch} windows: at most {MAX_BATCH[task]}, a quarter of the cases, and "
        f"{BUDGET[spec.dims]:,} voxels"
    )
    few, many = STEPS[task]
    steps = int(np.clip(math.ceil(EPOCHS * cases / batch), few, many))
    reasons["steps"] = (
        f"about {steps * batch / cases:.0f} windows of each case"
        if task == "segmentation"
        else f"{steps * batch / cases:.0f} times each case"
    )
    sides = any(sided(name) for name in spec.class_names)
    mirror = "" if sides or spec.text else "R"
    reasons["augment.mirror"] = (
        "left and right are classes: nothing is mirrored"
        if sides
        else "reports name left and right: nothing is mirrored"
        if spec.text
        else "left and right may be swapped; set it to an empty text where the side matters"
    )
    config = TrainConfig(steps=steps, batch_size=batch, augment=Augment(mirror=mirror))
    config = replace(config, eval_every=max(1, steps // 10))
    if task == "segmentation":
        return config
    rate = 1e-3
    counts = [max(1, count) for count in seen.counts.values()]
    # of several classes each is held against the cases without it
    most = cases - min(counts) if spec.multilabel else max(counts)
    rare = most > BALANCE * min(counts)
    of = f" of {cases}" if spec.multilabel else ""
    spread = ", ".join(f"{name} {count}{of}" for name, count in seen.counts.items())
    reasons["class_weights"] = f"{spread}: {'rare classes count more' if rare else 'even enough'}"
    return replace(
        config,
        learning_rate=rate,
        class_weights="balanced" if rare else "none",
        augment=augment_for(seen, config.augment, reasons),
    )


def augment_for(seen: Survey, usual: Augment, reasons: dict[str, str]) -> Augment:
    """Return how far images of a classification may change and still be of their class."""
    if seen.spacing_known:
        reasons["augment.scale"] = "sizes in mm may tell the classes apart: nothing is stretched"
        usual = replace(usual, scale=0.0, shear=0.0, warp=0.0)
    if all(len(np.unique(look.values)) == 2 for look in seen.looks.values()):
        reasons["augment.noise"] = "shapes have no shades: only their place and turn change"
        shades = ("gamma", "bias", "level", "blur", "coarse", "noise")
        usual = replace(usual, **dict.fromkeys(shades, 0.0))  # type: ignore[arg-type]
    return usual


def sided(name: str) -> bool:
    """Tell whether a class is of one side: left or right (or L or R) is a word of its name."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    return bool({word.lower() for word in words} & {"left", "right", "l", "r"})


def only(found: Any) -> str:
    """Return the only one of what was found; empty when there are several."""
    return str(next(iter(found))) if len(found) == 1 else ""
