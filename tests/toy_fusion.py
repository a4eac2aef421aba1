"""Models that can be explained, and whose answer is known: a bright spot in the image, one word.

Their encoder passes brightness on, and pools it; so its map is bright where the image is.
"""

from pathlib import Path

import torch
from torch import nn
from toy_classifier import write_picture

from medvision.checkpoint import save_model
from medvision.intensity_spec import Intensity
from medvision.models import build_model
from medvision.models.text import learn_vocabulary
from medvision.spec import InputSpec, ModelSpec
from medvision.text_spec import TextSpec

DARK, BRIGHT = "dark", "bright"
REPORT = "INDICATION: cough and fever.\n\nFINDINGS: A bright spot."
TEXT = TextSpec(
    fusion="gated",
    vocabulary=learn_vocabulary(["cough and fever", "cough and fever, no pain."] * 2),
    masked=("pneumonia",),
    max_tokens=24,
    width=16,
    layers=1,
)


def spec_of(dims: int = 3, text: TextSpec | None = None, **settings) -> ModelSpec:
    """Return the spec of a model that looks at 32 voxels a side, its map 4 voxels coarser."""
    return ModelSpec(
        **{
            "name": "toy",
            "task": "classification",
            "architecture": f"cnn{dims}d",
            "class_names": (DARK, BRIGHT),
            "spacing": (1.0, 1.0, 1.0) if dims == 3 else None,
            "roi_size": (32, 32, 32 if dims == 3 else 1),
            "orientation": "RAS" if dims == 3 else "LIA",
            "network": {"features": (2, 2, 2), "convs": 1},
            "inputs": (InputSpec(intensity=Intensity("window", low=0, high=100)),),
            "text": text,
        }
        | settings
    )


def build_toy(spec: ModelSpec, seed: int = 0) -> nn.Module:
    """Build it: convolutions that copy their first channel, and of the rest random weights.

    Without a report it says `BRIGHT` the more, the brighter the image is on the whole.
    """
    torch.manual_seed(seed)
    model = build_model(spec).eval()
    for member in getattr(model, "members", [model]):
        for module in member.encoder.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                nn.init.zeros_(module.weight)
                module.weight.data[(0, 0, *[1] * (module.weight.ndim - 2))] = 1.0
        if spec.text is None:
            member.head.weight.data = torch.tensor([[-3.0, 0.0], [3.0, 0.0]])
            nn.init.zeros_(member.head.bias)
    return model


def write_films(folder: Path) -> Path:
    """Write a model that reads reports, and films, of which one has a report; returns these."""
    write_toy(folder / "models" / "reader", spec_of(2, TEXT, name="reader"))
    films = folder / "films"
    write_picture(films / "a.png", 80, (40, 40))
    (films / "a.txt").write_text(REPORT)
    write_picture(films / "b.png", 30, (40, 40))
    return films


def write_toy(folder: Path, spec: ModelSpec, seed: int = 0) -> Path:
    """Write the model folder."""
    return save_model(folder, spec, build_toy(spec, seed).state_dict(), f"# {spec.name}\n")
