"""What a newcomer does first, from nothing. Installs everything: minutes."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a git checkout"),
    pytest.mark.skipif(not shutil.which("make"), reason="needs make"),
]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clone") / "medvision"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    return folder


def test_make_demo_leaves_two_hippocampi(clone):
    done = subprocess.run(["make", "demo"], cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 done, 0 failed" in done.stdout
    with (clone / "demo" / "results" / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case_id"] for row in rows] == [
        "mni152_left-hippocampus",
        "mni152_right-hippocampus",
    ]
    for row in rows:
        assert 3.5 <= float(row["anterior_ml"]) + float(row["posterior_ml"]) <= 6
        assert (clone / "demo" / "results" / row["mask"]).exists()


def test_a_wheel_installs_with_its_dependencies_alone(clone, tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(clone)],
        check=True,
    )
    [wheel] = tmp_path.glob("medvision_toolkit-*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    constraints = str(clone / "constraints.txt")
    subprocess.run([python, "-m", "pip", "install", "-q", "-c", constraints, wheel], check=True)
    scan = clone / "demo" / "mni152.nii.gz"  # left by the demo above
    empty = tmp_path / "empty"
    empty.mkdir()
    command = [python.parent / "medvision", "predict", str(scan), "--model", "hippocampus"]
    command += ["--out", "results", "--box", "mni:right-hippocampus"]
    done = subprocess.run(command, cwd=empty, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (empty / "results" / "mni152_right-hippocampus.nii.gz").exists()
