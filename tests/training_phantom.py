"""Tiny data sets of phantoms, for tests that train."""

from pathlib import Path

import numpy as np
from PIL import Image

from medvision.dataset import write_cases
from medvision.geometry import to_world
from medvision.outputs.nifti import save_nifti
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.volume import Volume


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


TURNED = np.array([[0, 1.5, 0, 0], [-1.5, 0, 0, 25], [0, 0, 1.2, 0], [0, 0, 0, 1]])


def in_cube(corner, shape, affine):
    """Where a cube of 12 mm lies on a grid."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    place = to_world(affine, index) - corner
    return ((place >= 0) & (place <= 12)).all(axis=-1)


def write_pair_cases(folder, count):
    """Scans of two cubes, each placed by chance; what both share is the mask.

    Neither scan alone tells where that is. The second has coarser voxels, its axes turned. Returns
    the cases.csv, and the two places of each case.
    """
    rng, rows = np.random.default_rng(0), []
    corners = rng.uniform(3, 9, (count, 2, 3))
    for number, pair in enumerate(corners):
        row = {"case_id": f"c{number}", "mask": f"m{number}.nii", "group": f"g{number}"}
        shared = np.all([in_cube(corner, (24, 24, 24), np.eye(4)) for corner in pair], axis=0)
        save_nifti(Volume(shared.astype(np.uint8)[None], np.eye(4)), folder / row["mask"])
        for name, corner, shape, affine in (
            ("a", pair[0], (24, 24, 24), np.eye(4)),
            ("b", pair[1], (17, 17, 20), TURNED),
        ):
            row[f"image_{name}"] = f"{name}{number}.nii"
            array = 50 * in_cube(corner, shape, affine) + rng.normal(0, 3, shape)
            save_nifti(
                Volume(array.astype(np.float32)[None], affine), folder / row[f"image_{name}"]
            )
        rows.append(row)
    return write_cases(folder / "cases.csv", rows), corners


def stripes(rng, shape, axis):
    """Noisy stripes of random period and phase across one axis, 20 to 235."""
    place = np.arange(shape[axis]) / rng.uniform(3, 5) + rng.uniform(0, 1)
    wave = np.sin(2 * np.pi * place).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return (127 + 80 * wave + rng.normal(0, 15, shape)).clip(20, 235).astype(np.uint8)


def write_striped_cases(folder, count, dims, splits=("",)):
    """Pictures (2D, PNG) or scans (3D, NIfTI) whose class is the axis their stripes lie across.

    Turned by a quarter one class would be the other: to tell them apart, rows must be rows.
    """
    rng, rows = np.random.default_rng(dims), []
    names = ("across_columns", "across_rows") if dims == 2 else ("across_i", "across_j")
    for number in range(count):
        axis = number % 2
        file = f"s{number}.png" if dims == 2 else f"s{number}.nii"
        if dims == 2:
            Image.fromarray(stripes(rng, (24, 20), axis).T).save(folder / file)  # rows, columns
        else:
            array = stripes(rng, (16, 14, 12), axis)[None]
            save_nifti(Volume(array, np.diag([1.0, 1.0, 1.5, 1.0])), folder / file)
        row = {"case_id": f"s{number}", "image": file, "label": names[axis]}
        rows.append(row | {"group": f"g{number // 2}", "split": splits[number // 2 % len(splits)]})
    return write_cases(folder / "cases.csv", rows)
