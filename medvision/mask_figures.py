"""All that is told of how two masks of one structure agree, and what is told where one is empty.

Evaluations and comparisons both ask here. Knows nothing of models, volumes or files.

Where both masks are empty, the two agree: overlaps (Dice, IoU, NSD) are 1, as in the code of
Metrics Reloaded (Maier-Hein, Reinke et al., Nature Methods 2024) the Dice is, and there is no
distance. Means leave such cases out (`medvision.measures`), as nnU-Net's do: most of them would
tell how rare a structure is. Where one mask is empty, overlaps are 0 and distances are the worst
that the grid has, its diagonal, as in the BraTS challenges. So no mean gets better because a case
was missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from medvision.errors import SpecError
from medvision.lesions import LesionCounts, count_lesions
from medvision.metrics import dice, iou
from medvision.surface import surface_distances

TOLERANCE_MM = 1.0  # of the NSD, where nobody says another
MOST_LABEL = 65_535  # labels up to it are looked for in one pass

Tolerance = float | Mapping[str, float]  # mm, of all structures or by name


@dataclass(frozen=True)
class MaskFigures:
    """How two masks of one structure agree.

    Parameters
    ----------
    dice, iou : float
        2·|A∩B| / (|A|+|B|) and |A∩B| / |A∪B|; 1 when both are empty.
    hd95_mm, assd_mm : float or None
        See `SurfaceDistances`. None when both are empty, the grid's diagonal when one is.
    nsd : float or None
        Share of both surfaces within the tolerance; 1 when both are empty, 0 when one is.
    found, truth : int
        Voxels.
    lesions : LesionCounts
        Connected parts (by faces), hit where one voxel was found.

    Notes
    -----
    Without known spacing there are no mm: `hd95_mm`, `assd_mm` and `nsd` are None.
    """

    dice: float
    iou: float
    hd95_mm: float | None
    assd_mm: float | None
    nsd: float | None
    found: int
    truth: int
    lesions: LesionCounts


def mask_figures(
    found: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    spacing: Sequence[float] | None,
    tolerance_mm: float = TOLERANCE_MM,
) -> MaskFigures:
    """Hold a mask against the truth.

    Parameters
    ----------
    found, truth : (I, J, K)
        On one grid. Of a picture (an axis of length one) the surface is its outline.
    spacing : sequence of float, optional
        mm along each axis; None where unknown.
    tolerance_mm : float
        Of the NSD.

    Returns
    -------
    MaskFigures
    """
    labels = [mask.view(np.uint8) for mask in (found, truth)]
    [(_, figures)] = figures_of_labels(labels[0], labels[1], {1: tolerance_mm}, spacing)
    return figures


def figures_of_labels(
    found: NDArray[np.integer],
    truth: NDArray[np.integer],
    tolerances: Mapping[int, float],
    spacing: Sequence[float] | None,
) -> Iterator[tuple[int, MaskFigures]]:
    """Hold a label map (I, J, K) against another one, label by label.

    Parameters
    ----------
    found, truth : (I, J, K)
        On one grid.
    tolerances : mapping of int to float
        The labels to look at, and the tolerance of the NSD of each in mm.
    spacing : sequence of float, optional
        mm along each axis; None where unknown.

    Yields
    ------
    (int, MaskFigures)
        In the order of `tolerances`.
    """
    wide = [axis for axis, side in enumerate(found.shape) if side > 1] or [0]
    thin = tuple(axis for axis in range(found.ndim) if axis not in wide)
    mm = None if spacing is None else [float(spacing[axis]) for axis in wide]
    found, truth = found.squeeze(thin), truth.squeeze(thin)
    diagonal = None if mm is None else float(np.linalg.norm(np.multiply(mm, found.shape)))
    boxes = [boxes_of(one, tolerances) for one in (found, truth)]
    for label, tolerance in tolerances.items():
        box = around(*(one[label] for one in boxes))
        mine, yours = found[box] == label, truth[box] == label
        counts = int(mine.sum()), int(yours.sum())
        overlap = dice(mine, yours), iou(mine, yours)
        lesions = count_lesions(mine, yours)
        hd95 = assd = nsd = None
        if mm is not None and all(counts):
            far = surface_distances(mine, yours, mm)
            hd95, assd, nsd = far.hd95_mm, far.assd_mm, far.nsd(tolerance)
        elif mm is not None:
            worst = diagonal if any(counts) else None
            hd95, assd, nsd = worst, worst, 0.0 if any(counts) else 1.0
        yield label, MaskFigures(*overlap, hd95, assd, nsd, *counts, lesions)


Slices = tuple[slice, ...]


def boxes_of(labels: NDArray[np.integer], wanted: Iterable[int]) -> dict[int, Slices | None]:
    """Return the box around each label; None around one that is not there."""
    wanted = list(wanted)
    if wanted and min(wanted) > 0 and max(wanted) <= MOST_LABEL:
        every = find_objects(labels, max(wanted))
        return {label: every[label - 1] for label in wanted}
    return {label: find_objects((labels == label).view(np.uint8), 1)[0] for label in wanted}


def around(one: Slices | None, other: Slices | None) -> Slices:
    """Return the box around two boxes; the first voxel where there is neither."""
    if one is None or other is None:
        return one or other or (slice(0, 1),)
    return tuple(
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )


def tolerance_of(name: str, tolerance_mm: Tolerance) -> float:
    """Return the tolerance of a structure in mm."""
    if isinstance(tolerance_mm, Mapping):
        return tolerance_mm.get(name, TOLERANCE_MM)
    return tolerance_mm


def check_tolerances(tolerance_mm: Tolerance, names: Sequence[str]) -> None:
    """Raise `SpecError` for a tolerance that is none, or of a structure that there is not."""
    each = tolerance_mm if isinstance(tolerance_mm, Mapping) else {"": tolerance_mm}
    for name, mm in each.items():
        if not (np.isfinite(mm) and mm >= 0):
            raise SpecError(f"A tolerance is a number of mm from 0; this is {mm:g}.")
        if name and name not in names:
            raise SpecError(
                f"There is no structure {name!r} to have a tolerance. Choose from: "
                f"{', '.join(names)}."
            )


def parse_tolerances(texts: Sequence[str], names: Sequence[str]) -> Tolerance:
    """Return the tolerances that texts such as ``"2"`` and ``"liver=3"`` ask for, by structure.

    Raises
    ------
    SpecError
        When one is no number of mm, or names a structure that there is not.

    Examples
    --------
    >>> parse_tolerances(["2", "liver=3"], ["liver", "spleen"])
    {'liver': 3.0, 'spleen': 2.0}
    """
    every, each = TOLERANCE_MM, {}
    for text in texts:
        name, _, mm = text.rpartition("=")
        try:
            value = float(mm)
        except ValueError:
            raise SpecError(f"A tolerance is 1.5 or name=1.5, in mm; this is {text!r}.") from None
        if name:
            each[name.strip()] = value
        else:
            every = value
    found = {**dict.fromkeys(names, every), **each}
    check_tolerances(found, names)
    return found
