"""Networks by name, each built from one `ModelSpec`."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from medvision.errors import SpecError
from medvision.models.unet import UNet
from medvision.spec import ModelSpec


def build_unet3d(spec: ModelSpec) -> nn.Module:
    """Build a 3D U-Net with one output channel per class and one for the background."""
    return UNet(3, len(spec.inputs), len(spec.class_names) + 1, **spec.network)


MODELS: dict[str, Callable[[ModelSpec], nn.Module]] = {"unet3d": build_unet3d}


def build_model(spec: ModelSpec) -> nn.Module:
    """Build the network that a spec names, with random weights.

    Raises
    ------
    SpecError
        When the name is unknown, or the network does not take its settings or its roi_size.
    """
    if spec.architecture not in MODELS:
        raise SpecError(f"Unknown model {spec.architecture!r}. Choose from: {', '.join(MODELS)}.")
    try:
        model = MODELS[spec.architecture](spec)
    except TypeError as error:
        raise SpecError(f"{spec.architecture} does not take these settings: {error}.") from None
    divisor = getattr(model, "divisor", 1)
    if any(side % divisor for side in spec.roi_size):
        raise SpecError(f"roi_size {spec.roi_size} must divide by {divisor} for this network.")
    return model
