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
from medvision.extras import dataset_builder
from medvision.files import atomic_path
from medvision.outputs.nifti import save_nifti
from medvision.progress import track
from medvision.volume import Volume

fetch = dataset_builder("fetch").fetch

RECORD = "https://zenodo.org/records/10519652"  # MedMNIST+, linked from medmnist.com
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
# MD5 of the files at 28 and at 64 voxels, from the same table.
MD5 = {
    "pathmnist": "a8b06965200029087d5bd730944a56c1",
    "pathmnist_64": "55aa9c1e0525abe5a6b9d8343a507616",
    "dermamnist": "0744692d530f8e62ec473284d019b0c7",
    "dermamnist_64": "b70a2f5635c6199aeaa28c31d7202e1f",
    "octmnist": "c68d92d5b585d8d81f7112f81e2d0842",
    "octmnist_64": "e229e9440236b774d9f0dfef9d07bdaf",
    "pneumoniamnist": "28209eda62fecd6e6a2d98b1501bb15f",
    "pneumoniamnist_64": "8f4eceb4ccffa70c672198ea285246c6",
    "retinamnist": "bd4c0672f1bba3e3a89f0e4e876791e4",
    "retinamnist_64": "afda852cc34dcda56f86ad2b2457dbcc",
    "breastmnist": "750601b1f35ba3300ea97c75c52ff8f6",
    "breastmnist_64": "742edef2a1fd1524b2efff4bd7ba9364",
    "bloodmnist": "7053d0359d879ad8a5505303e11de1dc",
    "bloodmnist_64": "2b94928a2ae4916078ca51e05b6b800b",
    "tissuemnist": "ebe78ee8b05294063de985d821c1c34b",
    "tissuemnist_64": "123ece2eba09d0aa5d698fda57103344",
    "organamnist": "68e3f8846a6bd62f0c9bf841c0d9eacc",
    "organamnist_64": "2dcccc29b88e6da5a01161ef20cda288",
    "organcmnist": "b9ceb9546e10131b32923c5bbeaea2b1",
    "organcmnist_64": "3ce34a8724ea6f548e6db4744d03b6a9",
    "organsmnist": "9ab87b696fb54e2a387ebe992d6ed5f1",
    "organsmnist_64": "53a6d115339d874c25e309a994ff46d3",
    "organmnist3d": "a0c5a1ff56af4f155c46d46fbb45a2fe",
    "organmnist3d_64": "58a2205adf14a9d0a189cb06dc78bf10",
    "nodulemnist3d": "8755a7e9e05a4d9ce80a24c3e7a256f3",
    "nodulemnist3d_64": "c47c5b7d457bf6332200d2ea6d64ecd8",
    "adrenalmnist3d": "bbd3c5a5576322bc4cdfea780653b1ce",
    "adrenalmnist3d_64": "17721accfe9fb005146a47d33bc54b2f",
    "fracturemnist3d": "6aa7b0143a6b42da40027a9dda61302f",
    "fracturemnist3d_64": "f01d7e6316aedf4210da0da5b7437b42",
    "vesselmnist3d": "b41fd4f7e7e2feedddb201585ecafa1b",
    "vesselmnist3d_64": "6bb274a8846e1097066dcd64e2c4520f",
    "synapsemnist3d": "1235b78a3cd6280881dd7850a78eadb6",
    "synapsemnist3d_64": "43bd14ebf3af9d3dd072446fedc14d5e",
}
EDGE_MM = {"adrenalmnist3d": 64.0, "fracturemnist3d": 64.0}  # as the same table describes them


def build(npz: Path, out: Path, size: int = 0) -> list[dict[str, str]]:
    """Write a set's images and a cases.csv with its official split, and return its rows.

    The images go into a folder beside the table, named after it. Pictures become PNG, without a
    voxel size. Volumes become NIfTI: AdrenalMNIST3D and FractureMNIST3D are cubes of 64 mm, the
    size of the others is not published and is written as 1 mm a voxel. How a cube lies in the
    patient is not published either: the axes are written as they come, the center at 0.

    MedMNIST publishes no patients, so each case is a group of its own. AdrenalMNIST3D's split is
    by patient (two glands each); folds made anew from these rows are not.

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


def download(name: str, folder: Path, mirror: str = f"{RECORD}/files") -> Path:
    """Fetch a set such as ``adrenalmnist3d_64`` from its source and check its MD5.

    Returns
    -------
    Path
        The .npz in `folder`; one that is there already is checked alone.

    Raises
    ------
    CasesError
        When the set is unknown, the source cannot be reached, or the checksum differs.
    """
    if name not in MD5:
        raise CasesError(f"Unknown file {name!r}. Choose from: {', '.join(MD5)}.")
    path = folder / f"{name}.npz"
    return Path(fetch(f"{mirror}/{path.name}?download=1", path, MD5[name], RECORD))


def read_npz(
    npz: Path, volumes: bool
) -> tuple[dict[str, NDArray[np.uint8]], dict[str, NDArray[Any]]]:
    """Return images (N, …) and labels (N,) of each split."""
    if not npz.is_file():
        raise CasesError(f"No such file: {npz}.")
    try:
        with npz.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
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
