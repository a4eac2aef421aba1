"""Stored colors to red, green and blue of 8 bits (PS3.3 C.7.6.3.1.2, C.7.6.3.1.5)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_color_lut, convert_color_space

from medvision.errors import DecodeError
from medvision.io.dicom.codecs import LOSSY_JPEG
from medvision.io.dicom.headers import Coding

PALETTE = "PALETTE COLOR"
LUMINANCE = ("YBR_FULL", "YBR_FULL_422")  # and two differences of color
TRANSFORMED = ("YBR_RCT", "YBR_ICT")  # by JPEG 2000, whose decoder undoes it
PALETTE_TAGS = [
    "BitsAllocated", "BitsStored", "PixelRepresentation", "PhotometricInterpretation",
    *(
        f"{color}PaletteColorLookupTable{what}"
        for color in ("Red", "Green", "Blue", "Alpha")
        for what in ("Descriptor", "Data")
    ),
    *(f"Segmented{color}PaletteColorLookupTableData" for color in ("Red", "Green", "Blue")),
]  # fmt: skip


def check_colors(coding: Coding) -> None:
    """Refuse pixels whose colors nothing here understands."""
    known = ("RGB", "", *LUMINANCE, *TRANSFORMED)
    if coding.samples == 1:
        return
    if coding.samples != 3 or coding.photometric not in known or coding.allocated not in (8, 16):
        raise DecodeError(
            f"{coding.path}: its pixels are {coding.samples} values of {coding.allocated} bits of "
            f"{coding.photometric or '?'}; medvision reads one value, or three of 8 or 16 bits of "
            f"{', '.join(filter(None, known))}."
        )


def to_rgb(stored: NDArray[Any], coding: Coding) -> NDArray[np.uint8]:
    """Return stored colors, (rows, columns, 3), as red, green and blue."""
    values = to_8_bits(stored, coding.stored)
    turned = coding.syntax in LOSSY_JPEG or coding.photometric not in LUMINANCE
    return values if turned else np.asarray(convert_color_space(values, "YBR_FULL", "RGB"))


def to_8_bits(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Return the highest 8 of `bits` bits."""
    return (values >> max(bits - 8, 0)).astype(np.uint8)


class Palette:
    """Colors of stored values, by the tables in a file, whole or in segments."""

    def __init__(self, coding: Coding) -> None:
        self.coding = coding
        self.data = read_tables(coding, PALETTE_TAGS)

    def __call__(self, stored: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the colors, (rows, columns, 3), of stored values, (rows, columns)."""
        try:
            colors = apply_color_lut(stored, self.data)
        except Exception:  # pydicom raises errors of many kinds
            raise DecodeError(
                f"{self.coding.path}: its color palette is missing or damaged."
            ) from None
        return to_8_bits(np.asarray(colors), 8 * colors.itemsize)


def read_tables(coding: Coding, tags: list[str]) -> Dataset:
    """Return elements that few files need, as pydicom reads them."""
    with warnings.catch_warnings():  # pydicom's words may repeat a value: not for logs
        warnings.simplefilter("ignore")
        try:
            return dcmread(coding.path, force=True, specific_tags=tags, stop_before_pixels=True)
        except Exception:
            raise DecodeError(f"{coding.path}: its lookup tables cannot be read.") from None
