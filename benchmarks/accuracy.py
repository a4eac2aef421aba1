"""Accuracy of trained models on public data beside published figures: classes, and masks.

    python benchmarks/accuracy.py --adrenal adrenalmnist3d_64.npz --pneumonia pneumoniamnist.npz \\
        --msd Task04_Hippocampus

Trains what is not there yet (runs stop and go on), looks at the test split once a seed, and writes
accuracy.md. The step that is kept is chosen on the validation split. `--runs ID …` trains some of
the rows alone, so that several processes can share the work; `--table` trains nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from medvision.checkpoint import load_spec
from medvision.cross_validation import plan_cases, train_folds
from medvision.dataset import read_cases
from medvision.evaluate import evaluate
from medvision.extras import dataset_builder
from medvision.files import write_text
from medvision.metrics import auc
from medvision.model_table import describe_model
from medvision.plan_file import PLAN, read_plan, with_settings, write_plan
from medvision.predictor import load_predictor
from medvision.run_card import device_name, package_versions
from medvision.scores import (
    ClassScore,
    MaskScore,
    arrays,
    figures,
    read_scores,
    write_scores,
)

RUNS, PAGE = Path("runs/accuracy"), Path(__file__).with_suffix(".md")
SEEDS = (0, 1, 2)
TEST = "test.csv"
RATE = "learning_rate=0.001"

# Shapes of thin organs: what tells the classes apart is how thick they are, so that nothing may
# stretch them; and they have two values, of which no augmentation makes others.
SHAPES = (
    "class_weights=none",
    "augment.scale=0",
    "augment.shear=0",
    "augment.warp=0",
    *(f"augment.{what}=0" for what in ("coarse", "blur", "gamma", "bias", "level", "noise")),
    "inputs.0.intensity.rule=window",
    "inputs.0.intensity.low=0",
    "inputs.0.intensity.high=255",
)


@dataclass(frozen=True)
class Row:
    """One network on one data set."""

    data: str
    architecture: str
    settings: tuple[str, ...]


ROWS = {
    "pneumonia-resnet": Row(
        "pneumonia",
        "resnet18_2d",
        (RATE, "steps=1500", "eval_every=150", "network.width=32", "network.norm=group"),
    ),
    "pneumonia-cnn": Row("pneumonia", "cnn2d", (RATE, "steps=1500", "eval_every=150")),
    "adrenal28-resnet": Row(
        "adrenal28",
        "resnet18_3d",
        (
            RATE,
            "steps=1600",
            "eval_every=100",
            "network.width=16",
            "network.norm=group",
            "network.stem=medium",
            *SHAPES,
        ),
    ),
    "adrenal28-cnn": Row(
        "adrenal28",
        "cnn3d",
        (RATE, "steps=800", "eval_every=80", "network.features=8,32,64,128", *SHAPES),
    ),
    "adrenal64-resnet": Row(
        "adrenal64",
        "resnet18_3d",
        (
            RATE,
            "steps=800",
            "eval_every=100",
            "batch_size=16",
            "network.width=16",
            "network.norm=group",
            "network.stem=large",
            *SHAPES,
        ),
    ),
    "adrenal64-cnn": Row(
        "adrenal64",
        "cnn3d",
        (
            RATE,
            "steps=800",
            "eval_every=100",
            "batch_size=16",
            "network.features=4,16,32,64,128",
            *SHAPES,
        ),
    ),
}
DATA = {  # folder → set, edge (0 keeps it), class names, published figures
    "pneumonia": ("pneumonia", 0, ("normal", "pneumonia"), "PneumoniaMNIST, 28², 2D"),
    "adrenal28": ("adrenal", 28, ("normal", "hyperplasia"), "AdrenalMNIST3D, 28³, 3D"),
    "adrenal64": ("adrenal", 0, ("normal", "hyperplasia"), "AdrenalMNIST3D, 64³, 3D"),
}
SEGMENTERS = {  # on fold 0 of 5, split by case as the published figure
    "hippocampus-3d": (
        "unet3d",
        ("network.features=24,48,96,192", "roi_size=32,48,32", "steps=2500", "batch_size=6"),
    ),
    "hippocampus-2d": (
        "unet2d",
        ("network.features=24,48,96,192", "roi_size=40,56,1", "steps=2500", "batch_size=48"),
    ),
}
MASKS = ("learning_rate=0.005", "eval_every=500", "precision=bf16-mixed")
PUBLISHED = """\
Published (Yang et al., MedMNIST v2, Scientific Data 2023; AUC / accuracy on the same test split):
PneumoniaMNIST 28²: ResNet-18 .944 / .854, ResNet-50 .948 / .854, AutoML Vision .991 / .946.
AdrenalMNIST3D 28³: ResNet-18 in 3D .827 / .721, ResNet-50 in 3D .828 / .745, auto-sklearn
.828 / .802."""


def table_of(name: str, files: dict[str, Path]) -> Path:
    """Return the cases.csv of a data set, built where it is not there yet."""
    kind, size, _, _ = DATA[name]
    out = RUNS / "data" / name / "cases.csv"
    if not out.exists():
        dataset_builder("medmnist").build(files[kind], out, size)
    return out


def train_row(key: str, files: dict[str, Path], threads: int) -> None:
    """Train a row with every seed, and look at the test split once each."""
    torch.set_num_threads(threads)
    row = ROWS[key]
    cases = table_of(row.data, files)
    for seed in SEEDS:
        out = RUNS / key / f"seed{seed}"
        if (out / TEST).exists():
            continue
        started = time.monotonic()
        plan = plan_cases(
            cases,
            task="classification",
            class_names=DATA[row.data][2],
            name=key,
            architecture=row.architecture,
            show=False,
        )
        plan = with_settings(plan, [*row.settings, "keep=best", f"seed={seed}"])
        write_plan(plan, out / PLAN)
        [run] = train_folds(cases, out, plan, device="cpu", resume=True, show=False)
        seconds = time.monotonic() - started
        test = read_cases(cases, ("test",), "classification")
        scores = evaluate(load_predictor(run.model, "cpu"), test, show=False)
        write_text(out / "minutes.json", json.dumps(seconds / 60))
        write_scores(scores, out / TEST)
        print(key, seed, figures_of(out / TEST), f"{seconds / 60:.1f} min", flush=True)


def train_segmenter(key: str, msd: Path, threads: int) -> None:
    """Train one network on fold 0."""
    torch.set_num_threads(threads)
    cases, out = RUNS / "data" / "hippocampus.csv", RUNS / key
    if not cases.exists():
        dataset_builder("msd").build(msd, cases, "case")
    architecture, settings = SEGMENTERS[key]
    plan = plan_cases(
        cases,
        class_names=("anterior", "posterior"),
        name="hippocampus",
        architecture=architecture,
        show=False,
    )
    plan = with_settings(plan, [*settings, *MASKS])
    [run] = train_folds(
        cases, out, plan, folds=5, only_fold=0, device="cpu", resume=True, show=False
    )
    print(key, figures(run.scores), flush=True)


def mask_lines() -> list[str]:
    """Return the table of the segmentations, and nnU-Net's beside them."""
    lines = [
        "## Masks: MSD Hippocampus, fold 0 of 5, split by case",
        "",
        "| network | steps × batch | minutes | Dice anterior / posterior | HD95, mm |",
        "|---|---|---|---|---|",
    ]
    for key, (architecture, _) in SEGMENTERS.items():
        out = RUNS / key / "fold_0"
        if not (out / "metrics.csv").exists():
            continue
        scores = [s for s in read_scores(out / "metrics.csv") if isinstance(s, MaskScore)]
        train = read_plan(RUNS / key / PLAN).train
        seconds = float((out / "log.csv").read_text().splitlines()[-1].split(",")[-1])
        both = [[s for s in scores if s.structure == n] for n in ("anterior", "posterior")]
        dice = " / ".join(f"{np.mean([s.dice for s in each]):.4f}" for each in both)
        far = " / ".join(f"{np.nanmean([s.hd95_mm for s in each]):.2f}" for each in both)
        lines.append(
            f"| medvision {architecture} | {train.steps:,} × {train.batch_size} "
            f"| {seconds / 60:.0f} | {dice} | {far} |"
        )
    return [
        *lines,
        "| nnU-Net v2, published, five folds | 250,000 × 9 | – | about 0.90 / 0.88 | – |",
        "",
        "nnU-Net itself, trained here on the same fold for the same minutes: "
        "[nnunet.md](nnunet.md). The bundled model, all folds: [hippocampus.md](hippocampus.md).",
        "",
    ]


