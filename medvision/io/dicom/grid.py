"""The grid of a series: slices in order along their normal, evenly spaced, or refused.

DICOM PS3.3 C.7.6.2.1.1 gives the affine of one slice; the third axis comes from the positions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvision.errors import GeometryError
from medvision.geometry import Affine, check_affine, flip_ras_lps
from medvision.io.dicom.headers import Frame
from medvision.io.dicom.places import places_of, volumes_of

GAP_TOLERANCE = 0.01  # relative to the usual gap
MIN_TOLERANCE = 0.025  # mm; positions are often written with two digits
TILT = 0.5  # degrees between normal and stack from which a tilt is told


@dataclass(frozen=True)
class SliceGrid:
    """Slices by channel and place, and the affine (RAS mm) of the stack."""

    frames: tuple[tuple[Frame, ...], ...]  # [channel][slice]
    affine: Affine
    spacing_known: bool = True
    notes: tuple[str, ...] = ()


def grid_of(frames: Sequence[Frame]) -> SliceGrid:
    """Order slices along their normal, and those of one place in time, and find their grid.

    Raises
    ------
    GeometryError
        Naming the files, when slices differ in size, direction or spacing, one is missing or
        there twice, or they shift sideways.
    """
    check_alike(frames)
    first = frames[0]
    if first.position is None or first.cosines is None:
        if len(frames) != first.header.coding.frames:
            raise GeometryError(
                f"{first.header.path} lacks its place in the patient (ImagePositionPatient, "
                f"ImageOrientationPatient): {len(frames)} such images make no volume."
            )
        return flat_grid(frames)
    along_row, along_column = np.reshape(first.cosines, (2, 3))
    check_cosines(first, along_row, along_column)
    normal = np.cross(along_row, along_column)
    channels = volumes_of(places_of(frames, normal))
    ordered = channels[0]
    positions = np.array([f.position for f in ordered], dtype=np.float64)  # (K, 3) LPS mm
    notes: list[str] = []
    if len(ordered) == 1:
        step = normal * (first.slice_step or 1.0)
        if first.slice_step is None:
            notes.append("One slice of unknown thickness: 1 mm is assumed.")
    else:
        check_gaps(ordered, positions @ normal)
        step = (positions[-1] - positions[0]) / (len(ordered) - 1)
        tilt = np.degrees(np.arccos(min(1.0, float(step @ normal) / float(np.linalg.norm(step)))))
        if tilt > TILT:
            notes.append(
                f"The slices are stacked at a tilt of {tilt:.1f}°, which the affine keeps."
            )
    for channel in channels:
        check_straight(channel, positions[0], step)
    between_rows, between_columns, known = in_plane(first, notes)
    affine = np.eye(4)
    affine[:3, 0] = along_row * between_columns  # i counts columns
    affine[:3, 1] = along_column * between_rows  # j counts rows
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    return SliceGrid(channels, check_affine(flip_ras_lps(affine)), known, tuple(notes))


def flat_grid(frames: Sequence[Frame]) -> SliceGrid:
    """Return the grid of a picture that does not say where it lies: a radiograph, or a film."""
    notes: list[str] = []
    between_rows, between_columns, known = in_plane(frames[0], notes)
    notes.append("The file does not say where it lies in the patient: left and right are a guess.")
    # i grows to the patient's left, j to the feet, as on a film seen from the front
    affine = np.zeros((4, 4))
    affine[0, 0], affine[2, 1], affine[1, 2], affine[3, 3] = -between_columns, -between_rows, 1, 1
    channels = tuple((frame,) for frame in sorted(frames, key=lambda f: f.order))
    return SliceGrid(channels, check_affine(affine), known, tuple(notes))


def in_plane(frame: Frame, notes: list[str]) -> tuple[float, float, bool]:
    """Return mm between rows, mm between columns, and whether they are known."""
    detector = frame.header.imager_spacing
    if frame.pixel_spacing:
        return frame.pixel_spacing[0], frame.pixel_spacing[1], True
    if detector:
        notes.append("Pixel sizes are those at the detector: what lies before it is magnified.")
        return detector[0], detector[1], True
    return 1.0, 1.0, False


def check_alike(frames: Sequence[Frame]) -> None:
    """Refuse slices that differ from most of their series in what one grid has once."""
    first = frames[len(frames) // 2]
    facts: dict[str, list[Any]] = {
        "size (columns × rows)": [(f.columns, f.rows) for f in frames],
        "direction": [f.cosines and near(f.cosines, first.cosines) for f in frames],
        "pixel spacing (mm)": [
            f.pixel_spacing and tuple(np.round(f.pixel_spacing, 4)) for f in frames
        ],
        "position": [f.position is not None for f in frames],
    }
    for what, values in facts.items():
        usual = Counter(values).most_common(1)[0][0]
        odd = [(f, v) for f, v in zip(frames, values, strict=True) if v != usual]
        if odd:
            raise GeometryError(
                f"{len(odd)} of {len(frames)} slices differ in {what} from the others "
                f"({shown(usual)}): "
                + ", ".join(f"{f.name} ({shown(v)})" for f, v in odd[:5])
                + (", …" if len(odd) > 5 else "")
                + "."
            )


def near(
    cosines: tuple[float, ...], reference: tuple[float, ...] | None
) -> tuple[float, ...] | None:
    """Return the reference when it is met to within rounding."""
    met = reference is not None and np.allclose(cosines, reference, atol=1e-3)
    return reference if met else tuple(round(c, 3) for c in cosines)


def shown(value: object) -> str:
    """Return numbers as a person writes them."""
    if isinstance(value, tuple):
        return " × ".join(f"{float(v):g}" for v in value)
    return "given" if value is True else "missing" if not value else str(value)


def check_cosines(frame: Frame, row: NDArray[np.float64], column: NDArray[np.float64]) -> None:
    """Refuse directions that are not two perpendicular unit vectors."""
    lengths = [float(np.linalg.norm(row)), float(np.linalg.norm(column))]
    if max(abs(n - 1) for n in lengths) > 0.01 or abs(float(row @ column)) > 0.01:
        raise GeometryError(
            f"{frame.name}: ImageOrientationPatient {frame.cosines} is not two perpendicular "
            "directions of length 1."
        )


def check_gaps(frames: Sequence[Frame], distances: NDArray[np.float64]) -> None:
    """Refuse slices that are missing or unevenly spaced; `distances` rise, in mm."""
    gaps = np.diff(distances)
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])  # the lower median: a gap that is there
    off = np.flatnonzero(np.abs(gaps - usual) > max(MIN_TOLERANCE, GAP_TOLERANCE * usual))
    if len(off) == 0:
        return
    i = int(off[np.argmax(gaps[off])])
    missing = gaps[i] / usual - 1
    guess = (
        f"{round(missing)} slice(s) missing"
        if missing > 0.5 and abs(missing - round(missing)) < 0.05
        else "uneven spacing"
    )
    raise GeometryError(
        f"Slice gaps run from {gaps.min():.2f} to {gaps.max():.2f} mm (usually {usual:.2f}): "
        f"{guess} between {frames[i].name} and {frames[i + 1].name} ({gaps[i]:.2f} mm apart)."
    )


def check_straight(
    frames: Sequence[Frame], start: NDArray[np.float64], step: NDArray[np.float64]
) -> None:
    """Refuse slices that do not lie on one straight line of equal steps."""
    positions = np.array([f.position for f in frames], dtype=np.float64)
    line = start + np.arange(len(positions))[:, None] * step
    off = np.linalg.norm(positions - line, axis=1)  # mm
    worst = int(off.argmax())
    if off[worst] > max(0.05, 2 * GAP_TOLERANCE * float(np.linalg.norm(step))):
        raise GeometryError(
            f"Slices shift sideways: {frames[worst].name} lies {off[worst]:.2f} mm off the line "
            f"from {frames[0].name} to {frames[-1].name}."
        )
