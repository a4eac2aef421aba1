"""Preprocess and its inverse: a scan onto the model's grid, and logits back onto the scan's.

Both follow the `ModelSpec` alone. A scan that only differs from the model's grid by flips and
permuted axes is never interpolated. Of several inputs the first is the reference: it makes the
grid, and the others are sampled on it. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from medvision.errors import GeometryError, SpecError
from medvision.geometry import (
    Affine,
    check_affine,
    corners,
    obliquity_degrees,
    reorientation,
    reoriented_affine,
    resized_affine,
    to_voxel,
    to_world,
)
from medvision.spec import InputSpec, Intensity, ModelSpec
from medvision.volume import Volume, same_grid

SPACING_TOLERANCE = 0.02  # relative; closer than this a grid is taken as it is
MAX_SAMPLES = 4_000_000  # voxels that intensity statistics are taken from
SLAB = 32  # planes resampled at once, to bound the memory of coordinates
MIN_SIGMA = 0.2  # voxels; a narrower Gaussian changes nothing
PROBES = 48  # voxels a side that overlap is measured at
ENOUGH = 0.5  # share of the reference that an input must cover to pass in silence


@dataclass(frozen=True)
class Grid:
    """A place for voxels: shape (I, J, K) and affine to RAS mm."""

    shape: tuple[int, int, int]
    affine: Affine


@dataclass(frozen=True)
class Prepared:
    """A study as the network takes it.

    `tensor` is (C, I, J, K) float32 on `grid`, a channel an input; `source` is the grid of the
    reference, to return to; `exact` says that the two differ by flips and permutation alone.
    """

    tensor: Tensor
    grid: Grid
    source: Grid
    exact: bool


def preprocess(
    volumes: Mapping[str, Volume], spec: ModelSpec, device: torch.device | str = "cpu"
) -> Prepared:
    """Bring the inputs of one study onto the model's grid and intensity scale.

    Each is scaled on its own grid first. The reference, the first of `spec.inputs`, makes the
    model's grid; the others are sampled on it linearly, their borders repeated beyond them. What
    is finer than the model's grid is smoothed before it is sampled.

    Raises
    ------
    SpecError
        When an input is missing, empty of information (constant, or no finite voxel), has other
        channels than the model takes, or slices where a 2D classification wants a picture.
    GeometryError
        When an input lies outside the reference.
    """
    volumes = {name: laid_flat(volume, spec) for name, volume in spec.feed(volumes).items()}
    reference, *others = volumes.values()
    warn_of_gaps(volumes)  # for the error: who shows warnings asks for them
    grid, exact = model_grid(reference, spec)
    channels = []
    for one in spec.inputs:
        volume = volumes[one.name]
        upright = volume.reoriented(spec.orientation)
        array = np.ascontiguousarray(upright.array, dtype=np.float32)
        try:
            check_shape(volume, one, spec)
            scaled = scale_intensity(torch.from_numpy(array).to(device), one.intensity)
        except SpecError as error:
            raise SpecError(f"{one.name}: {error}" if others else str(error)) from None
        if not (exact and same_grid(volume, reference)):
            scaled = resample(antialias(scaled, upright.affine, grid), upright.affine, grid)
        channels.append(scaled)
    return Prepared(torch.cat(channels), grid, Grid(reference.shape, reference.affine), exact)


def laid_flat(volume: Volume, spec: ModelSpec) -> Volume:
    """Return a picture in the plane that a 2D classification looks at, its rows and columns kept.

    Where a picture lies in the patient is a guess (films coronal, DICOM without a place axial), and
    says nothing of what it shows; any other volume is returned as it is.
    """
    if spec.task != "classification" or spec.dims == 3 or volume.shape[2] != 1:
        return volume
    if volume.reoriented(spec.orientation).shape[2] == 1:
        return volume
    order, flips = reorientation(np.eye(4), spec.orientation)
    plane = reoriented_affine(np.eye(4), (1, 1, 1), order, flips) @ np.diag([*volume.spacing, 1.0])
    return replace(volume, affine=check_affine(plane))


def check_shape(volume: Volume, one: InputSpec, spec: ModelSpec) -> None:
    """Raise `SpecError` for a volume of other channels than the input's, or slices in excess."""
    found = volume.array.shape[0]
    if found != one.channels:
        takes = "one channel" if one.channels == 1 else "a color picture (RGB)"
        raise SpecError(
            f"The model takes {takes}; this image has {found} channel(s) "
            f"({volume.info.channels or 'unnamed'}). "
            "Write what is meant to a file of its own: save_nifti."
        )
    slices = volume.reoriented(spec.orientation).shape[2]
    if spec.task == "classification" and spec.dims == 2 and slices > 1:
        raise SpecError(
            f"The model takes one picture; this scan has {slices} slices along its third axis "
            f"({spec.orientation}). Cut the one that is meant out of it (--box)."
        )


