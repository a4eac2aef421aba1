"""The commands that make models, and list them: plan, train, models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from medvision.plan_file import Plan
    from medvision.plan_table import PlanTable
    from medvision.text_spec import TextSpec

Cases = Annotated[
    Path, typer.Argument(help="cases.csv: case_id, image, mask or label, split, group.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no table.")]
TaskName = Annotated[
    str, typer.Option("--task", help="segmentation or classification. Default: what has a column.")
]
Classes = Annotated[
    str,
    typer.Option(
        help="Names of labels 1, 2, … of masks, comma-separated. Of labels, the classes in the "
        "order they shall have; default: alphabetic."
    ),
]
Architecture = Annotated[str, typer.Option(help="Network; `medvision models` lists them.")]
ModelName = Annotated[str, typer.Option(help="Name of the model. Default: that of the folder.")]
Modality = Annotated[
    str, typer.Option(help="CT or MR, where the files do not say it. CT is windowed in HU.")
]
Width = Annotated[int, typer.Option(min=4, metavar="N", help="Channels of a U-Net's first stage.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Any setting of a plan, as NAME=VALUE: learning_rate=0.001, roi_size=64,64,64, "
        "augment.mirror=RAS. May be given more than once.",
    ),
]
Fusion = Annotated[
    str,
    typer.Option(
        "--fuse",
        help="Let the model read the reports, too, and join them with the images by: late, concat, "
        "gated, film or cross_attention.",
    ),
]
Sections = Annotated[
    str,
    typer.Option(
        help="Sections of the reports that the model may see: indication, history, technique, "
        "comparison, findings, impression, note (text under no heading). Default: indication, "
        "history, comparison."
    ),
]
Masked = Annotated[
    list[str] | None,
    typer.Option(
        "--mask",
        help="A word or phrase that is hidden from the model, negations with it. May be given more "
        "than once.",
    ),
]
TextEncoderName = Annotated[
    str,
    typer.Option(
        help="A Hugging Face text encoder, by folder or name. Default: a small one of our own."
    ),
]


def add_training_commands(app: typer.Typer) -> None:
    """Add the commands to an app."""
    for command in (plan, train, models):
        app.command()(command)


def plan(
    cases: Cases,
    out: Annotated[Path, typer.Option(help="The plan.json to write.")] = Path("plan.json"),
    task: TaskName = "",
    classes: Classes = "",
    model: Architecture = "",
    name: ModelName = "",
    modality: Modality = "",
    width: Width = 32,
    fuse: Fusion = "",
    sections: Sections = "",
    mask: Masked = None,
    text_encoder: TextEncoderName = "",
    settings: Settings = None,
    quiet: Quiet = False,
) -> None:
    """Look at the data and plan a model: what to train, how, and a line of reason for each.

    The file can be edited, and is what `medvision train --plan` takes.

    Examples:

      medvision plan cases.csv --classes liver,tumor --modality CT

      medvision plan cases.csv --model resnet50_3d --set steps=5000 --out plan.json

      medvision plan cases.csv --fuse gated --sections indication,history
    """
    from medvision.plan_file import check_settings, with_settings, write_plan
    from medvision.tables import print_plan

    check_settings(settings or ())
    reports = read_reports(fuse, sections, mask, text_encoder)
    asked = check_table(cases, task, classes)
    found = make_plan(cases, asked, model, name, modality, width, not quiet, reports)
    found = with_settings(found, settings or ())
    write_plan(found, out)
    if not quiet:
        print_plan(found)
        if found.spec.text:
            typer.echo(f"First: {audit_command(cases, found.spec.text)}")
        typer.echo(f"Next: medvision train {cases} --plan {out} --out runs/{found.spec.name}")


def audit_command(cases: Path, text: TextSpec) -> str:
    """Return the command that audits what a planned model is to read."""
    from shlex import join

    from medvision.report import DEFAULT_SECTIONS

    sections = () if text.sections == DEFAULT_SECTIONS else ("--sections", ",".join(text.sections))
    masks = (part for word in text.masked for part in ("--mask", word))
    return join(["medvision", "audit", str(cases), *sections, *masks])


def train(
    cases: Cases,
    out: Annotated[Path, typer.Option(help="Folder for the run.")],
    plan_file: Annotated[
        Path | None,
        typer.Option("--plan", help="What `medvision plan` wrote. Default: it is planned now."),
    ] = None,
    task: TaskName = "",
    classes: Classes = "",
    model: Architecture = "",
    name: ModelName = "",
    modality: Modality = "",
    width: Width = 32,
    fuse: Fusion = "",
    sections: Sections = "",
    mask: Masked = None,
    text_encoder: TextEncoderName = "",
    settings: Settings = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--start-from",
            help="Weights to begin with: a model folder, MedicalNet's or a 2D network's file.",
        ),
    ] = None,
    folds: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Cross-validate: groups are split into this many folds. 0 trains on all.",
        ),
    ] = 0,
    fold: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Only this fold, counted from 0.")
    ] = None,
    device: Device = "auto",
    threads: Annotated[
        int, typer.Option(min=0, metavar="N", help="CPU threads; 0 leaves it to torch.")
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what lies in --out.")
    ] = False,
    accept_findings: Annotated[
        bool,
        typer.Option(
            "--accept-findings",
            help="Train although the reports give the answer away; the card will say so.",
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train a model: a model folder that `medvision predict --model` takes.

    Plans from the data first, unless a plan is given. Ctrl-C saves; --resume goes on.
    Watch it with: tensorboard --logdir RUN

    Examples:

      medvision train cases.csv --classes anterior,posterior --out runs/hippocampus

      medvision train cases.csv --plan plan.json --folds 5 --out runs/cv --resume

      medvision train cases.csv --model resnet18_3d --set steps=2000 --set keep=best --out runs/x

      medvision train cases.csv --fuse gated --out runs/with_reports

      torchrun --nproc-per-node=2 -m medvision train cases.csv --plan plan.json --out runs/x
    """
    from medvision.dataset import read_cases
    from medvision.errors import require_extra

    require_extra("lightning_fabric", "train", "Training")
    require_extra("tensorboard", "train", "Training")
    from medvision.plan_file import PLAN, check_settings, read_plan, with_settings

    check_settings(settings or ())
    if plan_file is not None and (task or classes or model or name or modality or fuse):
        raise typer.BadParameter(
            "a plan already says task, classes, model, name, modality and fusion."
        )
    if resume and plan_file is None and (out / PLAN).is_file():
        plan_file = out / PLAN  # what the first command planned, whatever it was told
    if plan_file is not None:
        chosen = with_settings(read_plan(plan_file), settings or ())
        read_cases(cases, (), chosen.spec.task)
    else:
        reports = read_reports(fuse, sections, mask, text_encoder)
        asked = check_table(cases, task, classes)
    # what is wrong with all that is said before torch is loaded, which takes seconds
    from medvision.checkpoint import ENSEMBLE
    from medvision.cross_validation import fold_table, train_folds
    from medvision.processes import first_process
    from medvision.tables import print_plan

    if threads:
        import torch

        torch.set_num_threads(threads)
    quiet = quiet or not first_process()  # of torchrun's processes the first speaks
    if plan_file is None:
        title = name or out.resolve().name
        chosen = make_plan(cases, asked, model, title, modality, width, not quiet, reports)
        chosen = with_settings(chosen, settings or ())
    if not quiet:
        print_plan(chosen)
    try:
        runs = train_folds(
            cases,
            out,
            chosen,
            folds=folds,
            only_fold=fold,
            device=device,
            resume=resume,
            show=not quiet,
            start=start,
            accept=accept_findings,
        )
    except KeyboardInterrupt:
        typer.secho("Stopped; the same command with --resume goes on.", fg="yellow", err=True)
        raise typer.Exit(130) from None
    if not quiet:
        typer.echo(fold_table(runs))
        folders = [str(run.model) for run in runs]
        folders += [str(out / ENSEMBLE)] if folds and fold is None else []
        typer.echo("Model folders: " + ", ".join(folders))


