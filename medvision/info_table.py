"""What `medvision info` prints: a table as wide as the terminal, or a plain line a series.

Knows nothing of how series are found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from medvision.io.pseudonym import SCOPE
from medvision.study import SeriesRef, StudyRef

Row: TypeAlias = tuple[StudyRef, SeriesRef, dict[str, str]]  # and its cells by column
STUDY = ("study", "patient", "date")
COLUMNS = (*STUDY, "series", "kind", "description", "voxels", "mm", "axes", "files")
NARROW = ("study", "series", "kind", "voxels", "mm")  # where all of them are too wide
NUMBERS = ("voxels", "mm", "axes", "files")
FOLDED = ("study", "series", "description")  # may take several lines
FOLD = 30  # characters of a description that need not be on one line with the rest


def print_facts(refs: Sequence[StudyRef], dates: Sequence[str] | None = None) -> None:
    """Print a row a series, and what is wrong with which.

    A terminal is shown a table, of fewer columns where it is narrow, and what is wrong below it.
    Anything else gets one line a series, its columns between tabs and the last of them what is
    wrong; the counts are said on standard error.

    Parameters
    ----------
    refs : sequence of StudyRef
    dates : sequence of str, optional
        One a study, shown instead of the days between a patient's studies.
    """
    console = Console()
    rows = [
        (ref, one, cells_of(ref, one, dates[n] if dates else day_of(ref)))
        for n, ref in enumerate(refs)
        for one in ref.series
    ]
    if console.is_terminal:
        narrow = NARROW if dates is None else (NARROW[0], "date", *NARROW[1:])
        console.print(fitting_table(rows, console, narrow))
        for ref, one, _ in rows:
            for words in told_of(one):
                said = f"{' '.join(dict.fromkeys((ref.case_id, one.label)))}: {words}"
                console.print(said, markup=False, highlight=False, soft_wrap=True)
    else:
        print("\t".join((*COLUMNS, "problem")))
        for _, one, cells in rows:
            told = plain(" ".join(told_of(one)))
            print("\t".join((*(plain(cells[name]) for name in COLUMNS), told)))
        console = Console(stderr=True)
    bad = sum(bool(one.problem) for _, one, _ in rows)
    words = f"{len(refs)} studies, {len(rows)} series, {bad} unreadable."
    if any(ref.patient for ref in refs):
        words += f" {SCOPE}"
    console.print(words, markup=False, highlight=False, soft_wrap=True)


def day_of(ref: StudyRef) -> str:
    """Return the day of a study since its patient's first, in words."""
    return "" if ref.day is None else f"day {ref.day}"


def told_of(one: SeriesRef) -> list[str]:
    """Return what is wrong with a series, and what its reader would decide."""
    return [words for words in (one.problem, *one.notes) if words]


def cells_of(ref: StudyRef, one: SeriesRef, date: str) -> dict[str, str]:
    """Return what is told of a series, by column."""
    return {
        "study": ref.case_id,
        "patient": ref.patient,
        "date": date,
        "series": one.label,
        "kind": one.modality or one.format,
        "description": one.description,
        "voxels": voxels_in_words(one),
        "mm": "×".join(f"{mm:.3g}" for mm in one.spacing),
        "axes": one.orientation,
        "files": str(len(one.files)),
    }


def voxels_in_words(one: SeriesRef) -> str:
    """Return the size of a series, or why it has none."""
    if not one.shape:
        return "unreadable" if one.problem else one.role
    channels = f"{one.shape[0]} of " if one.shape[0] > 1 else ""
    return channels + "×".join(map(str, one.shape[1:]))


def fitting_table(rows: Sequence[Row], console: Console, narrow: Sequence[str]) -> Table:
    """Return the table of all columns where the terminal has the room, else of `narrow` ones."""
    folded = [(r, s, c | {"description": c["description"][:FOLD]}) for r, s, c in rows]
    options = console.options.update(width=10_000)
    wide = console.measure(table_of(folded, COLUMNS), options=options).maximum
    return table_of(rows, COLUMNS if wide <= console.width else narrow)


def table_of(rows: Sequence[Row], columns: Sequence[str]) -> Table:
    """Return a table of some columns; what is of the study stands in its first row alone."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        folded = name in FOLDED
        table.add_column(
            name,
            justify="right" if name in NUMBERS else "left",
            overflow="fold",
            no_wrap=not folded,
        )
    before: StudyRef | None = None
    for ref, one, cells in rows:
        cells = {name: escape(words) for name, words in cells.items()}
        if one.label == ref.case_id:
            cells["series"] = ""  # a file by itself: its name is told once
        if ref is before:
            cells |= dict.fromkeys(STUDY, "")
        if one.problem and not one.shape:
            cells["voxels"] = f"[red]{cells['voxels']}[/]"
        table.add_row(*(cells[name] for name in columns))
        before = ref
    return table


def plain(words: str) -> str:
    """Return words on one line, without tabs and what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in words)
