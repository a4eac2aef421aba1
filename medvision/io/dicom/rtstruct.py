"""DICOM RTSTRUCT files: contours of regions, and which voxels lie inside them.

PS3.3 A.19.3, C.8.8.5 and C.8.8.6. Knows nothing of where the scan is found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from medvision.errors import DecodeError, GeometryError
from medvision.geometry import Affine, Points, flip_ras_lps, spacing_of, to_voxel
from medvision.io.dicom.referenced import Referenced
from medvision.io.dicom.seg import code_of, read_dataset, told_as
from medvision.volume import Label, SeriesInfo

RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
OPEN = ("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR")
CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
ONE_PLANE = 0.1  # slices; contours nearer than this lie in one plane
FLAT = 0.25  # slices; what a contour may rise and still be parallel to the slices
ROUNDING = 6  # digits of an index: a center on a contour must not depend on the last bit


@dataclass(frozen=True)
class Roi:
    """A region: its label, and its closed contours in RAS mm, (N, 3) each."""

    label: Label
    contours: tuple[Points, ...]


@dataclass(frozen=True)
class Structures:
    """The regions of an RTSTRUCT file."""

    rois: tuple[Roi, ...]
    referenced: Referenced
    info: SeriesInfo
    notes: tuple[str, ...]


def read_rtstruct(path: Path) -> Structures:
    """Read the regions of an RTSTRUCT file.

    The code of a label is that of its RTROIIdentificationCodeSequence, else its
    RTROIInterpretedType as ``"RTROI:PTV"``.

    Raises
    ------
    DecodeError
        When it is damaged, or lacks what a structure set must have.
    """
    data = read_dataset(path)
    with told_as(path, "structure set"):
        return structures_of(path, data)


def structures_of(path: Path, data: Dataset) -> Structures:
    """Return what an RTSTRUCT file says."""
    described = list(data.StructureSetROISequence)
    if not described:
        raise DecodeError(f"{path} holds no region.")
    drawn = {int(r.ReferencedROINumber): r for r in data.get("ROIContourSequence") or []}
    observed = {int(o.ReferencedROINumber): o for o in data.get("RTROIObservationsSequence") or []}
    numbers = [int(roi.ROINumber) for roi in described]
    kept = len(set(numbers)) == len(numbers) and min(numbers) >= 1 and max(numbers) <= 65535
    notes = [] if kept else ["ROI numbers are not unique from 1 to 65535: values count from 1."]
    rois = []
    for n, (number, roi) in enumerate(zip(numbers, described, strict=True), start=1):
        name = str(roi.get("ROIName") or "").strip() or f"ROI {number}"
        one = drawn.get(number, Dataset())
        color = one.get("ROIDisplayColor")
        red_green_blue = tuple(int(v) for v in color) if color is not None else ()
        label = Label(
            number if kept else n,
            name,
            (red_green_blue[0], red_green_blue[1], red_green_blue[2])
            if len(red_green_blue) == 3
            else None,
            observed_code(observed.get(number, Dataset())),
        )
        contours, other = closed_contours(path, one)
        if other:
            kinds = ", ".join(f"{count} {kind}" for kind, count in other.items())
            notes.append(f"{name}: {kinds} enclose nothing and are left out.")
        if not contours:
            notes.append(f"{name} has no closed contour: its label is empty.")
        rois.append(Roi(label, tuple(contours)))
    info = SeriesInfo(
        modality="RTSTRUCT",
        description=str(data.get("SeriesDescription") or data.get("StructureSetLabel") or ""),
        study_uid=str(data.get("StudyInstanceUID") or ""),
        series_uid=str(data.get("SeriesInstanceUID") or ""),
        sources=(path,),
    )
    return Structures(tuple(rois), referenced_by(data), info, tuple(notes))


def observed_code(observation: Dataset) -> str:
    """Return the code of a region, else its interpreted type, else nothing."""
    code = code_of(observation.get("RTROIIdentificationCodeSequence"))
    kind = str(observation.get("RTROIInterpretedType") or "")
    return code or (f"RTROI:{kind}" if kind else "")


def referenced_by(data: Dataset) -> Referenced:
    """Return the series that the contours were drawn on."""
    series, frame = [], ""
    for space in data.get("ReferencedFrameOfReferenceSequence") or []:
        frame = frame or str(space.get("FrameOfReferenceUID") or "")
        for study in space.get("RTReferencedStudySequence") or []:
            for one in study.get("RTReferencedSeriesSequence") or []:
                series.append(str(one.SeriesInstanceUID))
    return Referenced(tuple(dict.fromkeys(series)), frame)


def closed_contours(path: Path, roi: Dataset) -> tuple[list[Points], Counter[str]]:
    """Return the closed contours of a region in RAS mm, and how many others there are of a kind."""
    found: list[Points] = []
    other: Counter[str] = Counter()
    for contour in roi.get("ContourSequence") or []:
        kind = str(contour.get("ContourGeometricType") or "")
        if kind not in CLOSED:
            other[kind if kind in OPEN else "other contours"] += 1
            continue
        points = contour_points(contour)
        if len(points) < 3 or not np.isfinite(points).all():
            raise DecodeError(f"{path}: a closed contour of {len(points)} points encloses nothing.")
        found.append(points)
    return found, other


def contour_points(contour: Dataset) -> Points:
    """Return the points of a contour in RAS mm, (N, 3)."""
    value: Any = contour.get_item("ContourData").value
    # as bytes while pydicom has not parsed them: it makes an object of every number
    numbers = value.split(b"\\") if isinstance(value, bytes) else value
    lps = np.array([float(v) for v in numbers]).reshape(-1, 3)
    return np.asarray(lps @ flip_ras_lps(np.eye(4))[:3, :3].T)


def inside(
    roi: Roi, affine: Affine, shape: tuple[int, int, int], path: Path
) -> tuple[dict[int, NDArray[np.bool_]], tuple[str, ...]]:
    """Return which voxels' centers lie inside a region, and what had to be decided.

    By slice k, a mask (I, J) each; slices without contours are left out.

    A center is inside when a ray from it crosses the contours of its slice an odd number of times
    (even-odd rule): inner contours are holes, and keyholes close. A center on a contour is inside
    where the contour bounds the region on the side of low i, or of low j, and outside on the other.

    Raises
    ------
    GeometryError
        When a contour is not parallel to the slices, or lies beyond the first or last of them.
    """
    masks: dict[int, NDArray[np.bool_]] = {}
    drawn = [np.round(to_voxel(affine, points), ROUNDING) for points in roi.contours]
    heights = np.array([checked_height(c, roi, affine, shape, path) for c in drawn])
    notes: list[str] = []
    for k in np.unique(np.rint(heights)).astype(int).tolist():
        members = [n for n in range(len(drawn)) if round(float(heights[n])) == k]
        nearest = min((heights[n] for n in members), key=lambda h: abs(h - k))
        one_plane = [n for n in members if abs(heights[n] - nearest) <= ONE_PLANE]
        if len(one_plane) < len(members):
            notes.append("contours lie closer than the slices; the nearest to each was taken")
        masks[k] = even_odd([drawn[n][:, :2] for n in one_plane], shape[0], shape[1])
    slices = np.unique(np.rint(heights))
    if len(slices) > 1 and np.diff(slices).min() > 1:
        notes.append("contours skip slices, which stay empty")
    if drawn and not any(mask.any() for mask in masks.values()):
        notes.append("no voxel center lies inside its contours")
    told = (f"{roi.label.name}: {words}." for words in dict.fromkeys(notes))
    return masks, tuple(told)


def checked_height(
    contour: Points, roi: Roi, affine: Affine, shape: tuple[int, int, int], path: Path
) -> float:
    """Return where among the slices a contour lies (index k), when it lies in one."""
    step = spacing_of(affine)[2]  # mm
    low, high = float(contour[:, 2].min()), float(contour[:, 2].max())
    if high - low > FLAT:
        raise GeometryError(
            f"{path}: a contour of {roi.label.name!r} is not parallel to the slices of the scan: "
            f"it runs through {(high - low) * step:.2f} mm of them (slices {step:.2f} mm apart). "
            "Name the scan that it was drawn on as reference."
        )
    middle = float(np.median(contour[:, 2]))
    beyond = max(-middle, middle - (shape[2] - 1))
    if beyond > 0.5:
        raise GeometryError(
            f"{path}: a contour of {roi.label.name!r} lies {beyond * step:.2f} mm beyond the "
            f"outermost slice of the scan (slices {step:.2f} mm apart). Name the scan that it was "
            "drawn on as reference."
        )
    return min(max(middle, 0.0), shape[2] - 1.0)


def even_odd(contours: Sequence[Points], columns: int, rows: int) -> NDArray[np.bool_]:
    """Return which pixel centers (columns, rows) lie inside contours (N, 2), by the even-odd rule.

    Each edge is met with every row of centers it crosses; each crossing flips the pixels at and
    after it.
    """
    edges = np.concatenate([np.stack([c, np.roll(c, -1, axis=0)], axis=1) for c in contours])
    swap = edges[:, 0, 1] > edges[:, 1, 1]
    edges[swap] = edges[swap, ::-1]  # upward, so that an edge drawn both ways crosses at one place
    (x0, y0), (x1, y1) = edges[:, 0].T, edges[:, 1].T
    first = np.maximum(np.ceil(y0), 0).astype(int)
    last = np.minimum(np.ceil(y1), rows).astype(int)  # not met: the next edge begins there
    count = np.maximum(last - first, 0)
    edge = np.repeat(np.arange(len(edges)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    slope = (x1 - x0)[edge] / (y1 - y0)[edge]
    crossing = np.round(x0[edge] + (row - y0[edge]) * slope, ROUNDING)
    column = np.clip(np.ceil(crossing), 0, columns).astype(int)
    mask = np.zeros((columns, rows), dtype=bool)
    if len(row) == 0:
        return mask
    left, right, low, high = column.min(), column.max(), row.min(), row.max() + 1
    flips = np.zeros((right - left + 1, high - low), dtype=np.int32)
    np.add.at(flips, (column - left, row - low), 1)
    # beyond the last crossing all is outside: every contour is closed
    mask[left:right, low:high] = np.cumsum(flips, axis=0)[:-1] % 2 == 1
    return mask
