"""What an evaluation found, a row a case: to a CSV, to a table, to the figures training looks at.

Knows nothing of models; `evaluate` fills it.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvision.files import atomic_path
from medvision.metrics import auc, auprc
from medvision.spec import found_in, label_of, names_of


@dataclass(frozen=True)
class MaskScore:
    """Agreement of one structure in one case."""

    case_id: str
    structure: str
    dice: float
    hd95_mm: float  # NaN when the structure is absent on either side
    truth_ml: float
    error_ml: float  # found minus truth
    confidence: float | None = None  # of the model in the structure; None where it found none

    def row(self) -> dict[str, Any]:
        """Return what a CSV holds."""
        return asdict(self)


@dataclass(frozen=True)
class ClassScore:
    """What a classification said of one case, and what is true."""

    case_id: str
    truth: str
    scores: Mapping[str, float]  # class → probability
    confidence: float | None = None  # of the model in its answer

    @property
    def predicted(self) -> str:
        """The likeliest class."""
        return max(self.scores, key=lambda name: self.scores[name])

    def row(self) -> dict[str, Any]:
        """Return what a CSV holds."""
        shares = {f"{name}_probability": share for name, share in self.scores.items()}
        return {
            "case_id": self.case_id,
            "truth": self.truth,
            "predicted": self.predicted,
            **shares,
            "confidence": self.confidence,
        }


@dataclass(frozen=True)
class LabelScore:
    """What a classification said of a case that may have several classes, and what is true."""

    case_id: str
    truths: tuple[str, ...]
    scores: Mapping[str, float]  # class → probability; they do not sum to 1
    confidence: float | None = None  # of the model in the class that it is least sure of

    def row(self) -> dict[str, Any]:
        """Return what a CSV holds; the column ``truths`` tells it from a `ClassScore`."""
        shares = {f"{name}_probability": share for name, share in self.scores.items()}
        return {
            "case_id": self.case_id,
            "truths": label_of(self.truths),
            "predicted": label_of(found_in(self.scores)),
            **shares,
            "confidence": self.confidence,
        }


Score = MaskScore | ClassScore | LabelScore


def true_classes(score: ClassScore | LabelScore) -> tuple[str, ...]:
    """Return the classes that a case has: one, or any number."""
    return score.truths if isinstance(score, LabelScore) else (score.truth,)


def write_scores(scores: Sequence[Score], path: Path) -> Path:
    """Write one row a case, and of masks one a case and structure."""
    rows = [score.row() for score in scores]
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["case_id"])
        writer.writeheader()
        for row in rows:
            digits = 4 if "structure" in row else 6
            writer.writerow(
                {
                    k: round(v, 6 if k == "confidence" else digits) if isinstance(v, float) else v
                    for k, v in row.items()
                }
            )
    return path


def read_scores(path: Path) -> list[Score]:
    """Read what `write_scores` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        return [score_of(row) for row in csv.DictReader(file)]


def score_of(row: Mapping[str, str]) -> Score:
    """Return the score that a row of a CSV holds."""
    said = row.get("confidence", "")  # earlier tables have no such column
    sure = float(said) if said else None
    if "structure" in row:
        numbers = {f.name: float(row[f.name]) for f in fields(MaskScore)[2:-1]}
        return MaskScore(row["case_id"], row["structure"], **numbers, confidence=sure)
    end = "_probability"
    shares = {k.removesuffix(end): float(v) for k, v in row.items() if k.endswith(end)}
    if "truths" in row:
        return LabelScore(row["case_id"], names_of(row["truths"]), shares, sure)
    return ClassScore(row["case_id"], row["truth"], shares, sure)


def least_confidences(scores: Sequence[Score]) -> list[float]:
    """Return how sure a model was of each case, by what it was least sure of.

    As `Prediction.least_confidence`; cases in which nothing was found have none.
    """
    least: dict[str, float] = {}
    for score in scores:
        if score.confidence is not None:
            least[score.case_id] = min(score.confidence, least.get(score.case_id, 1.0))
    return list(least.values())


def figures(scores: Sequence[Score]) -> dict[str, float]:
    """Return the figures to watch, the first being the one that training selects by.

    Of masks the mean Dice and that of each structure; of classes the AUC and the accuracy, and
    where the cases lack a class, so that there is no AUC, the negative log-likelihood's negative.
    Of classes that come together the mean AUC, the log-likelihood and the AUC of each class; those
    that all cases have, or none, have no AUC.
    """
    masks = [s for s in scores if isinstance(s, MaskScore)]
    if masks:
        names = dict.fromkeys(s.structure for s in masks)
        each = {f"dice/{name}": mean_dice(masks, name) for name in names}
        return {"dice": float(np.mean(list(each.values()))), **each}
    labels = [s for s in scores if isinstance(s, LabelScore)]
    if labels:
        return label_figures(labels)
    truth, shares = arrays([s for s in scores if isinstance(s, ClassScore)])
    right = float((shares.argmax(axis=1) == truth).mean())
    likely = float(np.log(shares[np.arange(len(truth)), truth].clip(1e-12)).mean())
    area = auc(truth, shares)
    known = {} if np.isnan(area) else {"auc": area}
    return {**known, "log_likelihood": likely, "accuracy": right}


