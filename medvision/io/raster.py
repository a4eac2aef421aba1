"""Pictures (PNG, JPEG) to Volumes, through Pillow.

A picture has no place in the patient and no voxel size, and says so. Knows nothing of other
formats.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from medvision.errors import DecodeError
from medvision.geometry import Voxels
from medvision.volume import SeriesInfo, Volume

SUFFIXES = (".png", ".jpg", ".jpeg")
GRAY_MODES = {"1": "L", "LA": "L", "La": "L"}  # what to convert to, to drop a mask or alpha


def is_raster(path: Path) -> bool:
    """Tell by its name whether a file is a picture."""
    return path.suffix.lower() in SUFFIXES


def read_raster(path: Path) -> Volume:
    """Read a picture as one slice.

    Columns run to the patient's left and rows to the feet, as on a film seen from the front; the
    pixel size is unknown, so ``info.spacing_known`` is False. EXIF rotation is applied, alpha
    dropped, palettes resolved; 8 and 16 bits are kept.

    Returns
    -------
    Volume
        (1, I, J, 1), or (3, I, J, 1) for color; i counts columns, j rows.

    Raises
    ------
    DecodeError
        When the file is empty, damaged, no picture, or too large to be a scan.
    """
    if path.stat().st_size == 0:
        raise DecodeError(f"{path} is empty (0 bytes).")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                upright = ImageOps.exif_transpose(image)
                array = _pixels(upright)
    except UnidentifiedImageError:
        raise DecodeError(f"{path} is not a picture that can be read (PNG or JPEG).") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DecodeError(f"{path} claims more pixels than a scan has.") from None
    except (OSError, SyntaxError, ValueError, EOFError):
        raise DecodeError(f"{path} is cut short or damaged.") from None
    info = SeriesInfo(
        description=path.stem,
        channels="color" if len(array) > 1 else "",
        spacing_known=False,
        sources=(path,),
    )
    # i grows to the left, j to the feet, k to the front: RAS (-x, -z, +y)
    affine = np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    return Volume(array, affine, info)


def _pixels(image: Image.Image) -> Voxels:
    """Return (C, columns, rows, 1)."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F", "L"):
        plane = np.asarray(image)  # (rows, columns)
    elif image.mode in GRAY_MODES:
        plane = np.asarray(image.convert(GRAY_MODES[image.mode]))
    else:  # RGB, RGBA, P, CMYK, YCbCr …
        plane = np.asarray(image.convert("RGB"))
    if plane.ndim == 3 and (plane == plane[..., :1]).all():  # gray saved as color
        plane = plane[..., 0]
    if plane.dtype == np.int32 and plane.min() >= 0 and plane.max() < 1 << 16:
        plane = plane.astype(np.uint16)  # older Pillow's 16-bit gray
    planes = plane[None] if plane.ndim == 2 else np.moveaxis(plane, -1, 0)
    return np.ascontiguousarray(planes.swapaxes(1, 2)[..., None])
