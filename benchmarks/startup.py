"""Time to import medvision, to answer --help and to have a model ready, beside its peers.

Each in a fresh process.

    python benchmarks/startup.py

Peers that are not installed are left out.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from importlib.util import find_spec

ROUNDS = 9
COMMANDS = {
    "python, nothing imported": ["-c", "pass"],
    "import medvision": ["-c", "import medvision"],
    "medvision --help": ["-m", "medvision", "--help"],
    "a predictor, loaded": ["-c", "import medvision; medvision.load_predictor('hippocampus')"],
    "import monai": ["-c", "import monai"],
    "import torchio": ["-c", "import torchio"],
    "import SimpleITK": ["-c", "import SimpleITK"],
}


def seconds(arguments: list[str]) -> float:
    """Run Python once and return the wall time."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Take turns, so that noise falls on all alike; print medians."""
    chosen = {
        name: arguments
        for name, arguments in COMMANDS.items()
        if not name.startswith("import") or find_spec(name.split()[1])
    }
    times: dict[str, list[float]] = {name: [] for name in chosen}
    for _ in range(ROUNDS):
        for name, arguments in chosen.items():
            times[name].append(seconds(arguments))
    print("| command | seconds, median |\n|---|---|")
    for name, values in times.items():
        print(f"| {name} | {statistics.median(values):.2f} |")


if __name__ == "__main__":
    main()
