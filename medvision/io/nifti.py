"""NIfTI and FreeSurfer files to Volumes: 2D, 3D and 4D.

Knows nothing of other formats.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from nibabel.volumeutils import apply_read_scaling

from medvision.errors import DecodeError
from medvision.geometry import Affine, Voxels
from medvision.io.bids import Directions, read_gradients, read_sidecar, series_words
from medvision.io.nifti_header import NiftiHeader, read_header
from medvision.io.values import plain_values, told_odd
from medvision.volume import SeriesInfo, Volume

SUFFIXES = (".nii", ".nii.gz", ".mgh", ".mgz")
PAIRS = {".hdr": ".img", ".hdr.gz": ".img.gz"}  # header → voxels
COLOR_INTENTS = (2003, 2004)  # NIFTI_INTENT_RGB_VECTOR, NIFTI_INTENT_RGBA_VECTOR
MAX_CHANNELS = 3  # of color: alpha is dropped


def is_nifti(path: Path) -> bool:
    """Tell by its name whether a file is NIfTI or FreeSurfer's.

    Of a pair, the ``.hdr`` is, where its ``.img`` lies beside it; the ``.img`` never, so that a
    pair is found once.
    """
    name = path.name.lower()
    return name.endswith(SUFFIXES) or (name.endswith(tuple(PAIRS)) and voxels_of(path).is_file())


def nifti_stem(path: Path) -> str:
    """Return the file name without ``.nii``, ``.nii.gz`` and the like."""
    name = path.name
    for suffix in sorted((*SUFFIXES, *PAIRS, *PAIRS.values()), key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return path.stem


def voxels_of(path: Path) -> Path:
    """Return the file with the voxels: the ``.img`` beside a ``.hdr``, else the file itself."""
    for head, data in PAIRS.items():
        if path.name.lower().endswith(head):
            found = path.name[-len(head) :]
            return path.with_name(nifti_stem(path) + (data.upper() if found.isupper() else data))
    return path


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI file, a ``.hdr``/``.img`` pair, or a FreeSurfer ``.mgz``.

    The sform is used when its code is above 0, else the qform, else the voxel sizes alone
    (nibabel's ``get_best_affine``); a conflict between the two is told in ``info.notes``.
    ``scl_slope`` and ``scl_inter`` are applied; integers without them stay integers. A fourth axis
    becomes the channels, ``"time"``. A plain file without scaling, in the machine's byte order, is
    mapped into memory and not copied.

    A BIDS side-car ``<stem>.json`` gives modality and description; ``<stem>.bval`` and
    ``<stem>.bvec`` make the channels ``"diffusion"``.

    Raises
    ------
    DecodeError
        When the file is empty, cut short, damaged, not NIfTI, or holds complex or 5-D values.
    GeometryError
        When its affine is not finite and invertible.
    """
    header, affine, notes = open_nifti(path)
    array, channels, told = _values(path, header)
    stem = nifti_stem(path)
    sidecar, unread = read_sidecar(path.with_name(f"{stem}.json"))
    modality, words = series_words(sidecar)
    b_values: tuple[float, ...] = ()
    b_vectors: Directions = ()
    if channels == "time":
        b_values, b_vectors, unfit = read_gradients(path.with_name(stem), len(array), affine)
        channels, unread = ("diffusion" if b_values else header.fourth), unread + unfit
    info = SeriesInfo(
        modality=modality,
        description=words or stem,
        unit="HU" if modality == "CT" else "",
        channels=channels,
        b_values=b_values,
        b_vectors=b_vectors,
        space=header.space,
        sources=tuple(dict.fromkeys((path, header.voxels.path))),
        notes=(*notes, *told, *unread),
    )
    return Volume(array, affine, info)


def open_nifti(path: Path) -> tuple[NiftiHeader, Affine, list[str]]:
    """Read the header of a NIfTI file: the header, its affine to RAS mm, and what was decided.

    Raises
    ------
    DecodeError, GeometryError
        As `read_nifti`, but for the voxels.
    """
    data = voxels_of(path)
    if not data.is_file():
        raise DecodeError(f"{path} is half of a pair: {data.name} is not beside it.")
    header, affine, notes = read_header(path, data)
    grid_of(path, header)
    return header, affine, notes


def nifti_facts(path: Path) -> tuple[tuple[int, int, int, int], Affine, list[str]]:
    """Return shape (C, I, J, K), affine and notes from the header alone.

    Raises
    ------
    DecodeError, GeometryError
        As `read_nifti`, but for the voxels.
    """
    header, affine, notes = open_nifti(path)
    return grid_of(path, header), affine, notes


def grid_of(path: Path, header: NiftiHeader) -> tuple[int, int, int, int]:
    """Return the shape (C, I, J, K) that the voxels will have, or say why they make none."""
    shape, dtype = header.shape, header.voxels.dtype
    if not dtype.fields and dtype.kind not in "iuf":
        raise DecodeError(f"{path} holds {dtype} values; real numbers are needed.")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    i, j, k, *more = (*shape, 1, 1)[: max(3, len(shape))]
    if dtype.fields:
        more.append(MAX_CHANNELS)
    elif len(more) == 2 and more[0] == 1 and header.intent in COLOR_INTENTS:
        more = [min(more[1], MAX_CHANNELS)]
    if len(more) > 1 or len(shape) < 2:
        vector = len(more) == 2 and more[0] == 1
        what = f" ({more[1]} numbers a voxel, intent code {header.intent})" if vector else ""
        raise DecodeError(f"{path} has shape {header.shape}{what}; 2 to 4 axes can be read.")
    return (more[0] if more else 1), i, j, k


def _values(path: Path, header: NiftiHeader) -> tuple[Voxels, str, list[str]]:
    """Return the true values (C, I, J, K), what the channels mean, and what is odd about them."""
    shape = grid_of(path, header)
    stored = header.voxels.read()
    if stored.dtype.fields:  # RGB24 or RGBA32: one record a voxel
        stored = np.stack([stored[name] for name in ("R", "G", "B")], axis=-1)
    color = bool(header.voxels.dtype.fields) or header.intent in COLOR_INTENTS
    # The channels lie last in the file; alpha, if there is any, behind them.
    array = np.moveaxis(stored.reshape(*shape[1:], -1, order="F"), -1, 0)[: shape[0]]
    channels = "color" if color and shape[0] == MAX_CHANNELS else "time" if shape[0] > 1 else ""
    try:
        with np.errstate(all="ignore"):
            array = plain_values(apply_read_scaling(array, header.slope, header.inter))
    except MemoryError:
        raise DecodeError(f"{path} needs more memory than there is.") from None
    return array, channels, told_odd(array)