def read_reports(
    fuse: str, sections: str, mask: list[str] | None, text_encoder: str
) -> dict[str, Any]:
    """Return what is asked for of the reports, as arguments of `plan_cases`."""
    from medvision.report import DEFAULT_SECTIONS
    from medvision.text_spec import TextSpec

    if not fuse and (sections or mask or text_encoder):
        raise typer.BadParameter("--sections, --mask and --text-encoder need --fuse.")
    if not fuse:
        return {}
    text = TextSpec(fuse, split(sections) or DEFAULT_SECTIONS, tuple(mask or ()), text_encoder)
    return {
        "fusion": text.fusion,
        "sections": text.sections,
        "masked": text.masked,
        "text_encoder": text.encoder,
    }


def make_plan(
    cases: Path,
    asked: PlanTable,
    model: str,
    name: str,
    modality: str,
    width: int,
    show: bool,
    reports: Mapping[str, Any],
) -> Plan:
    """Plan from a table of cases, with options as they came from the command line."""
    from medvision.cross_validation import plan_cases

    return plan_cases(
        cases,
        task=asked.task,
        class_names=asked.class_names,
        name=name,
        architecture=model,
        modality=modality,
        width=width,
        show=show,
        **reports,
    )


def check_table(cases: Path, task: str, classes: str) -> PlanTable:
    """Return what is to be planned from, or say at once, without torch, what is wrong with it."""
    from medvision.plan_table import read_plan_table
    from medvision.spec import TASKS

    known = next((one for one in TASKS if one == task), None)
    if task and known is None:
        raise typer.BadParameter(f"{task!r} is none of {', '.join(TASKS)}.")
    return read_plan_table(cases, known, split(classes))


def split(words: str) -> tuple[str, ...]:
    """Return what commas stand between."""
    return tuple(one.strip() for one in words.split(",") if one.strip())


def models() -> None:
    """List the models that ship with medvision, and the networks that can be trained."""
    from medvision.checkpoint import CARD, load_spec
    from medvision.model_table import describe_models
    from medvision.tables import print_models
    from medvision.zoo import bundled_models

    for name, folder in bundled_models().items():
        spec = load_spec(folder)
        typer.echo(
            f"{name}: {spec.task}, {spec.architecture}, {', '.join(spec.class_names)}; "
            f"card: {folder / CARD}"
        )
    print_models(describe_models())