def warn_of_gaps(volumes: Mapping[str, Volume]) -> list[str]:
    """Return a sentence for each volume that covers less than half of the first.

    Raises
    ------
    GeometryError
        When one covers nothing of it.
    """
    (first, reference), *others = volumes.items()
    warnings = []
    for name, volume in others:
        share = coverage(volume, Grid(reference.shape, reference.affine))
        if share == 0:
            raise GeometryError(
                f"{name} does not overlap {first}: {name} spans {span_mm(volume)} mm (RAS), "
                f"{first} {span_mm(reference)} mm. Are they of one visit, in one frame?"
            )
        if share < ENOUGH:
            warnings.append(f"{name} covers {share:.0%} of {first}: the rest repeats its border")
    return warnings


def coverage(volume: Volume, grid: Grid) -> float:
    """Return the share of `grid` that lies inside the volume, from at most 48³ of its voxels."""
    axes = [np.unique(np.linspace(0, n - 1, min(n, PROBES)).round()) for n in grid.shape]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    where = to_voxel(volume.affine, to_world(grid.affine, index))  # (V, 3)
    size = np.asarray(volume.shape)
    inside = ((where >= -0.5 - 1e-6) & (where <= size - 0.5 + 1e-6)).all(axis=1)
    return float(inside.mean())


def span_mm(volume: Volume) -> str:
    """Return the volume's bounds in RAS mm, as boxes are written."""
    world = to_world(volume.affine, corners(volume.shape))
    pairs = zip(world.min(axis=0), world.max(axis=0), strict=True)
    return ",".join(f"{low:.0f}:{high:.0f}" for low, high in pairs)


def block_around(volume: Volume, grid: Grid) -> Volume:
    """Return the smallest block of a volume that holds all it has of `grid`."""
    index = to_voxel(volume.affine, to_world(grid.affine, corners(grid.shape)))  # (8, 3)
    size = np.asarray(volume.shape)
    first = np.clip(np.floor(index.min(axis=0)), 0, size - 1).astype(int)
    last = np.clip(np.ceil(index.max(axis=0)), 0, size - 1).astype(int)
    return volume.cropped([slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True)])


