"""Train once on all cases, or once per fold; a group is never on both sides of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medvision.dataset import read_cases, split_folds
from medvision.errors import CasesError
from medvision.evaluate import Score, score_table, write_scores
from medvision.files import write_text
from medvision.plan import plan
from medvision.spec import ModelSpec, TrainConfig
from medvision.train import METRICS, train


@dataclass(frozen=True)
class FoldRun:
    """One training of a cross-validation; `fold` is None when all cases were trained on."""

    fold: int | None
    model: Path
    scores: Sequence[Score]


def train_folds(
    cases_path: Path,
    out: Path,
    config: TrainConfig,
    *,
    spec: ModelSpec | None = None,
    class_names: Sequence[str] = (),
    name: str = "",
    architecture: str = "unet3d",
    modality: str = "",
    width: int = 32,
    roi_size: tuple[int, int, int] | None = None,
    folds: int = 0,
    only_fold: int | None = None,
    device: str = "auto",
    resume: bool = False,
    show: bool = True,
) -> list[FoldRun]:
    """Train as asked, into `out` or ``out/fold_<k>``.

    Rows of split ``test`` are never read; those of ``val`` validate when there are no folds.
    Without a spec one is planned from each training's own cases, so that no validation case has
    a say in it. With all folds done, ``out`` also holds their joint metrics.csv and a summary.

    Raises
    ------
    CasesError
        When the cases are not usable, or neither `spec` nor `class_names` is given.
    """
    if spec is None and not class_names:
        raise CasesError("Name the structures: --classes anterior,posterior (labels 1, 2, …).")
    if only_fold is not None and only_fold >= folds:
        raise CasesError(f"There is no fold {only_fold}: {folds} folds are asked for (--folds).")
    if folds:
        cases = read_cases(cases_path, ("", "train"))
        splits = split_folds(cases, folds, config.seed)
    else:
        cases = read_cases(cases_path, ("", "train", "val"))
        splits = [[i for i, case in enumerate(cases) if case.split == "val"]]
        both = {c.group for c in cases if c.split == "val"} & {
            c.group for c in cases if c.split != "val"
        }
        if both:
            raise CasesError(
                f"{cases_path}: groups on both sides of train and val: "
                f"{', '.join(sorted(both)[:10])}."
            )
    names = spec.class_names if spec else tuple(class_names)
    runs = []
    for number, held_out in enumerate(splits):
        if only_fold not in (None, number):
            continue
        val = [cases[i] for i in held_out]
        rest = [case for i, case in enumerate(cases) if i not in set(held_out)]
        title = name or out.resolve().name
        inputs = spec.inputs if spec else ()
        planned = plan(rest, names, title, architecture, modality, width, roi_size, inputs, show)
        mine = replace(spec, fingerprint=planned.fingerprint) if spec else planned
        folder = out / f"fold_{number}" if folds else out
        run = train(rest, val, mine, config, folder, device, resume, show)
        runs.append(FoldRun(number if folds else None, run.model, run.scores))
    if folds and only_fold is None:
        scores = [score for run in runs for score in run.scores]
        write_scores(scores, out / METRICS)
        write_text(out / "summary.md", fold_table(runs) + "\n")
    return runs


def fold_table(runs: Sequence[FoldRun]) -> str:
    """Return a Markdown table per fold, and one over all cases."""
    parts = [f"Fold {run.fold}\n\n{score_table(run.scores)}" for run in runs if run.scores]
    if len(parts) > 1:
        every = [score for run in runs for score in run.scores]
        parts.append(f"All folds\n\n{score_table(every)}")
    return "\n\n".join(parts)
