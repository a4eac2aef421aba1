"""A first ModelSpec from the data: spacing, window of the network, intensity rule, fingerprint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medvision.dataset import Case, read_pair
from medvision.fingerprint import facts_of, fingerprint_of
from medvision.progress import track
from medvision.spec import Intensity, ModelSpec

STAGES = 4
MAX_SIDE = 96  # voxels of the network's window along one axis


def plan(
    cases: Sequence[Case],
    class_names: Sequence[str],
    name: str,
    architecture: str = "unet3d",
    modality: str = "",
    width: int = 32,
    roi_size: tuple[int, int, int] | None = None,
    show: bool = True,
) -> ModelSpec:
    """Measure the training cases and return a spec for them.

    Parameters
    ----------
    cases : sequence of Case
    class_names : sequence of str
    name : str
        Name of the model.
    architecture : str
        A key of `medvision.models.MODELS`.
    modality : str
        ``"CT"`` or ``"MR"`` for files that do not say it, such as NIfTI.
    width : int
        Channels of the first stage; every deeper one doubles them.
    roi_size : three ints, optional
        Window of the network in voxels, instead of the planned one.

    Notes
    -----
    The spacing is the median of the cases; the window is their median size, rounded up to what
    the network's stages divide, at most 96 voxels a side. CT is windowed in HU between the 0.5th
    and 99.5th percentile of the foreground (nnU-Net's rule), everything else is z-scored.
    """
    blank = ModelSpec(
        name,
        "segmentation",
        architecture,
        tuple(class_names),
        (1, 1, 1),
        (MAX_SIDE,) * 3,
        network={"features": tuple(width * 2**s for s in range(STAGES)), "decoder_convs": 1},
    )
    facts, foreground, modalities = [], [], set()
    for case in track(cases, "Plan", len(cases), show):
        image, mask = read_pair(case, len(class_names))
        facts.append(facts_of(image, blank))
        modalities.add(image.info.modality or modality)
        inside = image.array[:, mask.array[0] > 0].ravel()
        foreground.append(inside[:: max(1, inside.size // 10_000)])
    spacing = np.median([f.spacing_mm for f in facts], axis=0)
    size = np.median([f.extent_mm for f in facts], axis=0) / spacing  # voxels
    step = 2 ** (STAGES - 1)
    sides = np.minimum(np.ceil(np.round(size, 2) / step) * step, MAX_SIDE).astype(int)
    si, sj, sk = (round(float(s), 4) for s in spacing)
    ri, rj, rk = (int(s) for s in sides)
    intensity = Intensity()
    if modalities == {"CT"}:
        low, high = np.percentile(np.concatenate(foreground), [0.5, 99.5])
        intensity = Intensity("window", low=float(low), high=float(high))
    return replace(
        blank,
        spacing=(si, sj, sk),
        roi_size=roi_size or (ri, rj, rk),
        intensity=intensity,
        modality=modalities.pop() if len(modalities) == 1 else "",
        fingerprint=fingerprint_of(facts),
    )
