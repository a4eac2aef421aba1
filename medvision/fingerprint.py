"""How like the training images a scan is: ranges measured in training, warnings in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from medvision.fingerprint_spec import Fingerprint
from medvision.geometry import in_directions
from medvision.intensity_spec import Range
from medvision.prediction import Structure
from medvision.review import LEAST_CASES
from medvision.spec import ModelSpec
from medvision.volume import Volume

SIZE_SLACK, SPACING_SLACK = 1.3, 1.5  # factors beyond the training range that pass in silence
VOLUME_SLACK = 2.0
FILMS = ("CR", "DX", "RG", "MG", "IO", "PX", "RF", "XA")  # modalities of projections
SHAPE_SLACK = 1.5  # of width by height: films of 4 : 3 are square in many a data set
BRIGHTNESS_SLACK = 0.2  # of the 1st-to-99th percentile span
AXES = {"R": "left-right", "A": "back-front", "S": "foot-head"}  # of a scan
SIDES = {"R": "wide", "A": "deep", "S": "high"}  # of a picture, as `read_raster` lays it
MAX_SAMPLES = 4_000_000
NEAR = 0.01  # of the span of the values: as good as the lowest or highest
BINARY = 0.5  # from this share of saturated voxels on, an image is a shape of two values
PEAK_SHARE = 0.5  # of the way up the window that the dimmest training image goes
FORCED = (
    "unlike the training images in what follows, and a classifier names one of its classes "
    "whatever it is shown: do not rely on the probabilities"
)


@dataclass(frozen=True)
class Facts:
    """What is compared: one scan along the model's axes."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]  # 1 where it is unknown
    spacing_known: bool
    brightness: float  # place of the median between the 1st (0) and 99th (1) percentile
    level: float  # median, in the scan's units
    peak: float  # highest value
    saturated: float  # of the voxels above the lowest value, the share at the highest
    volumes_ml: Mapping[str, float] = field(default_factory=dict)  # of the structures it holds

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Size along the model's axes, in mm; in pixels where the spacing is unknown."""
        x, y, z = (float(n * mm) for n, mm in zip(self.shape, self.spacing_mm, strict=True))
        return x, y, z

    def without_spacing(self) -> Facts:
        """Return the facts of the same voxels as a picture, sizes in pixels."""
        return replace(self, spacing_mm=(1.0, 1.0, 1.0), spacing_known=False)


def facts_of(volume: Volume, spec: ModelSpec) -> Facts:
    """Measure one scan."""
    upright = volume.reoriented(spec.orientation)
    step = max(1, round((upright.array.size / MAX_SAMPLES) ** (1 / 3)))
    sample = np.asarray(upright.array[:, ::step, ::step, ::step], dtype=np.float64)
    sample = sample[np.isfinite(sample)]
    sample = sample if sample.size else np.zeros(1)
    low, median, high = np.percentile(sample, [1, 50, 99])
    span = high - low
    return Facts(
        shape=upright.shape,
        spacing_mm=upright.spacing,
        spacing_known=volume.info.spacing_known,
        brightness=float((median - low) / span) if span > 0 else 0.0,
        level=float(median),
        peak=float(sample.max()),
        saturated=saturation_of(sample),
    )


def saturation_of(values: NDArray[np.float64]) -> float:
    """Return the share at the highest value, of the values above the lowest; 1 for a constant."""
    low, high = values.min(), values.max()
    near = NEAR * (high - low)
    above = values[values > low + near]
    return float((above >= high - near).mean()) if above.size else 1.0


