"""A batch on a local Ray cluster, of which a worker is killed."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from batch_runs import calls, write_model, write_scans

from medvision import cluster
from medvision.errors import MissingExtra, SpecError
from medvision.pipeline import MOST
from medvision.store import Store

TESTS = Path(__file__).parent
PROGRAM = """
import os, signal, sys, threading, time
from pathlib import Path
import torch
import batch_runs
from medvision.cluster import run_on_ray
from medvision.jobs import plan_jobs

scans, model, out, log = map(Path, sys.argv[1:5])
load, workers = batch_runs.load_logged, int(sys.argv[5])

def kill_one():
    while len(batch_runs.calls(log)) < 5:
        time.sleep(0.02)
    os.kill(int(log.read_text().split()[-1]), signal.SIGKILL)

threading.Thread(target=kill_one, daemon=True).start()
jobs = plan_jobs([scans], out)
found, spec = run_on_ray(
    jobs, str(model), out, "local", show=False, workers=workers, load=load
)
assert len(found) == len(jobs) and not any(one.failed for one in found), found
"""


def test_without_ray_its_install_line_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("medvision.errors.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"medvision-toolkit\[ray\]"):
        cluster.run_on_ray([], "hippocampus", tmp_path / "out", "local")


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: the ray extra")
def test_an_address_without_a_cluster_is_one_sentence():
    with pytest.raises(SpecError, match=r"No Ray cluster at 'ray://127.0.0.1:1'"):
        cluster.start_ray("ray://127.0.0.1:1")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: the ray extra")
@pytest.mark.parametrize(("workers", "count"), [(1, 12), (2, 40)])  # one must be started again
def test_every_study_is_done_once_though_a_worker_is_killed(tmp_path, workers, count):
    scans, out, log = tmp_path / "scans", tmp_path / "out", tmp_path / "log"
    write_scans(scans, count)
    model = write_model(tmp_path / "model")
    paths = [TESTS, TESTS.parent, os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "MEDVISION_TEST_LOG": str(log),
        "MEDVISION_TEST_SLEEP": "0.3",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    command = [sys.executable, "-c", PROGRAM, scans, model, out, log, str(workers)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    with Store(out) as store:
        studies = store.studies()
    assert {one.state for one in studies} == {"done"}
    assert len(studies) == count
    assert len({line.split()[1] for line in log.read_text().splitlines()}) >= 2
    asked = calls(log)
    assert len(set(asked)) == count
    assert len(asked) - count <= MOST  # what the killed one had in hand; nothing that was done
    lost = {one.entry.case_id for one in studies if one.attempts > 1}
    assert {name for name in asked if asked.count(name) > 1} <= lost
    assert not list(out.glob(".part-*"))
