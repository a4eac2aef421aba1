"""results.csv: one row a study, failed ones with their reason."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medvision.files import atomic_path
from medvision.prediction import DIGITS, Prediction, digits_of
from medvision.review import review_word
from medvision.spec import Task, label_of
from medvision.spreadsheet import harmless

SET, DECIDED = CALIBRATED = ("prediction_set", "decided")  # of a calibrated classification


def row_of(
    prediction: Prediction, source: str, seconds: float, files: Mapping[str, Path]
) -> dict[str, Any]:
    """Return the row of a study that was done.

    Of a segmentation it holds volumes in ml, of a classification probabilities, and where they are
    calibrated the prediction set and the classes that reach their thresholds. `source` is the
    scan's path as the user named it. `confidence` is that of the least sure structure or class, and
    `review` is as of `medvision.review.review_word`.
    """
    least = digits_of(prediction.least_confidence)
    row: dict[str, Any] = {
        "case_id": prediction.case_id,
        "source": source,
        "status": "ok",
        "reason": "",
        "warnings": "; ".join(prediction.warnings),
        "confidence": "" if least is None else least,
        "review": review_word(prediction),
        "seconds": seconds,
    }
    if prediction.scores is not None:
        row["predicted"] = prediction.predicted
        if prediction.calibration is not None:
            told = prediction.prediction_set, prediction.decided
            row |= {
                column: "" if names is None else label_of(names)
                for column, names in zip(CALIBRATED, told, strict=True)
            }
        return row | {
            f"{name}_probability": round(float(p), DIGITS) for name, p in prediction.scores.items()
        }
    structures = prediction.measure()
    for one in structures:
        row[f"{one.name}_ml"] = "" if one.ml is None else round(one.ml, 4)
        row[f"{one.name}_voxels"] = one.voxels
    row["touches_border"] = ", ".join(s.name for s in structures if s.touches_border)
    row["mask"] = files["nifti"].name if "nifti" in files else ""
    return row


def failed_row(case_id: str, source: str, reason: str, seconds: float) -> dict[str, Any]:
    """Return the row of a study that has no result."""
    return {
        "case_id": case_id,
        "source": source,
        "status": "failed",
        "reason": reason,
        "warnings": "",
        "seconds": seconds,
    }


def columns_of(task: Task, class_names: Sequence[str], calibrated: bool = False) -> list[str]:
    """Return the columns of the table."""
    columns = ["case_id", "source", "status", "reason", "warnings"]
    columns += ["confidence", "review", "seconds"]
    if task == "classification":
        columns += ["predicted", *(CALIBRATED if calibrated else ())]
        return [*columns, *(f"{name}_probability" for name in class_names)]
    for name in class_names:
        columns += [f"{name}_ml", f"{name}_voxels"]
    return [*columns, "touches_border", "mask"]


def write_results(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], path: Path) -> Path:
    """Write the table; it is whole or absent. What a failed study lacks stays empty."""
    with (
        atomic_path(path) as part,
        part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.DictWriter(file, columns, restval="")
        writer.writerow({name: harmless(name) for name in columns})
        writer.writerows({key: harmless(value) for key, value in row.items()} for row in rows)
    return path
