"""Pictures of volumes and masks: planes as a radiologist looks at them.

The patient's right is on the viewer's left, sagittal planes face left, and letters on the picture
say so. Axes come from the affine alone. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from medvision.geometry import obliquity_degrees, voxel_mm3
from medvision.volume import Volume, Window

Color: TypeAlias = tuple[int, int, int]
Region: TypeAlias = tuple[slice, slice, slice]

# Okabe & Ito's colors, told apart by color-blind people too
COLORS: tuple[Color, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66),
    (213, 94, 0), (204, 121, 167), (0, 114, 178),
)  # fmt: skip
INK, PAPER, FAINT = (235, 235, 235), (16, 16, 18), (150, 150, 155)
CAUTION = (255, 200, 60)
PANEL = 300  # pixels, side of a panel
GUTTER, LINE = 10, 20  # pixels
MARGIN_MM = 8.0  # around the mask in the close-up
FILL = 0.40  # opacity of a filled mask
SOFT_TISSUE = Window(40.0, 400.0)  # HU, for CT that asks for none


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


def label_color(label: int) -> Color:
    """Return the color of a label (1, 2, …)."""
    return COLORS[(label - 1) % len(COLORS)]


def display_window(volume: Volume) -> Window:
    """Return the window to show a volume in.

    The one its file asks for; soft tissue for CT; else the 0.5th to 99.5th percentile of the
    values that are no padding.
    """
    if volume.info.window is not None:
        return volume.info.window
    if volume.info.unit == "HU":
        return SOFT_TISSUE
    step = max(1, round((volume.array.size / 1e6) ** (1 / 3)))
    sample = volume.array[:, ::step, ::step, ::step].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    if volume.info.padding is not None:
        first, last = volume.info.padding
        sample = sample[(sample < first) | (sample > last)]
    low, high = np.percentile(sample, (0.5, 99.5)) if sample.size else (0.0, 1.0)
    return Window(float(low + high) / 2, float(max(high - low, 1e-6)))


def plane_pixels(volume: Volume, plane: Plane, index: int) -> NDArray[Any]:
    """Return one plane of a volume oriented RAS, (height, width), as it is looked at."""
    cut = np.take(volume.array[0], index, axis=plane.axis)  # (low axis, high axis)
    width_first = cut if plane.across < plane.down else cut.T
    return np.asarray(width_first[::-1, ::-1].T)


def overlay_png(
    volume: Volume,
    mask: Volume,
    class_names: Sequence[str],
    title: str = "",
    region: Region | None = None,
    warnings: Sequence[str] = (),
) -> Image.Image:
    """Draw three planes through the mask's center, and below them a close-up with outlines alone.

    Parameters
    ----------
    volume : Volume
        (C, I, J, K); of several channels the first is shown.
    mask : Volume
        (1, I, J, K) labels on the same grid; label ``i + 1`` is ``class_names[i]``.
    class_names : sequence of str
    title : str
    region : three slices, optional
        The block that a model was shown; a frame is drawn around it.
    warnings : sequence of str
        Why the result may deserve less trust; written below the picture.

    Returns
    -------
    PIL.Image.Image
        RGB. It carries orientation letters, window level and width, a scale bar in mm and a
        legend with volumes in ml.
    """
    found = mask if mask.array.any() else _seen(volume, region)
    center, window = center_of(found), display_window(volume)
    close = _bounds(found.reoriented("RAS"), MARGIN_MM)
    rows = [
        plane_images(volume, center, window, mask, region),
        plane_images(volume, center, window, mask, region, block=close, filled=False),
    ]
    legend, remarks = _legend(mask, class_names), _remarks(volume, window)
    return _sheet(rows, title, legend, warnings, remarks)


def plane_images(
    volume: Volume,
    center: tuple[int, int, int],
    window: Window,
    mask: Volume | None = None,
    region: Region | None = None,
    block: Region | None = None,
    filled: bool = True,
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
    """
    scan = volume.with_array(volume.array[:1]).reoriented("RAS")
    picture = Picture(
        scan=scan,
        labels=None if mask is None else mask.reoriented("RAS"),
        seen=None if region is None else _seen(volume, region).reoriented("RAS"),
        center=center,
        window=window,
        block=block or (slice(0, scan.shape[0]), slice(0, scan.shape[1]), slice(0, scan.shape[2])),
        filled=filled,
    )
    flat = [p for p in PLANES if min(scan.shape[p.across], scan.shape[p.down]) > 1]
    return [picture.panel(plane) for plane in flat or PLANES[:1]]


