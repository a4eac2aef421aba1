"""Tables for the terminal, through Rich."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from medvision.batch import RESULTS
from medvision.io.facts import ScanFacts
from medvision.jobs import Outcome
from medvision.replay import Replayed
from medvision.run_card import RUN_CARD


def print_outcomes(outcomes: Sequence[Outcome], class_names: Sequence[str], out: Path) -> None:
    """Print a row a study, what went wrong below it, and where the results lie."""
    console = Console()
    table = Table(title_justify="left")
    table.add_column("study", overflow="fold")
    for name in class_names:
        table.add_column(f"{name}, ml", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("status")
    for outcome in outcomes:
        row = outcome.row
        volumes = [row.get(f"{name}_ml") for name in class_names]
        table.add_row(
            row["case_id"],
            *("" if ml in (None, "") else f"{ml:.2f}" for ml in volumes),
            f"{row['seconds']:.1f}",
            "[red]failed[/]"
            if outcome.failed
            else "[yellow]ok, but see below[/]"
            if row["warnings"]
            else "ok",
        )
    console.print(table)
    print_notes(outcomes, console)
    failed = sum(outcome.failed for outcome in outcomes)
    warned = sum(bool(outcome.row["warnings"]) for outcome in outcomes)
    done = f"{len(outcomes) - failed} done" + (f" ({warned} with warnings)" if warned else "")
    console.print(
        f"{done}, {failed} failed. Table: {out / RESULTS}, "
        f"pictures and masks beside it; run card: {out / RUN_CARD}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def print_notes(outcomes: Sequence[Outcome], console: Console | None = None) -> None:
    """Print why studies failed or deserve less trust; on standard error by default."""
    console = console or Console(stderr=True)
    for outcome in outcomes:
        note = outcome.row["reason"] or outcome.row["warnings"]
        if note:
            words = f"{outcome.row['case_id']}: {note}"
            console.print(words, markup=False, highlight=False, soft_wrap=True)


def print_facts(facts: Sequence[ScanFacts]) -> None:
    """Print a row a series, and below the table what is wrong with which."""
    console = Console()
    table = Table()
    table.add_column("study", overflow="fold")
    for name in ("series", "kind", "description"):
        table.add_column(name, overflow="fold")
    for name in ("voxels", "mm", "axes", "files"):
        table.add_column(name, justify="right", overflow="fold")
    for one in facts:
        channels = f"{one.shape[0]} of " if one.shape and one.shape[0] > 1 else ""
        table.add_row(
            one.case_id,
            one.series,
            one.modality,
            one.description,
            channels + "×".join(map(str, one.shape[1:])) if one.shape else "[red]unreadable[/]",
            "×".join(f"{mm:.3g}" for mm in one.spacing),
            one.orientation,
            str(one.files),
        )
    console.print(table)
    for one in facts:
        for words in filter(None, (one.problem, *one.notes)):
            name = f"{one.case_id} {one.series}".strip()
            console.print(f"{name}: {words}", markup=False, highlight=False, soft_wrap=True)
    bad = sum(bool(one.problem) for one in facts)
    console.print(f"{len(facts)} series, {bad} unreadable.")


def print_replayed(cases: Sequence[Replayed]) -> None:
    """Print whether each case came out the same."""
    table = Table("study", "result")
    for case in cases:
        table.add_row(case.case_id, "identical" if case.identical else f"[red]{case.why}[/]")
    Console().print(table)
