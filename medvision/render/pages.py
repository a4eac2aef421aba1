"""Pages: the planes of a scan with what a model said of it, its warnings and how to read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageDraw

import medvision.render.ink as ink
from medvision.geometry import obliquity_degrees, voxel_mm3
from medvision.prediction import in_percent
from medvision.render.ink import ALERT, CAUTION, FAINT, INK, PAPER, TRACK, Color
from medvision.render.planes import (
    Region,
    bounds,
    center_of,
    display_window,
    focus_of,
    panel_side,
    plane_images,
    seen_by_model,
)
from medvision.volume import Volume, Window

GUTTER, LINE, BAR = 10, 20, 26  # pixels
MIN_WIDTH = 420  # pixels of a page
MARGIN_MM = 8.0  # around the mask in the close-up
MAX_BARS = 8  # classes shown of many
TITLE, WORDS, SMALL = 16, 14, 13  # font sizes


def overlay_png(
    volume: Volume,
    mask: Volume,
    class_names: Sequence[str],
    title: str = "",
    region: Region | None = None,
    warnings: Sequence[str] = (),
    *,
    confidence: Mapping[str, float] | None = None,
    review: str = "",
) -> Image.Image:
    """Draw three planes through the mask's center, and below them a close-up with outlines alone.

    Parameters
    ----------
    volume : Volume
        (C, I, J, K); of several channels the first is shown, of a color picture all.
    mask : Volume
        (1, I, J, K) labels on the same grid; label ``i + 1`` is ``class_names[i]``.
    class_names : sequence of str
    title : str
    region : three slices, optional
        The block that a model was shown; a frame is drawn around it.
    warnings : sequence of str
        Why the result may deserve less trust; written below the picture.
    confidence : mapping of str to float, optional
        How sure the model is of a structure, for the legend.
    review : str
        Why a person should look, if one should; written above the picture.

    Returns
    -------
    PIL.Image.Image
        RGB. It carries orientation letters, window level and width, a scale bar in mm and a
        legend with volumes in ml.
    """
    found = mask if mask.array.any() else seen_by_model(volume, region)
    center, window = center_of(found), display_window(volume)
    close = bounds(found.reoriented("RAS"), MARGIN_MM)
    rows = [
        plane_images(volume, center, window, mask, region),
        plane_images(volume, center, window, mask, region, block=close, filled=False),
    ]
    legend = legend_of(mask, class_names, confidence or {})
    page = Page(title, rows, warnings, remarks_on(volume, window), review=review, legend=legend)
    return page.draw()


def scores_png(
    volume: Volume,
    scores: Mapping[str, float],
    title: str = "",
    region: Region | None = None,
    warnings: Sequence[str] = (),
    *,
    review: str = "",
) -> Image.Image:
    """Draw the planes through the middle of what a model was shown, and a bar for each class.

    Parameters
    ----------
    volume : Volume
        (C, I, J, K); of several channels the first is shown, of a color picture all. A 2D image
        is enlarged.
    scores : mapping of str to float
        Probability of each class; of many the likeliest eight are shown.
    title, region, warnings, review
        As of `overlay_png`.

    Returns
    -------
    PIL.Image.Image
        RGB, with letters, window and scale as those of a mask.
    """
    center, window = focus_of(volume, region=region), display_window(volume)
    rows = [plane_images(volume, center, window, region=region, side=panel_side(volume))]
    remarks, bars = remarks_on(volume, window), bars_of(scores)
    return Page(title, rows, warnings, remarks, review=review, bars=bars).draw()


@dataclass(frozen=True)
class Bar:
    """A class and its probability."""

    name: str
    share: float  # of the bar that is filled, 0 to 1
    words: str


def bars_of(scores: Mapping[str, float]) -> list[Bar]:
    """Return the bars of the likeliest classes, the likeliest first, and of all others together."""
    ranked = sorted(scores.items(), key=lambda one: -one[1])
    shown = len(ranked) if len(ranked) <= MAX_BARS else MAX_BARS - 1
    bars = [Bar(name, share, in_percent(share)) for name, share in ranked[:shown]]
    if rest := ranked[shown:]:
        share = sum(one for _, one in rest)
        bars.append(Bar(f"{len(rest)} others together", share, in_percent(share)))
    return bars


def legend_of(
    mask: Volume, class_names: Sequence[str], confidence: Mapping[str, float]
) -> list[tuple[str, Color]]:
    """Return each structure's name and volume, and how sure the model is, with its color."""
    ml = voxel_mm3(mask.affine) / 1000.0  # mm³ → ml
    entries = []
    for label, name in enumerate(class_names, start=1):
        voxels = int((mask.array == label).sum())
        size = f"{voxels * ml:.2f} ml" if mask.info.spacing_known else f"{voxels} pixels"
        words = f"{name}: {size}" if voxels else f"{name}: not found"
        if voxels and name in confidence:
            words += f" · confidence {confidence[name]:.2f}"
        entries.append((words, ink.label_color(label)))
    return entries


