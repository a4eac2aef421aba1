"""The data-set builders, against a folder and a local file server."""

import csv
import hashlib
import http.server
import json
import tarfile
import threading
from functools import partial

import nibabel as nib
import numpy as np
import pytest

from medvision.dataset import read_cases, split_folds
from medvision.errors import CasesError
from medvision.extras import dataset_builder
from medvision.io import read_volume


@pytest.fixture
def msd():
    return dataset_builder("msd")


@pytest.fixture
def task(tmp_path):
    """A folder as the Decathlon lays it out, with what macOS leaves behind."""
    folder = tmp_path / "source" / "Task04_Hippocampus"
    for kind in ("imagesTr", "labelsTr"):
        (folder / kind).mkdir(parents=True)
        for number in (1, 2, 3, 4, 7):
            image = nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4))
            nib.save(image, folder / kind / f"hippocampus_{number:03d}.nii.gz")
        (folder / kind / "._hippocampus_001.nii.gz").write_bytes(b"junk")
    (folder / "dataset.json").write_text(
        json.dumps(
            {
                "name": "Hippocampus",
                "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
            }
        )
    )
    return folder


def test_pairs_of_ids_are_one_group(msd, task, tmp_path):
    out = tmp_path / "cases.csv"
    rows = msd.build(task, out)
    assert [r["group"] for r in rows] == [
        "pair_001",
        "pair_001",
        "pair_002",
        "pair_002",
        "pair_004",
    ]
    cases = read_cases(out)
    assert [c.case_id for c in cases][:2] == ["hippocampus_001", "hippocampus_002"]
    assert all(c.images["image"].exists() and c.mask.exists() for c in cases)
    assert msd.class_names(task) == ("Anterior", "Posterior")
    for fold in split_folds(cases, 3):
        inside = {cases[i].group for i in fold}
        assert not inside & {c.group for i, c in enumerate(cases) if i not in fold}


def test_paths_below_the_table_are_relative_to_it(msd, task):
    msd.build(task, task.parent / "cases.csv", "case")
    with (task.parent / "cases.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert row["image"] == "Task04_Hippocampus/imagesTr/hippocampus_001.nii.gz"
    assert row["group"] == "hippocampus_001"


def test_a_ct_task_says_so(msd, task):
    described = task / "dataset.json"
    assert msd.modality(task) == ""
    described.write_text('{"name": "Spleen", "modality": {"0": "CT"}, "labels": {"1": "spleen"}}')
    assert msd.modality(task) == "CT"
    assert msd.class_names(task) == ("spleen",)
    described.write_text("no table")
    with pytest.raises(CasesError, match="is damaged"):
        msd.build(task, task.parent / "cases.csv")


def test_an_image_without_mask_is_named(msd, task, tmp_path):
    (task / "labelsTr" / "hippocampus_003.nii.gz").unlink()
    with pytest.raises(CasesError, match=r"hippocampus_003\.nii\.gz"):
        msd.build(task, tmp_path / "cases.csv")
    assert not (tmp_path / "cases.csv").exists()


@pytest.fixture
def mirror(task):
    """Serve the task's archive on this machine; yields its address and MD5."""
    archive = task.parent / "Task04_Hippocampus.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(task, arcname=task.name)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=task.parent)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", hashlib.md5(archive.read_bytes()).hexdigest()
    server.shutdown()
    server.server_close()


def test_a_download_is_checked_and_unpacked_once(msd, mirror, tmp_path, monkeypatch):
    address, md5 = mirror
    monkeypatch.setitem(msd.TASKS, "Task04_Hippocampus", md5)
    folder = msd.download("Task04_Hippocampus", tmp_path / "data", address)
    assert len(msd.build(folder, tmp_path / "data" / "cases.csv")) == 5
    # the second time nothing is fetched
    assert msd.download("Task04_Hippocampus", tmp_path / "data", "http://127.0.0.1:9") == folder


def test_a_download_with_another_checksum_is_not_unpacked(msd, mirror, tmp_path):
    with pytest.raises(CasesError, match="has MD5"):
        msd.download("Task04_Hippocampus", tmp_path / "data", mirror[0])
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["Task04_Hippocampus.tar"]


def test_a_source_out_of_reach_says_how_to_go_on(msd, tmp_path):
    with pytest.raises(CasesError, match=r"cannot be reached .*medicaldecathlon\.com"):
        msd.download("Task04_Hippocampus", tmp_path, "http://127.0.0.1:9")
    with pytest.raises(CasesError, match="Unknown task 'Task99'"):
        msd.download("Task99", tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_mni_template_says_that_it_is_in_mni_space(tmp_path):
    pytest.importorskip("nilearn", reason="needs nilearn (extra demo)")
    path = dataset_builder("mni152").build(tmp_path / "brain.nii.gz", 2)
    brain = read_volume(path)
    assert brain.info.space == "mni"
    assert brain.spacing == (2, 2, 2)
    assert brain.orientation == "RAS"
