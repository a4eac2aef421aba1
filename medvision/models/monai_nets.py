"""Networks of MONAI as they are, for models that come from elsewhere: ``monai/UNet`` and others.

Their settings are MONAI's own keyword arguments; weights never come with a setting.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medvision.errors import SpecError
from medvision.models.from_monai import net_of_monai
from medvision.models.layers import Stride
from medvision.models.network import flatten, unflatten
from medvision.spec import ModelSpec, Task

PREFIX = "monai/"
OWN = ("order", "binary")  # settings that are medvision's
REFUSED = ("pretrained", "progress", "preprocess", "save_attn")  # downloads, code, nothing to do

Settings = Mapping[str, Any]
Divisor = Callable[[Settings, int], Stride]


def ones(settings: Settings, dims: int) -> Stride:
    """Any size will do."""
    return (1,) * dims


def always(side: int) -> Divisor:
    """Return the rule of a network whose depth is fixed."""
    return lambda settings, dims: (side,) * dims


def by_strides(settings: Settings, dims: int) -> Stride:
    """Return the product of the strides, which are numbers or one per axis."""
    steps = [(one,) * dims if isinstance(one, int) else tuple(one) for one in settings["strides"]]
    return tuple(math.prod(axis) for axis in zip(*steps, strict=True))


def by_levels(settings: Settings, dims: int) -> Stride:
    """Return what as many levels as `blocks_down` has halve."""
    return (2 ** (len(settings.get("blocks_down", (1, 2, 2, 4))) - 1),) * dims


def by_resolution(settings: Settings, dims: int) -> Stride:
    """Return a bound for SegResNetDS, which halves thick axes less often."""
    return by_levels(settings, dims)


def by_mednext(settings: Settings, dims: int) -> Stride:
    """Return what MedNeXt halves: once more than it has levels above the deepest."""
    return (2 ** len(settings.get("blocks_down", (2, 2, 2, 2))),) * dims


def by_patch(settings: Settings, dims: int) -> Stride:
    """Return what Swin UNETR divides its image by."""
    return (settings.get("patch_size", 2) ** 5,) * dims


@dataclass(frozen=True)
class Net:
    """A network of MONAI: what makes it, for which task, and what its arguments are called."""

    build: str  # as all names here, of `monai.networks.nets`
    divisor: Divisor = ones
    task: Task = "segmentation"
    channels: str = "in_channels"
    outputs: str = "out_channels"
    base: str = ""  # whose arguments it takes, too


def classifier(build: str, base: str) -> Net:
    """Return a network that classifies, with the names that its family uses."""
    first = "n_input_channels" if base == "ResNet" else "in_channels"
    last = "out_channels" if base == "DenseNet" else "num_classes"
    return Net(build, ones, "classification", first, last, base)


NETS: dict[str, Net] = {
    "UNet": Net("UNet", by_strides),
    "BasicUNet": Net("BasicUNet", always(16)),
    "AttentionUnet": Net("AttentionUnet", by_strides),
    "DynUNet": Net("DynUNet", by_strides),
    "FlexibleUNet": Net("FlexibleUNet", always(32)),
    "HighResNet": Net("HighResNet"),
    "MedNeXt": Net("MedNeXt", by_mednext),
    "SegResNet": Net("SegResNet", by_levels),
    "SegResNetDS": Net("SegResNetDS", by_resolution),
    "SwinUNETR": Net("SwinUNETR", by_patch),
    "UNETR": Net("UNETR", always(16)),
    "VNet": Net("VNet", always(16)),
    "DenseNet": classifier("DenseNet", "DenseNet"),
    "EfficientNetBN": classifier("EfficientNetBN", "EfficientNetBN"),
    "SENet154": classifier("SENet154", "SENet"),
} | {
    name: classifier(name, base)
    for base, names in (
        ("DenseNet", "DenseNet121 DenseNet169 DenseNet201 DenseNet264"),
        ("ResNet", "resnet10 resnet18 resnet34 resnet50 resnet101 resnet152 resnet200"),
        ("SENet", "SEResNet50 SEResNet101 SEResNet152 SEResNext50 SEResNext101"),
    )
    for name in names.split()
}


class MonaiNet(nn.Module):
    """A network of MONAI with medvision's shapes.

    Parameters
    ----------
    net : nn.Module
        Images (B, C, I, J[, K]) to logits (B, N, I, J[, K]) or (B, N).
    dims : 2 or 3
    divisor : tuple of int
        What the sides of an image must divide by.
    order : sequence of int
        Which channel of the network each output is; empty for all as they come.
    binary : bool
        The network has one channel, the log odds of yes: 0 is put before it, for no.
    """

    def __init__(
        self,
        net: nn.Module,
        dims: int,
        divisor: Stride,
        order: Sequence[int] = (),
        binary: bool = False,
    ) -> None:
        super().__init__()
        self.net, self.dims, self.divisor = net, dims, divisor
        self.order, self.binary = list(order), binary

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, N, I, J, K) or (B, N) of an image (B, C, I, J, K), K = 1 in 2D."""
        flat = flatten(image, self.dims)
        said = self.net(flat)
        logits: Tensor = said if isinstance(said, Tensor) else said[0]
        if logits.ndim > flat.ndim:  # DynUNet in training mode: finest first, along an axis
            logits = logits[:, 0]
        if self.order:
            logits = logits[:, self.order]
        if self.binary:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        return unflatten(logits, self.dims) if logits.ndim > 2 else logits


