"""nnU-Net v2's results folders: one ``trainer__plans__configuration``, with its folds, as a model.

The network becomes medvision's own of the same computation, and what nnU-Net does before and after
it becomes the spec: masks are those of nnU-Net's own predictor.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medvision.errors import SpecError
from medvision.from_json import parse_json
from medvision.geometry import is_as_stored, reorientation
from medvision.importers.imported import Imported
from medvision.importers.nnunet_plans import (
    axes_of,
    classes_of,
    configuration_of,
    inputs_of,
    network_of,
    sampling_of,
)
from medvision.inference_spec import Sliding
from medvision.pickles import read_checkpoint
from medvision.spec import ModelSpec

PLANS, DATASET = "plans.json", "dataset.json"
CHECKPOINTS = ("final", "best")
NUMPY = (  # names in a checkpoint's log, of which nothing is wanted; bytes come by _codecs.encode,
    # which torch allows anyway: it makes bytes of a text, and finds no code but Python's codecs
    *("numpy.ndarray", "numpy.dtype", *(f"numpy.dtypes.{name}" for name in np.dtypes.__all__)),
    *(
        f"numpy.{core}.multiarray.{name}"
        for core in ("core", "_core")
        for name in ("scalar", "_reconstruct")
    ),
)
BLOCK = r"encoder\.stages\.(\d+)\.blocks\.(\d+)\."
NAMES = tuple(
    (re.compile(pattern), ours)
    for pattern, ours in (
        (r"encoder\.stages\.(\d+)\.0\.convs\.(\d+)\.", "encoder.stages.{0}.{1}."),
        (r"encoder\.stem\.convs\.0\.", "encoder.stages.0.0."),
        (rf"{BLOCK}conv1\.", "encoder.stages.{0}.{1}.first."),
        (rf"{BLOCK}conv2\.", "encoder.stages.{0}.{1}."),
        (
            rf"{BLOCK}skip\.(\d)\.",
            "encoder.stages.{0}.{1}.shortcut.",
        ),
        (r"decoder\.stages\.(\d+)\.convs\.(\d+)\.", "decoder.joins.{0}.{1}."),
        (r"decoder\.transpconvs\.(\d+)\.", "decoder.ups.{0}."),
        (r"decoder\.seg_layers\.(\d+)\.", "heads.{0}."),
    )
)


def is_nnunet(path: Path) -> bool:
    """Tell whether a folder is one of nnU-Net's results."""
    return (path / PLANS).is_file() and (path / DATASET).is_file()


def nnunet_files(
    path: Path, folds: Sequence[str] | None = None, checkpoint: str = "final"
) -> list[Path]:
    """Return the files that a model is made of."""
    return [path / PLANS, path / DATASET, *checkpoints(path, folds, checkpoint).values()]


def read_nnunet(
    path: Path,
    folds: Sequence[str] | None = None,
    checkpoint: str = "final",
    orientation: str = "",
) -> Imported:
    """Read a results folder of nnU-Net v2.

    Parameters
    ----------
    path : Path
    folds : sequence of str, optional
        Such as ``("0", "1")`` or ``("all",)``; together they are an ensemble. All of those that
        are there unless given, without the one that was trained on everything.
    checkpoint : {"final", "best"}
    orientation : str
        How the axes of all training scans ran in their files, such as ``"LPS"``, where that is
        known. Scans stored in another way are then turned, which nnU-Net itself does not.

    Raises
    ------
    SpecError
        When files are missing or damaged, or do what medvision does not: a cascade, another
        network, another preprocessing.
    """
    if orientation and (is_as_stored(orientation) or not reorientation(np.eye(4), orientation)):
        raise SpecError(f"Training scans were stored in directions, such as LPS: {orientation!r}.")
    plans, dataset = (read_json(path / name) for name in (PLANS, DATASET))
    files = checkpoints(path, folds, checkpoint)
    held = [read_fold(file) for file in files.values()]
    name = str(held[0]["init_args"]["configuration"])
    try:
        spec = spec_of(plans, dataset, name, held[0].get("inference_allowed_mirroring_axes"))
        if orientation:
            letters = axes_of(plans, spec.dims, orientation)
            spec = ModelSpec(**{**vars(spec), "orientation": letters})
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise SpecError(
            f"{path}: the plans are not as nnU-Net v2 writes them: {type(error).__name__} {error}."
        ) from None
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None
    states = [
        dict(renamed(one["network_weights"], file))
        for one, file in zip(held, files.values(), strict=True)
    ]
    spec = ModelSpec(**{**vars(spec), "members": len(states)})
    trainer, epochs = held[0].get("trainer_name"), [one.get("current_epoch") for one in held]
    facts = {
        "Data set": plans.get("dataset_name", "unknown"),
        "Configuration": name,
        "Plans": plans.get("plans_name", "unknown"),
        "Trainer": trainer if isinstance(trainer, str) else "unknown",
        "Folds": f"{', '.join(files)} ({checkpoint} checkpoint)",
        "Epochs": ", ".join(str(one) if type(one) is int else "unknown" for one in epochs),
        "Dice of its own validation": validation(files),
    }
    about = {
        key: dataset[key]
        for key in ("description", "reference", "licence", "license")
        if dataset.get(key)
    }
    return Imported(spec, states, card_of(spec, facts, about))


