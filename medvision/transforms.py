"""Preprocess: a scan onto the model's grid; `medvision.collect` brings the answer back.

Both follow the `ModelSpec` alone. A scan that only differs from the model's grid by flips and
permuted axes is never interpolated. Of several inputs the first is the reference: it makes the
grid, and the others are sampled on it. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
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
    spacing_of,
    to_voxel,
    to_world,
)
from medvision.inference_spec import Sampling, thick_axis
from medvision.intensity import box_of, filled_mask, scale_intensity
from medvision.resize import gaussian_blur, resize
from medvision.room import available, check_grid
from medvision.spec import InputSpec, ModelSpec
from medvision.volume import Volume, same_grid

SPACING_TOLERANCE = 0.02  # relative; closer than this a grid is taken as it is
SAME = 1e-3  # relative; closer than this, of models that say how they sample
SLAB = 1 << 19  # voxels resampled at once, to bound the memory of coordinates
MIN_SIGMA = 0.2  # voxels; a narrower Gaussian changes nothing
PROBES = 48  # voxels a side that overlap is measured at
ENOUGH = 0.5  # share of the reference that an input must cover to pass in silence

Region: TypeAlias = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Grid:
    """A place for voxels: shape (I, J, K) and affine to RAS mm."""

    shape: tuple[int, int, int]
    affine: Affine


@dataclass(frozen=True)
class Prepared:
    """A study as the network takes it.

    Parameters
    ----------
    tensor : Tensor, (C, I, J, K)
        Float32, on `grid`, a channel an input.
    grid : Grid
    source : Grid
        Of the reference, to return to.
    exact : bool
        Whether `grid` and what was seen of `source` differ by flips and permutation alone.
    region : three slices, optional
        The block of `source` that was seen, when the rest was cropped; None for all.
    """

    tensor: Tensor
    grid: Grid
    source: Grid
    exact: bool
    region: Region | None = None

    @property
    def seen(self) -> Grid:
        """The part of `source` that was seen, on the axes of `source`."""
        if self.region is None:
            return self.source
        affine = self.source.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ [one.start for one in self.region]
        i, j, k = (one.stop - one.start for one in self.region)
        return Grid((i, j, k), check_affine(affine))


def preprocess(
    volumes: Mapping[str, Volume], spec: ModelSpec, device: torch.device | str = "cpu"
) -> Prepared:
    """Bring the inputs of one study onto the model's grid and intensity scale.

    Each is scaled on its own grid first, or last where the spec says so. The reference, the first
    of `spec.inputs`, makes the model's grid; the others are sampled on it linearly, their borders
    repeated beyond them. How is in `spec.sampling`. Where what is 0 in all inputs counts, those
    that lie on other grids are brought to the reference's before all else.

    Raises
    ------
    SpecError
        When an input is missing, empty of information (constant, or no finite voxel), has other
        channels than the model takes, or slices where a 2D classification wants a picture.
    GeometryError
        When an input lies outside the reference.
    """
    volumes = {name: laid_flat(volume, spec) for name, volume in spec.feed(volumes).items()}
    reference = seen = volumes[spec.inputs[0].name]
    warn_of_gaps(volumes)  # for the error: who shows warnings asks for them
    region = filled = None
    if spec.sampling.crop or any(one.intensity.inside == "filled" for one in spec.inputs):
        for name, volume in volumes.items():
            volumes[name] = on_grid_of(reference, volume, device)
        mask = filled_mask(volume.array for volume in volumes.values())
        if spec.sampling.crop:
            region = box_of(mask)
            volumes = {name: volume.cropped(region) for name, volume in volumes.items()}
            seen, mask = reference.cropped(region), mask[region]
        turned = seen.with_array(mask).reoriented(spec.orientation)
        filled = torch.from_numpy(np.ascontiguousarray(turned.array[0]))
    grid, exact = model_grid(seen, spec, device)
    tensor, channel = torch.empty((spec.channels, *grid.shape), device=device), 0
    for one in spec.inputs:
        volume = volumes[one.name]
        upright = volume.reoriented(spec.orientation)
        array = np.ascontiguousarray(upright.array, dtype=np.float32)
        at_home = same_grid(volume, seen)
        late = spec.sampling.scale == "after" and not (exact and at_home)
        try:
            check_shape(volume, one, spec)
            image = torch.from_numpy(array).to(device)
            if late:
                scaled = lowest_for_others(image)
            else:
                scaled = scale_intensity(image, one.intensity, filled)
            del array, image
            if not (exact and at_home):
                scaled = sampled(scaled, upright.affine, grid, spec, at_home)
            if late:
                scaled = scale_intensity(scaled, one.intensity)
        except SpecError as error:
            several = len(spec.inputs) > 1
            raise SpecError(f"{one.name}: {error}" if several else str(error)) from None
        tensor[channel : channel + one.channels] = scaled
        channel += one.channels
    source = Grid(reference.shape, reference.affine)
    return Prepared(tensor, grid, source, exact, region)


def on_grid_of(reference: Volume, volume: Volume, device: torch.device | str) -> Volume:
    """Return a volume sampled linearly on the grid of another, itself where it lies on it."""
    if same_grid(volume, reference):
        return volume
    image = torch.from_numpy(np.ascontiguousarray(volume.array, dtype=np.float32)).to(device)
    grid = Grid(reference.shape, reference.affine)
    found = resample(antialias(image, volume.affine, grid), volume.affine, grid)
    return replace(volume, array=found.cpu().numpy(), affine=reference.affine)


def sampled(
    image: Tensor, affine: Affine, grid: Grid, spec: ModelSpec, at_home: bool = True
) -> Tensor:
    """Sample (C, I, J, K) voxels with `affine` on the model's grid, as `spec.sampling` says.

    Other than linearly only where the two grids share their axes; `at_home` says that they may.
    """
    how = spec.sampling
    if how.antialias:
        image = antialias(image, affine, grid)
    step = np.linalg.inv(affine)[:3, :3] @ grid.affine[:3, :3]  # new index → old index
    zooms = np.diag(step)
    lined_up = at_home and np.abs(step - np.diag(zooms)).max() < 1e-6 * np.abs(zooms).max()
    if spec.spacing is None or not lined_up or (how.order == 1 and not how.thick):
        return resample(image, affine, grid, how.order)
    sides = [float(mm) for mm in spacing_of(affine)]
    thick = thick_axis(sides, wanted_spacing(spec.spacing, sides), how.thick)
    return resize(image, grid.shape, how.order, how.ends, zooms.tolist(), thick)


def wanted_spacing(spacing: Sequence[float], own: Sequence[float]) -> list[float]:
    """Return a model's voxel size, with the scan's own where the model has none (0)."""
    return [mm or float(its) for mm, its in zip(spacing, own, strict=True)]


def lowest_for_others(image: Tensor) -> Tensor:
    """Return the image with its lowest value where voxels are not finite, if any are."""
    finite = image.isfinite()
    lowest = float(image[finite].min()) if finite.any() else 0.0
    return torch.nan_to_num(image, nan=lowest, posinf=lowest, neginf=lowest)


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
        held = f"{found} channel(s) ({volume.info.channels or 'unnamed'})"
        how = " Which one is meant is not guessed, and no command takes it out. In Python: scan = "
        how += "read_volume(PATH); save_nifti(scan.with_array(scan.array[:1]), 'one.nii.gz')."
        how = how if found > 1 else ""
        raise SpecError(f"The model takes {takes}; this image has {held}.{how}")
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


def room_on(device: torch.device | str) -> float:
    """Return the bytes that a device has left."""
    if torch.device(device).type != "cuda":
        return available()
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return float(torch.cuda.mem_get_info(device)[0] + held)


def model_grid(
    volume: Volume, spec: ModelSpec, device: torch.device | str = "cpu"
) -> tuple[Grid, bool]:
    """Return the model's grid for a scan, and whether it needs no interpolation.

    A scan tilted by more than `spec.max_obliquity` gets a grid along the world's axes that holds
    it whole; any other keeps its own axes, resized to the model's spacing, with the ends that
    `spec.sampling` names in place. A model without a spacing gets a grid of `spec.roi_size` around
    the scan's center. One that the `device` has no room for is `MemoryNeeded`.
    """
    voxel, left = 4.0 * spec.channels, room_on(device)  # float32
    if spec.spacing is None:
        grid, exact = fitted_grid(volume.reoriented(spec.orientation), spec)
        check_grid(grid.shape, spacing_of(grid.affine), voxel, left)
        return grid, exact
    upright = volume.reoriented(spec.orientation)
    spacing = np.asarray(wanted_spacing(spec.spacing, upright.spacing))
    if obliquity_degrees(volume.affine) > spec.max_obliquity:
        world = to_world(volume.affine, corners(volume.shape))  # (8, 3) mm
        low, high = world.min(axis=0), world.max(axis=0)
        # An upright RAS grid of the model's spacing around the scan, then turned by the spec.
        order, flips = reorientation(np.eye(4), spec.orientation)
        ras_spacing = np.empty(3)
        ras_spacing[list(order)] = spacing
        with np.errstate(over="ignore"):
            wanted = np.maximum(np.ceil((high - low) / ras_spacing - 1e-3), 1)
        check_grid(wanted, ras_spacing, voxel, left)
        count = wanted.astype(int)
        ras = np.diag([*ras_spacing, 1.0])
        ras[:3, 3] = (low + high) / 2 - ras_spacing * (count - 1) / 2
        i, j, k = (int(count[o]) for o in order)
        affine = check_affine(reoriented_affine(ras, count.tolist(), order, flips))
        return Grid((i, j, k), affine), False
    how = spec.sampling
    with np.errstate(over="ignore"):
        ratio = np.asarray(upright.spacing) / spacing
        check_grid(np.maximum(upright.shape * ratio, 1), spacing, voxel, left)
    if how.ends == "centers":
        i, j, k = (round((n - 1) * float(r) + 1) for n, r in zip(upright.shape, ratio, strict=True))
        exact = np.abs(ratio - 1).max() <= SAME
        affine = upright.affine @ np.diag([*(1 / ratio), 1.0])
    else:
        i, j, k = (max(1, round(n * float(r))) for n, r in zip(upright.shape, ratio, strict=True))
        usual = how == replace(Sampling(), back=how.back, crop=how.crop)
        exact = np.abs(ratio - 1).max() <= SPACING_TOLERANCE if usual else False
        exact = bool(exact) or (not usual and (i, j, k) == upright.shape)
        affine = resized_affine(upright.affine, upright.shape, (i, j, k))
    if exact:
        return Grid(upright.shape, upright.affine), True
    return Grid((i, j, k), check_affine(affine)), False


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


def center_window(image: Tensor, roi_size: Sequence[int]) -> Tensor:
    """Return the window of `roi_size` at the center of (C, I, J, K), borders repeated beyond."""
    for axis, side in enumerate(roi_size, start=1):
        start = (image.shape[axis] - side) // 2
        index = torch.arange(start, start + side, device=image.device)
        image = image.index_select(axis, index.clamp(0, image.shape[axis] - 1))
    return image


def resample(image: Tensor, affine: Affine, grid: Grid, order: int = 1) -> Tensor:
    """Sample (C, I, J, K) voxels with `affine` at the voxels of `grid`: linearly.

    With an `order` of 0 the nearest is taken. Beyond the image its border is repeated.
    """
    step = torch.from_numpy(np.linalg.inv(affine) @ grid.affine)  # new index → old index
    sizes = torch.tensor(image.shape[1:], dtype=torch.float64)
    # grid_sample counts from -1 to 1 over a side, edges included
    first = (2 * step[:3, 3] + 1) / sizes - 1
    step = torch.cat([(2 * step[:3, :3]) / sizes[:, None], first[:, None]], dim=1)  # (3, 4)
    i, j, k = grid.shape
    slabs, rows = [], max(1, SLAB // k)
    for start in range(0, i * j, rows):
        row = torch.arange(start, min(start + rows, i * j))[:, None]  # along K
        axes = [one.expand(len(row), k) for one in (row // j, row % j, torch.arange(k))]
        index = torch.stack(axes, dim=-1).double()
        where = (index @ step[:, :3].T + step[:, 3]).flip(-1)  # (rows, k, 3) in x, y, z order
        at = where[None, :, None].to(image.device, image.dtype)
        slabs.append(sample_at(image[None], at, "bilinear" if order else "nearest")[0])
    return torch.cat(slabs, dim=1).reshape(-1, i, j, k)


def sample_at(images: Tensor, where: Tensor, mode: str = "bilinear") -> Tensor:
    """Sample (B, C, I, J, K) linearly at (B, i, j, k, 3), in −1…1 and K, J, I order."""
    return F.grid_sample(images, where, mode, padding_mode="border", align_corners=False)
