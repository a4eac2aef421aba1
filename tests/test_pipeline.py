"""The steps of a batch overlap, within bounds, and end as they should."""

import os
import threading
import time
import weakref
from dataclasses import dataclass, field

import numpy as np
import pytest
from batch_runs import SPEC, Threshold, forked, write_flat_scans, write_model

from medvision.batch import run_batch
from medvision.jobs import Job, plan_jobs
from medvision.pipeline import MOST, run_pipeline
from medvision.prediction import Prediction
from medvision.predictor import Predictor
from medvision.study import Study
from medvision.volume import Volume


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


class Sleeper(Predictor):
    """Takes its time, in which the device counts as busy."""

    def __init__(self, seconds):
        super().__init__(Threshold(), SPEC, "cpu")
        self.seconds, self.busy = seconds, 0.0

    def predict(self, study, box=None, step=None):
        """Say that nothing was found, after a while."""
        began = time.perf_counter()
        time.sleep(self.seconds)
        self.busy += time.perf_counter() - began
        mask = Volume(np.zeros(study.image.array.shape, np.uint8), study.image.affine)
        whole = tuple(slice(0, n) for n in mask.shape)
        return Prediction(study.case_id, SPEC.name, SPEC.class_names, mask=mask, region=whole)


def busy_share(tmp_path, monkeypatch, seconds, count=50):
    """Return the share of a run in which the device is busy."""
    scan = Volume(np.zeros((1, 16, 16, 16), np.float32), np.eye(4))

    def read(path, series, case_id, inputs):
        time.sleep(seconds)
        return Study(case_id, {"image": scan})

    monkeypatch.setattr("medvision.batch.read_study", read)
    monkeypatch.setattr("medvision.batch.hash_inputs", lambda sources: "")
    jobs = [Job(f"study{n}", tmp_path / "none") for n in range(count)]
    model, predictor = write_model(tmp_path / "model"), Sleeper(seconds)
    began = time.perf_counter()
    outcomes = run_batch(jobs, predictor, tmp_path / "out", str(model), ["nifti"], show=False)
    seconds = time.perf_counter() - began
    assert not any(outcome.failed for outcome in outcomes)
    return predictor.busy / seconds


def test_the_device_is_busy_while_scans_are_read_and_results_written(tmp_path, monkeypatch):
    shares = [busy_share(tmp_path / "1", monkeypatch, 0.2)]
    if shares[0] < 0.9:  # another program may have been in the way
        shares.append(busy_share(tmp_path / "2", monkeypatch, 0.2))
    print(f"busy {max(shares):.1%}")
    assert max(shares) >= 0.9


def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure_memory(scans, model, out, found):
    """Run in a process of its own; write the resident memory after 50 and 500 studies."""
    from batch_runs import load_logged

    os.environ |= {"MEDVISION_TEST_LOG": str(out) + ".log", "MEDVISION_TEST_SLEEP": "0"}
    predictor, count, sizes = load_logged(model), 0, {}
    plain = predictor.predict

    def predict(study, box=None, step=None):
        nonlocal count
        count += 1
        if count in (50, 500):
            sizes[count] = resident_mb()
        return plain(study, box, step)

    predictor.predict = predict
    run_batch(plan_jobs([scans], out), predictor, out, str(model), show=False)
    found.write_text(f"{sizes[50]} {sizes[500]}")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_studies(tmp_path):
    scans = write_flat_scans(tmp_path / "scans", 520, 64)  # 0.5 MB a study, 1 MB as float32
    model, found = write_model(tmp_path / "model"), tmp_path / "found"
    with forked(measure_memory, scans, model, tmp_path / "out", found) as process:
        process.join(500)
        assert process.exitcode == 0
    early, late = map(float, found.read_text().split())
    print(f"{early:.0f} MB after 50 studies, {late:.0f} MB after 500: {late / early:.3f}")
    assert late <= 1.05 * early
