"""Pictures of what was found beside what is true, where the two differ most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

import medvision.render.ink as ink
from medvision.render.pages import Page, remarks_on
from medvision.render.planes import bounds, center_of, display_window, panel_side, plane_images
from medvision.volume import Volume, on_axes_of

MARGIN_MM = 15.0  # around both masks
HOW = "filled: found · outlined: truth"


def draw_case(
    scan: Volume, truth: Volume, found: Volume, class_names: Sequence[str]
) -> Image.Image:
    """Draw the planes in which a mask and the truth differ most, around both.

    What was found is filled, the truth outlined.

    Parameters
    ----------
    scan : Volume
        (C, I, J, K); of several channels the first is shown, of a color picture all.
    truth, found : Volume
        (1, I, J, K) labels on its grid, in any order of axes; label ``i + 1`` is
        ``class_names[i]``.
    class_names : sequence of str

    Returns
    -------
    PIL.Image.Image
        RGB. Each plane is that with the most voxels that differ; where none does, it goes through
        the middle of the structures, or of the scan where there are none.

    Raises
    ------
    GeometryError
        When one of the two does not lie on the scan's grid.
    """
    upright = scan.reoriented("RAS")
    masks = [
        on_axes_of(upright, one, "the scan", f"the mask of {what}")
        for one, what in ((truth, "the truth"), (found, "what was found"))
    ]
    true, mine = (one.array[0] for one in masks)
    either = upright.with_array(((true > 0) | (mine > 0))[None].astype(np.uint8))
    block = bounds(either, MARGIN_MM) if either.array.any() else None
    window = display_window(scan)
    panels = plane_images(
        upright,
        worst_planes(true != mine, either),
        window,
        masks[1],
        block=block,
        side=panel_side(scan),
        truth=masks[0],
    )
    legend = [(name, ink.label_color(label)) for label, name in enumerate(class_names, start=1)]
    return Page("", [panels], (), f"{HOW} · {remarks_on(scan, window)}", legend=legend).draw()


def worst_planes(differs: np.ndarray, either: Volume) -> tuple[int, int, int]:
    """Return along each axis the plane with the most voxels that differ (I, J, K)."""
    if not differs.any():
        return center_of(either if either.array.any() else either.with_array(either.array + 1))
    i, j, k = (
        int(differs.sum(axis=tuple(a for a in range(3) if a != axis)).argmax()) for axis in range(3)
    )
    return i, j, k
