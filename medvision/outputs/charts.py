"""Charts as SVG inside a page: no script, their numbers in words, too. Knows nothing of results."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from medvision.outputs.page import shown

WIDTH, HEIGHT, AXIS = 260, 84, 14  # pixels: of the whole, and of the line of numbers below it
BINS = (6, 24)  # at least and at most about so many


def histogram(
    name: str,
    values: Sequence[float],
    counted: str,
    unit: str,
    color: str,
    span: tuple[float, float] | None = None,
    remark: str = "",
) -> str:
    """Return a figure of how values lie, with median and range in words; each bar has its count.

    Parameters
    ----------
    name : str
    values : sequence of float
        At least one.
    counted : str
        How many they are, in words: ``"3 studies"``.
    unit : str
        May be empty.
    color : str
        Of the bars, in CSS.
    span : pair of float, optional
        Where the axis begins and ends at least; by default around the values.
    remark : str
        Ends the words.
    """
    low, step, counts = binned(values, span)
    middle = statistics.median(values)
    most = max(counts)
    wide = WIDTH / len(counts)
    bars = []
    unit = f" {unit}" if unit else ""
    for at, count in enumerate(counts):
        if not count:
            continue
        tall = max(1.0, (HEIGHT - AXIS - 2) * count / most)
        start = low + at * step
        words = f"{start:.6g} to {start + step:.6g}{unit}: {count}"
        bars.append(
            f'<rect x="{at * wide:.2f}" y="{HEIGHT - AXIS - tall:.2f}" width="{wide - 1:.2f}" '
            f'height="{tall:.2f}" fill="{color}"><title>{shown(words)}</title></rect>'
        )
    x = (middle - low) / step * wide
    end = low + len(counts) * step
    said = (
        f"median {middle:.3g}{unit}, from {min(values):.3g} to {max(values):.3g}{unit}, "
        f"{counted}{remark}"
    )
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{shown(f"{name}: {said}")}">'
        f'<path d="M0 {HEIGHT - AXIS}H{WIDTH}" stroke="#999"/>{"".join(bars)}'
        f'<path d="M{x:.2f} 0V{HEIGHT - AXIS}" stroke="currentColor" stroke-dasharray="3 2"/>'
        f'<text x="0" y="{HEIGHT - 2}">{low:.6g}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 2}" text-anchor="end">{end:.6g}{shown(unit)}</text></svg>'
        f"<figcaption><b>{shown(name)}</b>: {shown(said)}</figcaption></figure>"
    )


def binned(
    values: Sequence[float], span: tuple[float, float] | None = None
) -> tuple[float, float, list[int]]:
    """Return where the bins begin, how wide each is, and how many values lie in each.

    Bins begin at multiples of their width, which is 1, 2 or 5 times a power of ten.
    """
    low, high = span or (0.0, 0.0)
    low, high = (min(low, *values), max(high, *values)) if span else (min(values), max(values))
    if high - low <= max(1e-6 * abs(high), 1e-12):  # all the same, but for the last digits
        low, high = low - (abs(low) / 10 or 0.5), high + (abs(high) / 10 or 0.5)
        low = max(low, 0.0) if min(values) >= 0 else low
    wanted = min(max(2 * len(values) ** (1 / 3), BINS[0]), BINS[1])
    step = round_step((high - low) / wanted)
    first = math.floor(low / step + 1e-9)
    count = max(1, math.ceil(high / step - 1e-9) - first)
    counts = [0] * count
    for value in values:
        counts[min(max(math.floor(value / step + 1e-9) - first, 0), count - 1)] += 1
    return first * step, step, counts


def round_step(step: float) -> float:
    """Return the next larger of 1, 2 or 5 times a power of ten."""
    ten = 10.0 ** math.floor(math.log10(step))
    return next(n * ten for n in (1, 2, 5, 10) if n * ten >= step * (1 - 1e-9))
