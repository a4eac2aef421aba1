"""Tables for the terminal, through Rich.

What a table shows is imported for its type alone, so that `info` needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from medvision.prediction import in_percent
from medvision.review import YES
from medvision.spec import BETWEEN

if TYPE_CHECKING:
    from medvision.convert import Converted
    from medvision.io.doctor import Finding
    from medvision.jobs import Outcome
    from medvision.model_table import ModelFacts
    from medvision.plan_file import Plan
    from medvision.replay import Replayed
    from medvision.spec import Task

LONGEST = 60  # letters of a setting that are shown


def print_outcomes(
    outcomes: Sequence[Outcome],
    class_names: Sequence[str],
    out: Path,
    task: Task = "segmentation",
) -> None:
    """Print a row a study, what went wrong below it, and where the results lie.

    A segmentation shows volumes in ml, a classification what is predicted and its probability.
    """
    from medvision.outputs.batch_page import REPORT  # loads torch, which who calls this has loaded
    from medvision.outputs.saved import RESULTS
    from medvision.run_card import RUN_CARD

    console = Console()
    table = Table(title_justify="left")
    table.add_column("study", overflow="fold")
    if task == "classification":
        table.add_column("predicted", overflow="fold")
        table.add_column("probability", justify="right")
    else:
        for name in class_names:
            table.add_column(f"{escape(name)}, ml", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("status")
    for outcome in outcomes:
        row = outcome.row
        table.add_row(
            escape(row["case_id"]),
            *(findings_of(row) if task == "classification" else volumes_of(row, class_names)),
            f"{row['seconds']:.1f}",
            status_of(outcome),
        )
    console.print(table)
    print_notes(outcomes, console)
    failed = sum(outcome.failed for outcome in outcomes)
    warned = sum(bool(outcome.row["warnings"]) for outcome in outcomes)
    flagged = sum(outcome.row.get("review") == YES for outcome in outcomes)
    counts = {"with warnings": warned, "to review": flagged}
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    done = f"{len(outcomes) - failed} done" + (f" ({told})" if told else "")
    earlier = sum(outcome.earlier for outcome in outcomes)
    before = f"; {earlier} of these {len(outcomes)} in an earlier run" if earlier else ""
    console.print(
        f"{done}, {failed} failed{before}. Page: {out / REPORT}; table: {out / RESULTS}, "
        f"the other results beside it; run card: {out / RUN_CARD}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def status_of(outcome: Outcome) -> str:
    """Return what became of a study, in color."""
    if outcome.failed:
        return "[red]failed[/]"
    if outcome.row.get("review") == YES:
        return "[magenta]to review[/]"
    return "[yellow]ok, but see below[/]" if outcome.row["warnings"] else "ok"


def volumes_of(row: Mapping[str, Any], class_names: Sequence[str]) -> list[str]:
    """Return the ml of each structure, empty where there is none."""
    volumes = [row.get(f"{name}_ml") for name in class_names]
    return ["" if ml in (None, "") else f"{ml:.2f}" for ml in volumes]


def findings_of(row: Mapping[str, Any]) -> list[str]:
    """Return the class or classes found, with the probability of each; empty for a failed study.

    Of a calibrated model with the prediction set.
    """
    predicted = row.get("predicted")
    if predicted is None:
        return ["", ""]
    shares = [row.get(f"{name}_probability") for name in predicted.split(BETWEEN)]
    among = row.get("prediction_set", "")
    told = f"{predicted} (one of: {among.replace(BETWEEN, ', ')})" if among else predicted
    return [escape(told), ", ".join(in_percent(one) for one in shares if one is not None)]


def print_notes(outcomes: Sequence[Outcome], console: Console | None = None) -> None:
    """Print why studies failed or deserve less trust; on standard error by default."""
    console = console or Console(stderr=True)
    for outcome in outcomes:
        note = outcome.row["reason"] or outcome.row["warnings"]
        if note:
            words = f"{outcome.row['case_id']}: {note}"
            console.print(words, markup=False, highlight=False, soft_wrap=True)


def print_findings(findings: Sequence[tuple[str, Sequence[Finding]]]) -> None:
    """Print what is wrong with each study, why that matters, and what to do."""
    console = Console()
    for case_id, found in findings:
        console.print(f"[bold]{escape(case_id)}[/]")
        for one in found:
            console.print(f"  [yellow]{escape(one.what)}[/]", highlight=False, soft_wrap=True)
            for words in (one.why, f"→ {one.do}"):
                console.print(f"    {words}", markup=False, highlight=False, soft_wrap=True)
    count = sum(len(found) for _, found in findings)
    console.print(f"{count} finding(s) in {len(findings)} studies.")


def print_converted(rows: Sequence[Converted], quiet: bool = False) -> None:
    """Print a row a series, and below the table what went wrong or deserves a look."""
    console = Console(stderr=quiet)
    if not quiet:
        table = Table()
        table.add_column("study", overflow="fold")
        table.add_column("series", overflow="fold")
        table.add_column("written", overflow="fold")
        for row in rows:
            written = str(row.files[0]) if row.files else ""
            more = f" and {len(row.files) - 1} more" if len(row.files) > 1 else ""
            status = "[red]failed[/] " if row.problem else ""
            table.add_row(row.case_id, row.series, f"{status}{escape(written)}{more}")
        console.print(table)
    for row in rows:
        for words in filter(None, (row.problem, *(() if quiet else row.notes))):
            said = f"{row.case_id} {row.series}: {words}"
            console.print(said, markup=False, highlight=False, soft_wrap=True)
    if not quiet:
        failed = sum(bool(row.problem) for row in rows)
        console.print(f"{len(rows) - failed} series done, {failed} failed.")


def print_replayed(cases: Sequence[Replayed]) -> None:
    """Print whether each case came out the same."""
    table = Table("study", "result")
    for case in cases:
        table.add_row(case.case_id, "identical" if case.identical else f"[red]{case.why}[/]")
    Console().print(table)


def print_plan(plan: Plan) -> None:
    """Print each decision of a plan that has a reason, and the reason."""
    table = Table(title=escape(f"{plan.spec.name}: {plan.spec.task}"), title_justify="left")
    table.add_column("setting")
    table.add_column("value", overflow="fold")
    table.add_column("why", overflow="fold")
    for name, reason in plan.reasons.items():
        table.add_row(escape(name), escape(shown(setting_of(plan, name))), escape(reason))
    Console().print(table)


def setting_of(plan: Plan, name: str) -> Any:
    """Return the value of a setting by the name its reason has; None when there is none such."""
    first, *rest = name.split(".")
    value: Any = getattr(plan.spec if hasattr(plan.spec, first) else plan.train, first, None)
    try:
        for deeper in rest:
            if isinstance(value, (tuple, Mapping)):
                key: Any = int(deeper) if isinstance(value, tuple) else deeper
                value = value[key]
            else:
                value = getattr(value, deeper)
    except (AttributeError, LookupError, ValueError):  # a person may have edited the reasons
        return None
    return value


def shown(value: Any) -> str:
    """Return a setting as people write it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown(one)}" for key, one in value.items())
    if isinstance(value, tuple):
        return (", " if any(isinstance(v, str) for v in value) else " × ").join(map(str, value))
    if isinstance(value, str) and len(value) > LONGEST:
        return f"{value[:LONGEST]} …"
    if hasattr(value, "rule"):  # an intensity rule
        span = f" {value.low:g} to {value.high:g}" if value.rule == "window" else ""
        return f"{value.rule}{span}"
    return "none" if value in (None, "") else str(value)


def print_models(facts: Sequence[ModelFacts]) -> None:
    """Print what each network costs."""
    table = Table(
        title="Networks that can be trained (--model)", title_justify="left", box=SIMPLE_HEAD
    )
    for name in ("network", "task"):
        table.add_column(name, no_wrap=True)
    for name in ("image", "weights, M", "GFLOPs", "memory, MB"):
        table.add_column(name, justify="right")
    for one in facts:
        table.add_row(
            one.name,
            one.task,
            "×".join(str(n) for n in one.input_size if n > 1),
            f"{one.parameters / 1e6:.1f}",
            f"{one.gflops:.1f}",
            f"{one.weights_mb + one.activations_mb:,.0f}",
        )
    Console().print(table)
    Console().print(
        "Per image and forward pass. Memory: of weights and of the maps that training keeps, for "
        "a batch of 1."
    )
