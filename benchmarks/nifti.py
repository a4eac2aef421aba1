"""Seconds to read and write a .nii.gz of 256³ voxels, beside nibabel and SimpleITK, in one run.

    python benchmarks/nifti.py

A scan (int16, smooth with noise) and a mask (uint8, four labels of it). All read the file that
nibabel wrote; all write from voxels in NumPy's own order, as a network gives them, and medvision
waits for the disk. In turns; medians of nine; in brackets, the median over the turns of medvision's
time by theirs.
"""

from __future__ import annotations

import gzip
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK
from reading import processor, voxels

from medvision import Volume, read_volume, save_nifti

ROUNDS = 9
SIDE = 256
PACKAGES = ("medvision-toolkit", "isal", "nibabel", "SimpleITK", "numpy")


def scan() -> np.ndarray[Any, np.dtype[np.int16]]:
    """Return soft tissue in air with noise, HU, (SIDE, SIDE, SIDE)."""
    i, j, k = np.meshgrid(*[np.arange(SIDE) - SIDE / 2] * 3, indexing="ij", sparse=True)
    body = (i / 100) ** 2 + (j / (80 + 10 * np.sin(k / 20))) ** 2 < 1
    smooth = body * (1040 + 150 * np.sin(i / 20 + k / 15) * np.cos(j / 15))
    noise = np.random.default_rng(0).normal(0, 15, (SIDE,) * 3)
    return (np.clip(np.rint(smooth + noise), 0, 4095) - 1024).astype(np.int16)


READERS: dict[str, Callable[[Path], np.ndarray[Any, Any] | SimpleITK.Image]] = {
    "medvision": lambda path: read_volume(path).array[0],
    "nibabel": lambda path: np.asarray(nib.load(path).dataobj),
    "SimpleITK": lambda path: SimpleITK.ReadImage(str(path)),  # not yet copied to NumPy
}
WRITERS: dict[str, Callable[[np.ndarray[Any, Any], Path], object]] = {
    "medvision": lambda array, path: save_nifti(Volume(array[None], np.eye(4)), path),
    "nibabel": lambda array, path: nib.save(nib.Nifti1Image(array, np.eye(4)), path),
    "SimpleITK": lambda array, path: SimpleITK.WriteImage(
        SimpleITK.GetImageFromArray(array.T), str(path), useCompression=True
    ),
}


def seconds(act: Callable[..., object], *given: object) -> float:
    """Return how long it takes."""
    start = time.perf_counter()
    act(*given)
    return time.perf_counter() - start


def check(path: Path, truth: np.ndarray[Any, Any]) -> None:
    """Raise when a reader finds other voxels in a file, or its checksum is wrong."""
    for read in READERS.values():
        found = read(path)
        values = voxels(found)  # of ITK's image they are (K, J, I)
        assert np.array_equal(values.T if isinstance(found, SimpleITK.Image) else values, truth)
    with gzip.open(path) as file:
        assert file.read().endswith(truth.tobytes(order="F"))


def compare(name: str, array: np.ndarray[Any, Any], top: Path) -> None:
    """Write and read an array in turns, and print its lines of the table."""
    files = {who: top / f"{name}-{who}.nii.gz" for who in WRITERS}
    read: dict[str, list[float]] = {who: [] for who in READERS}
    write: dict[str, list[float]] = {who: [] for who in WRITERS}
    for _ in range(ROUNDS):
        for who, path in files.items():
            write[who].append(seconds(WRITERS[who], array, path))
        for who in READERS:
            read[who].append(seconds(READERS[who], files["nibabel"]))
    for path in files.values():
        check(path, array)
    sizes = [path.stat().st_size for path in files.values()]
    cells = [f"{size / 1e6:.2f} ({sizes[0] / size:.2f})" for size in sizes]
    print(row(f"{name}, read, s", read))
    print(row(f"{name}, write, s", write))
    print(f"| {name}, MB | {' | '.join(cells)} |")


def row(name: str, times: dict[str, list[float]]) -> str:
    """Return a line of the table."""
    cells = []
    for taken in times.values():
        by = statistics.median(np.divide(times["medvision"], taken))
        cells.append(f"{statistics.median(taken):.3f} ({by:.2f})")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Measure, check, and print the table."""
    values = scan()
    print(f"| | {' | '.join(READERS)} |\n|---|{'---|' * len(READERS)}")
    with tempfile.TemporaryDirectory() as top:
        compare("scan", values, Path(top))
        compare("mask", np.digitize(values, [-500, 0, 50, 100]).astype(np.uint8), Path(top))
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    print(f"\n{processor()}; Python {platform.python_version()}; {versions}.")


if __name__ == "__main__":
    main()
