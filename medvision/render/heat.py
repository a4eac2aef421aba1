"""Planes of a scan, with and without the heat of an explanation. Knows nothing of networks."""

from __future__ import annotations

import numpy as np
from PIL import Image

from medvision.render.planes import display_window, focus_of, panel_side, plane_images
from medvision.volume import Volume


def heat_panels(volume: Volume, heat: Volume) -> list[tuple[Image.Image, Image.Image]]:
    """Draw the planes through where the heat is highest, each as it is and with the heat over it.

    Parameters
    ----------
    volume : Volume
        (C, I, J, K); of several channels the first is shown, of a color picture all.
    heat : Volume
        (1, I, J, K) on the same grid, 0 to 1, NaN where the model did not look.

    Returns
    -------
    list of (PIL.Image.Image, PIL.Image.Image)
        RGB; one pair a plane, of a 2D image one alone.
    """
    center, window, side = hottest(volume, heat), display_window(volume), panel_side(volume)
    plain = plane_images(volume, center, window, side=side)
    return list(zip(plain, plane_images(volume, center, window, side=side, heat=heat), strict=True))


def hottest(volume: Volume, heat: Volume) -> tuple[int, int, int]:
    """Return the voxel, on the axes of RAS, where the heat is highest; the middle if it is 0."""
    level = np.nan_to_num(heat.reoriented("RAS").array[0])
    if not level.any():
        return focus_of(volume)
    i, j, k = (int(n) for n in np.unravel_index(level.argmax(), level.shape))
    return i, j, k
