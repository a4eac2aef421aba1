"""What a plan is made from: the cases of a table, their task and their classes.

Loads no torch: what is wrong with a table, or with what was asked of it, is said at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medvision.dataset import Case, classes_of, is_multilabel, read_cases, task_of
from medvision.errors import CasesError
from medvision.spec import Task


@dataclass(frozen=True)
class PlanTable:
    """The cases of a table that may be trained on, and what is to be found in them.

    Parameters
    ----------
    cases : tuple of Case
        Not those of val and test.
    task : {"segmentation", "classification"}
    class_names : tuple of str
    multilabel : bool
        Whether an image of a classification may have several classes, or none.
    """

    cases: tuple[Case, ...]
    task: Task
    class_names: tuple[str, ...]
    multilabel: bool


def read_plan_table(
    path: Path, task: Task | None = None, class_names: Sequence[str] = ()
) -> PlanTable:
    """Read a table of cases as far as a plan needs it; no image is opened.

    Raises
    ------
    CasesError
        When the table is not usable, or a segmentation's structures are not named.
    """
    task = task or task_of(path)
    cases = read_cases(path, ("", "train"), task)
    if task == "segmentation":
        if not class_names:
            raise CasesError("Name the structures: --classes anterior,posterior (labels 1, 2, …).")
        return PlanTable(tuple(cases), task, tuple(class_names), False)
    multilabel = is_multilabel(read_cases(path, (), task))
    return PlanTable(tuple(cases), task, classes_of(cases, class_names, multilabel), multilabel)
