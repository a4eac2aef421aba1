"""The command that explains a classification: explain.

Heavy modules are imported inside the command, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def add_explain_command(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(explain)


def explain(
    scan: Annotated[Path, typer.Argument(help="A scan, or a folder that holds one study.")],
    model: Annotated[str, typer.Option(help="A bundled model's name, or a model folder.")],
    out: Annotated[Path, typer.Option(help="The page to write, .html.")],
    report: Annotated[
        str | None,
        typer.Option(
            help="The report: a file (.txt, .md, .json, DICOM SR) or the text itself; an empty "
            "one for none. Default: the one that belongs to the study."
        ),
    ] = None,
    class_name: Annotated[
        str | None, typer.Option("--class", help="What to explain. Default: the likeliest class.")
    ] = None,
    box: Annotated[
        str | None, typer.Option(help="Show the model only this box, as medvision predict does.")
    ] = None,
    series: Annotated[
        list[str] | None,
        typer.Option(help="The series to take: its number, UID or part of its description."),
    ] = None,
    method: Annotated[
        str, typer.Option(help="How the image is explained: grad-cam, grad-cam++, occlusion.")
    ] = "grad-cam",
    patch: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of occlusion: side of what is hidden, in voxels of the model's grid. Default: an "
            "eighth of its window.",
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of occlusion: voxels from patch to patch. Default: half a patch, in 3D a whole.",
        ),
    ] = None,
    heat: Annotated[
        Path | None,
        typer.Option(help="Write the heat on the scan's grid, too: .nii or .nii.gz."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Show what in a scan, and in the words of its report, speaks for a class: one page of HTML.

    The page holds the scan's pictures and the report's text.

    Examples:

      medvision explain film.png --model pneumonia28 --out explained.html

      medvision explain film.png --model pneumonia28 --method occlusion --out explained.html

      medvision explain scan/ --report report.txt --model runs/mine/model --out explained.html
    """
    from dataclasses import replace

    from medvision.errors import SpecError
    from medvision.explain import explain as explain_study
    from medvision.geometry import parse_box
    from medvision.io import read_study
    from medvision.outputs.explanation import save_explanation
    from medvision.outputs.nifti import save_nifti
    from medvision.prediction import in_percent
    from medvision.predictor import load_predictor

    predictor = load_predictor(model, device)
    if report and predictor.spec.text is None:
        raise SpecError(
            f"{predictor.spec.name} reads no reports: leave out --report, or name a model that was "
            "trained with them (medvision train --fuse …)."
        )
    study = read_study(scan, series, inputs=predictor.spec.inputs)
    if report is not None:
        study = replace(study, report=given(report))
    found = explain_study(
        predictor,
        study,
        class_name,
        box=parse_box(box) if box else None,
        method=method,
        patch=patch,
        stride=stride,
        show=True,
    )
    save_explanation(found, out)
    if heat is not None:
        save_nifti(found.heat, heat)
    for warning in found.warnings:
        typer.echo(f"! {warning}")
    share = (found.prediction.scores or {})[found.class_name]
    typer.echo(f"{found.class_name}, {in_percent(share)}: {out}")


def given(report: str) -> str:
    """Return the text of a report that was named or written out on the command line.

    Raises
    ------
    DecodeError
        When a file cannot be read, or something that looks like one is not there.
    """
    from medvision.io.reports import TEXTS, read_report

    looks_like_one = len(report.split()) == 1 and Path(report).suffix in (*TEXTS, ".json", ".dcm")
    if os.path.isfile(report) or looks_like_one:
        return read_report(report)
    return report
