"""How well a batch uses a device, and how its memory grows: for a test and for a benchmark."""

import os
import time
from unittest.mock import patch

import numpy as np
from batch_runs import SPEC, Threshold, forked, load_logged, write_flat_scans, write_model

from medvision.answer import Answer
from medvision.batch import run_batch
from medvision.collect import Found
from medvision.jobs import Job, plan_jobs
from medvision.predictor import Predictor
from medvision.study import Study
from medvision.volume import Volume

STUDIES = 520  # of which the 50th and the 500th are looked at
SIDE = 64  # voxels: 0.5 MB a study, 1 MB as float32


class Sleeper(Predictor):
    """Takes its time, in which the device counts as busy."""

    def __init__(self, seconds):
        super().__init__(Threshold(), SPEC, "cpu")
        self.seconds, self.busy = seconds, 0.0

    def look(self, ready, step=None):
        """Say that nothing was found, after a while."""
        began = time.perf_counter()
        time.sleep(self.seconds)
        self.busy += time.perf_counter() - began
        return Answer(Found(np.zeros(ready.scan.shape, np.uint8), {}))


def busy_share(folder, reading, network, count=50):
    """Return the share of a run in which the device is busy, and the seconds that it took.

    Each study takes `reading` seconds to read and `network` seconds on the device.
    """
    scan = Volume(np.zeros((1, 16, 16, 16), np.float32), np.eye(4))

    def read(path, series, case_id, inputs):
        time.sleep(reading)
        return Study(case_id, {"image": scan})

    jobs = [Job(f"study{n}", folder / "none") for n in range(count)]
    model, predictor = write_model(folder / "model"), Sleeper(network)
    with (
        patch("medvision.batch.read_study", read),
        patch("medvision.batch.hash_inputs", lambda sources: ""),
    ):
        began = time.perf_counter()
        outcomes = run_batch(jobs, predictor, folder / "out", str(model), ["nifti"], show=False)
        seconds = time.perf_counter() - began
    assert not any(outcome.failed for outcome in outcomes)
    return predictor.busy / seconds, seconds


def resident_mb():
    """Return the memory that this process holds (Linux)."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def watch_memory(scans, model, out, found):
    """Run in a process of its own; write the resident memory after 50 and 500 studies."""
    os.environ |= {"MEDVISION_TEST_LOG": str(out) + ".log", "MEDVISION_TEST_SLEEP": "0"}
    predictor, count, sizes = load_logged(model), 0, {}
    plain = predictor.look

    def look(ready, step=None):
        nonlocal count
        count += 1
        if count in (50, 500):
            sizes[count] = resident_mb()
        return plain(ready, step)

    predictor.look = look
    run_batch(plan_jobs([scans], out), predictor, out, str(model), show=False)
    found.write_text(f"{sizes[50]} {sizes[500]}")


def memory_mb(folder):
    """Return the resident memory in MB after 50 studies and after 500 of one run."""
    scans = write_flat_scans(folder / "scans", STUDIES, SIDE)
    model, found = write_model(folder / "model"), folder / "found"
    with forked(watch_memory, scans, model, folder / "out", found) as process:
        process.join(500)
        assert process.exitcode == 0
    early, late = map(float, found.read_text().split())
    return early, late
