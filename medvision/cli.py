"""The command line: parse, call, print.

Heavy modules are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from medvision.cli_datasets import datasets_app
from medvision.cli_files import add_file_commands
from medvision.errors import MedvisionError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(datasets_app, name="datasets")
add_file_commands(app)

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress bar and no table; only what went wrong.")
]


def print_version(asked: bool) -> None:
    """Print the version and stop, when asked to."""
    if asked:
        from medvision import __version__

        typer.echo(f"medvision {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """From a folder of scans to results a person can check. Research use, not a medical device."""


def main() -> None:
    """Run the command line; what the user can fix is one line, not a traceback."""
    try:
        app()
    except MedvisionError as error:
        typer.secho(f"Error: {error}", fg="red", err=True)
        sys.exit(1)
    except OSError as error:  # no permission, a full disk, a file where a folder should be
        typer.secho(f"Error: {error.strerror or error}: {error.filename or ''}", fg="red", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.secho("Stopped.", fg="yellow", err=True)
        sys.exit(130)


@app.command()
def predict(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Scans: NIfTI files, folders of DICOM slices, or folders of many studies."
        ),
    ],
    model: Annotated[str, typer.Option(help="A bundled model's name, or a model folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    box: Annotated[
        list[str] | None,
        typer.Option(
            help="Show the model only this box: x0:x1,y0:y1,z0:z1 in RAS mm, or for scans in MNI "
            "space mni:left-hippocampus, mni:right-hippocampus. May be given more than once."
        ),
    ] = None,
    series: Annotated[
        list[str] | None,
        typer.Option(
            help="The series to take: its number, UID or part of its description; NAME=… for one "
            "of several inputs. Overrules what the model asks for."
        ),
    ] = None,
    outputs: Annotated[str, typer.Option(help="Files per study.")] = "nifti,json,overlay",
    device: Device = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves it to torch.")] = 0,
    overwrite: Annotated[
        bool, typer.Option(help="Replace the results of an earlier run in --out.")
    ] = False,
    quiet: Quiet = False,
    debug: Annotated[bool, typer.Option(help="Print the traceback of a failed study.")] = False,
) -> None:
    """Segment scans: a mask, a JSON, a picture and a row of results.csv for each.

    Exits with 1 if any study failed; the others still finish.

    Examples:

      medvision predict brain.nii.gz --model hippocampus --out results --box mni:left-hippocampus

      medvision predict scans/ --model runs/mine/model --out results
    """
    from medvision.batch import run_batch
    from medvision.geometry import parse_box
    from medvision.jobs import plan_jobs
    from medvision.predictor import load_predictor

    boxes = [parse_box(text) for text in box or []]
    if threads:
        import torch

        torch.set_num_threads(threads)
    jobs = plan_jobs(inputs, out, series or (), boxes, not quiet)
    predictor = load_predictor(model, device)
    formats = [name.strip() for name in outputs.split(",") if name.strip()]
    outcomes = run_batch(
        jobs, predictor, out, model, formats, command(), not quiet, debug, overwrite
    )
    from medvision.tables import print_notes, print_outcomes

    if quiet:
        print_notes(outcomes)
    else:
        print_outcomes(outcomes, predictor.spec.class_names, out)
    raise typer.Exit(int(any(outcome.failed for outcome in outcomes)))


@app.command()
def replay(
    card: Annotated[Path, typer.Argument(help="A run.json, or the folder that holds it.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the new results. Default: replay/ beside the card."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Repeat a run from its run card, and tell whether the files are the same to the byte.

    Start it in the folder where the run was started: its paths are as they were given.

    Example:

      medvision replay results/run.json
    """
    from medvision.replay import replay as repeat
    from medvision.tables import print_replayed

    folder = card if card.is_dir() else card.parent
    cases = repeat(card, out or folder / "replay", command(), not quiet)
    if not quiet:
        print_replayed(cases)
    raise typer.Exit(int(not all(case.identical for case in cases)))


