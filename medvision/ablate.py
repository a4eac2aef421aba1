"""The honest comparison: does the report add anything to the image, and the image to the report?

Trains the same network with the image alone, the report alone, both, and both with the reports of
other patients; and a text baseline. All with the same settings and seeds, on the same cases.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medvision.audit import no, yes_or_no
from medvision.dataset import Case, read_cases, read_images
from medvision.errors import CasesError, SpecError
from medvision.files import atomic_path
from medvision.folds import split_folds
from medvision.plan_file import Plan
from medvision.predictor import Predictor, load_predictor
from medvision.progress import announce, track
from medvision.report import report_for_model
from medvision.spec import ModelSpec, names_of
from medvision.spreadsheet import harmless, unquoted
from medvision.tfidf import TextBaseline
from medvision.train import train

BOTH, IMAGE, TEXT = "image and report", "image only", "report only"
SHUFFLED, TFIDF = "image and another's report", "TF-IDF of the report"
DROPOUTS: Mapping[str, tuple[float, float] | None] = {  # None: as planned
    BOTH: None,
    IMAGE: (0.0, 1.0),
    TEXT: (1.0, 0.0),
    SHUFFLED: None,
}
ANSWERS = "answers.csv"

Shares = NDArray[np.float64]  # (M, N): probabilities of N classes for M cases


@dataclass(frozen=True)
class Ablation:
    """What each variant said of the same cases.

    Parameters
    ----------
    class_names : tuple of str
    case_ids, groups : sequence of str
        Of the M cases that were judged; none of them was trained on.
    truth : (M,) class numbers
        With `multilabel` (M, N), 1 where a case has a class.
    scores : mapping of str to list of (M, N)
        Probabilities by variant, one array a seed.
    without : list of (M, N)
        What `BOTH` says of the same cases when their reports are missing.
    left_out : int
        Cases without a report that the model may read.
    seeds : tuple of int
        Of the trainings.
    multilabel : bool
        Whether a case may have several classes, whose probabilities are then each by itself.
    """

    class_names: tuple[str, ...]
    case_ids: Sequence[str]
    groups: Sequence[str]
    truth: NDArray[np.int64]
    scores: Mapping[str, list[Shares]]
    without: list[Shares]
    left_out: int
    seeds: tuple[int, ...]
    multilabel: bool = False

    @property
    def questions(self) -> list[Ablation]:
        """The comparison itself, or with `multilabel` one of each class: does a case have it?"""
        if not self.multilabel:
            return [self]
        return [
            replace(
                self,
                class_names=(no(name), name),
                truth=self.truth[:, number],
                scores={what: one_of(all_, number) for what, all_ in self.scores.items()},
                without=one_of(self.without, number),
                multilabel=False,
            )
            for number, name in enumerate(self.class_names)
        ]


def one_of(scores: Sequence[Shares], number: int) -> list[Shares]:
    """Return the probabilities (M, 2) of lacking and of having one class of (M, N)."""
    return [np.stack([1 - one[:, number], one[:, number]], axis=1) for one in scores]


def ablate(
    cases_path: Path,
    out: Path,
    plan: Plan,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    folds: int = 5,
    device: str = "auto",
    show: bool = True,
) -> Ablation:
    """Train every variant with every seed, and ask each about cases it was not trained on.

    These are the rows of split ``test``, if there are any; else all rows are, each by the networks
    of the fold that left its patient out. Rows without a report that the model may read take no
    part. Trainings lie in `out`, and go on where they were when called again.

    Parameters
    ----------
    cases_path : Path
    out : Path
    plan : Plan
        Of a classification that reads reports; its settings serve all variants.
    seeds : sequence of int
    folds : int
        Where there is no split ``test``.
    device : str
    show : bool
        Say which training runs, with progress bars.

    Raises
    ------
    SpecError
        When the plan is none of a classification that reads reports.
    CasesError
        When no case has a report.
    """
    spec = plan.spec
    check_plan(plan, "The plan", cases_path)
    every = read_cases(cases_path, (), "classification")
    cases = [case for case in every if seen_of(case, spec)]
    splits = parts_of(cases, folds, spec.multilabel)
    judged = [case for _, _, test in splits for case in test]
    scores: dict[str, list[Shares]] = {name: [] for name in (*DROPOUTS, TFIDF)}
    without = []
    total, done = len(seeds) * len(DROPOUTS) * len(splits), 0
    for seed in seeds:
        for name in DROPOUTS:
            found = []
            for number, part in enumerate(splits):
                done += 1
                fold = f", fold {number}" if len(splits) > 1 else ""
                title = f"Training {done} of {total}: {name}, seed {seed}{fold}"
                folder = out / slug(name) / f"seed_{seed}_{number}"
                found.append(answers(name, seed, part, plan, folder, device, show, title))
            scores[name].append(np.concatenate([said for said, _ in found]))
            if name == BOTH:
                without.append(np.concatenate([image for _, image in found]))
    scores[TFIDF] = [np.concatenate([baseline(part, spec) for part in splits])]
    return Ablation(
        spec.class_names,
        [case.case_id for case in judged],
        [case.group for case in judged],
        truth_of(judged, spec),
        scores,
        without,
        len(every) - len(cases),
        tuple(seeds),
        spec.multilabel,
    )


def check_plan(plan: Plan, name: str, cases_path: Path) -> None:
    """Raise `SpecError` unless a plan, called `name`, is of a classification that reads reports."""
    if plan.spec.text is None or plan.spec.task != "classification":
        lacks = "segments" if plan.spec.task == "segmentation" else "reads no reports"
        raise SpecError(
            f"{name} {lacks}, and compared are classifications that read reports. Make one: "
            f"medvision plan {cases_path} --fuse gated --out plan.json"
        )


def truth_of(cases: Sequence[Case], spec: ModelSpec) -> NDArray[np.int64]:
    """Return the cases' class numbers (M,), or whether they have each class (M, N)."""
    if spec.multilabel:
        have = [[name in names_of(case.label) for name in spec.class_names] for case in cases]
        return np.array(have, np.int64)
    return np.array([spec.class_names.index(case.label) for case in cases])


