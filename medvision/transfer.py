"""Transfer learning: weights from elsewhere, frozen stages, layer-wise learning rates.

Knows nothing of training loops, and never runs code out of a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from medvision.checkpoint import WEIGHTS
from medvision.errors import SpecError
from medvision.models.encoder import Encoder
from medvision.pickles import read_checkpoint

WRAPPERS = ("state_dict", "model", "model_state_dict", "network_weights")
COUNTER = "num_batches_tracked"  # of a batch norm; older files lack it, and nothing depends on it
SHOWN = 5  # names of a list that a text shows


@dataclass(frozen=True)
class TransferReport:
    """What came over from a file of weights, and what did not.

    Parameters
    ----------
    source : Path
        As given.
    loaded : tuple of str
        The network's weights that the file set.
    missing : tuple of str
        The network's weights that the file lacks; they stay random.
    unexpected : tuple of str
        The file's weights that the network lacks, such as the head of another task.
    mismatched : tuple of str
        Weights whose shapes differ, with both shapes; they stay random.
    """

    source: Path
    loaded: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()

    def summary(self) -> str:
        """Return one line on what was loaded, and one for each kind of what did not match."""
        total = len(self.loaded) + len(self.missing) + len(self.mismatched)
        lines = [f"{self.source}: {len(self.loaded)} of {total} weights loaded."]
        for what, names in (
            ("Not in the file, left random", self.missing),
            ("Of another shape, left random", self.mismatched),
            ("Only in the file, ignored", self.unexpected),
        ):
            if names:
                lines.append(f"{what}: {shorten(names)}.")
        return "\n".join(lines)


def load_weights(model: nn.Module, source: Path, *, decoder: bool = False) -> TransferReport:
    """Give the encoder of a network the weights of a file wherever name and shape agree.

    Parameters
    ----------
    model : nn.Module
        With an `Encoder`, as `build_model` makes it; changed in place.
    source : Path
        A model folder of medvision, whatever its task; a ``.safetensors`` file; or a checkpoint of
        torch, holding tensors by name, perhaps under one of `WRAPPERS`: MedicalNet's 3D ResNets
        (18 and 34 need ``shortcut="A"``), torchvision's or timm's 2D ResNets, torchvision's
        DenseNet, MONAI's networks.
    decoder : bool
        Also take the decoder's weights, from a segmentation. Heads are never taken.

    Returns
    -------
    TransferReport

    Notes
    -----
    An image of another number of channels is met by giving every channel the sum of the file's
    first convolution over its channels, divided by the channels of the network: an image
    repeated over all channels gives the same activations as before. For one channel this is what
    timm does (``adapt_input_conv``).

    Raises
    ------
    SpecError
        When the file is missing, damaged or holds more than tensors, or nothing in it matches.
    """
    encoder = encoder_of(model)
    state = ordered_names(read_state(source))
    prefixes = ("encoder.", "decoder.") if decoder else ("encoder.",)
    own = {k: v for k, v in model.state_dict().items() if k.startswith(prefixes)}
    stem = f"encoder.{first_convolution(encoder)}"
    chosen: dict[str, Tensor] = {}
    mismatched = []
    for name in own.keys() & state.keys():
        given = adapt_channels(state[name], own[name]) if name == stem else state[name]
        if given.shape == own[name].shape:
            chosen[name] = given
        else:
            found, wanted = tuple(state[name].shape), tuple(own[name].shape)
            mismatched.append(f"{name} {found}, here {wanted}")
    loaded = sorted(name for name in chosen if not name.endswith(COUNTER))
    if not loaded:
        reason = f"of another shape: {shorten(sorted(mismatched))}" if mismatched else "no name"
        raise SpecError(
            f"{source} does not fit this network, nothing matches ({reason}). The file holds "
            f"{shorten(sorted(state))}; the network has {shorten(sorted(own))}."
        )
    model.load_state_dict(chosen, strict=False)
    return TransferReport(
        source,
        tuple(loaded),
        tuple(sorted(k for k in own.keys() - state.keys() if not k.endswith(COUNTER))),
        tuple(sorted(state.keys() - own.keys())),
        tuple(sorted(mismatched)),
    )


def read_state(source: Path) -> dict[str, Tensor]:
    """Read tensors by name; only data is read, never code.

    Raises
    ------
    SpecError
        When the file is missing or damaged, or holds anything that only code could rebuild.
    """
    path = source / WEIGHTS if source.is_dir() else source
    if not path.is_file():
        raise SpecError(f"{path} does not exist; weights come from a model folder or a file.")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise SpecError(f"{path} is damaged or cut short: {error}.") from None
    return tensors_of(read_checkpoint(path), path)


def tensors_of(found: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors by name of what a checkpoint holds, perhaps under one of `WRAPPERS`.

    Raises
    ------
    SpecError
        When there are none.
    """
    while isinstance(found, Mapping):
        inner = next((found[key] for key in WRAPPERS if isinstance(found.get(key), Mapping)), None)
        if inner is None:
            break
        found = inner
    named = found.items() if isinstance(found, Mapping) else ()
    tensors = {str(name): value for name, value in named if isinstance(value, Tensor)}
    if not tensors:
        raise SpecError(f"{path} holds no tensors by name: it is no file of weights.")
    return tensors


