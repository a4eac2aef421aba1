"""The uncertainty map as NIfTI: where in the scan the model was unsure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from medvision.errors import OutputError
from medvision.outputs.nifti import save_nifti
from medvision.prediction import Prediction
from medvision.study import Study
from medvision.volume import Volume

UNCERTAINTY = "uncertainty"  # among the outputs
SUFFIX = f"_{UNCERTAINTY}.nii.gz"
LEVELS = 255  # a byte a voxel: 0 to 1 in steps of 0.004, finer than such a map is meant


def save_uncertainty(prediction: Prediction, study: Study, path: Path) -> Path:
    """Write the uncertainty map, 0 (sure) to 1, on the grid of the scan.

    A byte a voxel with ``scl_slope`` 1/255, which is a quarter of float32 and compresses better.

    Raises
    ------
    OutputError
        When the prediction has no map.
    """
    found = prediction.uncertainty
    if found is None:
        raise OutputError(
            f"{prediction.case_id} has no uncertainty map to write: it is made where it is asked "
            "for (load_predictor(model, uncertainty=True))."
        )
    levels = np.empty(found.array.shape, np.uint8)
    for k in range(found.shape[2]):  # plane by plane: as float32 the whole may not fit
        plane = np.nan_to_num(found.array[..., k].astype(np.float32))
        levels[..., k] = np.rint(plane.clip(0, 1) * LEVELS)
    info = replace(found.info, window=None, channels="")
    return save_nifti(Volume(levels, found.affine, info), path, step=1 / LEVELS)
