"""What a training says while it runs: log.csv, and TensorBoard's scalars, curves and pictures."""

from __future__ import annotations

import csv
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from medvision.dataset import Case, read_case, read_images
from medvision.files import write_text
from medvision.predictor import Predictor
from medvision.render import overlay_png, scores_png
from medvision.scores import MaskScore, Score, figures, true_classes

LOG = "log.csv"
EVERY = 10  # steps between two lines
RECENT = 20  # steps whose mean loss is shown
PICTURES = 2  # validation cases drawn
WATCHED = {"dice": "Dice", "auc": "AUC", "log_likelihood": "log likelihood"}


class TrainingLog:
    """Append to the records of a run folder; a process that is not the first keeps none.

    What was noted after `step`, by a run that was cut off and goes on from there, is dropped.
    """

    def __init__(self, folder: Path, step: int = 0, first: bool = True) -> None:
        self.path = folder / LOG
        self.losses: list[float] = []
        self.recent: deque[float] = deque(maxlen=RECENT)
        self.looked = ""  # what the last look at the validation cases showed
        self.board: SummaryWriter | None = None
        self.started = time.monotonic()
        if first:
            folder.mkdir(parents=True, exist_ok=True)
            self.started -= keep_until(self.path, step)
            self.board = SummaryWriter(folder / "tensorboard", purge_step=step + 1)

    def step(self, step: int, loss: float, rate: float) -> None:
        """Note one training step; every tenth is written, with the mean loss since the last."""
        if self.board is None:
            return
        self.losses.append(loss)
        self.recent.append(loss)
        if step % EVERY:
            return
        mean, self.losses = float(np.mean(self.losses)), []
        self.board.add_scalar("loss/train", mean, step)
        self.board.add_scalar("learning_rate", rate, step)
        self._append(step, "loss", mean)

    def validate(
        self, step: int, scores: Sequence[Score], predictor: Predictor, cases: Sequence[Case]
    ) -> None:
        """Note the scores of validation cases, and draw the first of them.

        A classification gets a precision-recall curve of each class, too.
        """
        if self.board is None:
            return
        found = figures(scores)
        name, value = next(iter(found.items()))
        self.looked = f"{WATCHED[name]} {value:.2f} at {step}"
        for name, value in found.items():
            self.board.add_scalar(f"validation/{name}", value, step)
            self._append(step, name.replace("/", "_"), value)
        classes = [s for s in scores if not isinstance(s, MaskScore)]
        for name in predictor.spec.class_names if classes else ():
            truth = np.array([name in true_classes(s) for s in classes])
            self.board.add_pr_curve(name, truth, np.array([s.scores[name] for s in classes]), step)
        for case in cases[:PICTURES]:
            self._draw(step, predictor, case)
        self.board.flush()

    def words(self) -> str:
        """Return how it goes: the mean loss of the last steps, and the last validation figure."""
        loss = f"loss {np.mean(self.recent):.2f}" if self.recent else ""
        return " · ".join(filter(None, (loss, self.looked)))

    def _draw(self, step: int, predictor: Predictor, case: Case) -> None:
        assert self.board is not None
        names = predictor.spec.class_names
        if predictor.spec.task == "segmentation":
            study, truth = read_case(case, predictor.spec)
            reference, found = next(iter(study.volumes.values())), predictor.predict(study).mask
            pictures = {"truth": overlay_png(reference, truth, names)}
            if found is not None:
                pictures["found"] = overlay_png(reference, found, names)
        else:
            study = read_images(case, predictor.spec)
            reference, scores = next(iter(study.volumes.values())), predictor.predict(study).scores
            pictures = {"found": scores_png(reference, scores or {}, f"is {case.label}")}
        for kind, picture in pictures.items():
            tag = f"{case.case_id}/{kind}"
            self.board.add_image(tag, np.asarray(picture), step, dataformats="HWC")

    def close(self) -> None:
        """Finish writing."""
        if self.board is not None:
            self.board.close()

    def _append(self, step: int, what: str, value: float) -> None:
        new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "what", "value", "seconds"])
            writer.writerow([step, what, f"{value:.5f}", f"{time.monotonic() - self.started:.1f}"])


def keep_until(log: Path, step: int) -> float:
    """Drop the lines of a log.csv after `step`; return the seconds the run had taken by then."""
    try:
        head, *rows = log.read_text(encoding="utf-8").splitlines()
        kept = [row for row in rows if int(row.split(",")[0]) <= step]
        seconds = float(kept[-1].split(",")[-1]) if kept else 0.0
    except (OSError, ValueError):
        return 0.0
    write_text(log, "\n".join([head, *kept, ""]))
    return seconds
