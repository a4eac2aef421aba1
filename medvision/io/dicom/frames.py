"""The slices in one file: a single image, the tiles of a mosaic, or the frames of a multi-frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from medvision.errors import DecodeError
from medvision.io.dicom.elements import Elements, read_elements
from medvision.io.dicom.headers import Frame, Header, header_of
from medvision.io.dicom.mosaic import mosaic_tiles
from medvision.io.dicom.private import diffusion_of, part_of

COMPLEX_PARTS = {"MAGNITUDE": "M", "PHASE": "P", "REAL": "R", "IMAGINARY": "I"}
MAX_FRAMES = 100_000


def read_frames(path: Path) -> list[Frame]:
    """Read the slices of a file, without their pixels; none when it holds no image.

    Raises
    ------
    DecodeError
        When the file is no DICOM, cut short, or contradicts itself.
    """
    data = read_elements(path)
    if "Rows" not in data or "Columns" not in data:
        return []
    return frames_of(header_of(data), data)


def frames_of(header: Header, data: Elements) -> list[Frame]:
    """Return the slices of a file, in the order in which they are stored."""
    one = single_frame(header, data)
    count = header.coding.frames
    if not 1 <= count <= MAX_FRAMES:
        raise DecodeError(f"{header.path} claims {count} frames; 1 to {MAX_FRAMES} can be read.")
    if "PerFrameFunctionalGroupsSequence" in data:
        return enhanced_frames(one, header, data, count)
    if count > 1:
        return offset_frames(one, data, count)
    if "MOSAIC" in header.image_type:
        return mosaic_tiles(one, data)
    return [one]


def single_frame(header: Header, data: Elements) -> Frame:
    """Return what the top level of a file says of its slice."""
    b_value, direction = diffusion_of(data)
    slope, intercept = data.first("RescaleSlope"), data.first("RescaleIntercept")
    return Frame(
        header=header,
        number=0,
        tile=None,
        rows=header.coding.rows,
        columns=header.coding.columns,
        position=data.numbers("ImagePositionPatient", 3),
        cosines=data.numbers("ImageOrientationPatient", 6),
        pixel_spacing=data.numbers("PixelSpacing", 2),
        slice_step=step_of(data),
        order=(header.instance_number, 0),
        rescale=(1.0 if slope is None else slope, intercept or 0.0),
        echo_ms=data.first("EchoTime"),
        part=part_of(header, data),
        b_value=b_value,
        b_vector=direction,
    )


def step_of(data: Elements) -> float | None:
    """Return the distance between slices, or the thickness where that is all there is."""
    found = data.first("SpacingBetweenSlices") or data.first("SliceThickness")
    return abs(found) if found else None


def offset_frames(one: Frame, data: Elements, count: int) -> list[Frame]:
    """Return the frames of a multi-frame file without functional groups.

    They lie along the normal as GridFrameOffsetVector says (PS3.3 C.8.8.3.2), or are moments of
    one place.
    """
    path = data.path
    offsets = data.numbers("GridFrameOffsetVector")
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


def enhanced_frames(one: Frame, header: Header, data: Elements, count: int) -> list[Frame]:
    """Return the frames of an Enhanced CT, MR or PET image, by their functional groups.

    PS3.3 C.7.6.16: what is not in a frame's own groups is in those that all frames share.
    """
    groups = data.items("PerFrameFunctionalGroupsSequence")
    shared = data.items("SharedFunctionalGroupsSequence")
    if len(groups) != count:
        raise DecodeError(f"{header.path} holds {count} frames and facts of {len(groups)}.")
    return [enhanced_frame(one, header.path, n, [group, *shared]) for n, group in enumerate(groups)]


def enhanced_frame(one: Frame, path: Path, number: int, groups: Sequence[Elements]) -> Frame:
    """Return one frame of a file with functional groups."""
    empty = Elements(path)

    def group(name: str) -> Elements:
        return next((where.items(name)[0] for where in groups if where.items(name)), empty)

    measures, content = group("PixelMeasuresSequence"), group("FrameContentSequence")
    transform, diffusion = group("PixelValueTransformationSequence"), group("MRDiffusionSequence")
    slope, intercept = (transform.first(name) for name in ("RescaleSlope", "RescaleIntercept"))
    direction = diffusion.items("DiffusionGradientDirectionSequence")
    part = group("MRImageFrameTypeSequence").text("ComplexImageComponent")
    when = [
        content.first(name) or 0.0 for name in ("TemporalPositionIndex", "FrameAcquisitionNumber")
    ]
    return replace(
        one,
        number=number,
        position=group("PlanePositionSequence").numbers("ImagePositionPatient", 3),
        cosines=group("PlaneOrientationSequence").numbers("ImageOrientationPatient", 6),
        pixel_spacing=measures.numbers("PixelSpacing", 2) or one.pixel_spacing,
        slice_step=step_of(measures) or one.slice_step,
        order=(one.order[0], *when, number),
        rescale=(slope, intercept or 0.0) if slope is not None else one.rescale,
        echo_ms=group("MREchoSequence").first("EffectiveEchoTime") or one.echo_ms,
        part=COMPLEX_PARTS.get(part, one.part),
        b_value=diffusion.first("DiffusionBValue"),
        b_vector=direction[0].numbers("DiffusionGradientOrientation", 3) if direction else None,
    )