def spec_of(
    plans: Mapping[str, Any], dataset: Mapping[str, Any], name: str, mirror: Sequence[int] | None
) -> ModelSpec:
    """Return the spec of one network of a configuration."""
    config = configuration_of(plans, name)
    architecture, network = network_of(config)
    class_names, regions = classes_of(dataset)
    roi, spacing = [int(n) for n in config["patch_size"]], [float(mm) for mm in config["spacing"]]
    dims = len(roi)
    if dims == 2:
        roi, spacing = [*roi, 1], [*spacing[-2:], 0.0]
    return ModelSpec(
        name=f"{plans.get('dataset_name', 'nnunet')}_{name}",
        task="segmentation",
        architecture=architecture,
        network=network,
        class_names=class_names,
        inputs=inputs_of(plans, config, dataset),
        spacing=(spacing[0], spacing[1], spacing[2]),
        roi_size=(roi[0], roi[1], roi[2]),
        orientation=axes_of(plans, dims),
        max_obliquity=180.0,
        overlap=0.5,
        sampling=sampling_of(config),
        sliding=Sliding(
            steps="even",
            beyond="zero",
            mirror=tuple(int(axis) for axis in mirror or ()),
            average="logits",
        ),
        regions=regions,
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a table of JSON; anything else is a `SpecError`."""
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(f"{path} cannot be read: {error}.") from None
    if not isinstance(found, dict):
        raise SpecError(f"{path} is not as nnU-Net v2 writes it: no table.")
    return found


def checkpoints(path: Path, folds: Sequence[str] | None, checkpoint: str) -> dict[str, Path]:
    """Return the checkpoint of each fold; a missing one is a `SpecError` that lists those there."""
    if checkpoint not in CHECKPOINTS:
        raise SpecError(
            f"Unknown checkpoint {checkpoint!r}. Choose from: {', '.join(CHECKPOINTS)}."
        )
    file = f"checkpoint_{checkpoint}.pth"
    there = {one.parent.name.removeprefix("fold_"): one for one in path.glob(f"fold_*/{file}")}
    numbered = sorted((fold for fold in there if fold.isdigit()), key=int)
    listed = ", ".join([*numbered, *sorted(set(there) - set(numbered))]) or "none"
    chosen = list(folds) if folds else numbered or list(there)
    missing = [fold for fold in chosen if fold not in there]
    if missing or not chosen:
        what = f"fold {', '.join(missing)}" if missing else "any fold"
        raise SpecError(f"{path} has no {file} of {what}; folds that have one: {listed}.")
    return {fold: there[fold] for fold in dict.fromkeys(chosen)}


def read_fold(path: Path) -> dict[str, Any]:
    """Read one fold's checkpoint: a table with tensors by name, and the plan's configuration."""
    found = read_checkpoint(path, NUMPY)
    weights, plan = (
        found.get(key) if isinstance(found, dict) else None
        for key in ("network_weights", "init_args")
    )
    named = isinstance(plan, Mapping) and isinstance(plan.get("configuration"), str)
    if not (isinstance(weights, Mapping) and named):
        raise SpecError(f"{path} is no checkpoint of nnU-Net v2: no network_weights, or no plan.")
    for name, value in weights.items():
        if not (isinstance(name, str) and isinstance(value, Tensor) and is_plain(value)):
            raise SpecError(f"{path} is damaged: {name!r} in its network_weights is no tensor.")
    return dict(found)


def is_plain(value: Tensor) -> bool:
    """Tell whether a tensor's numbers are there, one after the other."""
    return value.layout == torch.strided and value.device.type == "cpu"


def renamed(weights: Mapping[str, Tensor], path: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield a network's weights by medvision's names.

    Biases before an instance norm go, for it takes them out again; what is there twice comes once.
    """
    for full, value in weights.items():
        name = re.sub(r"^(module\.|_orig_mod\.)+", "", full)
        if ".all_modules." in name or name.startswith("decoder.encoder."):
            continue
        ours = our_name(name)
        if ours is None:
            raise SpecError(
                f"{path} holds {name}, which no network that is translated has: its trainer "
                "builds one of its own."
            )
        if ours:
            yield ours, value
        if name.startswith("decoder.transpconvs.") and name.endswith(".weight"):
            bias = full.removesuffix("weight") + "bias"
            if bias not in weights and value.dim() > 1:
                yield ours.removesuffix("weight") + "bias", torch.zeros(value.shape[1])


def our_name(name: str) -> str | None:
    """Return medvision's name of a weight: empty for one that has no effect, None if unknown.

    Examples
    --------
    >>> our_name("encoder.stages.1.0.convs.0.norm.bias")
    'encoder.stages.1.0.1.bias'
    >>> our_name("encoder.stages.0.blocks.1.conv2.conv.weight")
    'encoder.stages.0.2.conv.weight'
    >>> our_name("encoder.stages.0.0.convs.0.conv.bias")
    ''
    """
    for pattern, form in NAMES:
        found = pattern.match(name)
        if found is None:
            continue
        parts, rest = list(found.groups()), name[found.end() :]
        if rest == "conv.bias":
            return ""
        if rest not in ("conv.weight", "norm.weight", "norm.bias", "weight", "bias"):
            return None
        if ".blocks." in name and parts[0] == "0":
            parts[1] = str(int(parts[1]) + 1)  # after the stem
        ours = form.format(*parts)
        if ".conv2." in name:
            return ours + rest
        if ".skip." in name:  # pooling may come before
            return f"{ours}{int(parts[2]) + rest.startswith('norm')}.{rest.partition('.')[2]}"
        return ours + rest.replace("conv.", "0.").replace("norm.", "1.")
    return None


def validation(files: Mapping[str, Path]) -> str:
    """Return the mean Dice that nnU-Net itself wrote down for each fold, where it did."""
    found = []
    for fold, file in files.items():
        summary = file.parent / "validation" / "summary.json"
        if summary.is_file():
            mean = read_json(summary).get("foreground_mean")
            dice = mean.get("Dice") if isinstance(mean, dict) else None
            if isinstance(dice, float):
                found.append(f"{dice:.4f} (fold {fold})")
    return ", ".join(found) or "not there"


def card_of(spec: ModelSpec, facts: Mapping[str, str], about: Mapping[str, Any]) -> str:
    """Return the card of an imported model."""
    if is_as_stored(spec.orientation):
        axes = (
            f"as each file stores them ({spec.orientation}), as in nnU-Net: a scan stored in other "
            "directions than the training scans is shown to the network turned or mirrored. Where "
            "all of those ran alike, import again with --orientation."
        )
    else:
        axes = f"{spec.orientation}, whatever the directions a scan is stored in."
    lines = [f"# {spec.name}", "", "An nnU-Net (Isensee et al., Nature Methods 2021), imported."]
    lines += ["", *(f"- {name}: {value}" for name, value in facts.items())]
    lines += [f"- {name.capitalize()}, as dataset.json has it: {v}" for name, v in about.items()]
    lines += ["", f"Structures: {', '.join(spec.class_names)}.", "", f"Axes: {axes}", ""]
    lines += ["Whoever trained it says what it may be used for; medvision knows nothing of that."]
    return "\n".join(lines) + "\n"
