"""An evaluation on the page Results: a folder of results held against a table with the truth."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import streamlit as st
from agreement import choose_tolerance
from sources import FRESH, ROOT, from_root, is_within, log, shown_path

from medvision import MedvisionError
from medvision.dataset import SPLITS, Case, read_cases, task_of
from medvision.errors import CasesError
from medvision.evaluation import judge_cases
from medvision.evaluation_files import REPORT, facts_of, table_settings
from medvision.judged import judged_results
from medvision.outputs.evaluation_page import EvaluationFacts, evaluation_html
from medvision.outputs.saved import RESULTS, Saved
from medvision.spec import Task

MOST = 200  # tables that are looked for
HEIGHT = 900  # pixels of the report on the page


@dataclass(frozen=True)
class Asked:
    """What is held against what: equal ones have equal evaluations."""

    folders: tuple[Path, ...]  # of the results, and of those to compare with, if any
    table: Path
    split: str
    tolerance_mm: float
    stamps: tuple[float, ...]  # when each file that is read was changed, in seconds


def show_evaluation(result: Saved, every: Sequence[Saved]) -> None:
    """Let the user hold results against a table with the truth, and show what comes of it.

    A second one of `every` result that there is may be held against the same cases.
    """
    tables = {shown_path(path): path for path, task in tables_below(ROOT) if task == result.task}
    if not tables:
        truth = "mask" if result.task == "segmentation" else "label"
        st.info(
            f"There is no table with the truth here: a CSV with the columns case_id, image and "
            f"{truth}, and perhaps group (the patient), split, sex, age, scanner and site."
        )
        return
    which, against, part, place, go = st.columns([3, 3, 1, 1.4, 1], vertical_alignment="bottom")
    if st.session_state.get("truth table") not in tables:
        st.session_state["truth table"] = next(iter(tables))
    table = tables[which.selectbox("Table with the truth", list(tables), key="truth table")]
    others = {shown_path(one.folder): one for one in every if is_rival(one, result)}
    if st.session_state.get("other results") not in others:
        st.session_state["other results"] = None
    second = against.selectbox(
        "Compare with", list(others), key="other results", placeholder="No other results"
    )
    results = [result, others[second]] if second else [result]
    split = part.selectbox("Split", SPLITS, key="truth split", format_func=lambda s: s or "all")
    tolerance_mm = choose_tolerance(place) if result.task == "segmentation" else 0.0
    cases = cases_in(table, result, split)
    folders, stamps = tuple(one.folder for one in results), stamps_of(results, table, cases)
    asked = Asked(folders, table, split, tolerance_mm, stamps)
    if go.button("Evaluate", type="primary", width="stretch"):
        st.session_state["evaluated"] = asked
        log_all("compare", cases)
    if st.session_state.get("evaluated") != asked:
        st.caption(f"Cases with truth: {len(cases)}.")
        return
    facts = evaluated(asked, results, cases)
    st.download_button(
        "Report (HTML)",
        evaluation_html(facts),
        REPORT,
        "text/html",
        on_click=log_all,
        args=("export", cases),
    )
    look = "light" if st.context.theme.type == "light" else "dark"
    st.iframe(evaluation_html(facts, look), height=HEIGHT, alt="The report")


def is_rival(other: Saved, result: Saved) -> bool:
    """Tell whether other results can be held against the same truth: those of the same classes."""
    same = (other.task, other.class_names) == (result.task, result.class_names)
    return same and other.folder != result.folder


def log_all(event: str, cases: Sequence[Case]) -> None:
    """Add a line to the audit log for each case."""
    for case in cases:
        log(event, case.case_id, kind="evaluation")


@st.cache_data(show_spinner="Looking for tables …", ttl=FRESH)
def tables_below(root: Path) -> list[tuple[Path, Task]]:
    """Return the tables of cases with truth at and below a folder, each with its task."""
    found = []
    for here, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(here, name)
            if path.suffix.lower() != ".csv" or name == RESULTS or not is_within(path, root):
                continue
            try:
                found.append((path, task_of(path)))
            except MedvisionError:
                continue  # another table
            if len(found) >= MOST:
                return found
    return found


def cases_in(table: Path, result: Saved, split: str) -> list[Case]:
    """Return the cases of a table.

    Raises
    ------
    CasesError
        When it cannot be read, or leads out of the folder of the app.
    """
    try:
        cases = read_cases(table, (split,) if split else (), result.task)
    except CasesError as error:
        raise CasesError(from_root(str(error))) from None
    outside = [
        case.case_id
        for case in cases
        if not all(is_within(path, ROOT) for path in (*case.images.values(), case.mask) if path)
    ]
    if outside:
        raise CasesError(
            f"{shown_path(table)} names files outside of the folder of the app, the first of "
            f"{outside[0]}."
        )
    return cases


def stamps_of(results: Sequence[Saved], table: Path, cases: Sequence[Case]) -> tuple[float, ...]:
    """Return when each file that an evaluation reads was changed."""
    masks = [one.mask_of(row) for one in results for row in one.rows]
    tables = [table, *(one.folder / RESULTS for one in results)]
    files = [*tables, *masks, *(case.mask for case in cases)]
    return tuple(path.stat().st_mtime for path in files if path is not None)


@st.cache_resource(show_spinner="Evaluating …", max_entries=4)
def evaluated(asked: Asked, _results: Sequence[Saved], _cases: Sequence[Case]) -> EvaluationFacts:
    """Hold results against the truth, and those to compare with, where there are any.

    Raises
    ------
    CasesError
        When a case has no result, or one that does not fit it.
    """
    outside = [
        row["case_id"]
        for one in _results
        for row in one.rows
        if (path := one.mask_of(row)) and not is_within(path, ROOT)
    ]
    if outside:
        raise CasesError(f"The mask of {outside[0]} lies outside of the folder of the app.")
    first, *others = map(judged_results, asked.folders)
    other = others[0] if others else None
    try:
        found = judge_cases(first, _cases, asked.folders[0], other, asked.tolerance_mm, show=False)
    except MedvisionError as error:
        raise CasesError(from_root(str(error))) from None
    masks = first.task == "segmentation"
    folder, *against = map(shown_path, asked.folders)
    options = ["--against", *against] if against else []
    options += ["--split", asked.split] if asked.split else []
    options += ["--tolerance", f"{asked.tolerance_mm:g}"] if masks else []
    table = shown_path(asked.table)
    command = ["medvision", "evaluate", table, "--results", folder, *options]
    said = table_settings(asked.table, _cases, asked.split, asked.tolerance_mm if masks else {})
    facts = facts_of(found, _cases, table, said, [*command, "--out", "evaluation"])
    return replace(
        facts,
        title=from_root(facts.title),
        other=from_root(facts.other),
        settings={name: from_root(value) for name, value in facts.settings.items()},
        warnings=[from_root(note) for note in facts.warnings],
    )
