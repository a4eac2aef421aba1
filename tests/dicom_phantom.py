"""Write a Volume as a DICOM series, so that tests know what a reader must find."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

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
        data.PatientName, data.PatientID, data.PatientBirthDate = (
            "DOE^JANE",
            "PID-4711-X",
            "19700101",
        )
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


def write_enhanced(
    path: Path,
    volume: Volume,
    slope: float = 1.0,
    dimensions: str = "",
    shuffled: bool = True,
    change: Callable[[Dataset, list[Dataset]], None] = lambda data, groups: None,
) -> Path:
    """Write a Volume as one Enhanced MR file: a frame a slice and channel.

    Channels are moments in time (TemporalPositionIndex); each frame's stored values are the
    volume's divided by `slope`. `dimensions` names the dimension index that comes first:
    ``"slice"`` or ``"time"``; none are written when it is empty. `change` may edit the data set and
    the groups.
    """
    lps, spacing = flip_ras_lps(volume.affine), spacing_of(volume.affine)
    channels, _, _, slices = volume.array.shape
    data = FileDataset("", {}, preamble=b"\0" * 128, file_meta=FileMetaDataset())
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = EnhancedMRImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.SeriesNumber, data.InstanceNumber, data.Modality = 3, 1, "MR"
    data.SeriesDescription, data.ImageType = "enhanced", ["ORIGINAL", "PRIMARY", "M", "NONE"]
    shared = Dataset()
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing = [float(spacing[1]), float(spacing[0])]
    measures.SliceThickness = measures.SpacingBetweenSlices = float(spacing[2])
    cosines = np.concatenate([lps[:3, 0] / spacing[0], lps[:3, 1] / spacing[1]])
    orientation.ImageOrientationPatient = [f"{c:.8f}" for c in cosines]
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [orientation]
    data.SharedFunctionalGroupsSequence = [shared]
    groups, planes = [], []
    places = [(c, k) for c in range(channels) for k in range(slices)]
    if shuffled:
        places = np.random.default_rng(0).permutation(places).tolist()
    for c, k in places:
        group, position, content, values = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [f"{p:.5f}" for p in (lps @ [0, 0, k, 1])[:3]]
        content.TemporalPositionIndex = c + 1
        if dimensions:
            content.StackID, content.InStackPositionNumber = "1", k + 1
            indices = [1, k + 1, c + 1] if dimensions == "slice" else [c + 1, 1, k + 1]
            content.DimensionIndexValues = indices
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = slope, 0, "US"
        group.PlanePositionSequence, group.FrameContentSequence = [position], [content]
        group.PixelValueTransformationSequence = [values]
        groups.append(group)
        planes.append(np.rint(volume.array[c, :, :, k].T / slope).astype(np.int16))
    if dimensions:
        tags = [0x00209056, 0x00209057, 0x00209128]  # stack, place in it, time
        data.DimensionIndexSequence = []
        for tag in tags if dimensions == "slice" else tags[2:] + tags[:2]:
            item = Dataset()
            item.DimensionIndexPointer, item.FunctionalGroupPointer = tag, 0x00209111
            data.DimensionIndexSequence.append(item)
    data.PerFrameFunctionalGroupsSequence = groups
    data.NumberOfFrames, (data.Rows, data.Columns) = len(planes), planes[0].shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 1
    data.PixelData = np.stack(planes).tobytes()
    change(data, groups)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path
