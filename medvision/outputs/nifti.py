"""Volumes to NIfTI, byte for byte the same each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip
from numpy.typing import NDArray

from medvision.errors import OutputError
from medvision.files import atomic_path
from medvision.volume import Volume

SUFFIXES = (".nii", ".nii.gz")
CODES = {"scanner": 1, "aligned": 2, "talairach": 3, "mni": 4}  # NIfTI-1 xform codes
LEVEL = 2  # of igzip's 0 to 3: files as large as nibabel's, see benchmarks/reading.md
BLOCK = (16, 8)  # voxels along the first two axes whose lines stay in the processor's cache


def save_nifti(volume: Volume, path: str | Path, *, step: float | None = None) -> Path:
    """Write a Volume; the same Volume always gives the same bytes.

    Zipped, they also depend on the version of isal and the kind of processor.

    The affine goes into the sform as float32, and into the qform where a qform can hold it (no
    shear). Channels become the fourth axis.

    Parameters
    ----------
    volume : Volume
    path : str or Path
        Ends in ``.nii`` or ``.nii.gz``.
    step : float, optional
        What a voxel of 1 stands for (``scl_slope``), which readers multiply by: 1/255 lets bytes
        hold 0 to 1.

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        When the suffix or the kind of values does not fit NIfTI.
    """
    path = Path(path)
    if not path.name.lower().endswith(SUFFIXES):
        raise OutputError(f"{path} must end in .nii or .nii.gz.")
    array = volume.array.astype(np.uint8) if volume.array.dtype == bool else volume.array
    array = array[0] if array.shape[0] == 1 else np.moveaxis(array, 0, -1)  # (I, J, K[, C])
    if array.dtype in (np.int64, np.uint64, np.float16):
        raise OutputError(f"NIfTI readers do not agree on {array.dtype}: convert the values first.")
    code = CODES.get(volume.info.space, 2)
    image = nib.Nifti1Image(first_axis_fastest(array), volume.affine)
    image.header.set_xyzt_units("mm", "unknown")
    if step is not None:
        image.header.set_slope_inter(step, 0.0)
    image.set_sform(volume.affine, code)
    image.set_qform(volume.affine, code if is_rigid(volume) else 0)
    with atomic_path(path) as part, part.open("wb") as file:
        if path.name.lower().endswith(".gz"):
            with igzip.GzipFile("", "wb", LEVEL, file, mtime=0) as zipped:
                image.to_stream(zipped)
        else:
            image.to_stream(file)
    return path


def first_axis_fastest(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array (I, J, …) in the order in which NIfTI stores it.

    Copied in blocks: a whole transpose reads each line of the memory once per voxel on it, and
    takes six times as long.
    """
    if array.flags.f_contiguous:
        return array
    turned = np.empty(array.shape, array.dtype, order="F")
    rows, columns = BLOCK
    for j in range(0, array.shape[1], columns):
        for i in range(0, array.shape[0], rows):
            block = (slice(i, i + rows), slice(j, j + columns))
            turned[block] = array[block]
    return turned


def is_rigid(volume: Volume) -> bool:
    """Tell whether a qform, a rotation with voxel sizes, can hold the affine."""
    axes = volume.affine[:3, :3] / np.asarray(volume.spacing)
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-5))
