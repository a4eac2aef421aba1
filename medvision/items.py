"""Cases on the model's grid, kept in memory or on disk, and random windows of them.

Every window is a function of (seed, index), so that a resumed run goes on as if it had never
stopped, on any number of workers and processes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from medvision.augment import Window, chance, random_center, random_patch
from medvision.dataset import Case, name_case, read_case, read_images, refuse, strange_labels
from medvision.errors import GeometryError, MedvisionError
from medvision.files import atomic_path
from medvision.geometry import reorientation
from medvision.progress import track
from medvision.report import report_for_model
from medvision.spec import ModelSpec, names_of
from medvision.train_config import TrainConfig
from medvision.transforms import Prepared, preprocess, resample
from medvision.volume import Volume

MAX_FOREGROUND = 10_000  # voxels of each structure that windows may be centered on
POSITIVE_WEIGHT = 1.0, 20.0  # least and most that cases with a class count
SIDES = {"R": 0, "A": 1, "S": 2}  # world axes


@dataclass(frozen=True)
class Item:
    """One case on the model's grid.

    `target` is what the network should say: labels (I, J, K) uint8, or the number of a class, ()
    int64, or where there may be several, (N,) float32, 1 for each that is there. `foreground`
    holds (V, 3) voxels of each structure that is there. `report` is what the model sees of the
    report; empty when there is nothing.
    """

    case_id: str
    image: Tensor  # (C, I, J, K) float32
    target: Tensor
    foreground: tuple[Tensor, ...] = ()
    report: str = ""


def check_cases(cases: Sequence[Case], spec: ModelSpec, show: bool = True) -> None:
    """Read and preprocess every case, and name all that do not fit in one error."""
    problems = []
    if spec.task == "classification":
        problems = strange_labels(cases, spec.class_names, spec.multilabel)
    for case in track(cases, "Check", len(cases), show):
        try:
            segments = spec.task == "segmentation"
            study = read_case(case, spec)[0] if segments else read_images(case, spec)
            preprocess(study.volumes, spec)
        except MedvisionError as error:
            problems.append(name_case(case, error))
    refuse(problems)


def load_items(
    cases: Sequence[Case],
    spec: ModelSpec,
    config: TrainConfig,
    cache: Path | None = None,
    show: bool = True,
) -> list[Item]:
    """Preprocess cases; every unusable one is named in one error.

    Parameters
    ----------
    cases : sequence of Case
    spec : ModelSpec
    config : TrainConfig
        Its `memory_gb` says how much is kept in memory.
    cache : Path, optional
        Folder for what does not fit into memory; none keeps everything there.
    show : bool
        Show a progress bar.

    Raises
    ------
    CasesError
    """
    items: list[Item] = []
    problems: list[str] = []
    if spec.task == "classification":
        refuse(strange_labels(cases, spec.class_names, spec.multilabel))
    room = config.memory_gb * 1e9
    for case in track(cases, "Preprocess", len(cases), show):
        try:
            item = load_item(case, spec)
        except MedvisionError as error:
            problems.append(name_case(case, error))
            continue
        room -= item.image.nbytes + item.target.nbytes
        if room < 0 and cache is not None:
            item = mapped(item, cache / f"{len(items):06d}")
        items.append(item)
    refuse(problems)
    return items


def load_item(case: Case, spec: ModelSpec) -> Item:
    """Preprocess one case: images and report as in prediction, the mask by the same way."""
    report = ""
    if spec.text:
        report = report_for_model(case.report, spec.text.sections, spec.text.masked)
    if spec.task == "classification":
        image = preprocess(read_images(case, spec).volumes, spec).tensor
        return Item(case.case_id, image, class_target(case.label, spec), report=report)
    study, mask = read_case(case, spec)
    prepared = preprocess(study.volumes, spec)
    labels = labels_on(prepared, mask, spec)
    if labels.shape != prepared.tensor.shape[1:]:
        raise GeometryError(f"{case.case_id}: mask and image part on the model's grid.")
    return Item(case.case_id, prepared.tensor, labels, foreground_of(labels, spec), report)


def class_target(label: str, spec: ModelSpec) -> Tensor:
    """Return a class's number, () int64, or with `multilabel` 0 or 1 for each, (N,) float32."""
    if not spec.multilabel:
        return torch.tensor(spec.class_names.index(label))
    names = names_of(label)
    return torch.tensor([float(name in names) for name in spec.class_names])


