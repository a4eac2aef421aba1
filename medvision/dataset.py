"""cases.csv: one row a case, checked before anything runs."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from medvision.errors import CasesError, MedvisionError, SpecError
from medvision.facts import BY, FACTS, fact_columns, facts_of
from medvision.files import atomic_path
from medvision.io import read_report, read_volume
from medvision.spec import BETWEEN, NO_CLASS, ModelSpec, Task, names_of
from medvision.study import Study
from medvision.volume import Volume, same_grid

REPORTS = ("report", "report_file")  # a report's text, or where it lies
OWN = ("case_id", "image", "image_*", "mask", "label", *REPORTS, "split", "group")
COLUMNS = (*OWN, *FACTS, f"{BY}*")
TRUTH: Mapping[Task, str] = {"segmentation": "mask", "classification": "label"}
NEAR = 0.75  # of difflib's ratio, from which on a column's name is a slip of another's
SPLITS = ("", "train", "val", "test")


@dataclass(frozen=True)
class Case:
    """One row: images, the truth, the patient (`group`) it belongs to, and its `split`.

    `images` are by the name of the input they feed: column ``image_flair`` is ``"flair"``, column
    ``image`` is ``"image"``. The truth is a `mask` on the grid of the reference, the spec's first
    input, or a `label`: the name of a class, or where an image may have several ``"a|b"``, and
    ``"none"`` where it has none of them. `report` is the text as it came; None without one. `facts`
    are what sub-groups are made by, ``{"sex": "F", "age": "60–79"}``: of columns ``sex``, ``age``,
    ``scanner``, ``site`` and ``by_<name>``.
    """

    case_id: str
    images: Mapping[str, Path]
    mask: Path | None
    group: str
    split: str = ""  # "", train, val or test
    label: str = ""
    line: int = 0  # in the cases.csv
    report: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def read_cases(path: Path, splits: Sequence[str] = (), task: Task = "segmentation") -> list[Case]:
    """Read a cases.csv; relative paths start at its folder.

    Parameters
    ----------
    path : Path
    splits : sequence of str
        Return the rows of these splits alone; none means every row.
    task : {"segmentation", "classification"}
        A segmentation needs the column ``mask``, a classification ``label``.

    Raises
    ------
    CasesError
        Naming every row with an empty or double case_id, an unknown split, a missing file or
        label, or a patient of another split; or the columns that are missing, unknown or double.
    """
    rows, columns = read_table(path)
    inputs, told = image_columns(columns), fact_columns(columns)
    missing = [c for c in ("case_id", TRUTH[task]) if c not in columns]
    missing += [] if inputs else ["image (or image_<name> for each of several inputs)"]
    strange = [c for c in columns if c not in (*OWN, *inputs, *told)]
    if missing or strange:
        raise CasesError(
            f"{path}: missing columns: {', '.join(missing) or 'none'}; unknown columns: "
            f"{', '.join(with_nearest(strange, columns)) or 'none'}. Known: {', '.join(COLUMNS)}."
        )
    if set(REPORTS) <= set(columns):
        raise CasesError(
            f"{path} has a column report and a column report_file: a report is read from one of "
            "the two, its text or its path; leave the other out."
        )
    said = [*inputs.values(), *(f"fact {column.removeprefix(BY)}" for column in told)]
    if len(set(columns)) < len(columns) or len(set(said)) < len(said):
        raise CasesError(f"{path} has two columns for one thing: {', '.join(columns)}.")
    cases, problems, seen = [], [], set()
    for number, values in rows:
        row = defaultdict(str, zip(columns, values, strict=False))  # a short row lacks the rest
        case_id = row["case_id"]
        if len(values) > len(columns):
            problems.append(f"line {number} ({case_id}): more fields than the table has columns")
        if not case_id or case_id in seen:
            problems.append(f"line {number}: case_id {case_id!r} is empty or there twice")
        seen.add(case_id)
        wanted = (*inputs, "mask") if task == "segmentation" else tuple(inputs)
        files = {column: path.parent / row[column] for column in wanted}
        for column, file_path in files.items():
            if not row[column] or not os.path.exists(file_path):
                problems.append(f"line {number} ({case_id}): no {column} at {row[column]!r}")
        split, label = row["split"], row["label"]
        if split not in SPLITS:
            problems.append(f"line {number} ({case_id}): split {split!r} is not train, val or test")
        if task == "classification" and not label:
            problems.append(f"line {number} ({case_id}): no label")
        try:
            report = row["report"] or report_at(path.parent, row["report_file"])
            facts = facts_of(row, told)
        except MedvisionError as error:
            problems.append(f"line {number} ({case_id}): {error}")
            continue
        images = {name: files[column] for column, name in inputs.items()}
        group, mask = row["group"] or case_id, files.get("mask")
        cases.append(Case(case_id, images, mask, group, split, label, number, report, facts))
    refuse([*problems, *shared_groups(cases)], f"{path}:\n  ", "\n  ")
    chosen = [case for case in cases if not splits or case.split in splits]
    if not chosen:
        which = f" of split {' or '.join(map(repr, splits))}" if splits else ""
        raise CasesError(f"{path} has no rows{which}.")
    return chosen


def report_at(folder: Path, name: str) -> str | None:
    """Return the report in a file; None when none is named."""
    return read_report(folder / name) if name else None


def read_table(path: Path) -> tuple[list[tuple[int, list[str]]], list[str]]:
    """Read the rows of a CSV table, each with the line it ends on, and the column names.

    Blanks around names and values do not count.
    """
    if not path.is_file():
        raise CasesError(f"No such file: {path}.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            columns = [name.strip() for name in next(reader, [])]
            rows = [(reader.line_num, [v.strip() for v in values]) for values in reader if values]
            return rows, columns
    except (UnicodeDecodeError, csv.Error) as error:
        raise CasesError(f"{path} is not a CSV table in UTF-8: {error}.") from None


def task_of(path: Path) -> Task:
    """Return the task that a cases.csv has the truth for.

    Raises
    ------
    CasesError
        When it has masks and labels, or neither.
    """
    _, columns = read_table(path)
    found = [task for task, column in TRUTH.items() if column in columns]
    if len(found) != 1:
        known = (*OWN, *image_columns(columns), *fact_columns(columns))
        strange = [c for c in columns if c not in known]
        meant = [] if found else [one for one in with_nearest(strange, columns) if "(" in one]
        raise CasesError(
            f"{path} has {'a column mask and a column label' if found else 'no mask and no label'}:"
            f" {'say which is meant (--task)' if found else 'one of the two is the truth'}"
            f"{'; '.join(['', *meant])}."
        )
    return found[0]


def shared_groups(cases: Sequence[Case]) -> list[str]:
    """Return a sentence for each group that lies in two splits; no split counts as train."""
    found: dict[str, dict[str, list[int]]] = {}
    for case in cases:
        found.setdefault(case.group, {}).setdefault(case.split or "train", []).append(case.line)
    return [
        f"group {group} is in two splits: "
        + ", ".join(f"{split} (line {', '.join(map(str, lines))})" for split, lines in by.items())
        for group, by in found.items()
        if len(by) > 1
    ]


def patients_of(cases: Sequence[Case]) -> dict[str, str]:
    """Return the patient of each case, by case_id: what intervals are drawn over."""
    return {case.case_id: case.group for case in cases}


def is_multilabel(cases: Sequence[Case]) -> bool:
    """Tell whether a label names several classes."""
    return any(BETWEEN in case.label for case in cases)


def classes_of(
    cases: Sequence[Case], class_names: Sequence[str] = (), multilabel: bool = False
) -> tuple[str, ...]:
    """Return the classes of labeled cases: those named, else those found, in alphabetic order.

    Raises
    ------
    CasesError
        When a label is none of the named, a named class has no case, or all cases have the same;
        with `multilabel`, when all have a class.
    """
    counts = Counter(name for case in cases for name in names_of(case.label, multilabel))
    found = sorted(counts)
    names = tuple(class_names) or tuple(found)
    refuse(strange_labels(cases, names, multilabel))
    everywhere = [name for name in found if counts[name] == len(cases)]
    if everywhere or not found:
        same = " and ".join(map(repr, everywhere)) or repr(NO_CLASS)
        what = "the label" if multilabel else "the same label,"
        raise CasesError(f"All {len(cases)} cases have {what} {same}.")
    absent = [name for name in names if name not in found]
    if absent:
        raise CasesError(
            f"No case to train on has the label {' or '.join(map(repr, absent))}; found: "
            f"{', '.join(found)}."
        )
    return names


def with_nearest(strange: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return unknown columns, each with the known one that it is nearly called, if it is absent."""
    absent = [c for c in COLUMNS if c not in (*columns, "image_*", f"{BY}*")]
    told = []
    for name in strange:
        near = get_close_matches(name.lower(), absent, n=1, cutoff=NEAR) if name else []
        told.append(f'{name} (did you mean "{near[0]}"?)' if near else name)
    return told


