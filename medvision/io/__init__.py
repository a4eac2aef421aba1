"""Files to Volumes and Studies, whatever the format."""

from __future__ import annotations

from pathlib import Path

from medvision.errors import DecodeError, SeriesError
from medvision.io.dicom import is_dicom, read_dicom
from medvision.io.dicom.series import NAMED_DICOM
from medvision.io.folder import StudyRef, find_studies, name_studies
from medvision.io.nifti import is_nifti, read_nifti
from medvision.io.raster import is_raster, read_raster
from medvision.study import Study
from medvision.volume import Volume

__all__ = ["StudyRef", "find_studies", "read_study", "read_volume"]


def read_volume(path: str | Path, series: str | None = None) -> Volume:
    """Read one image.

    Parameters
    ----------
    path : str or Path
        A NIfTI file, a picture, a DICOM file, or a folder of DICOM slices.
    series : str, optional
        Which DICOM series of a folder: its UID, its number, or part of its description.

    Returns
    -------
    Volume
        Voxels (C, I, J, K) and their affine to RAS mm.

    Raises
    ------
    SeriesError
        When nothing is there, or a folder holds several series and none is chosen.
    DecodeError, GeometryError
        When the file is damaged, or its slices make no grid.
    """
    path = Path(path)
    if not path.exists():
        raise SeriesError(f"No such file or folder: {path}.")
    if path.is_dir():
        return read_dicom(path, series)
    if is_nifti(path):
        return read_nifti(path)
    if is_raster(path):
        return read_raster(path)
    if path.suffix.lower() in NAMED_DICOM or (path.stat().st_size and is_dicom(path)):
        return read_dicom(path, series)
    raise DecodeError(
        f"{path} is no scan that medvision reads: DICOM, NIfTI (.nii, .nii.gz), "
        "or a picture (.png, .jpg)."
    )


def read_study(path: str | Path, series: str | None = None, case_id: str | None = None) -> Study:
    """Read one study, named `case_id`, or after its file or folder.

    See `read_volume` for the other parameters and for errors.
    """
    volume = read_volume(path, series)
    return Study(case_id or name_studies([Path(path)])[0].case_id, {"image": volume})
