"""Every series of every study to NIfTI, with a BIDS side-car and FSL's gradients.

A series that fails is a row with its reason, and the others go on. No identity and no date is
written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread

from medvision import __version__
from medvision.errors import DecodeError, MedvisionError, OutputError, SeriesError
from medvision.files import write_text
from medvision.geometry import spacing_of
from medvision.io import find_studies
from medvision.io.archive import archive_of, unpacked
from medvision.io.labels import read_labels
from medvision.io.names import safe_name
from medvision.io.quiet import quiet_pydicom
from medvision.io.read import choose_found, read_found
from medvision.outputs.nifti import save_nifti
from medvision.progress import track
from medvision.study import SeriesRef, StudyRef
from medvision.volume import Volume

SIDECAR = (
    *("Modality", "Manufacturer", "ManufacturerModelName", "MagneticFieldStrength"),
    *("SeriesDescription", "ProtocolName", "SeriesNumber", "ImageType", "EchoTime"),
    *("RepetitionTime", "FlipAngle", "SliceThickness", "SpacingBetweenSlices"),
)
BIDS_KEYS = {"ManufacturerModelName": "ManufacturersModelName"}
IN_MS = ("EchoTime", "RepetitionTime")  # DICOM counts in ms, BIDS in seconds


@dataclass(frozen=True)
class Converted:
    """What became of one series."""

    case_id: str
    series: str
    files: tuple[Path, ...] = ()
    problem: str = ""
    notes: tuple[str, ...] = ()


def convert_studies(
    inputs: Sequence[Path],
    out: Path,
    series: str | None = None,
    suv: bool = False,
    resample: bool = False,
    overwrite: bool = False,
    show: bool = False,
) -> list[Converted]:
    """Write ``<case>_<series>.nii.gz`` and its side-cars for every series.

    Parameters
    ----------
    inputs : sequence of Path
    out : Path
        Folder; made when it is not there.
    series : str, optional
        Only the series of each study that this names.
    suv, resample : bool
        As `read_volume`.
    overwrite : bool
        Whether to replace files that are there.
    show : bool
        Whether to show progress.

    Returns
    -------
    list of Converted
        A row a series, failed ones with their reason.

    Raises
    ------
    SeriesError
        When there is no scan.
    OutputError
        When files would be replaced and `overwrite` is False.
    """
    rows, todo = [], []
    for ref in find_studies(inputs, skip=[out], show=show):
        try:
            todo += [(ref, one) for one in wanted_of(ref, series)]
        except (SeriesError, DecodeError) as error:
            rows.append(Converted(ref.case_id, series or "", (), str(error)))
    names = target_names(todo)
    there = [name for name in names if (out / f"{name}.nii.gz").exists()]
    if there and not overwrite:
        raise OutputError(
            f"{out} holds {there[0]}.nii.gz already: name another folder, or --overwrite."
        )
    work = list(zip(todo, names, strict=True))
    for (ref, one), name in track(work, "Convert", len(work), show):
        rows.append(convert_series(ref, one, out / name, suv, resample))
    return rows


def wanted_of(ref: StudyRef, series: str | None) -> list[SeriesRef]:
    """Return the series of a study to convert: images, doses and labels."""
    if series is not None:
        return [choose_found(ref, series)]
    return [
        one
        for one in ref.series
        if one.role in ("image", "labels") or (one.role == "other" and (one.shape or one.problem))
    ]


def target_names(todo: Sequence[tuple[StudyRef, SeriesRef]]) -> list[str]:
    """Return a file name without suffix for each series, no two alike."""
    names: list[str] = []
    seen: set[str] = set()
    for ref, one in todo:
        alone = one.format != "dicom" and len(ref.series) == 1
        name = ref.case_id if alone else f"{ref.case_id}_{safe_name(one.label)}"
        unique, number = name, 2
        while unique.lower() in seen:
            unique, number = f"{name}-{number}", number + 1
        seen.add(unique.lower())
        names.append(unique)
    return names


def convert_series(
    ref: StudyRef, one: SeriesRef, stem: Path, suv: bool, resample: bool
) -> Converted:
    """Write one series; whatever goes wrong ends in the row."""
    try:
        labels = one.role == "labels" and one.format == "dicom" and archive_of(ref.path) is None
        volume = read_labels(one.files[0]) if labels else read_found(ref, one, suv, resample)
        files = write_converted(volume, sidecar_of(one, volume), stem)
        notes = volume.info.notes
    except MedvisionError as error:
        return Converted(ref.case_id, one.label, (), str(error))
    except MemoryError:
        return Converted(ref.case_id, one.label, (), "Out of memory.")
    except OSError as error:
        words = f"{stem.name} cannot be written: {error.strerror or 'no reason given'}."
        return Converted(ref.case_id, one.label, (), words)
    except Exception as error:  # one odd series must not stop the others
        words = f"Unexpected {type(error).__name__}: please report it."
        return Converted(ref.case_id, one.label, (), words)
    return Converted(ref.case_id, one.label, files, notes=notes)


def write_converted(volume: Volume, sidecar: dict[str, Any], stem: Path) -> tuple[Path, ...]:
    """Write the side-cars, then the image: where there is an image, it is complete.

    Without it there are no side-cars either.
    """
    for suffix in ("bval", "bvec"):  # those of an earlier run would speak for this image
        stem.with_name(f"{stem.name}.{suffix}").unlink(missing_ok=True)
    told = {"json": json.dumps(sidecar, indent=2)}
    if volume.info.b_values:
        told["bval"] = " ".join(f"{b:g}" for b in volume.info.b_values)
        if volume.info.b_vectors:
            rows = fsl_vectors(volume)
            told["bvec"] = "\n".join(" ".join(f"{v:.6g}" for v in row) for row in rows)
    files = [stem.with_name(f"{stem.name}.{suffix}") for suffix in told]
    try:
        for file, text in zip(files, told.values(), strict=True):
            write_text(file, text + "\n")
        image = save_nifti(volume, stem.with_name(f"{stem.name}.nii.gz"))
    except BaseException:
        for file in files:
            file.unlink(missing_ok=True)
        raise
    return (image, *files)


def fsl_vectors(volume: Volume) -> list[list[float]]:
    """Return gradient directions as FSL wants them, three rows of one value a channel.

    Along the voxel axes, x negated when the affine's determinant is positive (FSL FDT FAQ, "What
    conventions do the bvecs use?"; BIDS 1.10, "Diffusion imaging data").
    """
    axes = volume.affine[:3, :3] / spacing_of(volume.affine)
    vectors = np.linalg.inv(axes) @ np.asarray(volume.info.b_vectors, dtype=np.float64).T
    if np.linalg.det(axes) > 0:
        vectors[0] *= -1
    found: list[list[float]] = (vectors + 0.0).tolist()  # no -0
    return found


def sidecar_of(one: SeriesRef, volume: Volume) -> dict[str, Any]:
    """Return the BIDS side-car of a series (BIDS 1.10, "Common metadata fields")."""
    found = dicom_sidecar(one.files[0]) if one.format == "dicom" and one.files else {}
    if one.format != "dicom":
        said = {"Modality": one.modality, "SeriesDescription": one.description}
        found |= {key: words for key, words in said.items() if words}
    if volume.info.unit:
        found["Units"] = volume.info.unit
    if volume.info.labels:
        found["Labels"] = {label.name: label.value for label in volume.info.labels}
    return found | {"ConversionSoftware": "medvision", "ConversionSoftwareVersion": __version__}


def dicom_sidecar(path: Path) -> dict[str, Any]:
    """Return what the first file of a series says of how it was taken."""
    if archive_of(path) is not None:
        with unpacked(path) as place:
            return sidecar_fields(read_fields(place))
    return sidecar_fields(read_fields(path))


def read_fields(path: Path) -> Dataset:
    """Read the wanted elements; none when pydicom cannot."""
    with quiet_pydicom():
        try:
            return dcmread(path, stop_before_pixels=True, specific_tags=list(SIDECAR), force=True)
        except Exception:  # pydicom raises errors of many kinds; the image itself was read
            return Dataset()


def sidecar_fields(data: Dataset) -> dict[str, Any]:
    """Return DICOM elements under their BIDS names and in BIDS units."""
    found: dict[str, Any] = {}
    for keyword in SIDECAR:
        try:
            with quiet_pydicom():
                value = data.get(keyword)
        except Exception:  # a value that is none
            continue
        if value in (None, ""):
            continue
        key = BIDS_KEYS.get(keyword, keyword)
        if keyword == "ImageType":
            found[key] = [str(word) for word in value] if not isinstance(value, str) else [value]
        elif keyword == "SeriesNumber":
            found[key] = int(value)
        elif isinstance(value, (int, float)):
            found[key] = round(float(value) / 1000, 9) if keyword in IN_MS else float(value)
        elif isinstance(value, str):
            found[key] = value
    return found
