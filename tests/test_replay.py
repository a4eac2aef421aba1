"""A run that is repeated is held against what its files hold, not against how they are packed."""

import gzip
import hashlib
import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from medvision import cli
from medvision.checkpoint import save_model
from medvision.models import build_model
from medvision.outputs import nifti
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.replay import is_same
from medvision.spec import ModelSpec


def run(*arguments):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture
def done(tmp_path):
    """The folder of a run that segmented one scan with a small network of random weights."""
    net = {"features": (4, 8)}
    size = (16, 16, 16)
    spec = ModelSpec("tiny", "segmentation", "unet3d", ("a", "b"), (1, 1, 1), size, network=net)
    torch.manual_seed(0)
    model = save_model(tmp_path / "tiny", spec, build_model(spec).state_dict(), "# tiny\n")
    ball = Ellipsoid((12.0, 12, 12), (7, 6, 5))
    scan, _ = ellipsoid_phantom((24, 26, 22), np.eye(4), [ball], noise=5)
    nifti.save_nifti(scan, tmp_path / "scan.nii.gz")
    options = ("--model", model, "--out", tmp_path / "out", "--device", "cpu", "-q")
    assert run("predict", tmp_path / "scan.nii.gz", *options).exit_code == 0
    return tmp_path / "out"


def test_a_mask_packed_otherwise_is_the_same_mask(done, tmp_path, monkeypatch):
    monkeypatch.setattr(nifti, "LEVEL", 0)  # as another version of isal might pack
    again = run("replay", done, "--out", tmp_path / "again")
    assert (again.exit_code, again.output.count("identical")) == (0, 1)
    was, now = ((folder / "scan.nii.gz").read_bytes() for folder in (done, tmp_path / "again"))
    assert was != now
    inside = gzip.decompress(was)
    assert inside == gzip.decompress(now)
    [case] = json.loads((done / "run.json").read_text())["cases"]
    assert case["outputs"]["nifti"] == {
        "file": "scan.nii.gz",
        "sha256": hashlib.sha256(was).hexdigest(),
        "unpacked_sha256": hashlib.sha256(inside).hexdigest(),
    }


def test_another_mask_differs_when_the_first_files_are_gone(done, tmp_path):
    card = json.loads((done / "run.json").read_text())
    card["cases"][0]["outputs"]["nifti"]["unpacked_sha256"] = "0" * 64
    for path in done.iterdir():
        path.unlink()
    (done / "run.json").write_text(json.dumps(card))
    again = run("replay", done, "--out", tmp_path / "again")
    assert again.exit_code == 1
    assert "nifti differ" in again.output


def test_a_card_of_an_earlier_version_is_held_against_the_packed_bytes():
    now = {"file": "a.nii.gz", "sha256": "1", "unpacked_sha256": "2"}
    assert is_same({"file": "a.nii.gz", "sha256": "1"}, now)
    assert not is_same({"file": "a.nii.gz", "sha256": "0"}, now)
    assert is_same({"file": "a.nii.gz", "sha256": "0", "unpacked_sha256": "2"}, now)
    assert not is_same({"file": "b.nii.gz", "sha256": "1"}, now)
    assert not is_same({}, now)  # an output that was not written then