def remarks_on(volume: Volume, window: Window) -> str:
    """Return how a scan is shown, in words."""
    unit = f" {volume.info.unit}" if volume.info.unit else ""
    tilt = obliquity_degrees(volume.affine)
    oblique = f"planes of the scan, {tilt:.0f}° oblique · " if tilt > 1 else ""
    size = "" if volume.info.spacing_known else f"{in_pixels(volume)} · "
    return f"{size}{oblique}W {window.width:.4g} L {window.level:.4g}{unit} · research use only"


def in_pixels(volume: Volume) -> str:
    """Return the size of a picture, which enlarging hides."""
    return (
        " × ".join(str(n) for n in volume.shape if n > 1 or volume.shape == (1, 1, 1)) + " pixels"
    )


@dataclass(frozen=True)
class Page:
    """Panels in rows, a title above them, and below them a legend or bars, warnings and remarks.

    Why a person should look stands right below the title.
    """

    title: str
    rows: Sequence[Sequence[Image.Image]]
    warnings: Sequence[str]
    remarks: str
    review: str = ""
    legend: Sequence[tuple[str, Color]] = ()
    bars: Sequence[Bar] = field(default=())

    def draw(self) -> Image.Image:
        """Return the page."""
        panels = max(sum(p.width + GUTTER for p in row) for row in self.rows)
        width = max(panels + GUTTER, MIN_WIDTH)
        room = width - 2 * GUTTER
        titles = ink.fold(self.title, TITLE, room)
        reviews = ink.fold(self.review, WORDS, room) if self.review else []
        legend = wrap(self.legend, room)
        cautions = [line for one in self.warnings for line in ink.fold(f"! {one}", SMALL, room)]
        remarks = ink.fold(self.remarks, SMALL, room)
        top = (len(titles) + len(reviews)) * LINE + 2 * GUTTER
        bottom = top + sum(max(p.height for p in row) + GUTTER for row in self.rows)
        lines = len(legend) + len(cautions) + len(remarks)
        height = bottom + len(self.bars) * BAR + lines * LINE + GUTTER
        page = Image.new("RGB", (width, height), PAPER)
        draw = ImageDraw.Draw(page)
        y = self._write(draw, GUTTER, titles, INK, TITLE)
        self._write(draw, y, reviews, ALERT, WORDS)
        y = top
        for row in self.rows:
            x = GUTTER + (0 if len(row) > 1 else (room - row[0].width) // 2)
            for panel in row:
                page.paste(panel, (x, y))
                x += panel.width + GUTTER
            y += max(p.height for p in row) + GUTTER
        y = self._draw_legend(draw, y, legend)
        y = self._draw_bars(draw, y, room)
        y = self._write(draw, y, cautions, CAUTION, SMALL)
        self._write(draw, y, remarks, FAINT, SMALL)
        return page

    def _write(
        self, draw: ImageDraw.ImageDraw, y: int, lines: Sequence[str], color: Color, size: int
    ) -> int:
        """Write lines from `y` down; returns where the next would go."""
        for line in lines:
            ink.text(draw, (GUTTER, y), line, color, size)
            y += LINE
        return y

    def _draw_legend(
        self, draw: ImageDraw.ImageDraw, y: int, lines: Sequence[Sequence[tuple[str, Color]]]
    ) -> int:
        for line in lines:
            x = GUTTER
            for words, color in line:
                draw.rectangle((x, y + 3, x + 10, y + 13), fill=color)
                ink.text(draw, (x + 16, y), words, INK, WORDS)
                x += 16 + ink.length(words, WORDS) + 2 * GUTTER
            y += LINE
        return y

    def _draw_bars(self, draw: ImageDraw.ImageDraw, y: int, room: int) -> int:
        """Draw name, bar and percentage of each class; the likeliest stands out."""
        longest = max((ink.length(bar.name, WORDS) for bar in self.bars), default=0)
        start = GUTTER + min(longest, room * 2 // 5) + GUTTER
        end = GUTTER + room - ink.length("> 99.9%", WORDS) - GUTTER
        for number, bar in enumerate(self.bars):
            color, words = (ink.COLORS[0], INK) if number == 0 else (FAINT, FAINT)
            name = ink.shorten(bar.name, WORDS, start - 2 * GUTTER)
            ink.text(draw, (GUTTER, y), name, words, WORDS)
            draw.rectangle((start, y + 4, end, y + 14), fill=TRACK)
            filled = round(bar.share * (end - start))
            if filled:
                draw.rectangle((start, y + 4, start + filled, y + 14), fill=color)
            ink.text(draw, (GUTTER + room, y), bar.words, words, WORDS, "ra")
            y += BAR
        return y


def wrap(legend: Sequence[tuple[str, Color]], width: int) -> list[list[tuple[str, Color]]]:
    """Break a legend into lines."""
    lines: list[list[tuple[str, Color]]] = [[]] if legend else []
    used = 0
    for words, color in legend:
        need = 16 + ink.length(words, WORDS) + 2 * GUTTER
        if used + need > width and lines[-1]:
            lines.append([])
            used = 0
        lines[-1].append((words, color))
        used += need
    return lines
