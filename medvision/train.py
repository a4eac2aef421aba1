"""Training: cases and a spec in, a model folder out.

The loop is `fit`; devices, precision and processes belong to Lightning Fabric. Every window is a
function of (seed, index), so that a resumed run goes on as if it had never stopped.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader

from medvision.checkpoint import save_model
from medvision.dataset import Case, check_cases
from medvision.errors import SpecError, TrainingError
from medvision.evaluate import evaluate
from medvision.items import Item, Patches, class_weights, load_items
from medvision.losses import SupervisedDice, WeightedCrossEntropy
from medvision.predictor import Predictor, resolve_device
from medvision.progress import track
from medvision.scores import Score, figures, score_table, write_scores
from medvision.spec import ModelSpec
from medvision.train_config import TrainConfig
from medvision.train_log import TrainingLog
from medvision.train_state import TrainState

CHECKPOINT, METRICS, MODEL, CACHE = "checkpoint.pt", "metrics.csv", "model", "cache"


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
) -> Run:
    """Train a model and evaluate it on `val_cases` (which may be none).

    Leaves in `out`: ``model/``, ``metrics.csv``, ``log.csv``, ``checkpoint.pt`` and TensorBoard
    files. Started by torchrun, the processes share each batch and the validation cases.

    Parameters
    ----------
    cases, val_cases : sequence of Case
    spec : ModelSpec
    config : TrainConfig
    out : Path
    device : str
    resume : bool
        Go on with what lies in `out`.
    show : bool
        Show progress bars.
    start : Path, optional
        Weights to begin with: a model folder, MedicalNet's or a 2D network's checkpoint.

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
    check_cases(val_cases, spec, show)
    state = TrainState(fabric, spec, config, start)
    cache = out / CACHE / str(fabric.global_rank)
    items = load_items(cases, spec, config, cache, show)
    if resume:
        state.load(out / CHECKPOINT)
    fit(state, items, val_cases, out, show)
    state.save(out / CHECKPOINT)
    shutil.rmtree(out / CACHE, ignore_errors=True)
    state.average.module.load_state_dict(state.weights())
    scores = validate(state, val_cases, show)
    card = training_card(state, cases, val_cases, scores)
    if fabric.is_global_zero:
        if scores:
            write_scores(scores, out / METRICS)
        save_model(out / MODEL, spec, state.weights(), card)
    fabric.barrier()
    return Run(out / MODEL, scores)


def start_fabric(device: str, config: TrainConfig) -> Fabric:
    """Return the Fabric for a device, or for the processes that torchrun has started."""
    place = resolve_device(device)
    if config.precision == "16-mixed" and place.type == "cpu":
        raise SpecError("Precision 16-mixed needs a GPU; choose bf16-mixed or 32-true.")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    parts = config.accumulate * processes
    if config.batch_size % parts:
        raise TrainingError(
            f"A batch of {config.batch_size} cannot be shared by {processes} process(es) in "
            f"{config.accumulate} part(s): it must divide by {parts}."
        )
    if processes > 1:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", str(processes)))
        fabric = Fabric(
            accelerator=place.type,
            strategy="ddp",
            devices=local,
            num_nodes=processes // local,
            precision=config.precision,
        )
    else:
        devices = [place.index or 0] if place.type == "cuda" else 1
        fabric = Fabric(accelerator=place.type, devices=devices, precision=config.precision)
    fabric.launch()
    return fabric


