"""A bundle's inferer as medvision's window: its size, its steps, and what they make together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medvision.errors import SpecError
from medvision.importers.monai_config import Config, Part
from medvision.importers.monai_steps import Steps
from medvision.inference_spec import Beyond, Sliding
from medvision.spec import Task

SLIDING = ("SlidingWindowInferer", "SlidingWindowInfererAdapt")


@dataclass
class Window:
    """The window of a network, as `ModelSpec` has it."""

    roi_size: tuple[int, int, int]
    overlap: float = 0.5
    sliding: Sliding = field(default_factory=lambda: Sliding(beyond="zero"))
    notes: list[str] = field(default_factory=list)


def read_window(
    config: Config, shown: Mapping[str, Any], dims: int, steps: Steps, task: Task
) -> Window:
    """Return the window of a bundle.

    Parameters
    ----------
    config : Config
    shown : mapping
        What the metadata say of the network's input.
    dims : 2 or 3
    steps : Steps
        Of its preprocessing, which may bring all scans to one size.
    task : {"segmentation", "classification"}

    Raises
    ------
    SpecError
        When the inferer is another, or has settings that medvision has nothing for; and when
        nothing says how large the window is.
    """
    if "inferer" not in config:
        raise SpecError(f"{config.path} has no inferer: nothing says how the network is used.")
    part = Part(config.path, config.get("inferer"), "inferer")
    if part.name in SLIDING and task == "segmentation":
        return _sliding(part, dims)
    if part.name == "SliceInferer" and dims == 2 and task == "segmentation":
        part.want("spatial_dim", 2)
        return _sliding(part, dims)
    if part.name not in ("SimpleInferer", *SLIDING):
        part.refuse(f"is no inferer that medvision knows for a {dims}D {task}")
    size = steps.size or fixed_shape(shown, dims)
    if size is None or len(size) != dims:
        part.refuse(
            f"shows the network whole scans, and the metadata give no spatial_shape of {dims} "
            "numbers for its window"
        )
    window = Window(three(size))
    if task == "segmentation":
        window.notes.append(
            f"The bundle shows the network whole scans; here a window of {window.roi_size} moves "
            "over them."
        )
    return window


def _sliding(part: Part, dims: int) -> Window:
    size = part.take("roi_size")
    size = [size] * dims if type(size) is int else size
    if not isinstance(size, list) or len(size) != dims:
        part.refuse(f"has roi_size {size!r} for a {dims}D network")
    if not all(type(one) is int and one > 0 for one in size):
        part.refuse(f"has roi_size {size}; medvision needs a number of voxels above 0 on each axis")
    overlap = part.take("overlap", 0.25)
    if isinstance(overlap, list) and len(set(overlap)) == 1:
        overlap = overlap[0]
    if isinstance(overlap, bool) or not isinstance(overlap, (int, float)) or not 0 <= overlap < 1:
        part.refuse(f"has overlap {overlap!r}; medvision needs one share from 0 to below 1")
    blend = part.take("mode", "constant")
    sigma = part.number("sigma_scale", 0.125)
    beyond = part.take("padding_mode", "constant")
    if blend not in ("constant", "gaussian") or not sigma:
        part.refuse(f"has mode {blend!r} and sigma_scale {sigma!r}")
    if beyond not in ("constant", "replicate"):
        part.refuse(f"has padding_mode {beyond!r}; medvision has constant and replicate")
    part.want("cval", 0)
    part.want("with_coord", False)
    part.ignore("sw_batch_size", "sw_device", "device", "progress", "cache_roi_weight_map")
    part.ignore("cpu_thresh", "buffer_steps", "buffer_dim")
    part.finish()
    around: Beyond = "zero" if beyond == "constant" else "border"
    sliding = Sliding(blend=blend, sigma=sigma, beyond=around)
    return Window(three(size), float(overlap), sliding)


def fixed_shape(shown: Mapping[str, Any], dims: int) -> list[int] | None:
    """Return the spatial_shape of the metadata when it is numbers, not ``"8*n"``."""
    shape = shown.get("spatial_shape")
    whole = isinstance(shape, list) and all(type(one) is int and one > 0 for one in shape)
    return list(shape) if isinstance(shape, list) and whole and len(shape) == dims else None


def three(size: list[int]) -> tuple[int, int, int]:
    """Return three sides; the third is 1 in 2D."""
    i, j, k = [*size, 1][:3]
    return i, j, k
