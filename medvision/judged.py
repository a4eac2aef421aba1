"""Who is held against the truth: a model, what `medvision predict` left, or a folder of masks."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from medvision.checkpoint import SPEC, model_hash
from medvision.dataset import (
    Case,
    is_multilabel,
    name_case,
    read_label_map,
    read_mask,
    refuse,
    strange_labels,
)
from medvision.errors import CasesError, MedvisionError, SpecError
from medvision.evaluate import evaluate, mask_scores
from medvision.found_masks import FOUND_CARD, read_found
from medvision.importers import find_importer
from medvision.mask_figures import Tolerance
from medvision.outputs.nifti import SUFFIXES
from medvision.outputs.saved import PROBABILITY, RESULTS, Saved, read_saved
from medvision.predictor import Predictor, load_predictor
from medvision.progress import track
from medvision.scores import ClassScore, LabelScore, Score
from medvision.spec import Task, names_of
from medvision.volume import Volume
from medvision.zoo import bundled_models, find_model

ONE = 0.01  # how far from 1 the sum of probabilities may be, where a case has one class


class Judged(Protocol):
    """Who is judged."""

    @property
    def name(self) -> str:
        """As the user gave it."""

    @property
    def task(self) -> Task:
        """What it does."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of masks, label ``i + 1`` is ``class_names[i]``."""

    @property
    def settings(self) -> Mapping[str, str]:
        """What a page says of it: which model it is, by name and hash."""

    def check(self, cases: Sequence[Case]) -> None:
        """Raise `CasesError` where a case has no result, before any is judged."""

    def judge(
        self,
        cases: Sequence[Case],
        tolerance_mm: Tolerance,
        show: bool,
        keep: Callable[[str, Volume], object] | None = None,
    ) -> list[Score]:
        """Hold what it says of every case against the truth.

        `keep` is given each case_id with its mask, where that does not lie on the disk yet.
        """

    def masks_of(self, cases: Sequence[Case]) -> dict[str, Path]:
        """Return where the masks of cases lie already, by case_id."""

    def unmatched(self, cases: Sequence[Case]) -> list[str]:
        """Return results that are of no case, by name."""


