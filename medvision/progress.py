"""Progress on the terminal: bars, through Rich, and lines; silent where nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def announce(what: str, show: bool = True) -> None:
    """Print a line on standard error, in a terminal and a log alike."""
    if show:
        print(what, file=sys.stderr, flush=True)


def track(
    items: Iterable[T],
    what: str,
    total: int | None = None,
    show: bool = True,
    said: Callable[[], str] | None = None,
) -> Iterator[T]:
    """Yield `items` behind a progress bar named `what`, on standard error; none in a notebook.

    After each item `said` is asked what is to stand beside the name.
    """
    if not show:
        yield from items
        return
    from rich.console import Console
    from rich.markup import escape
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
        task = bar.add_task(what, total=total)
        for item in bar.track(items, total=total, task_id=task):
            yield item
            if said is not None and (words := said()):
                bar.update(task, description=f"{what}  {escape(words)}")
