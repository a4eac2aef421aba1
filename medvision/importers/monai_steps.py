"""A bundle's preprocessing, transform by transform, as the settings of a spec."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from medvision.importers.monai_config import Part, first
from medvision.importers.monai_intensity import NAMES, Scale, Seen, apply, base_name

LABELS = {"label", "labels", "mask", "seg", "gt"}  # keys of what is not shown to a network
NOTHING = {  # change no voxel, or bring a file into memory as medvision does anyway
    *("LoadImage", "EnsureChannelFirst", "AsChannelFirst", "AddChannel", "EnsureType"),
    *("ToTensor", "CastToType", "Identity", "ToDevice", "SelectItems", "DeleteItems"),
    *("CopyItems", "DataStats", "ToNumpy", "ConcatItems"),
}
OWN_AXES = 90.0  # degrees: MONAI's Spacing keeps the scan's own axes, however oblique
LINEAR = {"bilinear": 1, "linear": 1, "trilinear": 1, "nearest": 0, 0: 0, 1: 1, 3: 3}


@dataclass
class Steps:
    """What a preprocessing does.

    Parameters
    ----------
    names : list of str
        Keys of the images that are loaded, each an input.
    scales : list of Scale
        Of each channel that the network takes.
    spacing, orientation : optional
        None when the config says nothing.
    order : int
        Of interpolation.
    size : list of int, optional
        What the image is brought to, by stretching or (`window`) by cutting and filling.
    early : bool
        Whether intensities are scaled before the scan is sampled.
    crop : bool
        Whether the box around what is not 0 is shown alone.
    notes : list of str
        What a reader of the card should know.
    """

    seen: list[Seen]
    names: list[str] = field(default_factory=list)
    scales: list[Scale] = field(default_factory=list)
    spacing: tuple[float, float, float] | None = None
    orientation: str | None = None
    order: int = 1
    size: list[int] | None = None
    window: bool = False
    early: bool = False
    crop: bool = False
    notes: list[str] = field(default_factory=list)


def translate_steps(parts: Sequence[Part], seen: list[Seen]) -> Steps:
    """Return what the transforms of a preprocessing do.

    Parameters
    ----------
    parts : sequence of Part
        In order.
    seen : list of Seen
        The network's inputs.

    Raises
    ------
    SpecError
        Naming a transform that medvision has nothing for, or its argument, and the config.
    """
    steps = Steps(seen, scales=[Scale() for _ in seen])
    known: dict[str, Callable[[Steps, Part], None]] = {
        "Orientation": _orientation,
        "Spacing": _spacing,
        "Resize": _resize,
        "ResizeWithPadOrCrop": _cut,
        "CenterSpatialCrop": _cut,
        "CropForeground": _crop,
        "SpatialPad": _pad,
        "DivisiblePad": _pad,
    }
    shown: set[str] = set()
    for part in parts:
        if part.disabled:
            continue
        name, keys = base_name(part.name), _keys(part)
        if part.target.count(".") and not part.target.startswith("monai."):
            part.refuse(f"is code of the bundle's own, {part.target}, which is not run")
        if name == "LoadImage":
            steps.names += [key for key in keys if key not in LABELS]
            shown |= set(steps.names)
        if name == "ConcatItems":
            shown.add(str(part.take("name", "image")))
        if name in NOTHING:
            continue
        mine = [key for key in keys if key in shown or not shown]
        if keys and not mine:
            continue  # of labels
        part.ignore("keys", "allow_missing_keys", "meta_keys", "meta_key_postfix", "lazy")
        if name in NAMES:
            _scale(steps, part, mine)
        elif name in known:
            known[name](steps, part)
            part.finish()
        else:
            part.refuse("is a transform that medvision has nothing for")
    return steps


def _keys(part: Part) -> list[str]:
    keys = part.take("keys", [])
    return [str(one) for one in keys] if isinstance(keys, list) else [str(keys)]


def _scale(steps: Steps, part: Part, keys: list[str]) -> None:
    """Let an intensity transform act on the inputs that its keys name."""
    if steps.early:
        part.refuse("comes after Spacingd, and another scaling before it: medvision has one place")
    given = dict(part.left)
    apart = len(steps.names) == len(steps.seen) > 1 and set(keys) <= set(steps.names)
    for number, seen in enumerate(steps.seen):
        if apart and steps.names[number] not in keys:
            continue
        part.left = dict(given)
        steps.scales[number] = apply(steps.scales[number], part, seen)
    part.left = {}


def _orientation(steps: Steps, part: Part) -> None:
    codes = part.take("axcodes")
    if part.flag("as_closest_canonical"):
        codes = "RAS"
    part.ignore("labels")
    text = "".join(codes) if isinstance(codes, (str, list)) else ""
    pairs = ("LR", "PA", "IS")
    if len(text) != 3 or any(sum(letter in pair for letter in text) != 1 for pair in pairs):
        part.refuse(f"has axcodes {codes!r}, which are no three axes such as RAS")
    if steps.spacing and len(set(steps.spacing)) > 1:
        part.refuse("comes after Spacingd, whose voxel sizes then belong to the scan's own axes")
    if steps.spacing:
        steps.notes.append(
            "The bundle samples a scan before it turns it; here it is turned first, which may move "
            "its grid by less than a voxel."
        )
    steps.orientation = text


def _spacing(steps: Steps, part: Part) -> None:
    sizes = part.take("pixdim")
    sizes = list(sizes) if isinstance(sizes, list) else [sizes]
    if steps.spacing:
        part.refuse("is the second: medvision samples a scan once")
    numbers = all(isinstance(one, (int, float)) and one > 0 for one in sizes)
    if not sizes or not numbers:
        part.refuse(f"has pixdim {sizes}; medvision needs voxel sizes above 0 mm along each axis")
    mode = first(part.take("mode", "bilinear"))
    if mode not in LINEAR:
        part.refuse(f"has mode {mode!r}; medvision samples nearest, linearly or by cubic splines")
    beyond = first(part.take("padding_mode", "border"))
    if beyond not in ("border", "nearest"):
        steps.notes.append(
            f"Beyond the outermost voxels' centers the bundle takes {beyond!r}; here the border is "
            "repeated."
        )
    for name in ("diagonal", "scale_extent", "recompute_affine"):
        part.want(name, False)
    for name in ("min_pixdim", "max_pixdim"):
        part.want(name, None)
    part.ignore("align_corners", "dtype", "ensure_same_shape")
    one, two, three = [float(size) for size in (*sizes, *sizes[-1:], *sizes[-1:])][:3]
    steps.spacing, steps.order = (one, two, three), LINEAR[mode]
    steps.early = any(scale != Scale() for scale in steps.scales)


def _size(part: Part, name: str = "spatial_size") -> list[int]:
    size = part.take(name)
    if not isinstance(size, list) or not all(type(one) is int and one > 0 for one in size):
        part.refuse(f"has {name} {size!r}; medvision needs a number of voxels for each axis")
    return list(size)


def _resize(steps: Steps, part: Part) -> None:
    if steps.spacing:
        part.refuse("comes after Spacingd: medvision stretches no scan of a known voxel size")
    steps.size = _size(part)
    part.want("size_mode", "all")
    mode: Any = first(part.take("mode", "area"))
    if mode not in ("area", "bilinear", "linear", "trilinear", "bicubic", "nearest"):
        part.refuse(f"has mode {mode!r}")
    part.ignore("align_corners", "anti_aliasing", "anti_aliasing_sigma", "dtype")
    steps.notes.append(
        f"The bundle stretches each image to {' × '.join(map(str, steps.size))}; here it keeps its "
        "proportions, and is shown whole with its borders repeated. Images of other proportions "
        "than those look different to the network."
    )


def _cut(steps: Steps, part: Part) -> None:
    center = base_name(part.name) == "CenterSpatialCrop"
    steps.size = _size(part, "roi_size" if center else "spatial_size")
    steps.window = True
    part.ignore("mode", "method", "constant_values", "value")
    steps.notes.append("Where a scan is smaller than the window, its borders are repeated.")


def _crop(steps: Steps, part: Part) -> None:
    part.ignore("source_key")
    if "select_fn" in part.left:
        part.refuse("has a select_fn: only what is above 0 is known as foreground")
    part.want("channel_indices", None)
    margin = part.take("margin", 0)
    if any(margin if isinstance(margin, list) else [margin]):
        part.refuse(f"has margin {margin}; medvision crops to what is not 0, without a margin")
    part.ignore("allow_smaller", "k_divisible", "mode", "start_coord_key", "end_coord_key")
    part.ignore("constant_values", "value", "return_coords")
    rules = [one.rule for one in steps.scales]
    if any(rule.rule == "zscore" and not rule.inside for rule in rules):
        part.refuse("comes after a normalization, so that its foreground is what is above the mean")
    if any(seen.ct for seen in steps.seen):
        steps.notes.append(
            "The bundle cuts away what lies around the bright part of a scan; here the whole scan "
            "is shown."
        )
    else:
        steps.crop = True


def _pad(steps: Steps, part: Part) -> None:
    part.ignore("spatial_size", "k", "method")
    part.want("mode", "constant")
    part.want("constant_values", 0, None)
    part.want("value", 0, None)
