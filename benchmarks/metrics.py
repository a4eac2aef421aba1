"""How fast, and how alike, are distances between masks: medvision beside MONAI and SimpleITK.

    pip install SimpleITK          # comes with the extra `test`
    python benchmarks/metrics.py --out benchmarks/metrics.md

Two label maps of 256³ voxels of 0.8 × 0.8 × 1.5 mm with 20 structures: ellipsoids, and the same
moved and stretched a little, as a good model draws them, or moved far, as a poor one does. MONAI
is given the structures one by one, and crops them itself; SimpleITK gets a box around each. All
take turns, round by round, on the same threads. "Everything" is all that `medvision evaluate` tells
of masks: Dice, IoU, HD95, ASSD, NSD and lesions.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import SimpleITK
import torch
from monai.metrics import compute_hausdorff_distance

from medvision.files import write_text
from medvision.mask_figures import around, boxes_of, figures_of_labels
from medvision.surface import surface_distances

SIDE, STRUCTURES, SPACING = 256, 20, (0.8, 0.8, 1.5)
LABELS = range(1, STRUCTURES + 1)
Labels = np.ndarray  # (I, J, K) uint8
Way = Callable[[Labels, Labels], list[float]]


def labels(shift: float, stretch: float) -> Labels:
    """Return ellipsoids, moved by `shift` voxels and stretched by a share (standard deviations)."""
    rng, off = np.random.default_rng(1), np.random.default_rng(2)
    grid = np.ogrid[:SIDE, :SIDE, :SIDE]
    found = np.zeros((SIDE,) * 3, np.uint8)
    for label in LABELS:
        center = rng.uniform(40, SIDE - 40, 3) + shift * off.normal(size=3)
        radius = rng.uniform(12, 36, 3) * (1 + stretch * off.normal(size=3))
        far = sum(
            ((axis - at) / half) ** 2 for axis, at, half in zip(grid, center, radius, strict=True)
        )
        found[far < 1] = label
    return found


def everything(found: Labels, truth: Labels) -> list[float]:
    """All figures with medvision; return the HD95 of each structure in mm."""
    each = figures_of_labels(found, truth, dict.fromkeys(LABELS, 1.0), SPACING)
    return [float(figures.hd95_mm or np.nan) for _, figures in each]


def hd95_alone(found: Labels, truth: Labels) -> list[float]:
    """HD95 with medvision."""
    boxes = [boxes_of(one, LABELS) for one in (found, truth)]
    told = []
    for label in LABELS:
        box = around(*(one[label] for one in boxes))
        far = surface_distances(found[box] == label, truth[box] == label, SPACING)
        told.append(far.hd95_mm)
    return told


def with_monai(found: Labels, truth: Labels) -> list[float]:
    """HD95 with MONAI."""
    told = []
    for label in LABELS:
        pair = [torch.from_numpy(one == label)[None, None].float() for one in (found, truth)]
        distance = compute_hausdorff_distance(
            *pair, include_background=True, percentile=95, spacing=list(SPACING)
        )
        told.append(float(distance[0, 0]))
    return told


def with_simpleitk(found: Labels, truth: Labels) -> list[float]:
    """HD95 with SimpleITK: distance maps from contours, within a box around the structure.

    Its HausdorffDistanceImageFilter has no percentile.
    """
    images = [SimpleITK.GetImageFromArray(one.transpose(2, 1, 0)) for one in (found, truth)]
    for image in images:
        image.SetSpacing(SPACING)
    shapes = [SimpleITK.LabelShapeStatisticsImageFilter() for _ in images]
    for shape, image in zip(shapes, images, strict=True):
        shape.ComputePerimeterOff()
        shape.Execute(image)
    told = []
    for label in LABELS:
        boxes = np.array([shape.GetBoundingBox(label) for shape in shapes]).reshape(2, 2, 3)
        start = boxes[:, 0].min(axis=0)
        size = boxes.sum(axis=1).max(axis=0) - start
        parts = [
            SimpleITK.RegionOfInterest(image, size.tolist(), start.tolist()) for image in images
        ]
        masks = [SimpleITK.Equal(part, label) for part in parts]
        masks = [SimpleITK.ConstantPad(mask, [1] * 3, [1] * 3, 0) for mask in masks]
        edges = [SimpleITK.BinaryContour(mask, fullyConnected=False) for mask in masks]
        ways = []
        for one, other in (edges, edges[::-1]):
            far = SimpleITK.Abs(SimpleITK.SignedMaurerDistanceMap(other, False, False, True))
            on = SimpleITK.GetArrayViewFromImage(one) > 0
            ways.append(np.percentile(SimpleITK.GetArrayViewFromImage(far)[on], 95))
        told.append(float(max(ways)))
    return told


WAYS: dict[str, Way] = {
    "medvision, HD95": hd95_alone,
    "medvision, everything": everything,
    "MONAI, HD95": with_monai,
    "SimpleITK, HD95": with_simpleitk,
}


def compare(found: Labels, truth: Labels, rounds: int) -> list[str]:
    """Return the rows of one pair of label maps."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    told: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, way in WAYS.items():
            start = time.perf_counter()
            told[name] = way(found, truth)
            seconds[name].append(time.perf_counter() - start)
    ours = told["medvision, HD95"]
    middle = {name: statistics.median(each) for name, each in seconds.items()}
    rows = []
    for name, each in seconds.items():
        ratio = middle[name] / middle["medvision, HD95"]
        apart = np.abs(np.subtract(told[name], ours)).max()
        rows.append(
            f"| {name} | {middle[name]:.2f} ({min(each):.2f} to {max(each):.2f}) | {ratio:.1f} "
            f"| {apart:.0e} |"
        )
    return rows


def machine() -> str:
    """Return what the processor is called."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="Markdown file to write; printed without.")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(args.threads)
    warnings.simplefilter("ignore", FutureWarning)  # MONAI deprecates an argument that it passes
    truth = labels(0, 0)
    lines = [
        "# Distances between masks",
        "",
        "    python benchmarks/metrics.py --out benchmarks/metrics.md",
        "",
        *__doc__.split("\n\n", 2)[2].splitlines(),
    ]
    for title, found in (
        ("As a good model draws them (1.5 voxels off)", labels(1.5, 0.05)),
        ("As a poor one does (12 voxels off)", labels(12, 0.2)),
    ):
        head = "| | median (range) of rounds, s | times medvision's HD95 | HD95 apart, mm |"
        lines += ["", f"## {title}", "", head, "|---|---|---|---|"]
        lines += compare(found, truth, args.rounds)
    packages = ("numpy", "scipy", "torch", "monai", "SimpleITK")
    lines += [
        "",
        f"{args.rounds} rounds; {machine()}, {args.threads} threads of {os.cpu_count()} cores; "
        f"Python {platform.python_version()},",
        ", ".join(f"{name} {version(name)}" for name in packages) + ".",
        "\"Apart\" is the largest difference of a structure's HD95 to medvision's.",
    ]
    text = "\n".join(lines) + "\n"
    if args.out:
        write_text(args.out, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
