"""Traits: what the slices of one volume have in common, in words that tell it from another."""

from __future__ import annotations

from medvision.io.dicom.elements import Elements
from medvision.io.dicom.headers import Header

PART_NAMES = {"P": "phase", "R": "real", "I": "imaginary"}
CHEMICAL_SHIFT = {  # ImageType of separated fat and water
    "W": "water",
    "WATER": "water",
    "F": "fat",
    "FAT": "fat",
    "IP": "in phase",
    "IN_PHASE": "in phase",
    "OP": "out of phase",
    "OUT_PHASE": "out of phase",
    "FF": "fat fraction",
}

Traits = tuple[tuple[str, str], ...]


def traits_of(header: Header, data: Elements, part: str) -> Traits:
    """Return the traits of a file: slices that differ in one are not stacked."""
    coding, words = header.coding, header.image_type
    traits = {
        "size": f"{coding.columns} × {coding.rows}",
        "color": "color" if header.color else "gray",
        "origin": "derived" if words[:1] == ("DERIVED",) else "original",
    }
    if header.modality == "MR":
        shift = [CHEMICAL_SHIFT[w] for w in words[2:] if w in CHEMICAL_SHIFT]
        traits |= mr_traits(
            part, data.first("EchoTime"), data.first("RepetitionTime"), data.first("FlipAngle")
        )
        traits["protocol"] = data.text("ProtocolName")
        traits["tissue"] = shift[0] if shift else "all tissue"
    return tuple(traits.items())


def mr_traits(
    part: str, echo_ms: float | None, repetition_ms: float | None, flip: float | None
) -> dict[str, str]:
    """Return what tells one MR image from another of the same place."""
    return {
        "part": PART_NAMES.get(part, "magnitude"),
        "echo": "no echo" if echo_ms is None else f"echo {echo_ms:.5g} ms",
        "repetition": "no TR" if repetition_ms is None else f"TR {repetition_ms:.5g} ms",
        "flip": "no flip angle" if flip is None else f"flip {flip:.4g}°",
    }


def step_of(data: Elements) -> float | None:
    """Return the distance between slices, or the thickness where that is all there is."""
    found = data.first("SpacingBetweenSlices") or data.first("SliceThickness")
    return abs(found) if found else None
