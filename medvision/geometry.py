"""Grids in the world: affines, spacing, orientation, boxes.

The world is RAS millimetres everywhere; DICOM's LPS is left behind at the reader by
`flip_ras_lps`, the only such flip in medvision. Knows nothing of voxel values or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medvision.errors import GeometryError, SpecError

Affine: TypeAlias = NDArray[np.float64]  # (4, 4), voxel index → RAS mm
Voxels: TypeAlias = NDArray[Any]  # (C, I, J, K)
Points: TypeAlias = NDArray[np.float64]  # (..., 3)

STORED = "IJK"  # the axes of an array; J and K are no direction, so that no code is both
AXIS_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))  # (negative, positive) end of each RAS axis


def check_affine(affine: ArrayLike) -> Affine:
    """Return `affine` as a read-only float64 (4, 4), or raise `GeometryError`."""
    checked: Affine = np.array(affine, dtype=np.float64)
    if checked.shape != (4, 4):
        raise GeometryError(f"An affine is a 4×4 matrix; found shape {checked.shape}.")
    if not np.isfinite(checked).all():
        raise GeometryError("The affine holds NaN or infinity: the scan has no place in space.")
    if not np.array_equal(checked[3], [0, 0, 0, 1]):
        raise GeometryError(f"The affine's last row must be 0 0 0 1; found {checked[3].tolist()}.")
    sizes = np.linalg.norm(checked[:3, :3], axis=0)  # mm
    if sizes.min() <= 0:
        raise GeometryError(
            f"The spacing is {' × '.join(f'{s:g}' for s in sizes)} mm: every side must be above 0."
        )
    if abs(np.linalg.det(checked[:3, :3] / sizes)) < 1e-4:
        raise GeometryError("Two voxel axes point the same way: the affine is singular.")
    checked.setflags(write=False)
    return checked


def flip_ras_lps(affine: Affine) -> Affine:
    """Convert RAS to LPS or back; every flip in medvision is here."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def spacing_of(affine: Affine) -> NDArray[np.float64]:
    """Return the voxel size in mm along each voxel axis, (3,)."""
    return np.asarray(np.linalg.norm(affine[:3, :3], axis=0))


def voxel_mm3(affine: Affine) -> float:
    """Return the volume of one voxel in mm³; true for sheared grids too."""
    return float(abs(np.linalg.det(affine[:3, :3])))


def to_world(affine: Affine, voxels: ArrayLike) -> Points:
    """Map voxel indices (..., 3) to RAS mm."""
    return np.asarray(np.asarray(voxels, dtype=np.float64) @ affine[:3, :3].T + affine[:3, 3])


def to_voxel(affine: Affine, points: ArrayLike) -> Points:
    """Map RAS mm (..., 3) to (fractional) voxel indices."""
    return to_world(np.asarray(np.linalg.inv(affine), dtype=np.float64), points)


def corners(shape: Sequence[int]) -> Points:
    """Return the eight outer corners of a grid, voxel edges included, as indices (8, 3)."""
    return np.array(list(product(*[(-0.5, n - 0.5) for n in shape])))


def nearest_axes(affine: Affine) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return which world axis each voxel axis runs along, and its sign.

    Among the six pairings the one with the largest summed |cosine| is taken. Ties, as on a grid at
    45°, are broken by the direction of the axes in the world alone, so that neither the order nor
    the sign of the voxel axes, nor rounding noise below 1e-6, has a say.
    """
    cosines = affine[:3, :3] / spacing_of(affine)  # column = voxel axis

    def closeness(axes: tuple[int, ...]) -> tuple[float, ...]:
        x, y, z = (cosines[:, axes.index(w)] for w in range(3))  # the voxel axis given to each
        near = (abs(x[0]), abs(y[1]), abs(z[2]))
        lean = (x[0] * x[1], x[0] * x[2], y[1] * y[2])
        return tuple(round(float(v), 6) for v in (sum(near), *near, *lean))

    best = max(permutations(range(3)), key=closeness)
    signs = tuple(1 if cosines[best[v], v] >= 0 else -1 for v in range(3))
    return best, signs


def orientation_of(affine: Affine) -> str:
    """Return three letters, the direction in which each voxel index grows: ``"RAS"``, ``"LPS"``…"""
    axes, signs = nearest_axes(affine)
    return "".join(AXIS_LETTERS[a][int(s > 0)] for a, s in zip(axes, signs, strict=True))


def obliquity_degrees(affine: Affine) -> float:
    """Return the largest angle between a voxel axis and its nearest world axis, in degrees."""
    cosines = affine[:3, :3] / spacing_of(affine)
    axes, _ = nearest_axes(affine)
    smallest = min(abs(cosines[axes[v], v]) for v in range(3))
    return float(np.degrees(np.arccos(min(1.0, smallest))))


def is_as_stored(orientation: str) -> bool:
    """Tell whether letters name stored axes, in any order of I, J, K, not directions."""
    return sorted(orientation) == list(STORED)


def in_directions(orientation: str, affine: Affine) -> str:
    """Return the directions that letters stand for in a scan, whether or not they name axes.

    Examples
    --------
    >>> in_directions("KJI", np.eye(4)), in_directions("LPS", np.eye(4))
    ('SAR', 'LPS')
    """
    if not is_as_stored(orientation):
        return orientation
    code = orientation_of(affine)
    return "".join(code[STORED.index(letter)] for letter in orientation)


def reorientation(affine: Affine, orientation: str) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Return (order, flips) such that ``flip(transpose(array, order), flips)`` has `orientation`.

    Letters I, J, K in any order stand for the axes as they are stored: none is flipped.

    Raises
    ------
    SpecError
        When `orientation` is neither that nor three letters, one of each pair L/R, P/A, I/S.
    """
    if is_as_stored(orientation):
        return tuple(STORED.index(letter) for letter in orientation), (False, False, False)
    wanted = []
    for letter in orientation:
        hits = [(a, pair.index(letter)) for a, pair in enumerate(AXIS_LETTERS) if letter in pair]
        wanted += hits
    if len(wanted) != 3 or len({a for a, _ in wanted}) != 3:
        raise SpecError(
            f"Orientation {orientation!r} is not like 'RAS', one of L/R, P/A and I/S, nor the "
            "stored axes I, J and K in some order."
        )
    axes, signs = nearest_axes(affine)
    order = tuple(axes.index(axis) for axis, _ in wanted)
    flips = tuple((signs[v] > 0) != bool(up) for v, (_, up) in zip(order, wanted, strict=True))
    return order, flips


