"""The store: who runs what, who is still there, and what it does not hold."""

import dataclasses
import os
import re
import sqlite3
import subprocess
import time
from pathlib import Path

import batch_runs
import numpy as np
import pytest
import typer
from dicom_phantom import write_series

from medvision import sharing
from medvision.cli import app
from medvision.errors import OutputError, SpecError
from medvision.jobs import Shard, parse_shard
from medvision.owner import this_process
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.store import STORE, Ending, Entry, Store

DOCS = Path(__file__).parents[1] / "docs"
ENTRIES = [Entry(name, f"{name}.nii", "", "[]", "null") for name in "abc"]
MINE = {entry.case_id for entry in ENTRIES}


def ending(name):
    return Ending({"case_id": name, "status": "ok", "reason": "", "warnings": ""})


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path) as store:
        store.add(ENTRIES, MINE)
        yield store


def test_a_study_is_claimed_once(store, tmp_path):
    with Store(tmp_path) as other:
        other.add(ENTRIES, MINE)
        assert [store.claim(), other.claim(), store.claim(), other.claim()] == ["a", "b", "c", None]
        assert other.elsewhere() == 2
        assert store.end("a", "done", ending("a"))
        assert not other.end("c", "done", ending("c"))  # the other's
        assert not store.end("a", "done", ending("a"))  # twice
    assert store.claim() == "b"  # given back by one that left


def test_what_is_not_mine_is_not_claimed(tmp_path):
    with Store(tmp_path) as store:
        store.add(ENTRIES, {"b"})
        assert [store.claim(), store.claim()] == ["b", None]
        assert store.elsewhere() == 0


def test_one_that_was_tried_before_comes_last(store, tmp_path):
    assert store.claim() == "a"
    store.close()
    with Store(tmp_path) as again:
        again.add(ENTRIES, MINE)
        assert [again.claim() for _ in range(4)] == ["b", "c", "a", None]
        assert [one.entry.case_id for one in again.studies()] == ["a", "b", "c"]


def replaced_owner(store, **changes):
    """Let the store's claims belong to another process."""
    stranger = dataclasses.replace(store.me, **changes)
    with store.transaction() as base:
        values = [str(stranger), *dataclasses.astuple(stranger), 0]
        base.execute("INSERT INTO owners VALUES (?, ?, ?, ?, ?, ?)", values)
        base.execute("UPDATE studies SET owner=? WHERE state='running'", [str(stranger)])
    return stranger


def test_a_silent_process_elsewhere_loses_its_studies_in_time(store):
    assert store.claim() == "a"
    stranger = replaced_owner(store, host="elsewhere", key="x")
    store.lease = 0.3
    assert [store.claim(), store.claim(), store.claim()] == ["b", "c", None]
    assert store.others() == [stranger]
    time.sleep(0.2)
    with store.transaction() as base:  # a sign of life
        base.execute("UPDATE owners SET beats=beats+1 WHERE owner=?", [str(stranger)])
    assert store.claim() is None
    time.sleep(0.2)
    assert store.claim() is None
    time.sleep(0.2)
    assert store.claim() == "a"


def test_a_number_that_was_given_again_is_another_process(store):
    assert store.claim() == "a"
    replaced_owner(store, born="1", key="x")
    assert [store.claim() for _ in range(3)] == ["b", "c", "a"]


def test_a_study_whose_process_ends_too_often_fails(store):
    for _ in range(3):
        assert store.claim(tries=3) == "a"
        assert store.claim() == "b"
        assert store.claim() == "c"
        for name in "bc":
            store.end(name, "done", ending(name))
        store.again([one for one in store.studies() if one.state == "done"])
        replaced_owner(store, born="1", key=os.urandom(4).hex())
        with store.transaction() as base:  # so that a comes first again
            base.execute("UPDATE studies SET attempts=attempts+3 WHERE case_id != 'a'")
            store._free(base, 3)
    (first, *_) = store.studies()
    assert first.state == "failed"
    assert "ended 3 times without a word" in first.row["reason"]


def test_a_store_is_of_one_kind_of_run(store, tmp_path):
    store.begin({"model": "x", "outputs": "json"})
    store.begin({"model": "x", "outputs": "json"})
    with pytest.raises(OutputError, match="model was x and is y; outputs was json and is csv"):
        store.begin({"model": "y", "outputs": "csv"})
    moved = [dataclasses.replace(ENTRIES[0], box="{}")]
    with pytest.raises(OutputError, match="result of a in another box"):
        store.add(moved, MINE)


