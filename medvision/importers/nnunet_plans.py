"""An nnU-Net's plans.json and dataset.json, in the words of a `ModelSpec`.

Isensee et al., Nature Methods 2021; "nnU-Net Revisited", MICCAI 2024. Both ways in which version 2
writes down a network are read: by name and arguments, and the older one by its widths. Knows
nothing of files and weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from medvision.errors import SpecError
from medvision.geometry import STORED
from medvision.importers.imported import MOST
from medvision.inference_spec import Sampling
from medvision.intensity_spec import Intensity
from medvision.spec import InputSpec

NETWORKS = {"PlainConvUNet": "unet", "ResidualEncoderUNet": "resunet"}
READERS = {  # what image_reader_writer lays along its axes: stored ones, or those of a RAS copy
    "SimpleITKIO": "KJI",
    "SimpleITKIOWithReorient": "SAR",
    "NibabelIO": "KJI",
    "NibabelIOWithReorient": "SAR",
    "Tiff3DIO": "KJI",
    "NaturalImage2DIO": "KJI",
}
PICTURES = "NaturalImage2DIO"
RESAMPLING = "resample_data_or_seg_to_shape"
ANISOTROPY = 3.0  # nnU-Net's own, where its plans do not say another
LEAST_STD = 1e-8


def configuration_of(plans: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return one configuration, with all that it inherits.

    Raises
    ------
    SpecError
        When there is none of that name, or it needs another network's answer (a cascade).
    """
    known, chain = plans.get("configurations", {}), [name]
    found: dict[str, Any] = {}
    while True:
        if chain[-1] not in known:
            raise SpecError(
                f"The plans have no configuration {chain[-1]!r}; they have {', '.join(known)}."
            )
        found = {**known[chain[-1]], **found}
        parent = known[chain[-1]].get("inherits_from")
        if parent is None:
            break
        if parent in chain:
            raise SpecError(f"Configuration {name!r} inherits from itself.")
        chain.append(parent)
    if found.get("previous_stage"):
        raise SpecError(
            f"{name} is the second half of a cascade: it also takes the answer of "
            f"{found['previous_stage']}, and medvision runs one network at a time. Import that "
            "one, or a configuration without a previous stage."
        )
    preprocessor = found.get("preprocessor_name", "DefaultPreprocessor")
    if preprocessor != "DefaultPreprocessor":
        raise SpecError(f"nnU-Net's {preprocessor} is not translated; DefaultPreprocessor is.")
    return found


