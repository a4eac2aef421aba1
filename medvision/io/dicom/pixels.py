"""Pixels of one file: decoded once, then each slice upright in brightness and rescaled."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_color_lut, apply_modality_lut, get_decoder
from pydicom.uid import UID, ImplicitVRLittleEndian

from medvision.errors import DecodeError
from medvision.io.dicom.headers import Frame, Header


class Pixels:
    """The decoded pixels of one file.

    Raises
    ------
    DecodeError
        When they are missing, cut short, or coded in a way that nothing here decodes.
    """

    def __init__(self, header: Header) -> None:
        self.header = header
        with warnings.catch_warnings():  # pydicom's words may repeat a value: not for logs
            warnings.simplefilter("ignore")
            try:
                self.data = dcmread(header.path, force=True)
                if "TransferSyntaxUID" not in self.data.file_meta:
                    self.data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian  # PS3.5 10.1
                stored = self.data.pixel_array
                if header.coding.photometric == "PALETTE COLOR":
                    stored = apply_color_lut(stored, self.data)
            except Exception:  # pydicom and its plugins raise errors of many kinds
                raise DecodeError(reason(header)) from None
        coding = header.coding
        color = (3,) if header.color else ()
        shape = (coding.frames, coding.rows, coding.columns, *color)
        if stored.size != np.prod(shape):
            raise DecodeError(
                f"{header.path}: the header promises {coding.frames} × {coding.columns} × "
                f"{coding.rows} pixels, the data holds {' × '.join(map(str, stored.shape))}."
            )
        self.stored: NDArray[Any] = stored.reshape(shape)

    def values(self, frame: Frame) -> NDArray[Any]:
        """Return the values of one slice, (columns, rows), or (3, columns, rows) in color.

        Rescaled as the file or the frame asks for. MONOCHROME1, where high means dark, is
        inverted, so that high is bright everywhere; but not where values have a unit (CT, PET).
        """
        stored = self.stored[frame.number]
        if frame.tile is not None:
            down, across = divmod(frame.tile, self.header.coding.columns // frame.columns)
            stored = stored[
                down * frame.rows : (down + 1) * frame.rows,
                across * frame.columns : (across + 1) * frame.columns,
            ]
        if self.header.color:
            scaled = stored if stored.dtype == np.uint8 else stored >> (8 * (stored.itemsize - 1))
            return np.asarray(np.moveaxis(scaled, -1, 0).swapaxes(1, 2))
        if self.header.inverted:
            stored = inverted(stored, self.data)
        if "ModalityLUTSequence" in self.data:
            return np.asarray(apply_modality_lut(stored, self.data)).T
        slope, intercept = frame.rescale
        if slope == 1 and intercept == 0:
            return stored.T
        return np.asarray(stored * slope + intercept).T


def inverted(stored: NDArray[Any], data: Dataset) -> NDArray[Any]:
    """Mirror stored values within their range of BitsStored bits."""
    top = (1 << int(data.BitsStored)) - 1
    return (-1 - stored) if data.PixelRepresentation else (top - stored)


def reason(header: Header) -> str:
    """Say why pixels could not be decoded, and what may help."""
    try:
        uid = UID(str(dcmread(header.path, stop_before_pixels=True).file_meta.TransferSyntaxUID))
        installed = get_decoder(uid).is_available
    except Exception:  # an unknown transfer syntax, or none
        installed = True
    if installed:
        return (
            f"{header.path}: its pixel data ({header.coding.syntax_name}) is missing, cut short or damaged, "
            "and cannot be decoded."
        )
    return (
        f"{header.path} is coded as {header.coding.syntax_name}, which needs a decoder: "
        "pip install 'medvision-toolkit[dicom]'"
    )
