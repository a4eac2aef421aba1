"""Windows a second that augmentation makes on one thread, beside MONAI and TorchIO, in one run.

    python benchmarks/training.py

Each cuts windows out of the same phantoms, which lie in memory on the model's grid, and changes
them by the same chances: mirroring, rotation, scaling, shear, shift, a warp; shading, contrast,
brightness, resolution, sharpness, noise. MONAI's is the dictionary pipeline of its tutorials with
the foreground's voxels looked up beforehand; "lazy" joins what it can into one resampling. TorchIO
changes the window alone, not the whole scan, which is the faster way. They take turns, so that
noise of the machine falls on all alike. Medians; in brackets, the peer's windows by medvision's.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np
import SimpleITK
import torch
import torchio
from monai import transforms as monai
from monai.utils import set_determinism

from medvision.items import Item, Patches, foreground_of
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.spec import ModelSpec
from medvision.train_config import TrainConfig

ROUNDS = 7
CASES = 4
CLASSES = ("anterior", "posterior")
PACKAGES = ("medvision-toolkit", "monai", "torchio", "torch")
MODE = ("bilinear", "nearest")
KEYS = ("image", "label")


@dataclass(frozen=True)
class Setting:
    """A size of scans and windows, how many windows a turn takes, and whether space is warped."""

    name: str
    scan: tuple[int, int, int]
    window: tuple[int, int, int]
    count: int
    warp: bool


SETTINGS = [
    Setting("40×56×40 → 32×48×32, no warp", (40, 56, 40), (32, 48, 32), 40, False),
    Setting("40×56×40 → 32×48×32", (40, 56, 40), (32, 48, 32), 40, True),
    Setting("160³ → 96³, no warp", (160, 160, 160), (96, 96, 96), 10, False),
    Setting("160³ → 96³", (160, 160, 160), (96, 96, 96), 10, True),
]


def phantoms(setting: Setting) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return images (1, I, J, K) of mean 0 and deviation 1, and labels (I, J, K) uint8."""
    made = []
    for seed in range(CASES):
        i, j, k = setting.scan
        balls = [
            Ellipsoid((i / 2, j * 0.35, k / 2), (i / 5, j / 7, k / 6), 1, 60),
            Ellipsoid((i / 2, j * 0.65, k / 2), (i / 6, j / 8, k / 6), 2, 40),
        ]
        image, mask = ellipsoid_phantom(setting.scan, np.eye(4), balls, noise=10, seed=seed)
        array = (image.array - image.array.mean()) / image.array.std()
        made.append((torch.from_numpy(array), torch.from_numpy(mask.array[0])))
    return made


def by_medvision(setting: Setting) -> Iterator[object]:
    """Make windows as training does."""
    spec = ModelSpec("m", "segmentation", "unet3d", CLASSES, (1, 1, 1), setting.window)
    config = TrainConfig()
    config = replace(config, augment=replace(config.augment, warp=1.5 if setting.warp else 0.0))
    items = [
        Item(f"case{number}", image, labels, foreground_of(labels, spec))
        for number, (image, labels) in enumerate(phantoms(setting))
    ]
    patches, index = Patches(items, spec, config), 0
    while True:
        yield patches[index]["image"]
        index += 1