def network_of(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the architecture's name and its settings.

    Raises
    ------
    SpecError
        Naming what medvision has no counterpart of.
    """
    kind, given = described(config)
    dims = len(config["patch_size"])
    if kind.rpartition(".")[2] not in NETWORKS:
        raise SpecError(f"The network {kind} is not translated; {' and '.join(NETWORKS)} are.")
    residual = kind.endswith("ResidualEncoderUNet")
    refuse_strange(kind, given)
    stages = int(given["n_stages"])
    features = spread(given["features_per_stage"], stages)
    if given.get("stem_channels") not in (None, features[0]):
        raise SpecError(f"{kind} with stem_channels {given['stem_channels']} is not translated.")
    network: dict[str, Any] = {
        "features": features,
        "strides": sides(given["strides"], stages, dims),
        "kernels": sides(given["kernel_sizes"], stages, dims),
        "decoder_convs": spread(given["n_conv_per_stage_decoder"], stages - 1),
    }
    count = given["n_blocks_per_stage" if residual else "n_conv_per_stage"]
    network["blocks" if residual else "encoder_convs"] = spread(count, stages)
    return f"{NETWORKS[kind.rpartition('.')[2]]}{dims}d", network


def described(config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the full name of a network's class and its arguments, from plans old or new."""
    if "architecture" in config:
        return config["architecture"]["network_class_name"], config["architecture"]["arch_kwargs"]
    if "UNet_class_name" not in config:
        raise SpecError("The plans describe no network: neither architecture nor UNet_class_name.")
    convs = config["n_conv_per_stage_encoder"]
    widths = [config["UNet_base_num_features"] * 2**stage for stage in range(len(convs))]
    residual = config["UNet_class_name"] == "ResidualEncoderUNet"
    return config["UNet_class_name"], {
        "n_stages": len(convs),
        "features_per_stage": [min(one, config["unet_max_num_features"]) for one in widths],
        "kernel_sizes": config["conv_kernel_sizes"],
        "strides": config["pool_op_kernel_sizes"],
        "n_blocks_per_stage" if residual else "n_conv_per_stage": convs,
        "n_conv_per_stage_decoder": config["n_conv_per_stage_decoder"],
        "norm_op": "InstanceNorm",
        "nonlin": "LeakyReLU",
    }


def refuse_strange(kind: str, given: Mapping[str, Any]) -> None:
    """Refuse a network that computes other than with instance norm and leaky ReLU, in that order.

    Dropout does nothing when a network is used, and a bias before an instance norm nothing ever.
    """
    norm, slope = given.get("norm_op_kwargs") or {}, given.get("nonlin_kwargs") or {}
    strange = [
        f"{name} {given[name]}"
        for name, usual in (
            ("norm_op", "InstanceNorm"),
            ("nonlin", "LeakyReLU"),
        )
        if not str(given.get(name)).rpartition(".")[2].startswith(usual)
    ]
    if norm.get("eps", 1e-5) != 1e-5 or norm.get("affine", True) is not True:
        strange.append(f"norm_op_kwargs {norm}")
    if slope.get("negative_slope", 0.01) != 0.01:
        strange.append(f"nonlin_kwargs {slope}")
    block = given.get("block")
    if block and not str(block).endswith("BasicBlockD"):
        strange.append(f"block {block}")
    strange += [f"{n} {given[n]}" for n in ("bottleneck_channels", "nonlin_first") if given.get(n)]
    if strange:
        raise SpecError(f"{kind} with {', '.join(strange)} is not translated.")


def spread(given: Any, count: int) -> list[int]:
    """Return a number for each of some stages."""
    return [int(given)] * count if isinstance(given, int) else [int(one) for one in given]


def sides(given: Any, count: int, dims: int) -> list[list[int]]:
    """Return a number for each axis of each of some stages."""
    stages = [given] * count if isinstance(given, int) else list(given)
    return [spread(one, dims) for one in stages]


def sampling_of(config: Mapping[str, Any]) -> Sampling:
    """Return how scans are resampled; what is not nnU-Net's own way is a `SpecError`."""
    image, back = (resampling(config, what) for what in ("data", "probabilities"))
    if back["order"] != 1 or back["thick"] != image["thick"]:
        raise SpecError(
            "Answers that come back other than linearly, or along other axes than the scan, are "
            f"not translated: {config.get('resampling_fn_probabilities_kwargs')}."
        )
    return Sampling(
        order=image["order"],
        antialias=False,
        ends="edges",
        thick=image["thick"],
        back="logits",
        crop="nonzero",
    )


def resampling(config: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return the order, and from which anisotropy on slices are apart, of one resampling."""
    name = config.get(f"resampling_fn_{what}", RESAMPLING)
    given = dict(config.get(f"resampling_fn_{what}_kwargs") or {})
    apart = given.get("force_separate_z")
    if name != RESAMPLING or given.get("order_z", 0) != 0 or apart is True:
        raise SpecError(f"Resampling by {name} with {given} is not translated; {RESAMPLING} is.")
    usual = 3 if what == "data" else 1
    factor = float(given.get("separate_z_anisotropy_threshold", ANISOTROPY))
    return {"order": given.get("order", usual), "thick": 0.0 if apart is False else factor}


def inputs_of(
    plans: Mapping[str, Any], config: Mapping[str, Any], dataset: Mapping[str, Any]
) -> tuple[InputSpec, ...]:
    """Return the inputs: one a channel, or one picture of color."""
    channels = dataset.get("channel_names") or dataset.get("modality") or {}
    names = [str(channels[key]) for key in sorted(channels, key=int)]
    found = [
        InputSpec(
            name=re.sub(r"[^\w-]+", "_", name).strip("_") or f"channel_{number}",
            modality=modality_of(name),
            intensity=intensity_of(plans, config, number),
        )
        for number, name in enumerate(names)
    ]
    if not found:
        raise SpecError("dataset.json names no channels (channel_names).")
    if plans.get("image_reader_writer") == PICTURES and len(found) == 3:
        return (InputSpec(channels=3, intensity=found[0].intensity),)
    if len({one.name for one in found}) != len(found):
        numbered = enumerate(found)
        return tuple(
            InputSpec(f"{one.name}_{n}", one.modality, intensity=one.intensity)
            for n, one in numbered
        )
    return tuple(found)


def modality_of(channel: str) -> str:
    """Return the DICOM modality that a channel's name tells; empty where it tells none.

    Examples
    --------
    >>> [modality_of(name) for name in ("CT", "T1w", "FLAIR", "T1-Gd", "MRI", "PET", "noNorm")]
    ['CT', 'MR', 'MR', 'MR', 'MR', 'PT', '']
    """
    name = re.sub(r"[^A-Z0-9]", "", channel.upper())
    if name in ("CT", "CTA", "CBCT"):
        return "CT"
    if name in ("PET", "PT", "SUV"):
        return "PT"
    is_mr = re.fullmatch(
        r"(CE|3D)?(MRI?|T1|T2|PD|FLAIR|T2FLAIR|DWI|ADC|SWI)(W|C|CE|GD|STAR|MRI?)*", name
    )
    return "MR" if is_mr else ""


def intensity_of(plans: Mapping[str, Any], config: Mapping[str, Any], channel: int) -> Intensity:
    """Return how a channel's values are scaled; an unknown scheme is a `SpecError`."""
    scheme = config["normalization_schemes"][channel]
    masked = config.get("use_mask_for_norm", [False] * (channel + 1))[channel]
    if scheme == "ZScoreNormalization":
        return Intensity("zscore", percentiles=(0, 100), inside="filled" if masked else "")
    if scheme == "CTNormalization":
        facts = plans.get("foreground_intensity_properties_per_channel") or plans.get(
            "foreground_intensity_properties_by_modality", {}
        )
        if str(channel) not in facts:
            raise SpecError(f"The plans lack the intensities of channel {channel} (CT).")
        seen = facts[str(channel)]
        return Intensity(
            "fixed",
            low=float(seen["percentile_00_5"]),
            high=float(seen["percentile_99_5"]),
            mean=float(seen["mean"]),
            std=max(float(seen["std"]), LEAST_STD),
        )
    if scheme == "NoNormalization":
        return Intensity("fixed", clip=False)
    if scheme == "RescaleTo01Normalization":
        return Intensity("range", percentiles=(0, 100))
    if scheme == "RGBTo01Normalization":
        return Intensity("fixed", low=0.0, high=255.0, std=255.0, clip=False)
    raise SpecError(f"nnU-Net's {scheme} is not translated.")


def axes_of(plans: Mapping[str, Any], dims: int, stored_as: str = "") -> str:
    """Return the letters of the model's axes.

    `stored_as` says how the axes of all training scans ran, if that is known.
    """
    reader = plans.get("image_reader_writer", "SimpleITKIO")
    if reader not in READERS:
        raise SpecError(f"nnU-Net's reader {reader} is not known: {', '.join(READERS)} are.")
    letters = [READERS[reader][axis] for axis in plans.get("transpose_forward", (0, 1, 2))]
    if dims == 2:  # planes are cut along the first axis there, along the third here
        letters = [*letters[1:], letters[0]]
    if stored_as and READERS[reader] == "KJI":
        letters = [stored_as[STORED.index(letter)] for letter in letters]
    return "".join(letters)


def classes_of(dataset: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return class names by label, and the label that each region paints, if there are regions.

    A class that later regions are painted over is named so: "tumor outside core".

    Raises
    ------
    SpecError
        When labels do not run from 1 without a gap, or are more than 255.
    """
    labels: dict[str, tuple[int, ...]] = {}
    for name, given in dataset["labels"].items():
        found = given if isinstance(given, (list, tuple)) else [given]
        if not all(isinstance(one, int) for one in found):
            raise SpecError(f"dataset.json: label {name!r} is a number or some; found {given!r}.")
        if name != "ignore" and set(found) != {0}:
            labels[name] = tuple(found)
    if not any(len(found) > 1 for found in labels.values()):
        by_label = {found[0]: name for name, found in labels.items()}
        check_run(by_label)
        return tuple(by_label[label] for label in sorted(by_label)), ()
    order = [int(one) for one in dataset.get("regions_class_order") or ()]
    if len(order) != len(labels):
        raise SpecError(
            f"dataset.json: regions_class_order has {len(order)} labels for {len(labels)} regions."
        )
    regions = list(labels.items())
    named = {
        label: region_name(regions[number], regions[number + 1 :])
        for number, label in enumerate(order)
    }
    check_run(named)
    return tuple(named[label] for label in sorted(named)), tuple(order)


def check_run(labels: Mapping[int, str]) -> None:
    """Refuse labels other than 1, 2, 3 and so on, and more than a mask can hold."""
    if len(labels) > MOST:
        raise SpecError(f"dataset.json has {len(labels)} structures; a mask holds {MOST} at most.")
    if sorted(labels) != list(range(1, len(labels) + 1)):
        raise SpecError(f"Labels run from 1 without a gap, to {MOST}; found {sorted(labels)}.")


def region_name(
    region: tuple[str, tuple[int, ...]], later: Sequence[tuple[str, tuple[int, ...]]]
) -> str:
    """Return a region's name, less what is painted over it."""
    over = [(name, set(found)) for name, found in later if set(found) & set(region[1])]
    outermost = [
        name
        for number, (name, found) in enumerate(over)
        if not any(
            found < other or (found == other and k < number) for k, (_, other) in enumerate(over)
        )
    ]
    return f"{region[0]} outside {' and '.join(outermost)}" if outermost else region[0]