def is_monai(architecture: str) -> bool:
    """Tell by its name whether an architecture is one of MONAI's."""
    return architecture.startswith(PREFIX)


def find_net(name: str) -> tuple[str, Net] | None:
    """Return a network and its name here, by any name that MONAI has for it; None if unknown.

    Examples
    --------
    >>> find_net("monai.networks.nets.Unet")[0]
    'UNet'
    """
    path, _, last = name.rpartition(".")
    if path and not (path + ".").startswith("monai.networks.nets."):
        return None
    if last in NETS:
        return last, NETS[last]
    meant = net_of_monai(last)
    same = [key for key, net in NETS.items() if net_of_monai(net.build) is meant] if meant else []
    return (same[0], NETS[same[0]]) if same else None


def settings_of_net(net: Net) -> dict[str, Any]:
    """Return the names of a network's settings, with what they are when nobody says."""
    known: dict[str, Any] = {}
    for name in filter(None, (net.base, net.build)):
        for one in inspect.signature(net_of_monai(name)).parameters.values():
            if one.kind is not one.VAR_KEYWORD:
                known[one.name] = None if one.default is one.empty else one.default
    if net.build != net.base:  # what a preset sets itself
        for name in ("block", "block_inplanes"):
            known.pop(name, None)
    return {name: value for name, value in known.items() if name not in REFUSED}


def build_monai(spec: ModelSpec) -> MonaiNet:
    """Build one member of a spec whose architecture is a network of MONAI.

    Raises
    ------
    SpecError
        When there is no such network, or it does not take its settings, channels or roi_size.
    """
    name = spec.architecture.removeprefix(PREFIX)
    if name not in NETS:
        raise SpecError(f"Unknown network of MONAI {name!r}. Choose from: {', '.join(NETS)}.")
    net = NETS[name]
    if net.task != spec.task:
        raise SpecError(f"{spec.architecture} makes a {net.task}; the spec wants a {spec.task}.")
    known = settings_of_net(net)
    if strange := sorted(set(spec.network) - set(known) - set(OWN)):
        raise SpecError(
            f"{spec.architecture} does not take {', '.join(strange)}. It takes: "
            f"{', '.join(sorted([*known, *OWN]))}."
        )
    settings = {key: value for key, value in spec.network.items() if key not in OWN}
    order, binary = spec.network.get("order", ()), bool(spec.network.get("binary", False))
    given = known | settings
    outputs = 1 if binary else spec.outputs
    if order and sorted(order) != list(range(outputs)):
        raise SpecError(f"{spec.architecture} has {outputs} outputs, in the order {order}.")
    wanted = {"spatial_dims": spec.dims, net.channels: spec.channels, net.outputs: outputs}
    for key, value in wanted.items():
        if settings.get(key, value) != value:
            raise SpecError(
                f"{spec.architecture} has {key} {settings[key]}, but the spec needs {value}."
            )
    build = net_of_monai(net.build)
    if "pretrained" in inspect.signature(build).parameters:
        settings["pretrained"] = False  # nothing is fetched
    try:
        divisor = net.divisor(given, spec.dims)
        model = MonaiNet(build(**wanted | settings), spec.dims, divisor, order, binary)
        if any(side % one for side, one in zip(spec.roi_size, divisor, strict=False)):
            raise ValueError(f"its sides must divide by {divisor}")
    except Exception as error:  # MONAI's networks raise what they like of settings
        raise SpecError(
            f"{spec.architecture} with {dict(spec.network)} for roi_size {spec.roi_size}: {error}."
        ) from None
    return model
