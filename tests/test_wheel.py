"""A wheel works where the repository is not."""

import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from app_server import serving

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("build", reason="needs build (extra test)")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(folder),
            str(ROOT),
        ],
        check=True,
        capture_output=True,
    )
    [path] = folder.glob("medvision_toolkit-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Python of an environment with the wheel; its dependencies are those of this one."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", str(wheel)], check=True)
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    here, there = (
        subprocess.run(
            [p, "-c", purelib], capture_output=True, text=True, check=True
        ).stdout.strip()
        for p in (sys.executable, python)
    )
    assert "medvision" in {p.name for p in Path(there).iterdir()}
    borrowed = Path(there) / "borrowed"  # all packages of this environment but medvision itself
    borrowed.mkdir()
    for package in Path(here).iterdir():
        if "medvision" not in package.name and not package.name.endswith(".pth"):
            (borrowed / package.name).symlink_to(package)
    (Path(there) / "borrowed.pth").write_text(str(borrowed))
    return python


def test_the_wheel_holds_the_model_the_page_and_the_builders(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "medvision/weights/hippocampus/model.safetensors",
        "medvision/py.typed",
        "medvision/weights/hippocampus/card.md",
        *(f"medvision/_apps/{path.name}" for path in (ROOT / "apps").glob("*.py")),
        "medvision/_apps/viewer/built/viewer.js",
        "medvision/_apps/viewer/built/LICENSES.txt",
        "medvision/_datasets/msd.py",
    ):
        assert name in names
    assert not [n for n in names if n.startswith(("tests/", "apps/", "datasets/", "runs/"))]
    assert not [n for n in names if "node_modules" in n]
    assert wheel.stat().st_size < 21e6


def test_predict_works_in_an_empty_folder(installed, tmp_path):
    rng = np.random.default_rng(0)
    scan = nib.Nifti1Image(rng.normal(100, 20, (35, 50, 36)).astype(np.float32), np.eye(4))
    nib.save(scan, tmp_path / "scan.nii.gz")
    command = installed.parent / "medvision"
    done = subprocess.run(
        [command, "predict", "scan.nii.gz", "--model", "hippocampus", "--out", "results"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "results").iterdir()) == [
        "report.html",
        "results.csv",
        "run.json",
        "scan.json",
        "scan.nii.gz",
        "scan.png",
        "status.sqlite",
    ]
    listed = subprocess.run(
        [command, "models"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert str(installed.parent.parent) in listed  # not the repository's
    built = subprocess.run(
        [command, "datasets", "msd", ".", "--out", "cases.csv"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "is no Decathlon task" in built.stderr


def test_the_app_starts_from_the_wheel(installed, tmp_path):
    nib.save(nib.Nifti1Image(np.ones((9, 9, 9), np.uint8), np.eye(4)), tmp_path / "a.nii.gz")
    with serving(["medvision", "app", str(tmp_path)], python=str(installed)) as address:
        assert urllib.request.urlopen(f"{address}/_stcore/health").status == 200
        program = urllib.request.urlopen(f"{address}/medvision/viewer.js").read()
    assert program == (ROOT / "apps" / "viewer" / "built" / "viewer.js").read_bytes()
