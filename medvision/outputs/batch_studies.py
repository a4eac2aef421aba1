"""The studies of a results folder as rows of a page, each with a small picture.

Those that a person should look at come first. Knows nothing of models.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from medvision.outputs.page import picture, shown
from medvision.outputs.saved import ML, PROBABILITY, RESULTS, Saved
from medvision.outputs.table import DECIDED, SET
from medvision.prediction import in_percent
from medvision.review import WORD, YES
from medvision.spec import BETWEEN

THUMB = 160  # pixels, the longer side
FEW = 200  # studies that all have a picture; of more, the first and those with warnings
FIRST = 100
PICTURE_BYTES, ROW_BYTES = 6_000_000, 2_500_000  # at most, on a page
MOST_COLUMNS = 12


def studies_html(saved: Saved, card: Mapping[str, Any]) -> str:
    """Return the table of the studies, and in words what it leaves out."""
    volumes = saved.task == "segmentation"
    names = saved.class_names[:MOST_COLUMNS]
    sure = any(row.get("confidence") for row in saved.rows)
    heads = ["confidence"] if sure else []
    heads += [f"{name}, ml" if volumes else name for name in names] + ["seconds"]
    head = "<tr><th></th><th>study</th>" + ("" if volumes else "<th>predicted</th>")
    head += "".join(f'<th class="number">{shown(one)}</th>' for one in heads)
    thumbs, left_out = thumbnails(saved, card)
    flagged = to_review(saved.rows)
    rows: list[str] = []
    room = ROW_BYTES
    for at in dict.fromkeys([*flagged, *range(len(saved.rows))]):
        row = saved.rows[at]
        text = study_row(row, names, volumes, sure)
        room -= len(text.encode(errors="replace"))
        if room < 0:
            break
        rows.append(f'<tr><td class="thumb">{thumbs.get(at, "")}</td>{text}</tr>')
    notes = ["Those to review come first, the least sure at the top."] if flagged else []
    notes += [left_out] if left_out else []
    if len(rows) < len(saved.rows):
        notes.append(f"The first {len(rows)} of {in_studies(len(saved.rows))} are listed.")
    if len(names) < len(saved.class_names):
        what = "structures" if volumes else "classes"
        notes.append(f"The first {len(names)} of {len(saved.class_names)} {what} are shown.")
    notes.append(f"{RESULTS} has everything that is listed here, and more.")
    return (
        f'<p class="small">{" ".join(notes)}</p>'
        f'<div class="wide"><table class="studies">{head}</tr>{"".join(rows)}</table></div>'
    )


def to_review(rows: Sequence[Mapping[str, str]]) -> list[int]:
    """Return which rows a person should look at, the least sure first."""
    flagged = [at for at, row in enumerate(rows) if row.get("review") == YES]
    return sorted(flagged, key=lambda at: as_float(rows[at].get("confidence", "")) or 0.0)


def study_row(row: Mapping[str, str], names: Sequence[str], volumes: bool, sure: bool) -> str:
    """Return the cells of a study, but that of its picture; `sure` is with its confidence."""
    badge = f' <span class="badge">{WORD}</span>' if row.get("review") == YES else ""
    said = [
        f"<b>{shown(row['case_id'])}</b>{badge}",
        f'<span class="small">{shown(row["source"])}{shown(series_in_words(row))}</span>',
    ]
    if row["status"] == "failed":
        reason = shown(row.get("reason", ""))
        said.append(f'<span class="bad">failed</span> <span class="small">{reason}</span>')
    if row.get("warnings"):
        said.append(f'<span class="caution small">{shown(row["warnings"])}</span>')
    if row.get("touches_border"):
        where = shown(row["touches_border"])
        said.append(f'<span class="small">reaches the edge of what was shown: {where}</span>')
    cells = [f'<td class="study">{"<br>".join(said)}</td>']
    if not volumes:
        cells.append(f"<td>{predicted_cell(row)}</td>")
    if sure:
        least = as_float(row.get("confidence", ""))
        cells.append(f'<td class="number">{"" if least is None else f"{least:.2f}"}</td>')
    for name in names:
        value = number(row, name, volumes)
        words = "" if value is None else f"{value:.2f}" if volumes else shown(in_percent(value))
        cells.append(f'<td class="number">{words}</td>')
    seconds = as_float(row.get("seconds", ""))
    cells.append(f'<td class="number">{"" if seconds is None else f"{seconds:.1f}"}</td>')
    return "".join(cells)


def series_in_words(row: Mapping[str, str]) -> str:
    """Return which series of its study a DICOM result is of; a file's name tells that itself."""
    if not row.get("study_key"):
        return ""
    told = (f"series {row['series']}" if row.get("series") else "", row.get("modality", ""))
    return "".join(f", {one}" for one in told if one)


def predicted_cell(row: Mapping[str, str]) -> str:
    """Return what was found, and of a calibrated model the prediction set and what is decided."""
    told = [shown(row.get("predicted", "").replace(BETWEEN, ", "))]
    for column, words in ((SET, "one of"), (DECIDED, "at its threshold")):
        if row.get(column):
            names = shown(row[column].replace(BETWEEN, ", "))
            told.append(f'<span class="small">{words}: {names}</span>')
    return "<br>".join(told)


def thumbnails(saved: Saved, card: Mapping[str, Any]) -> tuple[dict[int, str], str]:
    """Return small pictures by their row, and in words which studies have none though they could.

    Of many studies, those to review and with warnings come first, for they are to be looked at.
    """
    formats = card.get("formats")
    if isinstance(formats, list) and "overlay" not in formats:
        return {}, ""  # a picture there would be of an earlier run
    rows = saved.rows
    warned = [at for at, row in enumerate(rows) if row.get("warnings")]
    chosen: Iterable[int] = range(len(rows))
    words = ""
    if len(rows) > FEW:
        chosen = dict.fromkeys([*to_review(rows), *warned, *range(FIRST)])
        which = "to review or with warnings" if to_review(rows) else "with warnings"
        words = f"Pictures are shown of the first {FIRST} studies and of those {which}"
    found: dict[int, str] = {}
    room = PICTURE_BYTES
    for at in chosen:
        image = thumbnail(saved.folder, rows[at])
        room -= len(image)
        if room < 0:
            words = words or "Pictures are shown"
            return found, f"{words}, as far as the page has room."
        if image:
            found[at] = image
    return found, f"{words}." if words and found else ""


def thumbnail(folder: Path, row: Mapping[str, str]) -> str:
    """Return the overlay of a study, small; empty when there is none that can be read."""
    path = folder / f"{Path(row['case_id']).name}.png"
    if row["status"] == "failed" or not path.is_file():
        return ""
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return ""
    image.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
    return picture(image, f"The scan and what was found in {row['case_id']}", "JPEG")


def in_studies(count: int) -> str:
    """Return a number of studies in words."""
    return "1 study" if count == 1 else f"{count} studies"


def number(row: Mapping[str, str], name: str, volumes: bool) -> float | None:
    """Return the volume in ml, or the probability, of a class; None where there is none."""
    return as_float(row.get(f"{name}{ML if volumes else PROBABILITY}", ""))


def as_float(text: str) -> float | None:
    """Return a number of the table; None when it is none, or not finite."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