def by_monai(setting: Setting, lazy: bool = False) -> Iterator[object]:
    """Make windows by MONAI's dictionary transforms."""
    shift = [0.1 * side for side in setting.window]
    space = {
        "keys": KEYS,
        "rotate_range": (np.radians(15),) * 3,
        "scale_range": (0.15,) * 3,
        "translate_range": shift,
        "mode": MODE,
        "padding_mode": "border",
    }
    warp = monai.Rand3DElasticd(KEYS, (5, 8), (50, 150), prob=0.5, mode=MODE, padding_mode="border")
    image = ("image",)
    pipeline = monai.Compose(
        [
            monai.RandCropByPosNegLabeld(
                KEYS, "label", setting.window, num_samples=1,
                fg_indices_key="label_fg_indices", bg_indices_key="label_bg_indices",
            ),
            monai.RandAffined(**space, prob=0.7, shear_range=(0.05,) * 6),
            *([warp] if setting.warp else []),
            monai.RandFlipd(KEYS, prob=0.5, spatial_axis=0),
            monai.RandBiasFieldd(image, prob=0.4, coeff_range=(-0.3, 0.3)),
            monai.RandAdjustContrastd(image, prob=0.4, gamma=(0.6, 1.65)),
            monai.RandSimulateLowResolutiond(image, prob=0.2, zoom_range=(0.5, 1.0)),
            monai.RandGaussianSmoothd(image, *[(0.4, 1.1)] * 3, prob=0.2),
            monai.RandScaleIntensityd(image, factors=0.3, prob=0.4),
            monai.RandShiftIntensityd(image, offsets=0.4, prob=0.4),
            monai.RandGaussianNoised(image, prob=0.2, std=0.2),
            monai.EnsureTyped(KEYS),
        ],
        lazy=lazy,
    )  # fmt: skip
    pipeline.set_random_state(0)
    ready = monai.Compose([monai.FgBgToIndicesd("label"), monai.EnsureTyped(KEYS)])
    cached = [ready({"image": image, "label": label[None]}) for image, label in phantoms(setting)]
    index = 0
    while True:
        yield pipeline(dict(cached[index % CASES]))[0]["image"]
        index += 1


def by_torchio(setting: Setting) -> Iterator[object]:
    """Make windows by TorchIO's sampler of labels and its transforms."""
    shift = 0.1 * setting.window[0]
    warp = torchio.RandomElasticDeformation(num_control_points=7, max_displacement=3, p=0.5)
    pipeline = torchio.Compose(
        [
            torchio.RandomAffine(scales=0.15, degrees=15, translation=shift, p=0.7),
            *([warp] if setting.warp else []),
            torchio.RandomFlip(axes=0, flip_probability=0.5),
            torchio.RandomBiasField(coefficients=0.3, p=0.4),
            torchio.RandomGamma(log_gamma=0.5, p=0.4),
            torchio.RandomAnisotropy(downsampling=(1, 2), p=0.2),
            torchio.RandomBlur(std=(0.4, 1.1), p=0.2),
            torchio.RandomNoise(std=(0.02, 0.2), p=0.2),
        ]
    )
    subjects = [
        torchio.Subject(
            image=torchio.ScalarImage(tensor=image), label=torchio.LabelMap(tensor=label[None])
        )
        for image, label in phantoms(setting)
    ]
    sampler = torchio.LabelSampler(setting.window, "label", {0: 1, 1: 0.5, 2: 0.5})
    index = 0
    while True:
        (window,) = sampler(subjects[index % CASES], num_patches=1)
        yield pipeline(window)["image"].data
        index += 1


MAKERS: dict[str, Callable[[Setting], Iterator[object]]] = {
    "medvision": by_medvision,
    "MONAI": by_monai,
    "MONAI, lazy": lambda setting: by_monai(setting, lazy=True),
    "TorchIO": by_torchio,
}


def measure(setting: Setting) -> dict[str, float]:
    """Return windows a second of each, the median of turns after one that is not counted."""
    makers = {name: make(setting) for name, make in MAKERS.items()}
    rates: dict[str, list[float]] = {name: [] for name in makers}
    for turn in range(ROUNDS + 1):
        for name, windows in makers.items():
            start = time.perf_counter()
            shapes = {tuple(next(windows).shape) for _ in range(setting.count)}
            if turn:
                rates[name].append(setting.count / (time.perf_counter() - start))
            assert shapes == {(1, *setting.window)}, f"{name} makes {shapes}"
    return {name: statistics.median(found) for name, found in rates.items()}


def main() -> None:
    """Print the table of all settings."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    set_determinism(0)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    print(f"| | {' | '.join(MAKERS)} |\n|{'---|' * (len(MAKERS) + 1)}")
    for setting in SETTINGS:
        rates = measure(setting)
        mine = rates["medvision"]
        cells = [f"{rate:.1f} ({rate / mine:.2f})" for rate in rates.values()]
        print(f"| {setting.name} | {' | '.join(cells)} |", flush=True)
    print(f"\n{os.cpu_count()} cores, of which one is used; Python {platform.python_version()}; "
          + ", ".join(f"{name} {version(name)}" for name in PACKAGES))  # fmt: skip


if __name__ == "__main__":
    main()
