"""Labels after the network has spoken: largest pieces, smallest volumes, holes, class by class.

Knows nothing of networks and files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medvision.cleanup_spec import Cleanup

TOUCHING = np.ones((3, 3, 3), bool)  # voxels that share a corner are one piece


def clean(
    labels: NDArray[np.uint8],
    class_names: Sequence[str],
    steps: Mapping[str, Cleanup],
    voxel_ml: float,
) -> NDArray[np.uint8]:
    """Return labels as the spec wants them, the classes one after the other in label order.

    Parameters
    ----------
    labels : (I, J, K) uint8
        0 is background, ``i + 1`` the class ``class_names[i]``.
    class_names : sequence of str
    steps : mapping of str to Cleanup
        By class name; a class without any stays as it is.
    voxel_ml : float
        ml of a voxel.

    Returns
    -------
    (I, J, K) uint8
        New where anything is to be done, else `labels` itself.
    """
    if not steps:
        return labels
    cleaned = labels.copy()
    numbers = {name: number for number, name in enumerate(class_names, start=1)}
    for name, number in numbers.items():
        step = steps.get(name)
        if step is None:
            continue
        [block] = ndimage.find_objects((cleaned == number).astype(np.uint8)) or [None]
        if block is None:
            continue
        part = cleaned[block]  # a view: what lies outside of the class's box stays
        small = ~kept(part == number, step, voxel_ml) & (part == number)
        part[small] = numbers.get(step.instead, 0)
        if step.fill:
            holes = ndimage.binary_fill_holes(part == number) & (part == 0)
            part[holes] = number
    return cleaned


def kept(mask: NDArray[np.bool_], step: Cleanup, voxel_ml: float) -> NDArray[np.bool_]:
    """Return the pieces of a mask that are large enough."""
    if not (step.largest or step.min_ml):
        return mask
    pieces, count = ndimage.label(mask, TOUCHING)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)  # voxels; the first are outside
    sizes[0] = 0
    stays = sizes * voxel_ml >= step.min_ml
    if step.largest:
        stays &= np.arange(count + 1) == sizes.argmax()
    stays[0] = False
    return np.asarray(stays[pieces])
