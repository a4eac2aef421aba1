"""What a training must remember to go on as if it had never stopped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from medvision.errors import TrainingError
from medvision.files import atomic_path
from medvision.models import build_model
from medvision.processes import together
from medvision.spec import ModelSpec
from medvision.train_config import TrainConfig
from medvision.transfer import freeze, load_weights, parameter_groups

FREE = ("workers", "memory_gb")  # settings that a resumed run may change: the result is the same


class TrainState:
    """Network, averaged network and optimizer, the step they have reached, and the best so far.

    Parameters
    ----------
    fabric : Fabric
    spec : ModelSpec
    config : TrainConfig
    start : Path, optional
        Weights to begin with; see `medvision.transfer.load_weights`.
    cases : mapping of str to sequence of str
        Names of the cases by what they are for; a run is not resumed with others.
    """

    def __init__(
        self,
        fabric: Fabric,
        spec: ModelSpec,
        config: TrainConfig,
        start: Path | None = None,
        cases: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.fabric, self.spec, self.config, self.step = fabric, spec, config, 0
        self.cases = cases or {}
        network = build_model(spec)
        self.begun = load_weights(network, start).summary() if start else ""
        freeze(network, config.freeze)
        network.to(memory_format=memory_format(fabric, spec, config))  # type: ignore[call-overload]
        self.network = network
        self.average = AveragedModel(
            network, fabric.device, multi_avg_fn=averaging(config.ema), use_buffers=True
        )
        groups = parameter_groups(
            network, config.learning_rate, config.layer_decay, config.weight_decay
        )
        self.optimizer: Any
        optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
        self.model, self.optimizer = fabric.setup(network, optimizer)
        self.best: float | None = None  # figure of the best look at the validation cases
        self.best_step = self.looks_since = self.looked = 0  # looked: step of the last look
        self.best_weights: dict[str, Tensor] = {}

    def begin_step(self) -> float:
        """Seed what the network draws (dropout), and set the learning rate, which is returned.

        Both depend on the step alone, so that a resumed run needs no random state.
        """
        place = self.config.seed * 1_000_003 + self.step
        torch.manual_seed(place * self.fabric.world_size + self.fabric.global_rank)
        return self.set_rate()

    def set_rate(self) -> float:
        """Give the optimizer the learning rate of this step; returns that of the head."""
        rate = learning_rate(self.step, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)
        return rate

    def note(self, figure: float) -> None:
        """Note a look at the validation cases, and keep the weights if it is the best so far."""
        self.looks_since, self.looked = self.looks_since + 1, self.step
        if self.best is None or figure > self.best or math.isnan(self.best):
            self.best, self.best_step, self.looks_since = figure, self.step, 0
            state = self.average.module.state_dict()
            self.best_weights = {name: value.detach().clone() for name, value in state.items()}

    @property
    def done(self) -> bool:
        """Whether every step was taken, or patience is at its end."""
        patience = self.config.patience
        return self.step >= self.config.steps or 0 < patience <= self.looks_since

    def weights(self) -> dict[str, Tensor]:
        """Return what becomes the model: the averaged weights, last or best."""
        if self.config.keep == "best" and self.best_weights:
            return self.best_weights
        state: dict[str, Tensor] = self.average.module.state_dict()
        return state

    def save(self, path: Path) -> None:
        """Write the state; the file is whole or absent. Only the first process writes."""
        if not self.fabric.is_global_zero:
            return
        with atomic_path(path) as part:
            torch.save(
                {
                    "step": self.step,
                    "network": self.network.state_dict(),
                    "average": self.average.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "scaler": self.fabric.strategy.precision.state_dict(),  # of 16-mixed
                    "best": (self.best, self.best_step, self.looks_since, self.looked),
                    "best_weights": self.best_weights,
                    "begun": self.begun,
                    "settings": self.settings(),
                },
                part,
            )

    def load(self, path: Path) -> None:
        """Go on from a written state, when there is one.

        Raises
        ------
        TrainingError
            When it cannot be read, belongs to other settings or cases, or is not there for every
            process.
        """
        found = read_state(path, self.fabric.device) if path.exists() else None
        steps = [step for (step,) in together([found["step"] if found else 0], self.fabric)]
        if min(steps) != max(steps):
            raise TrainingError(
                f"{path} is not the same for all processes (steps {steps}): its folder must be "
                "one that every machine shares."
            )
        if found is None:
            return
        if found["settings"] != self.settings():
            raise TrainingError(
                f"{path} belongs to a run with other settings or cases; name another folder."
            )
        self.step, self.begun = found["step"], found["begun"]
        self.network.load_state_dict(found["network"])
        self.average.load_state_dict(found["average"])
        self.optimizer.load_state_dict(found["optimizer"])
        self.fabric.strategy.precision.load_state_dict(found["scaler"])
        self.best, self.best_step, self.looks_since, self.looked = found["best"]
        self.best_weights = found["best_weights"]

    def settings(self) -> str:
        """Return all that the result depends on, as JSON."""
        chosen = {key: value for key, value in asdict(self.config).items() if key not in FREE}
        return json.dumps({"spec": asdict(self.spec), "config": chosen, "cases": self.cases})


def read_state(path: Path, device: torch.device) -> dict[str, Any]:
    """Read what `TrainState.save` wrote; a `TrainingError` when it is damaged or something else."""
    try:
        found = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # the unpickler raises what it likes on a file it does not know
        raise TrainingError(f"{path} cannot be read ({type(error).__name__}).") from None
    if not isinstance(found, dict) or not {"settings", "step"} <= set(found):
        raise TrainingError(f"{path} is no state of a training; name another folder.")
    return found


def memory_format(fabric: Fabric, spec: ModelSpec, config: TrainConfig) -> torch.memory_format:
    """Return the layout of feature maps that trains fastest.

    Channels last, but for bfloat16 on a CPU, whose kernels are slower with it.
    """
    if fabric.device.type == "cpu" and config.precision != "32-true":
        return torch.contiguous_format
    return torch.channels_last if spec.dims == 2 else torch.channels_last_3d


def averaging(most: float) -> Callable[[Any, Any, Tensor | int], None]:
    """Return how new weights enter an exponential moving average whose decay rises to `most`.

    After n updates the decay is ``min(most, (1 + n) / (10 + n))`` (TensorFlow's
    ExponentialMovingAverage with `num_updates`): the average spans about the last ninth of the
    steps, so that a short training does not end in the weights that it began with.
    """

    def update(averages: Any, weights: Any, updates: Tensor | int) -> None:
        n = int(updates)
        enter = get_ema_multi_avg_fn(min(most, (1 + n) / (10 + n)))  # type: ignore[no-untyped-call]
        enter(averages, weights, updates)

    return update


def learning_rate(step: int, config: TrainConfig) -> float:
    """Rise linearly over the warm-up, then fall to zero, once a cycle.

    Along a cosine, or as (1 - t) ** 0.9 (``poly``: Isensee et al., Nature Methods 2021). Each later
    cycle has half the peak of the one before (warm restarts: Loshchilov & Hutter, ICLR 2017).
    """
    length, cycle = config.steps / config.cycles, step * config.cycles // config.steps
    inside = step - cycle * length
    peak, warm = config.learning_rate * 0.5**cycle, config.warmup * length
    if inside < warm:
        return peak * (inside + 1) / (warm + 1)
    past = (inside - warm) / (length - warm)
    if config.schedule == "poly":
        return float(peak * (1 - past) ** 0.9)
    return peak * (1 + math.cos(math.pi * past)) / 2
