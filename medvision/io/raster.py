"""Pictures (PNG, JPEG, TIFF, WebP, BMP) to Volumes, through Pillow.

A picture has no place in the patient and seldom a voxel size, and says so. Knows nothing of other
formats.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from medvision.errors import DecodeError
from medvision.geometry import Affine, Voxels
from medvision.io.bids import read_sidecar
from medvision.io.picture_scale import Scale, described_scale, sidecar_scale
from medvision.io.values import told_odd
from medvision.room import check_room
from medvision.volume import SeriesInfo, Volume

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
GRAY_MODES = {"1": "L", "LA": "L", "La": "L"}  # what to convert to, to drop a mask or alpha
MAX_PIXELS = 1 << 31  # of all pages; Pillow's own limit holds for each
SWAPPED = (5, 6, 7, 8)  # EXIF orientations that exchange rows and columns
EXIF_ORIENTATION, DESCRIPTION, X_RESOLUTION, Y_RESOLUTION = 274, 270, 282, 283  # TIFF tags
BAD_FILE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
)


def is_raster(path: Path) -> bool:
    """Tell by its name whether a file is a picture."""
    return path.suffix.lower() in SUFFIXES


def read_raster(path: Path) -> Volume:
    """Read a picture as one slice, or a TIFF of many pages as a stack of slices.

    Columns run to the patient's left and rows to the feet, as on a film seen from the front; pages
    run to the front. EXIF rotation is applied, alpha dropped, palettes resolved; gray of 8, 16 and
    32 bits and floats are kept, color is 8 bits.

    The pixel size is known when a side-car ``<stem>.json`` says ``{"PixelSpacing": [row_mm,
    column_mm]}`` (and ``"SpacingBetweenSlices"`` for pages), or when a TIFF says so in OME-XML or
    in ImageJ's words. The dpi of a file is not believed: it is a size on paper. Without a pixel
    size, or a stack's page distance, ``info.spacing_known`` is False.

    Returns
    -------
    Volume
        (1, I, J, K), or (3, I, J, K) for color; i counts columns, j rows, k pages.

    Raises
    ------
    DecodeError
        When the file is empty, damaged, no picture, or too large to be a scan; or when its pages
        make no stack.
    """
    sidecar, notes = read_sidecar(path.with_suffix(".json"))
    with _opened(path) as image:
        scale = _scale(path, image, sidecar)
        planes = [_plane(page) for page in _pages(image)]
    if len({plane.shape for plane in planes}) > 1:
        raise DecodeError(f"{path} has pages of different sizes or kinds: they make no stack.")
    array = _plain(np.stack(planes, axis=-1))
    info = SeriesInfo(
        description=path.stem,
        channels="color" if len(array) > 1 else "",
        spacing_known=bool(_spacing(scale, len(planes))),
        sources=(path,),
        notes=(*notes, *told_odd(array)),
    )
    return Volume(array, _affine(_spacing(scale, len(planes)) or (1.0, 1.0, 1.0)), info)


def raster_facts(path: Path) -> tuple[tuple[int, int, int, int], tuple[float, ...]]:
    """Return shape (C, I, J, K) and spacing in mm, empty when unknown, without decoding a pixel.

    Gray that was saved as color counts as color here: only its pixels tell.

    Raises
    ------
    DecodeError
        As `read_raster`, but for the pixels.
    """
    sidecar, _ = read_sidecar(path.with_suffix(".json"))
    with _opened(path) as image:
        columns, rows = image.size
        if image.format != "TIFF" and image.getexif().get(EXIF_ORIENTATION) in SWAPPED:
            columns, rows = rows, columns  # of a TIFF, Pillow tells the size after turning
        count = 1 if _is_gray(image) else 3
        pages = _page_count(image)
        spacing = _spacing(_scale(path, image, sidecar), pages)
    return (count, columns, rows, pages), spacing


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture; whatever goes wrong inside becomes a `DecodeError` that names it."""
    try:
        if path.stat().st_size == 0:
            raise DecodeError(f"{path} is empty (0 bytes).")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is none of the pixels' business
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if _page_count(image) * math.prod(image.size) > MAX_PIXELS:
                    raise Image.DecompressionBombError
                check_room(path, _page_count(image) * math.prod(image.size))  # a byte each, or more
                yield image
    except UnidentifiedImageError:
        raise DecodeError(
            f"{path} is not a picture that can be read (PNG, JPEG, TIFF, WebP or BMP)."
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DecodeError(f"{path} claims more pixels than a scan has.") from None
    except (*BAD_FILE, MemoryError):
        raise DecodeError(f"{path} is cut short or damaged.") from None


def _page_count(image: Image.Image) -> int:
    """Return the pages of a TIFF; other formats' further frames are animation, and passed over."""
    return int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1


def _pages(image: Image.Image) -> Iterator[Image.Image]:
    for number in range(_page_count(image)):
        if number:
            image.seek(number)
        yield ImageOps.exif_transpose(image)


def _is_gray(image: Image.Image) -> bool:
    return image.mode in ("F", "L", *GRAY_MODES) or image.mode.startswith("I")


def _plane(image: Image.Image) -> Voxels:
    """Return (C, columns, rows)."""
    if _is_gray(image):
        plane = np.asarray(image.convert(GRAY_MODES.get(image.mode, image.mode)))[None]
    else:  # RGB, RGBA, P, CMYK, YCbCr …
        plane = np.moveaxis(np.asarray(image.convert("RGB")), -1, 0)
    return plane.swapaxes(1, 2)


def _plain(array: Voxels) -> Voxels:
    """Return gray that was saved as color as gray, and 16 bits as 16 bits."""
    if len(array) > 1 and (array == array[:1]).all():
        array = array[:1]
    if array.dtype == np.int32 and array.min() >= 0 and array.max() < 1 << 16:
        array = array.astype(np.uint16)  # Pillow's "I" holds more than most of its files
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _scale(path: Path, image: Image.Image, sidecar: dict[str, Any]) -> Scale:
    """Return what is known of the pixels' size: the side-car has the last word."""
    described, pages = Scale(), _page_count(image)
    if image.format == "TIFF":
        tags = image.getexif()
        description = tags.get(DESCRIPTION)
        per_unit = [_number(tags.get(tag)) for tag in (X_RESOLUTION, Y_RESOLUTION)]
        if isinstance(description, str):
            described = described_scale(description, per_unit)
    if described.pages not in (0, pages):
        raise DecodeError(
            f"{path} has {pages} pages and says that they are {described.pages} slices: times or "
            "colors among the pages, or pages that are not there, make no stack."
        )
    return sidecar_scale(sidecar) or described


def _number(value: Any) -> float:
    """Return a TIFF's rational as a number, 0 when it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return 0.0


def _spacing(scale: Scale, pages: int) -> tuple[float, ...]:
    """Return mm along i, j, k, or nothing when one is unknown; one page alone is 1 mm thick."""
    sizes = (scale.column_mm, scale.row_mm, scale.page_mm if pages > 1 else 1.0)
    return sizes if all(sizes) else ()


def _affine(spacing: tuple[float, ...]) -> Affine:
    """Return voxel index to RAS mm: i grows to the left, j to the feet, k to the front."""
    i, j, k = spacing
    return np.array([[-i, 0, 0, 0], [0, 0, k, 0], [0, -j, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
