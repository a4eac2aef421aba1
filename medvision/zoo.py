"""A name to a model folder: bundled with the package, or anywhere on disk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from medvision.checkpoint import ENSEMBLE, MODEL, SPEC, load_spec
from medvision.errors import MedvisionError, SpecError
from medvision.importers import find_importer, imported
from medvision.progress import announce

BUNDLED = Path(__file__).parent / "weights"


def bundled_models() -> dict[str, Path]:
    """Return the models that ship with medvision, name → folder; those that segment come first."""
    folders = sorted(spec.parent for spec in BUNDLED.glob(f"*/{SPEC}"))
    folders.sort(key=lambda folder: load_spec(folder).task != "segmentation")
    return {folder.name: folder for folder in folders}


def all_models(folders: Iterable[Path] = ()) -> dict[str, Path]:
    """Return the bundled models and those in some folders, name → folder.

    Each folder is a model, or holds some, or is a model of another toolkit (see `find_model`); one
    of those that cannot be imported is left out, and a line on standard error tells why. Of a
    folder of trainings the models of each, such as ``runs/x/model``, are called by its name, too:
    ``x/model``; as is a model whose own name is taken.

    Raises
    ------
    SpecError
        When one of the folders is no model, and holds none.
    """
    found = bundled_models()
    for top in folders:
        if find_importer(top):
            try:
                add(found, top, imported(top))
            except (MedvisionError, OSError) as error:
                announce_once(f"{top} is left out: {error}")
            continue
        here = [top] if (top / SPEC).is_file() else sorted(s.parent for s in top.glob(f"*/{SPEC}"))
        trained = (
            []
            if here == [top]
            else sorted(
                spec.parent for name in (MODEL, ENSEMBLE) for spec in top.glob(f"*/{name}/{SPEC}")
            )
        )
        if not here and not trained:
            raise SpecError(f"{top} is no model folder, and holds none: no {SPEC} in it.")
        for folder in here:
            add(found, folder, folder)
        for folder in trained:
            add(found, folder, folder, depth=2)
    return found


def add(found: dict[str, Path], named: Path, folder: Path, depth: int = 1) -> None:
    """Add a model by as much of a path as no other is called by, unless it is there already.

    At least by `depth` parts of it.
    """
    if folder.resolve() in {one.resolve() for one in found.values()}:
        return
    parts = named.resolve().parts
    while (name := "/".join(parts[-depth:])) in found:
        depth += 1
    found[name] = folder


@lru_cache(maxsize=1000)
def announce_once(what: str) -> None:
    """Print a line on standard error, the first time only: pages ask for models again and again."""
    announce(what)


def find_model(model: str | Path) -> Path:
    """Return the folder of a model given by name or path.

    A model of another toolkit is imported into the user's cache: see `medvision.importers`.

    Raises
    ------
    SpecError
        When there is neither; the text lists the bundled names.
    """
    bundled = bundled_models()
    if str(model) in bundled:
        return bundled[str(model)]
    folder = Path(model)
    if find_importer(folder):
        return imported(folder)
    if os.path.isdir(folder):
        return folder
    raise SpecError(
        f"No model {str(model)!r}: neither a bundled name ({', '.join(bundled) or 'none'}) "
        "nor a model folder."
    )
