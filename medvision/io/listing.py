"""Lists of what was found, as JSON and CSV, and dates read from the files on request."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from io import StringIO
from pathlib import Path

from medvision.errors import MedvisionError
from medvision.files import write_text
from medvision.io.archive import archive_of, unpacked
from medvision.io.dicom.elements import read_elements
from medvision.spreadsheet import harmless_row
from medvision.study import SeriesRef, StudyRef

COLUMNS = (
    *("case_id", "patient", "date", "path", "study_uid", "series", "role", "format", "modality"),
    *("description", "plane", "contrast", "shape", "spacing_mm", "orientation", "files"),
    *("problem", "notes"),
)


def study_dates(refs: Sequence[StudyRef]) -> list[str]:
    """Return each study's date (YYYY-MM-DD) as its files say; empty when they do not."""
    return [study_date(ref) for ref in refs]


def study_date(ref: StudyRef) -> str:
    """Return the date of one study."""
    files = [one.files[0] for one in ref.series if one.format == "dicom" and one.files]
    for file in files:
        try:
            if archive_of(file) is None:
                said = read_elements(file).text("StudyDate")
            else:
                with unpacked(file) as place:
                    said = read_elements(place).text("StudyDate")
        except (MedvisionError, OSError):
            continue
        digits = said.replace(".", "")
        if len(digits) == 8:
            return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"
    return ""


def write_json(refs: Sequence[StudyRef], path: Path, dates: Sequence[str] | None = None) -> Path:
    """Write studies as a list of objects, paths as the user named them."""
    studies = []
    for n, ref in enumerate(refs):
        found = asdict(ref)
        if dates:
            found["date"] = dates[n]
        studies.append(found)
    return write_text(path, json.dumps(studies, indent=2, default=str) + "\n")


def write_csv(refs: Sequence[StudyRef], path: Path, dates: Sequence[str] | None = None) -> Path:
    """Write a row a series."""
    text = StringIO()
    rows = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    rows.writeheader()
    for n, ref in enumerate(refs):
        day = "" if ref.day is None else f"day {ref.day}"
        for one in ref.series:
            rows.writerow(harmless_row(row_of(ref, one, dates[n] if dates else day)))
    return write_text(path, text.getvalue())


def row_of(ref: StudyRef, one: SeriesRef, date: str) -> dict[str, object]:
    """Return one row of the CSV."""
    return {
        "case_id": ref.case_id,
        "patient": ref.patient,
        "date": date,
        "path": ref.path,
        "study_uid": ref.uid,
        "series": one.label,
        "role": one.role,
        "format": one.format,
        "modality": one.modality,
        "description": one.description,
        "plane": one.plane,
        "contrast": "" if one.contrast is None else str(one.contrast).lower(),
        "shape": "x".join(map(str, one.shape)),
        "spacing_mm": "x".join(f"{mm:g}" for mm in one.spacing),
        "orientation": one.orientation,
        "files": len(one.files),
        "problem": one.problem,
        "notes": " ".join(one.notes),
    }
