"""Training: cases and a spec in, a model folder out.

The loop is `fit`; devices and precision belong to Lightning Fabric. Every patch is a function of
(seed, index), so that a resumed run goes on as if it had never stopped.
"""

from __future__ import annotations

import json
import math
import pickle
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from medvision.augment import Augment
from medvision.checkpoint import save_model
from medvision.dataset import Case, Item, Patches, check_cases, load_items
from medvision.errors import TrainingError
from medvision.evaluate import Score, evaluate, score_table, write_scores
from medvision.files import atomic_path
from medvision.losses import SupervisedDice
from medvision.models import build_model
from medvision.predictor import Predictor, resolve_device
from medvision.progress import track
from medvision.spec import ModelSpec, TrainConfig
from medvision.train_log import TrainingLog

CHECKPOINT, METRICS, MODEL = "checkpoint.pt", "metrics.csv", "model"
QUICK_CASES = 6  # validation cases looked at while training


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
) -> Run:
    """Train a model and evaluate it on `val_cases` (which may be none).

    Leaves in `out`: ``model/``, ``metrics.csv``, ``log.csv``, ``checkpoint.pt`` and TensorBoard
    files. The averaged weights of the last step are what is kept: nothing is selected on the
    validation cases.

    Raises
    ------
    TrainingError
        When `out` holds another run and `resume` is False, or the loss is no longer finite.
    """
    if (out / CHECKPOINT).exists() and not resume:
        raise TrainingError(f"{out} holds a run already: resume it (--resume) or name another.")
    place = resolve_device(device)
    devices = [place.index or 0] if place.type == "cuda" else 1
    fabric = Fabric(accelerator=place.type, devices=devices, precision=config.precision)
    fabric.launch()
    torch.manual_seed(config.seed)
    check_cases(val_cases, spec, show)
    items = load_items(cases, spec, show)
    state = TrainState(fabric, spec, config)
    if resume:
        state.load(out / CHECKPOINT)
    fit(state, items, val_cases, out, show)
    state.save(out / CHECKPOINT)
    weights, scores = state.average.module.state_dict(), []
    save_model(out / MODEL, spec, weights, training_card(spec, config, cases, val_cases, []))
    if val_cases:
        predictor = Predictor(state.average.module, spec, fabric.device)
        scores = evaluate(predictor, val_cases, show)
        write_scores(scores, out / METRICS)
    card = training_card(spec, config, cases, val_cases, scores)
    return Run(save_model(out / MODEL, spec, weights, card), scores)


class TrainState:
    """Network, averaged network and optimizer, and the step they have reached."""

    def __init__(self, fabric: Fabric, spec: ModelSpec, config: TrainConfig) -> None:
        self.memory = memory_format(fabric, config)
        network = build_model(spec)
        network.to(memory_format=self.memory)  # type: ignore[call-overload]
        self.fabric, self.spec, self.config, self.step = fabric, spec, config, 0
        self.network = network
        averaging = get_ema_multi_avg_fn(config.ema)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(network, fabric.device, multi_avg_fn=averaging)
        optimizer = torch.optim.AdamW(network.parameters(), weight_decay=config.weight_decay)
        self.model, self.optimizer = fabric.setup(network, optimizer)

    def save(self, path: Path) -> None:
        """Write the state; the file is whole or absent."""
        with atomic_path(path) as part:
            torch.save(
                {
                    "step": self.step,
                    "network": self.network.state_dict(),
                    "average": self.average.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "spec": self.spec.to_json(),
                    "config": json.dumps(asdict(self.config)),
                },
                part,
            )

    def load(self, path: Path) -> None:
        """Go on from a written state, when there is one.

        Raises
        ------
        TrainingError
            When it belongs to another spec or configuration.
        """
        if not path.exists():
            return
        try:
            found = torch.load(path, map_location=self.fabric.device, weights_only=True)
        except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
            raise TrainingError(f"{path} cannot be read: {error}.") from None
        mine = (self.spec.to_json(), json.dumps(asdict(self.config)))
        if (found["spec"], found["config"]) != mine:
            raise TrainingError(
                f"{path} belongs to a run with other settings; name another folder."
            )
        self.step = found["step"]
        self.network.load_state_dict(found["network"])
        self.average.load_state_dict(found["average"])
        self.optimizer.load_state_dict(found["optimizer"])


