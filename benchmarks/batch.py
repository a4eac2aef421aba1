"""Many studies: how much of the time the device works, and whether memory grows with their number.

    python benchmarks/batch.py

The device is a stub that sleeps: each of 50 studies takes 0.2 s to read and 0.2 s on the device, so
that one after the other it would be busy half the time. Memory is that of a run over 520 scans of
64³ voxels, with files and tables written, in a process of its own (Linux). The measuring is that of
tests/test_pipeline.py.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from batch_measures import busy_share, memory_mb

import medvision

COUNT, READING, NETWORK = 50, 0.2, 0.2  # seconds
PACKAGES = ("torch", "nibabel", "pillow")


def processor() -> str:
    """Return the name of the processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))


def main() -> None:
    """Measure both and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        share, seconds = busy_share(Path(folder), READING, NETWORK, COUNT)
    with tempfile.TemporaryDirectory() as folder:
        early, late = memory_mb(Path(folder))
    rows = {
        f"device busy over {COUNT} studies": f"{share:.1%}",
        f"seconds for {COUNT} studies": f"{seconds:.2f}",
        "resident at study 50, MB": f"{early:.0f}",
        "resident at study 500, MB": f"{late:.0f}",
        "study 500 by study 50": f"{late / early:.3f}",
    }
    print("| | |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")
    installed = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    print(
        f"\n{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}; "
        f"medvision {medvision.__version__}, {installed}."
    )


if __name__ == "__main__":
    main()
