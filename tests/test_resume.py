"""Runs that are ended at any moment go on, lose nothing and do nothing twice."""

import csv
import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from contextlib import contextmanager

import batch_runs
import numpy as np
import pytest
from batch_runs import calls, forked, write_model, write_scans

from medvision.errors import OutputError
from medvision.export import outcome_of
from medvision.store import STORE, Store

COUNT = 12
POINTS = 20  # at which a run is killed
QUICK = (0, 1, 6, 11)  # of them in the usual tests


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Scans, a model, and the results of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("batch")
    write_scans(folder / "scans", COUNT)
    write_model(folder / "model")
    with forked(batch_runs.run, *arguments(folder, folder / "out")) as process:
        process.join(120)
        assert process.exitcode == 0
    began = time.monotonic()  # by now everything is loaded
    with forked(batch_runs.run, *arguments(folder, folder / "timed")) as process:
        process.join(120)
        assert process.exitcode == 0
    (folder / "seconds").write_text(str(time.monotonic() - began))
    return folder


def arguments(place, out):
    return place / "scans", place / "model", out, out.with_suffix(".log")


def rows_of(out):
    with (out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def files_of(out):
    """Every result to the byte, and what lies there besides."""
    kept = ("report.html", "results.csv", "run.json", STORE)
    return {p.name: "" if p.name in kept else p.read_bytes() for p in out.iterdir()}


def assert_undisturbed(place, out):
    """The folder is as if nothing had happened."""
    assert rows_of(out) == rows_of(place / "out")
    assert files_of(out) == files_of(place / "out")
    cards = [json.loads((f / "run.json").read_text())["cases"] for f in (out, place / "out")]
    for case in cards[0] + cards[1]:
        del case["seconds"]
    assert cards[0] == cards[1]


def done_in(out):
    """What the store holds as done, whatever state its process has left it in."""
    if not (out / STORE).exists():
        return set()
    with sqlite3.connect(out / STORE) as base:
        tables = base.execute("SELECT name FROM sqlite_master WHERE name='studies'").fetchall()
        found = base.execute("SELECT case_id FROM studies WHERE state='done'") if tables else ()
        names = {name for (name,) in found}
    base.close()
    return names


@pytest.mark.parametrize(
    "point",
    [p if p in QUICK else pytest.param(p, marks=pytest.mark.slow) for p in range(POINTS)],
)
def test_a_run_killed_at_any_moment_goes_on(place, tmp_path, point):
    out, chance = tmp_path / "out", random.Random(point)
    if point % 2:
        seconds = float((place / "seconds").read_text())
        with forked(batch_runs.run, *arguments(place, out)) as process:
            time.sleep(chance.uniform(0.1, 1) * seconds)
            process.kill()
            process.join()
    else:
        event = chance.randrange(1, 700)  # a run has more
        with forked(batch_runs.run_until, event, *arguments(place, out)) as process:
            process.join(120)
            assert process.exitcode == -signal.SIGKILL
    whole, before = done_in(out), calls(out.with_suffix(".log"))
    with forked(batch_runs.run, *arguments(place, out)) as process:
        process.join(120)
        assert process.exitcode == 0
    again = calls(out.with_suffix(".log"))[len(before) :]
    assert sorted(again) == sorted({row["case_id"] for row in rows_of(out)} - whole)
    assert_undisturbed(place, out)


def test_a_run_that_is_killed_again_and_again_gets_there(place, tmp_path):
    out = tmp_path / "out"
    lives, ended = 0, False
    while not ended and lives < 30:
        event = 200 + 40 * lives  # what was done is looked at before anything else
        with forked(batch_runs.run_until, event, *arguments(place, out)) as process:
            process.join(120)
            lives, ended = lives + 1, process.exitcode == 0
    assert lives > 2
    assert_undisturbed(place, out)


def test_two_processes_share_a_folder(place, tmp_path):
    out = tmp_path / "out"
    with (
        forked(batch_runs.run, *arguments(place, out), seconds=0.05) as first,
        forked(batch_runs.run, *arguments(place, out), seconds=0.05) as second,
    ):
        first.join(120)
        second.join(120)
        assert (first.exitcode, second.exitcode) == (0, 0)
    lines = [line.split() for line in out.with_suffix(".log").read_text().splitlines()]
    assert set(Counter(name for name, _ in lines).values()) == {1}
    assert len({pid for _, pid in lines}) == 2  # both had something to do
    assert_undisturbed(place, out)


def test_what_a_killed_process_held_is_taken_over_by_the_other(place, tmp_path):
    out = tmp_path / "out"
    with (
        forked(batch_runs.run, *arguments(place, out), seconds=0.1) as first,
        forked(batch_runs.run, *arguments(place, out), seconds=0.1) as second,
    ):
        log = out.with_suffix(".log")
        while first.pid not in {int(p) for p in pids(log)}:
            time.sleep(0.01)
        first.kill()
        second.join(120)
        assert second.exitcode == 0
    assert_undisturbed(place, out)
    assert len(calls(log)) <= COUNT + 1  # the one that was being predicted


def pids(log):
    return [line.split()[1] for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def ran(place, tmp_path, monkeypatch):
    """A folder of results, and what runs it again in this process: returns what was predicted."""
    monkeypatch.setattr("medvision.checkpoint.build_model", lambda spec: batch_runs.Threshold())
    scans, model, out, log = arguments(place, tmp_path / "out")

    def run(**options):
        before = len(calls(log))
        batch_runs.run(options.pop("scans", scans), model, out, log, **options)
        return calls(log)[before:]

    run()
    return run


def test_only_what_is_not_whole_is_done_again(ran, place, tmp_path):
    out = tmp_path / "out"
    assert ran() == []
    (out / "scan001.nii.gz").unlink()
    (out / "scan002.json").write_text("{")
    os.utime(out / "scan003.png")  # its content is the same
    assert sorted(ran()) == ["scan001", "scan002"]
    assert_undisturbed(place, out)


def test_scans_are_told_apart_by_content_once_their_stamps_differ(ran, place, tmp_path):
    moved = tmp_path / "scans"
    subprocess.run(["cp", "-r", place / "scans", moved], check=True)  # new times
    assert ran(scans=moved) == []
    (moved / "scan004.nii.gz").write_bytes((moved / "scan005.nii.gz").read_bytes())
    assert ran(scans=moved) == ["scan004"]
    write_scans(moved, COUNT + 1)
    assert sorted(ran(scans=moved)) == ["scan004", "scan012"]
    row = next(r for r in rows_of(tmp_path / "out") if r["case_id"] == "scan004")
    assert row["source"] == str(moved / "scan004.nii.gz")


def test_other_settings_are_refused_and_named(ran, place, tmp_path):
    with pytest.raises(OutputError, match=r"outputs was nifti, json, overlay and is json"):
        ran(formats=["json"])
    assert ran() == []
    assert len(ran(formats=["json"], overwrite=True)) == COUNT


def test_nothing_begins_anew_where_another_works(place, ran, tmp_path):
    with Store(tmp_path / "out"), pytest.raises(OutputError, match="is in use by"):
        ran(overwrite=True)


def test_temporary_files_of_ended_processes_are_removed(ran, tmp_path):
    out = tmp_path / "out"
    (out / ".part-1.nii.gz").write_bytes(b"half")
    (out / ".part-4194304-x.csv").write_bytes(b"half")
    ran()
    assert not list(out.glob(".part-*"))


def test_a_damaged_store_is_one_sentence(ran, tmp_path):
    (tmp_path / "out" / STORE).write_text("no database")
    with pytest.raises(OutputError, match="is damaged: name another folder, or --overwrite"):
        ran()
    assert len(ran(overwrite=True)) == COUNT


def test_results_without_a_store_are_kept(ran, tmp_path):
    (tmp_path / "out" / STORE).unlink()
    with pytest.raises(OutputError, match="without its status"):
        ran()


def test_the_run_card_tells_of_every_run_into_the_folder(ran, tmp_path):
    """One that found nothing to do takes nothing from those that did."""
    before = json.loads((tmp_path / "out" / "run.json").read_text())
    [first] = before["runs"]
    assert first["cases"] == COUNT == len(before["cases"])
    assert first["versions"]["numpy"] == np.__version__
    assert ran() == []
    card = json.loads((tmp_path / "out" / "run.json").read_text())
    assert card["cases"] == before["cases"]
    assert card["runs"][0] == first
    assert [one["cases"] for one in card["runs"]] == [COUNT, 0]
    assert card["resolved"] == before["resolved"]
    (tmp_path / "out" / "scan003.nii.gz").unlink()
    assert ran() == ["scan003"]
    card = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [one["cases"] for one in card["runs"]] == [COUNT, 0, 1]
    ran(overwrite=True)
    card = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [one["cases"] for one in card["runs"]] == [COUNT]


def test_ctrl_c_leaves_what_goes_on(ran, place, tmp_path, monkeypatch):
    out = tmp_path / "second"
    look = batch_runs.Logged.look

    def interrupted(self, ready, step=None):
        if ready.case_id == "scan005":
            raise KeyboardInterrupt
        return look(self, ready, step)

    monkeypatch.setattr(batch_runs.Logged, "look", interrupted)
    scans, model, _, log = arguments(place, out)
    with pytest.raises(KeyboardInterrupt):
        batch_runs.run(scans, model, out, log)
    assert [row["case_id"] for row in rows_of(out)] == [f"scan{n:03}" for n in range(5)]
    assert json.loads((out / "run.json").read_text())["status"] == "unfinished"
    assert "This run has not ended" in (out / "report.html").read_text(encoding="utf-8")
    with Store(out) as store:
        assert Counter(s.state for s in store.studies()) == {"done": 5, "waiting": COUNT - 5}
    monkeypatch.setattr(batch_runs.Logged, "look", look)
    batch_runs.run(scans, model, out, log)
    assert len(calls(log)) == COUNT
    assert_undisturbed(place, out)


@contextmanager
def small_disk(folder, size):
    """A disk of some bytes, for whoever may mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted by root alone")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("room", [0, 60, 200, 500, 800])  # KiB
def test_a_full_disk_stops_the_run_and_half_writes_nothing(place, tmp_path, room):
    with small_disk(tmp_path / "disk", "8m") as disk:
        out, ballast = disk / "out", disk / "ballast"
        scans, model, _, _ = arguments(place, out)
        log = tmp_path / "log"
        ballast.write_bytes(bytes((8192 - room) * 1024))
        with forked(batch_runs.run, scans, model, out, log) as process:
            process.join(120)
            assert process.exitcode == 1  # OutputError, whose words are looked at below
        undisturbed = files_of(place / "out")
        for name, found in files_of(out).items() if out.exists() else ():
            assert not name.startswith(".part-")
            if name in undisturbed:
                assert found == undisturbed[name]  # whole
        whole, before = done_in(out), calls(log)
        ballast.unlink()
        with forked(batch_runs.run, scans, model, out, log) as process:
            process.join(120)
            assert process.exitcode == 0
        assert not whole & set(calls(log)[len(before) :])
        assert_undisturbed(place, out)


def test_the_words_for_a_full_disk(place, ran, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medvision.outputs.nifti.atomic_path", full)
    scans, model, out, log = arguments(place, tmp_path / "other")
    with pytest.raises(OutputError, match=r"No space left.*Make room and run again"):
        batch_runs.run(scans, model, out, log)
    with Store(out) as store:
        assert {outcome_of(s).job.case_id for s in store.studies() if s.state == "waiting"} == {
            f"scan{n:03}" for n in range(COUNT)
        }


def test_how_far_it_is_is_told_and_what_ends_it_is_no_failure(tmp_path, monkeypatch):
    monkeypatch.setattr("medvision.checkpoint.build_model", None)  # `run` sets these three
    monkeypatch.setenv("MEDVISION_TEST_LOG", "")
    monkeypatch.setenv("MEDVISION_TEST_SLEEP", "")

    class Enough(BaseException):
        pass

    scans, model = write_scans(tmp_path / "scans", 4), write_model(tmp_path / "model")
    out, log, shares = tmp_path / "out", tmp_path / "log", []

    def step(share):
        shares.append(share)
        if share >= 0.5:
            raise Enough

    with pytest.raises(Enough):
        batch_runs.run(scans, model, out, log, step=step)
    assert shares == sorted(shares)
    assert shares[0] == 0
    outcomes = batch_runs.run(scans, model, out, log, step=shares.append)
    assert shares[-1] == 1
    assert [one.row["status"] for one in outcomes] == ["ok"] * 4
    assert sum(one.earlier for one in outcomes) >= 1
