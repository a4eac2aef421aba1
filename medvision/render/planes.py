"""Planes of a scan as a radiologist looks at them.

The patient's right is on the viewer's left, sagittal planes face left, and letters on the picture
say so. Axes come from the affine alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

import medvision.render.ink as ink
from medvision.render.ink import FAINT, PAPER, Color
from medvision.volume import Volume, Window

Region: TypeAlias = tuple[slice, slice, slice]

PANEL = 300  # pixels, side of a panel
LARGE = 480  # pixels, side of the only panel of a 2D image that nothing stands beside
FILL = 0.40  # opacity of a filled mask
SOFT_TISSUE = Window(40.0, 400.0)  # HU, for CT that asks for none
EIGHT_BITS = Window(127.5, 255.0)  # for colors


@dataclass(frozen=True)
class Plane:
    """One of three ways to cut a volume whose axes run R, A, S."""

    name: str
    axis: int  # cut across this axis
    across: int  # runs along the picture's width, from high index to low
    down: int  # runs along its height, from high index to low
    letters: tuple[str, str, str, str]  # left, right, top, bottom


PLANES = (
    Plane("axial", 2, 0, 1, ("R", "L", "A", "P")),
    Plane("coronal", 1, 0, 2, ("R", "L", "S", "I")),
    Plane("sagittal", 0, 1, 2, ("A", "P", "S", "I")),
)


def display_window(volume: Volume) -> Window:
    """Return the window to show a volume in.

    The one its file asks for; soft tissue for CT; all of 8 bits for colors; else the 0.5th to
    99.5th percentile of the values that are no padding, or where these are one value, as in a
    small shape of ones, all of them.
    """
    if volume.info.window is not None:
        return volume.info.window
    if volume.info.unit == "HU":
        return SOFT_TISSUE
    if channels_shown(volume) == 3:
        return EIGHT_BITS
    step = max(1, round((volume.array.size / 1e6) ** (1 / 3)))
    sample = volume.array[:, ::step, ::step, ::step].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    if volume.info.padding is not None:
        first, last = volume.info.padding
        sample = sample[(sample < first) | (sample > last)]
    low, high = np.percentile(sample, (0.5, 99.5)) if sample.size else (0.0, 1.0)
    if low == high:
        low, high = sample.min(), sample.max()
    width = max(high - low, 1e-6) if high > low else 1.0  # one value alone is gray
    return Window(float(low + high) / 2, float(width))


def channels_shown(volume: Volume) -> int:
    """Return 3 for a color picture, else 1: the first channel."""
    color = volume.info.channels == "color" and volume.array.dtype == np.uint8
    return 3 if color and len(volume.array) == 3 else 1


def planes_of(volume: Volume) -> Sequence[Plane]:
    """Return the planes worth drawing: three, or of a 2D image its one."""
    shape = volume.reoriented("RAS").shape
    return [p for p in PLANES if min(shape[p.across], shape[p.down]) > 1] or PLANES[:1]


def panel_side(volume: Volume) -> int:
    """Return the pixels of a panel's side, where one row of panels is all there is."""
    return PANEL if len(planes_of(volume)) > 1 else LARGE


def plane_pixels(volume: Volume, plane: Plane, index: int, channel: int = 0) -> NDArray[Any]:
    """Return one plane of a volume oriented RAS, (height, width), as it is looked at."""
    # a view: np.take copies a whole volume that does not lie in C order, to take one plane of it
    here = (slice(None),) * plane.axis + (index,)
    cut = volume.array[channel][here]  # (low axis, high axis)
    width_first = cut if plane.across < plane.down else cut.T
    return np.asarray(width_first[::-1, ::-1].T)


