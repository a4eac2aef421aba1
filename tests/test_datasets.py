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
from hippocampus_data import DATA
from typer.testing import CliRunner

from medvision.cli_datasets import datasets_app
from medvision.dataset import read_cases
from medvision.errors import CasesError
from medvision.extras import dataset_builder
from medvision.folds import split_folds
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
def served(tmp_path):
    """Serve the folder tmp_path / "source" on this machine; yields its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "source")
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def mirror(task, served):
    """Return the address of the task's archive and its MD5."""
    archive = task.parent / "Task04_Hippocampus.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(task, arcname=task.name)
    return served, hashlib.md5(archive.read_bytes()).hexdigest()


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


@pytest.fixture
def medmnist():
    return dataset_builder("medmnist")


@pytest.fixture
def write_set(tmp_path):
    """Write a .npz as MedMNIST lays it out, with what is given in place of its own."""

    def write(name: str, shape: tuple[int, ...], **other: np.ndarray):
        rng = np.random.default_rng(0)
        arrays = {}
        for split, count in (("train", 4), ("val", 2), ("test", 3)):
            arrays[f"{split}_images"] = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
            arrays[f"{split}_labels"] = (np.arange(count, dtype=np.uint8) % 2)[:, None]
        arrays |= other
        path = tmp_path / "source" / f"{name}.npz"
        path.parent.mkdir(exist_ok=True)
        np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
        return path, arrays

    return write


