"""Colors, letters and how long words are, for all pictures. Knows nothing of scans."""

from __future__ import annotations

import unicodedata
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont

Color: TypeAlias = tuple[int, int, int]

# Okabe & Ito's colors, told apart by color-blind people too
COLORS: tuple[Color, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66),
    (213, 94, 0), (204, 121, 167), (0, 114, 178),
)  # fmt: skip
INK, PAPER, FAINT, TRACK = (235, 235, 235), (16, 16, 18), (150, 150, 155), (44, 44, 48)
GROUND = (*PAPER, 190)  # with opacity: INK on it over white has a contrast of 7, as WCAG's AAA asks
PAD, BAR_GAP = 2, 4  # pixels of ground around a label, and between words and the scale below them
CAUTION, ALERT = (255, 200, 60), (255, 120, 95)
# Black-body colors: they rise in brightness, in print and to color-blind people too
HEAT: tuple[Color, ...] = ((60, 0, 80), (190, 20, 60), (250, 110, 10), (255, 235, 90))
GLOW = 0.65  # opacity of the hottest
DRAWN = "·…°±"  # what Pillow's own font has beyond ASCII
SPELLED = str.maketrans({"×": "x", "–": "-", "—": "-", "→": "->", "≥": ">=", "≤": "<=", "ß": "ss"})


def label_color(label: int) -> Color:
    """Return the color of a label (1, 2, …)."""
    return COLORS[(label - 1) % len(COLORS)]


def heated(pixels: NDArray[np.float32], level: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lay heat (H, W), 0 to 1, over pixels (H, W, 3); where it is 0 they stay as they are."""
    stops = np.linspace(0, 1, len(HEAT))
    channels = [np.interp(level, stops, channel) for channel in zip(*HEAT, strict=True)]
    glow = (GLOW * np.sqrt(level.clip(0, 1)))[..., None]
    return np.asarray((1 - glow) * pixels + glow * np.stack(channels, axis=-1), np.float32)


def text(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    words: str,
    color: Color,
    size: int,
    anchor: str = "la",
) -> None:
    """Write words on a page; on a scan `label` is legible, too."""
    font = ImageFont.load_default(size)
    draw.text(at, spelled(words), fill=color, font=font, anchor=anchor)


def label(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    words: str,
    size: int,
    anchor: str = "la",
    bar: int = 0,
) -> None:
    """Write words on a dark ground, which makes them legible on the brightest scan.

    Parameters
    ----------
    draw : ImageDraw
        Of mode ``"RGBA"``, for the scan to shine through the ground.
    at : (x, y)
        Pixels; where the `anchor` of the words lies.
    words : str
    size : int
        Of the font, in pixels.
    anchor : str
        As Pillow names it.
    bar : int
        Pixels of a line right below words that are anchored at their right: a scale.
    """
    font = ImageFont.load_default(size)
    left, top, right, bottom = draw.textbbox(at, spelled(words), font=font, anchor=anchor)
    x, y = right - 1, bottom + BAR_GAP
    if bar:
        left, bottom = min(left, x - bar), y + 2
    draw.rectangle((left - PAD, top - PAD, right + PAD - 1, bottom + PAD - 1), fill=GROUND)
    text(draw, at, words, INK, size, anchor)
    if bar:
        draw.line((x - bar, y, x, y), fill=INK, width=2)


def length(words: str, size: int) -> int:
    """Return how many pixels words take."""
    return int(ImageFont.load_default(size).getlength(spelled(words)))


def spelled(words: str) -> str:
    """Return words in the letters that the font has: accents go, other scripts become ``?``."""
    letters = []
    for letter in unicodedata.normalize("NFC", words).translate(SPELLED):
        plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
        letters.append(letter if letter in DRAWN or letter.isascii() else plain or "?")
    return "".join(letters)


def fold(words: str, size: int, width: int) -> list[str]:
    """Break a sentence into lines of at most `width` pixels; a longer word is cut short."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if length(longer, size) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return [shorten(line, size, width) for line in lines]


def shorten(words: str, size: int, width: int) -> str:
    """Return words, or as many of their letters as `width` pixels hold."""
    if length(words, size) <= width:
        return words
    while words and length(f"{words}…", size) > width:
        words = words[:-1]
    return f"{words}…"
