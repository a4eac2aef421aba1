"""A network as OpenVINO runs it on the CPU: conversion from torch, and calls from it.

Knows nothing of model folders.
"""

from __future__ import annotations

import copy
import sys
import threading
import warnings
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from medvision.errors import SpecError, require_extra
from medvision.models.network import finest
from medvision.spec import ModelSpec

TELEMETRY = "openvino_telemetry"
HINTS = {"float32": "f32", "bfloat16": "bf16"}


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry.

    That would tell Intel of each import and conversion by way of Google Analytics, unless told not
    to: no business of a program that sees patients' scans.

    Raises
    ------
    MissingExtra
    """
    require_extra("openvino", "openvino", "OpenVINO")
    silenced = not {"openvino", TELEMETRY} & set(sys.modules)
    if silenced:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # to Python: not installed
    try:
        import openvino
    finally:
        if silenced:
            del sys.modules[TELEMETRY]
    return openvino


def lines_of(error: BaseException) -> list[str]:
    """Return the lines of an error's message; its kind where it has none."""
    return str(error).strip().splitlines() or [type(error).__name__]


class InstanceNorm(nn.Module):
    """A group norm of one channel a group, in the words that OpenVINO has a fast kernel for."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """Return each channel of each image with mean 0 and variance 1, scaled and shifted."""
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


class Plain(nn.Module):
    """A network that returns its finest logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, windows: Tensor) -> Tensor:
        """Return logits of windows (B, C, I, J, K)."""
        return finest(self.network(windows))


def plain_copy(network: nn.Module) -> nn.Module:
    """Return a copy on the CPU, in float32, as converters take it best."""
    copied = Plain(copy.deepcopy(network).float().cpu()).eval().requires_grad_(False)
    for module in list(copied.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.GroupNorm) and child.num_groups == child.num_channels:
                setattr(module, name, InstanceNorm(child))
    return copied


def convert(network: nn.Module, spec: ModelSpec) -> Any:
    """Return an `openvino.Model` of a network, for any number of windows at once.

    Raises
    ------
    SpecError
        When OpenVINO cannot.
    """
    openvino = import_openvino()
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    shape = (spec.channels, *spec.roi_size)
    try:
        with torch.inference_mode(False), torch.no_grad():
            example = torch.zeros(1, *shape)
            traced = trace(plain_copy(network), example)
        frontend = frontends().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(traced, example_input=(example,))
        made = frontend.convert(frontend.load(decoder))
        made.reshape([-1, *shape])
        with TemporaryDirectory() as folder:  # what it shares with torch ends with this call
            path = Path(folder) / "network.xml"
            openvino.save_model(made, path, compress_to_fp16=False)
            made = core().read_model(path, config={"ENABLE_MMAP": False})
    except (RuntimeError, TypeError, ValueError) as error:
        raise SpecError(f"OpenVINO cannot take {spec.architecture}: {lines_of(error)[0]}") from None
    made.inputs[0].set_names({"windows"})
    made.outputs[0].set_names({"logits"})
    return made


@cache
def core() -> Any:
    """Return what compiles models; one for the process, as what it compiles needs it."""
    return import_openvino().Core()


@cache
def frontends() -> Any:
    """Return what converts models; one for the process, likewise."""
    import_openvino()
    from openvino.frontend import FrontEndManager

    return FrontEndManager()


def trace(network: nn.Module, example: Tensor) -> Any:
    """Return what torch does with one window, in silence.

    torch calls tracing old; it is what OpenVINO's converter takes most networks from.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        jit: Any = torch.jit
        return jit.trace(network, example, check_trace=False)


class OpenVinoModel:
    """A model that OpenVINO has compiled for this CPU; one caller runs at a time, others wait.

    Parameters
    ----------
    model : openvino.Model or path
        Takes windows (B, C, I, J, K) float32 and gives logits.
    precision : {"float32", "bfloat16"}
        Where the processor has no bfloat16, OpenVINO computes in float32 all the same.

    Attributes
    ----------
    precision : str
        What it computes in.
    """

    def __init__(self, model: Any, precision: str = "float32") -> None:
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        try:
            self.compiled = core().compile_model(model, "CPU", options)
        except (RuntimeError, UnicodeError) as error:  # its words may be bytes of the file
            raise SpecError(f"OpenVINO cannot read {model}: {lines_of(error)[-1]}") from None
        hint = self.compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.precision = {value: key for key, value in HINTS.items()}.get(hint, hint)
        self.request = self.compiled.create_infer_request()
        self.lock = threading.Lock()

    def __call__(self, windows: Tensor) -> Tensor:
        """Return logits float32 of windows (B, C, I, J, K); the caller owns them."""
        given = np.ascontiguousarray(windows.detach().cpu().numpy(), np.float32)
        with self.lock:
            found = self.request.infer([given], share_inputs=True)[0]
            return torch.from_numpy(np.array(found, np.float32))  # its buffer is used again