def fingerprint_of(cases: Sequence[Facts]) -> Fingerprint:
    """Return the range that 99% of the training scans span; of fewer than 100, all of them.

    Sizes are in pixels unless all have a spacing.
    """
    known = all(c.spacing_known for c in cases)
    cases = cases if known else [c.without_spacing() for c in cases]

    def span(values: Sequence[float]) -> Range:
        low, high = np.percentile(values, [0.5, 99.5], method="nearest")
        return round(float(low), 4), round(float(high), 4)

    ex, ey, ez = (span([c.extent_mm[a] for c in cases]) for a in range(3))
    sx, sy, sz = (span([c.spacing_mm[a] for c in cases]) for a in range(3))
    names = dict.fromkeys(name for c in cases for name in c.volumes_ml) if known else ()
    held = {n: [c.volumes_ml[n] for c in cases if n in c.volumes_ml] for n in names}
    return Fingerprint(
        cases=len(cases),
        extent_mm=(ex, ey, ez),
        spacing_mm=(sx, sy, sz),
        brightness=span([c.brightness for c in cases]),
        level=span([c.level for c in cases]),
        spacing_known=known,
        saturated=span([c.saturated for c in cases]),
        peak=span([c.peak for c in cases]),
        volumes_ml={n: volumes_of(one) for n, one in held.items() if len(one) >= LEAST_CASES},
    )


def volumes_of(values: Sequence[float]) -> Range:
    """Return the range of 99 % of volumes in ml, to four digits that count."""
    low, high = np.percentile(values, [0.5, 99.5], method="nearest")
    return float(f"{low:.4g}"), float(f"{high:.4g}")


def unlike_training(volumes: Mapping[str, Volume], spec: ModelSpec) -> list[str]:
    """Return one sentence for each way in which a study lies far outside the training range.

    Of several inputs, given by name, only the reference is held against the fingerprint. For a
    classification a sentence before them says what they mean for the probabilities.
    """
    warnings = []
    for one in spec.inputs:
        found = volumes[one.name].info.modality
        if one.modality and found and found != one.modality:
            name = f"{one.name}: " if len(spec.inputs) > 1 else ""
            warnings.append(f"{name}modality {found}: trained on {one.modality}")
    if spec.fingerprint is not None:
        reference = volumes[spec.inputs[0].name]
        facts = facts_of(reference, spec)
        if reference.info.modality in FILMS and not spec.fingerprint.spacing_known:
            facts = facts.without_spacing()  # that of the detector, which pictures have lost
        letters = in_directions(spec.orientation, reference.affine)
        warnings += unlike_in_size(facts, spec.fingerprint, spec, letters)
        warnings += unlike_in_values(facts, spec.fingerprint, spec)
    return [FORCED, *warnings] if warnings and spec.task == "classification" else warnings


def unlike_in_volume(structures: Sequence[Structure], known: Fingerprint | None) -> list[str]:
    """Return a sentence for each structure that is far larger or smaller than any in training.

    What touches the border of what was shown may be cut off, and is not called too small.

    Examples
    --------
    >>> size, share = ((40.0, 40.0),) * 3, (0.0, 1.0)
    >>> seen = Fingerprint(9, size, ((1.0, 1.0),) * 3, share, share, volumes_ml={"a": (1.0, 3.0)})
    >>> found = Structure("a", 1, 72000, 72.0, (0, 0, 0), (90, 80, 70), False)
    >>> unlike_in_volume([found], seen)
    ['a has 72 ml: 1 to 3 ml in training']
    """
    warnings = []
    for one in structures:
        seen = known.volumes_ml.get(one.name) if known else None
        if seen is None or not one.ml:
            continue
        small = one.ml * VOLUME_SLACK < seen[0] and not one.touches_border
        if small or one.ml > seen[1] * VOLUME_SLACK:
            warnings.append(f"{one.name} has {one.ml:.3g} ml: {in_words(seen)} ml in training")
    return warnings


