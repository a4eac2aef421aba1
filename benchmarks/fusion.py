"""Fusion heads on phantoms whose best possible AUC is known, in 2D and 3D.

    python benchmarks/fusion.py

Draws the phantoms, trains every head (runs stop and go on), asks about test cases that no training
saw, and writes fusion.md. `--dims 2` or `3` trains one alone, `--table` nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from medvision.ablate import shuffled
from medvision.cross_validation import plan_cases
from medvision.dataset import Case, read_cases
from medvision.extras import dataset_builder
from medvision.files import atomic_path, write_text
from medvision.intervals import paired_bootstrap
from medvision.items import Item, load_items
from medvision.metrics import auc
from medvision.pair_phantom import CLASSES, KINDS, best_auc
from medvision.plan_file import Plan, with_settings
from medvision.predictor import Predictor, load_predictor
from medvision.report import report_for_model
from medvision.run_card import device_name, package_versions
from medvision.text_spec import METHODS
from medvision.tfidf import TextBaseline
from medvision.train import train

RUNS, PAGE = Path("runs/fusion"), Path(__file__).with_suffix(".md")
SEEDS = {2: (0, 1, 2), 3: (0,)}
CASES = {2: (15_000, 10_000), 3: (6_000, 3_000)}  # in all, and of these to test
SETTINGS = {
    2: ("steps=600", "batch_size=64", "network.features=8,16,32", "network.norm=group"),
    3: ("steps=600", "batch_size=32", "network.features=8,16,32", "network.norm=group"),
}
# Nothing is stretched or shaded: how bright the lesion is, and where, is the evidence.
STILL = ("rotate", "scale", "shear", "shift", "warp", "gamma", "bias", "level", "blur", "coarse")
PLAIN = ("class_weights=none", *(f"augment.{what}=0" for what in (*STILL, "noise")))
WINDOW = tuple(f"inputs.0.intensity.{what}" for what in ("rule=window", "low=0", "high=255"))
VARIANTS = {  # of `gated`: modality dropout, and whether reports are those of others
    "image only": ((0.0, 1.0), False),
    "report only": ((1.0, 0.0), False),
    "image and another's report": (None, True),
}
SEEN = ("both", "image", "report")

Shares = NDArray[np.float64]  # (M, 2)


def data(kind: str, dims: int) -> Path:
    """Return the cases.csv of a phantom, drawn where it is not there yet."""
    out = RUNS / "data" / f"{kind}{dims}d" / "cases.csv"
    if not out.exists():
        count, test = CASES[dims]
        dataset_builder("pairs").build(out, kind, count, dims, seed=dims, test=test)
    return out


def plan_of(kind: str, dims: int, method: str, seed: int) -> Plan:
    """Return the plan of a training."""
    plan = plan_cases(
        data(kind, dims),
        class_names=CLASSES,
        name=f"{kind}_{method}",
        architecture=f"cnn{dims}d",
        fusion=method,
        show=False,
    )
    return with_settings(plan, [*SETTINGS[dims], *PLAIN, *WINDOW, f"seed={seed}"])


def run(kind: str, dims: int, name: str, seed: int, test: list[Case], items: list[Item]) -> None:
    """Train one head or variant with one seed, and keep what it says of the test cases."""
    out = RUNS / f"{kind}{dims}d" / name.replace(" ", "_").replace("'", "") / f"seed{seed}"
    if (out / "said.npz").exists():
        return
    started = time.monotonic()
    plan = plan_of(kind, dims, name if name in METHODS else "gated", seed)
    cases = read_cases(data(kind, dims), ("train", "val"), "classification")
    assert plan.spec.text is not None
    spec, reports = plan.spec, [item.report for item in items]
    if name in VARIANTS:
        dropout, others = VARIANTS[name]
        if others:
            cases = shuffled(cases, seed)
            reports = [seen_of(case, plan) for case in shuffled(test, seed)]
        text = replace(plan.spec.text, modality_dropout=dropout or plan.spec.text.modality_dropout)
        spec = replace(spec, text=text)
    made = train(cases, [], spec, plan.train, out, "cpu", resume=True, show=False)
    predictor = load_predictor(made.model, "cpu")
    said = {what: say(predictor, items, reports, what) for what in SEEN}
    with atomic_path(out / "said.npz") as part, part.open("wb") as file:
        np.savez(file, **said)
    write_text(out / "minutes.json", json.dumps((time.monotonic() - started) / 60))
    truth = truth_of(items)
    print(kind, dims, name, seed, {w: round(auc(truth, s), 3) for w, s in said.items()}, flush=True)


def seen_of(case: Case, plan: Plan) -> str:
    """Return what the model may read of a case's report."""
    assert plan.spec.text is not None
    return report_for_model(case.report, plan.spec.text.sections, plan.spec.text.masked)


@torch.inference_mode()
def say(predictor: Predictor, items: list[Item], reports: list[str], seen: str) -> Shares:
    """Return the probabilities (M, 2) that a model gives when it sees one or both."""
    found = []
    for start in range(0, len(items), 200):
        part = items[start : start + 200]
        told = [r if seen != "image" else "" for r in reports[start : start + 200]]
        there = torch.full((len(part),), seen != "report")
        image = torch.stack([item.image for item in part])
        found.append(predictor.model(image, told, there).double().softmax(dim=1))
    return np.asarray(torch.cat(found).numpy())


def truth_of(items: list[Item]) -> NDArray[np.int64]:
    """Return the class numbers (M,)."""
    return np.array([int(item.target) for item in items])


