"""A bounded pipeline: what comes next is made ready and what came before is put away meanwhile.

Threads, not processes, so that it runs in notebooks and inside other schedulers. Knows nothing
of studies.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")
POLL_S = 0.1
MOST = 5  # items between their start and their end: one in each step, and one that waits


class End:
    """No item follows."""


class Queue(Generic[T]):
    """Items on their way to the next step."""

    def __init__(self) -> None:
        self.items: SimpleQueue[T | End] = SimpleQueue()  # `MOST` bounds it

    def put(self, item: T | End) -> None:
        """Hand an item, or the end, to the next step."""
        self.items.put(item)

    def get(self, stop: threading.Event | None = None) -> T | End:
        """Wait for the next item; the end, too, when `stop` is set meanwhile."""
        while stop is None or not stop.is_set():
            try:
                return self.items.get(timeout=POLL_S)
            except Empty:
                continue
        return End()


def run_pipeline(
    source: Callable[[threading.Event], Iterator[T]],
    prepare: Callable[[T], T],
    work: Callable[[T], T],
    finish: Callable[[T], object],
    follow: Callable[[Iterator[T]], Iterator[T]] = iter,
    most: int = MOST,
) -> None:
    """Take every item of `source` through three steps that overlap.

    Parameters
    ----------
    source : callable
        Yields the items, in a thread of its own; it is given an event that is set when no more
        are wanted.
    prepare, finish : callable
        The first and the last step, each in a thread of its own, one item at a time.
    work : callable
        The step between, in the thread that calls, one item at a time.
    follow : callable
        Wraps the items that come to `work`, such as in a progress bar.
    most : int
        Items that are underway at once, at most: memory does not grow with their number.

    Raises
    ------
    BaseException
        The first that a step raised; what had passed `work` by then is finished before.
    """
    stop, room = threading.Event(), threading.Semaphore(most)
    failures: list[BaseException] = []
    taken, ready, worked = Queue[T](), Queue[T](), Queue[T]()

    def take() -> None:
        items = source(stop)
        while not stop.is_set():
            if not room.acquire(timeout=POLL_S):
                continue
            item = next(items, None)
            if item is None:
                break
            taken.put(item)
            del item  # or it would live until the next one is there
        taken.put(End())

    def make_ready() -> None:
        while not isinstance(item := taken.get(stop), End):
            ready.put(prepare(item))
            del item
        ready.put(End())

    def put_away() -> None:
        while not isinstance(item := worked.get(), End):
            finish(item)
            del item
            room.release()

    def arriving() -> Iterator[T]:
        while not isinstance(item := ready.get(stop), End):
            yield item
            del item

    def guarded(step: Callable[[], Any]) -> threading.Thread:
        def run() -> None:
            try:
                step()
            except BaseException as error:  # raised in the thread that called
                failures.append(error)
                stop.set()

        return threading.Thread(target=run, name=step.__name__, daemon=True)

    threads = [guarded(step) for step in (take, make_ready, put_away)]
    for thread in threads:
        thread.start()
    try:
        for item in follow(arriving()):
            worked.put(work(item))
            del item
    except BaseException:
        stop.set()
        raise
    finally:
        worked.put(End())
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
