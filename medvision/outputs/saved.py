"""Results that lie on the disk: the folders that `medvision predict` wrote, read back.

Knows nothing of models; a folder is a result because a results.csv lies in it.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medvision.errors import DecodeError
from medvision.from_json import parse_json
from medvision.io.walk import RESULTS_MARK
from medvision.outputs.uncertainty import UNCERTAINTY
from medvision.spec import Task
from medvision.spreadsheet import unquoted
from medvision.study import StudyRef

RESULTS = "results.csv"
ML, PROBABILITY = "_ml", "_probability"
NEEDED = ("case_id", "source", "status")
MOST = 200  # folders that are looked for


@dataclass(frozen=True)
class Saved:
    """One folder of results.

    Parameters
    ----------
    folder : Path
    rows : tuple of mapping
        Of results.csv, as text.
    class_names : tuple of str
        What volumes or probabilities the columns have.
    task : {"segmentation", "classification"}
    model : str
        Name; empty when the run card does not say.
    keys : mapping of str to str
        `StudyRef.key` by case, where the run card has one.
    maps : mapping of str to str
        Name of the uncertainty map's file by case, where the run card has one.
    model_sha256 : str
        As the run card says; empty when it does not.
    """

    folder: Path
    rows: tuple[Mapping[str, str], ...]
    class_names: tuple[str, ...]
    task: Task
    model: str
    keys: Mapping[str, str]
    maps: Mapping[str, str] = field(default_factory=dict)
    model_sha256: str = ""

    def mask_of(self, row: Mapping[str, str]) -> Path | None:
        """Return where the mask of a row lies; None when it has none, or it is gone."""
        name = row.get("mask", "")
        path = self.folder / Path(name).name
        return path if name and os.path.isfile(path) else None

    def uncertainty_of(self, row: Mapping[str, str]) -> Path | None:
        """Return where the uncertainty map of a row lies; None when it has none, or it is gone."""
        name = self.maps.get(row["case_id"], "")
        path = self.folder / Path(name).name
        return path if name and os.path.isfile(path) else None

    def source_of(self, row: Mapping[str, str]) -> str:
        """Return where the scan of a row lies, as a real path; empty where nothing is there.

        The path that the table names is seen from the folder, from those above it, and from where
        this program runs; the first that is there counts, as others may be of another study.
        """
        here = self.folder.resolve()
        bases = map(str, (here, *here.parents, Path.cwd()))
        places = (os.path.join(base, row["source"]) for base in bases)
        return next((os.path.realpath(place) for place in places if os.path.exists(place)), "")

    def studies_of(self, studies: Sequence[StudyRef]) -> list[StudyRef | None]:
        """Return the study that each row is of; None when it is not among `studies`.

        The run card's digest of the StudyInstanceUID tells, else the path that the table names,
        seen from the folder, those above it, and where this program runs; else the case's name,
        where it can be meant of one study only.
        """
        by_key = only_ones((ref.key, ref) for ref in studies)
        by_path = only_ones((os.path.realpath(ref.path), ref) for ref in studies)
        by_name = only_ones((ref.case_id, ref) for ref in studies)
        found: list[StudyRef | None] = []
        for row in self.rows:
            case = row["case_id"]
            words = case.split("_")
            names = ("_".join(words[:n]) for n in range(len(words), 0, -1))  # the whole one first
            hits = [by_key.get(self.keys.get(case, "")), by_path.get(self.source_of(row))]
            hits += map(by_name.get, names)
            found.append(next((ref for ref in hits if ref is not None), None))
        return found


def only_ones(pairs: Iterable[tuple[str, StudyRef]]) -> dict[str, StudyRef]:
    """Return studies by a name that only one of them has; none by an empty one."""
    found: dict[str, StudyRef | None] = {}
    for name, ref in pairs:
        found[name] = None if name in found else ref
    return {name: ref for name, ref in found.items() if name and ref is not None}


def find_saved(root: Path) -> list[Path]:
    """Return the folders of results at and below `root`, sorted; at most `MOST`.

    Hidden folders and links to folders are passed over.
    """
    found = []
    for here, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if RESULTS in files:
            found.append(Path(here))
        if len(found) >= MOST:
            break
    return found


def read_saved(folder: Path) -> Saved:
    """Read a folder of results.

    Raises
    ------
    DecodeError
        When its results.csv is not there, or none of ours.
    """
    path = folder / RESULTS
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = tuple(
                {name: unquoted(value or "") for name, value in row.items() if name}
                for row in reader
            )
            columns = [unquoted(name) for name in reader.fieldnames or ()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DecodeError(f"{path} cannot be read as a table of results: {error}.") from None
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise DecodeError(f"{path} is no table of results: it lacks {', '.join(missing)}.")
    task: Task = "classification" if "predicted" in columns else "segmentation"
    end = PROBABILITY if task == "classification" else ML
    model, sha256, keys, maps = told_by_card(card_of(folder))
    return Saved(
        folder=folder,
        rows=rows,
        class_names=tuple(name.removesuffix(end) for name in columns if name.endswith(end)),
        task=task,
        model=model,
        model_sha256=sha256,
        keys=keys,
        maps=maps,
    )


def card_of(folder: Path) -> dict[str, Any]:
    """Return the run card of a folder; empty when there is none that can be read."""
    try:
        card = parse_json((folder / RESULTS_MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def told_by_card(card: Mapping[str, Any]) -> tuple[str, str, dict[str, str], dict[str, str]]:
    """Return what a run card says: model, its hash, and by case study keys and uncertainty maps.

    All of it is empty where there is no card, or none of ours.
    """
    try:
        cases = {str(one["case_id"]): one for one in card.get("cases", ())}
        keys = {case: str(one.get("study_key", "")) for case, one in cases.items()}
        maps = {
            case: str(one["outputs"][UNCERTAINTY].get("file", ""))
            for case, one in cases.items()
            if UNCERTAINTY in one.get("outputs", ())
        }
        model = card.get("model", {})
        return str(model.get("name", "")), str(model.get("sha256", "")), keys, maps
    except (LookupError, TypeError, AttributeError):
        return "", "", {}, {}