@dataclass(frozen=True)
class JudgedModel:
    """A model, which is asked now."""

    name: str
    predictor: Predictor
    settings: Mapping[str, str]

    @property
    def task(self) -> Task:
        """What it does."""
        return self.predictor.spec.task

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of masks, label ``i + 1`` is ``class_names[i]``."""
        return self.predictor.spec.class_names

    def check(self, cases: Sequence[Case]) -> None:
        """Do nothing: a model is asked about every case."""

    def judge(
        self,
        cases: Sequence[Case],
        tolerance_mm: Tolerance,
        show: bool,
        keep: Callable[[str, Volume], object] | None = None,
    ) -> list[Score]:
        """Predict every case, and hold it against the truth."""
        return evaluate(self.predictor, cases, show, tolerance_mm, keep)

    def masks_of(self, cases: Sequence[Case]) -> dict[str, Path]:
        """Return nothing: its masks are made by `judge`."""
        return {}

    def unmatched(self, cases: Sequence[Case]) -> list[str]:
        """Return nothing: a model has no results beside those of the cases."""
        return []


@dataclass(frozen=True)
class SavedAnswer:
    """What was said of a case earlier.

    Parameters
    ----------
    case_id : str
        As the folder calls it.
    mask : Path, optional
        Its label map.
    scores : mapping of str to float
        Probability of each class.
    confidence : float, optional
        Of a classification.
    reason : str
        Why there is no answer.
    source : str
        Where the scan lies that it was made of; empty where that is not known.
    """

    case_id: str
    mask: Path | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    confidence: float | None = None
    reason: str = ""
    source: str = ""


@dataclass(frozen=True)
class JudgedResults:
    """Results that lie in a folder; an answer is of the case whose name or else whose image it has.

    Of a classification a case may have several classes where the table or the probabilities, which
    do not sum to 1, say so.
    """

    name: str
    task: Task
    class_names: tuple[str, ...]
    settings: Mapping[str, str]
    answers: tuple[SavedAnswer, ...]

    def answers_of(self, cases: Sequence[Case]) -> dict[str, SavedAnswer]:
        """Return the answer of each case that has one, by its case_id."""
        by_name = {answer.case_id: answer for answer in self.answers}
        by_path: dict[str, list[SavedAnswer]] = {}
        for answer in self.answers:
            by_path.setdefault(answer.source, []).append(answer)
        found = {}
        for case in cases:
            made = [by_path.get(os.path.realpath(path), []) for path in case.images.values()]
            hits = {answer.case_id: answer for some in made for answer in some}
            if case.case_id in by_name:
                found[case.case_id] = by_name[case.case_id]
            elif len(hits) == 1:
                [found[case.case_id]] = hits.values()
        return found

    def unmatched(self, cases: Sequence[Case]) -> list[str]:
        """Return results that are of no case, by name."""
        used = {answer.case_id for answer in self.answers_of(cases).values()}
        return [answer.case_id for answer in self.answers if answer.case_id not in used]

    def masks_of(self, cases: Sequence[Case]) -> dict[str, Path]:
        """Return where the masks of cases lie, by case_id."""
        return {name: one.mask for name, one in self.answers_of(cases).items() if one.mask}

    def check(self, cases: Sequence[Case]) -> None:
        """Raise `CasesError`, naming all cases that have no result, or one without an answer."""
        found = self.answers_of(cases)
        lacking = [case for case in cases if case.case_id not in found]
        problems = [name_case(case, CasesError(f"no result in {self.name}")) for case in lacking]
        problems += [
            name_case(case, CasesError(f"no result in {self.name}: {found[case.case_id].reason}"))
            for case in cases
            if case.case_id in found and found[case.case_id].reason
        ]
        if len(lacking) == len(cases):
            there = ", ".join(answer.case_id for answer in self.answers[:5]) or "none"
            problems.append(f"Results are found by case_id or by image. There are: {there}.")
        refuse(problems)

    def judge(
        self,
        cases: Sequence[Case],
        tolerance_mm: Tolerance,
        show: bool,
        keep: Callable[[str, Volume], object] | None = None,
    ) -> list[Score]:
        """Hold the results against the truth.

        Raises
        ------
        CasesError
            When a case has no result, or one that does not fit it; it names all such cases.
        """
        self.check(cases)
        found, problems = self.answers_of(cases), list[str]()
        if self.task == "classification":
            return self.judge_classes(cases, found)
        scores: list[Score] = []
        for case in track(cases, "Compare", len(cases), show):
            try:
                path, classes = found[case.case_id].mask, len(self.class_names)
                assert path is not None  # without a reason there is one
                truth, mask = read_mask(case, classes), read_label_map(path, classes)
                scores += mask_scores(mask, truth, self.class_names, tolerance_mm, case.case_id)
            except MedvisionError as error:
                problems.append(name_case(case, error))
        refuse(problems)
        return scores

    def judge_classes(self, cases: Sequence[Case], found: Mapping[str, SavedAnswer]) -> list[Score]:
        """Hold probabilities against labels."""
        sums = [sum(found[case.case_id].scores.values()) for case in cases]
        several = is_multilabel(cases) or any(abs(one - 1) > ONE for one in sums)
        refuse(strange_labels(cases, self.class_names, several))
        scores: list[Score] = []
        for case in cases:
            said = found[case.case_id]
            if several:
                truths = names_of(case.label)
                scores.append(LabelScore(case.case_id, truths, said.scores, said.confidence))
            else:
                scores.append(ClassScore(case.case_id, case.label, said.scores, said.confidence))
        return scores


def judged_model(model: str, device: str = "auto") -> JudgedModel:
    """Return a model to judge; see `load_predictor`."""
    predictor, folder = load_predictor(model, device), find_model(model)
    settings = {"model": predictor.spec.name, "SHA-256 of the model": model_hash(folder)}
    return JudgedModel(model, predictor, settings)


def judged_results(folder: Path, class_names: Sequence[str] = ()) -> JudgedResults:
    """Return a folder's results to judge.

    Parameters
    ----------
    folder : Path
        What `medvision predict` wrote, or label maps called ``<case_id>.nii.gz`` or ``.nii``.
    class_names : sequence of str
        Names of the labels 1, 2, … of such label maps. Results know their own, and so do masks
        that an evaluation kept.

    Raises
    ------
    SpecError
        When there are no results, or the classes are not known or others.
    """
    if not folder.is_dir():
        raise SpecError(f"No folder of results at {folder}.")
    if (folder / RESULTS).is_file():
        return from_saved(read_saved(folder), tuple(class_names))
    masks = masks_in(folder)
    if not masks:
        raise SpecError(
            f"{folder} holds no results: neither a {RESULTS}, as `medvision predict` leaves it, "
            "nor label maps called <case_id>.nii.gz or .nii."
        )
    said = read_found(folder)
    if said and class_names and tuple(class_names) != said.class_names:
        raise SpecError(
            f"{folder / FOUND_CARD} says that the labels 1, 2, … are "
            f"{', '.join(said.class_names)}; asked for were {', '.join(class_names)}."
        )
    class_names = said.class_names if said else class_names
    if not class_names:
        raise SpecError(
            f"{folder} holds label maps, which do not say what their labels are. Name the labels "
            "1, 2, …: --classes liver,tumor"
        )
    answers = tuple(SavedAnswer(name, path) for name, path in masks.items())
    settings = {"masks": str(folder)}
    return JudgedResults(str(folder), "segmentation", tuple(class_names), settings, answers)


def masks_in(folder: Path) -> dict[str, Path]:
    """Return the label maps in a folder, by the case they are of.

    Raises
    ------
    SpecError
        When a case has two.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        end = next((end for end in SUFFIXES if path.name.lower().endswith(end)), "")
        if not end or path.name.startswith("."):
            continue
        name = path.name[: -len(end)]
        if name in found:
            raise SpecError(f"{found[name]} and {path} are both of the case {name}: remove one.")
        found[name] = path
    return found


