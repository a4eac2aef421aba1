"""Pixels of one file: decoded, upright in brightness, rescaled."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_modality_lut, get_decoder

from medvision.errors import DecodeError
from medvision.io.dicom.headers import Header


def decode(header: Header) -> NDArray[np.float64]:
    """Return the values of one slice, (columns, rows), rescaled as the file asks for.

    MONOCHROME1, where high means dark, is inverted, so that high is bright everywhere; but not
    where values have a unit (CT, PET).

    Raises
    ------
    DecodeError
        When the pixels are missing, cut short, or coded in a way that nothing here decodes.
    """
    with warnings.catch_warnings():  # pydicom's words may repeat a value, which is not for logs
        warnings.simplefilter("ignore")
        try:
            data = dcmread(header.path, force=True)
            if "TransferSyntaxUID" not in data.file_meta:
                data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"  # the default, PS3.5 10.1
            stored = data.pixel_array  # (rows, columns)
            if header.inverted:
                stored = inverted(stored, data)
            values = apply_modality_lut(stored, data)
        except Exception:  # pydicom and its plugins raise errors of many kinds on damaged data
            raise DecodeError(reason(header)) from None
    if values.shape != (header.rows, header.columns):
        raise DecodeError(
            f"{header.path}: the header promises {header.columns} × {header.rows} pixels, "
            f"the data holds {' × '.join(str(n) for n in values.shape[::-1])}."
        )
    return np.asarray(values, dtype=np.float64).T


def inverted(stored: NDArray[np.generic], data: Dataset) -> NDArray[np.generic]:
    """Mirror stored values within their range of BitsStored bits."""
    top = (1 << int(data.BitsStored)) - 1
    return (-1 - stored) if data.PixelRepresentation else (top - stored)  # type: ignore[no-any-return, operator]


def reason(header: Header) -> str:
    """Say why pixels could not be decoded, and what may help."""
    from pydicom.uid import UID

    try:
        uid = UID(
            str(
                dcmread(
                    header.path, stop_before_pixels=True, force=True
                ).file_meta.TransferSyntaxUID
            )
        )
        installed = get_decoder(uid).is_available
    except Exception:  # an unknown transfer syntax, or none
        installed = True
    if installed:
        return (
            f"{header.path}: its pixel data ({header.syntax}) is missing, cut short or "
            "damaged, and cannot be decoded."
        )
    return (
        f"{header.path} is coded as {header.syntax}, which needs a decoder: "
        "pip install 'medvision-toolkit[dicom]'"
    )
