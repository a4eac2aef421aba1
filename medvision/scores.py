"""What an evaluation found, a row a case: to a CSV, and to the figures training looks at.

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

from medvision.errors import CasesError
from medvision.files import atomic_path
from medvision.lesions import LesionCounts
from medvision.metrics import auc
from medvision.spec import found_in, label_of, names_of
from medvision.spreadsheet import harmless, harmless_row, unquoted


@dataclass(frozen=True)
class MaskScore:
    """Agreement of one structure in one case; `MaskFigures` says what each figure is.

    Parameters
    ----------
    case_id, structure : str
    dice : float
    hd95_mm : float
        NaN when both are empty, or there are no mm; the grid's diagonal when one is empty.
    truth_ml, error_ml : float
        `error_ml` is found minus truth; NaN of pictures without known spacing.
    confidence : float, optional
        Of the model in the structure; None where it found none.
    iou : float, optional
    nsd : float, optional
        1 when both are empty, 0 when one is; NaN when there are no mm.
    assd_mm : float, optional
        NaN as `hd95_mm`.
    true_lesions, hit_lesions, found_lesions, false_lesions : int, optional
        As `LesionCounts` has them.

    Notes
    -----
    Tables of earlier versions lack what follows `confidence` (None), and their `hd95_mm` is NaN
    where one of the two is empty.
    """

    case_id: str
    structure: str
    dice: float
    hd95_mm: float
    truth_ml: float
    error_ml: float
    confidence: float | None = None
    iou: float | None = None
    nsd: float | None = None
    assd_mm: float | None = None
    true_lesions: int | None = None
    hit_lesions: int | None = None
    found_lesions: int | None = None
    false_lesions: int | None = None

    @property
    def lesions(self) -> LesionCounts | None:
        """The lesions of the case; add those of all cases before asking for sensitivity or F1."""
        counts = (self.true_lesions, self.hit_lesions, self.found_lesions, self.false_lesions)
        known = [count for count in counts if count is not None]
        return LesionCounts(*known) if len(known) == len(counts) else None

    @property
    def empty(self) -> str:
        """Which masks are empty: ``"both"`` (no distance), ``"truth"`` or ``"found"`` (the worst
        distance), or neither: ``""``, which is also said of tables of earlier versions.
        """
        if self.true_lesions is None or self.found_lesions is None:
            return ""
        if not self.true_lesions:
            return "truth" if self.found_lesions else "both"
        return "" if self.found_lesions else "found"

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
        columns = list(rows[0]) if rows else ["case_id"]
        writer = csv.DictWriter(file, [harmless(name) for name in columns])
        writer.writeheader()
        for row in rows:
            digits = 4 if "structure" in row else 6
            writer.writerow(
                harmless_row(
                    {
                        k: round(v, 6 if k == "confidence" else digits)
                        if isinstance(v, float)
                        else v
                        for k, v in row.items()
                    }
                )
            )
    return path


def read_scores(path: Path) -> list[Score]:
    """Read what `write_scores` wrote.

    Raises
    ------
    CasesError
        When the file is no such table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                score_of({unquoted(name): unquoted(value) for name, value in row.items()})
                for row in csv.DictReader(file, restkey="", restval="")
            ]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise CasesError(f"{path} is no table of scores: {type(error).__name__} {error}.") from None


def score_of(row: Mapping[str, str]) -> Score:
    """Return the score that a row of a CSV holds."""
    said = row.get("confidence", "")  # earlier tables have no such column
    sure = float(said) if said else None
    if "structure" in row:
        held = [f.name for f in fields(MaskScore)[2:] if row.get(f.name)]  # earlier tables: fewer
        numbers: dict[str, Any] = {
            name: int(row[name]) if name.endswith("_lesions") else float(row[name]) for name in held
        }
        return MaskScore(row["case_id"], row["structure"], **numbers)
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

    Of masks the mean Dice of the structures that the truth has, 1 where there is none, and that of
    each structure that is there or was found. Of classes the AUC and the accuracy, and where the
    cases lack a class, so that there is no AUC, the negative log-likelihood's negative. Of classes
    that come together the mean AUC, the log-likelihood and the AUC of each class; those that all
    cases have, or none, have no AUC.
    """
    masks = [s for s in scores if isinstance(s, MaskScore)]
    if masks:
        names = dict.fromkeys(s.structure for s in masks)
        each = {f"dice/{name}": mean_dice(masks, name) for name in names}
        told = {name: mean for name, mean in each.items() if not np.isnan(mean)}
        true = dict.fromkeys(s.structure for s in masks if s.empty not in ("both", "truth"))
        means = [told[f"dice/{name}"] for name in true]
        return {"dice": float(np.mean(means)) if means else 1.0, **told}
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
    """Return the mean Dice of one structure over the cases in which it is there or was found."""
    mine = [s for s in scores if isinstance(s, MaskScore) and s.structure == structure]
    told = [s.dice for s in mine if s.empty != "both"]
    return float(np.mean(told)) if told else float("nan")
