"""Evaluate a predictor on cases whose truth is known."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from medvision.dataset import Case, read_case
from medvision.files import atomic_path
from medvision.geometry import voxel_mm3
from medvision.metrics import dice, hd95_mm
from medvision.predictor import Predictor
from medvision.progress import track


@dataclass(frozen=True)
class Score:
    """Agreement of one structure in one case."""

    case_id: str
    structure: str
    dice: float
    hd95_mm: float  # NaN when the structure is absent on either side
    truth_ml: float
    error_ml: float  # found minus truth


def evaluate(predictor: Predictor, cases: Sequence[Case], show: bool = True) -> list[Score]:
    """Predict every case and hold it against its mask, on the reference's own grid."""
    scores, names = [], predictor.spec.class_names
    for case in track(cases, "Evaluate", len(cases), show):
        study, truth = read_case(case, predictor.spec)
        found = predictor.predict(study).mask
        ml = voxel_mm3(found.affine) / 1000.0
        for label, name in enumerate(names, start=1):
            mine, yours = found.array[0] == label, truth.array[0] == label
            scores.append(
                Score(
                    case.case_id,
                    name,
                    dice(mine, yours),
                    hd95_mm(mine, yours, found.spacing),
                    truth_ml=float(yours.sum() * ml),
                    error_ml=float((mine.sum() - yours.sum()) * ml),
                )
            )
    return scores


def mean_dice(scores: Sequence[Score], structure: str) -> float:
    """Return the mean Dice of one structure."""
    return float(np.mean([s.dice for s in scores if s.structure == structure]))


def write_scores(scores: Sequence[Score], path: Path) -> Path:
    """Write one row a case and structure."""
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Score)])
        writer.writeheader()
        for score in scores:
            writer.writerow(
                {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(score).items()}
            )
    return path


def read_scores(path: Path) -> list[Score]:
    """Read what `write_scores` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Score(
                r["case_id"],
                r["structure"],
                float(r["dice"]),
                float(r["hd95_mm"]),
                float(r["truth_ml"]),
                float(r["error_ml"]),
            )
            for r in csv.DictReader(file)
        ]


def score_table(scores: Sequence[Score]) -> str:
    """Return a Markdown table of means (and standard deviations over cases)."""
    lines = [
        "| structure | cases | Dice | HD95, mm | volume error, ml | absolute, ml |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(s.structure for s in scores):
        rows = [s for s in scores if s.structure == name]
        overlap = np.array([s.dice for s in rows])
        far = np.array([s.hd95_mm for s in rows])
        error = np.array([s.error_ml for s in rows])
        lines.append(
            f"| {name} | {len(rows)} | {overlap.mean():.4f} ± {overlap.std():.4f} "
            f"| {np.nanmean(far):.2f} | {error.mean():+.3f} | {np.abs(error).mean():.3f} |"
        )
    return "\n".join(lines)