def from_saved(saved: Saved, class_names: tuple[str, ...]) -> JudgedResults:
    """Return what `medvision predict` left to judge."""
    if class_names and class_names != saved.class_names:
        raise SpecError(
            f"{saved.folder} has the classes {', '.join(saved.class_names)}; --classes says "
            f"{', '.join(class_names)}. Leave it out: it is for folders of label maps alone."
        )
    settings = {
        "results": str(saved.folder),
        "model": saved.model,
        "SHA-256 of the model": saved.model_sha256,
    }
    answers = tuple(answer_in(saved, row) for row in saved.rows)
    known = {key: value for key, value in settings.items() if value}
    return JudgedResults(str(saved.folder), saved.task, saved.class_names, known, answers)


def answer_in(saved: Saved, row: Mapping[str, str]) -> SavedAnswer:
    """Return what a row of results.csv says."""
    case_id, source = row["case_id"], saved.source_of(row)
    if row["status"] != "ok":
        why = row.get("reason") or f"its status is {row['status']!r}"
        return SavedAnswer(case_id, reason=why, source=source)
    if saved.task == "segmentation":
        mask = saved.mask_of(row)
        why = "" if mask else f"its mask {row.get('mask') or '(NIfTI)'} is not there"
        return SavedAnswer(case_id, mask, reason=why, source=source)
    try:
        shares = {name: float(row[f"{name}{PROBABILITY}"]) for name in saved.class_names}
        sure = float(row["confidence"]) if row.get("confidence") else None
    except ValueError:
        shares, sure = {"": math.nan}, None
    if not all(0 <= share <= 1 for share in shares.values()):  # NaN is not
        why = "its probabilities are no numbers from 0 to 1"
        return SavedAnswer(case_id, reason=why, source=source)
    return SavedAnswer(case_id, scores=shares, confidence=sure, source=source)


def judged_by(given: str, class_names: Sequence[str], device: str = "auto") -> Judged:
    """Return the second to be judged: a model by name or folder, or a folder of results.

    Parameters
    ----------
    given : str
    class_names : sequence of str
        Those of the first, which label maps have, too, that do not say theirs.
    device : str
        Of a model.

    Raises
    ------
    SpecError
        When it is none of these.
    """
    folder = Path(given)
    if given in bundled_models() or (folder / SPEC).is_file() or find_importer(folder):
        return judged_model(given, device)
    if not folder.is_dir():
        raise SpecError(
            f"Nothing to compare with at {given!r}. Fits: a bundled model "
            f"({', '.join(bundled_models())}), a model folder, a folder of `medvision predict`, "
            "or one of label maps called <case_id>.nii.gz."
        )
    plain = not any((folder / name).is_file() for name in (RESULTS, FOUND_CARD))
    return judged_results(folder, class_names if plain else ())
