"""Trainings that one process runs as well as several: `torchrun tests/ddp_trainings.py CASES OUT`.

`test_ddp` runs them both ways and holds the results against each other.
"""

import atexit
import os
import sys
from dataclasses import replace
from pathlib import Path

from medvision.cross_validation import train_folds
from medvision.dataset import Case, read_cases
from medvision.errors import TrainingError
from medvision.intensity_spec import Intensity
from medvision.losses import SupervisedDice
from medvision.plan_file import Plan
from medvision.spec import InputSpec, ModelSpec
from medvision.train import train
from medvision.train_config import TrainConfig

NETWORK = {"features": (4, 8, 16)}
CONFIG = TrainConfig(steps=12, batch_size=4, learning_rate=0.01, ema=0.8, eval_every=4)
BALLS = ModelSpec(
    "balls", "segmentation", "unet3d", ("ball",), (1, 1, 1), (24, 24, 20), network=NETWORK
)
KINDS = ModelSpec(
    "kinds",
    "classification",
    "cnn3d",
    ("a", "b"),
    (1, 1, 1),
    (24, 24, 20),
    network={**NETWORK, "norm": "group"},
    inputs=(InputSpec(intensity=Intensity("window", low=-50, high=100)),),
)


def labeled(cases: list[Case]) -> list[Case]:
    """Give cases labels, twice as many of one as of the other."""
    return [replace(c, label="aba"[n % 3]) for n, c in enumerate(cases)]


def run_all(table: Path, out: Path) -> None:
    """Segment, classify and cross-validate, one after the other."""
    cases = read_cases(table)
    frozen = replace(CONFIG, freeze=1)
    train(cases[:4], cases[4:5], BALLS, frozen, out / "masks", "cpu", show=False)  # one validates
    kinds, picky = labeled(cases), replace(CONFIG, keep="best", class_weights="balanced")
    train(kinds[:3], kinds[3:], KINDS, picky, out / "labels", "cpu", show=False)
    short = Plan(BALLS, replace(CONFIG, steps=4, accumulate=2, workers=1, memory_gb=1e-4), {})
    train_folds(table, out / "folds", short, folds=3, device="cpu", show=False)


def fail_on_the_second(table: Path, out: Path) -> None:
    """Let the loss of the second process alone be no number, and write what every process says."""
    rank, forward = int(os.environ["RANK"]), SupervisedDice.forward
    SupervisedDice.forward = lambda self, *given: (
        forward(self, *given) * (float("nan"), 1)[rank < 1]
    )
    try:
        train(read_cases(table), [], BALLS, CONFIG, out / "nan", "cpu", show=False)
    except TrainingError as error:
        (out / f"nan_{rank}.txt").write_text(str(error))


def write_threads(out: Path) -> None:
    """Write the names of the threads that still run when Python is about to end."""
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").glob("*")]
    (out / f"threads_{os.environ['RANK']}.txt").write_text("\n".join(names))


if __name__ == "__main__":
    if Path("/proc/self/task").is_dir():
        atexit.register(write_threads, Path(sys.argv[2]))  # what comes first is called last
    run_all(Path(sys.argv[1]), Path(sys.argv[2]))
    fail_on_the_second(Path(sys.argv[1]), Path(sys.argv[2]))