def baseline(kind: str, dims: int) -> float:
    """Return the AUC of TF-IDF, fitted on the training reports."""
    plan = plan_of(kind, dims, "gated", 0)
    parts = [
        read_cases(data(kind, dims), s, "classification") for s in (("train", "val"), ("test",))
    ]
    texts = [[seen_of(case, plan) for case in part] for part in parts]
    model = TextBaseline(CLASSES)
    model.fit(texts[0], [c.label for c in parts[0]], [c.group for c in parts[0]])
    truth = np.array([CLASSES.index(case.label) for case in parts[1]])
    return auc(truth, model.predict(texts[1]))


def train_all(dims: int) -> None:
    """Train and ask everything of one dimension."""
    asked = {}
    for kind in KINDS:
        test = read_cases(data(kind, dims), ("test",), "classification")
        plan = plan_of(kind, dims, "gated", 0)
        items = load_items(test, plan.spec, plan.train, show=False)
        np.save(RUNS / f"truth_{kind}{dims}d.npy", truth_of(items))
        asked[kind] = test, items
    for names in (METHODS, tuple(VARIANTS) if dims == 2 else ()):
        for kind, seed, name in product(KINDS, SEEDS[dims], names):
            run(kind, dims, name, seed, *asked[kind])


def said_of(kind: str, dims: int, name: str) -> list[dict[str, Shares]]:
    """Return what each seed said, as far as it is there."""
    folder = RUNS / f"{kind}{dims}d" / name.replace(" ", "_").replace("'", "")
    return [dict(np.load(path)) for path in sorted(folder.glob("seed*/said.npz"))]


def spread(areas: list[float]) -> str:
    """Return the mean, and lowest to highest of several."""
    mean = f"{np.mean(areas):.3f}"
    return mean if len(areas) == 1 else f"{mean} ({min(areas):.3f} to {max(areas):.3f})"


def table(kind: str, dims: int) -> list[str]:
    """Return the part of the page on one phantom."""
    path = RUNS / f"truth_{kind}{dims}d.npy"
    if not path.exists() or not any(said_of(kind, dims, name) for name in METHODS):
        return []
    truth = np.load(path)
    limit = {what: best_auc(kind, what) for what in SEEN}  # type: ignore[arg-type]
    lines = [
        f"## {kind.capitalize()}, {dims}D",
        "",
        f"{len(truth):,} test cases. Limits: image {limit['image']:.3f}, report "
        f"{limit['report']:.3f}, both {limit['both']:.3f}.",
        "",
        "| trained | AUC of both | from the limit | reports missing | images missing | seeds |",
        "|---|---|---:|---|---|---:|",
    ]
    for name in (*METHODS, *VARIANTS):
        said = said_of(kind, dims, name)
        if not said:
            continue
        areas = {what: [auc(truth, one[what]) for one in said] for what in SEEN}
        kept = {"image only": ("image",), "report only": ("report",)}.get(name, SEEN)
        cells = [spread(areas[what]) if what in kept else "–" for what in SEEN]
        gap = f"{np.mean(areas['both']) - limit['both']:+.3f}" if "both" in kept else "–"
        lines.append(f"| {name} | {cells[0]} | {gap} | {cells[1]} | {cells[2]} | {len(said)} |")
    if dims == 2:
        lines += [f"| TF-IDF of the report | – | – | – | {baseline(kind, dims):.3f} | |"]
    alone, gated = said_of(kind, dims, "image only"), said_of(kind, dims, "gated")
    if alone and gated:
        a, b = (np.mean([one["image"] for one in said], axis=0) for said in (gated, alone))
        gain = paired_bootstrap(truth, a, b, [str(i) for i in range(len(truth))])
        lines += [
            "",
            f"`gated` without any report against the image-only training, mean of the seeds: "
            f"{gain.value:+.4f} AUC (95 % {gain.low:+.4f} to {gain.high:+.4f}).",
        ]
    return [*lines, ""]


def page() -> str:
    """Return fusion.md, as far as the runs are there."""
    minutes = [json.loads(path.read_text()) for path in RUNS.glob("*/*/seed*/minutes.json")]
    lines = [
        "# Fusion of image and report",
        "",
        "Phantoms whose best possible AUC is known in closed form (`medvision.pair_phantom`): "
        "*additive*, where the lesion's brightness and the report's word of severity each tell "
        "something; *interaction*, where only the lesion's side together with the side that the "
        "report names tells anything. AUC as mean of the seeds (lowest to highest).",
        "",
    ]
    for dims in SEEDS:
        for kind in KINDS:
            lines += table(kind, dims)
    settings = {d: " ".join((*own, *PLAIN, *WINDOW)) for d, own in SETTINGS.items()}
    lines += [
        "## Settings, machine and command",
        "",
        *(f"- {dims}D: cnn{dims}d, {text}" for dims, text in settings.items()),
        f"- {len(minutes)} trainings, median {np.median(minutes):.1f} minutes each, one thread, "
        f"other work going on; {device_name(torch.device('cpu'))}, {os.cpu_count()} cores; "
        + ", ".join(f"{k} {v}" for k, v in package_versions().items()),
        "",
        "    python benchmarks/fusion.py",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Train what is asked for, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--dims", type=int, choices=(2, 3), nargs="+", default=[2, 3])
    parser.add_argument("--table", action="store_true", help="only write fusion.md")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for dims in () if asked.table else asked.dims:
        train_all(dims)
    write_text(PAGE, page())
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
