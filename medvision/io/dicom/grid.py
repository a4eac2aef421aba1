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
from medvision.io.dicom.places import by_file, places_of, volumes_of

GAP_TOLERANCE = 0.01  # relative to the usual gap
MIN_TOLERANCE = 0.025  # mm; positions are often written with two digits
ROUNDING = 0.1  # mm; some are written with one
TILT = 0.5  # degrees between normal and stack from which a tilt is told


@dataclass(frozen=True)
class SliceGrid:
    """Slices by channel and place, and the affine (RAS mm) of the stack."""

    frames: tuple[tuple[Frame, ...], ...]  # [channel][slice]
    affine: Affine
    spacing_known: bool = True
    notes: tuple[str, ...] = ()
    uneven_mm: tuple[float, ...] = ()  # where slices lie from the first, when they lie unevenly


def grid_of(frames: Sequence[Frame], uneven: bool = False) -> SliceGrid:
    """Order slices along their normal, and those of one place in time, and find their grid.

    Parameters
    ----------
    frames : sequence of Frame
    uneven : bool
        Accept uneven or missing slices: `SliceGrid.uneven_mm` says where they lie, and the affine
        has the usual gap.

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
    notes: list[str] = []
    moved = by_file(frames, normal) if follows_motion(frames) else None
    if moved:
        channels = moved
        notes.append("The scanner moved its slices between volumes; the first says where they lie.")
    else:
        places, decided = places_of(frames, normal)
        channels = volumes_of(places)
        notes += [decided] if decided else []
    ordered = channels[0]
    positions = np.array([f.position for f in ordered], dtype=np.float64)  # (K, 3) LPS mm
    distances = (positions - positions[0]) @ normal  # mm
    if len(ordered) == 1:
        step = normal * (first.slice_step or 1.0)
        if first.slice_step is None:
            notes.append("One slice of unknown thickness: 1 mm is assumed.")
    else:
        problem = gap_problem(ordered, distances)
        if problem and not uneven:
            raise GeometryError(problem)
        way = positions[-1] - positions[0]
        step = way * (usual_gap(distances) / distances[-1]) if problem else way / (len(ordered) - 1)
        tilt = np.degrees(np.arccos(min(1.0, float(step @ normal) / float(np.linalg.norm(step)))))
        if tilt > TILT:
            notes.append(
                f"The slices are stacked at a tilt of {tilt:.1f}°, which the affine keeps."
            )
        for channel in channels[:1] if moved else channels:
            check_straight(channel, positions[0], way, distances / distances[-1])
        if problem:
            return SliceGrid(
                channels,
                slice_affine(first, step, positions[0], notes)[0],
                True,
                (*notes, problem),
                tuple(distances.tolist()),
            )
    affine, known = slice_affine(first, step, positions[0], notes)
    return SliceGrid(channels, affine, known, tuple(notes))


def follows_motion(frames: Sequence[Frame]) -> bool:
    """Tell whether mosaics of one series lie apart: the scanner followed the patient's head."""
    firsts = [f.position for f in frames if f.tile == 0]
    return len(firsts) > 1 and bool(
        np.ptp(np.asarray(firsts, dtype=np.float64), axis=0).max() > 1e-3
    )


def slice_affine(
    first: Frame, step: NDArray[np.float64], start: NDArray[np.float64], notes: list[str]
) -> tuple[Affine, bool]:
    """Return the affine (RAS mm) of slices `step` apart from `start`, and whether mm are known."""
    along_row, along_column = np.reshape(np.asarray(first.cosines), (2, 3))
    between_rows, between_columns, known = in_plane(first, notes)
    affine = np.eye(4)
    affine[:3, 0] = along_row * between_columns  # i counts columns
    affine[:3, 1] = along_column * between_rows  # j counts rows
    affine[:3, 2] = step
    affine[:3, 3] = start
    return check_affine(flip_ras_lps(affine)), known


