"""Models of other toolkits as model folders: by command, or in passing, kept in the user's cache.

An importer knows one kind of source; `IMPORTERS` lists them, a line each.
"""

from __future__ import annotations

import inspect
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

from medvision.checkpoint import SPEC, save_ensemble, save_model
from medvision.errors import SpecError
from medvision.importers.imported import Imported
from medvision.importers.monai_bundle import (
    is_monai_bundle,
    monai_files,
    read_monai_bundle,
)
from medvision.importers.nnunet import is_nnunet, nnunet_files, read_nnunet
from medvision.models import build_model
from medvision.models.bounded import BoundedBuild
from medvision.progress import announce

VARIABLE = "MEDVISION_IMPORTED"  # another folder for what is imported in passing, or "off"
EDITION = "1"  # of the translation: another one makes anew what is in the cache
REFUSED: dict[tuple[Path, str], str] = {}  # source and digest → why, while this process runs


@dataclass(frozen=True)
class Importer:
    """What knows one kind of source.

    Parameters
    ----------
    name : str
    fits : callable
        Tells whether a path is such a source.
    read : callable
        From the path, and options by name, to an `Imported`.
    files : callable
        From the path to the files that the result depends on.
    """

    name: str
    fits: Callable[[Path], bool]
    read: Callable[..., Imported]
    files: Callable[[Path], Sequence[Path]]


IMPORTERS = (
    Importer("nnU-Net", is_nnunet, read_nnunet, nnunet_files),
    Importer("MONAI", is_monai_bundle, read_monai_bundle, monai_files),
)


def find_importer(source: Path) -> Importer | None:
    """Return what reads a source; None for what is no foreign model."""
    if not os.path.exists(source) or (source / SPEC).is_file():
        return None
    return next((one for one in IMPORTERS if one.fits(source)), None)


def import_model(source: Path, out: Path, **options: Any) -> Path:
    """Make a model folder of another toolkit's model.

    Parameters
    ----------
    source : Path
        A results folder of nnU-Net v2, such as ``nnUNetTrainer__nnUNetPlans__3d_fullres``; or a
        bundle of MONAI, folder or zip.
    out : Path
        The model folder; it must hold no model yet.
    **options
        Of the importer: see `read_nnunet`. Those that are None or empty count as not given.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    SpecError
        When nothing reads the source, or it holds what medvision has no counterpart of.
    """
    importer = find_importer(source)
    if importer is None:
        names = ", ".join(one.name for one in IMPORTERS)
        raise SpecError(
            f"{source} is no model that can be imported ({names}): of nnU-Net v2 give the folder "
            "that holds plans.json, dataset.json and fold_0; of MONAI the bundle, folder or zip, "
            "that holds configs/metadata.json, configs/inference.json and models/model.pt."
        )
    if (out / SPEC).exists():
        raise SpecError(f"{out} holds a model already: choose another folder.")
    given = {name: value for name, value in options.items() if value}
    strange = sorted(set(given) - set(inspect.signature(importer.read).parameters))
    if strange:
        raise SpecError(f"A model of {importer.name} has no {', '.join(strange)} to choose.")
    found = importer.read(source, **given)
    check_fit(found, source)
    if len(found.states) > 1:
        return save_ensemble(out, found.spec, found.states, found.card)
    return save_model(out, found.spec, found.states[0], found.card)


def check_fit(found: Imported, source: Path) -> None:
    """Refuse weights that the network of the spec does not take, each and all."""
    with BoundedBuild(found.states[:1]):
        network = build_model(replace(found.spec, members=1))
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    for state in found.states:
        given = {name: tuple(value.shape) for name, value in state.items()}
        if strange := sorted({*wanted.items()} ^ {*given.items()}):
            name, shape = strange[0]
            raise SpecError(
                f"{source}: weights and plans do not fit, first at {name} {shape}: its trainer "
                "builds another network than the plans say."
            )


def imported(source: Path) -> Path:
    """Return the model folder made of a foreign model, from the cache where it was made before.

    Raises
    ------
    SpecError
        As `import_model`; or where `VARIABLE` is off.
    """
    importer = find_importer(source)
    if importer is None:
        raise SpecError(f"{source} is no model that can be imported.")
    setting = os.environ.get(VARIABLE, "")
    if setting.lower() == "off":
        raise SpecError(
            f"{source} is a model of {importer.name}, and {VARIABLE} is off: make a model folder "
            f"of it with medvision import {source} --out FOLDER."
        )
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    kept = Path(setting) if setting else Path(cache) / "medvision" / "imported"
    digest = digest_of(source, importer)
    folder = kept / digest
    if (folder / SPEC).is_file():
        return folder
    if why := REFUSED.get((source.absolute(), digest)):
        raise SpecError(why)
    announce(f"{source} is a model of {importer.name}: imported into {folder}")
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=kept) as part:
        try:
            made = import_model(source, Path(part) / "model")
        except SpecError as error:
            REFUSED[source.absolute(), digest] = str(error)
            raise
        try:
            made.rename(folder)
        except OSError:  # another process was faster
            if not (folder / SPEC).is_file():
                raise
    return folder


def digest_of(source: Path, importer: Importer) -> str:
    """Return what tells this model from any other: of its files, and of how they are read.

    A file is read again only when its size or its time has changed.
    """
    digest = blake2b(f"{importer.name} {EDITION}".encode(), digest_size=16)
    try:
        for file in importer.files(source):
            facts = file.stat()
            digest.update(file.relative_to(source).as_posix().encode())
            digest.update(content_of(file.absolute(), facts.st_size, facts.st_mtime_ns))
    except OSError as error:
        raise SpecError(f"{source} cannot be read: {error}.") from None
    return digest.hexdigest()


@lru_cache(maxsize=1000)
def content_of(path: Path, size: int, time_ns: int) -> bytes:
    """Return the digest of a file's content, as long as its size and its time are these."""
    with path.open("rb") as content:
        return file_digest(content, blake2b).digest()