def image_columns(columns: Sequence[str]) -> dict[str, str]:
    """Return the name of the input that each image column of a cases.csv feeds."""
    found = {c: re.fullmatch(r"image(?:_([\w-]+))?", c) for c in columns}
    return {column: match[1] or "image" for column, match in found.items() if match}


def write_cases(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    """Write rows as a cases.csv."""
    named = list(dict.fromkeys(column for row in rows for column in row))
    columns = ["case_id", *image_columns(named)]
    columns += [c for c in ("mask", "label", *REPORTS, "split", "group") if c in named]
    columns += fact_columns(named)
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_images(case: Case, spec: ModelSpec) -> Study:
    """Read the images of a case: a volume for each input of the model, the reference first.

    Raises
    ------
    CasesError
        When an input has no image, or one without a voxel size for a model that has one.
    """
    try:
        files = spec.feed(case.images)
    except SpecError as error:
        raise CasesError(
            f"{case.case_id}: {error} In a cases.csv each input is a column: "
            f"{', '.join(f'image_{name}' for name in spec.input_names)}."
        ) from None
    volumes = {name: read_volume(path) for name, path in files.items()}
    study = Study(case.case_id, volumes, case.report)
    unknown = [name for name, one in study.volumes.items() if not one.info.spacing_known]
    if unknown and spec.spacing is not None:
        raise CasesError(
            f"{case.case_id}: {files[unknown[0]]} is a picture without a known voxel size, and "
            f"{spec.name} has a spacing in mm: train a model without (spacing null)."
        )
    return study


def read_case(case: Case, spec: ModelSpec) -> tuple[Study, Volume]:
    """Read the images and the mask of a case, and check that they fit the model and each other.

    Returns
    -------
    study : Study
        A volume for each input, the reference first.
    mask : Volume
        (1, I, J, K) uint8 labels on the grid of the reference.

    Raises
    ------
    CasesError
        When an input has no image, the mask is on another grid than the reference, or it holds
        several channels or labels that are no class of the spec.
    """
    study, mask = read_images(case, spec), read_mask(case, len(spec.class_names))
    reference = next(iter(study.volumes.values()))
    if not same_grid(reference, mask):
        raise CasesError(
            f"{case.case_id}: mask {case.mask} ({mask.shape}, {mask.orientation}) is not on the "
            f"grid of its image ({reference.shape}, {reference.orientation})."
        )
    return study, mask


def read_mask(case: Case, classes: int) -> Volume:
    """Read the mask of a case: (1, I, J, K) uint8 labels, at most `classes` beside 0.

    Raises
    ------
    CasesError
        When there is none, or it holds several channels or other labels.
    """
    if case.mask is None:
        raise CasesError(f"{case.case_id} has no mask.")
    try:
        return read_label_map(case.mask, classes)
    except SpecError as error:
        raise CasesError(f"{case.case_id}: mask {error}") from None


def read_label_map(path: Path, classes: int) -> Volume:
    """Read a label map: (1, I, J, K) uint8 labels, at most `classes` beside 0.

    Raises
    ------
    SpecError
        When it holds several channels or other labels; the text begins with the path.
    """
    found = read_volume(path)
    if len(found.array) != 1:
        raise SpecError(
            f"{path} has {len(found.array)} channels ({found.info.channels or 'unnamed'}); "
            "labels are one number a voxel."
        )
    strange = [float(v) for v in np.unique(found.array) if v not in range(classes + 1)]
    if strange:
        raise SpecError(f"{path} holds labels {strange[:5]}; expected 0 to {classes}.")
    return found.with_array(found.array.astype(np.uint8))


def strange_labels(
    cases: Sequence[Case], class_names: Sequence[str], multilabel: bool = False
) -> list[str]:
    """Return a sentence for each case whose label is none of the classes, or names them wrongly."""
    problems, known = [], ", ".join(class_names)
    for case in cases:
        names, why = names_of(case.label, multilabel), ""
        if BETWEEN in case.label and not multilabel:
            why = "names several classes, and an image has one: such labels need a multilabel model"
        elif len(set(names)) < len(names):
            why = "names a class twice"
        elif not set(names) <= set(class_names):
            why = f"holds {[n for n in names if n not in class_names]}, none of the classes {known}"
            why = why if multilabel else f"is none of the classes {known}"
        if why:
            problems.append(f"line {case.line} ({case.case_id}): label {case.label!r} {why}")
    return problems


def name_case(case: Case, error: MedvisionError) -> str:
    """Return what went wrong, with the case's line and name in it."""
    text = str(error).removeprefix(f"{case.case_id}: ")
    return f"line {case.line} ({case.case_id}): {text}" if case.line else f"{case.case_id}: {text}"


def refuse(problems: Sequence[str], start: str = "", between: str = "\n") -> None:
    """Raise `CasesError` with up to 20 problems, when there are any."""
    if problems:
        more = [f"… and {len(problems) - 20} more"] if len(problems) > 20 else []
        raise CasesError(start + between.join([*problems[:20], *more]))
