"""A classifier whose answer is known: how bright the middle of a picture or scan is."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from medvision.checkpoint import save_model
from medvision.fingerprint import facts_of, fingerprint_of
from medvision.intensity_spec import Intensity
from medvision.io import read_volume
from medvision.spec import InputSpec, ModelSpec

DARK, BRIGHT = "dark", "bright"


class Brightness(nn.Module):
    """Says `BRIGHT` with probability sigmoid(4·m), m being the mean on the scale −1…1."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(2.0))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits (B, 2)."""
        mean = image.mean(dim=(1, 2, 3, 4))
        return self.gain * torch.stack([-mean, mean], dim=1)


def probability(value: float) -> float:
    """Return what the classifier says of an image of one value, 0 to 255."""
    return float(1 / (1 + np.exp(-4 * (value - 127.5) / 127.5)))


def write_picture(path: Path, value: int, size: tuple[int, int] = (28, 28)) -> Path:
    """Write a PNG of one value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)
    return path


def write_classifier(folder: Path, dims: int = 2) -> Path:
    """Write the model folder, trained, so to say, on pictures of 28 × 28 pixels.

    To load it, let `medvision.checkpoint.build_model` return a `Brightness`.
    """
    spec = ModelSpec(
        name=folder.name,
        task="classification",
        architecture="toy",
        class_names=(DARK, BRIGHT),
        spacing=None,
        roi_size=(28, 28, 1 if dims == 2 else 28),
        orientation="LIA",
        inputs=(InputSpec(intensity=Intensity("window", low=0, high=255)),),
    )
    seen = [
        facts_of(read_volume(write_picture(folder / f"{value}.png", value)), spec)
        for value in (20, 240)
    ]
    spec = ModelSpec(**{**vars(spec), "fingerprint": fingerprint_of(seen)})
    return save_model(folder, spec, Brightness().state_dict(), f"# {folder.name}\n")