def test_a_place_that_is_none_is_one_sentence(tmp_path):
    (tmp_path / STORE).mkdir()
    with pytest.raises(OutputError, match="no permission, or not a place for files"):
        Store(tmp_path)


def test_a_store_that_stays_locked_is_one_sentence(tmp_path, monkeypatch):
    Store(tmp_path).close()
    monkeypatch.setattr(sharing, "BUSY_S", 0.1)
    base = sqlite3.connect(tmp_path / STORE)
    base.execute("BEGIN EXCLUSIVE")
    with pytest.raises(OutputError, match="another process holds its lock, or its file system"):
        Store(tmp_path)
    base.close()


def test_over_a_network_there_is_no_write_ahead_log(tmp_path, monkeypatch):
    monkeypatch.setattr(sharing, "is_shared", lambda path: True)
    with Store(tmp_path) as store, Store(tmp_path) as other:
        for one in (store, other):
            one.add(ENTRIES, MINE)
        assert [store.claim(), other.claim()] == ["a", "b"]
        assert not list(tmp_path.glob("*-wal"))


def test_file_systems_of_a_network_are_known(tmp_path):
    table = tmp_path / "mounts"
    table.write_text(
        "/dev/sda1 / ext4 rw 0 0\nserver:/x /data/my\\040scans nfs4 rw 0 0\n"
        "sshfs /mnt/far fuse.sshfs rw 0 0\n/dev/sdb /mnt/near fuseblk rw 0 0\n"
    )
    for path, shared in (
        ("/home/me/out", False),
        ("/data/my scans/out", True),
        ("/data/my scansion", False),
        ("/mnt/far/x", True),
        ("/mnt/near/x", False),
    ):
        assert sharing.is_shared(Path(path), table) == shared, path
    assert not sharing.is_shared(tmp_path, tmp_path / "none")


def test_this_process_is_there():
    assert not this_process().gone


def test_every_study_is_in_one_shard_whatever_else_there_is():
    names = [f"case{n}" for n in range(400)]
    parts = [{n for n in names if Shard(i, 7).holds(n)} for i in range(1, 8)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 400
    assert min(map(len, parts)) > 30
    for bad in ("0/4", "5/4", "1", "a/b", "1/0", "-1/4"):
        with pytest.raises(SpecError):
            parse_shard(bad)


def test_the_store_holds_no_name_and_no_date(tmp_path, monkeypatch):
    monkeypatch.setattr("medvision.checkpoint.build_model", lambda spec: batch_runs.Threshold())
    image, _ = ellipsoid_phantom(
        (16,) * 3, np.diag([-1, -1, 1, 1]), [Ellipsoid((8.0,) * 3, (4,) * 3)]
    )
    stored = image.with_array(image.array.astype(np.int16))

    def named(data, k):
        data.PatientName, data.PatientID = "DOE^JANE", "MRN-4711"
        data.PatientBirthDate = data.StudyDate = "19610203"

    scans = tmp_path / "scans"
    for path in write_series(scans / "exam", stored, modality="MR", change=named):
        path.rename(path.with_name(f"ROE_{path.name}"))
    (scans / "broken.nii.gz").write_text("no image")
    out = tmp_path / "out"
    found = batch_runs.run(
        scans, batch_runs.write_model(tmp_path / "model"), out, tmp_path / "log", formats=["json"]
    )
    assert sorted(one.failed for one in found) == [False, True]
    held = (out / STORE).read_bytes()
    assert b"exam" in held
    for secret in (b"DOE", b"ROE", b"MRN-4711", b"19610203"):
        assert secret not in held, secret


def test_the_job_script_is_a_script():
    script = DOCS / "slurm_predict.sh"
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text(encoding="utf-8")
    assert text.rindex("#SBATCH") < text.index("set -euo")  # SLURM reads none after it


def test_the_page_names_options_that_there_are():
    known = typer.main.get_command(app).commands["predict"].params
    options = {option for parameter in known for option in parameter.opts}
    pages = (DOCS / "batch.md", DOCS / "slurm_predict.sh")
    for text in (page.read_text(encoding="utf-8") for page in pages):
        for line in re.findall(r"medvision predict (.*)", text.replace("\\\n", " ")):
            assert set(re.findall(r"--[\w-]+", line)) <= options
