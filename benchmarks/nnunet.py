"""Train nnU-Net itself on fold 0 of a cases.csv for so many minutes, and measure it as ours.

    medvision datasets msd Task04_Hippocampus --group-by case --out runs/case.csv
    python benchmarks/nnunet.py runs/case.csv --minutes 15 --threads 1

Makes a virtual environment for nnunetv2 that borrows this one's packages, so that both use one
PyTorch; nothing is installed into this one. There nnU-Net plans and preprocesses by itself (not
counted in the minutes), trains on the CPU and predicts the cases of fold 0. Its network, patches,
batches, loss, augmentation, optimizer and test-time mirroring are its own. Changed, because its
1000 epochs do not fit: the polynomial learning rate falls with the minutes, step by step; there
is no validation between, which gives it more steps. Augmentation runs in the same threads.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medvision.dataset import Case, read_cases
from medvision.files import write_text
from medvision.folds import split_folds
from medvision.io import read_volume
from medvision.metrics import dice
from medvision.outputs.nifti import save_nifti
from medvision.run_card import device_name

ROOT = Path(__file__).parents[1]
NAME = "Dataset004_Hippocampus"
CONFIGURATION = "3d_fullres"
CLASSES = ("anterior", "posterior")
FOLDS, FOLD, SEED = 5, 0, 0  # those of `medvision train --folds 5`

# What nnunetv2 2.8 asks for and this environment lacks. The second line without what they need in
# turn: timm, of which nothing is used here, would bring torchvision and with it another PyTorch.
WITH_NEEDS = ("acvl-utils<0.3", "batchgenerators", "batchgeneratorsv2", "blosc2", "graphviz")
WITH_NEEDS += ("seaborn", "yacs", "SimpleITK", "scikit-image", "imagecodecs")
ALONE = ("nnunetv2==2.8.1", "dynamic-network-architectures==0.4.4", "timm<1.0.23")


@dataclass(frozen=True)
class Folders:
    """Where nnU-Net looks for its things, below one folder."""

    top: Path

    def environment(self, threads: int) -> dict[str, str]:
        """Return the variables that nnunetv2 reads when it is imported."""
        return {
            "nnUNet_raw": str(self.top / "raw"),
            "nnUNet_preprocessed": str(self.top / "preprocessed"),
            "nnUNet_results": str(self.top / "results"),
            "nnUNet_compile": "f",
            "nnUNet_def_n_proc": str(threads),
            "OMP_NUM_THREADS": str(threads),
        }

    @property
    def raw(self) -> Path:
        """The data set as nnU-Net wants it."""
        return self.top / "raw" / NAME

    @property
    def preprocessed(self) -> Path:
        """The data set as nnU-Net made it."""
        return self.top / "preprocessed" / NAME

    @property
    def found(self) -> Path:
        """The masks that it predicted."""
        return self.top / "predicted"


def make_environment(folder: Path) -> Path:
    """Make the virtual environment, or complete it, and return its Python."""
    python = folder.absolute() / "bin" / "python"  # resolved, it would be the one it was made from
    if not python.exists():
        venv.create(folder, with_pip=True)
    packages = sysconfig.get_path("purelib", vars={"base": str(folder.absolute())})
    mine = sysconfig.get_path("purelib")
    write_text(Path(packages) / "borrowed.pth", f"import site; site.addsitedir({mine!r})\n")
    pip = [str(python), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, *WITH_NEEDS], check=True)
    subprocess.run([*pip, "--no-deps", *ALONE], check=True)
    return python


def write_raw(folders: Folders, cases: Sequence[Case]) -> None:
    """Write images and masks under nnU-Net's names, and its dataset.json."""
    shutil.rmtree(folders.raw, ignore_errors=True)  # it takes every file it finds
    for case in cases:
        assert case.mask is not None  # what a table for segmentation has
        (image,) = case.images.values()
        save_nifti(read_volume(image), folders.raw / "imagesTr" / f"{case.case_id}_0000.nii.gz")
        mask = read_volume(case.mask)
        labels = mask.with_array(mask.array.astype(np.uint8))
        save_nifti(labels, folders.raw / "labelsTr" / f"{case.case_id}.nii.gz")
    described = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0} | {name: k for k, name in enumerate(CLASSES, start=1)},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    write_text(folders.raw / "dataset.json", json.dumps(described))


def preprocess(folders: Folders, threads: int) -> None:
    """Let nnU-Net plan, and bring the cases to its grid."""
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api  # its own environment

    number = int(NAME.removeprefix("Dataset")[:3])
    api.extract_fingerprints([number], num_processes=threads, check_dataset_integrity=True)
    api.plan_experiments([number])
    api.preprocess([number], configurations=[CONFIGURATION], num_processes=[threads])


def write_split(folders: Folders, cases: Sequence[Case], val: set[str]) -> None:
    """Write a splits_final.json whose only fold is ours."""
    train = [case.case_id for case in cases if case.case_id not in val]
    split = [{"train": train, "val": sorted(val)}]
    write_text(folders.preprocessed / "splits_final.json", json.dumps(split))


