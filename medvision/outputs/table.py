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
from medvision.study import Study, StudyRef, digest_of

SET, DECIDED = CALIBRATED = ("prediction_set", "decided")  # of a calibrated classification

FAILURES = UNREADABLE, SERIES, MODEL, OTHER = ("unreadable", "series", "model", "other")  # kinds


def series_of(study: Study) -> dict[str, str]:
    """Return what tells whereof a result is: ``series``, ``modality`` and ``study_key``.

    Labels as `medvision info` shows them, never words of a header; of several inputs each with its
    name: ``"t1=2; flair=3"``.
    """
    volumes = study.volumes
    return {
        "series": joined({name: one.label for name, one in study.series.items()}),
        "modality": joined({name: one.info.modality for name, one in volumes.items()}),
        "study_key": digest_of(study.image.info.study_uid),
    }


def joined(words: Mapping[str, str]) -> str:
    """Return a word of each input; the only one without its input's name."""
    if len(words) < 2:
        return "".join(words.values())
    return "; ".join(f"{name}={word}" for name, word in words.items() if word)


def candidates_of(ref: StudyRef) -> dict[str, str]:
    """Return the same of a study that was not read, as far as it is clear without choosing."""
    images = [one for one in ref.series if one.role == "image"]
    modalities = dict.fromkeys(one.modality for one in images if one.modality)
    return {
        "series": images[0].label if len(images) == 1 else "",
        "modality": ", ".join(modalities),
        "study_key": ref.key,
    }


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
        "failure": "",
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


def failed_row(
    case_id: str, source: str, reason: str, seconds: float, failure: str = OTHER
) -> dict[str, Any]:
    """Return the row of a study that has no result; `failure` is one of `FAILURES`."""
    return {
        "case_id": case_id,
        "source": source,
        "status": "failed",
        "failure": failure,
        "reason": reason,
        "warnings": "",
        "seconds": seconds,
    }


def columns_of(task: Task, class_names: Sequence[str], calibrated: bool = False) -> list[str]:
    """Return the columns of the table.

    ``study`` is what `medvision info` calls the study, whatever series or box a run takes of it.
    ``study_key`` is `StudyRef.key`, the same wherever the files lie.
    """
    columns = ["case_id", "source", "study", "series", "modality"]
    columns += ["status", "failure", "reason", "warnings", "confidence", "review", "seconds"]
    if task == "classification":
        columns += ["predicted", *(CALIBRATED if calibrated else ())]
        return [*columns, *(f"{name}_probability" for name in class_names), "study_key"]
    for name in class_names:
        columns += [f"{name}_ml", f"{name}_voxels"]
    return [*columns, "touches_border", "mask", "study_key"]


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
