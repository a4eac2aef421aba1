"""Scans from DICOM files with structures whose places are known, and what checks DICOM results."""

import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pydicom
from dicom_phantom import write_enhanced, write_series
from scipy.spatial.transform import Rotation

from medvision.codes import ClassCodes
from medvision.geometry import check_affine
from medvision.io import read_volume
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.prediction import Prediction
from medvision.study import Study
from medvision.volume import Volume

NAMES = ("big", "small", "absent")
BALLS = (
    Ellipsoid((12.0, -9.0, 21.0), (14.0, 10.0, 12.0), 1, 100.0),
    Ellipsoid((-14.0, 13.0, 36.0), (7.0, 9.0, 10.0), 2, 300.0),
)
SHAPE, SPACING = (61, 53, 24), (1.1, 1.3, 2.5)
PLANES = {
    "axial": (180, 0, 0),
    "axial from the head": (0, 0, 0),
    "sagittal": (90, 90, 0),
    "coronal": (90, 0, 180),
    "oblique": (20, -30, 50),
}
CODES = {"small": ClassCodes("SCT:5366008:Hippocampus", laterality="SCT:7771000:Left")}
WORLD = np.mean([ball.center_mm for ball in BALLS], axis=0)


def drawn(plane="axial", tilt_mm=0.0):
    """The balls on a grid, as int16; with a tilt, slices shift along j."""
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", PLANES[plane], degrees=True).as_matrix()
    affine[:3, :3] = turn @ np.diag(SPACING)
    affine[:3, 2] += turn[:, 1] * tilt_mm
    affine[:3, 3] = WORLD - affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    image, _ = ellipsoid_phantom(SHAPE, check_affine(affine), BALLS)
    return Volume(image.array.astype(np.int16), image.affine)


def scanned(folder, kind="axial", change=lambda data, k: None):
    """Write the balls as DICOM of a kind, and return the scan as it is read."""
    if kind.startswith("multi-frame"):
        plane = kind.removeprefix("multi-frame ")
        write_enhanced(
            folder / "one.dcm", drawn(plane), change=lambda data, groups: change(data, 0)
        )
    elif kind == "tilted":
        write_series(folder, drawn(tilt_mm=0.4), change=change)
    else:
        write_series(folder, drawn(kind), change=change)
    return read_volume(folder)


def segmented(scan, labels=None, **kwargs):
    """Return what a perfect model says of the balls, and the study."""
    if labels is None:
        labels = np.select([scan.array >= 300, scan.array >= 100], [2, 1]).astype(np.uint8)
    mask = replace(scan.with_array(labels), info=replace(scan.info, channels=""))
    region = tuple(slice(0, n) for n in scan.shape)
    found = Prediction("case", "toy", NAMES, region, mask, codes=CODES, **kwargs)
    return found, Study("case", {"image": scan})


def errors_of(path):
    """Return the lines of dciodvfy that are errors; None where it is not installed."""
    if shutil.which("dciodvfy") is None:
        return None
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert len(lines) > 0
    return [line for line in lines if line.startswith("Error")]


def centroids_by_hand(path):
    """Return where the segments' centers lie (RAS mm), by the standard and pydicom alone."""
    data = pydicom.dcmread(path)
    shared = data.SharedFunctionalGroupsSequence[0]
    down, across = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    row, column = cosines.reshape(2, 3)
    bits = np.unpackbits(np.frombuffer(data.PixelData, np.uint8), bitorder="little")
    frames = bits[: data.NumberOfFrames * data.Rows * data.Columns]
    frames = frames.reshape(data.NumberOfFrames, data.Rows, data.Columns)
    points: dict[str, list[np.ndarray]] = {}
    names = {s.SegmentNumber: s.SegmentLabel for s in data.SegmentSequence}
    for frame, group in zip(frames, data.PerFrameFunctionalGroupsSequence, strict=True):
        start = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        r, c = np.nonzero(frame)
        lps = start + np.outer(c * across, row) + np.outer(r * down, column)
        name = names[group.SegmentIdentificationSequence[0].ReferencedSegmentNumber]
        points.setdefault(name, []).append(lps * (-1, -1, 1))
    return {name: np.concatenate(some).mean(axis=0) for name, some in points.items()}
