"""What a table says of its patients beside the truth: sex, age band, scanner, site.

Knows nothing of images. Ages leave it in bands alone, as an exact age helps to tell who it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from medvision.errors import CasesError

FACTS = ("sex", "age", "scanner", "site")
BY = "by_"  # any other column to group by is called by_<name>
UNKNOWN = "unknown"
BANDS = (18, 40, 60, 80)  # years at which the next band begins
SEXES: Mapping[str, str] = {"f": "F", "female": "F", "m": "M", "male": "M", "o": "O", "other": "O"}
YEARS = {"": 1.0, "y": 1.0, "m": 1 / 12, "w": 7 / 365.25, "d": 1 / 365.25}  # as DICOM's AS


def fact_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns of a table that hold facts."""
    return [c for c in columns if c in FACTS or (c.startswith(BY) and len(c) > len(BY))]


def facts_of(row: Mapping[str, str], columns: Sequence[str]) -> dict[str, str]:
    """Return the facts in a row, by the name of what they say; empty ones are ``"unknown"``.

    Examples
    --------
    >>> facts_of({"sex": "female", "age": "063Y", "by_stage": ""}, ["sex", "age", "by_stage"])
    {'sex': 'F', 'age': '60–79', 'stage': 'unknown'}

    Raises
    ------
    CasesError
        When an age is not one.
    """
    found = {}
    for column in columns:
        value, name = row[column], column.removeprefix(BY)
        if column == "age" and value:
            value = age_band(value)
        elif column == "sex":
            value = SEXES.get(value.lower(), value)
        found[name] = value or UNKNOWN
    return found


def age_band(age: str) -> str:
    """Return the band of an age: ``"0–17"``, ``"18–39"``, ``"40–59"``, ``"60–79"`` or ``"80+"``.

    Parameters
    ----------
    age : str
        In years, or as DICOM writes it (PS3.5, AS: ``"063Y"``, ``"018M"``), or a band already.

    Raises
    ------
    CasesError
        When it is none of these.
    """
    bands = [f"{low}–{high - 1}" for low, high in zip((0, *BANDS[:-1]), BANDS, strict=True)] + [
        f"{BANDS[-1]}+"
    ]
    if age.replace("-", "–") in bands:
        return age.replace("-", "–")
    found = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)\s*([YMWDymwd]?)", age)
    if not found:
        raise CasesError("age is no number of years, such as 63 or 063Y")
    years = float(found[1]) * YEARS[found[2].lower()]
    if years > 130:
        raise CasesError("age is above 130 years")
    return bands[sum(years >= start for start in BANDS)]
