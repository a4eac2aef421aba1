"""The command that judges: evaluate, of models, of results, and of what reports add.

Heavy modules are imported inside the command, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_evaluate_command(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(evaluate)


def evaluate(
    cases: Annotated[
        Path,
        typer.Argument(
            help="cases.csv: case_id, image, mask or label, split, group; and what sub-groups are "
            "made by: sex, age, scanner, site, by_NAME."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for report.html, scores.csv, figures.csv, figures.json and found masks."
        ),
    ],
    model: Annotated[str, typer.Option(help="A bundled model's name, or a model folder.")] = "",
    results: Annotated[
        Path | None,
        typer.Option(
            help="Instead of a model what was found earlier: a folder of `medvision predict`, or "
            "of label maps called <case_id>.nii.gz, with --classes."
        ),
    ] = None,
    classes: Annotated[
        str,
        typer.Option(help="Of a folder of label maps: names of labels 1, 2, …, comma-separated."),
    ] = "",
    against: Annotated[
        str,
        typer.Option(
            help="A second model, or folder of results, on the same cases: paired differences, "
            "with p values corrected by Holm."
        ),
    ] = "",
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="With --against: what the two are compared by, such as dice; may be given more "
            "than once. Default: dice, nsd, hd95_mm; auc, balanced_accuracy, brier."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Only rows of this split, such as test.")] = "",
    tolerance: Annotated[
        list[str] | None,
        typer.Option(help="Of masks the NSD's, in mm: 1.5, or of one structure name=1.5."),
    ] = None,
    ablate: Annotated[
        bool,
        typer.Option(
            "--ablate",
            help="Train what --plan says with the image alone, the report alone, both, and both "
            "with the reports of others, and hold them and TF-IDF against each other.",
        ),
    ] = False,
    plan_file: Annotated[
        Path | None, typer.Option("--plan", help="With --ablate: what `medvision plan` wrote.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="With --ablate: trainings of each.")] = 3,
    folds: Annotated[
        int, typer.Option(min=2, help="With --ablate, where no rows are of split test.")
    ] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves it to torch.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no table.")] = (
        False
    ),
) -> None:
    """Hold a model or its results against the truth: masks, or classes.

    Of masks overlap, distances, volumes and lesions; of classes AUC, calibration and more; each
    with 95 % intervals over patients, in all and by sub-group. docs/evaluation.md has the rest.

    With --ablate: does the report add anything to the image? Trains what the answer needs.

    Examples:

      medvision evaluate cases.csv --split test --model runs/liver/model --out evaluation

      medvision evaluate cases.csv --results results --against runs/other/model --out evaluation

      medvision evaluate cases.csv --results masks --classes liver,tumor --out evaluation

      medvision evaluate cases.csv --ablate --plan plan.json --out ablation
    """
    asked = {
        "--model": model,
        "--results": results,
        "--split": split,
        "--tolerance": tolerance,
        "--against": against,
        "--classes": classes,
        "--metric": metric,
    }
    given = [option for option, value in asked.items() if value]
    if ablate and given:
        raise typer.BadParameter(
            f"--ablate does not go with {given[0]}: it trains models of "
            "its own, and judges them by the rows of split test, or by folds."
        )
    if [bool(model), results is not None, ablate].count(True) != 1:
        raise typer.BadParameter("give one of --model, --results, or --ablate with --plan.")
    if ablate != (plan_file is not None):
        raise typer.BadParameter("--ablate and --plan go together.")
    if classes and results is None:
        raise typer.BadParameter("--classes goes with --results: a model knows its own.")
    if metric and not against:
        raise typer.BadParameter("--metric goes with --against.")
    check_folder(out)
    if threads:
        import torch

        torch.set_num_threads(threads)
    if plan_file is not None:
        compare(cases, plan_file, out, seeds, folds, device, quiet)
        return
    from medvision.dataset import read_cases
    from medvision.evaluation import judge_cases, tables
    from medvision.evaluation_files import REPORT, table_settings, write_evaluation
    from medvision.judged import Judged, judged_by, judged_model, judged_results
    from medvision.mask_figures import parse_tolerances
    from medvision.progress import announce
    from medvision.run_card import command_given

    first: Judged
    if results is None:
        first = judged_model(model, device)
    else:
        first = judged_results(results, [c.strip() for c in classes.split(",") if c.strip()])
    other = judged_by(against, first.class_names, device) if against else None
    chosen = read_cases(cases, (split,) if split else (), first.task)
    tolerances = parse_tolerances(tolerance or [], first.class_names)
    found = judge_cases(first, chosen, out, other, tolerances, not quiet, metric or ())
    said = table_settings(cases, chosen, split, tolerances if first.task == "segmentation" else {})
    notes = write_evaluation(found, chosen, out, str(cases), said, command_given())
    for note in notes:
        announce(note, not quiet)
    if not quiet:
        typer.echo(tables(found))
        typer.echo(f"\nPage: {out / REPORT}; scores and figures lie beside it.")


def check_folder(out: Path) -> None:
    """Raise `typer.BadParameter` where a file is named to hold what a folder holds."""
    if out.suffix.lower() in (".csv", ".json", ".html"):
        raise typer.BadParameter(
            f"--out is a folder, for scores.csv, figures.csv, figures.json and report.html; "
            f"{out} reads like a file. Fits: --out {out.with_suffix('')}"
        )
    if out.exists() and not out.is_dir():
        raise typer.BadParameter(f"--out is a folder; {out} is a file.")
    from medvision.io.walk import RESULTS_MARK

    if (out / RESULTS_MARK).exists():
        raise typer.BadParameter(
            f"{out} holds results of `medvision predict`, whose page would be replaced: name "
            "another folder."
        )


def compare(
    cases: Path, plan_file: Path, out: Path, seeds: int, folds: int, device: str, quiet: bool
) -> None:
    """Run the comparison of --ablate, and write and print its page."""
    from medvision.ablate import ablate, check_plan
    from medvision.ablation_page import PAGE, ablation_page
    from medvision.files import write_text
    from medvision.plan_file import read_plan

    plan = read_plan(plan_file)
    check_plan(plan, str(plan_file), cases)
    found = ablate(
        cases,
        out,
        plan,
        seeds=tuple(range(seeds)),
        folds=folds,
        device=device,
        show=not quiet,
    )
    page = ablation_page(found)
    write_text(out / PAGE, page)
    if not quiet:
        typer.echo(page)
