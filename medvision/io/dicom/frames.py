"""The slices in one file: a single image, the tiles of a mosaic, or the frames of a multi-frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from medvision.errors import DecodeError
from medvision.io.dicom.elements import DEFLATED, Elements, read_elements
from medvision.io.dicom.enhanced import enhanced_frames
from medvision.io.dicom.headers import Frame, Header, NoImage, header_of, no_image_of
from medvision.io.dicom.mosaic import mosaic_tiles, uih_tiles
from medvision.io.dicom.pixels import check_size
from medvision.io.dicom.private import (
    PHILIPS_SCALE,
    UIH_TILES,
    diffusion_of,
    is_made_by,
    part_of,
    volume_key,
)
from medvision.io.dicom.rescale import rescale_of
from medvision.io.dicom.traits import step_of, traits_of

MAX_FRAMES = 100_000


def read_frames(path: Path) -> list[Frame]:
    """Read the slices of a file, without their pixels; none when it holds no image.

    Raises
    ------
    DecodeError
        When the file is no DICOM, cut short, or contradicts itself.
    """
    found = frames_in(read_elements(path))
    return [] if isinstance(found, NoImage) else found


def frames_in(data: Elements) -> list[Frame] | NoImage:
    """Return the slices of a file, in the order in which they are stored, or what else it is."""
    other = no_image_of(data)
    if other is not None:
        return other
    header = header_of(data)
    one = single_frame(header, data)
    count = header.coding.frames
    if not 1 <= count <= MAX_FRAMES:
        raise DecodeError(f"{header.path} claims {count} frames; 1 to {MAX_FRAMES} can be read.")
    if count > 1 and header.coding.where is not None and data.syntax != DEFLATED:
        check_size(header.coding, header.path.stat().st_size)  # before as many are made
    if any(f"{whose}FunctionalGroupsSequence" in data for whose in ("PerFrame", "Shared")):
        return enhanced_frames(one, data, count)
    if count > 1:
        return stored_frames(one, data, count)
    if "MOSAIC" in header.image_type:
        return mosaic_tiles(one, data)
    if is_made_by(data, "uih") and (data.first(UIH_TILES) or 0) > 1:
        return uih_tiles(one, data)
    return [one]


def single_frame(header: Header, data: Elements) -> Frame:
    """Return what the top level of a file says of its slice."""
    place = data
    if "ImagePositionPatient" not in data and data.items("DetectorInformationSequence"):
        place = data.items("DetectorInformationSequence")[0]  # PS3.3 C.8.4.11: nuclear medicine
    b_value, direction = diffusion_of(data)
    philips = header.modality == "MR" and is_made_by(data, "philips")
    number = data.whole("ImageIndex") if header.modality == "PT" else None  # PS3.3 C.8.9.4.1.9
    return Frame(
        header=header,
        number=0,
        tile=None,
        rows=header.coding.rows,
        columns=header.coding.columns,
        position=place.numbers("ImagePositionPatient", 3),
        cosines=place.numbers("ImageOrientationPatient", 6),
        pixel_spacing=data.numbers("PixelSpacing", 2),
        slice_step=step_of(data),
        order=(header.instance_number if number is None else number, 0),
        volume=volume_key(data),
        traits=traits_of(header, data, part_of(data)),
        rescale=rescale_of([data]) or (1.0, 0.0),
        scale=data.first(PHILIPS_SCALE) if philips else None,
        seconds=seconds_of(data),
        b_value=b_value,
        b_vector=direction,
    )


def seconds_of(data: Elements) -> float | None:
    """Return when a slice was taken, in seconds from a moment that its series has in common.

    PET counts from the reference time, the heart from its last beat, all others from midnight.
    """
    for name in ("FrameReferenceTime", "TriggerTime"):
        milliseconds = data.first(name)
        if milliseconds:
            return milliseconds / 1000
    clock = data.text("AcquisitionTime").replace(":", "")
    try:
        hours, minutes, seconds = int(clock[:2]), int(clock[2:4] or 0), float(clock[4:] or 0)
    except ValueError:
        return None
    return 3600.0 * hours + 60 * minutes + seconds


def stored_frames(one: Frame, data: Elements, count: int) -> list[Frame]:
    """Return the frames of a multi-frame file without functional groups.

    A dose grid says where they lie (GridFrameOffsetVector), reconstructed nuclear medicine stacks
    them along the normal (SpacingBetweenSlices, SliceVector); all others are moments of one place.
    """
    frames = [replace(one, number=n, order=(one.order[0], n)) for n in range(count)]
    if one.position is None or one.cosines is None:
        return frames
    row, column = np.reshape(one.cosines, (2, 3))
    normal = np.cross(row, column)
    offsets = data.numbers("GridFrameOffsetVector")
    if offsets is not None:
        return placed(frames, dose_offsets(one, normal, offsets, count), normal)
    step = data.first("SpacingBetweenSlices")
    if one.header.modality in ("NM", "PT") and step and "TOMO" in "".join(one.header.image_type):
        slices = max(1, int(data.first("NumberOfSlices") or count))
        vector = data.numbers("SliceVector") or tuple(n % slices + 1.0 for n in range(count))
        if len(vector) != count:
            raise DecodeError(f"{data.path} holds {count} frames and places for {len(vector)}.")
        return placed(frames, (np.asarray(vector) - 1) * abs(step), normal)
    return frames


def placed(
    frames: list[Frame], offsets: np.ndarray[tuple[int, ...], np.dtype[np.float64]], normal: object
) -> list[Frame]:
    """Return frames at offsets along the normal, in mm from the place of the first."""
    start = np.asarray(frames[0].position)
    places = start + np.outer(offsets, np.asarray(normal))
    return [
        replace(frame, position=tuple(place.tolist()))
        for frame, place in zip(frames, places, strict=True)
    ]


def dose_offsets(
    one: Frame, normal: object, offsets: tuple[float, ...], count: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return how far each frame of a dose grid lies along the normal from the first (mm).

    PS3.3 C.8.8.3.2: the vector starts at 0 and is relative, or it holds z itself and then starts
    at the z of ImagePositionPatient.

    Raises
    ------
    DecodeError
        When it is neither, or has another length.
    """
    path, start = one.header.path, np.asarray(one.position)
    if len(offsets) != count:
        raise DecodeError(f"{path} holds {count} frames and places for {len(offsets)}.")
    found = np.asarray(offsets)
    if found[0] == 0:
        return found
    upright = float(np.asarray(normal)[2])
    if abs(found[0] - start[2]) > 1e-3 or abs(abs(upright) - 1) > 1e-4:
        raise DecodeError(
            f"{path}: its GridFrameOffsetVector starts at {offsets[0]:g}, which is neither 0 nor "
            "the z of its first frame."
        )
    return np.asarray((found - found[0]) * np.sign(upright))