def plane_images(
    volume: Volume,
    center: tuple[int, int, int],
    window: Window,
    mask: Volume | None = None,
    region: Region | None = None,
    block: Region | None = None,
    filled: bool = True,
    side: int = PANEL,
    heat: Volume | None = None,
    truth: Volume | None = None,
) -> list[Image.Image]:
    """Draw the axial, coronal and sagittal plane through a voxel; of a 2D image, its one plane.

    Parameters
    ----------
    volume : Volume
    center : three ints
        Voxel of the volume oriented RAS (see `center_of`).
    window : Window
    mask : Volume, optional
        Labels to lay over it.
    region : three slices, optional
        A block of the volume's own voxels to draw a frame around.
    block : three slices, optional
        Show this block of the RAS volume alone.
    filled : bool
        Whether structures are filled, or outlined alone.
    side : int
        Pixels of a panel's side.
    heat : Volume, optional
        0 to 1 on the same grid, to lay over it in colors; a frame is drawn around what is not NaN.
    truth : Volume, optional
        Other labels to hold those of `mask` against: outlined, while those of `mask` have no edge.
    """
    scan = volume.with_array(volume.array[: channels_shown(volume)]).reoriented("RAS")
    seen = None if region is None else seen_by_model(volume, region)
    if heat is not None:
        seen = heat.with_array(np.isfinite(heat.array))
    picture = Picture(
        scan=scan,
        labels=None if mask is None else mask.reoriented("RAS"),
        heat=None if heat is None else heat.reoriented("RAS"),
        seen=None if seen is None else seen.reoriented("RAS"),
        center=center,
        window=window,
        block=block or (slice(0, scan.shape[0]), slice(0, scan.shape[1]), slice(0, scan.shape[2])),
        filled=filled,
        side=side,
        truth=None if truth is None else truth.reoriented("RAS"),
    )
    return [picture.panel(plane) for plane in planes_of(volume)]


def center_of(mask: Volume) -> tuple[int, int, int]:
    """Return the voxel, on the axes of RAS, nearest to the center of mass of all labels."""
    inside = mask.reoriented("RAS").array[0] > 0
    places = []
    for axis in range(3):
        count = inside.sum(axis=tuple(a for a in range(3) if a != axis))  # labels in each plane
        places.append(round(float((count * np.arange(len(count))).sum() / count.sum())))
    return places[0], places[1], places[2]


def focus_of(
    volume: Volume, mask: Volume | None = None, region: Region | None = None
) -> tuple[int, int, int]:
    """Return the voxel, on the axes of RAS, to look at first.

    The center of the labels of `mask`; where there are none, of the block `region`; without one,
    of the volume.
    """
    found = mask is not None and mask.array.any()
    return center_of(mask if mask is not None and found else seen_by_model(volume, region))