def model_grid(volume: Volume, spec: ModelSpec) -> tuple[Grid, bool]:
    """Return the model's grid for a scan, and whether it needs no interpolation.

    A scan tilted by more than `spec.max_obliquity` gets a grid along the world's axes that holds
    it whole; any other keeps its own axes, resized to the model's spacing. A model without a
    spacing gets a grid of `spec.roi_size` around the scan's center.
    """
    if spec.spacing is None:
        return fitted_grid(volume.reoriented(spec.orientation), spec)
    spacing = np.asarray(spec.spacing)
    if obliquity_degrees(volume.affine) > spec.max_obliquity:
        world = to_world(volume.affine, corners(volume.shape))  # (8, 3) mm
        low, high = world.min(axis=0), world.max(axis=0)
        # An upright RAS grid of the model's spacing around the scan, then turned by the spec.
        order, flips = reorientation(np.eye(4), spec.orientation)
        ras_spacing = np.empty(3)
        ras_spacing[list(order)] = spacing
        count = np.maximum(np.ceil((high - low) / ras_spacing - 1e-3), 1).astype(int)
        ras = np.diag([*ras_spacing, 1.0])
        ras[:3, 3] = (low + high) / 2 - ras_spacing * (count - 1) / 2
        i, j, k = (int(count[o]) for o in order)
        affine = check_affine(reoriented_affine(ras, count.tolist(), order, flips))
        return Grid((i, j, k), affine), False
    upright = volume.reoriented(spec.orientation)
    ratio = np.asarray(upright.spacing) / spacing
    if np.abs(ratio - 1).max() <= SPACING_TOLERANCE:
        return Grid(upright.shape, upright.affine), True
    i, j, k = (max(1, round(n * float(r))) for n, r in zip(upright.shape, ratio, strict=True))
    affine = check_affine(resized_affine(upright.affine, upright.shape, (i, j, k)))
    return Grid((i, j, k), affine), False


def fitted_grid(upright: Volume, spec: ModelSpec) -> tuple[Grid, bool]:
    """Return the grid of `spec.roi_size` that shows a scan as `spec.fit` says, in square voxels.

    In 2D every plane of the scan is kept.
    """
    roi = np.array(spec.roi_size)
    spacing, shape = np.asarray(upright.spacing), np.asarray(upright.shape)
    steps = (shape * spacing / roi)[: spec.dims]
    step = np.full(3, steps.min() if spec.fit == "crop" else steps.max())
    if spec.dims == 2:
        roi[2], step[2] = shape[2], spacing[2]
    affine = np.eye(4)
    affine[:3, :3] = upright.affine[:3, :3] / spacing * step
    center = to_world(upright.affine, (shape - 1) / 2)
    affine[:3, 3] = center - affine[:3, :3] @ ((roi - 1) / 2)
    i, j, k = (int(n) for n in roi)
    exact = (i, j, k) == upright.shape and bool(np.allclose(step, spacing, rtol=1e-6))
    return Grid((i, j, k), upright.affine if exact else check_affine(affine)), exact


def antialias(image: Tensor, affine: Affine, grid: Grid) -> Tensor:
    """Smooth (C, I, J, K) voxels that are finer than those of `grid`, before they are sampled.

    A Gaussian whose width at half height makes up for the difference (Cardoso et al., MICCAI
    2015); a voxel that is as coarse as the grid's or coarser stays as it is.
    """
    step = np.linalg.inv(affine)[:3, :3] @ grid.affine[:3, :3]  # new index → old index
    factor = np.linalg.norm(step, axis=1)
    sigmas = np.sqrt(np.maximum(factor**2 - 1, 0)) / (2 * np.sqrt(2 * np.log(2)))
    return gaussian_blur(image, [float(s) if s > MIN_SIGMA else 0.0 for s in sigmas])