def unlike_in_size(
    facts: Facts, known: Fingerprint, spec: ModelSpec, orientation: str
) -> list[str]:
    """Compare planes, extents and voxel sizes; of pictures, too few pixels and another shape.

    A model without a voxel size fits pictures into its window as in training, so that larger ones
    are nothing to warn of, but those of another shape are. `orientation`
    names the directions of the model's axes in this scan.
    """
    warnings = []
    if facts.spacing_known != known.spacing_known:
        trained = "scans with one" if known.spacing_known else "pictures without one"
        size = " × ".join(f"{mm:.3g}" for mm in facts.spacing_mm)
        has = f"a voxel size of {size} mm" if facts.spacing_known else "no known voxel size"
        warnings.append(f"{has}: trained on {trained}")
        if known.spacing_known:
            return warnings  # pixels say nothing of millimeters
        facts = facts.without_spacing()
    flat = spec.dims == 2 and known.extent_mm[2] == known.spacing_mm[2]
    fitted = flat and spec.spacing is None and not known.spacing_known
    if flat and facts.shape[2] > 1:
        warnings.append(f"a stack of {facts.shape[2]} planes: trained on single ones")
    unit, words = ("mm", AXES) if known.spacing_known else ("pixels", SIDES)
    for axis, letter in enumerate(orientation[: 2 if flat else 3]):
        name = words[letter.translate(str.maketrans("LPI", "RAS"))]
        for what, value, seen, slack in (
            ("extent", facts.extent_mm[axis], known.extent_mm[axis], SIZE_SLACK),
            ("voxel size", facts.spacing_mm[axis], known.spacing_mm[axis], SPACING_SLACK),
        ):
            large = what == "extent" and value > seen[1]
            if large and fitted:
                continue
            if not seen[0] / slack <= value <= seen[1] * slack:
                hint = "; show it a part with --box" if large and known.spacing_known else ""
                warnings.append(
                    f"{what} {short(value)} {unit} {name}: trained on {in_words(seen)} {unit}{hint}"
                )
    if fitted:
        (wide, high), (widths, heights) = facts.extent_mm[:2], known.extent_mm[:2]
        low, most = widths[0] / heights[1] / SHAPE_SLACK, widths[1] / heights[0] * SHAPE_SLACK
        if not low <= wide / high <= most:
            trained = f"{in_words(widths)} × {in_words(heights)}"
            warnings.append(
                f"{wide:.0f} × {high:.0f} pixels: trained on another shape, {trained} pixels"
            )
    return warnings


def unlike_in_values(facts: Facts, known: Fingerprint, spec: ModelSpec) -> list[str]:
    """Compare contrast, and the values themselves where the model is told them as they are."""
    warnings, intensity = [], spec.inputs[0].intensity
    if facts.saturated < BINARY <= known.saturated[0]:
        warnings.append("gray values: trained on shapes of two values alone, as in a mask")
    if known.saturated[1] < BINARY <= facts.saturated:
        warnings.append("no more than two values, as in a mask: trained on gray images")
    low, high = known.brightness
    if not low - BRIGHTNESS_SLACK <= facts.brightness <= high + BRIGHTNESS_SLACK:
        warnings.append(
            f"contrast unlike training: median at {facts.brightness:.0%} of the intensity range, "
            f"trained on {low:.0%} to {high:.0%}"
        )
    if intensity.rule != "window":
        return warnings
    if not near_range(facts.level, known.level):
        warnings.append(f"median intensity {facts.level:.0f}: trained on {whole(known.level)}")
    if known.peak is not None:
        least = min(known.peak[0], intensity.high) - intensity.low
        if facts.peak - intensity.low < PEAK_SHARE * least:
            warnings.append(f"highest value {facts.peak:.4g}: trained on {whole(known.peak)}")
    return warnings


def near_range(value: float, seen: Range) -> bool:
    """Tell whether `value` lies within a range widened by half its span on each side."""
    slack = (seen[1] - seen[0]) / 2
    return seen[0] - slack <= value <= seen[1] + slack


def in_words(seen: Range) -> str:
    """Return a range as text, one number where both ends are the same."""
    low, high = short(seen[0]), short(seen[1])
    return low if low == high else f"{low} to {high}"


def whole(seen: Range) -> str:
    """Return a range of voxel values as text, rounded to integers."""
    return f"{seen[0]:.0f} to {seen[1]:.0f}" if seen[0] != seen[1] else f"{seen[0]:.0f}"


def short(value: float) -> str:
    """Return three digits of a number, all of those before the point."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