@dataclass(frozen=True)
class Picture:
    """What the panels of one row share."""

    scan: Volume
    labels: Volume | None
    heat: Volume | None  # 0 to 1, or NaN
    seen: Volume | None  # 1 where the model looked
    center: tuple[int, int, int]
    window: Window
    block: Region
    filled: bool
    side: int  # pixels
    truth: Volume | None = None  # labels to outline over those that were found

    @property
    def scale(self) -> float:
        """Pixels per mm, such that the longest side of the block fills a panel."""
        sides = [
            (s.stop - s.start) * mm for s, mm in zip(self.block, self.scan.spacing, strict=True)
        ]
        return float(self.side / max(sides))

    def panel(self, plane: Plane) -> Image.Image:
        """Draw one plane on a square panel."""
        inside = [s for axis, s in enumerate(self.block) if axis != plane.axis]
        at = self.center[plane.axis]
        height, width = self._cut(self.scan, plane, at, inside).shape
        size = (
            max(1, round(width * self.scan.spacing[plane.across] * self.scale)),
            max(1, round(height * self.scan.spacing[plane.down] * self.scale)),
        )
        pixels = self._shown(plane, at, inside, size)
        if self.heat is not None:
            level = np.nan_to_num(self._cut(self.heat, plane, at, inside).astype(np.float32))
            large = Image.fromarray(level).resize(size, Image.Resampling.BILINEAR)
            pixels = ink.heated(pixels, np.asarray(large))
        if self.labels is not None:
            labels = self._cut(self.labels, plane, at, inside)
            for label in np.unique(labels[labels > 0]):
                self._paint(pixels, labels == label, ink.label_color(int(label)))
        if self.truth is not None:
            labels = self._cut(self.truth, plane, at, inside)
            for label in np.unique(labels[labels > 0]):
                edge = _outline(_enlarge(labels == label, size), 2)
                pixels[edge] = ink.label_color(int(label))
        if self.seen is not None and self.filled and not self.seen.array.all():
            seen = self._cut(self.seen, plane, at, inside)
            pixels[_outline(_enlarge(seen > 0, size), 1)] = FAINT
        panel = Image.new("RGB", (self.side, self.side), PAPER)
        corner = ((self.side - size[0]) // 2, (self.side - size[1]) // 2)
        panel.paste(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), corner)
        self._annotate(ImageDraw.Draw(panel, "RGBA"), plane, at)
        return panel

    def _shown(
        self, plane: Plane, at: int, inside: Sequence[slice], size: tuple[int, int]
    ) -> NDArray[np.float32]:
        """Return the scan's pixels inside the block through the window, (height, width, 3)."""
        layers = []
        for channel in range(len(self.scan.array)):
            cut = self._cut(self.scan, plane, at, inside, channel)
            finite = np.nan_to_num(cut.astype(np.float32), nan=self.window.low)
            level = ((finite - self.window.low) / self.window.width).clip(0, 1) * 255
            image = Image.fromarray(level.astype(np.uint8))
            layers.append(np.asarray(image.resize(size, Image.Resampling.BICUBIC), np.float32))
        return np.stack(layers * (3 // len(layers)), axis=-1)

    def _cut(
        self, volume: Volume, plane: Plane, at: int, inside: Sequence[slice], channel: int = 0
    ) -> NDArray[Any]:
        """Return a plane's pixels inside the block."""
        pixels = plane_pixels(volume, plane, at, channel)
        height, width = pixels.shape
        across, down = inside  # both axes run against the picture
        return pixels[
            height - down.stop : height - down.start, width - across.stop : width - across.start
        ]

    def _paint(self, pixels: NDArray[np.float32], mask: NDArray[np.bool_], color: Color) -> None:
        large = _enlarge(mask, (pixels.shape[1], pixels.shape[0]))
        if self.filled:
            pixels[large] = (1 - FILL) * pixels[large] + FILL * np.asarray(color, np.float32)
        if self.truth is None:
            pixels[_outline(large, 1 if self.filled else 2)] = color

    def _annotate(self, draw: ImageDraw.ImageDraw, plane: Plane, at: int) -> None:
        half, edge = self.side // 2, 4
        if self.scan.info.spacing_known:
            places = (
                (edge, half, "lm"),
                (self.side - edge, half, "rm"),
                (half, edge, "ma"),
                (half, self.side - edge, "md"),
            )
            for (x, y, anchor), letter in zip(places, plane.letters, strict=True):
                ink.label(draw, (x, y), letter, 16, anchor)
            bar_mm = next(
                mm for mm in (100, 50, 20, 10, 5, 2, 1, 0) if mm * self.scale < self.side / 2
            )
            if bar_mm:
                place, wide = (self.side - 8, self.side - 12), round(bar_mm * self.scale)
                ink.label(draw, place, f"{bar_mm} mm", 12, "rd", bar=wide)
        count = self.scan.shape[plane.axis]
        if self.scan.info.spacing_known or count > 1:  # a picture shows no plane that has a name
            ink.label(draw, (edge, edge), f"{plane.name} {at + 1}/{count}", 12)


def seen_by_model(volume: Volume, region: Region | None) -> Volume:
    """Return 1 inside the region, everywhere without one."""
    marked = np.zeros(volume.shape, np.uint8)
    marked[region or (slice(None),) * 3] = 1
    return volume.with_array(marked)


def bounds(mask: Volume, margin_mm: float) -> Region:
    """Return the block around everything above 0, with a margin, clipped to the grid."""
    inside, sides = mask.array[0] > 0, []
    for axis in range(3):
        hit = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        pad = int(np.ceil(margin_mm / mask.spacing[axis]))
        stop = min(int(hit[-1]) + pad + 1, mask.shape[axis])
        sides.append(slice(max(int(hit[0]) - pad, 0), stop))
    return sides[0], sides[1], sides[2]


def _enlarge(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Enlarge a mask to (width, height) pixels, voxel edges kept."""
    large = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
    return np.asarray(large) > 0


def _outline(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Return the inner border of a mask."""
    inner = ndimage.binary_erosion(mask, iterations=width, border_value=0)
    return np.asarray(mask & ~inner)