def gaussian_blur(image: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Blur (C, I, J, K) by a Gaussian of `sigmas` voxels along I, J, K, borders repeated."""
    for axis, sigma in enumerate(sigmas):
        if sigma <= 0 or image.shape[1 + axis] == 1:
            continue
        reach = max(1, round(3 * sigma))
        weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
        shape, pad = [1, 1, 1, 1, 1], [0] * 6
        shape[2 + axis] = len(weights)
        pad[2 * (2 - axis)] = pad[2 * (2 - axis) + 1] = reach
        padded = F.pad(image[:, None], pad, mode="replicate")
        weights = (weights / weights.sum()).reshape(shape).to(image.device)
        image = F.conv3d(padded, weights)[:, 0]
    return image


def center_window(image: Tensor, roi_size: Sequence[int]) -> Tensor:
    """Return the window of `roi_size` at the center of (C, I, J, K), borders repeated beyond."""
    for axis, side in enumerate(roi_size, start=1):
        start = (image.shape[axis] - side) // 2
        index = torch.arange(start, start + side, device=image.device)
        image = image.index_select(axis, index.clamp(0, image.shape[axis] - 1))
    return image


def scale_intensity(image: Tensor, rule: Intensity) -> Tensor:
    """Return the image on the network's intensity scale; voxels that are not finite get the lowest.

    Statistics are taken in float64 from an even sample of at most four million voxels.
    """
    step = max(1, round((image.numel() / MAX_SAMPLES) ** (1 / 3)))
    sample = image[..., ::step, ::step, ::step].cpu().numpy().astype(np.float64).ravel()
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        raise SpecError("The image has no finite voxel.")
    if rule.rule == "window":
        low, high = rule.low, rule.high
        center, width = (low + high) / 2, (high - low) / 2
    else:
        low, high = np.percentile(sample, rule.percentiles)
        clipped = sample.clip(low, high)
        center, width = clipped.mean(), clipped.std()
        if not width > 0:
            raise SpecError(f"The image is constant ({low:g} everywhere): nothing to look at.")
    image = torch.nan_to_num(image, nan=float(low), posinf=float(high), neginf=float(low))
    return (image.clamp(float(low), float(high)) - float(center)) / float(width)


def resample(image: Tensor, affine: Affine, grid: Grid) -> Tensor:
    """Sample (C, I, J, K) voxels with `affine` linearly at the voxels of `grid`.

    Beyond the image its border is repeated.
    """
    step = torch.from_numpy(np.linalg.inv(affine) @ grid.affine)  # new index → old index
    sizes = torch.tensor(image.shape[1:], dtype=torch.float64)
    # grid_sample counts from -1 to 1 over a side, edges included
    step = torch.cat(
        [(2 * step[:3, :3]) / sizes[:, None], ((2 * step[:3, 3] + 1) / sizes - 1)[:, None]], dim=1
    )  # (3, 4)
    i, j, k = grid.shape
    slabs = []
    for start in range(0, i, SLAB):
        axes = [torch.arange(start, min(start + SLAB, i)), torch.arange(j), torch.arange(k)]
        index = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).double()
        where = (index @ step[:, :3].T + step[:, 3]).flip(-1)  # (i, j, k, 3) in x, y, z order
        slabs.append(sample_at(image[None], where[None].to(image.device, image.dtype))[0])
    return torch.cat(slabs, dim=1)


def sample_at(images: Tensor, where: Tensor) -> Tensor:
    """Sample (B, C, I, J, K) linearly at (B, i, j, k, 3), in −1…1 and K, J, I order."""
    return F.grid_sample(images, where, "bilinear", padding_mode="border", align_corners=False)


def invert(logits: Tensor, prepared: Prepared) -> NDArray[np.uint8]:
    """Bring logits (N, I, J, K) on the model's grid to labels (I, J, K) on the scan's own.

    Where interpolation is needed, class probabilities are interpolated, one class at a time, and
    the most probable class of each voxel is kept.
    """
    if prepared.exact:
        labels = logits.argmax(dim=0).to(torch.uint8).cpu().numpy()
        return to_source_axes(labels, prepared)
    probabilities = logits.float().softmax(dim=0)
    best = torch.full(prepared.source.shape, -1.0, device=logits.device)
    labels_at = torch.zeros(prepared.source.shape, dtype=torch.uint8, device=logits.device)
    for label in range(logits.shape[0]):
        one = resample(probabilities[label : label + 1], prepared.grid.affine, prepared.source)[0]
        better = one > best
        best[better] = one[better]
        labels_at[better] = label
    return labels_at.cpu().numpy()


def to_source_axes(labels: NDArray[np.uint8], prepared: Prepared) -> NDArray[np.uint8]:
    """Undo the flips and permutation of an exact grid."""
    wanted = Volume(np.empty((1, *prepared.source.shape), np.uint8), prepared.source.affine)
    turned = Volume(labels[None], prepared.grid.affine).reoriented(wanted.orientation)
    return np.ascontiguousarray(turned.array[0])
