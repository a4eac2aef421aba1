"""Medical Segmentation Decathlon: a task's folder to cases.csv, downloaded when asked to.

Source: http://medicaldecathlon.com (Antonelli et al., Nature Communications 2022), CC BY-SA 4.0.
"""

from __future__ import annotations

import json
import re
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from medvision.dataset import write_cases
from medvision.errors import CasesError
from medvision.extras import dataset_builder

fetch = dataset_builder("fetch").fetch

# The official mirror on AWS Open Data, linked from medicaldecathlon.com.
MIRROR = "https://msd-for-monai.s3-us-west-2.amazonaws.com"


# Each task's archive has this MD5, as published in MONAI's DecathlonDataset (monai.apps.datasets).
TASKS = {
    "Task01_BrainTumour": "240a19d752f0d9e9101544901065d872",
    "Task02_Heart": "06ee59366e1e5124267b774dbd654057",
    "Task03_Liver": "a90ec6c4aa7f6a3d087205e23d4e6397",
    "Task04_Hippocampus": "9d24dba78a72977dbd1d2e110310f31b",
    "Task05_Prostate": "35138f08b1efaef89d7424d2bcc928db",
    "Task06_Lung": "8afd997733c7fc0432f71255ba4e52dc",
    "Task07_Pancreas": "4f7080cfca169fa8066d17ce6eb061e4",
    "Task08_HepaticVessel": "641d79e80ec66453921d997fbf12a29c",
    "Task09_Spleen": "410d4a301da4e5b2f6f86ec3ddba524e",
    "Task10_Colon": "bad7a188931dc2f6acf72b08eb6202d0",
}
HIPPOCAMPUS = ("anterior", "posterior")  # where a copy came without its dataset.json


def build(folder: Path, out: Path, group_by: str = "auto") -> list[dict[str, str]]:
    """Write a cases.csv for the folder of one task, and return its rows.

    Parameters
    ----------
    folder : Path
        Holds ``imagesTr`` and ``labelsTr``.
    out : Path
        The cases.csv to write; its paths are relative to it where they can be.
    group_by : {"auto", "pair", "case"}
        ``pair``: ids 2k−1 and 2k are one group. In Task04 such neighbors look like one subject
        (their intensities match far more than others'), so ``auto`` pairs them there.

    Raises
    ------
    CasesError
        When the folder holds no images, or an image has no mask.
    """
    if group_by == "auto":
        group_by = "pair" if "hippocampus" in task_name(folder).lower() else "case"
    images = sorted((folder / "imagesTr").glob("[!.]*.nii.gz"))
    if not images:
        raise CasesError(f"{folder} is no Decathlon task: it has no imagesTr/*.nii.gz.")
    missing = [p.name for p in images if not (folder / "labelsTr" / p.name).exists()]
    if missing:
        raise CasesError(f"No mask in {folder / 'labelsTr'} for: {', '.join(missing[:10])}.")
    rows = []
    for image in images:
        case_id = image.name.removesuffix(".nii.gz")
        rows.append(
            {
                "case_id": case_id,
                "image": relative(image, out.parent),
                "mask": relative(folder / "labelsTr" / image.name, out.parent),
                "group": group_of(case_id, group_by),
            }
        )
    write_cases(out, rows)
    return rows


def group_of(case_id: str, group_by: str) -> str:
    """Return the patient that a case belongs to."""
    number = re.search(r"(\d+)$", case_id)
    if group_by == "pair" and number:
        return f"pair_{(int(number[1]) + 1) // 2:03d}"
    return case_id


def task_name(folder: Path) -> str:
    """Return the task's name from its dataset.json, else its folder's name."""
    return str(description(folder).get("name", folder.resolve().name))


def modality(folder: Path) -> str:
    """Return CT or MR, from the task's dataset.json; empty when that does not say it."""
    said = " ".join(str(v) for v in dict(description(folder).get("modality", {})).values()).upper()
    return "CT" if "CT" in said else "MR" if "MR" in said else ""


def description(folder: Path) -> dict[str, Any]:
    """Return what a task's dataset.json says; empty when there is none.

    Raises
    ------
    CasesError
        When it is no JSON table.
    """
    path = folder / "dataset.json"
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise CasesError(f"{path} is damaged: it holds no JSON table.") from None


def class_names(folder: Path) -> tuple[str, ...]:
    """Return the structures of a task, from its dataset.json; empty when that is not there."""
    labels = description(folder).get("labels")
    if isinstance(labels, dict):
        return tuple(str(labels[key]) for key in sorted(labels, key=int) if int(key) > 0)
    return HIPPOCAMPUS if "hippocampus" in task_name(folder).lower() else ()


def relative(path: Path, start: Path) -> str:
    """Return `path` seen from `start` when it lies below it, else absolute."""
    path, start = path.resolve(), start.resolve()
    return str(path.relative_to(start)) if path.is_relative_to(start) else str(path)


def download(task: str, folder: Path, mirror: str = MIRROR) -> Path:
    """Fetch a task from its source, check its MD5 and unpack it; returns the task's folder.

    Raises
    ------
    CasesError
        When the task is unknown, the source cannot be reached, or the checksum differs.
    """
    if task not in TASKS:
        raise CasesError(f"Unknown task {task!r}. Choose from: {', '.join(TASKS)}.")
    target = folder / task
    if (target / "imagesTr").is_dir():
        return target
    archive = folder / f"{task}.tar"
    fetch(f"{mirror}/{archive.name}", archive, TASKS[task], "http://medicaldecathlon.com")
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as part:
        with tarfile.open(archive) as tar:
            tar.extractall(part, filter="data")
        (Path(part) / task).replace(target)  # whole or absent
    return target
