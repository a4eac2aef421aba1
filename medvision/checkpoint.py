"""A model folder: model.safetensors + spec.json + card.md. Data, never code.

With a Hugging Face text encoder also a folder with its configuration and tokenizer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from medvision.errors import SpecError
from medvision.exported import PORTABLE, exported_hash, load_exported
from medvision.files import atomic_path, sha256, write_text
from medvision.models import build_model, join_members
from medvision.models.bounded import BoundedBuild
from medvision.spec import ModelSpec, read_spec

WEIGHTS, SPEC, CARD = "model.safetensors", "spec.json", "card.md"
TEXT_ENCODER = "text_encoder"
MODEL, ENSEMBLE = "model", "ensemble"  # what a training calls the model folders that it leaves


def save_model(folder: Path, spec: ModelSpec, state: dict[str, Tensor], card: str) -> Path:
    """Write a model folder; each file is whole or absent."""
    folder.mkdir(parents=True, exist_ok=True)
    if spec.text and spec.text.encoder:
        from medvision.models.huggingface import save_files  # needs an extra

        save_files(spec.text.encoder, folder / TEXT_ENCODER)
        spec = replace(spec, text=replace(spec.text, encoder=TEXT_ENCODER))
    with atomic_path(folder / WEIGHTS) as part:
        save_file({name: value.contiguous().cpu() for name, value in state.items()}, part)
    write_text(folder / SPEC, spec.to_json())
    write_text(folder / CARD, card)
    return folder


def save_ensemble(
    folder: Path, spec: ModelSpec, states: Sequence[dict[str, Tensor]], card: str
) -> Path:
    """Write the networks of one spec as one model folder; see `ModelSpec.members`."""
    joined = {
        f"members.{number}.{name}": value
        for number, state in enumerate(states)
        for name, value in state.items()
    }
    return save_model(folder, replace(spec, members=len(states)), joined, card)


def load_spec(folder: Path) -> ModelSpec:
    """Read the spec of a model folder; a text encoder inside it is named by its whole path."""
    if not (folder / SPEC).is_file():
        raise SpecError(f"{folder} is no model folder: {SPEC} is missing.")
    spec = read_spec(folder / SPEC)
    if spec.text and spec.text.encoder == TEXT_ENCODER:
        return replace(spec, text=replace(spec.text, encoder=str(folder / TEXT_ENCODER)))
    return spec


def load_model(folder: Path) -> tuple[nn.Module, ModelSpec]:
    """Build the network of a model folder and give it its weights, on the CPU, in eval mode.

    Of a folder that `medvision export` wrote it is the exported network, which OpenVINO runs.

    Raises
    ------
    SpecError
        When a file is missing or damaged, or weights and spec do not fit.
    """
    spec, weights = load_spec(folder), folder / WEIGHTS
    if is_exported(folder):
        return join_members(load_exported(folder)), spec
    if not weights.is_file():
        raise SpecError(f"{folder} holds no weights: {WEIGHTS} is missing.")
    try:
        state = load_file(weights)
    except SafetensorError as error:
        raise SpecError(f"{weights} is damaged or cut short: {error}.") from None
    with BoundedBuild([state]):
        model = build_model(spec)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise SpecError(f"{weights} does not fit {SPEC}: {str(error).splitlines()[-1]}") from None
    return model.eval(), spec


def is_exported(folder: Path) -> bool:
    """Tell whether a model folder holds exported networks in the place of weights."""
    return (folder / PORTABLE).is_file() and not (folder / WEIGHTS).is_file()


def weights_hash(folder: Path) -> str:
    """Return the SHA-256 of a model's weights, or of the exported files in their place."""
    return exported_hash(folder) if is_exported(folder) else sha256(folder / WEIGHTS)


def model_hash(folder: Path) -> str:
    """Return one SHA-256 over weights and spec: the identity of a model in a run card."""
    parts = weights_hash(folder) + sha256(folder / SPEC)
    return hashlib.sha256(parts.encode()).hexdigest()
