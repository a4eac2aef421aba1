"""NIfTI files to Volumes: 2D, 3D and 4D, through nibabel.

Knows nothing of other formats.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from medvision.errors import DecodeError, GeometryError
from medvision.geometry import Affine, Voxels, check_affine, corners, to_world
from medvision.volume import SeriesInfo, Volume

SUFFIXES = (".nii", ".nii.gz")
SPACES = {1: "scanner", 2: "aligned", 3: "talairach", 4: "mni"}  # NIfTI-1 xform codes
MM_PER_UNIT = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
BAD_FILE = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error)


def is_nifti(path: Path) -> bool:
    """Tell by its name whether a file is NIfTI."""
    return path.name.lower().endswith(SUFFIXES)


def nifti_stem(path: Path) -> str:
    """Return the file name without ``.nii`` or ``.nii.gz``."""
    name = path.name
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return path.stem


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI file.

    The sform is used when its code is above 0, else the qform, else the voxel sizes alone
    (nibabel's ``get_best_affine``); a conflict between the two is told in ``info.notes``.
    ``scl_slope`` and ``scl_inter`` are applied. A fourth axis becomes the channels, ``"time"``.

    Raises
    ------
    DecodeError
        When the file is empty, cut short, not NIfTI, or holds complex or 5-D values.
    GeometryError
        When its affine is not finite and invertible.
    """
    image, affine, notes = open_nifti(path)
    try:
        array = np.asanyarray(image.dataobj)
    except (*BAD_FILE, MemoryError):
        raise DecodeError(
            f"{path} is cut short or damaged: its header promises {image.shape} voxels of "
            f"{image.get_data_dtype()}, which could not be read."
        ) from None
    array, channels = _channels_first(path, array)
    codes = [int(image.header["sform_code"]), int(image.header["qform_code"])]
    info = SeriesInfo(
        description=nifti_stem(path),
        channels=channels,
        space=next((SPACES[c] for c in codes if c in SPACES), ""),
        sources=(path,),
        notes=tuple(notes),
    )
    return Volume(array, affine, info)


def open_nifti(path: Path) -> tuple[nib.Nifti1Image, Affine, list[str]]:
    """Read the header of a NIfTI file: the image, its affine to RAS mm, and what was decided.

    Raises
    ------
    DecodeError, GeometryError
        As `read_nifti`, but for the voxels.
    """
    if path.stat().st_size == 0:
        raise DecodeError(f"{path} is empty (0 bytes).")
    try:
        image = nib.load(path)
    except BAD_FILE:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        fits = (
            "gzip, as a .nii.gz is, but what it holds is cut short or no NIfTI header"
            if zipped
            else "no NIfTI header"
        )
        raise DecodeError(f"{path} is not a readable NIfTI file: it holds {fits}.") from None
    if not isinstance(image, nib.Nifti1Image):  # Nifti2Image and pairs derive from it
        raise DecodeError(f"{path} is {type(image).__name__}, not NIfTI.")
    try:
        affine, notes = _affine_of(image)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from None
    return image, affine, notes


def _affine_of(image: nib.Nifti1Image) -> tuple[Affine, list[str]]:
    header, notes = image.header, []
    sform, s_code = header.get_sform(coded=True)
    try:
        qform, q_code = header.get_qform(coded=True)
    except (HeaderDataError, ValueError):  # a quaternion that is none
        qform, q_code = None, 0
    try:
        chosen = sform if s_code else qform if q_code else header.get_base_affine()
    except (HeaderDataError, ValueError):
        raise GeometryError("The voxel sizes in the header are not usable.") from None
    if not s_code and not q_code:
        notes.append(
            "The file says nothing of orientation (sform and qform codes are 0): "
            "left and right are a guess."
        )
    unit = header.get_xyzt_units()[0]
    scale = MM_PER_UNIT.get(unit, 1.0)
    if scale != 1.0:
        notes.append(f"The header counts in {unit}; converted to mm.")
    affine = check_affine(np.diag([scale, scale, scale, 1.0]) @ chosen)
    if s_code and q_code:
        edges = corners((*image.shape, 1, 1)[:3])
        gap = np.abs(to_world(sform, edges) - to_world(qform, edges)).max() * scale
        if gap > 0.1:
            notes.append(f"sform and qform differ by up to {gap:.1f} mm; the sform is used.")
    return affine, notes


def _channels_first(path: Path, array: Voxels) -> tuple[Voxels, str]:
    if array.dtype.fields:  # RGB24 or RGBA32: one record a voxel
        colors = [array[name] for name in ("R", "G", "B")]
        array = np.stack(colors)
        return array.reshape(*array.shape, *[1] * (4 - array.ndim)), "color"
    if array.dtype.kind not in "iufb":
        raise DecodeError(f"{path} holds {array.dtype} values; real numbers are needed.")
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim > 4 or array.ndim < 2 or 0 in array.shape:
        raise DecodeError(f"{path} has shape {array.shape}; 2 to 4 axes can be read.")
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    if array.ndim == 4:
        return np.moveaxis(array, -1, 0), "time"
    return array.reshape(1, *array.shape, *[1] * (3 - array.ndim)), ""
