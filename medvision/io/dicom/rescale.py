"""Stored values to values: rescale, modality lookup table, MONOCHROME1 (PS3.3 C.7.6.16, C.11.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels import apply_modality_lut

from medvision.errors import DecodeError
from medvision.io.dicom.color import read_tables
from medvision.io.dicom.elements import Elements
from medvision.io.dicom.headers import Coding, Frame

INT16 = np.iinfo(np.int16)
MAX_STEP = 1 << 31  # a slope or intercept beyond it is no whole number to count with
Line = tuple[float, float]  # slope, intercept


def line_of(frame: Frame) -> Line:
    """Return slope and intercept from the stored values of a frame to its values.

    MONOCHROME1, where high means dark, is mirrored within its bits, so that high is bright
    everywhere; but not where values have a unit (CT, PET).
    """
    slope, intercept = frame.rescale
    coding = frame.header.coding
    if not frame.header.inverted:
        return slope, intercept
    is_real = coding.where is not None and coding.where.kind != "int"
    top = 0 if is_real else -1 if coding.signed else (1 << coding.stored) - 1
    return -slope, intercept + slope * top


def is_whole(frame: Frame) -> bool:
    """Tell from its header whether a frame's values are whole numbers."""
    coding = frame.header.coding
    is_int = coding.where is None or coding.where.kind == "int"
    return is_int and all(v == int(v) and abs(v) < MAX_STEP for v in line_of(frame))


def rescale_int16(stored: NDArray[np.int16 | np.uint16], line: Line) -> bool:
    """Rescale whole numbers in place, leaving bits of int16, where all values fit that.

    Sums and products modulo 2^16 are right whenever their result fits. Returns False, and changes
    nothing, where one does not.
    """
    slope, intercept = (int(v) for v in line)
    ends = [int(stored.min()) * slope + intercept, int(stored.max()) * slope + intercept]
    if min(ends) < INT16.min or max(ends) > INT16.max:
        return False
    bits = stored.view(np.uint16)
    if slope != 1:
        np.multiply(bits, np.uint16(slope % (1 << 16)), out=bits)
    if intercept:
        np.add(bits, np.uint16(intercept % (1 << 16)), out=bits)
    return True


def rescaled(stored: NDArray[Any], line: Line) -> NDArray[Any]:
    """Return the values of stored values."""
    slope, intercept = line
    return stored if line == (1, 0) else stored * slope + intercept


def fits_int16(values: NDArray[Any]) -> bool:
    """Tell whether whole numbers are such as 16 bits hold."""
    return bool(values.min() >= INT16.min and values.max() <= INT16.max)


def looked_up(stored: NDArray[Any], coding: Coding) -> NDArray[Any]:
    """Return the values of stored values by the file's modality lookup table."""
    data = read_tables(coding, ["ModalityLUTSequence", "PixelRepresentation"])
    try:
        return np.asarray(apply_modality_lut(stored, data))
    except Exception:  # pydicom raises errors of many kinds
        raise DecodeError(f"{coding.path}: its ModalityLUTSequence is damaged.") from None


def padding_values(frame: Frame) -> tuple[float, float] | None:
    """Return the lowest and highest value that stands for nothing, None where none does.

    Voxels keep such values (as those of dcm2niix do): PixelPaddingValue, rescaled as all are.
    """
    padding = frame.header.padding
    if padding is None:
        return None
    slope, intercept = line_of(frame)
    first, last = (slope * value + intercept for value in padding)
    return min(first, last), max(first, last)


def rescale_of(groups: list[Elements]) -> tuple[float, float] | None:
    """Return slope and intercept from stored values to values; None where nothing is said.

    Those of the modality (PS3.3 C.11.1) come first; a Real World Value Mapping speaks where there
    are none.
    """
    for group in groups:
        slope, intercept = group.first("RescaleSlope"), group.first("RescaleIntercept")
        if slope is not None or intercept is not None:
            return 1.0 if slope is None else slope, intercept or 0.0
        dose = group.first("DoseGridScaling")  # PS3.3 C.8.8.3.4
        if dose:
            return dose, 0.0
    mapped = real_world_value(groups)
    return mapped[:2] if mapped else None


def real_world_value(groups: list[Elements]) -> tuple[float, float, str] | None:
    """Return slope, intercept and unit of the first linear Real World Value Mapping.

    Parameters
    ----------
    groups : list of Elements
        Where to look, in this order: a frame's functional groups, those that all frames share,
        the top level.

    Returns
    -------
    (float, float, str) or None
        From stored values to real ones, and the unit in UCUM (``"mm2/s"``); None where there is
        no mapping, or only one by a table (PS3.3 C.7.6.16.2.11).
    """
    for group in groups:
        for item in group.items("RealWorldValueMappingSequence"):
            slope = item.first("RealWorldValueSlope")
            if slope is None:
                continue
            units = item.items("MeasurementUnitsCodeSequence")
            unit = units[0].text("CodeValue") if units else ""
            return slope, item.first("RealWorldValueIntercept") or 0.0, unit
    return None
