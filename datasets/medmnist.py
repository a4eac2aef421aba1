"""MedMNIST v2 and MedMNIST+: a set's .npz to image files and a cases.csv.

Source: https://medmnist.com (Yang et al., Scientific Data 2023), CC BY 4.0; DermaMNIST is
CC BY-NC 4.0. The sets with several labels an image (ChestMNIST) are refused.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medvision.dataset import write_cases
from medvision.errors import CasesError
from medvision.files import atomic_path
from medvision.outputs.nifti import save_nifti
from medvision.progress import track
from medvision.volume import Volume

SPLITS = ("train", "val", "test")
ORGANS = (
    "bladder,femur-left,femur-right,heart,kidney-left,kidney-right,liver,lung-left,lung-right,"
    "pancreas,spleen"
)

# Names by label, as in the table INFO of the package medmnist 3.0.2; names that hold a comma there
# are written without one, because `--classes` separates by commas. Names that end in 3d are
# volumes, the others pictures.
CLASSES = {
    name: tuple(text.split(","))
    for name, text in {
        "pathmnist": "adipose,background,debris,lymphocytes,mucus,smooth muscle,"
        "normal colon mucosa,cancer-associated stroma,colorectal adenocarcinoma epithelium",
        "dermamnist": "actinic keratoses and intraepithelial carcinoma,basal cell carcinoma,"
        "benign keratosis-like lesions,dermatofibroma,melanoma,melanocytic nevi,vascular lesions",
        "octmnist": "choroidal neovascularization,diabetic macular edema,drusen,normal",
        "pneumoniamnist": "normal,pneumonia",
        "retinamnist": "grade 0,grade 1,grade 2,grade 3,grade 4",
        "breastmnist": "malignant,normal or benign",
        "bloodmnist": "basophil,eosinophil,erythroblast,immature granulocytes,lymphocyte,"
        "monocyte,neutrophil,platelet",
        "tissuemnist": "collecting duct or connecting tubule,distal convoluted tubule,"
        "glomerular endothelial cells,interstitial endothelial cells,leukocytes,podocytes,"
        "proximal tubule segments,thick ascending limb",
        "organamnist": ORGANS,
        "organcmnist": ORGANS,
        "organsmnist": ORGANS,
        "organmnist3d": "liver,kidney-right,kidney-left,femur-right,femur-left,bladder,heart,"
        "lung-right,lung-left,spleen,pancreas",
        "nodulemnist3d": "benign,malignant",
        "adrenalmnist3d": "normal,hyperplasia",
        "fracturemnist3d": "buckle rib fracture,nondisplaced rib fracture,displaced rib fracture",
        "vesselmnist3d": "vessel,aneurysm",
        "synapsemnist3d": "inhibitory synapse,excitatory synapse",
    }.items()
}
EDGE_MM = {"adrenalmnist3d": 64.0, "fracturemnist3d": 64.0}  # MedMNIST v2, "Details of datasets"


def build(npz: Path, out: Path, size: int = 0) -> list[dict[str, str]]:
    """Write a set's images and a cases.csv with its official split, and return its rows.

    The images go into a folder beside the table, named after it. Pictures become PNG, without a
    voxel size. Volumes become NIfTI: AdrenalMNIST3D and FractureMNIST3D are cubes of 64 mm, the
    size of the others is not published and is written as 1 mm a voxel. How a cube lies in the
    patient is not published either: the axes are written as they come, the center at 0.

    MedMNIST publishes no patients, so each case is a group of its own. Its splits are said to be
    by patient; folds made anew from these rows are not.

    Parameters
    ----------
    npz : Path
        Named as MedMNIST names it: ``pneumoniamnist.npz``, ``adrenalmnist3d_64.npz``.
    out : Path
        The cases.csv to write.
    size : int
        Reduce each axis to so many voxels by area; 0 keeps it.

    Raises
    ------
    CasesError
        When the set is unknown or has several labels an image, the file is damaged or not laid
        out as MedMNIST's, or `size` would enlarge.
    """
    name = set_name(npz)
    images, labels = read_npz(npz, name.endswith("3d"))
    for split in SPLITS:
        check(npz, name, split, images[split], labels[split])
    edge = images["train"].shape[1]
    if size < 0 or size > edge:
        raise CasesError(f"Size {size} does not reduce {npz}: its images are {edge} wide.")
    folder = out.parent / f"{out.stem}_images"
    rows = []
    for split in SPLITS:
        pairs = zip(images[split], labels[split], strict=True)
        for k, (image, label) in enumerate(track(pairs, f"Write {split}", len(labels[split]))):
            case_id = f"{name}_{split}_{k:05d}"
            small = reduced(image, size, 3 if name.endswith("3d") else 2) if size else image
            path = write_image(folder / case_id, small, EDGE_MM.get(name), name.endswith("3d"))
            rows.append(
                {
                    "case_id": case_id,
                    "image": str(path.relative_to(out.parent)),
                    "label": CLASSES[name][int(label)],
                    "split": split,
                    "group": case_id,
                }
            )
    write_cases(out, rows)
    return rows


def set_name(npz: Path) -> str:
    """Return the set that a file's name says, such as ``adrenalmnist3d``."""
    name = re.sub(r"_\d+$", "", npz.stem.lower())
    if name == "chestmnist":
        raise CasesError(f"{npz}: an image of ChestMNIST has several labels; one is needed.")
    if npz.suffix.lower() != ".npz" or name not in CLASSES:
        raise CasesError(f"{npz} is named after no MedMNIST set: {', '.join(CLASSES)} (.npz).")
    return name


