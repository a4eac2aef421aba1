"""The command line: parse, call, print.

Heavy modules are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from medvision.cli_audit import add_audit_command
from medvision.cli_calibrate import add_calibrate_command
from medvision.cli_datasets import datasets_app
from medvision.cli_evaluate import add_evaluate_command
from medvision.cli_explain import add_explain_command
from medvision.cli_export import add_export_commands
from medvision.cli_files import add_file_commands
from medvision.cli_import import add_import_command
from medvision.cli_train import add_training_commands
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
add_training_commands(app)
add_evaluate_command(app)
add_audit_command(app)
add_calibrate_command(app)
add_explain_command(app)
add_export_commands(app)
add_import_command(app)

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
    model: Annotated[
        str,
        typer.Option(
            help="A bundled model's name, a model folder, an nnU-Net v2 results folder, or a MONAI "
            "bundle."
        ),
    ],
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
            "of several inputs. Overrules what the model asks for. Beside studies that have it, "
            "those without such a series are taken as the model chooses, with a warning."
        ),
    ] = None,
    outputs: Annotated[
        str,
        typer.Option(
            help="Files per study, joined by commas: nifti, json, overlay (the default: those of "
            "them that fit), csv, html, uncertainty; of DICOM scans also seg, seg-labelmap, sr, "
            "sc."
        ),
    ] = "",
    device: Device = "auto",
    threads: Annotated[
        int, typer.Option(min=0, metavar="N", help="CPU threads; 0 leaves it to torch.")
    ] = 0,
    runtime: Annotated[
        str,
        typer.Option(
            help="How the network is run: torch, torch-channels-last, compile, bf16, fp16 (GPU), "
            "openvino, openvino-bf16; auto takes the fastest here that changes no mask."
        ),
    ] = "torch",
    tta: Annotated[
        bool,
        typer.Option(
            "--tta",
            help="Ask again of the mirror images that the model's spec allows, and average.",
        ),
    ] = False,
    max_ram: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="GB",
            help="GB of memory that this process may take; a scan that needs more is refused "
            "before it begins, with the figure. 0: no limit.",
        ),
    ] = 0.0,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run those again that failed in an earlier run.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew where --out holds results.")
    ] = False,
    shard: Annotated[
        str,
        typer.Option(help="Run one part of the studies, such as 3/16; all may share one --out."),
    ] = "",
    ray: Annotated[
        str,
        typer.Option(
            help="Run on a Ray cluster: its address, auto for the one that this machine belongs "
            "to, local to start one here."
        ),
    ] = "",
    workers: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="With --ray; 0: one a GPU, or else one per 4 processors."
        ),
    ] = 0,
    quiet: Quiet = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print the traceback of a failed study.")
    ] = False,
) -> None:
    """Segment or classify scans: a JSON, a picture, a row of results.csv and perhaps a mask each.

    At the end report.html shows all of them on one page, which `medvision report` makes again.

    Started again with the same --out it goes on: what is done and whole is not done again. Any
    number of processes may share one --out. Exits with 1 if any study failed; the others still
    finish. More: docs/batch.md.

    Examples:

      medvision predict brain.nii.gz --model hippocampus --out results --box mni:left-hippocampus

      medvision predict scans/ --model runs/mine/model --out results

      medvision predict scans/ --model runs/mine/model --out results --retry-failed

      medvision predict scans/ --model runs/mine/model --out results --shard 3/16

      medvision predict scans/ --model runs/mine/model --out results --ray auto
    """
    from medvision.geometry import parse_box
    from medvision.jobs import parse_shard, plan_jobs
    from medvision.run_card import command_given

    boxes = [parse_box(text) for text in box or []]
    part = parse_shard(shard) if shard else None
    formats = [name.strip() for name in outputs.split(",") if name.strip()]
    jobs = plan_jobs(inputs, out, series or (), boxes, not quiet)
    options: dict[str, Any] = {
        "runtime": runtime,
        "tta": tta,
        "uncertainty": "uncertainty" in formats,
        "max_ram": max_ram * 1e9 or None,
    }
    if ray:
        from medvision.cluster import run_on_ray

        outcomes, spec = run_on_ray(
            jobs,
            model,
            out,
            ray,
            formats,
            command_given(),
            not quiet,
            debug,
            overwrite,
            retry_failed=retry_failed,
            shard=part,
            device=device,
            workers=workers,
            threads=threads,
            options=options,
        )
    else:
        from medvision.batch import run_batch
        from medvision.predictor import load_predictor

        if threads:
            import torch

            torch.set_num_threads(threads)
        predictor = load_predictor(model, device, show=not quiet, **options)
        spec = predictor.spec
        outcomes = run_batch(
            jobs,
            predictor,
            out,
            model,
            formats,
            command_given(),
            not quiet,
            debug,
            overwrite,
            retry_failed=retry_failed,
            shard=part,
        )
    from medvision.tables import print_notes, print_outcomes

    if quiet:
        print_notes(outcomes)
    else:
        print_outcomes(outcomes, spec.class_names, out, spec.task)
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

    Zipped ones are compared by what is inside.

    Start it in the folder where the run was started: its paths are as they were given.

    Example:

      medvision replay results/run.json
    """
    from medvision.replay import replay as repeat
    from medvision.run_card import command_given
    from medvision.tables import print_replayed

    folder = card if card.is_dir() else card.parent
    cases = repeat(card, out or folder / "replay", command_given(), not quiet)
    if not quiet:
        print_replayed(cases)
    raise typer.Exit(int(not all(case.identical for case in cases)))


@app.command(name="app")
def start_app(
    folder: Annotated[Path, typer.Argument(help="Folder of scans to browse.")] = Path("."),
    port: Annotated[int, typer.Option()] = 8501,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            help="A model folder, or a folder of models or of trainings (runs/), to choose from "
            "beside the bundled ones. May be given more than once."
        ),
    ] = None,
    trail: Annotated[
        Path | None,
        typer.Option(
            help="The audit log: a line for every view, run and export, with pseudonyms alone; "
            "their key lies beside it. [default: ~/.local/state/medvision/trail.jsonl]"
        ),
    ] = None,
) -> None:
    """Open the Streamlit app on this machine's address only.

    Browse the folder's scans, look at them, run models, compare results.

    Examples:

      medvision app scans/

      medvision app scans/ --model runs/mine/model
    """
    from medvision.extras import run_app

    run_app(folder, port, model or (), trail)
