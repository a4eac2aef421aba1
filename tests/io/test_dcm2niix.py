"""Truth is dcm2niix: every real series lies where it puts it, voxel for voxel."""

import subprocess

import dcm2niix
import nibabel as nib
import numpy as np
import pytest
from hippocampus_data import DATA

from medvision.geometry import check_affine, corners, to_world
from medvision.io import read_volume
from medvision.io.dicom import is_dicom, list_series
from medvision.volume import Volume

DICOM = DATA / "dicom"


def folders():
    """Every folder that directly holds DICOM files, and each of its series."""
    if not DICOM.is_dir():
        return [pytest.param(None, None, marks=pytest.mark.skip(reason=f"needs {DICOM}"))]
    found = []
    for folder in sorted({p.parent for p in DICOM.rglob("*") if is_dicom(p)}):
        for series in list_series(folder):
            name = f"{folder.relative_to(DICOM)}-{series.label}"
            found.append(pytest.param(folder, series, id=name))
    return found


def converted(folder, series, out):
    """Return what dcm2niix makes of one series, as (C, I, J, K)."""
    paths = {f.header.path for f in series.frames}
    source = out / "series"
    source.mkdir()
    for path in paths:
        (source / path.name).symlink_to(path)
    command = [dcm2niix.bin, "-z", "n", "-b", "n", "-f", "x", "-o", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    [path] = out.glob("*.nii")
    image = nib.load(path)
    array = np.asarray(image.dataobj)
    array = np.moveaxis(array, -1, 0) if array.ndim == 4 else array[None]
    return Volume(array, check_affine(image.affine)).reoriented("RAS")


@pytest.mark.parametrize(("folder", "series"), folders())
def test_every_series_lies_where_dcm2niix_puts_it(folder, series, tmp_path):
    theirs = converted(folder, series, tmp_path)
    ours = read_volume(folder, series.label).reoriented("RAS")
    assert ours.array.shape == theirs.array.shape
    edges = corners(ours.shape)
    assert np.abs(to_world(ours.affine, edges) - to_world(theirs.affine, edges)).max() < 0.02
    span = float(np.ptp(theirs.array))
    same = np.abs(ours.array.astype(float) - theirs.array) <= 0.01 * span
    assert same.mean() > 0.999