Part = tuple[list[Case], list[Case], list[Case]]  # to train on, to choose the step by, to judge


def parts_of(cases: Sequence[Case], folds: int, multilabel: bool = False) -> list[Part]:
    """Return what is trained on, validated on and judged: once, or once a fold."""
    train_cases = [case for case in cases if case.split in ("", "train")]
    val = [case for case in cases if case.split == "val"]
    test = [case for case in cases if case.split == "test"]
    if test:
        return [(train_cases, val, test)]
    parts: list[Part] = []
    for held_out in split_folds(train_cases, folds, multilabel=multilabel):
        inside = set(held_out)
        rest = [case for i, case in enumerate(train_cases) if i not in inside]
        parts.append((rest, val, [train_cases[i] for i in held_out]))
    return parts


def seen_of(case: Case, spec: ModelSpec) -> str:
    """Return what the model may read of a case's report."""
    assert spec.text is not None
    return report_for_model(case.report, spec.text.sections, spec.text.masked)


def shuffled(cases: Sequence[Case], seed: int) -> list[Case]:
    """Return the cases, each with the report of a case of another patient, as far as possible."""
    order = np.random.default_rng(seed).permutation(len(cases))
    for _ in range(len(cases)):
        same = [i for i, j in enumerate(order) if cases[i].group == cases[j].group]
        if not same:
            break
        other = np.random.default_rng((seed, len(same))).integers(len(cases), size=len(same))
        for i, j in zip(same, other, strict=True):
            order[i], order[j] = order[j], order[i]
    return [replace(case, report=cases[j].report) for case, j in zip(cases, order, strict=True)]