def train(folders: Folders, seconds: float, threads: int, batch: int) -> tuple[Any, dict[str, Any]]:
    """Train for `seconds` of wall time; returns nnU-Net's trainer and what it did.

    `batch` 0 is the size that nnU-Net plans.
    """
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    plans = json.loads((folders.preprocessed / "nnUNetPlans.json").read_text(encoding="utf-8"))
    settings = plans["configurations"][CONFIGURATION]
    planned = settings["batch_size"]
    settings["batch_size"] = batch or planned
    described = json.loads((folders.preprocessed / "dataset.json").read_text(encoding="utf-8"))
    torch.set_num_threads(threads)
    os.environ.update({"nnUNet_n_proc_DA": "0"})  # augment in these threads; the planner refuses 0
    trainer = nnUNetTrainer(
        plans | {"continue_training": False}, CONFIGURATION, 0, described, torch.device("cpu")
    )
    trainer.on_train_start()
    trainer.network.train()
    steps, losses = 0, []
    start, start_cpu = time.perf_counter(), time.process_time()
    while (share := (time.perf_counter() - start) / seconds) < 1:
        trainer.optimizer.param_groups[0]["lr"] = trainer.initial_lr * (1 - share) ** 0.9
        losses.append(float(trainer.train_step(next(trainer.dataloader_train))["loss"]))
        steps += 1
        if steps % 10 == 0:
            print(f"step {steps}, {share:.0%} of the time, loss {np.mean(losses[-10:]):.3f}")
    plan = trainer.configuration_manager
    return trainer, {
        "steps": steps,
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - start_cpu,
        "batch": plan.batch_size,
        "planned_batch": planned,
        "patch": "×".join(map(str, plan.patch_size)),
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
        "network": plan.network_arch_class_name.rsplit(".", 1)[-1],
    }


def predict(folders: Folders, trainer: Any, names: Sequence[str]) -> None:
    """Segment cases as nnU-Net's own validation does, one after the other."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        trainer.dataset_json,
        type(trainer).__name__,
        trainer.inference_allowed_mirroring_axes,
    )
    folders.found.mkdir(parents=True, exist_ok=True)
    predictor.predict_from_files_sequential(
        [[str(folders.raw / "imagesTr" / f"{name}_0000.nii.gz")] for name in names],
        [str(folders.found / name) for name in names],
    )


def measure(folders: Folders, cases: Sequence[Case]) -> dict[str, float]:
    """Return the mean over cases of each structure's Dice."""
    scores: dict[str, list[float]] = {name: [] for name in CLASSES}
    for case in cases:
        assert case.mask is not None
        found = read_volume(folders.found / f"{case.case_id}.nii.gz").array
        truth = read_volume(case.mask).array
        for label, name in enumerate(CLASSES, start=1):
            scores[name].append(dice(found == label, truth == label))
    return {name: float(np.mean(values)) for name, values in scores.items()}


def report(did: dict[str, Any], scores: dict[str, float], cases: int, val: int) -> str:
    """Return the page: the table, what was run, and on what."""
    minutes, busy = did["seconds"] / 60, did["cpu_seconds"] / did["seconds"]
    batch = "" if did["batch"] == did["planned_batch"] else f" --batch {did['batch']}"
    names = ("nnunetv2", "dynamic-network-architectures", "batchgeneratorsv2", "torch", "numpy")
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    return f"""\
# nnU-Net on the same fold, for the same minutes

MSD Hippocampus, fold {FOLD} of {FOLDS}, the same cases as in `medvision train --folds {FOLDS}`
(seed {SEED}): {cases - val} to train on, {val} to measure. Mean Dice over cases, by
`medvision.metrics.dice`.

| | anterior | posterior | steps | batch | patch | parameters | minutes |
|---|---|---|---|---|---|---|---|
| nnunetv2 {version("nnunetv2")}, {CONFIGURATION} | {scores["anterior"]:.4f} \
| {scores["posterior"]:.4f} | {did["steps"]} | {did["batch"]} | {did["patch"]} \
| {did["parameters"]:,} | {minutes:.1f} |

{did["network"]}, as nnU-Net plans it (batches of {did["planned_batch"]}), with its own loss,
augmentation, optimizer and test-time mirroring. Its polynomial learning rate falls over these
minutes, and it does not validate while it trains. Planning, preprocessing and prediction are not
counted. nnU-Net is made for 250,000 steps: this says what it reaches in these minutes on this
processor, not how good it is when it may finish.

{device_name(torch.device("cpu"))}, threads: {did["threads"]}, cores busy: {busy:.2f};
{packages}.

    medvision datasets msd Task04_Hippocampus --group-by case --out runs/case.csv
    python benchmarks/nnunet.py runs/case.csv --minutes {did["minutes"]:g} \\
        --threads {did["threads"]}{batch}
"""


def arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", type=Path, help="cases.csv of the Hippocampus task")
    parser.add_argument("--minutes", type=float, default=15, help="wall time of the training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=0, help="in place of the planned size")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv-nnunet")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "nnunet")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "nnunet.md")
    return parser.parse_args()


def main() -> int:
    """Prepare, train, predict, measure, and write the page."""
    asked = arguments()
    folders = Folders(asked.work.resolve())
    environment = folders.environment(asked.threads)
    if find_spec("nnunetv2") is None or any(os.environ.get(k) != v for k, v in environment.items()):
        python = str(make_environment(asked.venv))
        command = [python, *sys.argv]
        return subprocess.run(command, env=os.environ | environment, check=False).returncode
    cases = read_cases(asked.cases)
    chosen = [cases[i] for i in split_folds(cases, FOLDS, SEED)[FOLD]]
    val = {case.case_id for case in chosen}
    write_raw(folders, cases)
    preprocess(folders, asked.threads)
    write_split(folders, cases, val)
    trainer, did = train(folders, 60 * asked.minutes, asked.threads, asked.batch)
    did |= {"minutes": asked.minutes, "threads": asked.threads}
    predict(folders, trainer, sorted(val))
    scores = measure(folders, chosen)
    page = report(did, scores, len(cases), len(val))
    write_text(asked.out, page)
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
