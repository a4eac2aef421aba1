"""Volumes as MONAI's tensors, and back: both place voxels by an affine to RAS mm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from medvision.errors import GeometryError
from medvision.volume import SeriesInfo, Volume

if TYPE_CHECKING:
    from monai.data import MetaTensor


def to_metatensor(volume: Volume) -> MetaTensor:
    """Return a volume as MONAI's loaders would, channel first, with its affine.

    Parameters
    ----------
    volume : Volume

    Returns
    -------
    MetaTensor, (C, I, J, K)
        A copy of the voxels, in a type that torch has; ``affine`` is (4, 4), voxel to RAS mm.
    """
    from monai.data import MetaTensor

    voxels = np.array(volume.array)
    if voxels.dtype.byteorder == ">":
        voxels = voxels.astype(voxels.dtype.newbyteorder("="))
    return MetaTensor(
        torch.from_numpy(voxels),
        affine=torch.from_numpy(np.array(volume.affine)),
        meta={"space": "RAS", "original_channel_dim": 0},
    )


def from_metatensor(image: MetaTensor, info: SeriesInfo | None = None) -> Volume:
    """Return a MONAI image as a volume, with a copy of its voxels.

    Parameters
    ----------
    image : MetaTensor, (C, I, J, K) or (C, I, J)
        Channel first, as MONAI's transforms have it; its ``affine`` leads to RAS mm.
    info : SeriesInfo, optional
        What is known of the series besides.

    Raises
    ------
    GeometryError
        When it has other axes, is no MetaTensor, or has an affine to LPS.
    """
    axes = getattr(image, "affine", None)
    if axes is None or image.meta.get("space") == "LPS" or image.dim() not in (3, 4):
        raise GeometryError(
            "A MetaTensor (C, I, J, K), or in 2D (C, I, J), with an affine to RAS mm becomes a "
            f"volume; found {type(image).__name__} {tuple(image.shape)}."
        )
    voxels = image.detach().cpu().as_tensor()
    voxels = voxels.float() if voxels.dtype == torch.bfloat16 else voxels
    array = np.array(voxels.numpy()).reshape((*voxels.shape, 1)[:4])
    return Volume(array, np.asarray(axes.cpu(), dtype=float), info or SeriesInfo())
