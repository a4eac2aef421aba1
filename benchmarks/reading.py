"""Seconds to read a CT of 300 × 512² voxels from DICOM, beside other readers, in one run.

    python benchmarks/reading.py [raw | JPEG-LS | "JPEG 2000" | RLE …] [SimpleITK | pydicom …]

The scan is a phantom, smooth with noise, the same in every run. It is written uncompressed and in
three compressions (or in those that are named), and read in turns by all readers (or by those that
are named, and medvision), so that noise of the machine falls on all alike: up to nine turns, at
least three, within two minutes for each compression.
Readers that are not installed are left out, and so are those that refuse a compression. Medians;
in brackets, the median over the turns of medvision's time by theirs. Memory is what a fresh
process needs beyond what it had, at its peak.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import imagecodecs
import numpy as np
import SimpleITK
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.native import _encode_frame
from pydicom.uid import CTImageStorage, generate_uid

from medvision import read_volume

ROUNDS, FEWEST, BUDGET_S = 9, 3, 120.0
SLICES, SIDE = 300, 512
SYNTAXES = {
    "raw": "1.2.840.10008.1.2.1",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "RLE": "1.2.840.10008.1.2.5",
}
GOALS = {  # medvision's time by theirs, at most
    "raw": {"SimpleITK": 0.6, "MONAI": 0.25},
    "JPEG-LS": {"SimpleITK": 0.6, "MONAI": 0.25},
    "JPEG 2000": {"SimpleITK": 1.0},
    "RLE": {"pydicom": 1.0, "MONAI": 0.25},
}
MEMORY_GOAL = 1.3  # times the array, and the compressed files
PACKAGES = ["medvision-toolkit", "imagecodecs", "SimpleITK", "dcm2niix", "pydicom", "pylibjpeg",
            "torchio", "dicom2nifti", "monai"]  # fmt: skip


@functools.cache
def phantom(k: int) -> np.ndarray:
    """Return one slice, (SIDE, SIDE): HU + 1024, soft tissue in air, with noise."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    body = (x / 200) ** 2 + (y / (140 + 20 * np.sin(k / 40))) ** 2 < 1
    smooth = body * (1040 + 150 * np.sin(x / 40 + k / 30) * np.cos(y / 30))
    noise = np.random.default_rng(k).normal(0, 15, (SIDE, SIDE))
    return np.clip(np.rint(smooth + noise), 0, 4095).astype(np.int16)


def encode(stored: np.ndarray, syntax: str, data: Dataset) -> bytes:
    """Return the pixel data of one slice."""
    unsigned = stored.astype(np.uint16)
    if syntax == "raw":
        return stored.tobytes()
    if syntax == "JPEG-LS":
        return encapsulate([imagecodecs.jpegls_encode(unsigned)])
    if syntax == "JPEG 2000":
        code = imagecodecs.jpeg2k_encode(stored, codecformat="j2k", reversible=True, level=0)
        return encapsulate([code])
    from pydicom.pixels.encoders.base import EncodeRunner
    from pydicom.uid import RLELossless

    runner = EncodeRunner(RLELossless)
    runner.set_options(rows=SIDE, columns=SIDE, samples_per_pixel=1, bits_allocated=16,
                       bits_stored=16, pixel_representation=1, number_of_frames=1,
                       photometric_interpretation="MONOCHROME2")  # fmt: skip
    return encapsulate([bytes(_encode_frame(stored.tobytes(), runner))])


def write_scan(folder: Path, syntax: str) -> None:
    """Write the phantom in one transfer syntax."""
    folder.mkdir()
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    for k in range(SLICES):
        data = Dataset()
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, generate_uid()
        data.SeriesInstanceUID, data.StudyInstanceUID = series, study
        data.FrameOfReferenceUID, data.Modality, data.InstanceNumber = frame, "CT", k + 1
        data.PatientID, data.PatientName, data.StudyID, data.SeriesNumber = "x", "x", "1", 1
        data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.ImagePositionPatient = [-180, -180, 1.0 * k]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness = [0.7, 0.7], 1
        data.Rows = data.Columns = SIDE
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.PixelRepresentation, data.RescaleSlope, data.RescaleIntercept = 1, 1, -1024
        data.PixelData = encode(phantom(k), syntax, data)
        data["PixelData"].VR = "OW" if syntax == "raw" else "OB"
        data["PixelData"].is_undefined_length = syntax != "raw"
        data.file_meta = Dataset()
        data.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
        data.save_as(folder / f"{k:04}.dcm", enforce_file_format=True)


def by_simpleitk(folder: Path) -> SimpleITK.Image:
    """ITK's series reader, GDCM below; the image is not yet copied to NumPy."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def by_dcm2niix(folder: Path) -> np.ndarray:
    """The converter, which writes a NIfTI file, and nibabel to read that."""
    import dcm2niix
    import nibabel

    with tempfile.TemporaryDirectory() as out:
        command = [dcm2niix.bin, "-z", "n", "-b", "n", "-f", "x", "-o", out, str(folder)]
        subprocess.run(command, check=True, capture_output=True)
        return np.array(nibabel.load(Path(out) / "x.nii").dataobj)


def by_pydicom(folder: Path) -> np.ndarray:
    """The loop that most scripts have."""
    files = [dcmread(path) for path in folder.iterdir()]
    files.sort(key=lambda data: float(data.ImagePositionPatient[2]))
    slices = [
        f.pixel_array * np.int16(f.RescaleSlope) + np.int16(f.RescaleIntercept) for f in files
    ]
    return np.stack(slices)


def by_torchio(folder: Path) -> np.ndarray:
    """TorchIO's image of one channel."""
    import torchio

    return torchio.ScalarImage(folder).numpy()


