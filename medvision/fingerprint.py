"""How like the training images a scan is: ranges measured in training, warnings in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medvision.spec import Fingerprint, ModelSpec, Range
from medvision.volume import Volume

SIZE_SLACK, SPACING_SLACK = 1.3, 1.5  # factors beyond the training range that pass in silence
BRIGHTNESS_SLACK = 0.2  # of the 1st-to-99th percentile span
AXES = ("left-right", "back-front", "foot-head")
MAX_SAMPLES = 4_000_000


@dataclass(frozen=True)
class Facts:
    """What is compared: one scan along the model's axes."""

    extent_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    brightness: float  # place of the median between the 1st (0) and 99th (1) percentile
    level: float  # median, in the scan's units


def facts_of(volume: Volume, spec: ModelSpec) -> Facts:
    """Measure one scan."""
    upright = volume.reoriented(spec.orientation)
    step = max(1, round((upright.array.size / MAX_SAMPLES) ** (1 / 3)))
    sample = np.asarray(upright.array[:, ::step, ::step, ::step], dtype=np.float64)
    low, median, high = np.nanpercentile(sample, [1, 50, 99])
    x, y, z = (float(n * s) for n, s in zip(upright.shape, upright.spacing, strict=True))
    span = high - low
    brightness = float((median - low) / span) if span > 0 else 0.0
    return Facts((x, y, z), upright.spacing, brightness, float(median))


def fingerprint_of(cases: Sequence[Facts]) -> Fingerprint:
    """Return the range that the training scans span."""

    def span(values: Sequence[float]) -> Range:
        return round(min(values), 4), round(max(values), 4)

    ex, ey, ez = (span([c.extent_mm[a] for c in cases]) for a in range(3))
    sx, sy, sz = (span([c.spacing_mm[a] for c in cases]) for a in range(3))
    return Fingerprint(
        cases=len(cases),
        extent_mm=(ex, ey, ez),
        spacing_mm=(sx, sy, sz),
        brightness=span([c.brightness for c in cases]),
        level=span([c.level for c in cases]),
    )


def unlike_training(volumes: Mapping[str, Volume], spec: ModelSpec) -> list[str]:
    """Return one sentence for each way in which a study lies far outside the training range.

    Of several inputs, given by name, only the reference is held against the fingerprint.
    """
    known, warnings = spec.fingerprint, []
    for one in spec.inputs:
        found = volumes[one.name].info.modality
        if one.modality and found and found != one.modality:
            name = f"{one.name}: " if len(spec.inputs) > 1 else ""
            warnings.append(f"{name}modality {found}: trained on {one.modality}")
    if known is None:
        return warnings
    facts = facts_of(volumes[spec.inputs[0].name], spec)
    for axis, name in enumerate(AXES):
        for what, value, seen, slack in (
            ("extent", facts.extent_mm[axis], known.extent_mm[axis], SIZE_SLACK),
            ("voxel size", facts.spacing_mm[axis], known.spacing_mm[axis], SPACING_SLACK),
        ):
            if not seen[0] / slack <= value <= seen[1] * slack:
                hint = "; show it a part with --box" if value > seen[1] and what == "extent" else ""
                span = f"{seen[0]:.3g}" if seen[0] == seen[1] else f"{seen[0]:.3g} to {seen[1]:.3g}"
                warnings.append(f"{what} {value:.3g} mm {name}: trained on {span} mm{hint}")
    low, high = known.brightness
    if not low - BRIGHTNESS_SLACK <= facts.brightness <= high + BRIGHTNESS_SLACK:
        warnings.append(
            f"contrast unlike training: median at {facts.brightness:.0%} of the intensity range, "
            f"trained on {low:.0%} to {high:.0%}"
        )
    if spec.intensity.rule == "window" and not near_range(facts.level, known.level):
        warnings.append(
            f"median intensity {facts.level:.0f}: trained on "
            f"{known.level[0]:.0f} to {known.level[1]:.0f}"
        )
    return warnings


def near_range(value: float, seen: Range) -> bool:
    """Tell whether `value` lies within a range widened by half its span on each side."""
    slack = (seen[1] - seen[0]) / 2
    return seen[0] - slack <= value <= seen[1] + slack