def figures_of(path: Path) -> tuple[float, float]:
    """Return AUC and accuracy of a file of scores."""
    truth, shares = arrays([s for s in read_scores(path) if isinstance(s, ClassScore)])
    return auc(truth, shares), float((shares.argmax(axis=1) == truth).mean())


def spread(values: list[float]) -> str:
    """Return mean, and lowest to highest."""
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def page() -> str:
    """Return accuracy.md, as far as the rows are there."""
    lines = [
        "# Accuracy",
        "",
        "## Classes",
        "",
        "Official splits. The step was chosen on the validation split, by AUC; the test split was "
        "looked at once a seed. Mean of the seeds, and lowest to highest.",
        "",
        "| data | network | parameters, M | seeds | test AUC | test accuracy | validation AUC "
        "| three seeds, mean of probabilities: AUC / accuracy | minutes a seed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key, row in ROWS.items():
        outs = [RUNS / key / f"seed{seed}" for seed in SEEDS]
        outs = [out for out in outs if (out / TEST).exists()]
        if not outs:
            continue
        test = [figures_of(out / TEST) for out in outs]
        val = [figures_of(out / "metrics.csv")[0] for out in outs]
        minutes = [json.loads((out / "minutes.json").read_text()) for out in outs]
        tables = [arrays([s for s in read_scores(o / TEST) if isinstance(s, ClassScore)])
                  for o in outs]  # fmt: skip
        shares = np.mean([share for _, share in tables], axis=0)
        truth = tables[0][0]
        joint = f"{auc(truth, shares):.3f} / {(shares.argmax(axis=1) == truth).mean():.3f}"
        cost = describe_model(replace(load_spec(outs[0] / "model"), fingerprint=None))
        lines.append(
            f"| {DATA[row.data][3]} | {row.architecture} | {cost.parameters / 1e6:.2f} "
            f"| {len(outs)} | {spread([a for a, _ in test])} | {spread([b for _, b in test])} "
            f"| {spread(val)} | {joint} | {np.median(minutes):.0f} |"
        )
    every = {key: row.settings for key, row in ROWS.items()}
    every |= {key: (*own, *MASKS) for key, (_, own) in SEGMENTERS.items()}
    settings = "\n".join(f"- {key}: {', '.join(own)}" for key, own in every.items())
    return "\n".join(
        [
            *lines,
            "",
            PUBLISHED,
            "",
            *mask_lines(),
            "## Settings",
            "",
            "Beyond what `medvision plan` chose (each run's plan.json has all of it):",
            "",
            settings,
            "",
            "## Machine and commands",
            "",
            f"{device_name(torch.device('cpu'))}, {os.cpu_count()} cores, one thread a run, other "
            "work going on; " + ", ".join(f"{k} {v}" for k, v in package_versions().items()) + ".",
            "",
            "    python benchmarks/accuracy.py --adrenal adrenalmnist3d_64.npz "
            "--pneumonia pneumoniamnist.npz --msd Task04_Hippocampus",
            "",
        ]
    )


def main() -> None:
    """Train what is asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--adrenal", type=Path, help="adrenalmnist3d_64.npz")
    parser.add_argument("--pneumonia", type=Path, help="pneumoniamnist.npz")
    parser.add_argument("--msd", type=Path, help="folder of Task04_Hippocampus")
    every = [*ROWS, *SEGMENTERS]
    parser.add_argument("--runs", nargs="+", choices=every, default=every)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="only write accuracy.md")
    asked = parser.parse_args()
    files = {"adrenal": asked.adrenal, "pneumonia": asked.pneumonia, "msd": asked.msd}
    for key in () if asked.table else asked.runs:
        need = "msd" if key in SEGMENTERS else DATA[ROWS[key].data][0]
        if files[need] is None:
            sys.exit(f"{key} needs --{need}.")
        if key in SEGMENTERS:
            train_segmenter(key, asked.msd, asked.threads)
        else:
            train_row(key, files, asked.threads)
    write_text(PAGE, page())
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