def center_of(mask: Volume) -> tuple[int, int, int]:
    """Return the voxel, on the axes of RAS, nearest to the center of mass of all labels."""
    inside = mask.reoriented("RAS").array[0] > 0
    places = []
    for axis in range(3):
        count = inside.sum(axis=tuple(a for a in range(3) if a != axis))  # labels in each plane
        places.append(round(float((count * np.arange(len(count))).sum() / count.sum())))
    return places[0], places[1], places[2]


@dataclass(frozen=True)
class Picture:
    """What the panels of one row share."""

    scan: Volume
    labels: Volume | None
    seen: Volume | None  # 1 where the model looked
    center: tuple[int, int, int]
    window: Window
    block: Region
    filled: bool

    @property
    def scale(self) -> float:
        """Pixels per mm, such that the longest side of the block fills a panel."""
        sides = [
            (s.stop - s.start) * mm for s, mm in zip(self.block, self.scan.spacing, strict=True)
        ]
        return float(PANEL / max(sides))

    def panel(self, plane: Plane) -> Image.Image:
        """Draw one plane on a square panel."""
        inside = [s for axis, s in enumerate(self.block) if axis != plane.axis]
        at = self.center[plane.axis]
        gray = self._cut(self.scan, plane, at, inside)
        size = (
            max(1, round(gray.shape[1] * self.scan.spacing[plane.across] * self.scale)),
            max(1, round(gray.shape[0] * self.scan.spacing[plane.down] * self.scale)),
        )
        finite = np.nan_to_num(gray.astype(np.float32), nan=self.window.low)
        level = ((finite - self.window.low) / self.window.width).clip(0, 1) * 255
        shown = Image.fromarray(level.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
        pixels = np.repeat(np.asarray(shown)[..., None], 3, axis=2).astype(np.float32)
        if self.labels is not None:
            labels = self._cut(self.labels, plane, at, inside)
            for label in np.unique(labels[labels > 0]):
                self._paint(pixels, labels == label, label_color(int(label)))
        if self.seen is not None and self.filled and not self.seen.array.all():
            seen = self._cut(self.seen, plane, at, inside)
            pixels[_outline(_enlarge(seen > 0, size), 1)] = FAINT
        panel = Image.new("RGB", (PANEL, PANEL), PAPER)
        corner = ((PANEL - size[0]) // 2, (PANEL - size[1]) // 2)
        panel.paste(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), corner)
        self._annotate(ImageDraw.Draw(panel), plane, at)
        return panel

    def _cut(self, volume: Volume, plane: Plane, at: int, inside: Sequence[slice]) -> NDArray[Any]:
        """Return a plane's pixels inside the block."""
        pixels = plane_pixels(volume, plane, at)
        height, width = pixels.shape
        across, down = inside  # both axes run against the picture
        return pixels[
            height - down.stop : height - down.start, width - across.stop : width - across.start
        ]

    def _paint(self, pixels: NDArray[np.float32], mask: NDArray[np.bool_], color: Color) -> None:
        large = _enlarge(mask, (pixels.shape[1], pixels.shape[0]))
        if self.filled:
            pixels[large] = (1 - FILL) * pixels[large] + FILL * np.asarray(color, np.float32)
        pixels[_outline(large, 1 if self.filled else 2)] = color

    def _annotate(self, draw: ImageDraw.ImageDraw, plane: Plane, at: int) -> None:
        half, edge = PANEL // 2, 4
        if self.scan.info.spacing_known:
            places = (
                (edge, half, "lm"),
                (PANEL - edge, half, "rm"),
                (half, edge, "ma"),
                (half, PANEL - edge, "md"),
            )
            for (x, y, anchor), letter in zip(places, plane.letters, strict=True):
                _text(draw, (x, y), letter, INK, 16, anchor)
            bar_mm = next(mm for mm in (100, 50, 20, 10, 5, 2, 1, 0) if mm * self.scale < PANEL / 2)
            if bar_mm:
                end, y = PANEL - 8, PANEL - 8
                draw.line((end - bar_mm * self.scale, y, end, y), fill=INK, width=2)
                _text(draw, (end, y - 4), f"{bar_mm} mm", INK, 12, "rd")
        _text(draw, (edge, edge), f"{plane.name} {at + 1}/{self.scan.shape[plane.axis]}", INK, 12)


def _seen(volume: Volume, region: Region | None) -> Volume:
    """Return 1 inside the region, everywhere without one."""
    marked = np.zeros(volume.shape, np.uint8)
    marked[region or (slice(None),) * 3] = 1
    return volume.with_array(marked)


def _bounds(mask: Volume, margin_mm: float) -> Region:
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


def _legend(mask: Volume, class_names: Sequence[str]) -> list[tuple[str, Color]]:
    ml = voxel_mm3(mask.affine) / 1000.0  # mm³ → ml
    entries = []
    for label, name in enumerate(class_names, start=1):
        voxels = int((mask.array == label).sum())
        size = f"{voxels * ml:.2f} ml" if mask.info.spacing_known else f"{voxels} pixels"
        entries.append((f"{name}: {size}" if voxels else f"{name}: not found", label_color(label)))
    return entries


def _remarks(volume: Volume, window: Window) -> str:
    unit = f" {volume.info.unit}" if volume.info.unit else ""
    tilt = obliquity_degrees(volume.affine)
    oblique = f"planes of the scan, {tilt:.0f}° oblique · " if tilt > 1 else ""
    return f"{oblique}W {window.width:.4g} L {window.level:.4g}{unit} · research use only"


def _sheet(
    rows: Sequence[Sequence[Image.Image]],
    title: str,
    legend: Sequence[tuple[str, Color]],
    warnings: Sequence[str],
    remarks: str,
) -> Image.Image:
    """Put panels, title, legend and remarks on one page."""
    columns = max(len(row) for row in rows)
    width = max(columns * (PANEL + GUTTER) + GUTTER, 420)
    lines = _wrap(legend, width - 2 * GUTTER)
    cautions = [line for one in warnings for line in _fold(f"! {one}", width - 2 * GUTTER)]
    top = LINE + 2 * GUTTER
    bottom = top + len(rows) * (PANEL + GUTTER)
    height = bottom + (len(lines) + len(cautions) + 1) * LINE + GUTTER
    page = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(page)
    _text(draw, (GUTTER, GUTTER), title, INK, 16)
    for r, row in enumerate(rows):
        for c, panel in enumerate(row):
            page.paste(panel, (GUTTER + c * (PANEL + GUTTER), top + r * (PANEL + GUTTER)))
    y = bottom
    for line in lines:
        x = GUTTER
        for words, color in line:
            draw.rectangle((x, y + 3, x + 10, y + 13), fill=color)
            _text(draw, (x + 16, y), words, INK, 14)
            x += 16 + _width(words, 14) + 2 * GUTTER
        y += LINE
    for caution in cautions:
        _text(draw, (GUTTER, y), caution, CAUTION, 13)
        y += LINE
    _text(draw, (GUTTER, y), remarks, FAINT, 13)
    return page


def _fold(words: str, width: int) -> list[str]:
    """Break a sentence into lines of at most `width` pixels."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if _width(longer, 13) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _wrap(legend: Sequence[tuple[str, Color]], width: int) -> list[list[tuple[str, Color]]]:
    """Break a legend into lines."""
    lines: list[list[tuple[str, Color]]] = [[]]
    used = 0
    for words, color in legend:
        need = 16 + _width(words, 14) + 2 * GUTTER
        if used + need > width and lines[-1]:
            lines.append([])
            used = 0
        lines[-1].append((words, color))
        used += need
    return lines


def _width(words: str, size: int) -> int:
    return int(ImageFont.load_default(size).getlength(words))


def _text(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    words: str,
    color: Color,
    size: int,
    anchor: str = "la",
) -> None:
    draw.text(
        at,
        words,
        fill=color,
        font=ImageFont.load_default(size),
        anchor=anchor,
        stroke_width=1,
        stroke_fill=PAPER,
    )
