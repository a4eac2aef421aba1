"""Chest X-rays with clinical notes (covid-chestxray-dataset): a folder to cases.csv.

Source: https://github.com/ieee8023/covid-chestxray-dataset (Cohen et al., MELBA 2020). Each image
has a licence of its own, some of them non-commercial. The notes often say the finding, and its
negations: look at what they give away before a model reads them.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from medvision.dataset import read_table, write_cases
from medvision.errors import CasesError
from medvision.extras import dataset_builder

relative = dataset_builder("msd").relative

TABLES = ("notes.csv", "metadata.csv")
NEEDED = ("patientid", "finding", "modality", "filename", "clinical_notes")
OTHER = "other"  # the label of all other findings
UNKNOWN = ("", "todo", "unknown")  # findings that say nothing
# Whom an image came from: the whole of the second column of notes, or in brackets in the first.
CREDIT = re.compile(
    r"\A\W*(?:(?:case )?courtesy|credit|image originally|©).*|\s*\((?:case )?courtesy of[^()]*\)",
    re.IGNORECASE | re.DOTALL,
)


def build(
    folder: Path, out: Path, label: str = "COVID-19"
) -> tuple[list[dict[str, str]], Counter[str]]:
    """Write a cases.csv with a row an X-ray: image, note, label and patient.

    The source's columns of dates, places and origins are not carried over, and its credits are left
    out: whom an image came from tells much of what was found. What a note itself tells stays.

    Parameters
    ----------
    folder : Path
        Holds ``images`` and a table ``notes.csv`` or ``metadata.csv``: a clone of the source.
    out : Path
        The cases.csv to write; its paths are relative to it where they can be.
    label : str
        A finding of the source; rows with it, alone or among others (``COVID-19, ARDS``), have
        this label, all others have ``other``.

    Returns
    -------
    rows : list of dict
    left_out : Counter
        Rows of the source that are left out, by the reason.

    Raises
    ------
    CasesError
        When the table is missing or lacks a column, an image is missing, or none or all of the
        rows have the finding.
    """
    table = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    if table is None:
        raise CasesError(f"{folder} holds no {' or '.join(TABLES)}: clone the source there.")
    lines, columns = read_table(table)
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise CasesError(f"{table} lacks {', '.join(missing)}.")
    rows: list[dict[str, str]] = []
    left_out: Counter[str] = Counter()
    problems, found = [], set()
    for line, values in lines:
        row = dict(zip(columns, values, strict=False))
        row |= {name: "" for name in NEEDED if name not in row}  # a short row lacks the rest
        findings = [part.strip() for part in re.split(r"[,/]", row["finding"])]
        if row["modality"] != "X-ray":
            left_out["rows without an X-ray"] += 1
            continue
        if row["finding"].lower() in UNKNOWN:
            left_out["X-rays without a finding"] += 1
            continue
        image = folder / "images" / row["filename"]
        if not row["filename"] or image.name != row["filename"] or not image.is_file():
            problems.append(f"line {line}: no image {row['filename']!r} in {folder / 'images'}")
        if not row["patientid"]:
            problems.append(f"line {line}: no patientid")
        found.update(findings)
        rows.append(
            {
                "case_id": f"cxr_{len(rows) + 1:04d}",
                "image": relative(image, out.parent),
                "label": label if label in findings else OTHER,
                "report": note_of(row),
                "group": row["patientid"],
            }
        )
    if problems:
        raise CasesError(f"{table}:\n  " + "\n  ".join(problems[:20]))
    if len({row["label"] for row in rows}) != 2:
        raise CasesError(
            f"{table}: {'no' if label not in found else 'every'} X-ray has the finding {label!r}; "
            f"found: {', '.join(sorted(found)) or 'no X-ray'}."
        )
    write_cases(out, rows)
    return rows, left_out


def note_of(row: dict[str, str]) -> str:
    """Return the notes of a row without the credits."""
    notes = (row["clinical_notes"], row.get("other_notes", ""))
    return " ".join(text for note in notes if (text := CREDIT.sub("", note).strip()))
