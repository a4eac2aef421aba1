"""The command that calibrates a classification: calibrate.

Heavy modules are imported inside the command, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_calibrate_command(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(calibrate)


def calibrate(
    cases: Annotated[Path, typer.Argument(help="cases.csv: case_id, image, label, split, group.")],
    model: Annotated[str, typer.Option(help="A bundled model's name, or a model folder.")],
    out: Annotated[Path, typer.Option(help="The new model folder; the old one stays as it is.")],
    split: Annotated[
        str,
        typer.Option(
            help="The rows to take: val. Of a table without splits all rows are taken; train and "
            "test are refused."
        ),
    ] = "val",
    alpha: Annotated[
        float, typer.Option(help="Share of prediction sets that may miss the truth.")
    ] = 0.1,
    specificity: Annotated[
        float | None, typer.Option(help="Choose thresholds that keep it. Default: Youden's.")
    ] = None,
    sensitivity: Annotated[
        float | None, typer.Option(help="Choose thresholds that keep it. Default: Youden's.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.")] = False,
) -> None:
    """Make a classification's probabilities honest, on cases that it was not trained on.

    Finds a temperature, prediction sets that hold the truth as often as stated, and a threshold
    for each class; writes them into a copy of the model. More is in its card.md.

    Examples:

      medvision calibrate cases.csv --model runs/mine/model --out runs/mine/calibrated

      medvision calibrate cases.csv --model pneumonia28 --specificity 0.9 --out calibrated
    """
    from medvision.calibrate import calibrate as calibrate_model
    from medvision.dataset import read_cases
    from medvision.zoo import find_model

    rows = read_cases(cases, task="classification")
    if any(row.split for row in rows):
        rows = read_cases(cases, (split,), "classification")
    else:
        typer.secho(
            f"{cases} has no splits: all rows calibrate. Do not test the model on them, nor "
            "give rows that it was trained on.",
            fg="yellow",
            err=True,
        )
    fit = calibrate_model(
        find_model(model),
        rows,
        out,
        alpha=alpha,
        specificity=specificity,
        sensitivity=sensitivity,
        device=device,
        show=not quiet,
    )
    if not quiet:
        typer.echo(f"{fit.text()}\nModel: {out}")
