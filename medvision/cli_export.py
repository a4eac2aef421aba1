"""The commands that take a model elsewhere: export, check.

Heavy modules are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_export_commands(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (export, check):
        app.command()(command)


def export(
    model: Annotated[str, typer.Argument(help="A bundled model's name, or a model folder.")],
    out: Annotated[Path, typer.Argument(help="The folder to write; new or empty.")],
    form: Annotated[
        str, typer.Option("--format", help="openvino (IR: .xml and .bin) or onnx.")
    ] = "openvino",
) -> None:
    """Write a model for programs without torch: OpenVINO or ONNX, with its spec and a test.

    README.txt in the folder says what goes in and what comes out. The folder is a model folder,
    too: medvision predict --model takes it, and runs it on the CPU by OpenVINO. What is written
    must say what torch says, or the command fails.

    Examples:

      medvision export hippocampus hippocampus-openvino

      medvision export runs/mine/model mine-onnx --format onnx
    """
    from medvision.portable import export_model
    from medvision.zoo import find_model

    parity = export_model(find_model(model), out, form)
    typer.echo(f"{out}: {parity.text()}")


def check(
    folder: Annotated[Path, typer.Argument(help="What medvision export wrote.")],
) -> None:
    """Test whether an exported model still says what torch said; exits with 1 if not.

    Example:

      medvision check hippocampus-openvino
    """
    from medvision.portable import check_export

    parity = check_export(folder)
    typer.echo(f"{folder} {'passed' if parity.passed else 'FAILED'}: {parity.text()}")
    raise typer.Exit(int(not parity.passed))
