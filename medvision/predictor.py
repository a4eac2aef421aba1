"""Prediction: Study in, Prediction out, on the grid of the reference (the model's first input).

Knows nothing of formats: a path is read by `read_study`, writers come after.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from medvision.answer import Answer, Ready, Scores, sureness
from medvision.auto_runtime import check_case
from medvision.checkpoint import load_model, model_hash
from medvision.cleanup import clean
from medvision.collect import collect
from medvision.consensus import Consensus
from medvision.errors import SpecError
from medvision.execution import AUTO, Execution
from medvision.fingerprint import unlike_in_volume, unlike_training
from medvision.geometry import Box, box_slices, voxel_mm3
from medvision.io import read_study
from medvision.memory import Load, check_window, way_to_keep, windows_of
from medvision.models.network import members_of
from medvision.models.text import TextEncoder
from medvision.prediction import Prediction
from medvision.report import report_for_model, split_sections
from medvision.review import doubts_of
from medvision.runtime import EAGER
from medvision.sliding import PLANES, Keep, Step, slide
from medvision.spec import ModelSpec
from medvision.study import Study
from medvision.transforms import (
    Grid,
    block_around,
    center_window,
    laid_flat,
    preprocess,
    warn_of_gaps,
)
from medvision.volume import Volume
from medvision.zoo import find_model


def ignore(share: float) -> None:
    """Take no notice of what is done."""


class Predictor:
    """A loaded model.

    Parameters
    ----------
    model : nn.Module
    spec : ModelSpec
    device : torch.device or str
    tta : bool
        Test-time augmentation: ask again of each mirror image that the spec allows
        (``spec.sliding.mirror``), and average.
    uncertainty : bool
        Whether segmentations come with a map of their entropy.
    runtime : str
        How the networks are executed: a name of `medvision.runtime`, or ``"auto"`` for the fastest
        here that changes no mask (see `medvision.execution`), found with the first scan unless one
        was shown to ``execution.judge`` before.
    key : str
        The model's hash, under which what ``"auto"`` finds is kept; empty keeps nothing.
    show : bool
        Whether what ``"auto"`` finds is said on standard error.
    max_ram : float, optional
        Bytes that the process may take in memory. Where they are too few, sums of answers are
        kept in half precision, then on the disk; else the scan is refused before it begins.
    """

    def __init__(
        self,
        model: nn.Module,
        spec: ModelSpec,
        device: torch.device | str,
        *,
        runtime: str = EAGER,
        tta: bool = False,
        uncertainty: bool = False,
        max_ram: float | None = None,
        key: str = "",
        show: bool = True,
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.spec = spec
        self.tta, self.uncertainty, self.max_ram = tta, uncertainty, max_ram
        mirror = spec.sliding.mirror if tta else ()
        members = members_of(self.model)
        self.execution = Execution(members, spec, self.device, runtime, mirror, key, show)
        batch = 1 if spec.dims == 3 else PLANES
        answers = len(members) * 2 ** len(mirror)
        self.load = Load(spec, members, self.device, answers, batch, uncertainty)

    def __repr__(self) -> str:
        """On one line, as notebooks show it."""
        names = ", ".join(self.spec.class_names)
        return f"Predictor({self.spec.name}: {self.spec.task} of {names}; {self.device})"

    def predict(
        self, study: Study | Volume | str | Path, box: Box | None = None, step: Step | None = None
    ) -> Prediction:
        """Segment or classify one study.

        Parameters
        ----------
        study : Study, Volume, str or Path
            A volume for each input of the spec, under its name; of a model with one input, any
            one volume. Its report, for a model that takes one; without it the image alone speaks.
            A path is read as `read_study` does for the spec's inputs.
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
            When the scans do not fit the model or each other, or the box not the reference; when
            the network's answers are not those of the spec.
        MemoryNeeded
            When it would take more than `max_ram`.
        """
        ready = self.prepare(study_of(study, self.spec), box)
        return self.finish(ready, self.look(ready, step))

    @torch.inference_mode()
    def prepare(self, study: Study, box: Box | None = None) -> Ready:
        """Do what comes before the network: the first of the three steps of `predict`."""
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
        warnings += gaps
        if box is not None and box.space == "mni" and volume.info.space != "mni":
            warnings.append(
                "the box is meant for scans in MNI space, and this one does not say it is in it: "
                "give --box in its own RAS mm"
            )
        if not all(np.isfinite(one.array).all() for one in shown.values()):
            warnings.append("voxels that are not finite were set to the lowest value")
        report = self.report_of(study)
        warnings += self.doubts(study, report)
        keep: Keep = "full"
        if self.spec.task == "segmentation":
            keep = way_to_keep(self.max_ram, self.load, flat[first], study.case_id)
        else:
            check_window(self.max_ram, self.load, flat[first], study.case_id)
        if keep != "full":
            warnings.append("for want of memory, sums of answers were kept in half precision")
        prepared = preprocess(shown, self.spec, self.device)
        unlike = tuple(unlike_training(flat, self.spec))
        return Ready(study.case_id, volume, region, prepared, report, tuple(warnings), unlike, keep)

    @torch.inference_mode()
    def look(self, ready: Ready, step: Step | None = None) -> Answer:
        """Ask the network: the second step of `predict`; the answer is on the shown part's grid."""
        step = step or ignore
        step(0.0)
        image, report = ready.prepared.tensor, ready.report
        ask = self.execution.consensus(image)
        if self.spec.task == "classification":
            return self.scores(ask, image, report)
        windows = windows_of(self.spec, ready.prepared.grid)
        blocks = slide(
            image,
            ask if self.spec.text is None else lambda w: ask(w, [report] * len(w)),
            windows,
            self.spec.sliding,
            batch=self.load.batch,
            step=step,
            keep=ready.keep,
            home=self.load.home(ready.prepared.grid, ready.prepared.exact),
        )
        return Answer(
            collect(blocks, ready.prepared, self.spec, windows.order[0], self.uncertainty)
        )

    def finish(self, ready: Ready, answer: Answer) -> Prediction:
        """Do what comes after the network: the last step of `predict`."""
        spec, scan = self.spec, ready.scan
        mask = entropy = None
        confidence: dict[str, float] = {}
        if answer.found is not None:
            found, info = answer.found, replace(scan.info, window=None, channels="")
            labels = np.zeros((1, *scan.shape), np.uint8)
            voxel_ml = voxel_mm3(scan.affine) / 1000.0  # mm³ → ml
            labels[0][ready.region] = clean(found.labels, spec.class_names, spec.cleanup, voxel_ml)
            mask = Volume(labels, scan.affine, info)
            confidence = {spec.class_names[n - 1]: c for n, c in found.confidence.items()}
            if found.entropy is not None:
                spread = np.zeros((1, *scan.shape), np.float16)
                spread[0][ready.region] = found.entropy
                entropy = Volume(spread, scan.affine, replace(info, labels=()))
        elif answer.scores is not None:
            confidence = sureness(answer.scores, spec.multilabel)
        prediction = Prediction(
            case_id=ready.case_id,
            model=spec.name,
            class_names=spec.class_names,
            region=ready.region,
            mask=mask,
            scores=answer.scores,
            alone=answer.alone,
            multilabel=spec.multilabel,
            codes=spec.codes,
            confidence=confidence,
            review=spec.review,
            calibration=spec.calibration,
            uncertainty=entropy,
        )
        structures = prediction.measure()
        if mask is not None:  # what cleaning took away, or another region covers, was not found
            there = {one.name for one in structures if one.voxels}
            confidence = {name: sure for name, sure in confidence.items() if name in there}
        strange = unlike_in_volume(structures, spec.fingerprint)
        prediction = prediction.saying(confidence=confidence, unlike=(*ready.unlike, *strange))
        warnings = [*doubts_of(prediction), *ready.warnings]
        cut = [s.name for s in structures if s.touches_border]
        if cut:
            warnings.append(
                f"{' and '.join(cut)} at the edge of what the model was shown: "
                "part of it may lie outside"
            )
        return prediction.saying(warnings=tuple(warnings))

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

    def scores(self, ask: Consensus, image: Tensor, report: str = "") -> Answer:
        """Return the probability of each class, looking through one window at the scan's center."""
        window = center_window(image, self.spec.roi_size)[None]
        if self.spec.text is None:
            return Answer(scores=self.shares(ask(window)))
        alone = self.shares(ask(window, [""]))
        if not report:
            return Answer(scores=alone, alone={"image": alone})
        unseen = torch.zeros(1, dtype=torch.bool, device=self.device)
        text = self.shares(ask(window, [report], unseen))
        both = self.shares(ask(window, [report]))
        return Answer(scores=both, alone={"image": alone, "report": text})

    def shares(self, logits: Tensor) -> Scores:
        """Return the calibrated probabilities that logits (1, N) stand for, by class."""
        numbers = logits[0].double()
        if self.spec.calibration is not None:
            numbers = numbers / self.spec.calibration.temperature
        found = numbers.sigmoid() if self.spec.multilabel else numbers.softmax(dim=0)
        return dict(zip(self.spec.class_names, found.tolist(), strict=True))


