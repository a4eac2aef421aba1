"""Train once on all cases, or once per fold; a group is never on both sides of a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors.torch import load_file

from medvision.audit import audit_classes
from medvision.audit_page import verdict
from medvision.checkpoint import ENSEMBLE, MODEL, WEIGHTS, load_spec, save_ensemble
from medvision.dataset import classes_of, patients_of, read_cases
from medvision.errors import AuditError, CasesError, TrainingError
from medvision.files import write_text
from medvision.folds import split_folds
from medvision.plan import plan
from medvision.plan_file import PLAN, Plan, read_plan, write_plan
from medvision.plan_table import read_plan_table
from medvision.plan_text import plan_text
from medvision.processes import first_process
from medvision.report import DEFAULT_SECTIONS
from medvision.review import limit_in_words, limit_of
from medvision.score_tables import score_table
from medvision.scores import Score, least_confidences, read_scores, write_scores
from medvision.spec import ModelSpec, Task
from medvision.train import CHECKPOINT, METRICS, train

SURE = (
    " Each case was judged by one network; an average of several is sure in another way, so that "
    "more or fewer than 5 % of the ensemble's results may be flagged."
)


@dataclass(frozen=True)
class FoldRun:
    """One training of a cross-validation; `fold` is None when all cases were trained on.

    `patients` are those of the cases that were held out, by case_id.
    """

    fold: int | None
    model: Path
    scores: Sequence[Score]
    patients: Mapping[str, str]


def plan_cases(
    cases_path: Path,
    *,
    task: Task | None = None,
    class_names: Sequence[str] = (),
    name: str = "",
    architecture: str = "",
    modality: str = "",
    width: int = 32,
    show: bool = True,
    fusion: str = "",
    sections: Sequence[str] = DEFAULT_SECTIONS,
    masked: Sequence[str] = (),
    text_encoder: str = "",
) -> Plan:
    """Plan a model from the cases of a table that may be trained on: not those of val and test.

    With folds each case validates once, and has its say here: in sizes, voxel spacing and, of CT,
    the range of HU (as in nnU-Net). With `fusion` the model reads reports, too; see
    `medvision.plan_text.plan_text`.

    Raises
    ------
    CasesError
        When the cases are not usable, or a segmentation's structures are not named.
    """
    table = read_plan_table(cases_path, task, class_names)
    text, reasons = None, dict[str, str]()
    if fusion:
        text, why = plan_text(table.cases, fusion, sections, masked, text_encoder)
        reasons |= why
    found = plan(
        table.cases,
        table.class_names,
        name or cases_path.resolve().parent.name or "model",
        table.task,
        architecture,
        modality,
        width,
        show=show,
        text=text,
        multilabel=table.multilabel,
    )
    return replace(found, reasons={**found.reasons, **reasons})


def train_folds(
    cases_path: Path,
    out: Path,
    what: Plan,
    *,
    folds: int = 0,
    only_fold: int | None = None,
    device: str = "auto",
    resume: bool = False,
    show: bool = True,
    start: Path | None = None,
    accept: bool = False,
) -> list[FoldRun]:
    """Train what is planned, into `out` or ``out/fold_<k>``.

    Rows of split ``test`` are never trained or validated on; those of ``val`` validate when there
    are no folds. The plan is kept in ``out/plan.json``. With all folds done, `out` also holds their
    joint metrics.csv, a summary, and the folds' networks as one model, ``ensemble``.

    A model that reads reports is trained after an audit of them (`medvision.audit`); what it finds
    goes into the card, and stops the training unless `accept` is True.

    Raises
    ------
    CasesError
        When the cases are not usable.
    TrainingError
        When `out` holds a run already and `resume` is False, or runs of another plan.
    AuditError
        When the reports give the answer away, and `accept` is False.
    """
    spec, config = what.spec, what.train
    if only_fold is not None and only_fold >= folds:
        raise CasesError(f"There is no fold {only_fold}: {folds} folds are asked for (--folds).")
    if folds:
        cases = read_cases(cases_path, ("", "train"), spec.task)
        splits = split_folds(cases, folds, config.seed, spec.multilabel)
    else:
        cases = read_cases(cases_path, ("", "train", "val"), spec.task)
        splits = [[i for i, case in enumerate(cases) if case.split == "val"]]
        if len(splits[0]) == len(cases):
            raise CasesError(f"{cases_path}: every row is of split val; none is left to train on.")
    if spec.task == "classification":
        known = [case for case in cases if case.split != "val"]
        classes_of(known, spec.class_names, spec.multilabel)
    notes = audit_reports(cases_path, spec, accept) if spec.text else []
    keep_plan(what, out)
    runs = []
    for number, held_out in enumerate(splits):
        if only_fold not in (None, number):
            continue
        val = [cases[i] for i in held_out]
        rest = [case for i, case in enumerate(cases) if i not in set(held_out)]
        folder = out / f"fold_{number}" if folds else out
        run = train(rest, val, spec, config, folder, device, resume, show, start, notes)
        runs.append(FoldRun(number if folds else None, run.model, run.scores, patients_of(val)))
    if folds and only_fold is None and first_process():
        scores = [score for run in runs for score in run.scores]
        write_scores(scores, out / METRICS)
        write_text(out / "summary.md", fold_table(runs) + "\n")
        join_folds(out, folds)
    return runs


def audit_reports(cases_path: Path, spec: ModelSpec, accept: bool = False) -> list[str]:
    """Return what the sections that a model is to see give away, in sentences for its card.

    Of rows without the test split: nothing of that has a say before the end.

    Raises
    ------
    CasesError
        When there is nothing to read: no report has any of these sections.
    AuditError
        When that should stop a training, and `accept` is False.
    """
    assert spec.text is not None
    cases = read_cases(cases_path, ("", "train", "val"), spec.task)
    seen, masked = spec.text.sections, spec.text.masked
    names = spec.class_names if spec.task == "classification" else ()
    found = audit_classes(cases, names, spec.multilabel, masked, seen)
    first = found[0]
    if not first.readable:
        raise CasesError(f"{cases_path}: {verdict(replace(first, question=''))}")
    stopping = list(dict.fromkeys(one for each in found for one in each.stopping(seen)))
    if stopping and not accept:
        told = "".join(f"\n  {one.text}" for one in stopping)
        raise AuditError(
            f"{cases_path}: the audit of its reports stops this training:{told}\nChoose other "
            "sections (--sections), hide words (--mask), or train all the same "
            "(--accept-findings): the card will say so. More: medvision audit."
        )
    notes = list(dict.fromkeys(note for each in found for note in each.notes(seen)))
    return [f"{first.reports} reports of {first.cases} cases were audited.", *notes]


def keep_plan(what: Plan, out: Path) -> None:
    """Write the plan of a run, unless runs are there already: then it must be theirs.

    Raises
    ------
    TrainingError
        When it is not.
    """
    path = out / PLAN
    begun = [*out.glob(CHECKPOINT), *out.glob(f"fold_*/{CHECKPOINT}")]
    if not begun or not path.is_file():
        write_plan(what, path)
        return
    theirs, mine = (
        replace(one, reasons={}, train=replace(one.train, workers=0, memory_gb=1.0)).to_json()
        for one in (read_plan(path), what)
    )
    if theirs != mine:
        raise TrainingError(
            f"{out} holds runs of another plan, {path}: go on with that one (--resume without "
            "other settings), or name another folder."
        )


def join_folds(out: Path, folds: int) -> Path:
    """Make one model of the networks of all folds: their probabilities are averaged.

    The confidence below which its results are to be reviewed comes from all cases, each judged by
    the network that was not trained on it.

    Raises
    ------
    CasesError
        When a fold is not there yet.
    """
    models = [out / f"fold_{number}" / MODEL for number in range(folds)]
    missing = [str(model) for model in models if not (model / WEIGHTS).is_file()]
    if missing:
        raise CasesError(f"These folds are not trained yet: {', '.join(missing)}.")
    spec = load_spec(models[0])
    tables = [model.parent / METRICS for model in models]
    scores = [score for path in tables if path.is_file() for score in read_scores(path)]
    sure, cases = least_confidences(scores), len({score.case_id for score in scores})
    card = (
        f"# {spec.name}: ensemble of {folds} folds\n\nResearch use only, not a medical device.\n\n"
        f"Averages the probabilities of the {folds} networks of a cross-validation. Every case was "
        "trained on by all but one of them, so that none tells how good the ensemble is; the "
        "folds' own cards say how good each network is on the cases it did not see.\n\n"
        f"## Review\n\n{limit_in_words(sure, cases, 'held-out cases of all folds')}{SURE}\n"
    )
    limit = limit_of(sure)
    spec = spec if limit is None else replace(spec, review=limit)
    return save_ensemble(out / ENSEMBLE, spec, [load_file(m / WEIGHTS) for m in models], card)


def fold_table(runs: Sequence[FoldRun]) -> str:
    """Return a Markdown table per fold, and one over all cases."""
    parts = [
        (f"Fold {run.fold}\n\n" if run.fold is not None else "")
        + score_table(run.scores, run.patients)
        for run in runs
        if run.scores
    ]
    if len(parts) > 1:
        every = [score for run in runs for score in run.scores]
        patients = {case_id: one for run in runs for case_id, one in run.patients.items()}
        parts.append(f"All folds\n\n{score_table(every, patients)}")
    return "\n\n".join(parts)
