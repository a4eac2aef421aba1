"""Volumes to NIfTI, byte for byte the same each time."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np

from medvision.errors import OutputError
from medvision.files import atomic_path
from medvision.volume import Volume

SUFFIXES = (".nii", ".nii.gz")
CODES = {"scanner": 1, "aligned": 2, "talairach": 3, "mni": 4}  # NIfTI-1 xform codes
LEVEL = 6  # of gzip


def save_nifti(volume: Volume, path: str | Path, *, step: float | None = None) -> Path:
    """Write a Volume; the same Volume always gives the same bytes.

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
    array = array[0] if array.shape[0] == 1 else np.moveaxis(array, 0, -1)
    if array.dtype in (np.int64, np.uint64, np.float16):
        raise OutputError(f"NIfTI readers do not agree on {array.dtype}: convert the values first.")
    code = CODES.get(volume.info.space, 2)
    image = nib.Nifti1Image(array, volume.affine)
    image.header.set_xyzt_units("mm", "unknown")
    if step is not None:
        image.header.set_slope_inter(step, 0.0)
    image.set_sform(volume.affine, code)
    image.set_qform(volume.affine, code if is_rigid(volume) else 0)
    data = image.to_bytes()
    with atomic_path(path) as part, part.open("wb") as file:
        if path.name.lower().endswith(".gz"):
            with gzip.GzipFile("", "wb", LEVEL, file, mtime=0) as zipped:
                zipped.write(data)
        else:
            file.write(data)
    return path


def is_rigid(volume: Volume) -> bool:
    """Tell whether a qform, a rotation with voxel sizes, can hold the affine."""
    axes = volume.affine[:3, :3] / np.asarray(volume.spacing)
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-5))