def ordered_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name tensors as medvision does.

    Wrappers of torch (``module.``, ``_orig_mod.``) go, of an ensemble the first member stays,
    torchvision's dense layers get MONAI's names, and a network that is not medvision's becomes
    an encoder.
    """
    names = {re.sub(r"^(module\.|_orig_mod\.)+", "", name): value for name, value in state.items()}
    if any(name.startswith("members.0.") for name in names):
        first = "members.0."
        names = {k.removeprefix(first): v for k, v in names.items() if k.startswith(first)}
    dense = re.compile(r"(denselayer\d+\.)((?:norm|conv)[12])(?=\.)")
    names = {dense.sub(r"\1layers.\2", name): value for name, value in names.items()}
    if any(name.startswith("encoder.") for name in names):
        return names
    return {f"encoder.{name}": value for name, value in names.items()}


def first_convolution(encoder: Encoder) -> str:
    """Return the name of the weights that the image meets first."""
    axes = len(encoder.strides[0]) + 2
    return next(name for name, value in encoder.named_parameters() if value.ndim == axes)


def adapt_channels(given: Tensor, wanted: Tensor) -> Tensor:
    """Bring a first convolution (out, in, …) to another `in`, by the rule of `load_weights`."""
    channels = wanted.shape[1]
    if given.ndim < 2 or given.shape[1] == channels:
        return given
    shape = (-1, channels, *[-1] * (given.ndim - 2))
    return given.sum(dim=1, keepdim=True).expand(shape) / channels


def freeze(model: nn.Module, stages: int) -> None:
    """Keep the first stages of the encoder as they are: no gradient, no new running statistics.

    Raises
    ------
    SpecError
        When the network has no encoder, or fewer stages.
    """
    encoder = encoder_of(model)
    found = encoder.stage_modules()
    if not 0 <= stages <= len(found):
        raise SpecError(f"{stages} stages cannot be frozen: this encoder has {len(found)}.")
    encoder.frozen = stages
    for number, stage in enumerate(found):
        for module in stage:
            module.requires_grad_(number >= stages)
    encoder.train(encoder.training)


def parameter_groups(
    model: nn.Module, learning_rate: float, layer_decay: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Return an optimizer's groups: what stands on the encoder, then its stages, deepest first.

    The rate of the former is `learning_rate`, the deepest stage's `layer_decay` times that, and
    each other stage's `layer_decay` times that of the next deeper one (ELECTRA: Clark et al.,
    ICLR 2020). Groups hold ``params``, ``lr``, ``weight_decay`` and ``scale``, the rate's share
    of `learning_rate`, for schedules. What is frozen is in no group.

    Raises
    ------
    SpecError
        When the network has no encoder, or all of it is frozen.
    """
    stages = encoder_of(model).stage_modules()
    members = [[p for module in stage for p in module.parameters()] for stage in stages]
    inside = {id(p) for stage in members for p in stage}
    on_top = [p for p in model.parameters() if id(p) not in inside]
    groups = []
    for depth, stage in enumerate([on_top, *reversed(members)]):
        params, scale = [p for p in stage if p.requires_grad], layer_decay**depth
        if params:
            groups.append(
                {
                    "params": params,
                    "lr": learning_rate * scale,
                    "weight_decay": weight_decay,
                    "scale": scale,
                }
            )
    if not groups:
        raise SpecError("Every weight of the network is frozen: nothing is left to train.")
    return groups


def encoder_of(model: nn.Module) -> Encoder:
    """Return the encoder of a network; a `SpecError` when it has none (an ensemble)."""
    encoder = getattr(model, "encoder", None)
    if not isinstance(encoder, Encoder):
        raise SpecError(f"{type(model).__name__} has no encoder to transfer to or to freeze.")
    return encoder


def shorten(names: tuple[str, ...] | list[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
