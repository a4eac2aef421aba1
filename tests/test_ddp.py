"""Several processes on gloo train what one process does."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from ddp_trainings import run_all
from safetensors.torch import load_file
from training_phantom import write_phantom_cases

from medvision.scores import figures, read_scores

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
QUIET = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_phantom_cases(tmp_path_factory.mktemp("cases"))


@pytest.fixture(scope="module")
def both(table, tmp_path_factory):
    """The folders that one process and two leave, and what the two said."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run_all(table, one)
    torch.set_num_threads(threads)
    script = Path(__file__).with_name("ddp_trainings.py")
    done = subprocess.run(
        [*TORCHRUN, script, table, two], env=QUIET, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return one, two, done.stdout + done.stderr


@pytest.mark.parametrize("which", ["masks", "labels", "folds"])
def test_validation_is_that_of_one_process(both, which):
    one, two, _ = both
    expected, found = (read_scores(run / which / "metrics.csv") for run in (one, two))
    assert [score.case_id for score in found] == [score.case_id for score in expected]
    assert figures(found) == pytest.approx(figures(expected), abs=2e-3)  # a few voxels


@pytest.mark.parametrize("which", ["masks", "labels"])
def test_so_are_the_weights(both, which):
    expected, found = (load_file(run / which / "model" / "model.safetensors") for run in both[:2])
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=5e-3), name  # a Dice of their own: 0.03


@pytest.mark.parametrize("which", ["masks", "labels"])
def test_the_logged_losses_are_those_of_the_whole_batch(both, which):
    rows = []
    for folder in both[:2]:
        with (folder / which / "log.csv").open() as file:
            rows.append([(r["step"], r["what"], float(r["value"])) for r in csv.DictReader(file)])
    assert [row[:2] for row in rows[0]] == [row[:2] for row in rows[1]]
    assert [row[2] for row in rows[0]] == pytest.approx([row[2] for row in rows[1]], abs=1e-3)


def test_the_folds_make_one_model_and_leave_no_cache(both):
    _, two, _ = both
    assert (two / "folds" / "ensemble" / "model.safetensors").is_file()
    assert not list(two.rglob("*.npy"))
    assert len(list((two / "folds" / "fold_0" / "tensorboard").iterdir())) == 1


def test_a_loss_of_one_process_that_is_no_number_stops_both_and_names_all_cases(both):
    _, two, _ = both
    texts = {(two / f"nan_{rank}.txt").read_text() for rank in (0, 1)}
    assert len(texts) == 1
    (text,) = texts
    assert "The loss is nan at step 0" in text
    assert text.count("case") == 5  # four in the batch, and "on cases"
    assert not (two / "nan" / "model").exists()


def test_nothing_is_said_but_what_was_asked_for(both):
    said = both[2]
    assert "Initializing" not in said
    assert "Grad strides" not in said
    assert "torch.distributed" not in said


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are named on Linux only")
def test_no_thread_of_gloo_outlives_the_work(both):
    for rank in (0, 1):
        threads = (both[1] / f"threads_{rank}.txt").read_text().split()
        assert "python" in threads
        assert not [name for name in threads if "gloo" in name]


def test_ctrl_c_of_torchrun_saves_and_one_process_goes_on(table, tmp_path):
    command = ["-m", "medvision", "train", table, "--classes", "ball", "--width", "4", "--quiet"]
    settings = ("steps=100", "batch_size=4", "eval_every=200", "workers=1")
    command += [part for one in settings for part in ("--set", one)]
    command += ["--out", tmp_path, "--device", "cpu"]
    with subprocess.Popen(
        [*TORCHRUN, *command], env=QUIET, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        deadline = time.monotonic() + 60
        while not (tmp_path / "log.csv").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        run.send_signal(signal.SIGINT)
        assert run.wait(60) != 0
    step = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"]
    assert 10 <= step < 100
    assert not (tmp_path / "model").exists()
    again = ["-m", "medvision", "train", table, "--out", tmp_path, "--resume", "--quiet"]
    subprocess.run([sys.executable, *again, "--device", "cpu"], env=QUIET, check=True, timeout=60)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 100
    assert (tmp_path / "model" / "model.safetensors").is_file()
    with (tmp_path / "log.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps == list(range(10, 101, 10))
