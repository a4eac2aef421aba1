"""What each network costs: parameters, operations and memory, without running any.

Everything is worked out on torch's meta device, where tensors have shapes and no numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from medvision.models import MODELS, build_model
from medvision.spec import TASKS, ModelSpec, Task

INPUT: dict[int, tuple[int, int, int]] = {2: (224, 224, 1), 3: (96, 96, 96)}
MB = 1e6  # bytes


@dataclass(frozen=True)
class ModelFacts:
    """The cost of one network for one task, with its default settings and float32.

    Parameters
    ----------
    name : str
        A key of `medvision.models.MODELS`.
    dims : 2 or 3
    task : {"segmentation", "classification"}
    input_size : three ints
        Window of one channel that the costs are for.
    parameters : int
    gflops : float
        Operations of one forward pass in billions, a multiplication and an addition counting two.
    weights_mb : float
        Parameters and buffers.
    activations_mb : float
        Maps that training keeps for the backward pass, at a batch of one; weights, their
        gradients and the optimizer's state come on top.
    """

    name: str
    dims: int
    task: Task
    input_size: tuple[int, int, int]
    parameters: int
    gflops: float
    weights_mb: float
    activations_mb: float


def describe_models() -> list[ModelFacts]:
    """Return the costs of every network for every task, for one channel and two outputs."""
    return [describe_model(example_spec(name, task)) for name in MODELS for task in TASKS]


def example_spec(name: str, task: Task) -> ModelSpec:
    """Return a spec of a network with its default settings, at `INPUT`, with two outputs."""
    classes = ("structure",) if task == "segmentation" else ("negative", "positive")
    return ModelSpec(name, task, name, classes, None, INPUT[MODELS[name].dims])


def describe_model(spec: ModelSpec) -> ModelFacts:
    """Return the costs of the network of a spec, for one window of `roi_size`.

    Raises
    ------
    SpecError
        When no network can be built from the spec.
    """
    with torch.device("meta"):
        model = build_model(spec)
        image = torch.empty(1, spec.channels, *spec.roi_size)
    tensors = [*model.parameters(), *model.buffers()]
    return ModelFacts(
        name=spec.architecture,
        dims=spec.dims,
        task=spec.task,
        input_size=spec.roi_size,
        parameters=sum(one.numel() for one in model.parameters()),
        gflops=count_operations(model, image) / 1e9,
        weights_mb=sum(one.numel() * one.element_size() for one in tensors) / MB,
        activations_mb=count_saved_bytes(model, image) / MB,
    )


def count_operations(model: nn.Module, image: Tensor) -> int:
    """Return the floating-point operations of one forward pass in eval mode."""
    model.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    return int(counter.get_total_flops())


def count_saved_bytes(model: nn.Module, image: Tensor) -> int:
    """Return the bytes that a forward pass in training mode keeps for the backward pass.

    Views of one tensor count once, and weights do not count.
    """
    model.train()
    weights = {one.untyped_storage()._cdata for one in model.parameters()}
    saved: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        saved.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = model(image)
    del outputs
    return sum(one.untyped_storage().nbytes() for key, one in saved.items() if key not in weights)
