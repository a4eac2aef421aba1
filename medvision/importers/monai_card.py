"""The card of an imported MONAI bundle: its metadata in words, and what differs here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FACTS = (
    ("version", "Version"),
    ("task", "Task"),
    ("authors", "Authors"),
    ("copyright", "Copyright"),
    ("data_source", "Data"),
    ("image_classes", "Images"),
    ("label_classes", "Labels"),
    ("pred_classes", "Outputs"),
    ("intended_use", "Intended use, in its authors' words"),
    ("monai_version", "Made with MONAI"),
)
LICENSES = ("LICENSE", "LICENSE.txt", "docs/license.txt")
SHORT = 3000  # characters of a license that are shown
MARKS = str.maketrans({"<": "&lt;", ">": "&gt;"})


def write_card(name: str, metadata: Mapping[str, Any], root: Path, notes: Sequence[str]) -> str:
    """Return a card in Markdown.

    Parameters
    ----------
    name : str
    metadata : mapping
        The bundle's metadata.json.
    root : Path
        The bundle, for its license.
    notes : sequence of str
        What differs from the bundle, a sentence or two each.
    """
    lines = [f"# {name}", "", "Research use only, not a medical device.", ""]
    if about := words(metadata.get("description")):
        lines += [about, ""]
    lines += ["Imported from a MONAI bundle; none of its code was run.", ""]
    facts = [(title, words(metadata.get(key))) for key, title in FACTS]
    lines += [f"- {title}: {text}" for title, text in facts if text]
    metrics = metadata.get("eval_metrics")
    if isinstance(metrics, Mapping) and metrics:
        told = ", ".join(f"{words(key)} {words(value)}" for key, value in metrics.items())
        lines.append(f"- Measured by its authors: {told}")
    if notes:
        lines += ["", "## What differs from the bundle", ""]
        lines += [f"- {note}" for note in dict.fromkeys(notes)]
    references = metadata.get("references")
    if isinstance(references, list) and references:
        lines += ["", "## References", "", *[f"- {words(one)}" for one in references]]
    return "\n".join([*lines, "", "## License", "", license_of(metadata, root), ""])


def license_of(metadata: Mapping[str, Any], root: Path) -> str:
    """Return the license's text, its beginning if it is long."""
    named = words(metadata.get("license"))
    for path in (root / name for name in LICENSES):
        if path.is_file() and path.resolve().is_relative_to(root.resolve()):
            text = path.read_bytes()[: 4 * SHORT].decode("utf-8", "replace").strip()
            more = "\n[…] The bundle's file holds the rest." if len(text) > SHORT else ""
            quoted = f"```text\n{text[:SHORT].replace('```', '')}{more}\n```"
            return f"{named}\n\n{quoted}".strip()
    return named or "The bundle does not say: ask its authors before you use it."


def words(value: Any) -> str:
    """Return a text of the metadata on one line, harmless in Markdown."""
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return " ".join(str(value).split()).translate(MARKS) if value not in (None, "") else ""
