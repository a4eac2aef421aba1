"""Explaining a classification: Study in, Explanation out, its heat on the grid of the reference.

The image's part is Grad-CAM (Selvaraju et al., ICCV 2017), Grad-CAM++ (Chattopadhay et al., WACV
2018) or `medvision.occlusion`, the words' integrated gradients: see `medvision.attribution`.
Knows nothing of files and pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medvision.attribution import Reading, log_odds, read_report, say
from medvision.errors import SpecError
from medvision.explanation import CAMS, HEATS, Explanation
from medvision.geometry import Box, corners, to_voxel, to_world
from medvision.models.joint import FusionClassifier, image_tokens
from medvision.models.network import Classifier, flatten, members_of
from medvision.occlusion import occlusion_map
from medvision.prediction import Prediction
from medvision.predictor import Predictor
from medvision.report import split_sections
from medvision.spec import ModelSpec
from medvision.study import Study
from medvision.transforms import (
    Grid,
    Prepared,
    block_around,
    center_window,
    preprocess,
    resample,
)
from medvision.volume import Volume

Member: TypeAlias = Classifier | FusionClassifier

EDGE = 0.5 + 1e-3  # voxels from the middle of the outermost to where the window ends


def explain(
    predictor: Predictor,
    study: Study,
    class_name: str | None = None,
    *,
    box: Box | None = None,
    stage: int = -1,
    method: str = "grad-cam",
    patch: int | None = None,
    stride: int | None = None,
    show: bool = False,
) -> Explanation:
    """Tell what in a study speaks for a class.

    Grad-CAM is the network's map, its channels weighted by the mean slope of the class's log odds,
    where their sum is positive, over its highest value. An ensemble's maps are one map with the
    channels of all. Grad-CAM++ weights slopes by how much their places give, so that several
    places, and small ones, come forth alike. Occlusion hides patches one by one, and sees what the
    network then says; it takes an answer a patch, and any network. The heat says where the network
    looked, not whether it was right, and no more finely than its map or patches; what the image
    says by itself is in `Prediction.alone`.

    Parameters
    ----------
    predictor : Predictor
        Of a classification, with reports or without.
    study : Study
        As for `Predictor.predict`.
    class_name : str, optional
        Default: the likeliest.
    box : Box, optional
        As for `Predictor.predict`.
    stage : int
        Which of the encoder's maps to take, the finest being 0; by default the deepest.
    method : {"grad-cam", "grad-cam++", "occlusion"}
    patch, stride : int, optional
        Of occlusion, in voxels of the model's grid: see `medvision.occlusion.occlusion_map`.
    show : bool
        Show a progress bar, of occlusion.

    Raises
    ------
    SpecError, GeometryError
        For a segmentation, an unknown class, stage or method, and as `Predictor.predict`.
    """
    spec = predictor.spec
    if spec.task != "classification":
        raise SpecError(
            f"{spec.name} segments: its mask shows what it found. Explained is a class."
        )
    if method not in HEATS:
        raise SpecError(f"Unknown method {method!r}. Choose from: {', '.join(HEATS)}.")
    if method in CAMS and (patch or stride):
        raise SpecError(f"Patches are of occlusion; {method} has none.")
    if class_name is not None and class_name not in spec.class_names:
        raise SpecError(
            f"{spec.name} has no class {class_name!r}. Choose from: {', '.join(spec.class_names)}."
        )
    volume = next(iter(spec.feed(study.volumes).values()))
    heat = np.full(volume.shape, np.nan, np.float32)
    with for_gradients(predictor.model) as model:
        reads = method in CAMS or spec.text is not None
        members = explained_of(model, spec, stage) if reads else []
        prediction = predictor.predict(study, box)
        name = class_name or cast(str, prediction.likeliest)
        number, report = spec.class_names.index(name), predictor.report_of(study)
        prepared = preprocess(shown(study, prediction, spec, box), spec, predictor.device)
        window = center_window(prepared.tensor, spec.roi_size)[None]
        if method in CAMS:
            cam, images = class_map(members, window, report, spec, number, stage, method)
            block, cells = members[0].encoder.strides[stage], tuple(cam.shape)
        else:
            images = tokens_of(members, window) if report else []
            ask = predictor.execution.consensus(prepared.tensor)

            @torch.no_grad()
            def odds(shown: Tensor) -> Tensor:
                said = ask(shown, [report] * len(shown)) if spec.text is not None else ask(shown)
                return log_odds([said], number, spec.multilabel)

            cam, cells = occlusion_map(odds, window, patch, stride, show)
            block = (1,) * spec.dims
        heat[prediction.region] = on_scan(cam, block, prepared, spec.roi_size)
        fusion = cast(Sequence[FusionClassifier], members)
        reading = read_report(fusion, images, report, spec, number) if report else Reading()
    warnings = [*prediction.warnings, *reading.warnings]
    if not cam.any():
        warnings.append(f"nothing in the image speaks for {name}: the heat is 0 everywhere")
    elif peak_beyond(cam, block, prepared, spec.roi_size):
        warnings.append(
            f"what speaks most for {name} lies beyond the scan, where its border is repeated"
        )
    sections = split_sections(study.report) if spec.text and study.report else {}
    kept = spec.text.sections if spec.text else ()
    return Explanation(
        prediction=prediction,
        class_name=name,
        scan=volume,
        heat=Volume(heat[None], volume.affine, replace(volume.info, window=None, channels="")),
        cells=cells,
        method=method,
        text=report,
        words=reading.words,
        hidden={title: text for title, text in sections.items() if title not in kept},
        odds=reading.odds,
        gates=reading.gates,
        warnings=tuple(warnings),
    )


@contextmanager
def for_gradients(model: nn.Module) -> Iterator[nn.Module]:
    """Yield a model in eval mode, with gradients, whatever the caller's modes; both come back.

    A copy where its weights were made in inference mode: they cannot have gradients.
    """
    with torch.inference_mode(False), torch.enable_grad():
        if any(weight.is_inference() for weight in model.parameters()):
            model = deepcopy(model)
        modes = [(module, module.training) for module in model.modules()]
        model.eval()
        try:
            yield model
        finally:
            for module, training in modes:
                module.training = training


def explained_of(model: nn.Module, spec: ModelSpec, stage: int) -> list[Member]:
    """Return the networks of a model; a `SpecError` for one without maps, or without this one."""
    members = members_of(model)
    if not all(isinstance(one, Member) for one in members):
        raise SpecError(
            f"{spec.name} is explained by no map: {type(members[0]).__name__} has none."
        )
    count = len(cast(Member, members[0]).encoder.strides)
    if not -count <= stage < count:
        raise SpecError(f"{spec.name} has {count} maps, from 0 on; found stage {stage}.")
    return cast(list[Member], members)


def shown(
    study: Study, prediction: Prediction, spec: ModelSpec, box: Box | None
) -> dict[str, Volume]:
    """Return what the model was shown, as `Predictor.predict` does."""
    (first, volume), *others = spec.feed(study.volumes).items()
    part = volume.cropped(prediction.region)
    seen = Grid(part.shape, part.affine)
    return {first: part} | {
        name: other if box is None else block_around(other, seen) for name, other in others
    }


def class_map(
    members: Sequence[Member],
    window: Tensor,
    report: str,
    spec: ModelSpec,
    number: int,
    stage: int,
    method: str = "grad-cam",
) -> tuple[Tensor, list[Tensor]]:
    """Return Grad-CAM's map (I, J[, K]), 0 to 1, and the image's tokens (1, S, D) by member.

    Parameters
    ----------
    members : sequence of Classifier or FusionClassifier
    window : Tensor, (1, C, I, J, K)
    report : str
        As the model sees it; empty for none.
    spec : ModelSpec
    number, stage : int
        Of the class, and of the map.
    method : {"grad-cam", "grad-cam++"}
    """
    window = window.clone().requires_grad_()  # frozen encoders have slopes, too
    maps, logits, images = [], [], []
    for member in members:
        pyramid = member.encoder(flatten(window, member.dims))
        maps.append(pyramid[stage])
        if isinstance(member, FusionClassifier):
            tokens = image_tokens(pyramid[-1])
            images.append(tokens.detach())
            logits.append(say(member, tokens, report).logits)
        else:
            logits.append(member.head(pyramid[-1].flatten(2).mean(dim=2)))
    slopes = torch.autograd.grad(
        log_odds(logits, number, spec.multilabel).sum(), maps, allow_unused=True
    )
    if any(slope is None for slope in slopes):
        raise SpecError(f"The answer does not come by way of map {stage}: choose another stage.")
    total = torch.zeros_like(maps[0][0, 0])
    for slope, one in zip(slopes, maps, strict=True):
        weights = weights_of(slope[0], one[0].detach(), method)  # (C,)
        total = total + torch.tensordot(weights, one[0].detach(), dims=1)
    total = total.relu()
    return total / total.max().clamp_min(torch.finfo(total.dtype).tiny), images


def weights_of(slope: Tensor, one: Tensor, method: str) -> Tensor:
    """Return the weights (C,) of a map's channels from slopes and values (C, I, J[, K]).

    Of Grad-CAM++ (equations 10 and 19 there, of the exponential of the class's log odds; its value
    is a factor of all, and is left out).
    """
    slope, one = slope.flatten(1), one.flatten(1)  # (C, S)
    if method == "grad-cam":
        return slope.mean(dim=1)
    squared = slope**2
    below = 2 * squared + one.sum(dim=1, keepdim=True) * slope**3
    share = squared / torch.where(below == 0, torch.ones_like(below), below)
    return (share * slope.relu()).sum(dim=1)


@torch.no_grad()
def tokens_of(members: Sequence[Member], window: Tensor) -> list[Tensor]:
    """Return the tokens (1, S, D) of an image by member."""
    return [image_tokens(one.encoder(flatten(window, one.dims))[-1]) for one in members]


def on_scan(
    cam: Tensor, stride: Sequence[int], prepared: Prepared, roi_size: Sequence[int]
) -> NDArray[np.float32]:
    """Bring a map (I, J[, K]) of the window at the scan's center onto the grid of the scan.

    Each of its voxels stands for a block of `stride` voxels, whose middle has its value; between
    them it is interpolated linearly. NaN outside the window.
    """
    side, start = np.array(roi_size), start_of(prepared, roi_size)
    steps = np.array([*stride, 1][:3])
    block = np.diag([*steps, 1.0])
    block[:3, 3] = start + (steps - 1) / 2
    map_3d = cam.reshape(1, *cam.shape, *[1] * (3 - cam.ndim)).float()
    heat = resample(map_3d, prepared.grid.affine @ block, prepared.source)[0].cpu().numpy()
    low = np.maximum(start, 0) - EDGE
    high = np.minimum(start + side, prepared.grid.shape) - 1 + EDGE
    step = np.linalg.inv(prepared.grid.affine) @ prepared.source.affine
    i, j, k = np.ogrid[tuple(slice(n) for n in heat.shape)]
    for row, first, last in zip(step[:3].astype(np.float32), low, high, strict=True):
        place = row[0] * i + row[1] * j + row[2] * k + row[3]  # along one of the model's axes
        heat[(place < first) | (place > last)] = np.nan
    return heat


def start_of(prepared: Prepared, roi_size: Sequence[int]) -> NDArray[np.int64]:
    """Return the voxel (3,) of the model's grid where `center_window` begins."""
    return np.asarray((np.array(prepared.grid.shape) - np.array(roi_size)) // 2)


def peak_beyond(
    cam: Tensor, stride: Sequence[int], prepared: Prepared, roi_size: Sequence[int]
) -> bool:
    """Tell whether most of a map's highest block lies outside the scan, which was padded there."""
    ends = to_world(prepared.source.affine, corners(prepared.source.shape))
    inside = to_voxel(prepared.grid.affine, ends)  # (8, 3)
    peak = np.array([*np.unravel_index(int(cam.argmax()), tuple(cam.shape)), 0][:3])
    side, start = np.array(roi_size), start_of(prepared, roi_size)
    low = peak * [*stride, 1][:3]  # in the window, as is `high`
    high = np.minimum(low + [*stride, 1][:3], side)
    first, last = (edge - start + 0.5 for edge in (inside.min(axis=0), inside.max(axis=0)))
    shared = np.minimum(high, last) - np.maximum(low, first)
    return bool((shared < (high - low) / 2).any())
