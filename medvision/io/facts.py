"""What files and series are, from their headers alone: never a voxel, never an identity.

Whatever goes wrong with a file becomes the `problem` of its facts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from medvision.errors import MedvisionError
from medvision.geometry import Affine, orientation_of, spacing_of
from medvision.io.bids import read_sidecar, series_words
from medvision.io.dicom import Series
from medvision.io.dicom.elements import read_elements
from medvision.io.dicom.frames import frames_in
from medvision.io.dicom.grid import grid_of
from medvision.io.dicom.headers import Frame, NoImage
from medvision.io.dicom.series import group_series, plane_of
from medvision.io.dicomdir import Reference, read_dicomdir
from medvision.io.itk import itk_facts
from medvision.io.names import bids_folder
from medvision.io.nifti import nifti_facts, nifti_stem
from medvision.io.pseudonym import Pseudonyms
from medvision.io.raster import raster_facts
from medvision.study import SeriesRef, StudyRef

PLANES = ("sagittal", "coronal", "axial")  # of slices across x, y, z
LABEL_SUFFIXES = ("_dseg", "_probseg", "_mask")  # BIDS derivatives
RTDOSE = "RTDOSE"  # in Gy on a grid: no image of the patient
Found: TypeAlias = tuple[tuple[int, int, int, int], Affine, list[str]]  # (C, I, J, K), RAS mm


@dataclass(frozen=True)
class FileFacts:
    """One file.

    Parameters
    ----------
    kind : str
        ``"dicom"``, ``"dicomdir"``, ``"nifti"``, ``"itk"``, ``"raster"`` or ``"zip"``; empty when
        it is no scan.
    study_uid, patient : str
    day : int, optional
        As `Pseudonyms.day` counts.
    frames : tuple of Frame
        Slices of a DICOM image.
    series : SeriesRef, optional
        Of any other file, or of one that cannot be read.
    references : tuple of Reference
        Of a DICOMDIR.
    studies : tuple of StudyRef
        Of a zip; their `day` as above.
    """

    kind: str
    study_uid: str = ""
    patient: str = ""
    day: int | None = None
    frames: tuple[Frame, ...] = ()
    series: SeriesRef | None = None
    references: tuple[Reference, ...] = ()
    studies: tuple[StudyRef, ...] = ()


Reader: TypeAlias = Callable[[Path, Pseudonyms], "FileFacts"]


def file_facts(
    path: Path, kind: str, secret: Pseudonyms, reader: Reader | None = None
) -> FileFacts:
    """Return the facts of a file; errors become the problem of its series.

    Parameters
    ----------
    path : Path
    kind : str
        See `FileFacts`.
    secret : Pseudonyms
    reader : callable, optional
        Instead of the one in READERS.
    """
    try:
        return (reader or READERS[kind])(path, secret)
    except MedvisionError as error:
        problem = str(error)
    except OSError as error:
        problem = f"{path} cannot be opened: {error.strerror or 'no reason given'}."
    except Exception as error:  # one odd file must not end a walk; its words may hold a name
        problem = f"{path} cannot be read: unexpected {type(error).__name__}, please report it."
    return FileFacts(kind, series=unreadable(path, kind, problem))


def unreadable(path: Path, kind: str, problem: str) -> SeriesRef:
    """Return what stands for a file that cannot be read."""
    known = "dicom" if kind == "dicomdir" else kind
    return SeriesRef(stem_of(path), (path,), known, problem=problem)


def stem_of(path: Path) -> str:
    """Return what a file that is a series by itself is called."""
    return nifti_stem(path) if path.name.lower().endswith(".gz") else path.stem


def dicom_facts(path: Path, secret: Pseudonyms) -> FileFacts:
    """Return the facts of a DICOM file; of one with bad contents, the study that it is of."""
    data = read_elements(path)
    patient = data.text("PatientID"), data.text("IssuerOfPatientID")
    facts = FileFacts(
        kind="dicom",
        study_uid=data.text("StudyInstanceUID"),
        patient=secret.patient(*patient),
        day=secret.day(data.text("StudyDate"), *patient),
    )
    try:
        found = frames_in(data)
    except MedvisionError as error:
        return replace(facts, series=unreadable(path, "dicom", str(error)))
    if isinstance(found, NoImage):
        return replace(facts, series=no_image_ref(found))
    return replace(facts, frames=tuple(found))


def no_image_ref(found: NoImage) -> SeriesRef:
    """Return the facts of a segmentation, a report, a plan …"""
    return SeriesRef(
        label="-" if found.series_number is None else str(found.series_number),
        files=(found.path,),
        format="dicom",
        role=found.role,
        uid=found.series_uid,
        modality=found.modality,
        description=found.description,
    )


def grid_facts(path: Path, kind: str, found: Found, modality: str, words: str) -> FileFacts:
    """Return the facts of a file that holds one grid of voxels."""
    shape, affine, notes = found
    stem = stem_of(path)
    labels = bids_folder(path) is not None and stem.endswith(LABEL_SUFFIXES)
    return FileFacts(
        kind,
        series=SeriesRef(
            label=stem,
            files=(path,),
            format=kind,
            role="labels" if labels else "image",
            modality=modality,
            description=words,
            plane=plane_across(affine[:3, 2]),
            shape=shape,
            spacing=millimeters(affine),
            orientation=orientation_of(affine),
            notes=tuple(notes),
        ),
    )


def nifti_file(path: Path, secret: Pseudonyms) -> FileFacts:
    """Return the facts of a NIfTI file, with those of its BIDS side-car."""
    sidecar, notes = read_sidecar(path.with_name(f"{nifti_stem(path)}.json"))
    shape, affine, more = nifti_facts(path)
    return grid_facts(path, "nifti", (shape, affine, [*more, *notes]), *series_words(sidecar))


def itk_file(path: Path, secret: Pseudonyms) -> FileFacts:
    """Return the facts of a NRRD or MetaImage file."""
    return grid_facts(path, "itk", itk_facts(path), "", "")


def raster_file(path: Path, secret: Pseudonyms) -> FileFacts:
    """Return the facts of a picture. Gray that was saved as color counts as color."""
    shape, spacing = raster_facts(path)
    series = SeriesRef(stem_of(path), (path,), "raster", shape=shape, spacing=spacing)
    return FileFacts("raster", series=series)


def dicomdir_file(path: Path, secret: Pseudonyms) -> FileFacts:
    """Return what a DICOMDIR names."""
    return FileFacts("dicomdir", references=tuple(read_dicomdir(path)))


READERS: dict[str, Reader] = {
    "dicom": dicom_facts,
    "dicomdir": dicomdir_file,
    "nifti": nifti_file,
    "itk": itk_file,
    "raster": raster_file,
}


def series_refs(frames: Sequence[Frame]) -> list[SeriesRef]:
    """Return the facts of every series, and part of one, that slices make."""
    return [dicom_ref(series) for series in group_series(frames)]


def dicom_ref(series: Series) -> SeriesRef:
    """Return the facts of one series: those that the volume would have, or why there is none."""
    first = series.frames[0]
    plane = plane_of(first)
    one = SeriesRef(
        label=series.label,
        files=tuple(dict.fromkeys(frame.header.path for frame in series.frames)),
        format="dicom",
        role="other" if series.modality == RTDOSE else "image",
        uid=series.uid,
        modality=series.modality,
        description=", ".join(filter(None, (series.description, series.differs))),
        plane=plane if plane in PLANES else "",
        contrast=first.header.contrast or None,
    )
    try:
        grid = grid_of(series.frames)
    except MedvisionError as error:
        return replace(one, problem=str(error))
    slices = len(grid.frames[0])
    return replace(
        one,
        shape=(3 if first.header.color else len(grid.frames), first.columns, first.rows, slices),
        spacing=millimeters(grid.affine) if grid.spacing_known else (),
        orientation=orientation_of(grid.affine),
        notes=grid.notes,
    )


def merged(refs: Sequence[SeriesRef]) -> list[SeriesRef]:
    """Join what one series has in several files, where each file was looked at alone."""
    groups: dict[Any, list[SeriesRef]] = {}
    for ref in refs:
        key = (ref.uid, ref.label, ref.role) if ref.uid else ref.files
        groups.setdefault(key, []).append(ref)
    return [
        replace(group[0], files=tuple(dict.fromkeys(path for ref in group for path in ref.files)))
        for group in groups.values()
    ]


def plane_across(normal: Any) -> str:
    """Return the plane of slices that are stacked along a direction."""
    return PLANES[int(np.abs(normal).argmax())]


def millimeters(affine: Affine) -> tuple[float, ...]:
    """Return the voxel size, rounded to a micrometer."""
    return tuple(round(float(mm), 3) for mm in spacing_of(affine))