@app.command()
def train(
    cases: Annotated[Path, typer.Argument(help="cases.csv: case_id, image, mask, group.")],
    out: Annotated[Path, typer.Option(help="Folder for the run.")],
    classes: Annotated[
        str, typer.Option(help="Names of labels 1, 2, …, comma-separated. Not needed with --spec.")
    ] = "",
    task: Annotated[str, typer.Option(help="segmentation.")] = "segmentation",
    model: Annotated[str, typer.Option(help="Network: unet3d.")] = "unet3d",
    name: Annotated[str, typer.Option(help="Name of the model. Default: the name of --out.")] = "",
    spec: Annotated[
        Path | None,
        typer.Option(help="A spec.json to train instead of one planned from the data."),
    ] = None,
    modality: Annotated[
        str, typer.Option(help="CT or MR, where the files do not say it. CT is windowed in HU.")
    ] = "",
    width: Annotated[int, typer.Option(min=4, help="Channels of the network's first stage.")] = 32,
    roi_size: Annotated[
        str | None,
        typer.Option(
            help="Window of the network in voxels, such as 64,64,64. Default: from the data."
        ),
    ] = None,
    folds: Annotated[
        int,
        typer.Option(
            min=0, help="Cross-validate: groups are split into this many folds. 0 trains on all."
        ),
    ] = 0,
    fold: Annotated[
        int | None,
        typer.Option(min=0, help="Only this fold, counted from 0."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1)] = 1000,
    batch_size: Annotated[int, typer.Option(min=1)] = 2,
    learning_rate: Annotated[float, typer.Option(help="Peak of the schedule.")] = 4e-3,
    cycles: Annotated[
        int, typer.Option(min=1, help="Restarts of the schedule, each with half the peak.")
    ] = 1,
    flip: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Chance to mirror left and right; 0 when sides are classes."
        ),
    ] = 0.5,
    precision: Annotated[str, typer.Option(help="32-true or bf16-mixed.")] = "32-true",
    workers: Annotated[int, typer.Option(min=0, help="Processes that cut patches.")] = 0,
    eval_every: Annotated[int, typer.Option(min=1, help="Steps between validations.")] = 250,
    seed: Annotated[int, typer.Option()] = 0,
    device: Device = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves it to torch.")] = 0,
    resume: Annotated[bool, typer.Option(help="Go on with what lies in --out.")] = False,
    quiet: Quiet = False,
) -> None:
    """Train a model: a model folder that `medvision predict --model` takes.

    Watch it with: tensorboard --logdir RUN

    Examples:

      medvision train cases.csv --classes anterior,posterior --out runs/hippocampus

      medvision train cases.csv --classes tumor --out runs/cv --folds 5 --resume
    """
    from medvision.errors import require_extra

    require_extra("lightning_fabric", "train", "Training")
    require_extra("tensorboard", "train", "Training")
    from medvision.cross_validation import fold_table, train_folds
    from medvision.spec import TrainConfig, read_spec

    if task != "segmentation":
        raise typer.BadParameter(f"{task!r}: only segmentation can be trained as yet.")
    if threads:
        import torch

        torch.set_num_threads(threads)
    config = TrainConfig(
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        cycles=cycles,
        flip=flip,
        precision=precision,
        workers=workers,
        eval_every=eval_every,
        seed=seed,
    )
    if spec and (classes or name or roi_size):
        raise typer.BadParameter("--spec already says --classes, --name and --roi-size.")
    chosen = read_spec(spec) if spec else None
    runs = train_folds(
        cases,
        out,
        config,
        spec=chosen,
        folds=folds,
        only_fold=fold,
        device=device,
        resume=resume,
        class_names=tuple(c.strip() for c in classes.split(",") if c.strip()),
        name=name,
        architecture=model,
        modality=modality,
        width=width,
        roi_size=parse_roi(roi_size) if roi_size else None,
        show=not quiet,
    )
    if not quiet:
        typer.echo(fold_table(runs))
        typer.echo("Model folders: " + ", ".join(str(run.model) for run in runs))


@app.command()
def evaluate(
    cases: Annotated[
        Path,
        typer.Argument(
            help="cases.csv: case_id, image (or image_<name> for each input), mask, split."
        ),
    ],
    model: Annotated[str, typer.Option(help="A bundled model's name, or a model folder.")],
    out: Annotated[Path, typer.Option(help="CSV to write, a row a case and structure.")],
    split: Annotated[str, typer.Option(help="Only rows of this split, such as test.")] = "",
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Hold a model against masks: Dice, HD95 in mm and volume error in ml.

    Example:

      medvision evaluate cases.csv --model hippocampus --out metrics.csv
    """
    from medvision.dataset import read_cases
    from medvision.evaluate import evaluate as score_cases
    from medvision.evaluate import score_table, write_scores
    from medvision.predictor import load_predictor

    chosen = read_cases(cases, (split,) if split else ())
    scores = score_cases(load_predictor(model, device), chosen, not quiet)
    write_scores(scores, out)
    if not quiet:
        typer.echo(score_table(scores))


@app.command()
def models() -> None:
    """List the models that ship with medvision, each with its card's path."""
    from medvision.checkpoint import CARD, load_spec
    from medvision.zoo import bundled_models

    for name, folder in bundled_models().items():
        spec = load_spec(folder)
        typer.echo(
            f"{name}: {spec.architecture}, {', '.join(spec.class_names)}; card: {folder / CARD}"
        )


@app.command(name="app")
def start_app(
    folder: Annotated[Path, typer.Argument(help="Folder of scans to browse.")] = Path("."),
    port: Annotated[int, typer.Option()] = 8501,
) -> None:
    """Open the Streamlit app on this machine's address only.

    Example:

      medvision app scans/
    """
    from medvision.extras import run_app

    raise typer.Exit(run_app(folder, port))


def parse_roi(text: str) -> tuple[int, int, int]:
    """Read three voxel counts."""
    try:
        i, j, k = (int(side) for side in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not like 64,64,64.") from None
    return i, j, k


def command() -> list[str]:
    """Return the command as given, for the run card."""
    return ["medvision", *sys.argv[1:]]
