"""MONAI's intensity transforms, one after the other, as one rule of medvision.

Each step is worked out on paper: what it makes of ``y = (x - mean) / std`` and its limits. Knows
nothing of voxels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from medvision.importers.monai_config import Part
from medvision.intensity_spec import Intensity

PLAIN = Intensity("fixed", clip=False)  # voxels as they come
WHOLE = (0.0, 100.0)  # percentiles: the lowest and highest voxel
NAMES = (
    "ScaleIntensityRange",
    "ScaleIntensity",
    "ScaleIntensityRangePercentiles",
    "NormalizeIntensity",
    "ClipIntensityPercentiles",
)


@dataclass(frozen=True)
class Seen:
    """Which channels a transform sees: `number` of `count`, with `colors` of its own, of a CT?"""

    number: int
    count: int
    colors: int = 1
    ct: bool = False


@dataclass(frozen=True)
class Scale:
    """An intensity rule that is being put together.

    `clipped` says that the values are the scan's own, clipped to the rule's percentiles, and wait
    for what follows.
    """

    rule: Intensity = PLAIN
    clipped: bool = False

    @property
    def straight(self) -> bool:
        """Return whether nothing but a straight line was done to the voxels."""
        whole = self.rule.rule == "range" and self.rule.percentiles == WHOLE
        free = self.rule.rule == "fixed" and not self.rule.clip
        normal = self.rule.rule == "zscore" and self.rule.percentiles == WHOLE
        return not self.clipped and (whole or free or (normal and not self.rule.inside))


def apply(scale: Scale, part: Part, seen: Seen) -> Scale:
    """Return what a scale is after a transform of `NAMES`; what cannot be said is refused."""
    steps = {
        "ScaleIntensityRange": _range,
        "ScaleIntensity": _minmax,
        "ScaleIntensityRangePercentiles": _percentiles,
        "NormalizeIntensity": _normalize,
        "ClipIntensityPercentiles": _clip_percentiles,
    }
    part.ignore("dtype")
    found = steps[base_name(part.name)](scale, part, seen)
    part.finish()
    return found


def base_name(name: str) -> str:
    """Return a dictionary transform's name without what says so.

    Examples
    --------
    >>> base_name("Spacingd"), base_name("SpacingDict"), base_name("EnsureTyped")
    ('Spacing', 'Spacing', 'EnsureType')
    """
    return name.removesuffix("Dict").removesuffix("D").removesuffix("d")


def _line(scale: Scale, center: float, width: float, part: Part) -> Scale:
    """Return the scale after ``y = (x - center) / width``."""
    rule = scale.rule
    if not width > 0:
        part.refuse("turns dark into bright, which no intensity rule of medvision does")
    if scale.clipped or rule.rule == "zscore":
        part.refuse("comes after a normalization by the image itself, which medvision cannot shift")
    if rule.rule == "range":
        low, high = ((one - center) / width for one in rule.to)
        return Scale(replace(rule, to=(low, high)))
    return Scale(replace(rule, mean=rule.mean + center * rule.std, std=rule.std * width))


def _limit(before: Scale, after: Scale, low: float, high: float, part: Part) -> Scale:
    """Return a scale after clipping to what `low`…`high` became, which `before` gave."""
    rule, earlier = after.rule, before.rule
    if rule.rule == "range" and rule.clip and low <= earlier.to[0] and earlier.to[1] <= high:
        return after
    if rule.rule != "fixed":
        part.refuse("clips after a scaling by the image itself, which medvision does not do")
    low, high = (one * earlier.std + earlier.mean for one in (low, high))
    if rule.clip:
        low, high = max(low, rule.low), min(high, rule.high)
    return Scale(replace(rule, low=low, high=high, clip=True))


def _range(scale: Scale, part: Part, seen: Seen) -> Scale:
    a, b = part.number("a_min"), part.number("a_max")
    to, end = part.number("b_min"), part.number("b_max")
    if a is None or b is None or not a < b:
        part.refuse(f"has a_min {a} and a_max {b}, which do not rise")
    low, high = (0.0, 1.0) if to is None or end is None else (to, end)
    if not low < high:
        part.refuse(f"has b_min {low} and b_max {high}, which do not rise")
    width = (b - a) / (high - low)
    after = _line(scale, a - low * width, width, part)
    return _limit(scale, after, a, b, part) if part.flag("clip") else after


def _by_channel(part: Part, seen: Seen) -> None:
    """Refuse statistics over other channels than those of one input."""
    apart = part.flag("channel_wise")
    if seen.count > 1 and not apart:
        part.refuse("takes statistics of all inputs together; medvision takes each input's own")
    if seen.colors > 1 and apart:
        part.refuse("takes statistics of each color apart; medvision takes them together")


def _minmax(scale: Scale, part: Part, seen: Seen) -> Scale:
    low, high = part.number("minv", 0.0), part.number("maxv", 1.0)
    part.want("factor", None)
    _by_channel(part, seen)
    if low is None or high is None or not low < high:
        part.refuse(f"has minv {low} and maxv {high}, which do not rise")
    rule = scale.rule
    inside_ct = rule.rule == "zscore" and rule.inside == "nonzero" and seen.ct
    if scale.clipped or scale.straight or inside_ct:  # of a CT hardly a voxel is 0
        ends = rule.percentiles if scale.clipped else WHOLE
        return Scale(Intensity("range", percentiles=ends, to=(low, high)))
    if rule.rule == "range" and rule.clip:
        return Scale(replace(rule, to=(low, high)))
    part.refuse("scales by the image itself what was clipped before, which medvision does not do")


def _percentiles(scale: Scale, part: Part, seen: Seen) -> Scale:
    lower, upper = part.number("lower"), part.number("upper")
    low, high = part.number("b_min"), part.number("b_max")
    part.want("relative", False)
    _by_channel(part, seen)
    if lower is None or upper is None or low is None or high is None:
        part.refuse("lacks one of lower, upper, b_min and b_max")
    if not scale.straight:
        part.refuse("comes after another scaling by the image itself")
    return Scale(
        Intensity("range", percentiles=(lower, upper), to=(low, high), clip=part.flag("clip"))
    )


def _clip_percentiles(scale: Scale, part: Part, seen: Seen) -> Scale:
    lower, upper = part.number("lower"), part.number("upper")
    part.want("sharpness_factor", None)
    part.ignore("return_clipping_values")
    _by_channel(part, seen)
    if lower is None or upper is None or not scale.straight:
        part.refuse("clips on one side alone, or after another scaling by the image itself")
    return Scale(Intensity("range", percentiles=(lower, upper)), clipped=True)


def _normalize(scale: Scale, part: Part, seen: Seen) -> Scale:
    inside = part.flag("nonzero")
    mean = _of_channel(part.take("subtrahend"), part, seen)
    std = _of_channel(part.take("divisor"), part, seen)
    if mean is not None and std is not None:
        part.ignore("channel_wise")
        if inside:
            part.refuse("has nonzero with a subtrahend, which no intensity rule of medvision has")
        return _line(scale, mean, std or 1.0, part)
    if mean is not None or std is not None:
        part.refuse("has one of subtrahend and divisor without the other")
    _by_channel(part, seen)
    rule = scale.rule
    if inside and scale == Scale():
        return Scale(Intensity("zscore", percentiles=WHOLE, inside="nonzero"))
    if not inside and (scale.clipped or scale.straight or (rule.rule == "range" and rule.clip)):
        ends = rule.percentiles if rule.rule == "range" else WHOLE
        return Scale(Intensity("zscore", percentiles=ends))
    part.refuse("normalizes by the image itself what was scaled before, which medvision cannot do")


def _of_channel(value: object, part: Part, seen: Seen) -> float | None:
    """Return a number that is given for all channels, or for each."""
    if not isinstance(value, list):
        found = value
    elif seen.colors > 1:
        found = value[0] if len(set(value)) == 1 else part.refuse("differs from color to color")
    elif len(value) == seen.count:
        found = value[seen.number]
    else:
        part.refuse(f"has {len(value)} numbers for {seen.count} channels")
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        part.refuse(f"has {found!r}, which is no number")
    return float(found)
