"""Files a second that `find_studies` takes from a tree of DICOM headers, and from one it knows.

    python benchmarks/walking.py

Walks of 6,000 CT slices of 60 studies without and with an index, and again when nothing has
changed; the same once for 50,000. Each file has 74 elements, two of them private, and a small
image; all are in the machine's cache. Medians of five walks; in brackets the processor's time,
which other work on the machine does not stretch.
"""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import CTImageStorage
from reading import processor

from medvision import find_studies
from medvision.io.index import VARIABLE

ROUNDS = 5
SLICES = 100  # a study
STUDIES, MANY = 60, 500
STUDY, SLICE = "77777777", "88888888"  # stand for the numbers of a study and of a slice


def header() -> bytes:
    """Return a CT slice as a scanner writes it, but for its pixels, of which there are 1,024."""
    root = f"1.2.826.0.1.3680043.8.498.{STUDY}"
    data = Dataset()
    data.SpecificCharacterSet, data.ImageType = "ISO_IR 100", ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, f"{root}.3.{SLICE}"
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = data.ContentDate = "20240101"
    data.StudyTime = data.SeriesTime = data.AcquisitionTime = data.ContentTime = "101010.123"
    data.AccessionNumber, data.Modality, data.Manufacturer = STUDY, "CT", "MAKER"
    data.InstitutionName, data.ManufacturerModelName = "HOSPITAL", "MODEL"
    data.StudyDescription, data.SeriesDescription = "CT CHEST", "AXIAL 1.0"
    data.PatientName, data.PatientID = f"NAME^{STUDY}", f"P{STUDY}"
    data.PatientBirthDate, data.PatientSex, data.PatientAge = "19500101", "F", "070Y"
    data.BodyPartExamined, data.SliceThickness, data.KVP = "CHEST", 1, 120
    data.SoftwareVersions, data.ProtocolName, data.TableHeight = "1.0", "CHEST", 150
    data.DataCollectionDiameter, data.ReconstructionDiameter = 500, 360
    data.GantryDetectorTilt, data.RotationDirection, data.FilterType = 0, "CW", "BODY"
    data.ExposureTime, data.XRayTubeCurrent, data.Exposure = 500, 200, 100
    data.ConvolutionKernel, data.PatientPosition = "STANDARD", "HFS"
    data.StudyInstanceUID, data.SeriesInstanceUID = f"{root}.1", f"{root}.2"
    data.FrameOfReferenceUID, data.StudyID = f"{root}.4", "1"
    data.SeriesNumber, data.AcquisitionNumber, data.InstanceNumber = 2, 1, SLICE
    data.ImagePositionPatient = [-180, -180, SLICE]
    data.ImageOrientationPatient, data.SliceLocation = [1, 0, 0, 0, 1, 0], SLICE
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows = data.Columns = 32
    data.PixelSpacing = [0.7, 0.7]
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.WindowCenter, data.WindowWidth = 40, 400
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = -1024, 1, "HU"
    data.add_new(0x00090010, "LO", "MAKER_01")
    data.add_new(0x00091001, "LO", "x" * 64)
    data.PixelData = bytes(2048)
    data["PixelData"].VR = "OW"
    data.file_meta = Dataset()
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    file = BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


def write_tree(top: Path, studies: int) -> None:
    """Write studies of SLICES files each, four studies a patient's folder."""
    template = header()
    for study in range(studies):
        folder = top / f"patient{study // 4:04}" / f"study{study:04}"
        folder.mkdir(parents=True)
        mine = template.replace(STUDY.encode(), str(10_000_000 + study).encode())
        for k in range(SLICES):
            number = str(10_000_000 + k).encode()
            (folder / f"{k:04}.dcm").write_bytes(mine.replace(SLICE.encode(), number))


def taken(walk: Callable[[], object]) -> tuple[float, float]:
    """Return the medians of the seconds that walks take, and of their processor's time."""
    wall, own = [], []
    for _ in range(ROUNDS):
        start, used = time.perf_counter(), time.process_time()
        walk()
        wall.append(time.perf_counter() - start)
        own.append(time.process_time() - used)
    return statistics.median(wall), statistics.median(own)


def line(name: str, files: int, seconds: tuple[float, float]) -> str:
    """Return a row of the table."""
    wall, own = seconds
    rates = f"{files / wall:,.0f} ({files / own:,.0f})"
    return f"| {name} | {files:,} | {wall:.2f} ({own:.2f}) | {rates} |"


def main() -> None:
    """Measure, and print the table."""
    print("| walk | files | s | files a second |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        index, top = Path(name) / "index", Path(name) / "tree"
        os.environ[VARIABLE] = str(index)

        def first() -> None:
            shutil.rmtree(index, ignore_errors=True)
            find_studies(top)

        for studies in (STUDIES, MANY):
            files = studies * SLICES
            write_tree(top, studies)
            if studies == STUDIES:
                print(line("no index", files, taken(lambda: find_studies(top, index=False))))
                print(line("first, index written", files, taken(first)))
            else:
                first()
            found = find_studies(top)
            assert len(found) == studies
            assert {one.shape for ref in found for one in ref.series} == {(1, 32, 32, SLICES)}
            print(line("again, unchanged", files, taken(lambda: find_studies(top))))
            shutil.rmtree(top)
    print(f"\n{processor()}; Python {platform.python_version()}.")


if __name__ == "__main__":
    main()