def test_pictures_keep_values_split_and_class_names(medmnist, write_set, tmp_path):
    path, arrays = write_set("pneumoniamnist", (28, 28))
    rows = medmnist.build(path, tmp_path / "table" / "cases.csv")
    assert [(r["split"], r["label"]) for r in rows] == [
        *(("train", n) for n in ("normal", "pneumonia", "normal", "pneumonia")),
        *(("val", n) for n in ("normal", "pneumonia")),
        *(("test", n) for n in ("normal", "pneumonia", "normal")),
    ]
    assert len({r["case_id"] for r in rows}) == len({r["group"] for r in rows}) == 9
    with (tmp_path / "table" / "cases.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == rows
    first = read_volume(tmp_path / "table" / rows[4]["image"])
    assert not first.info.spacing_known
    # rows of the array are rows of the picture: the second index
    assert np.array_equal(first.array[0, :, :, 0].T, arrays["val_images"][0])


def test_color_pictures_keep_their_channels(medmnist, write_set, tmp_path):
    path, arrays = write_set("bloodmnist", (28, 28, 3))
    rows = medmnist.build(path, tmp_path / "cases.csv", 14)
    volume = read_volume(tmp_path / rows[0]["image"])
    assert volume.array.shape == (3, 14, 14, 1)
    blocks = arrays["train_images"][0].reshape(14, 2, 14, 2, 3).mean((1, 3))
    assert np.array_equal(volume.array[..., 0].T, np.rint(blocks))
    assert {r["label"] for r in rows} == {"basophil", "eosinophil"}


def test_an_adrenal_cube_is_64_mm_wide_at_any_size(medmnist, write_set, tmp_path):
    path, arrays = write_set("adrenalmnist3d_64", (64, 64, 64))
    full = medmnist.build(path, tmp_path / "full" / "cases.csv")
    small = medmnist.build(path, tmp_path / "small" / "cases.csv", 28)
    assert {r["label"] for r in full} == {"normal", "hyperplasia"}
    whole = read_volume(tmp_path / "full" / full[0]["image"])
    assert np.array_equal(whole.array[0], arrays["train_images"][0])
    for folder, rows, size in (("full", full, 64), ("small", small, 28)):
        volume = read_volume(tmp_path / folder / rows[0]["image"])
        assert volume.shape == (size, size, size)
        assert np.allclose(volume.spacing, 64 / size)
        center = volume.affine @ [*[(size - 1) / 2] * 3, 1]
        assert np.allclose(center, [0, 0, 0, 1], atol=1e-4)


def test_reduction_keeps_mean_place_and_full_values(medmnist):
    image = np.zeros((64, 64, 64), np.uint8)
    image[16:40, :32, 5:53] = 255
    small = medmnist.reduced(image, 28, 3)
    assert small.max() == 255
    assert abs(small.mean() - image.mean()) < 0.05
    for axis in range(3):  # the center of mass stays where it was, in the old voxels
        old = np.average(np.indices(image.shape)[axis] + 0.5, weights=image)
        new = np.average(np.indices(small.shape)[axis] + 0.5, weights=small)
        assert new * 64 / 28 == pytest.approx(old, abs=0.05)


def test_a_set_of_unknown_size_says_1_mm(medmnist, write_set, tmp_path):
    rows = medmnist.build(write_set("organmnist3d", (28, 28, 28))[0], tmp_path / "cases.csv")
    assert read_volume(tmp_path / rows[0]["image"]).spacing == (1, 1, 1)
    assert rows[1]["label"] == "kidney-right"


@pytest.mark.parametrize(
    ("name", "shape", "other", "message"),
    [
        ("chestmnist", (28, 28), {}, "several labels"),
        ("mymnist", (28, 28), {}, "named after no MedMNIST set: pathmnist"),
        ("breastmnist", (28, 28), {"val_labels": None}, "lacks val_labels"),
        ("breastmnist", (28, 20), {}, r"train_images is uint8 \(4, 28, 20\)"),
        ("nodulemnist3d", (28, 28), {}, r"not uint8 \(N, S, S, S\)"),
        ("breastmnist", (28, 28), {"test_labels": np.zeros(9, int)}, r"test_labels is \(9,\)"),
        ("breastmnist", (28, 28), {"test_labels": np.full(3, 7)}, "holds .7.; expected 0 to 1"),
        ("breastmnist", (28, 28), {"val_labels": np.array([{}, {}])}, "is damaged"),
    ],
)
def test_a_set_that_is_not_laid_out_as_it_should_is_refused(
    medmnist, write_set, tmp_path, name, shape, other, message
):
    path, _ = write_set(name, shape, **other)
    with pytest.raises(CasesError, match=message):
        medmnist.build(path, tmp_path / "out" / "cases.csv")
    assert not (tmp_path / "out").exists()


def test_a_damaged_set_or_a_size_that_enlarges_is_refused(medmnist, write_set, tmp_path):
    path, _ = write_set("breastmnist", (28, 28))
    with pytest.raises(CasesError, match="Size 64 does not reduce"):
        medmnist.build(path, tmp_path / "cases.csv", 64)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(CasesError, match="is damaged"):
        medmnist.build(path, tmp_path / "cases.csv")
    with pytest.raises(CasesError, match="No such file"):
        medmnist.build(tmp_path / "breastmnist.npz", tmp_path / "cases.csv")


def test_a_downloaded_set_is_checked_and_the_next_command_said(
    medmnist, write_set, served, tmp_path, monkeypatch
):
    path, _ = write_set("pneumoniamnist", (28, 28))
    with pytest.raises(CasesError, match="has MD5"):
        medmnist.download("pneumoniamnist", tmp_path / "other", served)
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setitem(medmnist.MD5, "pneumoniamnist", md5)
    found = medmnist.download("pneumoniamnist", tmp_path / "data", served)
    with pytest.raises(CasesError, match=r"cannot be reached .*zenodo\.org/records/10519652"):
        medmnist.download("pathmnist", tmp_path, "http://127.0.0.1:9")
    with pytest.raises(CasesError, match="Unknown file 'pneumonia'"):
        medmnist.download("pneumonia", tmp_path)
    out = tmp_path / "cases.csv"
    result = CliRunner().invoke(datasets_app, ["medmnist", str(found), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "9 cases (4 train, 2 val, 3 test)" in result.output
    assert '--classes "normal,pneumonia"' in result.output


def test_the_official_file_has_the_md5_that_is_asked_for(medmnist):
    path = DATA / "medmnist" / "adrenalmnist3d_64.npz"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    assert medmnist.download("adrenalmnist3d_64", path.parent) == path


def test_the_mni_template_says_that_it_is_in_mni_space(tmp_path):
    pytest.importorskip("nilearn", reason="needs nilearn (extra demo)")
    path = dataset_builder("mni152").build(tmp_path / "brain.nii.gz", 2)
    brain = read_volume(path)
    assert brain.info.space == "mni"
    assert brain.spacing == (2, 2, 2)
    assert brain.orientation == "RAS"
