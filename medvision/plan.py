"""A first ModelSpec from the data: spacing, window of the network, intensity rule, fingerprint."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from medvision.dataset import Case, read_case
from medvision.errors import CasesError
from medvision.fingerprint import facts_of, fingerprint_of
from medvision.progress import track
from medvision.spec import InputSpec, Intensity, ModelSpec

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
    inputs: Sequence[InputSpec] = (),
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
    inputs : sequence of InputSpec
        None given, they are the image columns of the cases, the first being the reference.

    Notes
    -----
    Size, spacing and foreground are those of the reference. The spacing is the median of the
    cases; the window is their median size, rounded up to what the network's stages divide, at
    most 96 voxels a side. Where all is CT, it is windowed in HU between the 0.5th and 99.5th
    percentile of the foreground (nnU-Net's rule); else all is z-scored.
    """
    if not cases:
        raise CasesError("There are no cases to plan a model from.")
    blank = ModelSpec(
        name,
        "segmentation",
        architecture,
        tuple(class_names),
        (1, 1, 1),
        (MAX_SIDE,) * 3,
        network={"features": tuple(width * 2**s for s in range(STAGES)), "decoder_convs": 1},
        inputs=tuple(inputs) or tuple(InputSpec(name) for name in cases[0].images),
    )
    facts, foreground = [], []
    modalities: dict[str, set[str]] = {name: set() for name in blank.input_names}
    for case in track(cases, "Plan", len(cases), show):
        study, mask = read_case(case, blank)
        reference = next(iter(study.volumes.values()))
        facts.append(facts_of(reference, blank))
        for input_name, volume in study.volumes.items():
            modalities[input_name].add(volume.info.modality or modality)
        inside = reference.array[:, mask.array[0] > 0].ravel()
        foreground.append(inside[:: max(1, inside.size // 10_000)])
    spacing = np.median([f.spacing_mm for f in facts], axis=0)
    size = np.median([f.extent_mm for f in facts], axis=0) / spacing  # voxels
    step = 2 ** (STAGES - 1)
    sides = np.minimum(np.ceil(np.round(size, 2) / step) * step, MAX_SIDE).astype(int)
    si, sj, sk = (round(float(s), 4) for s in spacing)
    ri, rj, rk = (int(s) for s in sides)
    intensity = Intensity()
    if all(found == {"CT"} for found in modalities.values()):
        low, high = np.percentile(np.concatenate(foreground), [0.5, 99.5])
        intensity = Intensity("window", low=float(low), high=float(high))
    return replace(
        blank,
        spacing=(si, sj, sk),
        roi_size=roi_size or (ri, rj, rk),
        intensity=intensity,
        inputs=tuple(
            replace(one, modality=one.modality or only(modalities[one.name]))
            for one in blank.inputs
        ),
        fingerprint=fingerprint_of(facts),
    )


def only(found: Collection[str]) -> str:
    """Return the only one of what was found; empty when there are several."""
    return next(iter(found)) if len(found) == 1 else ""