def answers(
    name: str,
    seed: int,
    part: Part,
    plan: Plan,
    out: Path,
    device: str,
    show: bool,
    title: str,
) -> tuple[Shares, Shares]:
    """Return what a variant says of the cases to judge, and what of images alone.

    It is trained first, unless it was; then its title is announced.
    """
    train_cases, val, test = part
    if name == SHUFFLED:
        train_cases, val, test = (shuffled(cases, seed) for cases in part)
    path, names = out / ANSWERS, plan.spec.class_names
    if not path.exists():
        announce(title, show)
        spec = variant(plan.spec, name)
        config = replace(plan.train, seed=seed, keep=plan.train.keep if val else "last")
        run = train(train_cases, val, spec, config, out, device, resume=True, show=show)
        write_answers(path, names, test, ask(load_predictor(run.model, device), name, test, show))
    return read_answers(path, names, test)


def variant(spec: ModelSpec, name: str) -> ModelSpec:
    """Return the spec of a variant: the same network, practiced without what it shall not use."""
    assert spec.text is not None
    dropout = DROPOUTS[name] or spec.text.modality_dropout
    return replace(spec, name=slug(name), text=replace(spec.text, modality_dropout=dropout))


def ask(
    predictor: Predictor, name: str, cases: Sequence[Case], show: bool
) -> list[tuple[Mapping[str, float], Mapping[str, float]]]:
    """Return, for each case, what the variant says, and what it says of the image alone."""
    found = []
    for case in track(cases, name.capitalize(), len(cases), show):
        said = predictor.predict(read_images(case, predictor.spec))
        assert said.scores is not None
        image = said.alone["image"]
        whole = {IMAGE: image, TEXT: said.alone["report"]}.get(name, said.scores)
        found.append((whole, image))
    return found


def baseline(part: Part, spec: ModelSpec) -> Shares:
    """Return what TF-IDF and a linear model, fitted on the training reports, say of the others."""
    train_cases, val, test = part
    known = [*train_cases, *val]
    texts, asked = ([seen_of(case, spec) for case in cases] for cases in (known, test))
    groups = [case.group for case in known]
    if not spec.multilabel:
        model = TextBaseline(spec.class_names).fit(texts, [c.label for c in known], groups)
        return model.predict(asked)
    found = []
    for name in spec.class_names:
        labels = [case.label for case in yes_or_no(known, name)]
        found.append(TextBaseline((no(name), name)).fit(texts, labels, groups).predict(asked)[:, 1])
    return np.stack(found, axis=1)


def slug(name: str) -> str:
    """Return a variant's name as a folder's."""
    return name.replace("'", "").replace(" ", "_")


def write_answers(
    path: Path,
    names: Sequence[str],
    cases: Sequence[Case],
    found: Sequence[tuple[Mapping[str, float], Mapping[str, float]]],
) -> None:
    """Write a row a case: the truth, the probabilities, and those of the image alone."""
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        alone = [f"{name}_image_alone" for name in names]
        writer.writerow(["case_id", "truth", *names, *alone])
        for case, (said, image) in zip(cases, found, strict=True):
            numbers = [*(said[name] for name in names), *(image[name] for name in names)]
            words = harmless(case.case_id), harmless(case.label)
            writer.writerow([*words, *(f"{p:.8f}" for p in numbers)])


def read_answers(path: Path, names: Sequence[str], cases: Sequence[Case]) -> tuple[Shares, Shares]:
    """Read what `write_answers` wrote for these cases.

    Raises
    ------
    CasesError
        When the file is no such table, or of other cases.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            _, *rows = csv.reader(file)
        said = [[unquoted(one) for one in row[:1]] for row in rows]
        table = np.array([[float(v) for v in row[2:]] for row in rows])
        table = table.reshape(len(rows), 2 * len(names))
    except (ValueError, csv.Error) as error:
        raise CasesError(f"{path} is no table of answers: {error}.") from None
    if said != [[case.case_id] for case in cases]:
        raise CasesError(f"{path} holds answers for other cases: name another folder.")
    return table[:, : len(names)], table[:, len(names) :]
