"""The slices in one file: a single image, the tiles of a mosaic, or the frames of a multi-frame."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from medvision.errors import DecodeError
from medvision.io.dicom.elements import TAGS, is_dicom, numbers, parse, text
from medvision.io.dicom.headers import Frame, Header, header_of

COMPLEX_PARTS = {"MAGNITUDE": "M", "PHASE": "P", "REAL": "R", "IMAGINARY": "I"}
SIEMENS_PARTS = ("M", "P", "R", "I")
SIEMENS_CREATOR = 0x00190010
SIEMENS_TILES, SIEMENS_B, SIEMENS_DIRECTION = 0x0019100A, 0x0019100C, 0x0019100E
MAX_FRAMES = 100_000


def read_frames(path: Path) -> list[Frame]:
    """Read the slices of a file, without their pixels; none when it holds no image.

    Raises
    ------
    DecodeError
        When the file is no DICOM, cut short, or contradicts itself.
    """
    if not is_dicom(path):
        size = path.stat().st_size
        raise DecodeError(
            f"{path} is empty (0 bytes)."
            if size == 0
            else f"{path} is no DICOM file: it holds {size} bytes without a DICOM header."
        )
    data = parse(path, TAGS)
    if not data:
        raise DecodeError(f"{path} is cut short or damaged: its header cannot be read.")
    if "Rows" not in data or "Columns" not in data:
        return []
    return frames_of(header_of(path, data), data)


def frames_of(header: Header, data: Dataset) -> list[Frame]:
    """Return the slices of a file, in the order in which they are stored."""
    one = single_frame(header, data)
    count = header.frame_count
    if not 1 <= count <= MAX_FRAMES:
        raise DecodeError(f"{header.path} claims {count} frames; 1 to {MAX_FRAMES} can be read.")
    if "PerFrameFunctionalGroupsSequence" in data:
        return enhanced_frames(one, header, data, count)
    if count > 1:
        return offset_frames(one, header.path, data, count)
    if "MOSAIC" in header.image_type:
        return mosaic_tiles(one, header, data)
    return [one]


def single_frame(header: Header, data: Dataset) -> Frame:
    """Return what the top level of a file says of its slice."""
    path = header.path
    direction = numbers(path, data, "DiffusionGradientOrientation", 3)
    b_value = first(numbers(path, data, "DiffusionBValue"))
    if b_value is None:
        b_value = first(siemens(path, data, SIEMENS_B))
        direction = siemens(path, data, SIEMENS_DIRECTION)
    parts = [p for p in header.image_type[2:] if p in SIEMENS_PARTS]
    return Frame(
        header=header,
        number=0,
        tile=None,
        rows=header.rows,
        columns=header.columns,
        position=numbers(path, data, "ImagePositionPatient", 3),
        cosines=numbers(path, data, "ImageOrientationPatient", 6),
        pixel_spacing=numbers(path, data, "PixelSpacing", 2),
        slice_step=step_of(path, data),
        order=(header.instance_number, 0),
        echo_ms=first(numbers(path, data, "EchoTime")),
        part=parts[0] if parts else "",
        b_value=b_value,
        b_vector=direction if direction is not None and len(direction) == 3 else None,
    )


def siemens(path: Path, data: Dataset, tag: int) -> tuple[float, ...] | None:
    """Return a private element of group 0019, where Siemens wrote that group."""
    creator = data.get(SIEMENS_CREATOR)
    if creator is None or "SIEMENS" not in str(creator.value):
        return None  # other makers use the same tags for other things
    return numbers(path, data, tag)


def step_of(path: Path, data: Dataset) -> float | None:
    """Return the distance between slices, or the thickness where that is all there is."""
    found = numbers(path, data, "SpacingBetweenSlices", 1) or numbers(
        path, data, "SliceThickness", 1
    )
    return abs(found[0]) if found and found[0] else None


def offset_frames(one: Frame, path: Path, data: Dataset, count: int) -> list[Frame]:
    """Return the frames of a multi-frame file without functional groups.

    They lie along the normal as GridFrameOffsetVector says (PS3.3 C.8.8.3.2), or are moments of
    one place.
    """
    offsets = numbers(path, data, "GridFrameOffsetVector")
    if offsets is None or one.position is None or one.cosines is None:
        return [replace(one, number=n, order=(one.order[0], n)) for n in range(count)]
    if offsets[0] != 0:
        raise DecodeError(
            f"{path}: its GridFrameOffsetVector starts at {offsets[0]:g}, so it counts from the "
            "patient's origin, which medvision does not read yet."
        )
    if len(offsets) != count:
        raise DecodeError(f"{path} holds {count} frames and places for {len(offsets)}.")
    row, column = np.reshape(one.cosines, (2, 3))
    places = np.asarray(one.position) + np.outer(offsets, np.cross(row, column))
    return [
        replace(one, number=n, order=(one.order[0], n), position=tuple(place.tolist()))
        for n, place in enumerate(places)
    ]


def mosaic_tiles(one: Frame, header: Header, data: Dataset) -> list[Frame]:
    """Return the tiles of a Siemens mosaic, row by row.

    Its position is that of a slice as large as the whole mosaic, and the order of its slices
    follows the normal of the Siemens CSA header (nibabel's description of the format:
    nipy.org/nibabel/dicom/dicom_mosaic.html).
    """
    found = siemens(header.path, data, SIEMENS_TILES)
    normal, in_csa = csa_facts(data)
    count = int(found[0]) if found else in_csa
    side = math.ceil(math.sqrt(count))
    if count < 1 or header.columns % side or header.rows % side:
        raise DecodeError(
            f"{header.path} is a Siemens mosaic of {header.columns} × {header.rows} pixels that "
            f"does not hold {count or 'a known number of'} tiles."
        )
    if one.position is None or one.cosines is None or one.pixel_spacing is None:
        raise DecodeError(f"{header.path} is a Siemens mosaic without its place in the patient.")
    rows, columns = header.rows // side, header.columns // side
    row, column = np.reshape(one.cosines, (2, 3))
    upright = np.cross(row, column)
    if len(normal) == 3 and float(np.dot(upright, normal)) < 0:
        upright = -upright
    corner = (
        np.asarray(one.position)
        + row * one.pixel_spacing[1] * (header.columns - columns) / 2
        + column * one.pixel_spacing[0] * (header.rows - rows) / 2
    )
    step = upright * (one.slice_step or 1.0)
    return [
        replace(
            one, tile=t, rows=rows, columns=columns, position=tuple((corner + t * step).tolist())
        )
        for t in range(count)
    ]


def csa_facts(data: Dataset) -> tuple[list[float], int]:
    """Return the normal of the slices and the number of tiles, from the Siemens CSA header."""
    with warnings.catch_warnings():  # nibabel warns that its other DICOM readers are unfinished
        warnings.simplefilter("ignore")
        from nibabel.nicom import csareader

        try:
            csa: Any = csareader.get_csa_header(data, "image")
            tags = csa["tags"] if csa else {}
            normal = [float(v) for v in tags.get("SliceNormalVector", {}).get("items", [])]
            count = tags.get("NumberOfImagesInMosaic", {}).get("items", [])
            return normal, int(count[0]) if count else 0
        except Exception:  # a damaged private header
            return [], 0


def enhanced_frames(one: Frame, header: Header, data: Dataset, count: int) -> list[Frame]:
    """Return the frames of an Enhanced CT, MR or PET image, by their functional groups.

    PS3.3 C.7.6.16: what is not in a frame's own groups is in those that all frames share.
    """
    groups: Sequence[Dataset] = data.PerFrameFunctionalGroupsSequence
    shared = list(data.get("SharedFunctionalGroupsSequence") or [])
    if len(groups) != count:
        raise DecodeError(f"{header.path} holds {count} frames and facts of {len(groups)}.")
    return [enhanced_frame(one, header.path, n, [group, *shared]) for n, group in enumerate(groups)]


def enhanced_frame(one: Frame, path: Path, number: int, groups: Sequence[Dataset]) -> Frame:
    """Return one frame of a file with functional groups."""

    def group(name: str) -> Dataset:
        for where in groups:
            if where.get(name):
                return where[name][0]  # type: ignore[no-any-return]
        return Dataset()

    measures, content = group("PixelMeasuresSequence"), group("FrameContentSequence")
    transform, diffusion = group("PixelValueTransformationSequence"), group("MRDiffusionSequence")
    slope, intercept = (
        first(numbers(path, transform, name)) for name in ("RescaleSlope", "RescaleIntercept")
    )
    direction = diffusion.get("DiffusionGradientDirectionSequence")
    part = text(group("MRImageFrameTypeSequence"), "ComplexImageComponent")
    place = group("PlanePositionSequence")
    when = [
        first(numbers(path, content, name)) or 0.0
        for name in ("TemporalPositionIndex", "FrameAcquisitionNumber")
    ]
    return replace(
        one,
        number=number,
        position=numbers(path, place, "ImagePositionPatient", 3),
        cosines=numbers(path, group("PlaneOrientationSequence"), "ImageOrientationPatient", 6),
        pixel_spacing=numbers(path, measures, "PixelSpacing", 2) or one.pixel_spacing,
        slice_step=step_of(path, measures) or one.slice_step,
        order=(one.order[0], *when, number),
        rescale=(slope, intercept or 0.0) if slope is not None else None,
        echo_ms=first(numbers(path, group("MREchoSequence"), "EffectiveEchoTime")) or one.echo_ms,
        part=COMPLEX_PARTS.get(part, one.part),
        b_value=first(numbers(path, diffusion, "DiffusionBValue")),
        b_vector=numbers(path, direction[0], "DiffusionGradientOrientation", 3)
        if direction
        else None,
    )


def first(values: tuple[float, ...] | None) -> float | None:
    """Return the first of some values, if any."""
    return values[0] if values else None
