"""A result as a table of its own: one row a structure, or one row a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medvision.outputs.table import write_results
from medvision.prediction import Prediction, Structure, digits_of, rounded
from medvision.study import Study

CENTROID = ("centroid_x_mm", "centroid_y_mm", "centroid_z_mm")  # RAS
EXTENT = ("extent_i_mm", "extent_j_mm", "extent_k_mm")  # along the voxel axes
STRUCTURE_COLUMNS = (
    *("name", "label", "voxels", "ml", *CENTROID, *EXTENT, "touches_border"),
    "confidence",
)


def save_measurements(prediction: Prediction, study: Study, path: Path) -> Path:
    """Write the measurements of a segmentation, or the probabilities of a classification, as CSV.

    Of a segmentation each structure has what `Structure` holds, its center in RAS mm, and how sure
    the model is of it; what is not known stays empty. Of a classification each class has its
    probability, and what the model said to each of its inputs alone. Names that a spreadsheet would
    run as a formula are quoted, as in results.csv.
    """
    if prediction.mask is not None:
        sure = prediction.confidence
        rows = [structure_row(one, sure.get(one.name)) for one in prediction.measure()]
        return write_results(rows, STRUCTURE_COLUMNS, path)
    columns = {"probability": rounded(prediction.scores or {})}
    columns |= {f"{what}_alone": rounded(scores) for what, scores in prediction.alone.items()}
    rows = [
        {"name": name, **{column: scores[name] for column, scores in columns.items()}}
        for name in prediction.class_names
    ]
    return write_results(rows, ["name", *columns], path)


def structure_row(one: Structure, confidence: float | None = None) -> dict[str, Any]:
    """Return the row of a structure."""
    row: dict[str, Any] = {"name": one.name, "label": one.label, "voxels": one.voxels}
    row["ml"] = "" if one.ml is None else one.ml
    row |= spread(CENTROID, one.centroid_mm) | spread(EXTENT, one.extent_mm)
    row["confidence"] = "" if confidence is None else digits_of(confidence)
    return row | {"touches_border": "yes" if one.touches_border else "no"}


def spread(columns: Sequence[str], values: Sequence[float] | None) -> dict[str, float]:
    """Return a column a value; none where there are no values."""
    return dict(zip(columns, values or (), strict=bool(values)))
