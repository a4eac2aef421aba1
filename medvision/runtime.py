"""How a network is executed: by torch as it is, in a faster layout or precision, or by OpenVINO.

Knows nothing of scans: windows go in, logits come out, whichever way is taken.
"""

from __future__ import annotations

import copy
import platform
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from medvision.errors import SpecError, require_extra
from medvision.models.exported import ExportedNetwork
from medvision.models.network import finest
from medvision.openvino_model import OpenVinoModel, convert
from medvision.spec import ModelSpec

EAGER = "torch"
PRECISIONS = {
    EAGER: "float32",
    "torch-channels-last": "float32",
    "compile": "float32",
    "bf16": "bfloat16",
    "fp16": "float16",
    "openvino": "float32",
    "openvino-bf16": "bfloat16",
}  # of each runtime's arithmetic; logits are float32 in any case
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
READS_TEXT = (EAGER, "torch-channels-last", "bf16", "fp16")
WEIGHTED = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@runtime_checkable
class Runtime(Protocol):
    """A network that is ready to run.

    Attributes
    ----------
    name : str
        A key of `PRECISIONS`.
    precision : str
        Of its arithmetic.
    """

    name: str
    precision: str

    def __call__(self, windows: Tensor, reports: Sequence[str] | None = None) -> Tensor:
        """Return logits float32 of windows (B, C, I, J, K) float32, and as many reports.

        Both lie on the device that the runtime was prepared for.
        """
        ...


class TorchRuntime:
    """A network that torch runs.

    Parameters
    ----------
    name : str
    network : callable
    reads_text : bool
        Whether it takes reports beside windows.
    device : torch.device
    """

    def __init__(
        self, name: str, network: Callable[..., Any], reads_text: bool, device: torch.device
    ) -> None:
        self.name, self.precision, self.network = name, PRECISIONS[name], network
        self.reads_text, self.device = reads_text, device

    @torch.inference_mode()
    def __call__(self, windows: Tensor, reports: Sequence[str] | None = None) -> Tensor:
        """Return logits float32 of windows (B, C, I, J, K) and as many reports."""
        if self.name != EAGER:
            windows = windows.contiguous(memory_format=torch.channels_last_3d)
        given: list[Any] = [windows]
        if self.reads_text:
            given.append([""] * len(windows) if reports is None else list(reports))
        kind = AUTOCAST.get(self.name)
        with torch.autocast(self.device.type, kind or torch.bfloat16, enabled=kind is not None):
            return finest(self.network(*given)).float()


class OpenVinoRuntime:
    """A network that OpenVINO runs on the CPU."""

    def __init__(self, name: str, model: OpenVinoModel) -> None:
        self.name, self.precision, self.model = name, model.precision, model

    def __call__(self, windows: Tensor, reports: Sequence[str] | None = None) -> Tensor:
        """Return logits float32 of windows (B, C, I, J, K); it takes no reports."""
        return self.model(windows).to(windows.device)


def prepare_runtime(
    network: nn.Module, spec: ModelSpec, device: torch.device | str, name: str = EAGER
) -> Runtime:
    """Make one network ready to run.

    Parameters
    ----------
    network : nn.Module
        One member of an ensemble, or all of them, in eval mode and on the device. It is left as
        it is: what needs another layout works on a copy.
    spec : ModelSpec
    device : torch.device or str
    name : str
        ``torch``: as it is, float32. ``torch-channels-last``: channels are neighbours in memory.
        ``compile``: `torch.compile`, which takes minutes at first. ``bf16``, ``fp16``: autocast.
        ``openvino``, ``openvino-bf16``: OpenVINO, on the CPU. An exported model takes ``torch``
        and ``openvino`` on any device, and is run by OpenVINO on the CPU.

    Raises
    ------
    SpecError
        When there is no such runtime, or the device or the model does not fit it.
    MissingExtra
        When its package is not installed.
    """
    device = torch.device(device)
    if isinstance(network, ExportedNetwork):  # on the CPU, wherever its windows lie
        if name not in (EAGER, "openvino"):
            raise SpecError(f"An exported model runs on OpenVINO alone; found runtime {name!r}.")
        return OpenVinoRuntime("openvino", network.model)
    check_fits(name, spec, device)
    with torch.inference_mode(False), torch.no_grad():  # what is made here must be traceable
        if name.startswith("openvino"):
            made = convert(network, spec)
            return OpenVinoRuntime(name, OpenVinoModel(made, PRECISIONS[name]))
        ready: Callable[..., Any] = network
        if name != EAGER:
            ready = channels_last(network)
        if name == "compile":
            ready = torch.compile(ready)
        return TorchRuntime(name, ready, spec.text is not None, device)


def check_fits(name: str, spec: ModelSpec, device: torch.device) -> None:
    """Refuse a runtime that is unknown, not installed, or does not fit model or device."""
    if name not in PRECISIONS:
        raise SpecError(f"Unknown runtime {name!r}. Choose from: {', '.join(PRECISIONS)}.")
    fitting = [one for one in PRECISIONS if not misfit(one, spec, device)]
    if why := misfit(name, spec, device):
        raise SpecError(f"Runtime {name} {why}. Choose from: {', '.join(fitting)}.")
    if name.startswith("openvino"):
        require_extra("openvino", "openvino", f"Runtime {name}")


def misfit(name: str, spec: ModelSpec, device: torch.device) -> str:
    """Return why a runtime does not fit a model or device; empty when it does."""
    if name.startswith("openvino") and device.type != "cpu":
        return f"runs on the CPU, and the device is {device}"
    if name == "fp16" and device.type == "cpu":
        return "needs a GPU, and the device is cpu"
    if spec.text is not None and name not in READS_TEXT:
        return f"takes no reports, and {spec.name} reads them"
    return ""


def channels_last(network: nn.Module) -> nn.Module:
    """Return a copy whose convolutions keep the channels of a voxel side by side in memory."""
    copied = copy.deepcopy(network)
    for module in copied.modules():
        if isinstance(module, WEIGHTED):
            last = torch.channels_last if module.weight.ndim == 4 else torch.channels_last_3d
            module.weight.data = module.weight.data.contiguous(memory_format=last)
    return copied


def candidates(spec: ModelSpec, device: torch.device) -> list[str]:
    """Return the runtimes worth trying for a model on a device, eager torch first.

    On a CPU bfloat16 is among them only where the processor computes with it: elsewhere it is
    emulated, and slow.
    """
    if device.type != "cpu":
        names = [EAGER, "torch-channels-last", "bf16", "fp16"]
    else:
        names = [EAGER, "torch-channels-last", "openvino"]
        if cpu_has_bfloat16():
            names += ["bf16", "openvino-bf16"]
    there = find_spec("openvino") is not None
    return [
        name
        for name in names
        if not misfit(name, spec, device) and (there or not name.startswith("openvino"))
    ]


def cpu_has_bfloat16() -> bool:
    """Tell whether the processor has instructions for bfloat16 (AVX-512 BF16 or AMX)."""
    return any(flag in cpu_field("flags").split() for flag in ("avx512_bf16", "amx_bf16"))


def cpu_field(name: str) -> str:
    """Return what Linux says of the first processor; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "")


def device_name(device: torch.device) -> str:
    """Return the name of the GPU or processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return cpu_field("model name") or platform.processor()
