"""The command that looks for the answer in the reports: audit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from medvision.audit import Audit


def add_audit_command(app: typer.Typer) -> None:
    """Add the command to an app."""
    app.command()(audit)


def audit(
    cases: Annotated[
        Path, typer.Argument(help="cases.csv: case_id, image, label, report or report_file, group.")
    ],
    classes: Annotated[
        str,
        typer.Option(help="The classes in the order they shall have. Default: alphabetic."),
    ] = "",
    sections: Annotated[
        str,
        typer.Option(
            help="Sections that a model is to see, comma-separated: indication, history, "
            "technique, comparison, findings, impression, note (text under no heading). All are "
            "audited; these are judged together, too, and decide the exit status. Default: "
            "indication, history, comparison."
        ),
    ] = "",
    mask: Annotated[
        list[str] | None,
        typer.Option(
            help="A word or phrase that is hidden, negations with it. May be given more than once."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write the audit there, too: .md or .json (a list where an image may have several "
            "classes)."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no table.")] = False,
) -> None:
    """Look for the answer in the reports, before a model is trained on them.

    Tells how well the text of each section alone predicts the label, which words do, and which
    reports are copies. Exits with 1 when a training on these sections would stop, or when no report
    has any of them. Where an image may have several classes (labels such as a|b, or none), each
    class is audited by itself.

    Examples:

      medvision audit cases.csv

      medvision audit cases.csv --sections history,findings --mask pneumonia --mask "pneumon*"

      medvision audit cases.csv --sections note --out audit.md
    """
    from medvision.audit import audit_classes
    from medvision.audit_page import passes, verdict
    from medvision.dataset import classes_of, is_multilabel, read_cases, task_of
    from medvision.report import DEFAULT_SECTIONS
    from medvision.text_spec import TextSpec

    if out is not None and out.suffix not in (".md", ".json"):
        raise typer.BadParameter(f"--out is a .md or a .json; found {out.name}.")
    asked = tuple(s.strip() for s in sections.split(",") if s.strip()) or DEFAULT_SECTIONS
    TextSpec(sections=asked)  # refuses names that are no section
    task = task_of(cases)
    table = read_cases(cases, task=task)
    chosen = tuple(c.strip() for c in classes.split(",") if c.strip())
    several = task == "classification" and is_multilabel(table)
    names = classes_of(table, chosen, several) if task == "classification" else ()
    found = audit_classes(table, names, several, tuple(mask or ()), asked)
    if out is not None:
        write_audit(found, out)
    for one in found:
        if not (quiet and passes(one)):
            typer.echo(verdict(one), err=quiet)
    if not quiet:
        for number, one in enumerate(found):
            print_audit(one, first=number == 0)
    raise typer.Exit(int(not all(passes(one) for one in found)))


def write_audit(found: Sequence[Audit], out: Path) -> None:
    """Write one audit, or one of each class, as a page or as data, by the file's name."""
    import json
    from dataclasses import asdict

    from medvision.audit_page import audit_page, verdict
    from medvision.files import write_text

    if out.suffix == ".json":
        every = [{"verdict": verdict(one), **asdict(one)} for one in found]
        data = every[0] if len(every) == 1 else every
        write_text(out, json.dumps(data, indent=2, allow_nan=False) + "\n")
    else:
        write_text(out, "\n".join(audit_page(one) for one in found))


def print_audit(found: Audit, first: bool = True) -> None:
    """Print a row a section and a row a word, and what was found.

    What concerns every class alike is printed with the `first` alone.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from medvision.audit_page import SECTIONS_LEGEND, WORDS_LEGEND, about, hint, kind_of

    console = Console()
    classes = f"{' or '.join(found.class_names)}: " if found.class_names else ""
    table = Table(title=escape(f"{classes}{about(found)}"), title_justify="left", box=SIMPLE_HEAD)
    table.add_column("section")
    for name in ("cases", *(f"of {escape(name)}" for name in found.class_names)):
        table.add_column(name, justify="right")
    table.add_column("AUC (95 %)", justify="right", no_wrap=True)
    for one in found.rows:
        shares = (f"{share:.0%}" for share in one.share)
        area = str(one.auc) if one.auc else "–"
        table.add_row(one.section, str(one.cases), *shares, area)
    console.print(table)
    if first:
        console.print(SECTIONS_LEGEND, markup=False, highlight=False)
    if found.words:
        table = Table(title="Words that tell", title_justify="left", box=SIMPLE_HEAD)
        for name in ("section", "word", "class"):
            table.add_column(name, overflow="fold")
        for name in ("AUC", "patients in it", "in others"):
            table.add_column(name, justify="right")
        for section, word in found.words:
            texts = (section, escape(word.word), escape(word.class_name))
            figures = (f"{word.auc:.2f}", f"{word.share_in:.0%}", f"{word.share_out:.0%}")
            table.add_row(*texts, *figures)
        console.print(table)
        console.print(WORDS_LEGEND, markup=False, highlight=False)
    for one_found in found.findings:
        if first or one_found.section:
            kind = kind_of(one_found, found)
            color = "red" if kind == "stops" else "yellow"
            said = f"[{color}]{kind}[/] {escape(one_found.text)}"
            console.print(said, highlight=False, soft_wrap=True)
    if hint(found):
        said = f"[yellow]note[/] {escape(hint(found))}"
        console.print(said, highlight=False, soft_wrap=True)