def study_of(scan: Study | Volume | str | Path, spec: ModelSpec) -> Study:
    """Return a study of what a caller has at hand."""
    if isinstance(scan, Study):
        return scan
    if isinstance(scan, Volume):
        return Study("scan", {"image": scan})
    if isinstance(scan, str | Path):
        return read_study(scan, inputs=spec.inputs)
    raise SpecError(
        f"A Study, a Volume or a path can be predicted; found {type(scan).__name__}. Voxels become "
        "a scan by Volume(array (C, I, J, K), affine to RAS mm)."
    )


def load_predictor(
    model: str | Path,
    device: str = "auto",
    *,
    runtime: str = EAGER,
    tta: bool = False,
    uncertainty: bool = False,
    max_ram: float | None = None,
    show: bool = True,
) -> Predictor:
    """Load a model by name or folder.

    Parameters
    ----------
    model : str or Path
        A bundled model's name (``"hippocampus"``) or a model folder.
    device : str
        ``"auto"`` (CUDA when there is one, else the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
    runtime, tta, uncertainty, max_ram, show
        See `Predictor`. Where the model folder has a scan to judge runtimes by, ``"auto"`` does so
        at once.

    Raises
    ------
    SpecError
        When there is no such model or device.
    """
    folder = find_model(model)
    network, spec = load_model(folder)
    predictor = Predictor(
        network,
        spec,
        resolve_device(device),
        runtime=runtime,
        tta=tta,
        uncertainty=uncertainty,
        max_ram=max_ram,
        key=model_hash(folder) if runtime == AUTO else "",
        show=show,
    )
    alone = spec.text is None and len(spec.inputs) == 1
    case = check_case(folder) if runtime == AUTO and alone else None
    if case is not None:
        prepared = preprocess({spec.input_names[0]: case}, spec, predictor.device)
        predictor.execution.judge(prepared.tensor, "the model's check case")
    return predictor


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
