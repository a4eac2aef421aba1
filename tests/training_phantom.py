"""A tiny data set of phantoms, for tests that train."""

from pathlib import Path

import numpy as np

from medvision.dataset import write_cases
from medvision.outputs.nifti import save_nifti
from medvision.phantom import Ellipsoid, ellipsoid_phantom


def write_phantom_cases(folder: Path, count: int = 6) -> Path:
    """Write `count` noisy balls with masks, two to a group; returns the cases.csv."""
    rng, rows = np.random.default_rng(0), []
    for number in range(count):
        center = tuple(float(v) for v in rng.uniform(8, 14, 3))
        ball = Ellipsoid(center, (6.0, 5.0, 4.0), value=60)
        image, mask = ellipsoid_phantom((22, 24, 20), np.eye(4), [ball], noise=8, seed=number)
        save_nifti(image, folder / f"i{number}.nii.gz")
        save_nifti(mask, folder / f"m{number}.nii.gz")
        rows.append(
            {
                "case_id": f"case{number}",
                "image": f"i{number}.nii.gz",
                "mask": f"m{number}.nii.gz",
                "group": f"g{number // 2}",
            }
        )
    return write_cases(folder / "cases.csv", rows)
