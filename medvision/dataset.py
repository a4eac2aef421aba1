"""cases.csv: one row a case, checked before anything runs; folds that never split a group."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import GroupKFold
from torch import Generator, Tensor
from torch.utils.data import Dataset

from medvision.augment import Augment, random_patch
from medvision.errors import CasesError, GeometryError, MedvisionError, SpecError
from medvision.files import atomic_path
from medvision.geometry import reorientation
from medvision.io import read_volume
from medvision.progress import track
from medvision.spec import ModelSpec
from medvision.study import Study
from medvision.transforms import preprocess, resample
from medvision.volume import Volume, same_grid

COLUMNS = ("case_id", "image", "image_*", "mask", "split", "group")
SPLITS = ("", "train", "val", "test")


@dataclass(frozen=True)
class Case:
    """One row: images, the mask, the patient (`group`) it belongs to, and its `split`.

    `images` are by the name of the input they feed: column ``image_flair`` is ``"flair"``, column
    ``image`` is ``"image"``. The mask lies on the grid of the reference, the spec's first input.
    """

    case_id: str
    images: Mapping[str, Path]
    mask: Path
    group: str
    split: str = ""  # "", train, val or test


def read_cases(path: Path, splits: Sequence[str] = ()) -> list[Case]:
    """Read a cases.csv; relative paths start at its folder.

    Parameters
    ----------
    path : Path
    splits : sequence of str
        Return the rows of these splits alone; none means every row.

    Raises
    ------
    CasesError
        Naming every row with an empty or double case_id, an unknown split or a missing file; or
        the columns that are missing or unknown.
    """
    if not path.is_file():
        raise CasesError(f"No such file: {path}.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or []
    except (UnicodeDecodeError, csv.Error) as error:
        raise CasesError(f"{path} is not a CSV table in UTF-8: {error}.") from None
    inputs = image_columns(columns)
    missing = [c for c in ("case_id", "mask") if c not in columns]
    missing += [] if inputs else ["image (or image_<name> for each of several inputs)"]
    strange = [c for c in columns if c not in COLUMNS and c not in inputs]
    if missing or strange:
        raise CasesError(
            f"{path}: missing columns: {', '.join(missing) or 'none'}; unknown columns: "
            f"{', '.join(strange) or 'none'}. Known: {', '.join(COLUMNS)}."
        )
    cases, problems, seen = [], [], set()
    for number, row in enumerate(rows, start=2):  # line 1 holds the names
        case_id = row["case_id"] or ""
        if not case_id or case_id in seen:
            problems.append(f"line {number}: case_id {case_id!r} is empty or there twice")
        seen.add(case_id)
        files = {column: path.parent / (row[column] or "") for column in (*inputs, "mask")}
        for column, file_path in files.items():
            if not row[column] or not file_path.exists():
                problems.append(f"line {number} ({case_id}): no {column} at {row[column]!r}")
        split = row.get("split") or ""
        if split not in SPLITS:
            problems.append(f"line {number} ({case_id}): split {split!r} is not train, val or test")
        images = {name: files[column] for column, name in inputs.items()}
        cases.append(Case(case_id, images, files["mask"], row.get("group") or case_id, split))
    if problems:
        more = f"\n  … and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise CasesError(f"{path}:\n  " + "\n  ".join(problems[:20]) + more)
    chosen = [case for case in cases if not splits or case.split in splits]
    if not chosen:
        which = f" of split {' or '.join(map(repr, splits))}" if splits else ""
        raise CasesError(f"{path} has no rows{which}.")
    return chosen


def image_columns(columns: Sequence[str]) -> dict[str, str]:
    """Return the name of the input that each image column of a cases.csv feeds."""
    found = {c: re.fullmatch(r"image(?:_([\w-]+))?", c) for c in columns}
    return {column: match[1] or "image" for column, match in found.items() if match}


def write_cases(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    """Write rows as a cases.csv."""
    named = list(dict.fromkeys(column for row in rows for column in row))
    columns = ["case_id", *image_columns(named)]
    columns += [c for c in ("mask", "split", "group") if c in named]
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def split_folds(cases: Sequence[Case], folds: int, seed: int = 0) -> list[list[int]]:
    """Return the validation rows of each fold; a group lies in one fold only.

    Raises
    ------
    CasesError
        When there are fewer groups than folds.
    """
    groups = [case.group for case in cases]
    if not 2 <= folds <= len(set(groups)):
        raise CasesError(f"{len(set(groups))} groups cannot make {folds} folds (at least 2).")
    splitter = GroupKFold(folds, shuffle=True, random_state=seed)
    return [val.tolist() for _, val in splitter.split(groups, groups=groups)]


def read_case(case: Case, spec: ModelSpec) -> tuple[Study, Volume]:
    """Read the images and the mask of a case, and check that they fit the model and each other.

    Returns
    -------
    study : Study
        A volume for each input, the reference first.
    mask : Volume
        (1, I, J, K) uint8 labels on the grid of the reference.

    Raises
    ------
    CasesError
        When an input has no image, the mask is on another grid than the reference, or it holds
        labels that are no class of the spec.
    """
    try:
        files = spec.feed(case.images)
    except SpecError as error:
        raise CasesError(
            f"{case.case_id}: {error} In a cases.csv each input is a column: "
            f"{', '.join(f'image_{name}' for name in spec.input_names)}."
        ) from None
    study = Study(case.case_id, {name: read_volume(path) for name, path in files.items()})
    reference, mask = next(iter(study.volumes.values())), read_volume(case.mask)
    if not same_grid(reference, mask):
        raise CasesError(
            f"{case.case_id}: mask {case.mask} ({mask.shape}, {mask.orientation}) is not on the "
            f"grid of its image ({reference.shape}, {reference.orientation})."
        )
    labels, classes = np.unique(mask.array), len(spec.class_names)
    strange = [float(v) for v in labels if v not in range(classes + 1)]
    if strange:
        raise CasesError(
            f"{case.case_id}: labels {strange[:5]} in {case.mask}; expected 0 to {classes}."
        )
    return study, mask.with_array(mask.array.astype(np.uint8))


@dataclass(frozen=True)
class Item:
    """One case on the model's grid."""

    case_id: str
    image: Tensor  # (C, I, J, K) float32
    labels: Tensor  # (I, J, K) uint8


