"""Tables of a page, that a screen reader can read and a phone can scroll. Knows no results."""

from __future__ import annotations

from collections.abc import Sequence

from medvision.outputs.page import shown


def table_html(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str = "",
    named: bool = True,
    stacked: bool = False,
) -> str:
    """Return a table of plain text.

    Parameters
    ----------
    head : sequence of str
    rows : sequence of sequence of str
        As many cells as the head has.
    caption : str
    named : bool
        Whether the first cell of a row says what the row is of.
    stacked : bool
        Whether what a cell has in brackets stands below the rest, so that many columns fit.
    """
    cells = [[shown(one) for one in row] for row in rows]
    if stacked:
        cells = [[*row[:1], *map(below, row[1:])] for row in cells]
    return raw_table([shown(one) for one in head], cells, caption, named)


def below(cell: str) -> str:
    """Return a cell with what it has in brackets below the rest."""
    value, bracket, rest = cell.partition(" (")
    return f'{value} <span class="below">({rest}</span>' if bracket else cell


def raw_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", named: bool = True
) -> str:
    """Return a table of cells that are HTML; as `table_html`."""
    title = f"<caption>{shown(caption)}</caption>" if caption else ""
    heads = "".join(f'<th scope="col">{one}</th>' for one in head)
    lines = []
    for row in rows:
        first = f'<th scope="row">{row[0]}</th>' if named else f"<td>{row[0]}</td>"
        lines.append(f"<tr>{first}{''.join(f'<td>{one}</td>' for one in row[1:])}</tr>")
    body = f"<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'<div class="wide"><table class="grid">{title}{body}</table></div>'


def unfolded(summary: str, content: str) -> str:
    """Return content that shows when its summary is pressed, and in print."""
    return f"<details><summary>{shown(summary)}</summary>{content}</details>"