def fit(
    state: TrainState, items: Sequence[Item], val_cases: Sequence[Case], out: Path, show: bool
) -> None:
    """Take every step that is left."""
    fabric, spec, config = state.fabric, state.spec, state.config
    patches = Patches(items, spec, Augment(flip=config.flip), config.seed)
    left = range(state.step * config.batch_size, config.steps * config.batch_size)
    loader = DataLoader(patches, config.batch_size, sampler=left, num_workers=config.workers)
    criterion, log = SupervisedDice(), TrainingLog(out)
    state.model.train()
    with stop_on_interrupt() as stop:
        for batch in track(loader, "Train", len(loader), show):
            rate = learning_rate(state.step, config)
            for group in state.optimizer.param_groups:
                group["lr"] = rate
            image = batch["image"].to(fabric.device, memory_format=state.memory)
            loss = criterion(state.model(image), batch["labels"].to(fabric.device))
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"The loss is {loss.item()} at step {state.step}, on cases "
                    f"{', '.join(batch['case_id'])}; {out / CHECKPOINT} keeps the last good state."
                )
            fabric.backward(loss)
            fabric.clip_gradients(state.model, state.optimizer, max_norm=config.grad_clip)
            state.optimizer.step()
            state.optimizer.zero_grad()
            state.average.update_parameters(state.network)
            state.step += 1
            log.step(state.step, loss.item(), rate)
            due = state.step % config.eval_every == 0 and state.step < config.steps
            if due or stop.is_set():
                state.save(out / CHECKPOINT)
            if stop.is_set():
                raise KeyboardInterrupt
            if due and val_cases:
                predictor = Predictor(state.average.module, spec, fabric.device)
                log.validate(state.step, predictor, val_cases[:QUICK_CASES])
    log.close()


def memory_format(fabric: Fabric, config: TrainConfig) -> torch.memory_format:
    """Return the layout of feature maps that trains fastest.

    Channels last, but for bfloat16 on a CPU, whose kernels are slower with it.
    """
    if fabric.device.type == "cpu" and config.precision != "32-true":
        return torch.contiguous_format
    return torch.channels_last_3d


def learning_rate(step: int, config: TrainConfig) -> float:
    """Rise linearly over the warm-up, then fall along a cosine to zero, once a cycle.

    Each later cycle has half the peak of the one before (warm restarts: Loshchilov & Hutter,
    ICLR 2017).
    """
    length = math.ceil(config.steps / config.cycles)
    cycle, step = divmod(step, length)
    peak, warm = config.learning_rate * 0.5**cycle, config.warmup * length
    if step < warm:
        return peak * (step + 1) / (warm + 1)
    return peak * (1 + math.cos(math.pi * (step - warm) / (length - warm))) / 2


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
    spec: ModelSpec,
    config: TrainConfig,
    cases: Sequence[Case],
    val_cases: Sequence[Case],
    scores: Sequence[Score],
) -> str:
    """Return a model card that says what was trained on what, and how well it did."""
    groups = len({case.group for case in cases})
    result = (
        f"On {len(val_cases)} validation cases, none of whose groups were trained on:\n\n"
        f"{score_table(scores)}\n"
        if scores
        else "Not validated.\n"
    )
    settings = ", ".join(f"{key} {value}" for key, value in asdict(config).items())
    return (
        f"# {spec.name}\n\nResearch use only, not a medical device.\n\n"
        f"{spec.architecture} for {', '.join(spec.class_names)}, trained by medvision on "
        f"{len(cases)} cases of {groups} groups.\n\n## Results\n\n{result}\n"
        f"## Training\n\n{settings}\n"
    )