def load_items(cases: Sequence[Case], spec: ModelSpec, show: bool = True) -> list[Item]:
    """Preprocess cases into memory; every unusable one is named in one error."""
    items, problems = [], []
    for case in track(cases, "Preprocess", len(cases), show):
        try:
            items.append(load_item(case, spec))
        except MedvisionError as error:
            problems.append(name_case(case, error))
    refuse(problems)
    return items


def check_cases(cases: Sequence[Case], spec: ModelSpec, show: bool = True) -> None:
    """Read every image and mask, and name every case that does not fit, in one error."""
    problems = []
    for case in track(cases, "Check", len(cases), show):
        try:
            read_case(case, spec)
        except MedvisionError as error:
            problems.append(name_case(case, error))
    refuse(problems)


def name_case(case: Case, error: MedvisionError) -> str:
    """Return what went wrong, with the case's name in it."""
    start = f"{case.case_id}: "
    return str(error) if str(error).startswith(start) else start + str(error)


def refuse(problems: Sequence[str]) -> None:
    """Raise `CasesError` with up to 20 problems, when there are any."""
    if problems:
        more = f"\n… and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise CasesError("\n".join(problems[:20]) + more)


def load_item(case: Case, spec: ModelSpec) -> Item:
    """Preprocess one case: the images as in prediction, the mask by the same way."""
    study, mask = read_case(case, spec)
    prepared = preprocess(study.volumes, spec)
    upright = mask.reoriented(spec.orientation)
    labels = torch.from_numpy(np.ascontiguousarray(upright.array))
    if not prepared.exact:  # each class is interpolated, then the strongest wins
        hot = [
            resample((labels == c).float(), upright.affine, prepared.grid)
            for c in range(len(spec.class_names) + 1)
        ]
        labels = torch.cat(hot).argmax(dim=0, keepdim=True).to(torch.uint8)
    if labels.shape[1:] != prepared.tensor.shape[1:]:
        raise GeometryError(f"{case.case_id}: mask and image part on the model's grid.")
    return Item(case.case_id, prepared.tensor, labels[0])


class Patches(Dataset[dict[str, Tensor | str]]):
    """Augmented patches, each a pure function of (seed, index).

    So a training that starts again at step s sees what it would have seen, on any number of
    workers.
    """

    def __init__(self, items: Sequence[Item], spec: ModelSpec, how: Augment, seed: int) -> None:
        self.items, self.spec, self.how, self.seed = items, spec, how, seed
        order, _ = reorientation(np.eye(4), spec.orientation)
        self.flip_axis = order.index(0)  # the axis that runs between left and right

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        epoch, place = divmod(index, len(self.items))
        shuffle = Generator().manual_seed(self.seed * 1_000_003 + epoch)
        item = self.items[int(torch.randperm(len(self.items), generator=shuffle)[place])]
        image, labels = random_patch(
            item.image,
            item.labels,
            len(self.spec.class_names) + 1,
            self.spec.roi_size,
            self.spec.spacing,
            self.flip_axis,
            Generator().manual_seed(self.seed * 1_000_003 + 500_009 + index),
            self.how,
        )
        return {"image": image, "labels": labels, "case_id": item.case_id}
