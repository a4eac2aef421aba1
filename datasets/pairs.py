"""Synthetic images with reports, as files: what fusion can be tried on without a patient's data."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from medvision.dataset import write_cases
from medvision.errors import CasesError
from medvision.files import atomic_path
from medvision.outputs.nifti import save_nifti
from medvision.pair_phantom import CLASSES, KINDS, Kind, pair_phantoms
from medvision.progress import track

SHARES = {"train": 0.5, "val": 0.1, "test": 0.4}


def build(
    out: Path,
    kind: Kind = "additive",
    cases: int = 2000,
    dims: int = 2,
    seed: int = 0,
    side: int = 0,
    test: int = 0,
) -> list[dict[str, str]]:
    """Write phantoms and a cases.csv with splits, and return its rows.

    Pictures become PNG, without a voxel size; volumes become NIfTI of 1 mm.

    Parameters
    ----------
    out : Path
        The cases.csv to write; the images go into a folder beside it.
    kind : {"additive", "interaction"}
        See `medvision.pair_phantom.best_auc`.
    cases : int
    dims : 2 or 3
    seed : int
    side : int
        Voxels a side; 0 for 32 in 2D and 20 in 3D.
    test : int
        Cases of split test; 0 for 40 % of them. A tenth of the others validates.

    Raises
    ------
    CasesError
        When there is no such kind, or too few cases for three splits.
    """
    if kind not in KINDS or dims not in (2, 3):
        raise CasesError(f"Kinds are {', '.join(KINDS)}, dims 2 or 3; found {kind!r}, {dims}.")
    test = test or round(SHARES["test"] * cases)
    val = round((cases - test) / 6)
    if cases < 30 or not 0 < test < cases - 20:
        raise CasesError(f"{cases} cases, {test} of them to test, do not make three splits.")
    side = side or (32 if dims == 2 else 20)
    phantoms = pair_phantoms(kind, cases, (side, side, 1 if dims == 2 else side), seed)
    folder = out.parent / f"{out.stem}_images"
    folder.mkdir(parents=True, exist_ok=True)
    splits = ["test"] * test + ["val"] * val + ["train"] * (cases - test - val)
    rows = []
    for split, one in zip(splits, track(phantoms, "Write", cases), strict=True):
        if dims == 2:
            path = folder / f"{one.case_id}.png"
            with atomic_path(path) as part:
                Image.fromarray(one.image.array[0, :, :, 0].T).save(part)  # rows, columns
        else:
            path = save_nifti(one.image, folder / f"{one.case_id}.nii.gz")
        rows.append(
            {
                "case_id": one.case_id,
                "image": str(path.relative_to(out.parent)),
                "report": one.report,
                "label": one.label,
                "split": split,
                "group": one.case_id,
            }
        )
    write_cases(out, rows)
    return rows


def class_names() -> tuple[str, ...]:
    """Return the classes."""
    return CLASSES