def by_dicom2nifti(folder: Path) -> np.ndarray:
    """The converter in Python, which writes a NIfTI file, and nibabel to read that."""
    import dicom2nifti
    import nibabel

    with tempfile.TemporaryDirectory() as out:
        dicom2nifti.dicom_series_to_nifti(str(folder), f"{out}/x.nii", reorient_nifti=False)
        return np.array(nibabel.load(f"{out}/x.nii").dataobj)


def by_monai(folder: Path) -> np.ndarray:
    """MONAI's LoadImage, pydicom below."""
    from monai.transforms import LoadImage

    return LoadImage(reader="PydicomReader", image_only=True)(str(folder)).numpy()


READERS: dict[str, Callable[[Path], np.ndarray | SimpleITK.Image]] = {
    "medvision": lambda folder: read_volume(folder).array,
    "SimpleITK": by_simpleitk,
    "dcm2niix": by_dcm2niix,
    "pydicom": by_pydicom,
    "TorchIO": by_torchio,
    "dicom2nifti": by_dicom2nifti,
    "MONAI": by_monai,
}


def voxels(found: np.ndarray | SimpleITK.Image) -> np.ndarray:
    """Return the array of what was read."""
    return found if isinstance(found, np.ndarray) else SimpleITK.GetArrayViewFromImage(found)


def measure(folder: Path, readers: Sequence[str]) -> dict[str, list[float]]:
    """Return seconds of each reader, taken in turns after a first round that is not counted.

    In the first round the sum of every reader's voxels is held against what was written, and of
    medvision's each voxel.
    """
    times: dict[str, list[float]] = {name: [] for name in readers}
    written = np.stack([phantom(k) for k in range(SLICES)]) - np.int16(1024)  # (K, J, I)
    truth = int(written.sum(dtype=np.int64))
    began = time.perf_counter()
    for turn in range(ROUNDS + 1):
        if turn > FEWEST and time.perf_counter() - began > BUDGET_S:
            break
        for name in list(times):
            start = time.perf_counter()
            try:
                found = READERS[name](folder)
            except Exception as error:  # not installed, or refuses this compression
                print(f"{name} left out of {folder.name}: {str(error).splitlines()[0][:100]}")
                del times[name]
                continue
            if turn:
                times[name].append(time.perf_counter() - start)
            elif int(voxels(found).sum(dtype=np.float64)) != truth:
                print(f"{name} reads other values of {folder.name} than were written")
            elif name == "medvision" and not np.array_equal(found, written.T[None]):
                print(f"{name} has other voxels of {folder.name} than were written")
            del found
    return times


def status(key: str) -> int:
    """Return a line of what Linux tells of this process's memory, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024


def grown(folder: Path) -> float:
    """Return by how much memory grows while reading, as a multiple of the array."""
    read_volume(next(folder.iterdir()))  # decoders are loaded
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    size = read_volume(folder).array.nbytes
    return (status("VmHWM") - before) / size


def told(syntax: str, times: dict[str, list[float]], memory: float, allowed: float) -> str:
    """Return what was found beside each goal."""
    lines = [f"| {syntax}, memory ≤ {allowed:.2f} × the array | {memory:.2f} |"]
    for name, goal in GOALS[syntax].items():
        if name in times:
            lines.append(f"| {syntax} ≤ {goal} × {name} | {ratio(times, name):.2f} |")
    return "\n".join(lines)


def ratio(times: dict[str, list[float]], name: str) -> float:
    """Return medvision's time by another reader's, the median over the turns."""
    return statistics.median(np.divide(times["medvision"], times[name]))


def versions() -> str:
    """Return the packages that are installed, with their versions."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            print(f"{name} is not installed")
    return ", ".join(found)


def processor() -> str:
    """Return the name of the processor, and how many this process may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    return f"{name or platform.processor()}, {len(os.sched_getaffinity(0))} cores"


def main() -> None:
    """Measure, and print the table."""
    warnings.simplefilter("ignore")
    goals = []
    readers = [name for name in READERS if name in (*sys.argv, "medvision")]
    readers = readers if len(readers) > 1 else list(READERS)
    print(f"| | turns | {' | '.join(readers)} |\n|---|---|{'---|' * len(readers)}")
    with tempfile.TemporaryDirectory() as top:
        for syntax in [name for name in SYNTAXES if name in sys.argv] or SYNTAXES:
            folder = Path(top) / syntax
            write_scan(folder, syntax)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                memory = pool.apply(grown, (folder,))
            times = measure(folder, readers)
            cells = {
                n: f"{statistics.median(t):.2f} ({ratio(times, n):.2f})" for n, t in times.items()
            }
            turns = len(times["medvision"])
            print(f"| {syntax} | {turns} | {' | '.join(cells.get(n, '–') for n in readers)} |")
            packed = 0 if syntax == "raw" else sum(f.stat().st_size for f in folder.iterdir())
            goals.append(told(syntax, times, memory, MEMORY_GOAL + packed / (SLICES * SIDE**2 * 2)))
            shutil.rmtree(folder)
    print("\n| goal | found |\n|---|---|", *goals, sep="\n")
    print(f"\n{processor()}; Python {platform.python_version()}; {versions()}.")


if __name__ == "__main__":
    main()
