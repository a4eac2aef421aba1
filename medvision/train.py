"""Training: cases and a spec in, a model folder out.

The loop is `fit`; devices, precision and processes belong to Lightning Fabric. Every window is a
function of (seed, index), so that a resumed run goes on as if it had never stopped.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from medvision.checkpoint import MODEL, save_model
from medvision.dataset import Case
from medvision.errors import TrainingError
from medvision.evaluate import evaluate
from medvision.items import Item, Patches, check_cases, class_weights, load_items
from medvision.losses import BinaryCrossEntropy, SupervisedDice, WeightedCrossEntropy
from medvision.predictor import Predictor
from medvision.processes import (
    agreed,
    gathered,
    ignore_interrupts,
    share_of_memory,
    start_fabric,
    stop_on_interrupt,
)
from medvision.progress import track
from medvision.review import limit_of
from medvision.scores import Score, figures, least_confidences, write_scores
from medvision.spec import ModelSpec
from medvision.train_card import training_card
from medvision.train_config import TrainConfig
from medvision.train_log import TrainingLog
from medvision.train_state import TrainState

CHECKPOINT, METRICS, CACHE = "checkpoint.pt", "metrics.csv", "cache"


@dataclass(frozen=True)
class Run:
    """What a finished training left: the model folder, and validation scores (perhaps none)."""

    model: Path
    scores: list[Score]


def train(
    cases: Sequence[Case],
    val_cases: Sequence[Case],
    spec: ModelSpec,
    config: TrainConfig,
    out: Path,
    device: str = "auto",
    resume: bool = False,
    show: bool = True,
    start: Path | None = None,
    notes: Sequence[str] = (),
) -> Run:
    """Train a model and evaluate it on `val_cases` (which may be none).

    Leaves in `out`: ``model/``, ``metrics.csv``, ``log.csv``, ``checkpoint.pt`` and TensorBoard
    files. Started by torchrun, the processes share each batch and the validation cases.

    How sure the model is of its validation cases tells below which confidence its results are to
    be reviewed (`medvision.review.limit_of`); the model's spec says so.

    Parameters
    ----------
    cases, val_cases : sequence of Case
    spec : ModelSpec
    config : TrainConfig
    out : Path
    device : str
    resume : bool
        Go on with what lies in `out`; with nothing there, begin.
    show : bool
        Show progress bars.
    start : Path, optional
        Weights to begin with: a model folder, MedicalNet's or a 2D network's checkpoint.
    notes : sequence of str
        What the card must say of the data.

    Raises
    ------
    CasesError
        Naming every case that cannot be used.
    TrainingError
        When `out` holds another run and `resume` is False, the batch cannot be shared, or the loss
        is no longer finite.
    """
    if (out / CHECKPOINT).exists() and not resume:
        raise TrainingError(f"{out} holds a run already: resume it (--resume) or name another.")
    if config.keep == "best" and not val_cases:
        raise TrainingError("The best weights are found on validation cases, and there are none.")
    fabric = start_fabric(device, config)
    show = show and fabric.is_global_zero
    torch.manual_seed(config.seed)
    names = {"train": [c.case_id for c in cases], "val": [c.case_id for c in val_cases]}
    state = TrainState(fabric, spec, config, start, names)
    if resume:
        state.load(out / CHECKPOINT)
    if not state.done or must_look(state, val_cases):
        check_cases(val_cases, spec, show)
        cache = out / CACHE / str(fabric.global_rank)
        try:
            items = load_items(cases, spec, share_of_memory(config), cache, show)
            fit(state, items, val_cases, out, show)
        finally:
            shutil.rmtree(cache, ignore_errors=True)
            with suppress(OSError):  # the others' caches are still in it, or there never was one
                cache.parent.rmdir()
        state.save(out / CHECKPOINT)
    state.average.module.load_state_dict(state.weights())
    scores = validate(state, val_cases, show)
    if fabric.is_global_zero:
        if scores:
            write_scores(scores, out / METRICS)
        card = training_card(state, cases, val_cases, scores, notes)
        limit = limit_of(least_confidences(scores))
        told = spec if limit is None else replace(spec, review=limit)
        save_model(out / MODEL, told, state.weights(), card)
    fabric.barrier()
    return Run(out / MODEL, scores)


def fit(
    state: TrainState, items: Sequence[Item], val_cases: Sequence[Case], out: Path, show: bool
) -> None:
    """Take every step that is left."""
    fabric, config = state.fabric, state.config
    loader, criterion = build_loader(items, state), build_loss(items, state)
    state.model.train()
    loss, names = 0.0, list[str]()
    log = TrainingLog(out, state.step, fabric.is_global_zero)
    with closing(log), stop_on_interrupt() as stop:
        if must_look(state, val_cases):
            look(state, val_cases, log)
        parts = track(loader, "Train", len(loader), show, log.words)
        for part, batch in enumerate(parts, start=1):
            if state.done:
                break
            if not names:
                rate = state.begin_step()
            last = part % config.accumulate == 0
            with fabric.no_backward_sync(state.model, enabled=not last):
                inputs = [batch["image"].to(fabric.device, non_blocking=True)]
                inputs += [batch["report"]] if "report" in batch else []
                one = criterion(state.model(*inputs), batch["target"].to(fabric.device))
                fabric.backward(one / config.accumulate)
            loss, names = loss + one.item() / config.accumulate, names + batch["case_id"]
            if not last:
                continue
            loss, stopping = agreed(loss, stop.is_set(), fabric)
            refuse_nan(loss, "loss", names, state, out)
            norm = fabric.clip_gradients(
                state.model, state.optimizer, max_norm=config.grad_clip, error_if_nonfinite=False
            )
            if config.precision != "16-mixed":  # there such a step is left out, with a lower scale
                refuse_nan(float(norm), "gradient", names, state, out)
            state.optimizer.step()
            state.optimizer.zero_grad()
            state.average.update_parameters(state.network)
            state.step += 1
            log.step(state.step, loss, rate)
            loss, names = 0.0, []
            if stopping or is_due(state):
                state.save(out / CHECKPOINT)
            if stopping:
                raise KeyboardInterrupt
            if must_look(state, val_cases):
                look(state, val_cases, log)


def build_loader(items: Sequence[Item], state: TrainState) -> DataLoader[dict[str, Any]]:
    """Return the parts of all batches that are left, of each this process's share."""
    fabric, config = state.fabric, state.config
    return DataLoader(
        Patches(items, state.spec, config),
        config.batch_size // (config.accumulate * fabric.world_size),
        sampler=sample_order(state.step, config, fabric.global_rank, fabric.world_size),
        num_workers=config.workers,
        worker_init_fn=ignore_interrupts,
        pin_memory=fabric.device.type == "cuda",
    )


