"""Volume: voxels, where they lie in the world, and where they came from.

Knows nothing of files or networks. Values are frozen: change voxels with `with_array`, keep the
grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from medvision.errors import GeometryError
from medvision.geometry import (
    Affine,
    Box,
    Voxels,
    box_slices,
    check_affine,
    orientation_of,
    reorientation,
    reoriented_affine,
    spacing_of,
)


@dataclass(frozen=True)
class Window:
    """Window level and width, in the units of the voxels (HU for CT)."""

    level: float
    width: float  # positive

    def __post_init__(self) -> None:
        if not (np.isfinite([self.level, self.width]).all() and self.width > 0):
            raise GeometryError(f"A window needs a finite level and a positive width: {self}.")

    @property
    def low(self) -> float:
        """Lowest displayed value."""
        return self.level - self.width / 2

    @property
    def high(self) -> float:
        """Highest displayed value."""
        return self.level + self.width / 2


@dataclass(frozen=True)
class Label:
    """What a value of a label map stands for.

    Parameters
    ----------
    value : int
        Voxel value, or, where channels are segments, number of the channel from 1.
    name : str
    color : (int, int, int), optional
        Red, green and blue, 0 to 255, as the file asks for.
    code : str
        Coded concept, such as ``"SCT:80891009"``; empty when unknown.
    """

    value: int
    name: str
    color: tuple[int, int, int] | None = None
    code: str = ""


@dataclass(frozen=True)
class SeriesInfo:
    """What is known of a series besides its voxels. Holds no name and no date.

    Parameters
    ----------
    modality : str
        DICOM modality (``"CT"``, ``"MR"``, ``"PT"``, ``"CR"``…); empty when unknown.
    description : str
        Series description or file stem.
    study_uid, series_uid : str
        DICOM UIDs; empty for other formats.
    unit : str
        ``"HU"`` for CT; empty when the values have no unit.
    window : Window, optional
        The window that the file asks for.
    padding : (low, high), optional
        Values from `low` to `high` stand for nothing, such as the corners of a round CT.
    channels : str
        What the first axis means: ``""`` (one channel), ``"time"``, ``"diffusion"``, ``"color"``
        or ``"segment"`` (segments that may overlap, one a channel).
    times : tuple of float
        When each channel was taken, in seconds since the first; empty when unknown.
    b_values : tuple of float
        Diffusion weighting of each channel in s/mm²; empty where it is unknown.
    b_vectors : tuple of (x, y, z)
        Direction of each channel's diffusion gradient in RAS; zeros where nothing is weighted.
    labels : tuple of Label
        Names and colors of a label map; empty for an image.
    spacing_known : bool
        False for a picture without calibration: then nothing may be told in mm or ml.
    space : str
        ``"mni"`` when the file says so, ``"scanner"``, ``"aligned"``, or empty.
    sources : tuple of Path
        Files in slice order, as the user named them.
    notes : tuple of str
        What the reader had to decide, in plain words.
    """

    modality: str = ""
    description: str = ""
    study_uid: str = ""
    series_uid: str = ""
    unit: str = ""
    window: Window | None = None
    padding: tuple[float, float] | None = None
    channels: str = ""
    times: tuple[float, ...] = ()
    b_values: tuple[float, ...] = ()
    b_vectors: tuple[tuple[float, float, float], ...] = ()
    labels: tuple[Label, ...] = ()
    spacing_known: bool = True
    space: str = ""
    sources: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Volume:
    """One image on one grid.

    Parameters
    ----------
    array : ndarray, (C, I, J, K)
        Voxels; a 2D image has K = 1.
    affine : ndarray, (4, 4)
        Voxel index (i, j, k) to RAS mm.
    info : SeriesInfo

    Raises
    ------
    GeometryError
        When the array is not 4-D or empty, or the affine is not invertible and finite.
    """

    array: Voxels
    affine: Affine
    info: SeriesInfo = field(default_factory=SeriesInfo)

    def __post_init__(self) -> None:
        if self.array.ndim != 4 or 0 in self.array.shape:
            raise GeometryError(
                f"A volume has four axes (C, I, J, K), none empty; found shape {self.array.shape}."
            )
        if not isinstance(self.affine, np.ndarray) or self.affine.flags.writeable:
            object.__setattr__(self, "affine", check_affine(self.affine))

    def __repr__(self) -> str:
        """On one line, without voxels, names or paths."""
        size = " × ".join(map(str, self.array.shape))
        steps = " × ".join(f"{mm:.4g}" for mm in self.spacing)
        unit = "mm" if self.info.spacing_known else "pixels"
        told = f"{size} {self.array.dtype}, {steps} {unit}, {self.orientation}"
        return f"Volume({', '.join(filter(None, (told, self.info.modality)))})"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Grid size (I, J, K); that of `array` has the channels before it."""
        _, i, j, k = self.array.shape
        return i, j, k

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along i, j, k."""
        i, j, k = (float(s) for s in spacing_of(self.affine))
        return i, j, k

    @property
    def orientation(self) -> str:
        """Direction in which i, j, k grow, such as ``"RAS"``."""
        return orientation_of(self.affine)

    def with_array(self, array: Voxels) -> Volume:
        """Return other voxels on the same grid; (I, J, K) is taken as one channel."""
        array = array[None] if array.ndim == 3 else array
        if array.shape[1:] != self.array.shape[1:]:
            raise GeometryError(f"Voxels {array.shape[1:]} do not fit the grid {self.shape}.")
        return replace(self, array=array)

    def reoriented(self, orientation: str) -> Volume:
        """Return the same voxels with axes permuted and flipped towards `orientation`."""
        order, flips = reorientation(self.affine, orientation)
        array = self.array.transpose(0, *(1 + o for o in order))
        array = array[(slice(None), *(slice(None, None, -1 if f else 1) for f in flips))]
        affine = reoriented_affine(self.affine, self.shape, order, flips)
        return replace(self, array=array, affine=check_affine(affine))

    def cropped(self, slices: Sequence[slice]) -> Volume:
        """Return the block inside `slices` (three, step 1), still in its place in the world."""
        affine = self.affine.copy()
        affine[:3, 3] += self.affine[:3, :3] @ [s.start for s in slices]
        return replace(self, array=self.array[(slice(None), *slices)], affine=check_affine(affine))

    def cropped_to(self, box: Box) -> Volume:
        """Return the part of the volume whose voxel centers lie in `box` (RAS mm)."""
        return self.cropped(box_slices(self.affine, self.shape, box))


def same_grid(first: Volume, second: Volume, tolerance_mm: float = 0.01) -> bool:
    """Tell whether two volumes share shape, and corners to within `tolerance_mm`."""
    if first.shape != second.shape:
        return False
    ends = np.array([[0, 0, 0, 1], [*np.subtract(first.shape, 1), 1]], dtype=float)
    axes = np.diag(np.subtract(first.shape, 1)).astype(float)
    points = np.vstack([ends, np.column_stack([axes, np.ones(3)])])  # (5, 4)
    return bool(np.abs(points @ (first.affine - second.affine).T).max() <= tolerance_mm)


def on_axes_of(
    reference: Volume, labels: Volume, of: str = "what was found", name: str = "the truth"
) -> Volume:
    """Return labels with the axes of a reference: the same voxels, none resampled.

    Parameters
    ----------
    reference, labels : Volume
    of, name : str
        What an error calls the reference, and the labels.

    Raises
    ------
    GeometryError
        When the voxels of the two do not lie at the same places; it names both grids.
    """
    turned = labels.reoriented(reference.orientation)
    if same_grid(reference, turned):
        return turned
    raise GeometryError(
        f"{name[0].upper()}{name[1:]} does not lie on the grid of {of}: {of} has "
        f"{grid_in_words(reference)}; {name} has {grid_in_words(labels)}. Read masks on the grid "
        "of their scan (read_labels(path, reference=scan)), or bring one onto another's "
        "(resample_to with order=0)."
    )


def grid_in_words(volume: Volume) -> str:
    """Return size, spacing, origin and orientation of a grid."""
    size = " × ".join(map(str, volume.shape))
    steps = " × ".join(f"{mm:.6g}" for mm in volume.spacing)
    x, y, z = volume.affine[:3, 3]
    where = f"({x:.6g}, {y:.6g}, {z:.6g})"
    return f"{size} voxels of {steps} mm, the first at {where} mm RAS, axes {volume.orientation}"
