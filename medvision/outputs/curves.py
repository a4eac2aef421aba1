"""Charts with two axes as SVG inside a page: curves and dots. No script; each mark has its words.

Colors are the page's (`STYLE`), so that they fit light, dark and paper. Knows nothing of results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias, TypeVar

from medvision.outputs.charts import round_step
from medvision.outputs.page import shown

Item = TypeVar("Item")
Point: TypeAlias = tuple[float, float]  # x, y in the units of the axes

WIDTH, HEIGHT = 300, 250  # pixels: of the whole
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 8, 38  # pixels: around what the axes span
TICKS = 5  # about so many an axis
MOST_DOTS = 1000  # in a chart
FIRST, SECOND, GUIDE = "first", "second", "guide"  # of a model, of the other one, of neither
STYLE = """.charts svg path, .charts svg line { fill: none; }
.first { stroke: var(--first); stroke-width: 2; }
.second { stroke: var(--second); stroke-width: 2; stroke-dasharray: 5 3; }
.guide { stroke: var(--faint); stroke-dasharray: 2 3; }
.rule { stroke: var(--rule); }
circle { stroke: var(--ink); stroke-width: 0.5; }
circle.first { fill: var(--first); stroke-width: 0.5; }
"""


@dataclass(frozen=True)
class Axes:
    """What two axes are of, and from where to where they go.

    Parameters
    ----------
    x_title, y_title : str
        With their units.
    x, y : pair of float
    """

    x_title: str
    y_title: str
    x: Point = (0.0, 1.0)
    y: Point = (0.0, 1.0)

    def place(self, point: Point) -> Point:
        """Return where a point lies, in pixels from the left and from the top."""
        across = (point[0] - self.x[0]) / (self.x[1] - self.x[0])
        up = (point[1] - self.y[0]) / (self.y[1] - self.y[0])
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )

    def drawn(self) -> str:
        """Return the lines of a grid, with their numbers, and what the axes are of."""
        parts = []
        for value in ticks(self.x):
            x, _ = self.place((value, self.y[0]))
            parts.append(f'<path class="rule" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
            parts.append(text(x, HEIGHT - BOTTOM + 13, f"{value:.4g}", "middle"))
        for value in ticks(self.y):
            _, y = self.place((self.x[0], value))
            parts.append(f'<path class="rule" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
            parts.append(text(LEFT - 4, y + 4, f"{value:.4g}", "end"))
        middle = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
        parts.append(text(middle[0], HEIGHT - 6, self.x_title, "middle"))
        turn = f' transform="rotate(-90 11 {middle[1]:.1f})"'
        parts.append(text(11, middle[1], self.y_title, "middle", turn))
        return "".join(parts)


def ticks(span: Point) -> list[float]:
    """Return round numbers within a span.

    Examples
    --------
    >>> ticks((-3, 7))
    [-2.0, 0.0, 2.0, 4.0, 6.0]
    """
    step = round_step((span[1] - span[0]) / TICKS)
    first, last = math.ceil(span[0] / step - 1e-9), math.floor(span[1] / step + 1e-9)
    return [n * step for n in range(first, last + 1)]


def spread(values: Sequence[float], least: float = 0.0) -> Point:
    """Return a span around values, with a margin of a twentieth; at least `least` wide."""
    low, high = min(values), max(values)
    room = max(high - low, least, 1e-9 * max(abs(low), abs(high)), 1e-12)
    middle = (low + high) / 2
    return middle - 0.55 * room, middle + 0.55 * room


def thinned(items: Sequence[Item]) -> tuple[Sequence[Item], str]:
    """Return what is drawn as dots, at most 1000, and words that say which; empty of all.

    Examples
    --------
    >>> thinned(range(5))
    (range(0, 5), '')
    >>> thinned(range(2500))
    (range(0, 2500, 3), '; one case in 3 is drawn')
    """
    step = math.ceil(len(items) / MOST_DOTS)
    return (items[::step], f"; one case in {step} is drawn") if step > 1 else (items, "")


def text(x: float, y: float, words: str, anchor: str, more: str = "") -> str:
    """Return words at a place; the anchor is their ``"start"``, ``"middle"`` or ``"end"``."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{shown(words)}</text>'


def curve(axes: Axes, points: Sequence[Point], look: str, words: str) -> str:
    """Return a line through points."""
    places = ("{:.1f} {:.1f}".format(*axes.place(point)) for point in points)
    line = " ".join(place for place, _ in groupby(places))  # of many cases most are the same
    return f'<path class="{look}" d="M{line}"><title>{shown(words)}</title></path>'


def dot(axes: Axes, point: Point, words: str, color: str = "") -> str:
    """Return a dot, of a color in CSS or of the page's first."""
    x, y = axes.place(point)
    look = f'fill="{color}"' if color else f'class="{FIRST}"'
    title = f"<title>{shown(words)}</title>"
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" {look}>{title}</circle>'


def chart(name: str, axes: Axes, marks: Sequence[str], words: str) -> str:
    """Return a figure: marks on axes, and below them what they tell.

    Parameters
    ----------
    name, words : str
        Plain text.
    axes : Axes
    marks : sequence of str
        From `curve` and `dot`.
    """
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{shown(f"{name}: {words}")}">{axes.drawn()}{"".join(marks)}</svg>'
        f"<figcaption><b>{shown(name)}</b>: {shown(words)}</figcaption></figure>"
    )