def build_loss(items: Sequence[Item], state: TrainState) -> nn.Module:
    """Return the loss of the task."""
    spec, config = state.spec, state.config
    if spec.task == "segmentation":
        return SupervisedDice()
    weights = torch.ones(len(spec.class_names))
    if config.class_weights == "balanced":
        weights = class_weights(items, spec)
    loss = BinaryCrossEntropy if spec.multilabel else WeightedCrossEntropy
    return loss(weights.to(state.fabric.device), config.label_smoothing)


def sample_order(step: int, config: TrainConfig, rank: int, world: int) -> list[int]:
    """Return the samples that one process sees from `step` on.

    Each batch is cut into parts, and each part into a share for every process, so that together
    they see what one process would.
    """
    share = config.batch_size // (config.accumulate * world)
    part = share * world
    starts = range(step * config.batch_size, config.steps * config.batch_size, part)
    return [start + rank * share + i for start in starts for i in range(share)]


def is_due(state: TrainState) -> bool:
    """Whether the state is kept, and the validation cases looked at, after this step."""
    return state.step % state.config.eval_every == 0 and state.step < state.config.steps


def must_look(state: TrainState, val_cases: Sequence[Case]) -> bool:
    """Whether the validation cases are to be looked at before the next step, and were not yet.

    After the last step they are if it may be the best one.
    """
    last = state.config.keep == "best" and state.step == state.config.steps
    return bool(val_cases) and state.looked < state.step and (last or is_due(state))


def look(state: TrainState, val_cases: Sequence[Case], log: TrainingLog) -> None:
    """Score the validation cases, and let the state and the records know."""
    scores = validate(state, val_cases, show=False)
    state.note(next(iter(figures(scores).values())))
    if state.fabric.is_global_zero:
        predictor = Predictor(state.average.module, state.spec, state.fabric.device)
        log.validate(state.step, scores, predictor, val_cases)
    state.fabric.barrier()


def validate(state: TrainState, val_cases: Sequence[Case], show: bool) -> list[Score]:
    """Score the validation cases with the averaged network, each process a share of them."""
    fabric = state.fabric
    predictor = Predictor(state.average.module, state.spec, fabric.device)
    mine = evaluate(predictor, val_cases[fabric.global_rank :: fabric.world_size], show)
    order = {case.case_id: number for number, case in enumerate(val_cases)}
    return sorted(gathered(mine, fabric), key=lambda score: order[score.case_id])


def refuse_nan(value: float, what: str, names: Sequence[str], state: TrainState, out: Path) -> None:
    """Raise `TrainingError` for a value that is not finite; the weights are as before it."""
    if math.isfinite(value):
        return
    kept = out / CHECKPOINT
    raise TrainingError(
        f"The {what} is {value} at step {state.step}, on cases "
        f"{', '.join(gathered(names, state.fabric))}; "
        + (f"{kept} keeps the last good state." if kept.exists() else "nothing was saved yet.")
    )