def arrays(scores: Sequence[ClassScore]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the true class numbers (M,) and the probabilities (M, N)."""
    names = list(scores[0].scores)
    truth = np.array([names.index(s.truth) for s in scores])
    return truth, np.array([[s.scores[name] for name in names] for s in scores])


def label_figures(scores: Sequence[LabelScore]) -> dict[str, float]:
    """Return the figures of classes that come together."""
    truth, shares = label_arrays(scores)
    likely = float(np.log(np.where(truth, shares, 1 - shares).clip(1e-12)).mean())
    areas = {f"auc/{name}": yes_no(auc, truth[:, n], shares[:, n]) for n, name in names_in(scores)}
    known = {name: area for name, area in areas.items() if not np.isnan(area)}
    mean = {"auc": float(np.mean(list(known.values())))} if known else {}
    return {**mean, "log_likelihood": likely, **known}


def names_in(scores: Sequence[LabelScore]) -> list[tuple[int, str]]:
    """Return the classes with their numbers."""
    return list(enumerate(scores[0].scores))


def label_arrays(scores: Sequence[LabelScore]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which classes each case has (M, N), and the probabilities (M, N)."""
    names = list(scores[0].scores)
    truth = np.array([[name in s.truths for name in names] for s in scores])
    return truth, np.array([[s.scores[name] for name in names] for s in scores])


def yes_no(
    metric: Callable[[NDArray[np.integer], NDArray[np.floating]], float],
    truth: NDArray[np.bool_],
    share: NDArray[np.float64],
) -> float:
    """Return a metric of one class by itself, from who has it (M,) and its probability (M,)."""
    return metric(truth.astype(np.int64), np.stack([1 - share, share], axis=1))


def mean_dice(scores: Sequence[Score], structure: str) -> float:
    """Return the mean Dice of one structure."""
    found = [s.dice for s in scores if isinstance(s, MaskScore) and s.structure == structure]
    return float(np.mean(found))


def score_table(scores: Sequence[Score]) -> str:
    """Return a Markdown table: of masks means (± standard deviations over cases) per structure,
    of classes AUC and accuracy, and the share of each class that was found; of classes that come
    together a row each, with sensitivity and specificity where a half or more counts as found.
    """
    labels = [s for s in scores if isinstance(s, LabelScore)]
    if labels:
        return label_table(labels)
    masks = [s for s in scores if isinstance(s, MaskScore)]
    classes = [s for s in scores if isinstance(s, ClassScore)]
    return mask_table(masks) if masks else class_table(classes)


def mask_table(scores: Sequence[MaskScore]) -> str:
    """Return the table of a segmentation."""
    lines = [
        "| structure | cases | Dice | HD95, mm | volume error, ml | absolute, ml |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(s.structure for s in scores):
        rows = [s for s in scores if s.structure == name]
        overlap = np.array([s.dice for s in rows])
        far = np.array([s.hd95_mm for s in rows])
        far = far[~np.isnan(far)]
        error = np.array([s.error_ml for s in rows])
        distance = f"{far.mean():.2f}" if far.size else "–"
        lines.append(
            f"| {name} | {len(rows)} | {overlap.mean():.4f} ± {overlap.std():.4f} "
            f"| {distance} | {error.mean():+.3f} | {np.abs(error).mean():.3f} |"
        )
    return "\n".join(lines)


def class_table(scores: Sequence[ClassScore]) -> str:
    """Return the table of a classification."""
    truth, shares = arrays(scores)
    found, names = shares.argmax(axis=1), list(scores[0].scores)
    right = found == truth
    recalls = [float(right[truth == c].mean()) for c in range(len(names)) if (truth == c).any()]
    area = auc(truth, shares)
    lines = [
        "| cases | AUC | accuracy | balanced accuracy |",
        "|---|---|---|---|",
        f"| {len(scores)} | {'–' if np.isnan(area) else f'{area:.4f}'} | {right.mean():.4f} "
        f"| {np.mean(recalls):.4f} |",
        "",
        "| class | cases | of these found | of those found, right |",
        "|---|---|---|---|",
    ]
    for number, name in enumerate(names):
        mine, said = truth == number, found == number
        recall = f"{right[mine].mean():.4f}" if mine.any() else "–"
        precision = f"{right[said].mean():.4f}" if said.any() else "–"
        lines.append(f"| {name} | {mine.sum()} | {recall} | {precision} |")
    return "\n".join(lines)


def label_table(scores: Sequence[LabelScore]) -> str:
    """Return the table of a classification into classes that come together."""
    truth, shares = label_arrays(scores)
    found, area = shares >= 0.5, label_figures(scores).get("auc", float("nan"))
    lines = [
        "| cases | mean AUC |",
        "|---|---|",
        f"| {len(scores)} | {in_digits(area)} |",
        "",
        "| class | cases with it | AUC | AUPRC | sensitivity | specificity |",
        "|---|---|---|---|---|---|",
    ]
    for number, name in names_in(scores):
        mine, said, share = truth[:, number], found[:, number], shares[:, number]
        sensitivity = said[mine].mean() if mine.any() else float("nan")
        specificity = (~said[~mine]).mean() if not mine.all() else float("nan")
        numbers = (yes_no(auc, mine, share), yes_no(auprc, mine, share), sensitivity, specificity)
        lines.append(f"| {name} | {mine.sum()} | {' | '.join(map(in_digits, numbers))} |")
    return "\n".join(lines)


def in_digits(value: float) -> str:
    """Return a figure as a table shows it; a dash where there is none."""
    return "–" if np.isnan(value) else f"{value:.4f}"
