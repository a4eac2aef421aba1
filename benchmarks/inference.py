"""The same weights on the same windows: MONAI's sliding window, nnU-Net's predictor, medvision.

    OMP_WAIT_POLICY=passive python benchmarks/inference.py --rounds 3 --out benchmarks/inference.md

A 5-level plain nnU-Net (features 32 to 320, window 96³, two structures, weights not trained: their
values do not change the time) looks at the middle 144³ voxels of the MNI152 brain: eight windows.
All take turns, so that noise falls on all alike. "Network" is from the preprocessed scan to labels,
"case" from the file to the labels on the scan's grid; the model is loaded before. Dice is of the
worst label, against MONAI's labels and against nnU-Net's: weights that learned nothing nearly tie
all over, so that their masks show every difference (MONAI and nnU-Net weigh windows in other ways).
Needs nnU-Net (as `make test` installs it), nilearn and openvino.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import nnunet_results as peer

from medvision import load_predictor, read_study
from medvision.answer import Answer
from medvision.collect import in_place, to_source_axes
from medvision.metrics import dice
from medvision.run_card import package_versions
from medvision.runtime import cpu_field, device_name
from medvision.transforms import Prepared, preprocess

SIDE, WINDOW, FEATURES = 144, 96, (32, 64, 128, 256, 320)
NAME = "3d_fullres"
DATASET = peer.dataset_of({"background": 0, "first": 1, "second": 2})
Row = tuple[str, str, float, float, float]
Way = Callable[[], Any]


def plans() -> dict[str, Any]:
    """Return nnU-Net's plans of the network."""
    levels = len(FEATURES)
    strides = [[1] * 3, *[[2] * 3] * (levels - 1)]
    network = peer.architecture(3, FEATURES, strides, [[3] * 3] * levels)
    config = {"patch_size": [WINDOW] * 3, "spacing": [1.0] * 3, **network}
    return peer.plans_of(NAME, config)


