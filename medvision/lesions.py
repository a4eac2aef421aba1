"""How many lesions of a mask were found, and how many of those found are there.

Knows nothing of labels or files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import generate_binary_structure, label
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from medvision.errors import SpecError


@dataclass(frozen=True)
class LesionCounts:
    """Lesions of a case, or with ``+`` of many.

    Sensitivity, precision and F1 are those of Metrics Reloaded (Maier-Hein, Reinke et al., Nature
    Methods 2024; ``lesion_f1_score`` of its implementation).

    Parameters
    ----------
    true : int
        Lesions of the truth.
    hit : int
        Of these, those that were found.
    found : int
        Lesions of what was found.
    false : int
        Of these, those that are none.
    """

    true: int
    hit: int
    found: int
    false: int

    def __add__(self, other: LesionCounts) -> LesionCounts:
        return LesionCounts(
            self.true + other.true,
            self.hit + other.hit,
            self.found + other.found,
            self.false + other.false,
        )

    @property
    def sensitivity(self) -> float:
        """Share of the true lesions that were found; NaN where there are none."""
        return self.hit / self.true if self.true else float("nan")

    @property
    def precision(self) -> float:
        """Hits among hits and false lesions; NaN where nothing was found."""
        return self.hit / (self.hit + self.false) if self.found else float("nan")

    @property
    def f1(self) -> float:
        """2·hit / (2·hit + false + missed); 1 where there are no lesions and none were found."""
        wrong = self.false + self.true - self.hit
        return 2 * self.hit / (2 * self.hit + wrong) if self.hit + wrong else 1.0


def count_lesions(
    found: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    min_iou: float = 0.0,
    connectivity: int = 1,
) -> LesionCounts:
    """Count the lesions of two masks that are the same.

    Parameters
    ----------
    found, truth : (I, J), (I, J, K) …
    min_iou : float
        0: a lesion of the truth is hit where one voxel of it was found, and a found one is false
        where none of its voxels is in the truth, as Metrics Reloaded's implementation counts.
        Above: lesions are matched one to one, as many as can be, each pair with an IoU above it.
    connectivity : int
        1: voxels of a lesion share faces (as Metrics Reloaded's implementation); 2: or edges;
        3: or corners.

    Returns
    -------
    LesionCounts

    Raises
    ------
    SpecError
        When `min_iou` is not from 0 to below 1.
    """
    if not 0 <= min_iou < 1:
        raise SpecError(f"An IoU to be above is from 0 to below 1; this is {min_iou:g}.")
    near = generate_binary_structure(found.ndim, connectivity)
    mine, n_mine = label(found, near)
    yours, n_yours = label(truth, near)
    both = found & truth
    pairs = (yours[both] - 1, mine[both] - 1)
    shared = coo_array((np.ones(len(pairs[0])), pairs), shape=(n_yours, n_mine)).tocsr()  # voxels
    if not min_iou:
        hit, right = (int(np.count_nonzero(shared.sum(axis=axis))) for axis in (1, 0))
        return LesionCounts(n_yours, hit, n_mine, n_mine - right)
    of_yours, of_mine = (
        np.bincount(one.ravel(), minlength=n + 1)[1:]
        for one, n in ((yours, n_yours), (mine, n_mine))
    )
    match = shared.tocoo()
    iou = match.data / (of_yours[match.row] + of_mine[match.col] - match.data)
    fits = iou > min_iou
    match = coo_array((fits[fits], (match.row[fits], match.col[fits])), shape=match.shape)
    hit = int(np.count_nonzero(maximum_bipartite_matching(match.tocsr()) >= 0))
    return LesionCounts(n_yours, hit, n_mine, n_mine - hit)
