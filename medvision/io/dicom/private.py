"""What makers of scanners write in elements of their own, or in places of their own."""

from __future__ import annotations

from medvision.io.dicom.elements import Elements
from medvision.io.dicom.headers import Header

SIEMENS_PARTS = ("M", "P", "R", "I")
SIEMENS_CREATOR = 0x00190010
SIEMENS_B, SIEMENS_DIRECTION = 0x0019100C, 0x0019100E

Direction = tuple[float, ...] | None


def siemens(data: Elements, tag: int) -> tuple[float, ...] | None:
    """Return a private element of group 0019, where Siemens wrote that group."""
    if "SIEMENS" not in data.text(SIEMENS_CREATOR):
        return None  # other makers use the same tags for other things
    return data.numbers(tag)


def diffusion_of(data: Elements) -> tuple[float | None, Direction]:
    """Return the b-value in s/mm² and the gradient's direction in LPS, as far as they are known."""
    b_value = data.first("DiffusionBValue")
    if b_value is not None:
        return b_value, data.numbers("DiffusionGradientOrientation", 3)
    found = siemens(data, SIEMENS_B)
    direction = siemens(data, SIEMENS_DIRECTION)
    return (
        found[0] if found else None,
        direction if direction is not None and len(direction) == 3 else None,
    )


def part_of(header: Header, data: Elements) -> str:
    """Return M, P, R or I: magnitude, phase, real, imaginary; empty when unknown."""
    return next((p for p in header.image_type[2:] if p in SIEMENS_PARTS), "")
