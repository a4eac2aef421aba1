"""Traits: what the slices of one volume have in common, in words that tell it from another."""

from __future__ import annotations

from hashlib import blake2b

from medvision.io.dicom.elements import Elements
from medvision.io.dicom.headers import Header
from medvision.io.dicom.private import GE_PLACES, GE_SEQUENCE, GE_SEQUENCE_INSIDE, is_made_by

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
        # a scan that was stopped leaves a file with fewer frames than those before it
        "frames": f"{coding.frames} frames" if coding.frames > 1 else "",
        "size": f"{coding.columns} × {coding.rows}",
        "color": "color" if header.color else "gray",
        "origin": "derived" if words[:1] == ("DERIVED",) else "original",
    }
    if header.modality == "MR":
        if is_made_by(data, "ge"):
            traits["map"] = ge_map(header, data)
        shift = [CHEMICAL_SHIFT[w] for w in words[2:] if w in CHEMICAL_SHIFT]
        traits |= mr_traits(
            part, data.first("EchoTime"), data.first("RepetitionTime"), data.first("FlipAngle")
        )
        protocol = data.text("ProtocolName") or header.description  # a name may stand in it
        traits["protocol"] = blake2b(protocol.encode("utf-8", "replace"), digest_size=8).hexdigest()
        traits["echo number"] = f"echo {data.text('EchoNumbers')}" if "EchoNumbers" in data else ""
        traits["tissue"] = shift[0] if shift else "all tissue"
    return tuple(traits.items())


def ge_map(header: Header, data: Elements) -> str:
    """Return what an image of GE's B0 mapping is: the first half maps the field, in Hz.

    The series then has more places in all than there are in the field.
    """
    named = "b0map" in f"{data.text(GE_SEQUENCE)} {data.text(GE_SEQUENCE_INSIDE)}".lower()
    places, in_all = data.first(GE_PLACES), data.first("ImagesInAcquisition")
    if not named or not places or not in_all or places >= in_all:
        return ""
    return "field map" if header.instance_number <= places else "magnitude"


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
    spacing, thickness = data.first("SpacingBetweenSlices"), data.first("SliceThickness")
    return spacing if spacing and spacing > 0 else abs(thickness) if thickness else None
