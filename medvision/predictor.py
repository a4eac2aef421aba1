"""Prediction: Study in, Prediction out, on the grid of the reference (the model's first input).

Knows nothing of files: readers come before it, writers after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import ceil, prod
from pathlib import Path
from typing import TypeAlias, TypedDict, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from monai.inferers import sliding_window_inference
from numpy.typing import NDArray
from torch import Tensor, nn

from medvision.checkpoint import load_model
from medvision.cleanup import clean
from medvision.errors import SpecError
from medvision.fingerprint import unlike_training
from medvision.geometry import Box, box_slices, voxel_mm3
from medvision.models.text import TextEncoder
from medvision.prediction import Prediction
from medvision.report import report_for_model, split_sections
from medvision.spec import ModelSpec
from medvision.study import Study
from medvision.transforms import (
    Grid,
    block_around,
    center_window,
    invert,
    laid_flat,
    preprocess,
    warn_of_gaps,
)
from medvision.volume import Volume
from medvision.zoo import find_model

PLANES = 16  # that a 2D network looks at in one go

Region: TypeAlias = tuple[slice, slice, slice]
Step: TypeAlias = Callable[[float], None]  # told how much is done, 0 to 1


def ignore(share: float) -> None:
    """Take no notice of what is done."""


class Answer(TypedDict, total=False):
    """What the network said: a mask, or scores and perhaps those of each modality alone."""

    mask: Volume
    scores: dict[str, float]
    alone: dict[str, dict[str, float]]


class Predictor:
    """A loaded model.

    Parameters
    ----------
    model : nn.Module
    spec : ModelSpec
    device : torch.device or str
    """

    def __init__(self, model: nn.Module, spec: ModelSpec, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.spec = spec

    def predict(self, study: Study, box: Box | None = None, step: Step | None = None) -> Prediction:
        """Segment or classify one study.

        Parameters
        ----------
        study : Study
            A volume for each input of the spec, under its name; of a model with one input, any
            one volume. Its report, for a model that takes one; without it the image alone speaks.
        box : Box, optional
            Show the model this part of the scan alone (RAS mm). A mask still covers the whole
            scan.
        step : callable, optional
            Called with the share of the network's work that is done, 0 to 1, before it begins and
            after each batch of windows. What it raises ends the prediction: this is how a face
            shows progress, and cancels.

        Returns
        -------
        Prediction
            Its mask has the shape and affine of the reference, the scan of the first input; of a
            classification it has the probability of each class instead.

        Raises
        ------
        SpecError, GeometryError
            When the scans do not fit the model or each other, or the box not the reference.
        """
        volumes = self.spec.feed(study.volumes)
        known = all(volume.info.spacing_known for volume in volumes.values())
        if self.spec.spacing is not None and not known:
            raise SpecError(
                f"Study {study.case_id!r} is a picture without a known voxel size; "
                f"{self.spec.name} needs millimeters: give it a DICOM or NIfTI scan."
            )
        (first, volume), *others = volumes.items()
        i, j, k = (slice(0, n) for n in volume.shape)
        region = (i, j, k) if box is None else box_slices(volume.affine, volume.shape, box)
        shown = {first: volume.cropped(region), **dict(others)}
        gaps = warn_of_gaps(shown)
        if box is not None:  # intensities are scaled by what is seen, as in training
            seen = Grid(shown[first].shape, shown[first].affine)
            shown |= {name: block_around(other, seen) for name, other in others}
        warnings = [
            f"{name}: {note}" if others else note
            for name, one in volumes.items()
            for note in one.info.notes
        ]
        flat = {name: laid_flat(one, self.spec) for name, one in shown.items()}
        warnings += [*unlike_training(flat, self.spec), *gaps]
        if box is not None and box.space == "mni" and volume.info.space != "mni":
            warnings.append(
                "the box is meant for scans in MNI space, and this one does not say it is in it: "
                "give --box in its own RAS mm"
            )
        if not all(np.isfinite(one.array).all() for one in shown.values()):
            warnings.append("voxels that are not finite were set to the lowest value")
        report = self.report_of(study)
        warnings += self.doubts(study, report)
        prediction = Prediction(
            case_id=study.case_id,
            model=self.spec.name,
            class_names=self.spec.class_names,
            region=region,
            multilabel=self.spec.multilabel,
            codes=self.spec.codes,
            **self.answer(shown, volume, region, report, step or ignore),
        )
        cut = [s.name for s in prediction.measure() if s.touches_border]
        if cut:
            warnings.append(
                f"{' and '.join(cut)} at the edge of what the model was shown: "
                "part of it may lie outside"
            )
        return replace(prediction, warnings=tuple(warnings))

    def report_of(self, study: Study) -> str:
        """Return what the model sees of a study's report; empty when there is nothing."""
        text = self.spec.text
        return report_for_model(study.report, text.sections, text.masked) if text else ""

    def doubts(self, study: Study, report: str) -> list[str]:
        """Return why the report may not have been read as its writer meant it."""
        text = self.spec.text
        if text is None:
            return []
        if not study.report:
            return ["no report: the answer is from the image alone"]
        if not report:
            return [
                f"nothing of the report was read: the model takes {', '.join(text.sections)}, and "
                f"it has {', '.join(split_sections(study.report)) or 'no text'}"
            ]
        encoder = next(m for m in self.model.modules() if isinstance(m, TextEncoder))
        return encoder.doubts(report)

    def answer(
        self,
        shown: Mapping[str, Volume],
        scan: Volume,
        region: Region,
        report: str = "",
        step: Step = ignore,
    ) -> Answer:
        """Return the mask or the scores of a prediction."""
        step(0.0)
        if self.spec.task == "classification":
            return self.scores(shown, report)
        mask = np.zeros((1, *scan.shape), np.uint8)
        labels, spec = self.labels(shown, report, step), self.spec
        voxel_ml = voxel_mm3(scan.affine) / 1000.0  # mm³ → ml
        mask[0][region] = clean(labels, spec.class_names, spec.cleanup, voxel_ml)
        info = replace(scan.info, window=None, channels="")
        return {"mask": Volume(mask, scan.affine, info)}

    @torch.inference_mode()
    def labels(
        self, volumes: Mapping[str, Volume], report: str = "", step: Step | None = None
    ) -> NDArray[np.uint8]:
        """Return labels (I, J, K) uint8 on the grid of the reference."""
        prepared = preprocess(volumes, self.spec, self.device)
        return invert(self.logits(prepared.tensor, report, step), prepared)

    @torch.inference_mode()
    def scores(self, volumes: Mapping[str, Volume], report: str = "") -> Answer:
        """Return the probability of each class, looking through one window at the scan's center."""
        prepared = preprocess(volumes, self.spec, self.device)
        window = center_window(prepared.tensor, self.spec.roi_size)[None]
        if self.spec.text is None:
            return {"scores": self.shares(self.model(window))}
        image = self.shares(self.model(window, [""]))
        if not report:
            return {"scores": image, "alone": {"image": image}}
        unseen = torch.zeros(1, dtype=torch.bool, device=self.device)
        text = self.shares(self.model(window, [report], unseen))
        both = self.shares(self.model(window, [report]))
        return {"scores": both, "alone": {"image": image, "report": text}}

    def shares(self, logits: Tensor) -> dict[str, float]:
        """Return the probabilities that logits (1, N) stand for, by class."""
        numbers = logits[0].double()
        found = numbers.sigmoid() if self.spec.multilabel else numbers.softmax(dim=0)
        return dict(zip(self.spec.class_names, found.tolist(), strict=True))

    def logits(self, image: Tensor, report: str = "", step: Step | None = None) -> Tensor:
        """Return logits (N, I, J, K) of a preprocessed image (C, I, J, K), window by window."""
        pad: list[int] = []  # last axis first, as F.pad counts
        for size, side in zip(image.shape[:0:-1], self.spec.roi_size[::-1], strict=True):
            missing = max(0, side - size)
            pad += [missing // 2, missing - missing // 2]
        padded = F.pad(image[None], pad, mode="replicate")
        logits: Tensor = sliding_window_inference(
            padded,
            self.spec.roi_size,
            sw_batch_size=1 if self.spec.dims == 3 else PLANES,
            predictor=counted(self.windows(report), step or ignore, self.count(padded)),
            overlap=self.spec.overlap,
            mode="gaussian",
        )
        before = pad[-2::-2]  # i, j, k
        i, j, k = (slice(p, p + n) for p, n in zip(before, image.shape[1:], strict=True))
        return logits[0][:, i, j, k]

    def count(self, padded: Tensor) -> int:
        """Return how many windows `sliding_window_inference` looks through in (B, C, I, J, K)."""
        sides = zip(padded.shape[2:], self.spec.roi_size, strict=True)
        steps = [
            1
            if size == side
            else 1 + ceil((size - side) / max(1, int(side * (1 - self.spec.overlap))))
            for size, side in sides
        ]
        return prod(steps)

    def windows(self, report: str) -> Callable[[Tensor], Tensor]:
        """Return what turns windows (B, C, I, J, K) of one scan into logits."""
        if self.spec.text is None:
            return self.model
        return lambda windows: cast(Tensor, self.model(windows, [report] * len(windows)))


def counted(
    model: Callable[[Tensor], Tensor], step: Step, total: int
) -> Callable[[Tensor], Tensor]:
    """Return a model that tells `step` after each batch which share of `total` windows is done."""
    done = 0

    def look(windows: Tensor) -> Tensor:
        nonlocal done
        said = model(windows)
        done += len(windows)
        step(min(1.0, done / total))
        return said

    return look


def load_predictor(model: str | Path, device: str = "auto") -> Predictor:
    """Load a model by name or folder.

    Parameters
    ----------
    model : str or Path
        A bundled model's name (``"hippocampus"``) or a model folder.
    device : str
        ``"auto"`` (CUDA when there is one, else the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"``.

    Raises
    ------
    SpecError
        When there is no such model or device.
    """
    network, spec = load_model(find_model(model))
    return Predictor(network, spec, resolve_device(device))


def resolve_device(name: str) -> torch.device:
    """Return the device that a name stands for; one that is not there is a `SpecError`."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SpecError(f"Unknown device {name!r}. Choose from: auto, cpu, cuda, cuda:N.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SpecError(f"Device {name!r} is not here: {torch.cuda.device_count()} CUDA device(s).")
    return device
