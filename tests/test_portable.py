"""An exported model says what torch says, or says by how much it does not."""

import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from toy_fusion import TEXT, spec_of, write_toy
from typer.testing import CliRunner

from medvision import portable
from medvision.auto_runtime import check_case, choose_runtime
from medvision.calibration_spec import Calibration
from medvision.checkpoint import load_model, model_hash, save_ensemble, save_model
from medvision.cli import app
from medvision.errors import OutputError, SpecError
from medvision.execution import Execution
from medvision.files import sha256
from medvision.inference_spec import Sliding
from medvision.intensity_spec import Intensity
from medvision.models import build_model
from medvision.openvino_model import OpenVinoModel
from medvision.portable import PARITY, check_export, export_model, thinned
from medvision.portable_text import readme
from medvision.predictor import load_predictor
from medvision.runtime import prepare_runtime
from medvision.spec import InputSpec, ModelSpec
from medvision.study import Study
from medvision.volume import Volume
from medvision.zoo import find_model

pytestmark = pytest.mark.skipif(
    find_spec("openvino") is None, reason="needs openvino (extra export)"
)
needs_onnx = pytest.mark.skipif(find_spec("onnxscript") is None, reason="needs onnxscript")
FORMATS = ["openvino", pytest.param("onnx", marks=needs_onnx)]
HIPPOCAMPUS = find_model("hippocampus")


def small_spec(**more):
    settings = {
        "name": "toy",
        "task": "segmentation",
        "architecture": "unet3d",
        "class_names": ("a", "b"),
        "spacing": (1.0, 1.0, 1.0),
        "roi_size": (16, 16, 16),
        "network": {"features": [8, 16]},
    }
    return ModelSpec(**(settings | more))


def write_small(folder, spec, seed=0):
    torch.manual_seed(seed)
    return save_model(folder, spec, build_model(spec).state_dict(), "# toy\n")


def say_hashes(folder):
    """Let portable.json say that the members are what they are now."""
    path = folder / "portable.json"
    about = json.loads(path.read_text())
    about["sha256"] = {name: sha256(folder / name) for name in about["sha256"]}
    path.write_text(json.dumps(about))


