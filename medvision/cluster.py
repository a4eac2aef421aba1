"""Many studies on a Ray cluster: workers that each load the model once and share the store.

The store decides who runs what, so a study is done once whatever happens to a worker; Ray places
the workers, gives each a GPU, and starts those again that end.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medvision.batch import noting_the_way, run_studies, saved_at_the_end
from medvision.checkpoint import load_spec
from medvision.errors import MedvisionError, OutputError, SpecError, require_extra
from medvision.jobs import Job, Outcome, Shard
from medvision.outputs.uncertainty import UNCERTAINTY
from medvision.predictor import Predictor, load_predictor
from medvision.progress import announce, track
from medvision.runtime import EAGER
from medvision.session import Session, join_session, open_session
from medvision.spec import ModelSpec
from medvision.zoo import find_model

CPUS = 4  # a worker without a GPU
RESTARTS = 3  # of a worker
TRIES = 3  # of a study whose worker ends
LOOK_EVERY = 1.0  # seconds between two looks at the workers
PATIENCE = 5.0  # seconds in which workers may end by themselves once nothing is left


@dataclass
class Setup:
    """What a worker needs before its first study; small, for it is sent with every new start."""

    model: str
    folder: str  # where paths begin
    device: str = "auto"
    threads: int = 0
    load: Callable[..., Predictor] = load_predictor
    options: Mapping[str, Any] = field(default_factory=dict)  # of `load`


@dataclass
class Task:
    """What a worker is to do, as it travels to it."""

    jobs: Sequence[Job]
    out: Path
    formats: Sequence[str]
    debug: bool = False


class Worker:
    """A process of the cluster with a model of its own."""

    def __init__(self, setup: Setup) -> None:
        import torch

        os.chdir(setup.folder)  # paths are as the user gave them
        if setup.threads:
            torch.set_num_threads(setup.threads)
        self.predictor = setup.load(setup.model, setup.device, **setup.options)

    def run(self, task: Task) -> int:
        """Run studies until none is left; return the number of this process."""
        session = join_session(task.jobs, task.out, task.formats)
        with session as run, noting_the_way(run.store, self.predictor):
            run_studies(run, self.predictor, debug=task.debug, tries=TRIES)
        return os.getpid()


def run_on_ray(
    jobs: Sequence[Job],
    model: str,
    out: Path,
    address: str,
    formats: Sequence[str] = (),
    command: Sequence[str] = (),
    show: bool = True,
    debug: bool = False,
    overwrite: bool = False,
    *,
    retry_failed: bool = False,
    shard: Shard | None = None,
    device: str = "auto",
    workers: int = 0,
    threads: int = 0,
    load: Callable[..., Predictor] = load_predictor,
    options: Mapping[str, Any] | None = None,
) -> tuple[list[Outcome], ModelSpec]:
    """Predict every job on a Ray cluster; else as `run_batch`.

    Scans, model and `out` must lie where every machine of the cluster finds them under the same
    names.

    Parameters
    ----------
    address : str
        ``"local"`` starts a cluster of this machine alone, ``"auto"`` takes the one that this
        machine belongs to; or as `ray.init` takes it.
    workers : int
        0: one a GPU of the cluster, or where it has none one per `CPUS` processors.
    threads : int
        Of each worker; 0 leaves it to Ray.
    load : callable
        Loads the model: a function of model, device and `options`, which workers can import.
    options : mapping, optional
        As `load_predictor` takes them: ``runtime``, ``tta``, ``uncertainty``, ``max_ram``.

    Raises
    ------
    OutputError
        As `run_batch`, or when every worker has ended and studies are left.
    SpecError
        When there is no cluster at the address.
    MissingExtra
        When Ray is not installed.
    """
    require_extra("ray", "ray", "Running on a cluster")
    given = dict(options or {})
    if UNCERTAINTY in formats:
        given["uncertainty"] = True
    spec = load_spec(find_model(model))
    session = open_session(
        jobs, spec, out, model, formats, command,
        show=show, overwrite=overwrite, retry_failed=retry_failed, shard=shard,
        runtime=given.get("runtime", EAGER), tta=given.get("tta", False),
    )  # fmt: skip
    with session as run:
        setup = Setup(model, os.getcwd(), device, threads, load, given)
        task = Task(list(run.mine.values()), out, run.formats, debug)
        with saved_at_the_end(run.export):
            if run.waiting:
                start_ray(address)
                watch(start_workers(setup, task, workers, show), run, show)
        outcomes = run.outcomes()
        if len(outcomes) < len(run.mine):
            raise OutputError(
                f"{len(run.mine) - len(outcomes)} studies are left, for every worker has ended, "
                f"though each was started again {RESTARTS} times: run again to go on."
            )
        return outcomes, spec


def start_workers(setup: Setup, task: Task, workers: int, show: bool) -> list[Any]:
    """Start the workers; return a pair for each: itself, and what stands for its work."""
    import ray

    gpus = int(ray.cluster_resources().get("GPU", 0)) if setup.device != "cpu" else 0
    cpus = int(ray.cluster_resources().get("CPU", 1))
    count = min(workers or gpus or max(1, cpus // CPUS), len(task.jobs))
    announce(f"{count} worker(s) on {cpus} processors, {gpus} GPU(s).", show)
    actor = ray.remote(Worker).options(
        num_gpus=1 if gpus else 0,
        num_cpus=min(CPUS, max(1, cpus // count)),
        max_restarts=RESTARTS,
        max_task_retries=RESTARTS,
    )
    sent = ray.put(task)  # once, however many workers
    started = [actor.remote(setup) for _ in range(count)]
    return [(worker, worker.run.remote(sent)) for worker in started]


def start_ray(address: str) -> None:
    """Join a cluster, or start one.

    Raises
    ------
    SpecError
    """
    import ray

    if ray.is_initialized():  # a notebook has done so
        return
    place, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        try:  # Ray itself would ask for minutes
            socket.create_connection((place.strip("[]"), int(port)), timeout=10).close()
        except OSError as error:
            raise SpecError(f"No Ray cluster at {address!r}: {error}.") from None
    try:
        ray.init(
            address=address,
            log_to_driver=False,  # what went wrong is in the rows
            include_dashboard=False if address == "local" else None,
            configure_logging=False,
        )
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        why = str(error).splitlines()[0]
        raise SpecError(f"No Ray cluster at {address!r}: {why}") from None


def watch(started: Sequence[Any], run: Session, show: bool) -> None:
    """Wait until no study is left, or no worker; write the tables meanwhile.

    Raises
    ------
    MedvisionError
        That ended the work of the last worker, such as a full disk.
    """
    import ray

    failures: list[MedvisionError] = []
    try:
        for _ in track(ended(started, run, failures), "Predict", run.waiting, show):
            pass
        ray.wait([work for _, work in started], num_returns=len(started), timeout=PATIENCE)
    finally:
        for worker, _ in started:
            ray.kill(worker)
    if run.left() and failures:
        raise failures[-1]


def ended(started: Sequence[Any], run: Session, failures: list[MedvisionError]) -> Iterator[int]:
    """Yield once for every study that has ended; keep what ended a worker."""
    import ray

    working, seen = [work for _, work in started], 0
    while True:
        for seen in range(seen + 1, run.waiting - run.left() + 1):  # noqa: B020
            yield seen
        if not working or seen >= run.waiting:
            return
        done, working = ray.wait(working, timeout=LOOK_EVERY)
        for work in done:
            try:
                ray.get(work)
            except ray.exceptions.RayTaskError as error:
                failures += [error.cause] if isinstance(error.cause, MedvisionError) else []
            except ray.exceptions.RayError:  # it has ended too often; others may go on
                continue
        run.export.tick()
