"""A plan from the data: a ModelSpec and a TrainConfig, each decision with its reason.

In the spirit of nnU-Net's fingerprint and rules (Isensee et al., Nature Methods 2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medvision.dataset import Case, read_images
from medvision.errors import MedvisionError
from medvision.fingerprint import fingerprint_of
from medvision.plan_file import Plan
from medvision.spec import InputSpec, Intensity, ModelSpec, Task
from medvision.survey import Look, Survey, survey
from medvision.train_config import Augment, TrainConfig

MAX_VOXELS = {2: 512**2, 3: 96**3}  # of a segmentation's window
MAX_SIDE = {2: 224, 3: 64}  # of a classification's window
MAX_STAGES, MAX_FEATURES = 6, 320  # of a U-Net
SMALLEST = 4  # voxels a side that a U-Net's deepest map keeps
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

    Raises
    ------
    CasesError
        Naming every case that cannot be used.
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
    )
    reasons: dict[str, str] = {}
    if cases:
        blank = replace(blank, orientation=orientation(cases[0], blank, reasons))
    seen = survey(cases, blank, modality, show)
    dims = 2 if seen.shape[:, 2].max() == 1 or architecture.endswith("2d") else 3
    if not architecture:
        architecture = f"unet{dims}d" if task == "segmentation" else f"resnet18_{dims}d"
        kind = "pictures" if seen.shape[:, 2].max() == 1 else "scans"
        reasons["architecture"] = f"{kind}: a network in {dims}D that serves a {task}"
    spacing, roi_size = geometry(seen, task, dims, reasons)
    network = network_of(architecture, task, roi_size, width, reasons)
    spec = replace(
        blank,
        architecture=architecture,
        spacing=spacing,
        roi_size=roi_size,
        network=network,
        inputs=tuple(input_of(one, seen.looks[one.name], task, reasons) for one in blank.inputs),
        fingerprint=fingerprint_of(seen.facts),
    )
    return Plan(spec, config_of(seen, spec, len(cases), reasons), reasons)


def orientation(case: Case, blank: ModelSpec, reasons: dict[str, str]) -> str:
    """Return the axes of the model's grid: those of pictures, planes along the coarse axis, or RAS."""
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
) -> tuple[tuple[float, float, float] | None, tuple[int, int, int]]:
    """Return the spacing (None for pictures) and the window of the network."""
    step = 2 ** (stages_for(np.median(seen.shape[:, :dims], axis=0)) - 1)
    size = np.median(seen.shape, axis=0)
    spacing: tuple[float, float, float] | None = None
    if seen.spacing_known:
        mm = np.median(seen.spacing, axis=0)
        reasons["spacing"] = "median voxel size of the cases, mm"
        coarse = int(mm.argmax())
        if mm[coarse] > COARSE * mm.min() and dims == 3:
            mm[coarse] = np.percentile(seen.spacing[:, coarse], 10)
            reasons["spacing"] += "; the 10th percentile of the coarse axis"
        extent = seen.spacing * seen.shape
        if task == "classification":
            need = np.percentile(extent, 95, axis=0)[:dims]
            factor = max(1.0, float((need / mm[:dims]).max()) / MAX_SIDE[dims])
            if factor > 1:
                mm[:dims] *= factor
                reasons["spacing"] += f", made {factor:.2g} times coarser to see a scan whole"
            size = np.percentile(extent, 95, axis=0) / mm
        else:
            size = np.median(extent, axis=0) / mm
        i, j, k = (round(float(v), 4) for v in mm)
        spacing = (i, j, k)
    else:
        reasons["spacing"] = "pictures have no voxel size: each is fitted into the window"
        largest = size[:dims].max()
        limit = MAX_SIDE[dims] if task == "classification" else math.sqrt(MAX_VOXELS[2])
        size = size * min(1.0, limit / largest)
    sides = np.ceil(np.round(size[:dims], 2) / step) * step
    if task == "segmentation":
        while sides.prod() > MAX_VOXELS[dims]:
            sides[int((sides / size[:dims]).argmax())] -= step
        whole = "median size of the cases on that grid"
        shrunk = f"; as much of it as {MAX_VOXELS[dims]:,} voxels allow"
        reasons["roi_size"] = whole + (shrunk if (sides < np.floor(size[:dims])).any() else "")
    else:
        reasons["roi_size"] = "holds 95 % of the cases whole" if spacing else "size of the pictures"
    ri, rj, rk = (int(s) for s in (*sides, *([1] * (3 - dims))))
    return spacing, (ri, rj, rk)


def stages_for(sides: Sequence[float] | np.ndarray[Any, Any]) -> int:
    """Return how often a U-Net may halve a window and keep 4 voxels a side, plus one."""
    depth = int(math.log2(max(1.0, float(np.min(sides)) / SMALLEST)))
    return int(np.clip(depth + 1, 2, MAX_STAGES))


def network_of(
    architecture: str,
    task: Task,
    roi_size: tuple[int, int, int],
    width: int,
    reasons: dict[str, str],
) -> dict[str, Any]:
    """Return the settings of the network."""
    dims = 2 if roi_size[2] == 1 else 3
    if architecture.startswith(("unet", "resunet")):
        stages = stages_for(roi_size[:dims])
        reasons["network"] = (
            f"{stages} stages, so that the deepest map keeps {SMALLEST} voxels a side or more"
        )
        features = tuple(min(width * 2**s, MAX_FEATURES) for s in range(stages))
        return {"features": features, "decoder_convs": 1}
    if architecture.startswith("resnet"):
        small = max(roi_size) <= 64
        reasons["network"] = (
            "a window this small keeps its voxels in the first stage"
            if small
            else "the first stage takes a window of this size to a quarter"
        )
        return {"stem": "small" if max(roi_size) <= 32 else "medium" if small else "large"}
    return {}


def input_of(one: InputSpec, look: Look, task: Task, reasons: dict[str, str]) -> InputSpec:
    """Return an input with its modality, channels and intensity rule."""
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
    reasons[f"intensity of {one.name}"] = why
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
    sided = [n for n in spec.class_names if {"left", "right"} & set(n.lower().split("_"))]
    mirror = "" if sided or any("left" in n or "right" in n for n in spec.class_names) else "R"
    reasons["augment.mirror"] = (
        "left and right are classes: nothing is mirrored"
        if not mirror
        else "left and right may be swapped; set it to an empty text where the side matters"
    )
    config = TrainConfig(steps=steps, batch_size=batch, augment=Augment(mirror=mirror))
    config = replace(config, eval_every=max(1, steps // 10))
    if task == "segmentation":
        return config
    rate = 1e-3
    counts = [max(1, count) for count in seen.counts.values()]
    rare = max(counts) > BALANCE * min(counts)
    spread = ", ".join(f"{name} {count}" for name, count in seen.counts.items())
    reasons["class_weights"] = f"{spread}: {'rare classes count more' if rare else 'even enough'}"
    return replace(config, learning_rate=rate, class_weights="balanced" if rare else "none")


def only(found: Any) -> str:
    """Return the only one of what was found; empty when there are several."""
    return str(next(iter(found))) if len(found) == 1 else ""
