"""The command that makes a model folder of another toolkit's model: import.

Heavy modules are imported inside the command, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_import_command(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(name="import")(import_)


def import_(
    source: Annotated[
        Path,
        typer.Argument(
            help="An nnU-Net v2 results folder (the one with plans.json, dataset.json and fold_0), "
            "or a MONAI bundle (folder or zip)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
    folds: Annotated[
        str,
        typer.Option(
            help="Of nnU-Net: joined by commas, an ensemble. Default: all that are there."
        ),
    ] = "",
    checkpoint: Annotated[str, typer.Option(help="Of nnU-Net: final or best.")] = "",
    orientation: Annotated[
        str,
        typer.Option(
            help="Of nnU-Net: how the axes of all training scans ran in their files, such as LPS, "
            "if you know; then scans stored in any other way are turned. Default: axes as each "
            "file has them."
        ),
    ] = "",
) -> None:
    """Make a model folder of another toolkit's model, for all that takes --model.

    medvision predict takes such a model as it is, too, and keeps what it makes of it in your
    cache (MEDVISION_IMPORTED names another folder for that, or is off).

    Examples:

      medvision import nnUNet_results/Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres
      --out models/hippocampus --folds 0,1

      medvision import spleen_ct_segmentation.zip --out models/spleen
    """
    from medvision.importers import import_model

    chosen = [fold.strip() for fold in folds.split(",") if fold.strip()]
    import_model(source, out, folds=chosen, checkpoint=checkpoint, orientation=orientation)
    typer.echo(f"{out}: {(out / 'card.md').read_text(encoding='utf-8')}")
