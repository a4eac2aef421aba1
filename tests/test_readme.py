"""The README tells the truth."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from medvision.extras import dataset_builder

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CARD = (ROOT / "medvision" / "weights" / "hippocampus" / "card.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def test_the_python_example_prints_what_it_says(tmp_path):
    pytest.importorskip("nilearn", reason="needs nilearn (extra demo)")
    code, said = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", README, re.S).groups()
    dataset_builder("mni152").build(tmp_path / "demo" / "mni152.nii.gz")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert NUMBER.sub("#", done.stdout) == NUMBER.sub("#", said)
    found, promised = (NUMBER.findall(text) for text in (done.stdout, said))
    for mine, text in zip(found, promised, strict=True):
        # processors differ in the last bit, which may move a voxel, or a rounded millimeter
        near = {"rel": 0.02} if "." in text else {"abs": 1}
        assert float(mine) == pytest.approx(float(text), **near)
    assert len(list((tmp_path / "results").iterdir())) == 3


def test_the_fusion_example_prints_what_it_says():
    code, said = re.search(
        r"```python\n(import torch, .*?)```\n\n```\n(.*?)```", README, re.S
    ).groups()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == said


def test_the_accuracy_is_the_one_of_the_card():
    rows = re.findall(r"medvision, folds by [^|]*\| (0\.\d{4}) / (0\.\d{4}) \|", README)
    totals = [line for line in CARD.splitlines() if line.startswith("| **all** | 220 |")]
    assert len(rows) == len(totals) == 2
    for row, total in zip(rows, totals, strict=True):
        assert all(dice in total for dice in row)
    assert all(f"\n| {fold} | " in CARD for fold in range(5))


@pytest.mark.parametrize("name", ["geometry", "reading", "startup"])
def test_tables_are_those_of_the_benchmarks(name):
    table = (ROOT / "benchmarks" / f"{name}.md").read_text(encoding="utf-8")
    rows = [line for line in table.split("| goal")[0].splitlines() if line.startswith("| ")]
    assert len(rows) > 3
    assert all(row in README for row in rows)


def test_figures_of_classes_and_windows_are_those_of_the_benchmarks():
    page = (ROOT / "benchmarks" / "accuracy.md").read_text(encoding="utf-8")
    rows = [line for line in README.splitlines() if "plain CNN ." in line]
    assert len(rows) == 3
    for row in rows:
        name = row.split("|")[1].split(",")[0].strip()
        found = [line for line in page.splitlines() if line.startswith(f"| {name}")]
        for area, right in re.findall(r"(\.\d{3}) / (\.\d{3})", row.split("|")[2]):
            assert any(f"| 0{area} (" in line and f"| 0{right} (" in line for line in found)
    speeds = (ROOT / "benchmarks" / "training.md").read_text(encoding="utf-8")
    assert all(f"| {mine} (1.00) |" in speeds for mine in ("343", "419", "19.0", "22.4"))


def test_figures_of_fusion_are_those_of_the_benchmark():
    page = (ROOT / "benchmarks" / "fusion.md").read_text(encoding="utf-8")
    heads = re.search(r"best possible \| (late .*) \|", README).group(1).split(" | ")
    for start, kind in (("image and report each", "Additive"), ("only the pair", "Interaction")):
        row = next(line for line in README.splitlines() if line.startswith(f"| {start}"))
        part = page.split(f"## {kind}, 2D")[1].split("\n## ")[0]
        limit, *found = row.strip("| ").split(" | ")[1:]
        assert f"both {limit}." in part
        for head, area in zip(heads, found, strict=True):
            assert f"| {head} | {area} (" in part
    gain = re.search(r"trained alike: (\S+) AUC \(95 %\s+(\S+) to (\S+)\)", README).groups()
    assert "{} AUC (95 % {} to {})".format(*gain) in page


def test_figures_of_inference_are_those_of_the_benchmark():
    page = (ROOT / "benchmarks" / "inference.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    seconds: dict[tuple[str, str], str] = {}
    for row in (one for one in rows if len(one) > 3):
        seconds.setdefault((row[0], row[1]), row[2])  # the first table's
    names = {
        "MONAI's sliding window": "MONAI, float32",
        "nnU-Net's own predictor": "nnU-Net's predictor",
        "medvision, torch": "medvision, torch",
        "medvision, OpenVINO": "medvision, openvino",
    }
    for mine, theirs in names.items():
        row = next(line for line in README.splitlines() if line.startswith(f"| {mine} |"))
        found = row.strip("| ").split(" | ")[1:]
        assert found == [seconds.get((theirs, of), "–") for of in ("network", "case")]


def test_figures_of_batches_and_memory_are_those_of_the_benchmarks():
    page = (ROOT / "benchmarks" / "batch.md").read_text(encoding="utf-8")
    busy, ratio = re.search(r"device is busy (\S+) % .*?\((\S+)\)", README, re.S).groups()
    assert f"| device busy over 50 studies | {busy}% |" in page
    assert f"| study 500 by study 50 | {ratio} |" in page
    memory = (ROOT / "benchmarks" / "memory.md").read_text(encoding="utf-8")
    models = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    told = re.search(r"118 classes on 512 × 512 × 600 voxels take (\S+) GB", models).group(1)
    assert f"{float(re.search(r'peak .*?([0-9.]+)[*]', memory).group(1)):.0f}" == told


def test_the_figure_of_the_viewer_is_that_of_the_benchmark():
    page = (ROOT / "benchmarks" / "viewer.md").read_text(encoding="utf-8")
    share = re.search(r"comes in (\S+) of the time that NiiVue takes", README).group(1)
    assert f"({share}) |" in next(line for line in page.splitlines() if "a scan chosen" in line)


def test_figures_of_distances_and_of_starting_up_are_those_of_the_benchmarks():
    page = (ROOT / "benchmarks" / "metrics.md").read_text(encoding="utf-8")
    good = page.partition("## As a poor one")[0]

    def row(name):
        return re.search(rf"\| {name} \| ([\d.]+) .*?\| ([\d.]+) \|", good).groups()

    ours, _ = row("medvision, HD95")
    every, _ = row("medvision, everything")
    monai, itk = (float(row(f"{name}, HD95")[1]) for name in ("MONAI", "SimpleITK"))
    told = " ".join(README.split())
    assert f"takes {ours} s, MONAI {monai:.0f} times and SimpleITK {itk} times that" in told
    assert f"all figures of these masks {every} s" in told
    startup = (ROOT / "benchmarks" / "startup.md").read_text(encoding="utf-8")
    lines = [line for line in startup.splitlines() if line.startswith("| ")]
    assert len(lines) > 4
    assert "\n".join(lines[1:]) in README


def test_the_tree_names_every_module():
    for path in (ROOT / "medvision").glob("*.py"):
        assert path.name in README or path.name.startswith("__"), path.name


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_the_picture_is_small_enough_to_load_at_once():
    assert (ROOT / "docs" / "demo.png").stat().st_size < 500_000


def test_figures_of_nifti_and_of_walks_are_those_of_the_benchmark():
    page = (ROOT / "benchmarks" / "reading.md").read_text(encoding="utf-8")
    read, write = (
        re.search(rf"\| scan, {what}, s \| [^|]*\| [\d.]+ \(([\d.]+)\)", page)[1]
        for what in ("read", "write")
    )
    walk = re.search(r"\| again, unchanged \| 50,000 \| ([\d.]+) ", page)[1]
    told = " ".join(README.split())
    assert f"read in {read} and written in {write} of its time" in told
    assert f"50,000 unchanged files are walked in {walk} s" in told
