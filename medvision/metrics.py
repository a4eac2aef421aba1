"""How well a mask agrees with the truth, per structure, in mm and ml."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance
from numpy.typing import NDArray


def dice(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return 2·|A∩B| / (|A|+|B|); 1 when both are empty."""
    total = int(found.sum()) + int(truth.sum())
    return 2.0 * int((found & truth).sum()) / total if total else 1.0


def hd95_mm(found: NDArray[np.bool_], truth: NDArray[np.bool_], spacing: Sequence[float]) -> float:
    """Return the larger of the two 95th percentiles of surface distances, in mm.

    NaN when either is empty.
    """
    if not found.any() or not truth.any():
        return float("nan")
    pair = [torch.from_numpy(np.ascontiguousarray(m))[None, None].float() for m in (found, truth)]
    distance = compute_hausdorff_distance(
        *pair, include_background=True, percentile=95, spacing=[float(mm) for mm in spacing]
    )
    return float(distance[0, 0])