def reoriented_affine(
    affine: Affine, shape: Sequence[int], order: Sequence[int], flips: Sequence[bool]
) -> Affine:
    """Return the affine of ``flip(transpose(array, order), flips)``; `shape` is the old one."""
    step = np.zeros((4, 4))  # new index → old index
    step[3, 3] = 1.0
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        step[old, new] = -1.0 if flip else 1.0
        step[old, 3] = shape[old] - 1.0 if flip else 0.0
    return affine @ step


def resized_affine(affine: Affine, shape: Sequence[int], new_shape: Sequence[int]) -> Affine:
    """Return the affine of the same box cut into `new_shape` voxels (outer edges stay in place)."""
    zoom = np.asarray(shape, dtype=np.float64) / np.asarray(new_shape, dtype=np.float64)
    step = np.diag([*zoom, 1.0])
    step[:3, 3] = (zoom - 1.0) / 2.0
    return affine @ step


@dataclass(frozen=True)
class Box:
    """A box along the world's axes, in RAS mm.

    Parameters
    ----------
    low, high : three floats
        Opposite corners, every low below its high.
    name : str
        What the box is called in results.
    space : str
        ``"mni"`` when the numbers only mean something in MNI space, else ``""``.
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    name: str = ""
    space: str = ""

    def __post_init__(self) -> None:
        finite = np.isfinite([*self.low, *self.high]).all()
        if not finite or not all(lo < hi for lo, hi in zip(self.low, self.high, strict=True)):
            raise SpecError(f"A box runs from low to high on each axis; found {self}.")

    def __str__(self) -> str:
        pairs = zip(self.low, self.high, strict=True)
        return ",".join(f"{lo:g}:{hi:g}" for lo, hi in pairs)


# About the size of the Decathlon's hippocampus crops, around the middle of the Harvard-Oxford
# hippocampus (25 % map) in MNI space: (−22…−25, −23, −13) mm and its mirror image.
BOXES = {
    "mni:left-hippocampus": Box((-42, -50, -32), (-7, 2, 6), "left-hippocampus", "mni"),
    "mni:right-hippocampus": Box((7, -50, -32), (42, 2, 6), "right-hippocampus", "mni"),
}


def parse_box(text: str) -> Box:
    """Read a box from ``"mni:left-hippocampus"`` or ``"-46:-6,-50:6,-37:7"`` (RAS mm).

    Raises
    ------
    SpecError
        When the text is neither a known name nor three low:high pairs.

    Examples
    --------
    >>> parse_box("-46:-6,-50:6,-37:7").high
    (-6.0, 6.0, 7.0)
    """
    if text in BOXES:
        return BOXES[text]
    try:
        pairs = [[float(v) for v in side.split(":")] for side in text.split(",")]
        (x0, x1), (y0, y1), (z0, z1) = pairs
    except ValueError:
        raise SpecError(
            f"Box {text!r} is neither a name ({', '.join(BOXES)}) nor x0:x1,y0:y1,z0:z1 in RAS mm."
        ) from None
    return Box((x0, y0, z0), (x1, y1, z1), name="box")


def box_slices(affine: Affine, shape: Sequence[int], box: Box) -> tuple[slice, slice, slice]:
    """Return the voxel slices whose centres lie in `box`, clipped to the grid.

    On an oblique grid, the smallest index block that holds the whole box.

    Raises
    ------
    GeometryError
        When the box lies outside the grid.
    """
    world = np.array(list(product(*zip(box.low, box.high, strict=True))))  # (8, 3) mm
    index = to_voxel(affine, world)
    first = np.maximum(np.ceil(index.min(axis=0) - 1e-6), 0).astype(int)
    last = np.minimum(np.floor(index.max(axis=0) + 1e-6), np.asarray(shape) - 1).astype(int)
    if (first > last).any():
        edges = to_world(affine, corners(shape))
        have = Box(tuple(edges.min(axis=0)), tuple(edges.max(axis=0)))
        raise GeometryError(f"The box {box} mm lies outside the scan, which spans {have} mm.")
    i, j, k = (slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))
    return i, j, k
