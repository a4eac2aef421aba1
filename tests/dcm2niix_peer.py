"""What dcm2niix makes of DICOM files, to hold medvision's answer against."""

import subprocess

import dcm2niix
import nibabel as nib
import numpy as np

from medvision.geometry import check_affine, corners, to_world
from medvision.volume import Volume


def converted(paths, out):
    """Return what dcm2niix makes of some files, each as (C, I, J, K), and what it says."""
    source = out / "series"
    source.mkdir()
    for n, path in enumerate(paths):
        (source / f"{n:04d}.dcm").symlink_to(path)
    command = [dcm2niix.bin, "-z", "n", "-b", "n", "-f", "x", "-o", str(out), str(source)]
    said = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    return [as_volume(path) for path in sorted(out.glob("*.nii")) if "_ROI" not in path.name], said


def as_volume(path):
    """Return a NIfTI file as dcm2niix writes it."""
    image = nib.load(path)
    array = np.asarray(image.dataobj)
    if array.dtype.fields:
        array = np.stack([array[name] for name in "RGB"])
    elif array.ndim == 4:
        array = np.moveaxis(array, -1, 0)
    else:
        array = array[None]
    array = array.reshape(*array.shape, *[1] * (4 - array.ndim))
    return Volume(array, check_affine(image.affine)).reoriented("RAS")


def agree(found, theirs):
    """Same grid to 0.02 mm, and 99.9 % of the voxels to 1 % of the range."""
    ours = found.reoriented("RAS")
    assert ours.array.shape == theirs.array.shape
    edges = corners(ours.shape)
    assert np.abs(to_world(ours.affine, edges) - to_world(theirs.affine, edges)).max() < 0.02
    span = float(np.ptp(theirs.array))
    same = np.abs(ours.array.astype(float) - theirs.array) <= 0.01 * span
    assert same.mean() > 0.999
