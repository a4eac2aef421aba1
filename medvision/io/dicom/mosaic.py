"""Mosaics: a whole volume as tiles of one image."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from medvision.errors import DecodeError
from medvision.io.dicom.elements import Elements
from medvision.io.dicom.headers import Frame
from medvision.io.dicom.private import siemens

SIEMENS_TILES, SIEMENS_CSA = 0x0019100A, 0x00291010


def mosaic_tiles(one: Frame, data: Elements) -> list[Frame]:
    """Return the tiles of a Siemens mosaic, row by row.

    Its position is that of a slice as large as the whole mosaic, and the order of its slices
    follows the normal of the Siemens CSA header (nibabel's description of the format:
    nipy.org/nibabel/dicom/dicom_mosaic.html).
    """
    coding, path = one.header.coding, data.path
    found = siemens(data, SIEMENS_TILES)
    normal, in_csa = csa_facts(data)
    count = int(found[0]) if found else in_csa
    side = math.ceil(math.sqrt(count))
    if count < 1 or coding.columns % side or coding.rows % side:
        raise DecodeError(
            f"{path} is a Siemens mosaic of {coding.columns} × {coding.rows} pixels that "
            f"does not hold {count or 'a known number of'} tiles."
        )
    if one.position is None or one.cosines is None or one.pixel_spacing is None:
        raise DecodeError(f"{path} is a Siemens mosaic without its place in the patient.")
    rows, columns = coding.rows // side, coding.columns // side
    row, column = np.reshape(one.cosines, (2, 3))
    upright = np.cross(row, column)
    if len(normal) == 3 and float(np.dot(upright, normal)) < 0:
        upright = -upright
    corner = (
        np.asarray(one.position)
        + row * one.pixel_spacing[1] * (coding.columns - columns) / 2
        + column * one.pixel_spacing[0] * (coding.rows - rows) / 2
    )
    step = upright * (one.slice_step or 1.0)
    return [
        replace(
            one, tile=t, rows=rows, columns=columns, position=tuple((corner + t * step).tolist())
        )
        for t in range(count)
    ]


def csa_facts(data: Elements) -> tuple[list[float], int]:
    """Return the normal of the slices and the number of tiles, from the Siemens CSA header."""
    raw = data.raw(SIEMENS_CSA)[1]
    if not raw:
        return [], 0
    with warnings.catch_warnings():  # nibabel warns that its other DICOM readers are unfinished
        warnings.simplefilter("ignore")
        from nibabel.nicom import csareader

        try:
            tags: dict[str, Any] = csareader.read(raw)["tags"]
            normal = [float(v) for v in tags.get("SliceNormalVector", {}).get("items", [])]
            count = tags.get("NumberOfImagesInMosaic", {}).get("items", [])
            return normal, int(count[0]) if count else 0
        except Exception:  # a damaged private header
            return [], 0
