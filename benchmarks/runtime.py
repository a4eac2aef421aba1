"""One window of a 5-level nnU-Net, 96³ voxels, by each runtime and by what else was tried.

    OMP_WAIT_POLICY=passive python benchmarks/runtime.py --rounds 5 --out benchmarks/runtime.md

They take turns, so that noise falls on all alike. Beside the wall time stands the processors' time
of all threads, which other work on the machine hardly changes, as long as threads that wait do
not spin (hence the variable). The error is the largest difference of a logit
from the same network in float64, relative to the largest logit; weights are random, norms are
drawn around 1. MONAI's DynUNet of the same widths stands for what a user of plain torch has.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medvision.models import build_model
from medvision.openvino_model import (
    InstanceNorm,
    OpenVinoModel,
    convert,
    import_openvino,
    plain_copy,
    trace,
)
from medvision.runtime import channels_last, cpu_has_bfloat16, device_name, prepare_runtime
from medvision.spec import ModelSpec

SIDE, FEATURES = 96, (32, 64, 128, 256, 320)
SPEC = ModelSpec(
    "benchmark",
    "segmentation",
    "unet3d",
    ("a", "b"),
    (1.0, 1.0, 1.0),
    (SIDE, SIDE, SIDE),
    network={"features": FEATURES},
)
SLOW_S = 60.0  # what takes longer is run once
Call = Callable[[Tensor], Tensor]


def network() -> nn.Module:
    """Return the network, its norms doing something."""
    torch.manual_seed(0)
    model = build_model(SPEC).eval()
    for module in model.modules():
        if isinstance(module, nn.GroupNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return model.requires_grad_(False)


def dynunet(last: bool) -> Call:
    """Return MONAI's network of the same widths."""
    from monai.networks.nets.dynunet import DynUNet

    levels = len(FEATURES)
    torch.manual_seed(0)
    model: Any = DynUNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=SPEC.outputs,
        kernel_size=[3] * levels,
        strides=[1] + [2] * (levels - 1),
        upsample_kernel_size=[2] * (levels - 1),
        filters=list(FEATURES),
    ).eval()
    return in_last(channels_last(model)) if last else model


def in_last(model: Any) -> Call:
    """Return a call with windows in channels-last layout."""
    return lambda x: model(x.contiguous(memory_format=torch.channels_last_3d))


def instance_norms(model: nn.Module) -> nn.Module:
    """Return a copy with torch's own instance norm."""
    copied: nn.Module = plain_copy(model).network
    assert any(isinstance(module, InstanceNorm) for module in copied.modules())
    return copied


def frozen(model: nn.Module) -> Call:
    """Return what TorchScript makes of the network in channels-last layout."""
    small = torch.zeros(1, 1, 32, 32, 32).contiguous(memory_format=torch.channels_last_3d)
    jit: Any = torch.jit
    script = jit.optimize_for_inference(jit.freeze(trace(channels_last(model), small)))
    return in_last(script)


def with_group_norm(model: nn.Module) -> Call:
    """Return what OpenVINO makes of the network with its group norms as they are."""
    openvino = import_openvino()
    example = torch.zeros(1, 1, SIDE, SIDE, SIDE)
    traced = trace(copy.deepcopy(model), example[..., :32, :32, :32])
    made = openvino.convert_model(traced, example_input=example, input=[-1, *example.shape[1:]])
    return OpenVinoModel(made)


def fixed_batch(model: nn.Module) -> Call:
    """Return what OpenVINO makes of the network for one window at a time."""
    made = convert(model, SPEC)
    made.reshape([1, 1, SIDE, SIDE, SIDE])
    return OpenVinoModel(made)


def variants(model: nn.Module) -> dict[str, Callable[[], Call]]:
    """Return what is compared: name → what makes it ready."""

    def runtime(name: str) -> Callable[[], Call]:
        return lambda: prepare_runtime(model, SPEC, "cpu", name)

    return {
        "MONAI DynUNet, torch eager": lambda: dynunet(False),
        "MONAI DynUNet, channels last": lambda: dynunet(True),
        "**torch**": runtime("torch"),
        "**torch-channels-last**": runtime("torch-channels-last"),
        "**compile**": runtime("compile"),
        "**openvino**": runtime("openvino"),
        "**bf16**": runtime("bf16"),
        "**openvino-bf16**": runtime("openvino-bf16"),
        "channels last, F.instance_norm": lambda: in_last(channels_last(instance_norms(model))),
        "channels last, TorchScript frozen and optimized": lambda: frozen(model),
        "openvino, GroupNorm left as it is": lambda: with_group_norm(model),
        "openvino, batch fixed to 1": lambda: fixed_batch(model),
    }


