"""Runs of many small studies that a test can kill, slow down or watch.

Its functions are run in processes of their own, by `forked`.
"""

import multiprocessing
import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

import medvision.checkpoint
from medvision.batch import run_batch
from medvision.checkpoint import save_model
from medvision.intensity_spec import Intensity
from medvision.jobs import plan_jobs
from medvision.outputs.nifti import save_nifti
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.predictor import Predictor, load_predictor
from medvision.spec import InputSpec, ModelSpec
from medvision.volume import Volume

SIDE = 16
SPEC = ModelSpec(
    "balls",
    "segmentation",
    "toy",
    ("ball",),
    (1, 1, 1),
    (SIDE, SIDE, SIDE),
    inputs=(InputSpec(intensity=Intensity("window", low=0, high=100)),),
)


class Threshold(nn.Module):
    """Says ball where a voxel is above the middle."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(2.0))

    def forward(self, image):
        """Return logits (B, 2, I, J, K)."""
        return self.gain * torch.cat([-image, image], dim=1)


class Logged(Predictor):
    """Writes a line for every study it is asked for; may be slow."""

    def __init__(self, model, spec, device, log, seconds=0.0):
        super().__init__(model, spec, device)
        self.log, self.seconds = log, seconds

    def look(self, ready, step=None):
        """Ask the network, and say so."""
        with self.log.open("a") as file:
            file.write(f"{ready.case_id} {os.getpid()}\n")
        time.sleep(self.seconds)
        return super().look(ready, step)


def write_model(folder):
    """Write the model folder."""
    return save_model(folder, SPEC, Threshold().state_dict(), "# balls\n")


def write_scans(folder, count, side=SIDE):
    """Write scans whose answer is a ball each, of another size."""
    for number in range(count):
        ball = Ellipsoid((side / 2,) * 3, (2 + number % 5 * side / 16,) * 3)
        image, _ = ellipsoid_phantom((side,) * 3, np.eye(4), [ball], noise=2, seed=number)
        save_nifti(image, folder / f"scan{number:03}.nii.gz")
    return folder


def write_flat_scans(folder, count, side):
    """Write many scans of one value each, quickly."""
    for number in range(count):
        voxels = np.full((1, side, side, side), number % 100, np.int16)
        save_nifti(Volume(voxels, np.eye(4)), folder / f"scan{number:03}.nii")
    return folder


def load_logged(model, device="cpu"):
    """Load the predictor; MEDVISION_TEST_LOG and _SLEEP say where it writes and how slow it is."""
    medvision.checkpoint.build_model = lambda spec: Threshold()
    plain = load_predictor(model, "cpu")
    log = Path(os.environ["MEDVISION_TEST_LOG"])
    return Logged(plain.model, plain.spec, "cpu", log, float(os.environ["MEDVISION_TEST_SLEEP"]))


def run(scans, model, out, log, seconds=0.0, **options):
    """Run them all in this process."""
    torch.set_num_threads(1)
    os.environ |= {"MEDVISION_TEST_LOG": str(log), "MEDVISION_TEST_SLEEP": str(seconds)}
    jobs = plan_jobs([scans], out)
    return run_batch(jobs, load_logged(model), out, str(model), show=False, **options)


def run_until(event, *arguments, **options):
    """Run until the file system has been asked for the `event`-th time; then end at once."""
    count = 0

    def dying(call):
        def asked(*args, **kwargs):
            nonlocal count
            count += 1
            if count == event:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return asked

    for name in ("fsync", "replace", "open", "chmod", "stat"):
        setattr(os, name, dying(getattr(os, name)))
    run(*arguments, **options)


def calls(log):
    """Return the studies that the predictor was asked for, in order."""
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


@contextmanager
def forked(function, *arguments, **options):
    """Run a function in a process that has loaded everything; yield the process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["batch_runs"])
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, *filter(None, [before])])
    try:
        process = context.Process(target=function, args=arguments, kwargs=options)
        process.start()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    try:
        yield process
    finally:
        process.kill()
        process.join()
        process.close()
