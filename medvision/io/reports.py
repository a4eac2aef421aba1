"""Report text: read from text, JSON, tables and DICOM SR.

Knows nothing of studies, nor of what the words mean: `medvision.io.pairing` tells whose they are.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from medvision.errors import DecodeError
from medvision.from_json import parse_json
from medvision.io.dicom.elements import is_dicom
from medvision.io.dicom.sr import read_sr

TEXTS, TABLES = (".txt", ".md"), (".csv", ".tsv")
WHOLE = ("report", "report_text", "text", "clinical_notes")  # keys and columns of a whole report
SECTIONS = (
    *("indication", "history", "technique", "comparison"),
    *("findings", "impression", "conclusion"),
)
IDS = (
    *("case_id", "study_uid", "studyinstanceuid", "study", "study_id", "accession"),
    *("image", "filename", "file", "image_id"),
)
MAX_BYTES = 1 << 28  # of a report or a table of them


def read_report(path: str | Path) -> str:
    """Read the text of one report.

    Parameters
    ----------
    path : str or Path
        ``.txt`` or ``.md`` (UTF-8, else Latin-1); ``.json`` with a ``report`` or ``text``, or with
        sections such as ``findings`` and ``impression``; or a DICOM SR, without names and dates.

    Raises
    ------
    DecodeError
        When the file cannot be read, holds no report, or a table of several.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in TABLES:
        raise DecodeError(f"{path} is a table, which may hold several reports: see report_table.")
    if suffix == ".json":
        found = json_report(path)
        if found is None:
            raise DecodeError(
                f'{path} holds no report: a "report" or "text" is needed, or sections such as '
                '"findings" and "impression".'
            )
        return found
    if suffix in TEXTS:
        text = decoded(path).strip()
        if not text:
            raise DecodeError(f"{path} holds no text.")
        return text
    if path.is_file() and is_dicom(path):
        return read_sr(path)
    raise DecodeError(f"{path} is no report that medvision reads: .txt, .md, .json or DICOM SR.")


def decoded(path: Path) -> str:
    """Return a file's text: UTF-8, or Latin-1 where it is not that."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DecodeError(f"{path} holds more than {MAX_BYTES >> 20} MB: that is no report.")
        data = path.read_bytes()
    except OSError as error:
        raise DecodeError(f"{path} cannot be read: {error.strerror}.") from None
    if b"\0" in data:
        raise DecodeError(f"{path} holds no text: there are zero bytes in it.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def json_report(path: Path) -> str | None:
    """Return the report in a JSON file; None when it holds something else, such as parameters."""
    try:
        found = parse_json(decoded(path))
    except ValueError:
        raise DecodeError(f"{path} is no readable JSON.") from None
    return whole_or_sections(found) if isinstance(found, dict) else None


def whole_or_sections(found: dict[str, Any]) -> str | None:
    """Return the text under a key of `WHOLE`, else the sections as ``FINDINGS: …`` paragraphs."""
    known = {str(key).strip().lower(): value for key, value in found.items()}
    for key in (*WHOLE, "sections"):
        value = known.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()
        if isinstance(value, dict):
            return paragraphs(value)
    return paragraphs({key: value for key, value in known.items() if key in SECTIONS})


def paragraphs(sections: dict[str, Any]) -> str | None:
    """Return sections as ``FINDINGS: …``, one paragraph each; None when there is none."""
    told = [
        f"{str(name).strip().upper()}: {text.strip()}"
        for name, text in sections.items()
        if isinstance(text, str) and text.strip()
    ]
    return "\n\n".join(told) or None


def report_table(path: str | Path) -> dict[str, str]:
    """Read a table of reports (CSV or TSV).

    Parameters
    ----------
    path : str or Path
        With a column ``report``, ``text`` or ``clinical_notes``, or columns of sections such as
        ``findings`` and ``impression``; and one that says whose: ``case_id``, ``study_uid``,
        ``accession``, ``image``, ``filename``… Case does not matter.

    Returns
    -------
    dict of str to str
        Text by id; rows without id or text are left out.

    Raises
    ------
    DecodeError
        When it cannot be read, lacks such columns, or gives an id two texts.
    """
    path = Path(path)
    found: dict[str, str] = {}
    lines: dict[str, int] = {}
    key, columns, rows = table_of(path)
    if key is None or not columns:
        raise DecodeError(
            f"{path} is no table of reports: it needs a column of ids ({', '.join(IDS)}) and one "
            f"of text ({', '.join(WHOLE)}, or sections: {', '.join(SECTIONS)})."
        )
    for line, row in rows:
        one = row.get(key, "").strip()
        text = whole_or_sections({name: row.get(name, "") for name in columns})
        if not one or not text:
            continue
        if found.setdefault(one, text) != text:
            raise DecodeError(
                f"{path}: rows {lines[one]} and {line} give one {key!r} two different reports."
            )
        lines.setdefault(one, line)
    return found


def table_of(path: Path) -> tuple[str | None, list[str], list[tuple[int, dict[str, str]]]]:
    """Return a table's column of ids, its columns of text, and its rows with their line numbers."""
    text = decoded(path)
    header = text.partition("\n")[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        rows = [(reader.line_num, dict(zip(names, row, strict=False))) for row in reader if row]
    except csv.Error:
        raise DecodeError(f"{path} is no readable table.") from None
    key = next((name for name in IDS if name in names), None)
    whole = [name for name in WHOLE if name in names][:1]
    return key, whole or [name for name in SECTIONS if name in names], rows
