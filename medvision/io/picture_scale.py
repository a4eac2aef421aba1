"""How large a picture's pixels are, where the picture truly says so.

Not every number counts: the dpi of a PNG, JPEG or TIFF is the size on paper, usually 72 or 96
whatever was photographed, and is ignored. A side-car, OME-XML and ImageJ's own words are believed.
Knows nothing of pixels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MM_PER_UNIT = {
    "nm": 1e-6,
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "\\u00b5m"), 1e-3),
    **dict.fromkeys(("mm", "millimeter"), 1.0),
    **dict.fromkeys(("cm", "centimeter"), 10.0),
    **dict.fromkeys(("m", "meter"), 1000.0),
    **dict.fromkeys(("inch", "in"), 25.4),
}
OME_ATTRIBUTE = re.compile(r'\b(\w+)\s*=\s*"([^"]*)"')
OME_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b[^>]*>")


@dataclass(frozen=True)
class Scale:
    """What is known of a picture's size.

    Parameters
    ----------
    column_mm, row_mm : float
        From one column, and one row, to the next; 0 when unknown.
    page_mm : float
        From one page to the next; 0 when unknown.
    pages : int
        Slices that the pages make; 0 when nothing says so.
    """

    column_mm: float = 0.0
    row_mm: float = 0.0
    page_mm: float = 0.0
    pages: int = 0


def sidecar_scale(sidecar: dict[str, Any]) -> Scale | None:
    """Return the scale of a side-car, or None when it has none.

    It reads ``{"PixelSpacing": [row_mm, column_mm], "SpacingBetweenSlices": mm}``.
    Names and order are DICOM's (PS3.3 10.7.1.3): the first is from row to row.
    """
    spacing = sidecar.get("PixelSpacing")
    if not isinstance(spacing, list) or len(spacing) != 2:
        return None
    row, column = (_size(mm) for mm in spacing)
    return Scale(column, row, _size(sidecar.get("SpacingBetweenSlices")))


def described_scale(description: str, per_unit: Sequence[float]) -> Scale:
    """Read the words that OME or ImageJ put into a TIFF's ImageDescription.

    OME-XML's ``PhysicalSizeX`` counts in µm unless it says otherwise (OME schema 2016-06, Pixels).
    ImageJ writes ``unit=mm`` and ``spacing=`` there, and pixels per unit in XResolution and
    YResolution, `per_unit`.
    """
    if pixels := OME_PIXELS.search(description):
        words = dict(OME_ATTRIBUTE.findall(pixels[0]))
        x, y, z = (
            _size(words.get(f"PhysicalSize{axis}"), words.get(f"PhysicalSize{axis}Unit", "µm"))
            for axis in "XYZ"
        )
        return Scale(x, y, z, _count(words.get("SizeZ")))
    if description.startswith("ImageJ="):
        words = dict(line.split("=", 1) for line in description.splitlines() if "=" in line)
        unit = words.get("unit", "")
        x, y = (_size(1 / n if n else 0, unit) for n in per_unit)
        return Scale(x, y, _size(words.get("spacing"), unit), _count(words.get("slices")) or 1)
    return Scale()


def _size(number: Any, unit: str = "mm") -> float:
    """Return a length in mm, or 0 when it is none."""
    try:
        mm = float(number) * MM_PER_UNIT.get(unit.strip().lower(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return mm if math.isfinite(mm) and mm > 0 else 0.0


def _count(text: str | None) -> int:
    """Return a number of slices, or 0 when it is none."""
    return int(text) if text and text.isdecimal() and len(text) < 9 else 0
