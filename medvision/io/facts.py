"""What lies in a folder, from headers alone: one line a series, with what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from medvision.errors import MedvisionError
from medvision.geometry import Affine, orientation_of, spacing_of
from medvision.io.dicom import Series, list_series
from medvision.io.dicom.grid import grid_of
from medvision.io.folder import StudyRef
from medvision.io.nifti import is_nifti, open_nifti
from medvision.io.raster import is_raster, read_raster


@dataclass(frozen=True)
class ScanFacts:
    """One series, without its voxels and without the patient's identity.

    Parameters
    ----------
    case_id : str
    path : Path
        File, or folder of DICOM files.
    series : str
        What ``--series`` takes, where a folder holds several; else empty.
    modality, description : str
    shape : tuple of int
        (C, I, J, K); empty when the series makes no volume.
    spacing : tuple of float
        mm along i, j, k; empty when unknown.
    orientation : str
        Such as ``"LPS"``; empty when unknown.
    files : int
    problem : str
        Why it cannot be read; empty when it can, as far as headers tell.
    notes : tuple of str
        What a reader would decide.
    """

    case_id: str
    path: Path
    series: str = ""
    modality: str = ""
    description: str = ""
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    orientation: str = ""
    files: int = 1
    problem: str = ""
    notes: tuple[str, ...] = ()


def scan_facts(ref: StudyRef) -> list[ScanFacts]:
    """Return the facts of every series of a study; what cannot be read is a line with a reason."""
    try:
        if ref.path.is_file() and is_nifti(ref.path):
            return [nifti_facts(ref)]
        if ref.path.is_file() and is_raster(ref.path):
            shape = read_raster(ref.path).array.shape
            return [ScanFacts(ref.case_id, ref.path, shape=shape)]
        found = list_series(ref.path)
    except MedvisionError as error:
        return [ScanFacts(ref.case_id, ref.path, problem=str(error))]
    return [dicom_facts(ref, series, len(found) > 1) for series in found]


def nifti_facts(ref: StudyRef) -> ScanFacts:
    """Return the facts of a NIfTI file."""
    image, affine, notes = open_nifti(ref.path)
    i, j, k, *channels = (*image.shape, 1, 1)[: max(3, len(image.shape))]
    return ScanFacts(
        ref.case_id,
        ref.path,
        shape=(channels[0] if channels else 1, i, j, k),
        spacing=millimeters(affine),
        orientation=orientation_of(affine),
        notes=tuple(notes),
    )


def dicom_facts(ref: StudyRef, series: Series, several: bool) -> ScanFacts:
    """Return the facts of a DICOM series, or of a part of one."""
    first = series.frames[0]
    one = ScanFacts(
        ref.case_id,
        ref.path,
        series=series.label if several else "",
        modality=series.modality,
        description=", ".join(filter(None, (series.description, series.differs))),
        files=len({frame.header.path for frame in series.frames}),
    )
    try:
        grid = grid_of(series.frames)
    except MedvisionError as error:
        return replace(one, problem=str(error))
    channels = 3 if first.header.color else len(grid.frames)
    return replace(
        one,
        shape=(channels, first.columns, first.rows, len(grid.frames[0])),
        spacing=millimeters(grid.affine) if grid.spacing_known else (),
        orientation=orientation_of(grid.affine),
        notes=grid.notes,
    )


def millimeters(affine: Affine) -> tuple[float, ...]:
    """Return the voxel size, rounded to a micrometer."""
    return tuple(round(float(mm), 3) for mm in spacing_of(affine))