def class_names(npz: Path) -> tuple[str, ...]:
    """Return the classes of the set in a file."""
    return CLASSES[set_name(npz)]


def read_npz(
    npz: Path, volumes: bool
) -> tuple[dict[str, NDArray[np.uint8]], dict[str, NDArray[Any]]]:
    """Return images (N, …) and labels (N,) of each split."""
    if not npz.is_file():
        raise CasesError(f"No such file: {npz}.")
    try:
        with np.load(npz, allow_pickle=False) as file:
            missing = [
                f"{split}_{kind}"
                for split in SPLITS
                for kind in ("images", "labels")
                if f"{split}_{kind}" not in file.files
            ]
            if missing:
                raise CasesError(f"{npz} lacks {', '.join(missing)}.")
            images = {split: file[f"{split}_images"] for split in SPLITS}
            labels = {split: file[f"{split}_labels"] for split in SPLITS}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError):
        raise CasesError(f"{npz} is damaged: it is no .npz that can be read.") from None
    for split, label in labels.items():
        if label.ndim == 2 and label.shape[1] == 1:
            labels[split] = label[:, 0]
    return images, labels


def check(
    npz: Path, name: str, split: str, images: NDArray[np.uint8], labels: NDArray[Any]
) -> None:
    """Raise `CasesError` when a split is not laid out as MedMNIST's."""
    shape = images.shape[1:]
    fits = (
        len(shape) == 3 and len(set(shape)) == 1
        if name.endswith("3d")
        else len(set(shape[:2])) == 1 and shape[2:] in ((), (3,))
    )
    if images.dtype != np.uint8 or not fits:
        raise CasesError(
            f"{npz}: {split}_images is {images.dtype} {images.shape}, not uint8 "
            f"{'(N, S, S, S)' if name.endswith('3d') else '(N, S, S) or (N, S, S, 3)'}."
        )
    if labels.shape != images.shape[:1]:
        raise CasesError(
            f"{npz}: {split}_labels is {labels.shape}, not one label for each of "
            f"{len(images)} images."
        )
    strange = sorted(set(labels.tolist()) - set(range(len(CLASSES[name]))))
    if strange:
        raise CasesError(
            f"{npz}: {split}_labels holds {strange[:5]}; expected 0 to {len(CLASSES[name]) - 1}."
        )


def reduced(image: NDArray[np.uint8], size: int, axes: int) -> NDArray[np.uint8]:
    """Return `image` with its first `axes` axes brought to `size`, each value a mean over its area.

    A voxel that lies in two new ones counts in each by its share, so the mean stays as it was
    (up to rounding) and the new voxels are all of one size; pooling over whole voxels, where
    64 is no multiple of 28, does neither.
    """
    ends = np.linspace(0, image.shape[0], size + 1)[:, None]
    old = np.arange(image.shape[0])
    shares = np.clip(np.minimum(ends[1:], old + 1) - np.maximum(ends[:-1], old), 0, None)
    weights = shares / shares.sum(axis=1, keepdims=True)  # (new, old)
    result: NDArray[Any] = image.astype(float)
    for axis in range(axes):
        result = np.moveaxis(np.tensordot(weights, result, (1, axis)), 0, axis)
    rounded: NDArray[np.uint8] = np.rint(result).astype(np.uint8)
    return rounded


def write_image(stem: Path, image: NDArray[np.uint8], edge_mm: float | None, volume: bool) -> Path:
    """Write a picture (S, S[, 3]) as PNG, a volume (S, S, S) as NIfTI; returns the file."""
    if not volume:
        path = stem.with_suffix(".png")
        with atomic_path(path) as part:
            Image.fromarray(image).save(part)
        return path
    spacing = edge_mm / image.shape[0] if edge_mm else 1.0
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = -spacing * (image.shape[0] - 1) / 2
    return save_nifti(Volume(image[None], affine), stem.with_suffix(".nii.gz"))
