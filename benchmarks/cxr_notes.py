"""COVID-19 or not, from chest X-rays with notes: what the notes give away, and what they add.

    python benchmarks/cxr_notes.py covid-chestxray-dataset

The notes have no headings and were written by who had seen the image, mostly for a paper on the
disease; that they leak is the point. Audits them, trains every variant on five folds by patient
with the seeds that are asked for (runs stop and go on), and writes cxr_notes.md.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

from medvision.ablate import ablate
from medvision.ablation_page import ablation_page
from medvision.audit import audit
from medvision.audit_page import audit_page
from medvision.cross_validation import plan_cases
from medvision.dataset import read_cases
from medvision.extras import dataset_builder
from medvision.files import write_text
from medvision.plan_file import Plan, with_settings
from medvision.run_card import device_name, package_versions

RUNS, PAGE = Path("runs/cxr_notes"), Path(__file__).with_suffix(".md")
CLASSES = ("other", "COVID-19")
MASKED = ("covid*", "covid-19", "sars-cov-2", "ncov", "coronavirus", "sars", "mers", "pneumocystis")
MASKED += ("streptococcus", "klebsiella", "legionella", "e. coli", "varicella", "chlamydophila")
SETTINGS = ("steps=150", "batch_size=16", "roi_size=64,64,1", "network.features=8,16,32,64")
VIEWS = {"open": (), "masked": MASKED}


def plan_of(cases: Path, masked: tuple[str, ...]) -> Plan:
    """Return the plan of every training."""
    plan = plan_cases(
        cases,
        class_names=CLASSES,
        name="cxr_notes",
        architecture="cnn2d",
        fusion="gated",
        sections=("note",),
        masked=masked,
        show=False,
    )
    return with_settings(plan, SETTINGS)


def main() -> None:
    """Audit, train, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="notes.csv or metadata.csv, and images/")
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=list(VIEWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    table = RUNS / "cases.csv"
    if not table.exists():
        dataset_builder("cxr_notes").build(asked.folder, table)
    lines = ["# COVID-19 or not: chest X-rays with notes", "", (__doc__ or "").split("\n\n")[2], ""]
    lines[2] = lines[2].replace("\n", " ").split(" Audits them")[0]
    cases = read_cases(table, (), "classification")
    for view in asked.views:
        masked = VIEWS[view]
        title = f"hidden: {', '.join(masked)}" if masked else "as they are"
        lines += [f"# Notes {title}", ""]
        told = audit_page(audit(cases, CLASSES, masked, seen=("note",)))
        lines += [told.replace("\n## ", "\n### ").replace("# Audit", "## Audit", 1)]
        plan = plan_of(table, masked)
        found = ablate(table, RUNS / view, plan, seeds=tuple(asked.seeds), device="cpu", show=False)
        lines += [ablation_page(found).replace("# Does", "## Does", 1)]
    seeds = " ".join(map(str, asked.seeds))
    versions = ", ".join(f"{k} {v}" for k, v in package_versions().items())
    lines += [
        "# Settings, machine and command",
        "",
        f"cnn2d, gated, {' '.join(SETTINGS)}; the rest as planned. Seeds that were run: {seeds}. "
        f"{device_name(torch.device('cpu'))}, {os.cpu_count()} cores, one thread; {versions}.",
        "",
        f"    python benchmarks/cxr_notes.py covid-chestxray-dataset --seeds {seeds}",
        "",
    ]
    write_text(PAGE, "\n".join(lines))
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
