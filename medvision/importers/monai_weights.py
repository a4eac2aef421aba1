"""The weights of a bundle: which file, and under which names."""

from __future__ import annotations

import posixpath
from pathlib import Path

from torch import Tensor

from medvision.errors import SpecError
from medvision.importers.monai_config import Config, Opaque
from medvision.models import build_model
from medvision.models.bounded import BoundedBuild
from medvision.pickles import read_checkpoint
from medvision.spec import ModelSpec
from medvision.transfer import COUNTER, shorten, tensors_of

DEFAULT = "models/model.pt"
UNUSED = (COUNTER, "norm_cross_attn.weight", "norm_cross_attn.bias")  # older files lack them


def read_weights(root: Path, config: Config, spec: ModelSpec) -> dict[str, Tensor]:
    """Return the weights of a bundle, by the names that `build_model` gives them.

    Raises
    ------
    SpecError
        When there is no file of them, or only TorchScript; when it holds code, or does not fit.
    """
    path = find_weights(root, config)
    found = tensors_of(read_checkpoint(path), path)
    with BoundedBuild([found]):
        own = build_model(spec).state_dict()
    state = {f"net.{name.removeprefix('module.')}": value for name, value in found.items()}
    missing = sorted(name for name in own.keys() - state.keys() if not name.endswith(UNUSED))
    strange = sorted(state.keys() - own.keys())
    shapes = sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape)
    said = ("lacks", missing), ("has", strange), ("has other shapes of", shapes)
    if wrong := [f"{what} {shorten(names)}" for what, names in said if names]:
        raise SpecError(f"{path} does not fit {spec.architecture}: it {', '.join(wrong)}.")
    return {name: state.get(name, value) for name, value in own.items()}


def find_weights(root: Path, config: Config) -> Path:
    """Return the file that the config's CheckpointLoader names, else ``models/model.pt``."""
    named = DEFAULT
    for part in config.parts():
        if str(part["_target_"]).rpartition(".")[2] == "CheckpointLoader":
            value = config.resolved(part.get("load_path"), "load_path")
            if isinstance(value, str):
                named = posixpath.normpath(value)
            elif isinstance(value, Opaque):
                raise SpecError(
                    f"{config.path}: CheckpointLoader has load_path = {value.text!r}, which only "
                    "code could tell."
                )
    for path in (root / named, root / DEFAULT):
        if path.is_file():
            if not path.resolve().is_relative_to(root.resolve()):
                raise SpecError(f"{config.path}: load_path {named!r} leads out of the bundle.")
            return path
    scripts = sorted(root.glob("models/*.ts"))
    if scripts:
        raise SpecError(
            f"{scripts[0]} is TorchScript, a program, and is not run; the weights of its network "
            f"are needed as {DEFAULT}, the state_dict of a checkpoint."
        )
    raise SpecError(f"{root} holds no weights: {named} is missing.")