def flat_grid(frames: Sequence[Frame]) -> SliceGrid:
    """Return the grid of images that do not say where they lie: a radiograph, or a film.

    It is centered on the world's origin, with the axes of PatientOrientation where the file has
    it, else those of an axial slice, which is a guess (dcm2niix makes the same one). Frames are
    moments in time, so they are channels; in color, which has the channels, they lie along K.
    """
    notes: list[str] = []
    first = frames[0]
    between_rows, between_columns, known = in_plane(first, notes)
    along_row, along_column = lettered_axes(first.header.patient_orientation)
    if along_row is None or along_column is None:
        along_row, along_column = np.eye(3)[0], np.eye(3)[1]
        notes.append(
            "The file does not say where it lies in the patient: left and right are a guess."
        )
    ordered = tuple(sorted(frames, key=lambda f: f.order))
    color = first.header.color and len(frames) > 1
    if color:
        notes.append(f"{len(frames)} frames of a film in color lie along K, which is no distance.")
    affine = np.eye(4)
    affine[:3, 0] = along_row * between_columns
    affine[:3, 1] = along_column * between_rows
    affine[:3, 2] = np.cross(along_row, along_column) * (first.slice_step or 1.0)
    size = (first.columns, first.rows, len(frames) if color else 1)
    affine[:3, 3] = -affine[:3, :3] @ (np.asarray(size) - 1) / 2
    channels = (ordered,) if color else tuple((frame,) for frame in ordered)
    return SliceGrid(channels, check_affine(flip_ras_lps(affine)), known, tuple(notes))


def lettered_axes(
    letters: Sequence[str],
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Return where rows and columns lead, in LPS, by the first letters of PatientOrientation.

    PS3.3 C.7.6.1.1.1: ``("L", "F")`` is a film seen from the front: rows run to the left, columns
    to the feet.
    """
    ways = {"L": 0, "R": 0, "P": 1, "A": 1, "H": 2, "F": 2}
    found = [word[:1] for word in letters]
    if len(found) != 2 or not set(found) <= set(ways) or ways[found[0]] == ways[found[1]]:
        return None, None
    row, column = (np.eye(3)[ways[w]] * (1 if w in "LPH" else -1) for w in found)
    return row, column


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


def usual_gap(distances: NDArray[np.float64]) -> float:
    """Return the lower median of the gaps between slices (mm): a gap that is there."""
    gaps = np.diff(distances)
    return float(np.sort(gaps)[(len(gaps) - 1) // 2])


def gap_problem(frames: Sequence[Frame], distances: NDArray[np.float64]) -> str:
    """Say which slices are missing or unevenly spaced; nothing when none is.

    `distances` rise, in mm. Positions that were rounded to a tenth of a millimeter pass, when all
    of them lie where an even spacing puts them.
    """
    gaps, usual = np.diff(distances), usual_gap(distances)
    count = np.arange(len(distances))
    line = np.polyval(np.polyfit(count, distances, 1), count)
    rounded = np.abs(distances - line).max() <= ROUNDING
    tolerance = max(MIN_TOLERANCE, GAP_TOLERANCE * usual)
    if rounded:
        tolerance = max(tolerance, min(2 * ROUNDING - 0.01, usual / 4))
    off = np.flatnonzero(np.abs(gaps - usual) > tolerance)
    if len(off) == 0:
        return ""
    i = int(off[np.argmax(gaps[off])])
    missing = gaps[i] / usual - 1
    guess = (
        f"{round(missing)} slice(s) missing"
        if missing > 0.5 and abs(missing - round(missing)) < 0.05
        else "uneven spacing"
    )
    return (
        f"Slice gaps run from {gaps.min():.2f} to {gaps.max():.2f} mm (usually {usual:.2f}): "
        f"{guess} between {frames[i].name} and {frames[i + 1].name} ({gaps[i]:.2f} mm apart)."
    )


def check_straight(
    frames: Sequence[Frame],
    start: NDArray[np.float64],
    way: NDArray[np.float64],
    shares: NDArray[np.float64],
) -> None:
    """Refuse slices that do not lie on one straight line, each at its share of the whole `way`."""
    positions = np.array([f.position for f in frames], dtype=np.float64)
    off = np.linalg.norm(positions - (start + shares[:, None] * way), axis=1)  # mm
    worst = int(off.argmax())
    usual = float(np.linalg.norm(way)) / (len(frames) - 1)
    if off[worst] > max(ROUNDING, 2 * GAP_TOLERANCE * usual):
        raise GeometryError(
            f"Slices shift sideways: {frames[worst].name} lies {off[worst]:.2f} mm off the line "
            f"from {frames[0].name} to {frames[-1].name}."
        )
