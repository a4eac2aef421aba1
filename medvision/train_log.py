"""What a training says while it runs: log.csv, and TensorBoard scalars and pictures."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from medvision.dataset import Case, read_case
from medvision.evaluate import evaluate, mean_dice
from medvision.predictor import Predictor
from medvision.render import overlay_png

LOG = "log.csv"
EVERY = 10  # steps between two lines
PICTURES = 2  # validation cases drawn


class TrainingLog:
    """Append to the records of a run folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / LOG
        self.board = SummaryWriter(folder / "tensorboard")
        self.started = time.monotonic() - seconds_before(self.path)
        self.losses: list[float] = []

    def step(self, step: int, loss: float, rate: float) -> None:
        """Note one training step; every tenth is written, with the mean loss since the last."""
        self.losses.append(loss)
        if step % EVERY:
            return
        mean, self.losses = float(np.mean(self.losses)), []
        self.board.add_scalar("loss/train", mean, step)
        self.board.add_scalar("learning_rate", rate, step)
        self._append(step, "loss", mean)

    def validate(self, step: int, predictor: Predictor, cases: Sequence[Case]) -> None:
        """Score some validation cases, and draw the first of them."""
        scores = evaluate(predictor, cases, show=False)
        for name in predictor.spec.class_names:
            value = mean_dice(scores, name)
            self.board.add_scalar(f"dice/{name}", value, step)
            self._append(step, f"dice_{name}", value)
        for case in cases[:PICTURES]:
            study, truth = read_case(case, predictor.spec)
            found = predictor.predict(study).mask
            reference = next(iter(study.volumes.values()))
            for kind, mask in (("truth", truth), ("found", found)):
                picture = overlay_png(reference, mask, predictor.spec.class_names)
                tag = f"{case.case_id}/{kind}"
                self.board.add_image(tag, np.asarray(picture), step, dataformats="HWC")
        self.board.flush()

    def close(self) -> None:
        """Finish writing."""
        self.board.close()

    def _append(self, step: int, what: str, value: float) -> None:
        new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "what", "value", "seconds"])
            writer.writerow([step, what, f"{value:.5f}", f"{time.monotonic() - self.started:.1f}"])


def seconds_before(log: Path) -> float:
    """Return how long the run had taken when it was last stopped; 0 for a new one."""
    try:
        return float(log.read_text(encoding="utf-8").splitlines()[-1].split(",")[-1])
    except (OSError, ValueError, IndexError):
        return 0.0
