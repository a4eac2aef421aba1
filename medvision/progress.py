"""Progress on the terminal: bars, through Rich, and lines; silent where nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def announce(what: str, show: bool = True) -> None:
    """Print a line on standard error, in a terminal and a log alike."""
    if show:
        print(what, file=sys.stderr, flush=True)


def track(
    items: Iterable[T], what: str, total: int | None = None, show: bool = True
) -> Iterator[T]:
    """Yield `items` behind a progress bar named `what`, on standard error; none in a notebook."""
    if not show:
        yield from items
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if console.is_jupyter:  # where bars need ipywidgets, and stay in the file
        yield from items
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        yield from bar.track(items, total=total, description=what)
