"""DICOM results of the command line: named after their case, repeated to the byte, told apart."""

import csv

import numpy as np
import pydicom
import pytest
import torch
from dicom_phantom import write_series
from typer.testing import CliRunner

from medvision import cli
from medvision.checkpoint import save_model
from medvision.codes import ClassCodes
from medvision.io import read_labels
from medvision.models import build_model
from medvision.outputs.nifti import save_nifti
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.spec import ModelSpec

pytest.importorskip("highdicom", reason="needs highdicom (extra seg)")

BALL = Ellipsoid((12.0, 12.0, 12.0), (7.0, 6.0, 5.0))
FORMATS = "nifti,seg,seg-labelmap,sr,sc"
ENDS = (".nii.gz", "_seg.dcm", "_labelmap.dcm", "_sr.dcm", "_sc.dcm")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small network with random weights, and a code for one of its classes."""
    spec = ModelSpec(
        "tiny",
        "segmentation",
        "unet3d",
        ("a", "b"),
        (1, 1, 1),
        (16, 16, 16),
        network={"features": (4, 8)},
        codes={"b": ClassCodes("SCT:10200004:Liver")},
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model") / "tiny"
    return save_model(folder, spec, build_model(spec).state_dict(), "# tiny\n")


def predict(*arguments):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def rows_of(folder):
    with (folder / "results.csv").open(newline="") as file:
        return {row["case_id"]: row for row in csv.DictReader(file)}


def test_a_run_is_repeated_to_the_byte_and_a_scan_that_is_no_dicom_says_so(model, tmp_path):
    image, _ = ellipsoid_phantom((24, 26, 22), np.diag([-1, -1, 1, 1]), [BALL], noise=5, seed=1)
    whole = image.with_array(image.array.astype(np.int16))
    write_series(tmp_path / "scans" / "doe", whole)
    save_nifti(image, tmp_path / "scans" / "bare.nii.gz")
    out, again = tmp_path / "out", tmp_path / "again"
    options = ("--model", model, "--device", "cpu", "-q", "--outputs", FORMATS)
    done = predict("predict", tmp_path / "scans", "--out", out, *options)
    assert done.exit_code == 1, done.output
    rows = rows_of(out)
    assert rows["doe"]["status"] == "ok", rows["doe"]["reason"]
    assert "bare.nii.gz is none. NIfTI fits" in rows["bare"]["reason"]
    for text in (done.output, (out / "run.json").read_text(), (out / "results.csv").read_text()):
        assert "DOE^JANE" not in text
        assert "PID-4711-X" not in text
    assert {path.name for path in out.glob("doe*")} == {f"doe{end}" for end in ENDS}
    found = read_labels(out / "doe_seg.dcm", tmp_path / "scans" / "doe")
    assert [label.code for label in found.info.labels] == ["SCT:85756007", "SCT:10200004"]
    mask = read_labels(out / "doe.nii.gz", tmp_path / "scans" / "doe")
    np.testing.assert_array_equal(found.array, mask.array)
    assert pydicom.dcmread(out / "doe_sr.dcm").PatientName == "DOE^JANE"

    repeated = predict("replay", out, "--out", again)
    assert repeated.exit_code == 0, repeated.output
    for end in ENDS:
        assert (out / f"doe{end}").read_bytes() == (again / f"doe{end}").read_bytes()
