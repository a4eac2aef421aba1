"""README.txt of an exported model: how to use it without medvision, in words."""

from __future__ import annotations

from collections.abc import Sequence

from medvision.intensity_spec import Intensity
from medvision.spec import ModelSpec

CALLS = {
    "openvino": """\
    import numpy as np, openvino
    model = openvino.Core().compile_model("{file}", "CPU")
    logits = model([windows])[0]         # windows: numpy float32 {shape}""",
    "onnx": """\
    import numpy as np, onnxruntime
    model = onnxruntime.InferenceSession("{file}")
    [logits] = model.run(None, {{"windows": windows}})   # numpy float32 {shape}""",
}


def readme(spec: ModelSpec, files: Sequence[str], form: str) -> str:
    """Return the text of README.txt."""
    shape = f"(B, {spec.channels}, {', '.join(map(str, spec.roi_size))})"
    blocks = [
        f"{spec.name}: a {spec.task} model, exported by medvision.",
        "Research use only, not a medical device. License and limits: card.md.",
        "With medvision\n\n"
        "    medvision predict SCAN --model THIS_FOLDER --out results\n"
        "    medvision check THIS_FOLDER",
        "Without\n\n" + CALLS[form].format(file=files[0], shape=shape),
        "Input\n\n" + listed(input_of(spec, shape)),
        "Output\n\n" + listed(output_of(spec, files)),
        "Files\n\n"
        + listed(
            [
                f"{', '.join(files)}: the network{'s' if len(files) > 1 else ''}.",
                "spec.json: all of the above as data.",
                "parity.safetensors: a window and the logits that torch gave of it, to test with "
                "(window; logits.1, logits.2, … of each network; of large ones every n-th voxel "
                "along each axis).",
                "portable.json: format, files and their SHA-256.",
            ]
        ),
    ]
    return "\n\n".join(blocks) + "\n"


def listed(lines: Sequence[str]) -> str:
    """Return lines as a list."""
    return "\n".join(f"  - {line}" for line in lines)


def input_of(spec: ModelSpec, shape: str) -> list[str]:
    """Return what goes in."""
    space = (
        f"of {', '.join(f'{one:g}' for one in spec.spacing)} mm"
        if spec.spacing
        else f"of any size, the image fitted into the window ({spec.fit})"
    )
    lines = [
        f"windows: float32 {shape}; B is any number of windows, then channels, then the voxel "
        "axes I, J, K" + (" (K is 1: single planes)" if spec.dims == 2 else "") + ".",
        f"Voxel axes run along {spec.orientation} (the first toward {spec.orientation[0]}, and "
        f"so on), voxels are {space}.",
        f"The scan is sampled with order {spec.sampling.order} (0 nearest, 1 linear, 3 cubic).",
    ]
    channel = 0
    for one in spec.inputs:
        span = str(channel) if one.channels == 1 else f"{channel} to {channel + one.channels - 1}"
        lines.append(f"Channel {span} is {one.name}: {scaling(one.intensity)}")
        channel += one.channels
    return lines


def scaling(rule: Intensity) -> str:
    """Return how a scan's values become the network's, in words."""
    low, high = rule.percentiles
    limits = f"the scan's percentiles {low:g} and {high:g}"
    if rule.rule == "window":
        half = (rule.high - rule.low) / 2
        return (
            f"values are cut to {rule.low:g} … {rule.high:g}, then (value - "
            f"{rule.low + half:g}) / {half:g}."
        )
    if rule.rule == "fixed":
        cut = f"are cut to {rule.low:g} … {rule.high:g}, then " if rule.clip else ""
        return f"values {cut}(value - {rule.mean:g}) / {rule.std:g}."
    if rule.rule == "range":
        cut = "; what lies beyond is cut" if rule.clip else ""
        return f"{limits} become {rule.to[0]:g} and {rule.to[1]:g}, linearly{cut}."
    where = f" Of the voxels that are not 0 alone ({rule.inside}); others are 0."
    cut = f"values are cut to {limits}, then " if rule.clip else ""
    return (
        f"{cut}their mean is taken off, and they are divided by their standard deviation."
        f"{where if rule.inside else ''}"
    )


def output_of(spec: ModelSpec, files: Sequence[str]) -> list[str]:
    """Return what comes out."""
    names = ", ".join(f"{i} {name}" for i, name in enumerate(spec.class_names))
    if spec.task == "classification":
        turn = "sigmoid of each" if spec.multilabel else "softmax over them"
        known = spec.calibration
        whose = "the logits of their mean" if len(files) > 1 else "logits"
        by = f", of {whose} divided by {known.temperature:.6g}" if known else ""
        lines = [
            f"logits: (B, {spec.outputs}), one a class: {names}. Probabilities: {turn}{by}.",
            "The window is the one at the scan's center, its border repeated beyond it.",
        ]
    elif spec.regions:
        lines = [
            f"logits: (B, {spec.outputs}, I, J, K), one a region, which holds where its logit is "
            f"above 0. One after the other they paint the labels {list(spec.regions)}.",
        ]
    else:
        labels = ", ".join(f"{i} {n}" for i, n in enumerate(spec.class_names, start=1))
        lines = [
            f"logits: (B, {spec.outputs}, I, J, K), one a label: 0 background, {labels}. The "
            "label of a voxel is that of its largest logit.",
        ]
    if spec.task == "segmentation":
        lines.append(
            f"The window moves over the scan; neighbours share {spec.overlap:.0%} of it, and their "
            f"logits are averaged with {spec.sliding.blend} weights."
        )
    if len(files) > 1:
        lines.append(f"The {spec.sliding.average} of the {len(files)} networks are averaged.")
    if spec.cleanup:
        lines.append("Afterwards small parts are removed, as cleanup in spec.json says.")
    return lines
