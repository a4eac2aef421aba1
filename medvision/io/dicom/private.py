"""What makers of scanners write in elements of their own, or in places of their own.

Every rule names who writes so; nothing here is asked of another maker's file.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from medvision.io.dicom.elements import Elements

SIEMENS_CREATOR = 0x00190010
SIEMENS_B, SIEMENS_DIRECTION, SIEMENS_TILES = 0x0019100C, 0x0019100E, 0x0019100A
SIEMENS_CSA, SIEMENS_TIMES = 0x00291010, 0x00191029
GE_B, GE_PART, GE_RUN = 0x00431039, 0x0043102F, 0x001910A2
GE_DIRECTION = (0x001910BB, 0x001910BC, 0x001910BD)  # along frequency, phase, slice
GE_SEQUENCE, GE_SEQUENCE_INSIDE, GE_PLACES = 0x0019109C, 0x0019109E, 0x0021104F
PHILIPS_B, PHILIPS_DIRECTION = 0x20011003, (0x200510B0, 0x200510B1, 0x200510B2)
PHILIPS_SCALE, PHILIPS_FRAME = 0x2005100E, 0x2005140F
PHILIPS_PHASE, PHILIPS_LABEL, PHILIPS_TIME = 0x20011008, 0x20051429, 0x20051063
PHILIPS_B_NUMBER, PHILIPS_GRADIENT, PHILIPS_VOLUME = 0x20051412, 0x20051413, 0x20051596
UIH_B, UIH_DIRECTION, UIH_TILES, UIH_SLICES = 0x00651009, 0x00651037, 0x00651050, 0x00651051
PARTS = {"MAGNITUDE": "M", "PHASE": "P", "REAL": "R", "IMAGINARY": "I"}
NEW_PHILIPS = 11  # software release
CANON_DIFFUSION = re.compile(r"b=([\d.]+)\(([-\d.]+),([-\d.]+),([-\d.]+)\)")

Direction = tuple[float, ...] | None


@dataclass(frozen=True)
class Siemens:
    """What the Siemens CSA header of an image says (nibabel reads it)."""

    normal: tuple[float, ...] = ()  # of the slices of a mosaic, LPS
    tiles: int = 0
    b_value: float | None = None
    direction: Direction = None


def is_made_by(data: Elements, maker: str) -> bool:
    """Tell whether a file names a maker, such as ``"philips"``."""
    return data.text("Manufacturer").lower().startswith(maker)


def is_new_philips(data: Elements) -> bool:
    """Tell whether a file is of a Philips release whose own numbers count volumes another way."""
    release = data.text("SoftwareVersions").split(".")[0]
    return release.isdigit() and int(release) >= NEW_PHILIPS


def siemens(data: Elements, tag: int) -> tuple[float, ...] | None:
    """Return a private element of group 0019, where Siemens wrote that group."""
    if "SIEMENS" not in data.text(SIEMENS_CREATOR):
        return None  # other makers use the same tags for other things
    return data.numbers(tag)


def csa_header(data: Elements) -> Siemens:
    """Return what the CSA header says; nothing where it is absent or damaged."""
    raw = data.raw(SIEMENS_CSA)[1]
    if not raw:
        return Siemens()
    with warnings.catch_warnings():  # nibabel warns that its other DICOM readers are unfinished
        warnings.simplefilter("ignore")
        from nibabel.nicom import csareader

        try:
            tags: dict[str, Any] = csareader.read(raw)["tags"]
            found = {
                name: tuple(float(v) for v in tags.get(name, {}).get("items", []))
                for name in (
                    "SliceNormalVector",
                    "NumberOfImagesInMosaic",
                    "B_value",
                    "DiffusionGradientDirection",
                )
            }
        except Exception:  # a damaged private header
            return Siemens()
    tiles, b_value = found["NumberOfImagesInMosaic"], found["B_value"]
    return Siemens(
        normal=found["SliceNormalVector"],
        tiles=int(tiles[0]) if tiles else 0,
        b_value=b_value[0] if b_value else None,
        direction=found["DiffusionGradientDirection"] or None,
    )


def part_of(data: Elements) -> str:
    """Return M, P, R or I: magnitude, phase, real, imaginary; empty when an MR does not say."""
    if data.text("Modality") != "MR":
        return ""
    said = PARTS.get(data.text("ComplexImageComponent"), "")
    if said:
        return said
    if is_made_by(data, "ge") and data.first(GE_PART) is not None:
        return "MPRI"[int(data.first(GE_PART) or 0) % 4]
    words = data.texts("ImageType")[2:]
    for word in words:
        if word in PARTS.values() or word in PARTS:
            return PARTS.get(word, word)
    return "P" if any("PHASE" in word for word in words) else ""


def diffusion_of(data: Elements) -> tuple[float | None, Direction]:
    """Return the b-value in s/mm² and the gradient's direction in LPS, as far as they are known.

    The standard's elements (PS3.3 C.8.13.5.9) come first; before them, and still beside them,
    makers have used their own. A direction in image axes is turned into the patient's.
    """
    standard = data.first("DiffusionBValue")
    direction = data.numbers("DiffusionGradientOrientation")
    cosines = data.numbers("ImageOrientationPatient", 6)
    if is_made_by(data, "uih"):
        b_value = data.first(UIH_B)
        return (standard if b_value is None else b_value), in_patient(
            data.numbers(UIH_DIRECTION), cosines
        )
    if direction is None and is_made_by(data, "canon") and standard:
        return standard, canon_direction(data, cosines)
    if standard is not None or direction is not None:
        return standard or 0.0, three(direction)  # some leave the b-value out where it is 0
    if is_made_by(data, "philips"):
        b_value = data.first(PHILIPS_B)
        parts = [data.first(tag) for tag in PHILIPS_DIRECTION]
        known = tuple(p for p in parts if p is not None)
        return (None if b_value is None or b_value < 0 else b_value), three(known)
    if is_made_by(data, "ge"):
        return ge_diffusion(data, cosines)
    found = siemens(data, SIEMENS_B)
    if found:
        return found[0], three(siemens(data, SIEMENS_DIRECTION))
    if "DIFFUSION" in data.texts("ImageType"):
        csa = csa_header(data)
        return csa.b_value, three(csa.direction)
    return None, None


def three(direction: Direction) -> Direction:
    """Return a direction when it is one: three numbers, not all zero."""
    return direction if direction and len(direction) == 3 and any(direction) else None


def in_patient(direction: Direction, cosines: Direction) -> Direction:
    """Turn a direction along rows, columns and their normal into LPS."""
    if three(direction) is None or cosines is None or len(cosines) != 6:
        return None
    row, column = np.reshape(cosines, (2, 3))
    axes = np.column_stack([row, column, np.cross(row, column)])
    return tuple((axes @ np.asarray(direction)).tolist())


def ge_diffusion(data: Elements, cosines: Direction) -> tuple[float | None, Direction]:
    """Return b-value and direction of a GE image.

    GE counts directions along frequency, phase and slice encoding, offsets some b-values by 10⁹,
    and shortens the vector where the b-value is a fraction of the nominal one.
    """
    nominal = data.first(GE_B)
    if nominal is None:
        return None, None
    b_value = nominal % 1e9
    parts = [data.first(tag) for tag in GE_DIRECTION]
    if None in parts or cosines is None:
        return b_value, None
    vector = tuple(float(p or 0.0) for p in parts)
    length = float(np.linalg.norm(vector))
    if 0.03 < length < 0.97:
        b_value = 5.0 * max(1, round(b_value * length**2 / 5))
    return b_value, encoding_to_patient(vector, data, cosines)


def canon_direction(data: Elements, cosines: Direction) -> Direction:
    """Return the direction that Canon and Toshiba write as a comment, ``b=1500(0.1,0.2,0.9)``."""
    found = CANON_DIFFUSION.search(data.text("ImageComments"))
    if not found or cosines is None:
        return None
    y, x, z = (float(v) for v in found.groups()[1:])
    return encoding_to_patient((x, y, z), data, cosines)


def encoding_to_patient(
    vector: tuple[float, ...], data: Elements, cosines: tuple[float, ...]
) -> Direction:
    """Turn frequency, phase and slice encoding, as GE counts them, into LPS.

    Their signs along rows, columns and the normal depend on the plane, as dcm2niix has it.
    """
    x, y, z = vector
    row, column = np.reshape(cosines, (2, 3))
    plane = int(np.abs(np.cross(row, column)).argmax())  # 0 sagittal, 1 coronal, 2 axial
    signs = ((1, 1, -1), (-1, 1, 1), (-1, -1, 1))[plane]
    if data.text("InPlanePhaseEncodingDirection") == "ROW":
        x, y = y, -x
        signs = (1, -1, 1) if plane == 1 else signs
    return in_patient(tuple(np.multiply(signs, (x, y, z)).tolist()), cosines)


def volume_key(data: Elements) -> tuple[float, ...]:
    """Return numbers by which a single-frame file says which volume of its series it belongs to."""
    time = max(data.first("TemporalPositionIdentifier") or 0.0, 0.0)
    key = [data.first("FrameReferenceTime") or 0.0, time]
    if is_made_by(data, "ge"):
        key.append(data.first(GE_RUN) or 0.0)
    if is_made_by(data, "philips"):
        key.append(data.first(PHILIPS_TIME) or 0.0)
        key.append(0.0 if is_new_philips(data) else data.first(PHILIPS_VOLUME) or 0.0)
        key += [data.first(tag) or 0.0 for tag in (PHILIPS_B_NUMBER, PHILIPS_GRADIENT)]
        key.append(float(data.text(PHILIPS_LABEL).startswith("LABEL")))
        key.append(data.first(PHILIPS_PHASE) or 0.0)
    return tuple(key)
