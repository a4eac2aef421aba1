"""The steps of a batch overlap, within bounds, and end as they should."""

import threading
import time
import weakref
from dataclasses import dataclass, field

import pytest
from batch_measures import busy_share, memory_mb

from medvision.pipeline import MOST, run_pipeline


@dataclass(eq=False)
class Thing:
    """An item that can be watched."""

    number: int
    steps: list[str] = field(default_factory=list)


def passing(name):
    def step(thing):
        thing.steps.append(name)
        return thing

    return step


def test_every_item_takes_every_step_in_order():
    done = []
    source = lambda stop: iter([Thing(n) for n in range(20)])  # noqa: E731
    run_pipeline(source, passing("a"), passing("b"), lambda t: done.append(passing("c")(t)))
    assert [t.number for t in done] == list(range(20))
    assert {tuple(t.steps) for t in done} == {("a", "b", "c")}


def test_few_items_are_underway_and_none_is_kept():
    alive, most = weakref.WeakSet(), 0

    def things(stop):
        nonlocal most
        for n in range(30):
            thing = Thing(n)
            alive.add(thing)
            most = max(most, len(alive))
            yield thing
            del thing

    run_pipeline(things, passing("a"), passing("b"), lambda t: time.sleep(0.005))
    assert most <= MOST + 1  # the one that is yielded waits for room
    assert not len(alive)


@pytest.mark.parametrize("broken", ["source", "prepare", "work", "finish"])
def test_what_a_step_raises_reaches_the_caller(broken):
    threads = threading.active_count()

    def failing(name):
        def step(thing):
            if name == broken and thing.number == 3:
                raise ValueError(name)
            return thing

        return step

    def things(stop):
        for n in range(1000):
            yield failing("source")(Thing(n))

    done = []
    with pytest.raises(ValueError, match=broken):
        run_pipeline(
            things,
            failing("prepare"),
            failing("work"),
            lambda t: done.append(failing("finish")(t).number),
        )
    assert done == list(range(len(done)))
    assert len(done) <= 3
    assert threading.active_count() == threads


def test_the_device_is_busy_while_scans_are_read_and_results_written(tmp_path):
    shares = [busy_share(tmp_path / "1", 0.2, 0.2)[0]]
    if shares[0] < 0.9:  # another program may have been in the way
        shares.append(busy_share(tmp_path / "2", 0.2, 0.2)[0])
    print(f"busy {max(shares):.1%}")
    assert max(shares) >= 0.9


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_studies(tmp_path):
    early, late = memory_mb(tmp_path)
    print(f"{early:.0f} MB after 50 studies, {late:.0f} MB after 500: {late / early:.3f}")
    assert late <= 1.05 * early