def relative(found: Tensor, truth: Tensor) -> float:
    """Return the largest difference, relative to the largest value."""
    return float((found - truth).abs().max() / truth.abs().max())


def main() -> None:
    """Time all, taking turns, and write a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="Written anew after each round.")
    parser.add_argument("--without", default="", help="Leave out names with one of these words.")
    asked = parser.parse_args()
    model = network()
    window = torch.randn(1, 1, SIDE, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    calls: dict[str, tuple[Call, Tensor]] = {}
    ready: dict[str, float] = {}
    errors: dict[str, str] = {}
    times: dict[str, list[tuple[float, float]]] = {}
    left_out = [word for word in asked.without.split(",") if word]
    with torch.inference_mode():
        truth = copy.deepcopy(model).double()(window.double())
        for name, make in variants(model).items():
            if any(word in name for word in left_out):
                continue
            start = time.perf_counter()
            with torch.inference_mode(False), torch.no_grad():
                call = make()
            found = call(window)
            ready[name] = time.perf_counter() - start
            errors[name] = "another net" if "DynUNet" in name else f"{relative(found, truth):.1e}"
            times[name], calls[name] = [], (call, window)
            print(f"{name}: ready after {ready[name]:.1f} s, error {errors[name]}", flush=True)
        for base in ("**torch-channels-last**", "**openvino**") if not left_out else ():
            name, pair = f"{base}, two windows at once", torch.cat([window, window])
            found = calls[base][0](pair)
            errors[name], ready[name] = f"{relative(found[:1], truth):.1e}", 0.0
            times[name], calls[name] = [], (calls[base][0], pair)
        for turn in range(asked.rounds):
            for name, (call, given) in calls.items():
                if times[name] and min(times[name])[1] > SLOW_S:
                    continue
                wall, cpu = time.perf_counter(), time.process_time()
                call(given)
                spent = (time.perf_counter() - wall, time.process_time() - cpu)
                times[name].append((spent[0] / len(given), spent[1] / len(given)))
            text = table(times, ready, errors, turn + 1)
            print(text, flush=True)
            if asked.out:
                asked.out.write_text(text, encoding="utf-8")


def table(
    times: dict[str, list[tuple[float, float]]],
    ready: dict[str, float],
    errors: dict[str, str],
    rounds: int,
) -> str:
    """Return the page; names in bold are runtimes of medvision."""
    openvino = import_openvino()
    base = statistics.median(cpu for _, cpu in times["**torch**"])
    rows = []
    for name, values in times.items():
        walls, cpus = zip(*values, strict=True)
        cells = [
            f"{statistics.median(cpus):.2f}",
            f"{base / statistics.median(cpus):.2f}",
            f"{statistics.median(walls):.2f}",
            f"{min(walls):.2f}",
            errors[name],
            f"{ready[name]:.0f}" if ready[name] else "–",
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    import monai

    lines = [
        "# Runtimes",
        "",
        f"    OMP_WAIT_POLICY=passive python benchmarks/runtime.py --rounds {rounds} "
        "--out benchmarks/runtime.md",
        "",
        f"One window of {SIDE}³ voxels through a U-Net of widths {FEATURES} (3D, instance norm, "
        "leaky ReLU, 3 outputs), float32 unless the name says otherwise. Bold: what "
        "`medvision.runtime` calls it.",
        "",
        "| | processors' s a window | × torch | wall s | wall s, best | error | ready after, s |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        "Medians, but for the best. Processors' seconds are those of all threads together. "
        "The error is the largest difference of a logit from the same network in float64, relative "
        "to the largest logit.",
        "",
        f"{device_name(torch.device('cpu'))}, {torch.get_num_threads()} threads, bfloat16 "
        f"{'in hardware' if cpu_has_bfloat16() else 'emulated'}, load {os.getloadavg()[1]:.1f} "
        f"(other work was going on: compare within the table); torch {torch.__version__}, monai "
        f"{monai.__version__}, openvino {openvino.__version__.partition('-')[0]}; {rounds} rounds, "
        "taking turns.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
