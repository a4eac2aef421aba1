"""Results that lie on the disk: the folders that `medvision predict` wrote, read back.

Knows nothing of models; a folder is a result because a results.csv lies in it.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medvision.errors import DecodeError
from medvision.io.walk import RESULTS_MARK
from medvision.outputs.table import FORMULA_STARTS
from medvision.outputs.uncertainty import UNCERTAINTY
from medvision.spec import Task
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
    uids : mapping of str to str
        StudyInstanceUID by case, where the run card has one.
    maps : mapping of str to str
        Name of the uncertainty map's file by case, where the run card has one.
    """

    folder: Path
    rows: tuple[Mapping[str, str], ...]
    class_names: tuple[str, ...]
    task: Task
    model: str
    uids: Mapping[str, str]
    maps: Mapping[str, str] = field(default_factory=dict)

    def mask_of(self, row: Mapping[str, str]) -> Path | None:
        """Return where the mask of a row lies; None when it has none, or it is gone."""
        name = row.get("mask", "")
        path = self.folder / Path(name).name
        return path if name and path.is_file() else None

    def uncertainty_of(self, row: Mapping[str, str]) -> Path | None:
        """Return where the uncertainty map of a row lies; None when it has none, or it is gone."""
        name = self.maps.get(row["case_id"], "")
        path = self.folder / Path(name).name
        return path if name and path.is_file() else None

    def studies_of(self, studies: Sequence[StudyRef]) -> list[StudyRef | None]:
        """Return the study that each row is of; None when it is not among `studies`.

        The run card's StudyInstanceUID tells, else the path that the table names, seen from the
        folder, those above it, and where this program runs; else the case's name, where it can be
        meant of one study only.
        """
        by_uid = only_ones((ref.uid, ref) for ref in studies)
        by_path = only_ones((os.path.realpath(ref.path), ref) for ref in studies)
        by_name = only_ones((ref.case_id, ref) for ref in studies)
        bases = [os.getcwd(), *map(str, (self.folder.resolve(), *self.folder.resolve().parents))]
        found: list[StudyRef | None] = []
        for row in self.rows:
            case = row["case_id"]
            words = case.split("_")
            names = ("_".join(words[:n]) for n in range(len(words), 0, -1))  # the whole one first
            places = (os.path.realpath(os.path.join(base, row["source"])) for base in bases)
            hits = [by_uid.get(self.uids.get(case, "")), *map(by_path.get, places)]
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
    card = card_of(folder)
    return Saved(
        folder=folder,
        rows=rows,
        class_names=tuple(name.removesuffix(end) for name in columns if name.endswith(end)),
        task=task,
        model=str(card.get("model", {}).get("name", "")),
        uids={one["case_id"]: one.get("study_uid", "") for one in card.get("cases", ())},
        maps={
            one["case_id"]: str(one["outputs"][UNCERTAINTY].get("file", ""))
            for one in card.get("cases", ())
            if UNCERTAINTY in one.get("outputs", ())
        },
    )


def card_of(folder: Path) -> dict[str, Any]:
    """Return the run card of a folder; empty when there is none that can be read."""
    try:
        card = json.loads((folder / RESULTS_MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def unquoted(text: str) -> str:
    """Take back what `harmless` puts before text that a spreadsheet would run."""
    return text[1:] if text[:1] == "'" and text[1:].startswith(FORMULA_STARTS) else text
