"""Text in tables that people open with a spreadsheet: it never runs there as a formula.

Tables that are input (cases.csv, listings of reports) are not written so: their text is read back
as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def harmless(value: Any) -> Any:
    """Keep a spreadsheet from running text as a formula (OWASP, CSV injection)."""
    if isinstance(value, str):
        value = " ".join(value.split("\n"))
        return f"'{value}" if value.startswith(FORMULA_STARTS) else value
    return value


def harmless_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose texts and column names run as no formula."""
    return {harmless(name): harmless(value) for name, value in row.items()}


def unquoted(text: str) -> str:
    """Take back what `harmless` puts before text that a spreadsheet would run."""
    return text[1:] if text[:1] == "'" and text[1:].startswith(FORMULA_STARTS) else text