def write_brain(path: Path) -> Path:
    """Write the middle of the MNI152 brain."""
    from nilearn.datasets import load_mni152_template

    brain = load_mni152_template(resolution=1)
    voxels = np.asarray(brain.dataobj, np.float32)
    first = [(n - SIDE) // 2 for n in voxels.shape]
    part = brain.slicer[tuple(slice(a, a + SIDE) for a in first)]
    nib.save(nib.Nifti1Image(np.asarray(part.dataobj, np.float32), part.affine), path)
    return path


def monai_way(network: nn.Module, image: Tensor, kind: torch.dtype | None) -> Way:
    """Return MONAI's sliding window over a preprocessed scan, to labels."""

    @torch.inference_mode()
    def run() -> Tensor:
        with torch.autocast("cpu", kind or torch.bfloat16, enabled=kind is not None):
            logits = sliding_window_inference(
                image[None], (WINDOW,) * 3, 1, network, overlap=0.5, mode="gaussian"
            )
        return logits[0].argmax(dim=0)

    return run


def nnunet_way(folder: Path, scan: Path, out: Path) -> Way:
    """Return nnU-Net's own predictor, from the file to the mask."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = peer.with_peace(nnUNetPredictor)(
        use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False
    )
    peer.with_peace(predictor.initialize_from_trained_model_folder)(
        str(folder), (0,), "checkpoint_final.pth"
    )

    @peer.with_peace
    def run() -> Any:
        array, facts = predictor.plans_manager.image_reader_writer_class().read_images([str(scan)])
        predictor.predict_single_npy_array(array, facts, None, str(out), False)
        return np.asarray(nib.load(f"{out}.nii.gz").dataobj)

    return run


def worst_dice(mine: Any, theirs: Any) -> float:
    """Return the worst Dice of the labels."""
    return min(dice(mine == label, theirs == label) for label in np.unique(theirs))


def compare(rounds: int, runtimes: list[str], bf16: bool) -> list[Row]:
    """Return what, of what, median seconds and both Dice of each way."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        scan = write_brain(top / "brain.nii.gz")
        own = peer.random_network(plans(), DATASET, NAME, seed=0).eval()
        folder = peer.write_results(top / "results", plans(), DATASET, NAME, [own])
        predictors = {one: load_predictor(folder, "cpu", runtime=one) for one in runtimes}
        study = read_study(scan)
        spec = next(iter(predictors.values())).spec
        ready = preprocess({spec.input_names[0]: study.image}, spec)
        ways: dict[tuple[str, str], Way] = {
            ("MONAI, float32", "network"): monai_way(own, ready.tensor, None)
        }
        if bf16:
            ways["MONAI, bfloat16", "network"] = monai_way(own, ready.tensor, torch.bfloat16)
        ways["nnU-Net's predictor", "case"] = nnunet_way(folder, scan, top / "mask")
        for one, predictor in predictors.items():
            made = predictor.prepare(study)
            ways[f"medvision, {one}", "network"] = lambda p=predictor, r=made: p.look(r)
            ways[f"medvision, {one}", "case"] = lambda p=predictor: p.predict(read_study(scan))
        times: dict[tuple[str, str], list[float]] = {key: [] for key in ways}
        said: dict[tuple[str, str], Any] = {}
        for turn in range(rounds + 1):
            for key, way in ways.items():
                began = time.perf_counter()
                said[key] = way()
                if turn or rounds == 0:  # the first time is not counted
                    times[key].append(time.perf_counter() - began)
                print(f"{turn} {key[0]} {key[1]} {time.perf_counter() - began:.1f} s", flush=True)
        masks = {key: labels_of(found, ready) for key, found in said.items()}
        first, second = masks["MONAI, float32", "network"], masks["nnU-Net's predictor", "case"]
        return [
            (*key, statistics.median(times[key]), worst_dice(mask, first), worst_dice(mask, second))
            for key, mask in masks.items()
        ]


def labels_of(found: Any, ready: Prepared) -> Any:
    """Return the labels on the scan's grid, of whichever way."""
    if isinstance(found, Tensor):
        return in_place(to_source_axes(found.numpy(), ready.grid, ready.seen), ready)
    if isinstance(found, Answer):
        return found.found.labels
    return found if isinstance(found, np.ndarray) else found.mask.array[0]


def table(rows: list[Row]) -> str:
    """Return the table: seconds, times as fast as the peer, and Dice."""
    seconds = {(what, of): spent for what, of, spent, *_ in rows}
    peers = {
        "network": seconds["MONAI, float32", "network"],
        "case": seconds["nnU-Net's predictor", "case"],
    }
    lines = [
        "| | of | seconds, median | times as fast as MONAI float32 (network) or nnU-Net (case) "
        "| Dice to MONAI | Dice to nnU-Net |",
        "|---|---|---|---|---|---|",
    ]
    for what, of, spent, *agrees in rows:
        both = " | ".join(f"{one:.4f}" for one in agrees)
        lines.append(f"| {what} | {of} | {spent:.1f} | {peers[of] / spent:.2f} | {both} |")
    return "\n".join(lines)


def main() -> None:
    """Compare, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runtimes", default="torch,torch-channels-last,openvino")
    parser.add_argument("--bf16", action="store_true", help="MONAI under bfloat16 autocast, too")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = compare(given.rounds, given.runtimes.split(","), given.bf16)
    told = {name: number for name, number in package_versions().items() if name != "pydicom"}
    said = (
        f"{table(rows)}\n\n{device_name(torch.device('cpu'))}, {torch.get_num_threads()} threads, "
        f"{'AVX-512' if 'avx512f' in cpu_field('flags') else 'AVX2'}; "
        f"{', '.join(f'{name} {number}' for name, number in told.items())}; {given.rounds} rounds "
        f"after one that is not counted.\n"
    )
    print(said)
    if given.out:
        given.out.write_text(f"# Inference\n\n```\n{__doc__.strip()}\n```\n\n{said}")


if __name__ == "__main__":
    main()