def labels_on(prepared: Prepared, mask: Volume, spec: ModelSpec) -> Tensor:
    """Bring a mask onto the model's grid: (I, J, K) uint8."""
    if prepared.region is not None:
        mask = mask.cropped(prepared.region)
    upright = mask.reoriented(spec.orientation)
    labels = torch.from_numpy(np.ascontiguousarray(upright.array))
    if prepared.exact:
        return labels[0]
    hot = [  # each class is interpolated, then the strongest wins
        resample((labels == c).float(), upright.affine, prepared.grid) for c in range(spec.outputs)
    ]
    return torch.cat(hot).argmax(dim=0).to(torch.uint8)


def foreground_of(labels: Tensor, spec: ModelSpec) -> tuple[Tensor, ...]:
    """Return (V, 3) voxels of each structure that labels (I, J, K) hold, thinned out by chance.

    Every n-th voxel would not do: where n divides by a side, they all lie on one plane.
    """
    found, rng = [], Generator().manual_seed(0)
    for label in range(1, spec.outputs):
        voxels = (labels == label).nonzero()
        if len(voxels):
            some = torch.randperm(len(voxels), generator=rng)[:MAX_FOREGROUND]
            found.append(voxels[some].to(torch.int16))
    return tuple(found)


def mapped(item: Item, stem: Path) -> Item:
    """Write an item's image and labels beside `stem`, and map them instead of keeping them."""
    stem.parent.mkdir(parents=True, exist_ok=True)

    def on_disk(tensor: Tensor, what: str) -> Tensor:
        path = stem.with_name(f"{stem.name}_{what}.npy")
        with atomic_path(path) as part, part.open("wb") as file:
            np.save(file, tensor.numpy())
        return torch.from_numpy(np.load(path, mmap_mode="c"))  # copy on write: never changed

    if item.target.ndim < 3:  # of a classification
        return replace(item, image=on_disk(item.image, "image"))
    target = on_disk(item.target, "labels")
    return replace(item, image=on_disk(item.image, "image"), target=target)


def class_weights(items: Sequence[Item], spec: ModelSpec) -> Tensor:
    """Return the weight of each class, by the inverse of its frequency; 1 on average of cases.

    (N,) float32 for a classification. With `multilabel` it is the weight of the cases that have
    the class, those without by those with it, within 1 to 20.
    """
    if spec.multilabel:
        having = torch.stack([item.target for item in items]).sum(dim=0)
        return ((len(items) - having) / having.clamp(min=1)).clamp(*POSITIVE_WEIGHT)
    counts = Counter(int(item.target) for item in items)
    classes = len(spec.class_names)
    return torch.tensor([len(items) / (classes * max(1, counts[c])) for c in range(classes)])


class Patches(Dataset[dict[str, Tensor | str]]):
    """Augmented windows, each a pure function of (seed, index)."""

    def __init__(self, items: Sequence[Item], spec: ModelSpec, config: TrainConfig) -> None:
        self.items, self.spec, self.config = items, spec, config
        order, _ = reorientation(np.eye(4), spec.orientation)
        mirror = tuple(order.index(SIDES[letter]) for letter in config.augment.mirror)
        i, j, k = spec.spacing or (1.0, 1.0, 1.0)
        self.window = Window(spec.roi_size, (i, j, k or 1.0), mirror)  # in 2D, k may be any

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        epoch, place = divmod(index, len(self.items))
        seed = self.config.seed * 1_000_003
        shuffle = Generator().manual_seed(seed + epoch)
        item = self.items[int(torch.randperm(len(self.items), generator=shuffle)[place])]
        rng = Generator().manual_seed(seed + 500_009 + index)
        shape, size = item.image.shape[1:], self.window.size
        if self.spec.task == "segmentation":
            inside = item.foreground if chance(self.config.foreground, rng) else ()
            center = random_center(shape, size, inside, rng)
            labels: Tensor | None = item.target
        else:
            center, labels = (torch.tensor(shape, dtype=torch.float32) - 1) / 2, None
        image, cut = random_patch(
            item.image, labels, self.spec.outputs, self.window, center, rng, self.config.augment
        )
        target = item.target if cut is None else cut
        sample: dict[str, Tensor | str] = {
            "image": image,
            "target": target,
            "case_id": item.case_id,
        }
        return sample | {"report": item.report} if self.spec.text else sample
