"""What the cases of a table look like: sizes, spacing, values, classes. One read of each file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medvision.dataset import Case, name_case, read_case, read_images, refuse, strange_labels
from medvision.errors import CasesError, MedvisionError
from medvision.fingerprint import Facts, facts_of
from medvision.geometry import voxel_mm3
from medvision.progress import track
from medvision.spec import ModelSpec, names_of
from medvision.transforms import laid_flat
from medvision.volume import Volume

SAMPLES = 10_000  # voxels of each case that intensities are judged by


@dataclass(frozen=True)
class Look:
    """What one input looks like over all cases.

    `values` holds (V,) voxels: of a segmentation those inside a structure, else any.
    """

    modalities: Collection[str]
    channels: int
    pictures: bool  # 8-bit without a voxel size
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Survey:
    """The cases of a table; sizes are those of the reference, along the model's axes.

    `spacing` (M, 3) in mm, `shape` (M, 3) in voxels; `counts` holds the cases of each class, or
    those that have each structure, and `voxels` the structures' share of all voxels.
    """

    facts: Sequence[Facts]
    looks: Mapping[str, Look]
    spacing: NDArray[np.float64]
    shape: NDArray[np.int64]
    spacing_known: bool
    counts: Mapping[str, int]


def survey(
    cases: Sequence[Case], blank: ModelSpec, modality: str = "", show: bool = True
) -> Survey:
    """Read every case, and return what a plan needs to know.

    Parameters
    ----------
    cases : sequence of Case
    blank : ModelSpec
        Task, inputs, classes and orientation count.
    modality : str
        Of files that do not say it.
    show : bool
        Show a progress bar.

    Raises
    ------
    CasesError
        Naming every case that cannot be used; when pictures and scans are mixed; or when no mask
        holds a structure.
    """
    if not cases:
        raise CasesError("There are no cases to plan a model from.")
    if blank.task == "classification":
        refuse(strange_labels(cases, blank.class_names, blank.multilabel))
    facts, known, shapes, problems = [], Counter[bool](), [], []
    found: dict[str, list[tuple[str, int, bool, NDArray[np.float64]]]] = {}
    counts: Counter[str] = Counter(dict.fromkeys(blank.class_names, 0))
    for case in track(cases, "Plan", len(cases), show):
        volumes: dict[str, float] = {}
        try:
            if blank.task == "segmentation":
                study, mask = read_case(case, blank)
                labels = np.bincount(mask.array.ravel(), minlength=blank.outputs)[1:]
                for name, count in zip(blank.class_names, labels.tolist(), strict=True):
                    counts[name] += bool(count)
                    if count:
                        volumes[name] = count * voxel_mm3(mask.affine) / 1000.0  # mm³ → ml
            else:
                study, mask = read_images(case, blank), None
                counts.update(names_of(case.label, blank.multilabel))
            check_channels(study.volumes)
        except MedvisionError as error:
            problems.append(name_case(case, error))
            continue
        reference = laid_flat(next(iter(study.volumes.values())), blank)
        facts.append(replace(facts_of(reference, blank), volumes_ml=volumes))
        shapes.append(facts[-1].shape)
        known[reference.info.spacing_known] += 1
        for name, volume in study.volumes.items():
            found.setdefault(name, []).append(
                (
                    volume.info.modality or modality,
                    volume.array.shape[0],
                    volume.array.dtype == np.uint8 and not volume.info.spacing_known,
                    sample(volume, mask),
                )
            )
    refuse(problems)
    if len(known) > 1:
        raise CasesError(
            f"{known[True]} cases have a voxel size and {known[False]} are pictures without one: "
            "train on one kind."
        )
    absent = [f"{name} (label {n})" for n, name in enumerate(counts, 1) if not counts[name]]
    if absent and blank.task == "segmentation":
        raise CasesError(f"No mask of the {len(cases)} cases holds {' or '.join(absent)}.")
    looks = {name: look_of(name, rows) for name, rows in found.items()}
    return Survey(
        facts=facts,
        looks=looks,
        spacing=np.array([f.spacing_mm for f in facts]),
        shape=np.array(shapes),
        spacing_known=bool(known[True]),
        counts=dict(counts),
    )


def check_channels(volumes: Mapping[str, Volume]) -> None:
    """Raise `CasesError` for an image that is neither gray nor color."""
    for name, volume in volumes.items():
        if len(volume.array) not in (1, 3):
            raise CasesError(
                f"{name} has {len(volume.array)} channels ({volume.info.channels or 'unnamed'}); "
                "an image has 1, or 3 of color. Write each to a file of its own: save_nifti."
            )


def sample(volume: Volume, mask: Volume | None) -> NDArray[np.float64]:
    """Return some finite voxels: of those inside the mask where there is one on the same grid."""
    values = volume.array
    if mask is not None and mask.shape == volume.shape:
        values = values[:, mask.array[0] > 0]
    flat = values.ravel()
    thinned = flat[:: max(1, flat.size // SAMPLES)].astype(np.float64)
    return thinned[np.isfinite(thinned)]


def look_of(name: str, rows: Sequence[tuple[str, int, bool, NDArray[np.float64]]]) -> Look:
    """Sum up one input of all cases."""
    modalities, channels, pictures, values = zip(*rows, strict=True)
    if len(set(channels)) > 1:
        kinds = ", ".join(f"{count} with {n}" for n, count in Counter(channels).items())
        raise CasesError(f"{name}: the cases differ in channels: {kinds}. Make them all gray.")
    return Look(set(modalities), int(channels[0]), all(pictures), np.concatenate(values))
