"""One process or several: the device, what the processes tell each other, and Ctrl-C.

Knows nothing of networks or cases.
"""

from __future__ import annotations

import atexit
import functools
import gc
import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from medvision.errors import SpecError, TrainingError
from medvision.predictor import resolve_device
from medvision.train_config import TrainConfig

PATIENCE = timedelta(hours=2)  # that processes wait for the one that draws or validates longest

T = TypeVar("T")


def start_fabric(device: str, config: TrainConfig) -> Fabric:
    """Return the Fabric for a device, or for the processes that torchrun has started."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells what we asked for
    place, (processes, local) = resolve_device(device), processes_started()
    if config.precision == "16-mixed" and place.type == "cpu":
        raise SpecError("Precision 16-mixed needs a GPU; choose bf16-mixed or 32-true.")
    parts = config.accumulate * processes
    if config.batch_size % parts:
        raise TrainingError(
            f"A batch of {config.batch_size} cannot be shared by {processes} process(es) in "
            f"{config.accumulate} part(s): it must divide by {parts}."
        )
    if processes == 1:
        devices = [place.index or 0] if place.type == "cuda" else 1
        fabric = Fabric(accelerator=place.type, devices=devices, precision=config.precision)
    else:
        if place.type == "cuda" and local > torch.cuda.device_count():
            raise TrainingError(
                f"{local} processes need a GPU each; here are {torch.cuda.device_count()}. "
                "Start fewer (--nproc-per-node), or train with --device cpu."
            )
        # a 1×1 kernel has the same layout whatever its strides say: nothing is lost
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        fabric = Fabric(
            accelerator=place.type,
            strategy=DDPStrategy(timeout=PATIENCE),
            devices=local,
            num_nodes=processes // local,
            precision=config.precision,
        )
    fabric.launch()
    if processes > 1:
        _leave_at_exit()
    return fabric


@functools.cache  # once a process, however many trainings it runs
def _leave_at_exit() -> None:
    """Leave the other processes before Python takes itself apart.

    Else gloo's threads may ask for an interpreter that is gone, and abort the process after its
    work is done (https://github.com/pytorch/pytorch/pull/179291). Fabric does so for NCCL alone.
    """
    atexit.register(_leave)


def _leave() -> None:
    if dist.is_initialized():
        gc.collect()  # a wrapped network holds its connections, too
        dist.destroy_process_group()


def processes_started() -> tuple[int, int]:
    """Return how many processes torchrun has started, in all and on this machine."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    return processes, int(os.environ.get("LOCAL_WORLD_SIZE", str(processes)))


def first_process() -> bool:
    """Tell whether this is the only process, or the first that torchrun has started."""
    return os.environ.get("RANK", "0") == "0"


def share_of_memory(config: TrainConfig) -> TrainConfig:
    """Return the settings with this process's share of the machine's memory."""
    return replace(config, memory_gb=config.memory_gb / processes_started()[1])


def together(mine: Sequence[float], fabric: Fabric) -> list[list[float]]:
    """Return the numbers of every process, in their order."""
    if fabric.world_size == 1:
        return [list(mine)]
    numbers = torch.tensor(mine, dtype=torch.float64, device=fabric.device)
    every = [torch.empty_like(numbers) for _ in range(fabric.world_size)]
    dist.all_gather(every, numbers)
    return [one.tolist() for one in every]


def gathered(mine: Sequence[T], fabric: Fabric) -> list[T]:
    """Return what all processes have, in their order."""
    if fabric.world_size == 1:
        return list(mine)
    found: list[Sequence[T]] = [[] for _ in range(fabric.world_size)]
    dist.all_gather_object(found, mine)
    return [one for part in found for one in part]


def agreed(loss: float, stop: bool, fabric: Fabric) -> tuple[float, bool]:
    """Return the mean loss of all processes, and whether any was asked to stop."""
    losses, stops = zip(*together([loss, stop], fabric), strict=True)
    return sum(losses) / len(losses), any(stops)


@contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """Turn Ctrl-C into an event, so that a step is never cut in half; twice stops at once.

    So does the end of a job (SIGTERM, as of SLURM), which may come more than once.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals reach the main thread only
        return

    def ask(number: int, frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_interrupts(worker: int) -> None:
    """Leave Ctrl-C to the training process, which ends its workers when the step is done."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