@pytest.fixture(scope="module")
def hippocampus(tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "hippocampus"
    return out, export_model(HIPPOCAMPUS, out)


def test_what_is_written_says_what_torch_says(hippocampus):
    out, parity = hippocampus
    assert parity.passed
    assert max(parity.errors) < 1e-4
    assert check_export(out) == parity
    names = {path.name for path in out.iterdir()}
    assert {"member-1.xml", "member-1.bin", "spec.json", "card.md", "README.txt"} <= names
    assert {PARITY, "portable.json", "check.nii.gz", "check.txt"} <= names
    assert "check.py" not in names


def test_the_window_is_of_the_check_case_and_shows_all_classes(hippocampus):
    kept = load_file(hippocampus[0] / PARITY)
    assert kept["window"].shape == (1, 1, 32, 48, 32)
    assert kept["logits.1"].argmax(dim=1).unique().tolist() == [0, 1, 2]


def test_it_is_a_model_folder_that_segments(hippocampus):
    out, _ = hippocampus
    study = Study("a", {"image": check_case(HIPPOCAMPUS)})
    mine, theirs = (load_predictor(one, "cpu").predict(study) for one in ("hippocampus", out))
    assert (mine.mask.array == theirs.mask.array).mean() > 0.9999
    assert model_hash(out) != model_hash(HIPPOCAMPUS)
    network, spec = load_model(out)
    assert prepare_runtime(network, spec, "cpu").name == "openvino"
    image = torch.zeros(1, 32, 48, 32)
    assert choose_runtime([network], spec, "cpu", image, show=False).name == "openvino"
    with pytest.raises(SpecError, match="runs on OpenVINO alone"):
        prepare_runtime(network, spec, "cpu", "torch-channels-last")


def test_it_runs_from_the_command_line(hippocampus, tmp_path):
    out, _ = hippocampus
    scan, results = str(HIPPOCAMPUS / "check.nii.gz"), str(tmp_path / "r")
    run = CliRunner()
    said = run.invoke(app, ["predict", scan, "--model", str(out), "--out", results, "-q"])
    assert said.exit_code == 0, said.output
    assert json.loads((tmp_path / "r" / "run.json").read_text())["model"]["sha256"] == model_hash(
        out
    )
    said = run.invoke(app, ["check", str(out)])
    assert (said.exit_code, "passed: largest relative error" in said.output) == (0, True)


@pytest.mark.parametrize("form", FORMATS)
def test_any_number_of_windows_goes_in(tmp_path, form):
    spec = small_spec()
    folder = write_small(tmp_path / "m", spec)
    parity = export_model(folder, tmp_path / "x", form)
    assert parity.passed
    torch_model, exported = load_model(folder)[0], load_model(tmp_path / "x")[0]
    for count in (1, 3):
        given = torch.randn(count, 1, 16, 16, 16)
        with torch.inference_mode():
            assert torch.allclose(exported(given), torch_model(given), atol=1e-3)


@needs_onnx
def test_onnx_is_read_by_another_program(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    export_model(write_small(tmp_path / "m", small_spec()), tmp_path / "x", "onnx")
    kept = load_file(tmp_path / "x" / PARITY)
    session = onnxruntime.InferenceSession(tmp_path / "x" / "member-1.onnx")
    (found,) = session.run(None, {"windows": kept["window"].numpy()})
    assert np.allclose(found, kept["logits.1"].numpy(), atol=1e-3)


@pytest.mark.parametrize(
    "spec",
    [
        small_spec(architecture="unet2d", roi_size=(32, 32, 1)),
        small_spec(architecture="resunet3d", network={"features": [8, 16], "blocks": [1, 1]}),
        small_spec(architecture="segresnet3d", network={"init_filters": 8, "blocks_down": [1, 1]}),
        small_spec(task="classification", architecture="cnn3d", network={}),
        small_spec(regions=(1, 2)),
    ],
    ids=["2d", "residual", "segresnet", "classification", "regions"],
)
def test_each_kind_of_network_passes(tmp_path, spec):
    assert export_model(write_small(tmp_path / "m", spec), tmp_path / "x").passed


def test_members_are_files_and_their_mean_is_the_models(tmp_path):
    spec = small_spec()
    states = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        states.append(build_model(spec).state_dict())
    folder = save_ensemble(tmp_path / "m", spec, states, "# toy\n")
    assert len(export_model(folder, tmp_path / "x").errors) == 2
    assert (tmp_path / "x" / "member-2.xml").is_file()
    scan = Volume(np.random.default_rng(0).normal(size=(1, 20, 20, 20)), np.eye(4))
    both = [
        load_predictor(one, "cpu").predict(Study("a", {"image": scan}))
        for one in (folder, tmp_path / "x")
    ]
    assert (both[0].mask.array == both[1].mask.array).mean() > 0.999


def test_a_tampered_file_fails_and_says_by_how_much(tmp_path):
    out = tmp_path / "x"
    export_model(write_small(tmp_path / "m", small_spec()), out)
    weights = np.fromfile(out / "member-1.bin", np.float32)
    real = np.abs(weights) > 1e-3  # others are whole numbers: shapes
    np.where(real, weights * np.float32(1.1), weights).tofile(out / "member-1.bin")
    with pytest.raises(SpecError, match=r"member-1\.bin is damaged or not what was exported"):
        check_export(out)
    say_hashes(out)
    parity = check_export(out)
    assert not parity.passed
    assert max(parity.errors) > 1e-3
    said = CliRunner().invoke(app, ["check", str(out)])
    assert said.exit_code == 1
    assert f"FAILED: largest relative error {max(parity.errors):.2g} (at most 0.001)" in said.output


def test_a_folder_that_is_not_whole_is_refused_in_words(tmp_path):
    out = tmp_path / "x"
    export_model(write_small(tmp_path / "m", small_spec()), out)
    with pytest.raises(SpecError, match=r"is no exported model: portable\.json is missing"):
        check_export(tmp_path / "m")
    with pytest.raises(OutputError, match="is not an empty folder"):
        export_model(tmp_path / "m", out)
    with pytest.raises(SpecError, match="is an exported model already"):
        export_model(out, tmp_path / "y")
    with pytest.raises(SpecError, match="Unknown format 'tflite'"):
        export_model(tmp_path / "m", tmp_path / "y", "tflite")
    (out / "member-1.xml").write_text("<net")
    say_hashes(out)
    with pytest.raises(SpecError, match="OpenVINO cannot read"):
        check_export(out)
    (out / "member-1.xml").unlink()
    with pytest.raises(SpecError, match=r"member-1\.xml is missing"):
        model_hash(out)
    with pytest.raises(SpecError, match=r"member-1\.xml is missing"):
        check_export(out)
    (out / PARITY).write_bytes(b"nothing")
    with pytest.raises(SpecError, match="is damaged or not whole"):
        check_export(out)
    for files in ('["../a.xml"]', '["a.xml", "a.xml"]', "[]", "[3]"):
        text = f'{{"files": {files}, "divisor": [1], "sha256": {{}}}}'
        (out / "portable.json").write_text(text)
        with pytest.raises(SpecError, match="files are different names"):
            check_export(out)
    (out / "portable.json").write_text('{"files": ["a.xml"], "divisor": [1]}')
    with pytest.raises(SpecError, match="cannot be read"):
        load_model(out)
    text = text.replace("[3]", f'["{"9" * 5000}"]')
    (out / "portable.json").write_text(text)
    for read in (check_export, model_hash):
        (out / PARITY).unlink(missing_ok=True)
        with pytest.raises(SpecError, match="is missing"):
            read(out)


def test_what_fails_its_test_is_not_left_behind(tmp_path, monkeypatch):
    folder = write_small(tmp_path / "m", small_spec())
    (there := tmp_path / "there").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(portable, "MAX_ERROR", -1.0)
        for out in (tmp_path / "x", there):
            with pytest.raises(OutputError, match="does not say what torch says: largest"):
                export_model(folder, out)
    assert {path.name for path in tmp_path.iterdir()} == {"m", "there"}
    assert not any(there.iterdir())
    for out in (tmp_path / "x", there):  # a retry works
        assert export_model(folder, out).passed
        assert check_export(out).passed
    assert {path.name for path in tmp_path.iterdir()} == {"m", "there", "x"}
    assert len(list(there.iterdir())) == len(list((tmp_path / "x").iterdir()))


def test_members_are_joined_as_the_spec_says(tmp_path):
    spec = small_spec(regions=(1, 2), sliding=Sliding(average="logits"))
    states = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        states.append(build_model(spec).state_dict())
    folder = save_ensemble(tmp_path / "m", spec, states, "# toy\n")
    export_model(folder, tmp_path / "x")
    mine, theirs = (load_predictor(one, "cpu").execution.ready for one in (folder, tmp_path / "x"))
    window = torch.randn(1, 1, 16, 16, 16)
    with torch.inference_mode():
        assert torch.allclose(mine(window), theirs(window), atol=1e-3)
        mean = sum(one(window) for one in mine.members) / 2
        assert torch.allclose(mine(window), mean, atol=1e-5)
    assert "The logits of the 2 networks are averaged." in (tmp_path / "x/README.txt").read_text()
    plain = readme(small_spec(), ["member-1.xml", "member-2.xml"], "openvino")
    assert "The probabilities of the 2 networks are averaged." in plain


@pytest.mark.parametrize("asked", ["torch", "openvino", "auto"])
def test_it_runs_where_the_windows_lie_on_a_gpu(hippocampus, asked):
    network, spec = load_model(hippocampus[0])
    gpu = torch.device("cuda")
    execution = Execution([network], spec, gpu, asked)
    window = torch.zeros(1, 1, 32, 48, 32)  # of this machine
    said = execution.consensus(window[0])(window)
    assert said.device == window.device
    assert execution.record()["runtime"] == "openvino"
    assert execution.record()["precision"] == "float32"
    if torch.cuda.is_available():
        assert execution.consensus(window[0])(window.to(gpu)).device.type == "cuda"


def test_a_model_that_reads_reports_is_refused(tmp_path):
    folder = write_toy(tmp_path / "reader", spec_of(2, TEXT, name="reader"))
    with pytest.raises(SpecError, match="reader reads reports"):
        export_model(folder, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_what_is_calibrated_stays_so_in_every_runtime(tmp_path):
    known = Calibration(2.0, "val", 50, 0.1, 0.7, 40, {"a": 0.4, "b": 0.6}, "Youden")
    shape = small_spec(task="classification", architecture="cnn3d")
    plain = write_small(tmp_path / "plain", shape)
    folder = write_small(tmp_path / "calibrated", replace(shape, calibration=known))
    assert export_model(folder, tmp_path / "exported").passed
    volume = np.random.default_rng(1).normal(size=(1, 16, 16, 16)).astype(np.float32)
    study = Study("a", {"image": Volume(volume, np.eye(4))})
    first = load_predictor(folder, "cpu").predict(study)
    others = [
        load_predictor(folder, "cpu", runtime="openvino").predict(study),
        load_predictor(tmp_path / "exported", "cpu").predict(study),
    ]
    for other in others:
        assert other.scores == pytest.approx(first.scores, rel=1e-4)
        assert other.prediction_set == first.prediction_set
        assert other.decided == first.decided
    odds = [
        np.log(one.scores["a"] / one.scores["b"])
        for one in (load_predictor(plain, "cpu").predict(study), first)
    ]
    assert odds[0] == pytest.approx(2.0 * odds[1], rel=1e-4)


def test_of_many_logits_evenly_spread_ones_are_kept():
    logits = torch.arange(2 * 200**3).view(1, 2, 200, 200, 200)
    kept = thinned(logits)
    assert kept.shape == (1, 2, 100, 100, 100)
    assert torch.equal(kept, logits[..., ::2, ::2, ::2])
    assert thinned(torch.zeros(1, 5)).shape == (1, 5)


def test_the_readme_says_how_values_are_scaled():
    rules = {
        "cut to -100 … 300, then (value - 100) / 200": Intensity("window", low=-100, high=300),
        "(value - 5) / 2": Intensity("fixed", mean=5, std=2),
        "percentiles 0.5 and 99.5 become 0 and 1": Intensity("range"),
        "not 0 alone": Intensity("zscore", inside="nonzero"),
    }
    for words, rule in rules.items():
        spec = small_spec(inputs=(InputSpec(intensity=rule),))
        assert words in readme(spec, ["member-1.onnx"], "onnx")


def test_a_file_that_openvino_cannot_read_is_refused_in_whatever_words_it_says(monkeypatch):
    class Core:
        def __init__(self, error):
            self.error = error

        def compile_model(self, *args):
            raise self.error

    errors = (RuntimeError("a\nb"), RuntimeError(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"))
    for error in errors:  # of a damaged ONNX file its words are no text
        monkeypatch.setattr("medvision.openvino_model.core", lambda error=error: Core(error))
        with pytest.raises(SpecError, match=r"OpenVINO cannot read member-1\.onnx: "):
            OpenVinoModel("member-1.onnx")
