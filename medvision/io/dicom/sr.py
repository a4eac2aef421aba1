"""DICOM SR: the content tree as text that a person can read.

Names of persons, dates and UIDs are left out, and so is all that only says who observed whom.
PS3.3 A.35 and C.17.3.
"""

from __future__ import annotations

from pathlib import Path

from pydicom import Dataset

from medvision.errors import DecodeError
from medvision.io.dicom.seg import read_dataset, told_as

SR_CLASSES = "1.2.840.10008.5.1.4.1.1.88."  # and a number; text documents are these:
TEXT_CLASSES = {SR_CLASSES + end for end in ("11", "22", "33", "34", "35")}
SHOWN = ("CONTAINER", "TEXT", "CODE", "NUM")
UNSHOWN_RELATIONS = ("HAS OBS CONTEXT",)  # observer, patient, procedure: identities
LANGUAGE = ("121049", "121046")  # DCM: language, country of language; no finding
NO_UNIT = ("1", "{no unit}", "no units")  # UCUM's ways to say so
MAX_DEPTH = 50


def read_sr(path: Path) -> str:
    """Read an SR document as text.

    The title comes first. A container is a heading in capitals with a colon; its items follow, one
    a line, as ``name: value``; what modifies or supports an item follows it in parentheses. The
    items of a container of continuous text are one paragraph.

    Raises
    ------
    DecodeError
        When the file is damaged, no SR, or holds no text.
    """
    data = read_dataset(path)
    with told_as(path, "SR"):
        kind = str(data.get("SOPClassUID") or "")
        if not kind.startswith(SR_CLASSES):
            raise DecodeError(f"{path} is a DICOM file, but no SR.")
        lines = container_lines(data, 0)
    if not any(line and not line.endswith(":") for line in lines[1:]):
        raise DecodeError(f"{path} is an SR without text, codes or numbers.")
    return "\n".join(lines).strip()


def container_lines(item: Dataset, depth: int) -> list[str]:
    """Return the lines of a container: its heading, then what it contains."""
    if depth > MAX_DEPTH:
        raise ValueError("deeper than any document")
    title = meaning(item, "ConceptNameCodeSequence")
    children = shown(item)
    heading = [title] if depth == 0 else ["", f"{title.upper()}:"] if title else [""]
    if item.get("ContinuityOfContent") == "CONTINUOUS":
        words = " ".join(filter(None, (item_text(child, depth + 1, True) for child in children)))
        return [*heading, words]
    lines = list(heading)
    for child in children:
        if child.get("ValueType") == "CONTAINER":
            lines += container_lines(child, depth + 1)
        else:
            lines.append(item_text(child, depth + 1, False))
    return lines


def shown(item: Dataset) -> list[Dataset]:
    """Return the children of an item that are part of the text."""
    return [
        child
        for child in item.get("ContentSequence") or []
        if child.get("ValueType") in SHOWN
        and child.get("RelationshipType") not in UNSHOWN_RELATIONS
        and not is_language(child)
    ]


def is_language(item: Dataset) -> bool:
    """Tell whether an item only names the language of the document."""
    name = item.get("ConceptNameCodeSequence")
    return bool(name) and str(name[0].get("CodeValue") or "") in LANGUAGE


def item_text(item: Dataset, depth: int, running: bool) -> str:
    """Return one item, and in parentheses what belongs to it; running text drops its names."""
    if depth > MAX_DEPTH:
        raise ValueError("deeper than any document")
    if item.get("ValueType") == "CONTAINER":
        return " ".join(filter(None, container_lines(item, depth)))
    name, value = meaning(item, "ConceptNameCodeSequence"), value_of(item)
    text = value if running or not name else f"{name}: {value}"
    more = [item_text(child, depth + 1, False) for child in shown(item)]
    return f"{text} ({'; '.join(more)})" if more else text


def value_of(item: Dataset) -> str:
    """Return the value of a text, code or number, with its unit."""
    kind = item.get("ValueType")
    if kind == "TEXT":
        text = str(item.get("TextValue") or "").replace("\r\n", "\n").replace("\r", "\n")
        return text.strip()
    if kind == "CODE":
        return meaning(item, "ConceptCodeSequence")
    measured = item.get("MeasuredValueSequence")
    if not measured:
        return meaning(item, "NumericValueQualifierCodeSequence") or "not measured"
    stored = measured[0].NumericValue
    number = stored if isinstance(stored, (str, int, float)) else stored[0]
    units = measured[0].get("MeasurementUnitsCodeSequence")
    unit = str(units[0].get("CodeValue") or units[0].get("CodeMeaning") or "") if units else ""
    return f"{number} {unit}" if unit and unit not in NO_UNIT else str(number)


def meaning(item: Dataset, sequence: str) -> str:
    """Return the meaning of a code, stripped; empty when absent."""
    codes = item.get(sequence)
    return str(codes[0].get("CodeMeaning") or "").strip() if codes else ""
