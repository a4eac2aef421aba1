"""Work that takes long: one queue a device, with progress, and an end that a person can ask for.

A job belongs to a visitor, and is found again by its id when the page is loaded anew. Knows nothing
of Streamlit, nor of what the work is.
"""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from medvision.failure import reason_of

State: TypeAlias = Literal["waiting", "running", "done", "failed", "cancelled"]
KEPT = 12  # jobs of a visitor, with their results; the oldest ended ones go first
KEPT_IN_ALL = 48


class Cancelled(BaseException):
    """Somebody asked a job to end; no failure of what it was about."""


@dataclass
class Job:
    """One piece of work, and what became of it.

    Parameters
    ----------
    owner : str
        The visitor who asked for it.
    key : object
        What was asked: equal keys are equal questions.
    title : str
        For people.
    about : str
        What it is about, for the audit log.
    work : callable
        Takes the job, and returns the result; calls `step` now and then.
    """

    owner: str
    key: object
    title: str
    about: str
    work: Callable[[Job], Any]
    id: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    state: State = "waiting"
    share: float = 0.0  # of the work that is done
    doing: str = ""
    result: Any = None
    error: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
    started: float = 0.0  # seconds, of a clock that only goes forward

    def step(self, share: float, doing: str = "") -> None:
        """Say how far the work is, 0 to 1.

        Raises
        ------
        Cancelled
            When the job is to end.
        """
        if self.stop.is_set():
            raise Cancelled
        self.share, self.doing = share, doing or self.doing

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ("waiting", "running")

    def run(self) -> None:
        """Do the work; whatever goes wrong ends in the job."""
        self.started = time.monotonic()
        try:
            self.step(0.0)
            self.state = "running"
            self.result = self.work(self)
            self.state = "done"
        except Cancelled:
            self.state = "cancelled"
        except Exception as error:  # a broken job must not end the worker
            self.error, self.state = reason_of(error), "failed"


class Jobs:
    """The jobs of all visitors, and a worker a device."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.jobs: dict[str, Job] = {}  # in the order they came
        self.queues: dict[str, queue.Queue[Job]] = {}

    def submit(self, job: Job, device: str) -> Job:
        """Queue a job for a device; an equal one of the same visitor that is active is it."""
        with self.lock:
            for other in self.jobs.values():
                if other.owner == job.owner and other.key == job.key and other.active:
                    return other
            self.jobs[job.id] = job
            self._forget()
            if device not in self.queues:
                self.queues[device] = queue.Queue()
                threading.Thread(
                    target=work_off, args=(self.queues[device],), name=device, daemon=True
                ).start()
            self.queues[device].put(job)
        return job

    def find(self, owner: str, name: str) -> Job | None:
        """Return a job by its id; None for another's, or when there is none."""
        job = self.jobs.get(name)
        return job if job is not None and secrets.compare_digest(job.owner, owner) else None

    def of(self, owner: str) -> list[Job]:
        """Return a visitor's jobs, the newest first."""
        with self.lock:
            return [job for job in reversed(self.jobs.values()) if job.owner == owner]

    def ahead(self, job: Job) -> int:
        """Return how many jobs wait or run before this one."""
        with self.lock:
            before = list(self.jobs.values())
        return sum(other.active for other in before[: before.index(job)]) if job in before else 0

    def _forget(self) -> None:
        for owner, room in ((None, KEPT_IN_ALL), *((one, KEPT) for one in self._owners())):
            own = [job for job in self.jobs.values() if owner in (None, job.owner)]
            ended = [job for job in own if not job.active]
            for job in ended[: max(0, len(own) - room)]:
                del self.jobs[job.id]

    def _owners(self) -> set[str]:
        return {job.owner for job in self.jobs.values()}


def work_off(waiting: queue.Queue[Job]) -> None:
    """Run jobs as they come, one after the other."""
    while True:
        waiting.get().run()
