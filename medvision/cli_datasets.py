"""The commands of ``medvision datasets``: public data sets to files that medvision takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

datasets_app = typer.Typer(
    help="Turn public data sets into files that medvision takes.", no_args_is_help=True
)


@datasets_app.command()
def msd(
    folder: Annotated[Path, typer.Argument(help="A task's folder, or where to download it.")],
    out: Annotated[Path, typer.Option(help="The cases.csv to write.")],
    download: Annotated[
        str, typer.Option(help="Fetch this task first, e.g. Task04_Hippocampus.")
    ] = "",
    group_by: Annotated[str, typer.Option(help="auto, pair (ids 2k−1 and 2k) or case.")] = "auto",
) -> None:
    """Medical Segmentation Decathlon: write a cases.csv for one task.

    Example:

      medvision datasets msd data --download Task04_Hippocampus --out cases.csv
    """
    from medvision.extras import dataset_builder

    builder = dataset_builder("msd")
    folder = builder.download(download, folder) if download else folder
    rows = builder.build(folder, out, group_by)
    groups = len({row["group"] for row in rows})
    names = ",".join(builder.class_names(folder)) or "NAME,NAME"
    modality = builder.modality(folder)
    hint = f" --modality {modality}" if modality else ""
    typer.echo(
        f"{len(rows)} cases in {groups} groups: {out}\n"
        f"Next: medvision train {out} --classes {names}{hint} --folds 5 --out runs/cv"
    )


@datasets_app.command()
def medmnist(
    npz: Annotated[Path, typer.Argument(help="A set's .npz, or the folder to download it to.")],
    out: Annotated[Path, typer.Option(help="The cases.csv to write.")],
    download: Annotated[str, typer.Option(help="Fetch this file first, e.g. pneumoniamnist.")] = "",
    size: Annotated[int, typer.Option(min=0, help="Reduce each axis to so many voxels.")] = 0,
) -> None:
    """MedMNIST: write a set's images and a cases.csv with its official split.

    Example:

      medvision datasets medmnist data --download adrenalmnist3d_64 --size 28 --out a28/cases.csv
    """
    from medvision.extras import dataset_builder

    builder = dataset_builder("medmnist")
    npz = builder.download(download, npz) if download else npz
    rows = builder.build(npz, out, size)
    splits = ", ".join(f"{sum(r['split'] == s for r in rows)} {s}" for s in builder.SPLITS)
    names = ",".join(builder.class_names(npz))
    typer.echo(
        f"{len(rows)} cases ({splits}): {out}\n"
        f'Next: medvision train {out} --task classification --classes "{names}" --out runs/model'
    )


@datasets_app.command()
def pairs(
    out: Annotated[Path, typer.Argument(help="The cases.csv to write.")],
    kind: Annotated[
        str,
        typer.Option(
            help="additive (image and report each tell something) or interaction (only both do)."
        ),
    ] = "additive",
    cases: Annotated[int, typer.Option(min=30, help="How many.")] = 2000,
    dims: Annotated[int, typer.Option(min=2, max=3, help="2: pictures. 3: volumes.")] = 2,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Synthetic images with reports, whose best possible AUC is known: to try fusion on.

    Example:

      medvision datasets pairs pairs/cases.csv --kind interaction
    """
    from medvision.extras import dataset_builder
    from medvision.pair_phantom import best_auc

    rows = dataset_builder("pairs").build(out, kind, cases, dims, seed)
    seen = ", ".join(f"{best_auc(kind, what):.3f} {what}" for what in ("image", "report", "both"))  # type: ignore[arg-type]
    typer.echo(
        f"{len(rows)} synthetic cases: {out}\nThe best possible AUC: {seen}.\n"
        f"Next: medvision train {out} --model cnn{dims}d --fuse gated "
        "--set network.features=8,16,32 --out runs/pairs"
    )


@datasets_app.command()
def mni152(
    out: Annotated[Path, typer.Argument(help="NIfTI file to write.")],
    resolution: Annotated[int, typer.Option(min=1, max=4, help="Voxel size in mm.")] = 1,
) -> None:
    """The MNI152 average T1 brain that ships inside the package nilearn.

    Example:

      medvision datasets mni152 brain.nii.gz
    """
    from medvision.extras import dataset_builder

    typer.echo(f"Wrote {dataset_builder('mni152').build(out, resolution)}")


@datasets_app.command(name="cxr-notes")
def cxr_notes(
    folder: Annotated[Path, typer.Argument(help="A clone of covid-chestxray-dataset.")],
    out: Annotated[Path, typer.Option(help="The cases.csv to write.")],
    label: Annotated[str, typer.Option(help="The finding to tell from all others.")] = "COVID-19",
) -> None:
    """Chest X-rays with clinical notes (covid-chestxray-dataset): write a cases.csv.

    The notes often say the finding: let the audit show how far they alone give it away.

    Example:

      git clone https://github.com/ieee8023/covid-chestxray-dataset

      medvision datasets cxr-notes covid-chestxray-dataset --out cases.csv
    """
    from medvision.extras import dataset_builder

    rows, left_out = dataset_builder("cxr_notes").build(folder, out, label)
    typer.echo(
        f"{counted(rows, left_out)}: {out}\n"
        f"Next: medvision audit {out} --sections note\n"
        f"      medvision train {out} --fuse gated --sections note --out runs/cxr"
    )


@datasets_app.command()
def openi(
    folder: Annotated[Path, typer.Argument(help="The unpacked archives, or where to put them.")],
    out: Annotated[Path, typer.Option(help="The cases.csv to write.")],
    download: Annotated[bool, typer.Option("--download", help="Fetch the archives first.")] = False,
    label: Annotated[
        str, typer.Option(help="One finding to tell from all others, e.g. Cardiomegaly.")
    ] = "",
) -> None:
    """Indiana University chest X-rays with reports (Open-i): write a cases.csv with a split.

    Without --label the findings of an image are joined by "|". The archives have 1.4 GB.

    Example:

      medvision datasets openi data --download --label Cardiomegaly --out cases.csv
    """
    from medvision.extras import dataset_builder

    builder = dataset_builder("openi")
    folder = builder.download(folder) if download else folder
    rows, left_out = builder.build(folder, out, label)
    then = (
        f"medvision train {out} --fuse gated --out runs/openi"
        if label
        else f"medvision datasets openi {folder} --label Cardiomegaly --out {out}, for one finding"
    )
    typer.echo(f"{counted(rows, left_out)}: {out}\nNext: medvision audit {out}\n      {then}")


def counted(rows: list[dict[str, str]], left_out: Mapping[str, int]) -> str:
    """Return how many cases of how many patients there are, and what was left out."""
    left = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
    patients = len({row["group"] for row in rows})
    return f"{len(rows)} cases of {patients} patients{left and f' (left out: {left})'}"
