"""Peak memory of a segmentation with many classes, beside what was said before it began.

    python benchmarks/memory.py [--side 512 512 600] [--classes 118] [--spacing 1.0] [--max-ram 8]

A stub network of one convolution answers, so that what is measured is all the rest: the scan, sums
of overlapping windows, and the way back to the scan's grid. With ``--spacing`` other than 1 the
answer is interpolated. Each figure comes from a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from medvision.intensity_spec import Intensity
from medvision.memory import GB, resident, way_to_keep
from medvision.predictor import Predictor
from medvision.spec import InputSpec, ModelSpec
from medvision.study import Study
from medvision.volume import Volume

WAYS = {"full": "in full", "half": "in half precision", "disk": "on the disk"}
WINDOW = (128, 128, 128)


def stub(classes: int) -> nn.Module:
    """Return a network that finds each class in a band of brightness of its own."""
    torch.manual_seed(0)
    network = nn.Conv3d(1, classes, 1)
    middle = torch.linspace(-1, 1, classes)
    network.weight.data = 40 * middle.reshape(-1, 1, 1, 1, 1)  # nearest middle wins
    network.bias.data = -20 * middle**2
    return network


class Enough(Exception):
    """The share of windows that was asked for is done."""


def measure(
    sides: tuple[int, int, int], classes: int, spacing: float, most: float, until: float
) -> None:
    """Segment one scan, or a share of it, and print what it took, as JSON."""
    spec = ModelSpec(
        "stub",
        "segmentation",
        "stub",
        tuple(f"class{n}" for n in range(1, classes)),
        (spacing,) * 3,
        WINDOW,
        inputs=(InputSpec(intensity=Intensity("window", low=-1000, high=1000)),),
    )
    ramp = np.linspace(-1000, 1000, sides[2], dtype=np.float32)
    voxels = np.broadcast_to(ramp, (1, *sides)).astype(np.int16)
    scan = Volume(voxels, np.eye(4))
    predictor = Predictor(stub(classes), spec, "cpu", max_ram=most * GB)
    load = predictor.load
    keep = way_to_keep(most * GB, load, scan, "scan")
    need = replace(load.need(scan, keep), network=load.network)
    before, began = resident(), time.perf_counter()
    labels = 0

    def step(share: float) -> None:
        if share >= until < 1:
            raise Enough

    with suppress(Enough):
        found = predictor.predict(Study("scan", {"image": scan}), step=step)
        assert found.mask is not None
        labels = len(np.unique(found.mask.array))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    said = {
        "keep": keep,
        "held": before / GB,
        "said": (before + need.total) / GB,
        "peak": peak / GB,
        "seconds": seconds,
        "labels": labels,
    }
    print(json.dumps(said))


def main() -> None:
    """Measure, in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, nargs=3, default=(512, 512, 600))
    parser.add_argument("--classes", type=int, default=118)
    parser.add_argument("--spacing", type=float, default=1.0)
    parser.add_argument("--max-ram", type=float, default=8.0)
    parser.add_argument(
        "--until",
        type=float,
        default=1.0,
        help="stop after this share of the windows: what is held repeats from the second row on",
    )
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        measure(tuple(given.side), given.classes, given.spacing, given.max_ram, given.until)
        return
    again = [sys.executable, __file__, *sys.argv[1:], "--here"]
    said = json.loads(subprocess.run(again, check=True, stdout=subprocess.PIPE).stdout)
    sides = "×".join(map(str, given.side))
    print(
        f"{given.classes} classes, {sides}, window 128³, model at {given.spacing} mm: said "
        f"{said['said']:.2f} GB, peak {said['peak']:.2f} GB ({said['held']:.2f} held before), "
        f"sums kept {WAYS[said['keep']]}, {given.until:.0%} of the windows in "
        f"{said['seconds']:.0f} s, {said['labels']} labels found"
    )


if __name__ == "__main__":
    main()
