"""What a `ModelSpec` says, read to the letter, in the fewest lines: to hold engines against."""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from monai.inferers import sliding_window_inference

from medvision.cleanup import clean
from medvision.geometry import voxel_mm3
from medvision.models import build_model
from medvision.transforms import Grid, center_window, model_grid, resample


def scaled(image, rule):
    """The formulas of `Intensity`, on (C, I, J, K) float64."""
    at = image[image != 0] if rule.inside else image.ravel()
    if rule.rule == "window":
        middle, half = (rule.low + rule.high) / 2, (rule.high - rule.low) / 2
        return (image.clip(rule.low, rule.high) - middle) / half
    if rule.rule == "fixed":
        cut = image.clip(rule.low, rule.high) if rule.clip else image
        return (cut - rule.mean) / rule.std
    low, high = np.percentile(at, rule.percentiles)
    if rule.rule == "range":
        y = (image - low) / (high - low) * (rule.to[1] - rule.to[0]) + rule.to[0]
        return y.clip(*rule.to) if rule.clip else y
    cut = at.clip(low, high) if rule.clip else at
    y = ((image.clip(low, high) if rule.clip else image) - cut.mean()) / cut.std()
    return np.where(image != 0, y, 0) if rule.inside else y


def prepared(spec, volumes):
    """The network's image (1, C, I, J, K), its grid, and whether nothing was interpolated."""
    after = spec.sampling.scale == "after"
    grid, exact = model_grid(volumes[0], spec)
    channels = []
    for volume, one in zip(volumes, spec.inputs, strict=True):
        upright = volume.reoriented(spec.orientation)
        image = upright.array.astype(np.float64)
        image = image if after else scaled(image, one.intensity)
        image = torch.from_numpy(np.ascontiguousarray(image, np.float32))
        if not exact:
            image = resample(image, upright.affine, grid)
        if after:
            image = torch.from_numpy(scaled(image.double().numpy(), one.intensity)).float()
        channels.append(image)
    return torch.cat(channels)[None], grid, exact


def network(imported):
    """The network with its weights."""
    net = build_model(imported.spec)
    net.load_state_dict(imported.states[0])
    return net.eval()


@torch.inference_mode()
def scores_of(imported, volumes):
    """Probabilities of a classification's classes."""
    image, _, _ = prepared(imported.spec, volumes)
    logits = network(imported)(center_window(image[0], imported.spec.roi_size)[None])[0]
    return (logits.sigmoid() if imported.spec.multilabel else logits.softmax(dim=0)).tolist()


@torch.inference_mode()
def mask_of(imported, volumes):
    """Labels (I, J, K) on the grid of the first volume."""
    spec, source, net = imported.spec, volumes[0], network(imported)
    image, grid, exact = prepared(spec, volumes)
    pad = []
    for size, side in zip(image.shape[:1:-1], spec.roi_size[::-1], strict=True):
        missing = max(0, side - size)
        pad += [missing // 2, missing - missing // 2]
    zero = spec.sliding.beyond == "zero"
    padded = F.pad(image, pad, mode="constant" if zero else "replicate")
    logits = sliding_window_inference(
        padded,
        spec.roi_size,
        4,
        net,
        overlap=spec.overlap,
        mode=spec.sliding.blend,
        sigma_scale=spec.sliding.sigma,
    )[0]
    i, j, k = (slice(p, p + n) for p, n in zip(pad[-2::-2], image.shape[2:], strict=True))
    said = logits[:, i, j, k]
    if spec.sampling.back == "probabilities":
        said = said.sigmoid() if spec.regions else said.softmax(dim=0)
    if not exact:
        said = resample(said, grid.affine, Grid(source.shape, source.affine))
    half = 0.5 if spec.sampling.back == "probabilities" else 0.0
    if spec.regions:
        labels = torch.zeros(said.shape[1:], dtype=torch.uint8)
        for one, label in zip(said, spec.regions, strict=True):
            labels[one > half] = label
    else:
        labels = said.argmax(dim=0).to(torch.uint8)
    found = labels.numpy()
    if exact:
        back = source.reoriented(spec.orientation).with_array(found[None])
        found = back.reoriented(source.orientation).array[0]
    return clean(found, spec.class_names, spec.cleanup, voxel_mm3(source.affine) / 1000)
