"""Write a Volume as a DICOM series, so that tests know what a reader must find."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from medvision.geometry import flip_ras_lps, spacing_of
from medvision.volume import Volume


def write_series(
    folder: Path,
    volume: Volume,
    *,
    number: int = 1,
    description: str = "phantom",
    modality: str = "CT",
    slope: float = 1.0,
    intercept: float = 0.0,
    change: Callable[[Dataset, int], None] = lambda data, k: None,
    seed: int = 0,
) -> list[Path]:
    """Write one file a slice, under shuffled names; returns them in slice order.

    `volume.array` holds the stored values; `change` may edit any dataset before it is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lps = flip_ras_lps(volume.affine)
    spacing = spacing_of(volume.affine)
    series, study = generate_uid(), generate_uid()
    names = np.random.default_rng(seed).permutation(volume.shape[2])
    paths = []
    for k, name in enumerate(names):
        data = FileDataset("", {}, preamble=b"\0" * 128, file_meta=FileMetaDataset())
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
        data.SOPInstanceUID = generate_uid()
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID = study, series
        data.SeriesNumber, data.InstanceNumber = number, int(name) + 1
        data.SeriesDescription, data.Modality = description, modality
        data.PatientName, data.PatientID, data.PatientBirthDate = "DOE^JANE", "4711", "19700101"
        data.ImageType, data.PatientPosition = ["ORIGINAL", "PRIMARY", "AXIAL"], "HFS"
        plane = volume.array[0, :, :, k].T  # (rows, columns)
        data.Rows, data.Columns = plane.shape
        data.PixelSpacing = [f"{spacing[1]:.6f}", f"{spacing[0]:.6f}"]
        data.SliceThickness = f"{spacing[2]:.6f}"
        cosines = np.concatenate([lps[:3, 0] / spacing[0], lps[:3, 1] / spacing[1]])
        data.ImageOrientationPatient = [f"{c:.8f}" for c in cosines]
        data.ImagePositionPatient = [f"{p:.5f}" for p in (lps @ [0, 0, k, 1])[:3]]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, int(plane.dtype.kind == "i")
        data.RescaleSlope, data.RescaleIntercept = slope, intercept
        data.PixelData = np.ascontiguousarray(plane).tobytes()
        change(data, k)
        path = folder / f"IM{name:04d}"
        data.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths
