"""The commands that look at files: info, doctor, convert, report.

Heavy modules are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Inputs = Annotated[list[Path], typer.Argument(help="Scans, zips, or folders of many studies.")]


def add_file_commands(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (info, doctor, convert, report):
        app.command()(command)


def info(
    inputs: Inputs,
    dates: Annotated[
        bool, typer.Option("--dates", help="Show dates, read from the files, instead of days.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write the list as JSON, too.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the list as CSV, too.")] = None,
) -> None:
    """List every series, from its headers: size, spacing, orientation, and what is wrong with it.

    Patients have pseudonyms, and dates are days since a patient's first study. What was found is
    kept in the user's cache, without identities: MEDVISION_INDEX=off keeps nothing.

    The key of the pseudonyms is kept there, too: a patient has the same one whenever the same
    folders are named together, by the same user, on the same machine, with the same version. In a
    copy, among other folders, of single files, or with MEDVISION_INDEX=off it is another one.

    Into a pipe or a file goes one line a series, with tabs between the columns.

    Exits with 1 if any cannot be read.

    Examples:

      medvision info scans/

      medvision info scans/ | cut -f 1,4,5
    """
    from medvision.info_table import print_facts
    from medvision.io import find_studies
    from medvision.io.listing import study_dates, write_csv, write_json

    refs = find_studies(inputs, show=True)
    told = study_dates(refs) if dates else None
    if json:
        write_json(refs, json, told)
    if csv:
        write_csv(refs, csv, told)
    print_facts(refs, told)
    raise typer.Exit(int(any(one.problem for ref in refs for one in ref.series)))


def doctor(inputs: Inputs) -> None:
    """Explain what is wrong or odd with scans, why it matters, and what to do about it.

    Exits with 1 if any series cannot be read.

    Example:

      medvision doctor scans/
    """
    from medvision.io import find_studies
    from medvision.io.doctor import diagnose
    from medvision.tables import print_findings

    refs = find_studies(inputs, show=True)
    print_findings([(ref.case_id, found) for ref in refs if (found := diagnose(ref))])
    raise typer.Exit(int(any(one.problem for ref in refs for one in ref.series)))


def convert(
    inputs: Inputs,
    out: Annotated[Path, typer.Argument(help="Folder for what is written.")],
    series: Annotated[
        str | None, typer.Option(help="Only this series: its number, UID or part of its name.")
    ] = None,
    resample: Annotated[
        bool, typer.Option("--resample", help="Put uneven or tilted slices on an even grid.")
    ] = False,
    suv: Annotated[
        bool, typer.Option("--suv", help="PET in standardized uptake values (body weight).")
    ] = False,
    deidentify: Annotated[
        bool, typer.Option("--deidentify", help="Write DICOM without identities, not NIfTI.")
    ] = False,
    seed: Annotated[
        str | None,
        typer.Option(help="With --deidentify: the same secret gives the same new UIDs and ids."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files of an earlier run.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only what went wrong.")] = False,
) -> None:
    """Write every series as NIfTI with a BIDS side-car, or as DICOM without identities.

    Exits with 1 if any series failed; the others still finish.

    Examples:

      medvision convert scans/ nifti/

      medvision convert scans/ clean/ --deidentify --seed "a secret of this project"
    """
    from medvision.convert import convert_studies
    from medvision.deidentify import deidentify_studies
    from medvision.tables import print_converted

    if deidentify and (resample or suv or series):
        raise typer.BadParameter("--deidentify keeps every series as it is: no other option fits.")
    if seed is not None and not deidentify:
        raise typer.BadParameter("--seed goes with --deidentify.")
    if deidentify:
        rows = deidentify_studies(inputs, out, seed, overwrite, not quiet)
    else:
        rows = convert_studies(inputs, out, series, suv, resample, overwrite, not quiet)
    print_converted(rows, quiet)
    raise typer.Exit(int(any(row.problem for row in rows)))


def report(
    results: Annotated[Path, typer.Argument(help="A results folder of `medvision predict`.")],
) -> None:
    """Make report.html of a results folder again: all its studies on one page, without network.

    What failed and why, how volumes or probabilities lie, the run's settings, a row and a small
    picture a study. `medvision predict` makes it at the end of a run.

    Example:

      medvision report results/
    """
    from medvision.outputs.batch_page import save_batch_page

    typer.echo(f"Wrote {save_batch_page(results)}")