def fit(
    state: TrainState, items: Sequence[Item], val_cases: Sequence[Case], out: Path, show: bool
) -> None:
    """Take every step that is left."""
    fabric, config = state.fabric, state.config
    order = sample_order(state.step, config, fabric.global_rank, fabric.world_size)
    share = config.batch_size // (config.accumulate * fabric.world_size)
    patches = Patches(items, state.spec, config)
    loader = DataLoader(patches, share, sampler=order, num_workers=config.workers)
    criterion, log = build_loss(items, state), TrainingLog(out, fabric.is_global_zero)
    state.model.train()
    parts, loss, names = 0, 0.0, list[str]()
    with stop_on_interrupt() as stop:
        for batch in track(loader, "Train", len(loader), show):
            if state.done:
                break
            parts += 1
            last = parts % config.accumulate == 0
            with fabric.no_backward_sync(state.model, enabled=not last):
                image = batch["image"].to(fabric.device)
                one = criterion(state.model(image), batch["target"].to(fabric.device))
                fabric.backward(one / config.accumulate)
            loss, names = loss + one.item() / config.accumulate, names + batch["case_id"]
            if not last:
                continue
            refuse_nan(loss, names, state, out)
            rate = state.set_rate()
            fabric.clip_gradients(state.model, state.optimizer, max_norm=config.grad_clip)
            state.optimizer.step()
            state.optimizer.zero_grad()
            state.average.update_parameters(state.network)
            state.step += 1
            log.step(state.step, loss, rate)
            loss, names = 0.0, []
            stopping = agreed(stop.is_set(), fabric)
            due = state.step % config.eval_every == 0 and state.step < config.steps
            if due and val_cases and not stopping:
                look(state, val_cases, log)
            if due or stopping:
                state.save(out / CHECKPOINT)
            if stopping:
                raise KeyboardInterrupt
        if val_cases and config.keep == "best" and state.step == config.steps:
            look(state, val_cases, log)
    log.close()


def build_loss(items: Sequence[Item], state: TrainState) -> nn.Module:
    """Return the loss of the task."""
    spec, config = state.spec, state.config
    if spec.task == "segmentation":
        return SupervisedDice()
    weights = torch.ones(len(spec.class_names))
    if config.class_weights == "balanced":
        weights = class_weights(items, spec)
    return WeightedCrossEntropy(weights.to(state.fabric.device), config.label_smoothing)


def sample_order(step: int, config: TrainConfig, rank: int, world: int) -> list[int]:
    """Return the samples that one process sees from `step` on.

    Each batch is cut into parts, and each part into a share for every process, so that together
    they see what one process would.
    """
    share = config.batch_size // (config.accumulate * world)
    part = share * world
    starts = range(step * config.batch_size, config.steps * config.batch_size, part)
    return [start + rank * share + i for start in starts for i in range(share)]


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
    if fabric.world_size == 1:
        return mine
    found: list[list[Score]] = [[] for _ in range(fabric.world_size)]
    dist.all_gather_object(found, mine)
    order = {case.case_id: number for number, case in enumerate(val_cases)}
    return sorted((s for part in found for s in part), key=lambda s: order[s.case_id])


def refuse_nan(loss: float, names: Sequence[str], state: TrainState, out: Path) -> None:
    """Raise `TrainingError` for a loss that is no longer finite; the weights are as before it."""
    if loss == loss and abs(loss) != float("inf"):
        return
    kept = out / CHECKPOINT
    raise TrainingError(
        f"The loss is {loss} at step {state.step}, on cases {', '.join(names)}; "
        + (f"{kept} keeps the last good state." if kept.exists() else "nothing was saved yet.")
    )


def agreed(stop: bool, fabric: Fabric) -> bool:
    """Tell whether any process was asked to stop."""
    if fabric.world_size == 1:
        return stop
    flag = torch.tensor(float(stop), device=fabric.device)
    return bool(fabric.all_reduce(flag, reduce_op="max"))


@contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """Turn Ctrl-C into an event, so that a step is never cut in half; twice stops at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals reach the main thread only
        return

    def ask(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def training_card(
    state: TrainState,
    cases: Sequence[Case],
    val_cases: Sequence[Case],
    scores: Sequence[Score],
) -> str:
    """Return a model card that says what was trained on what, and how well it did."""
    spec, config = state.spec, state.config
    groups = len({case.group for case in cases})
    result = "Not validated.\n"
    if scores:
        chosen = (
            f" The weights of step {state.best_step} did best on them and were kept, so that these "
            "figures are too good; only cases that had no say tell how good the model is."
            if config.keep == "best"
            else ""
        )
        result = (
            f"On {len(val_cases)} validation cases, none of whose groups were trained on.{chosen}"
            f"\n\n{score_table(scores)}\n"
        )
    begun = f"Begun with {state.transferred.summary()}\n\n" if state.transferred else ""
    settings = ", ".join(f"{key} {value}" for key, value in asdict(config).items())
    return (
        f"# {spec.name}\n\nResearch use only, not a medical device.\n\n"
        f"{spec.architecture} ({spec.task}) for {', '.join(spec.class_names)}, trained by medvision "
        f"on {len(cases)} cases of {groups} groups.\n\n## Results\n\n{result}\n"
        f"## Training\n\n{begun}{settings}\n"
    )
