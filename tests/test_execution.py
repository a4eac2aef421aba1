"""Predictors on any runtime, and what several networks and mirror images say together."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from medvision.batch import run_batch
from medvision.checkpoint import save_model
from medvision.consensus import Consensus
from medvision.errors import OutputError, SpecError
from medvision.inference_spec import Sliding
from medvision.intensity_spec import Intensity
from medvision.jobs import plan_jobs
from medvision.models import build_model
from medvision.models.network import Ensemble
from medvision.outputs import write_outputs
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.predictor import Predictor, load_predictor
from medvision.replay import replay
from medvision.runtime import cpu_has_bfloat16
from medvision.spec import InputSpec, ModelSpec
from medvision.study import Study

SPEC = ModelSpec(
    "small",
    "segmentation",
    "unet3d",
    ("ball",),
    (1.0, 1.0, 1.0),
    (16, 16, 16),
    network={"features": [4, 8]},
    inputs=(InputSpec(intensity=Intensity("window", low=0, high=100)),),
)


def network(spec=SPEC, seed=0):
    """A network whose answer has both labels in it."""
    torch.manual_seed(seed)
    return build_model(spec).eval()


@pytest.fixture
def study():
    image, _ = ellipsoid_phantom((24, 20, 18), np.eye(4), [Ellipsoid((12, 10, 9), (6, 6, 6))], 5)
    return Study("ball", {"image": image})


def test_auto_is_decided_by_the_first_scan(study):
    pytest.importorskip("openvino")
    plain = Predictor(network(), SPEC, "cpu").predict(study)
    predictor = Predictor(network(), SPEC, "cpu", runtime="auto")
    assert predictor.execution.record() == {"runtime": "auto", "precision": ""}
    found = predictor.predict(study)
    chosen = predictor.execution.record()
    assert chosen["runtime_judged_on"] == "the first scan"
    assert chosen["runtime"] in [one["name"] for one in chosen["candidates"]]
    assert {"torch", "openvino"} <= {one["name"] for one in chosen["candidates"]}
    assert (found.mask.array != plain.mask.array).mean() < 1e-3
    assert 0 < plain.mask.array.mean() < 1


def test_the_record_says_what_is_really_computed_in():
    pytest.importorskip("openvino")
    execution = Predictor(network(), SPEC, "cpu", runtime="openvino-bf16").execution
    assert execution.record() == {
        "runtime": "openvino-bf16",
        "precision": "bfloat16" if cpu_has_bfloat16() else "float32",
    }
    plain = Predictor(network(), SPEC, "cpu").execution
    assert plain.record() == {"runtime": "torch", "precision": "float32"}


def test_a_run_on_another_runtime_is_its_own_and_can_be_repeated(tmp_path, study):
    pytest.importorskip("openvino")
    from medvision.outputs.nifti import save_nifti

    model = save_model(tmp_path / "model", SPEC, network().state_dict(), "# small\n")
    save_nifti(study.image, tmp_path / "scans" / "ball.nii.gz")
    out = tmp_path / "out"
    jobs = plan_jobs([tmp_path / "scans"], out)
    predictor = load_predictor(model, "cpu", runtime="openvino")
    run_batch(jobs, predictor, out, str(model), ["nifti"], show=False)
    card = json.loads((out / "run.json").read_text())
    assert card["resolved"]["runtime"] == "openvino"
    assert card["resolved"]["tta"] is False
    with pytest.raises(OutputError, match="runtime was openvino and is torch"):
        run_batch(jobs, load_predictor(model, "cpu"), out, str(model), ["nifti"], show=False)
    assert all(one.identical for one in replay(out / "run.json", tmp_path / "again", show=False))


def test_models_that_read_reports_run_on_torch_alone():
    predictor = load_predictor("synthetic-pairs", "cpu", runtime="auto")
    assert predictor.execution.record()["runtime"] == "torch"
    with pytest.raises(SpecError, match="runs on torch alone"):
        load_predictor("synthetic-pairs", "cpu", runtime="torch-channels-last")


class Left(nn.Module):
    """Finds what is bright, and likes low indices along the first axis."""

    divisor = (1, 1, 1)

    def forward(self, image):
        """Return logits (B, 2, I, J, K)."""
        slope = torch.linspace(3, -3, image.shape[2]).reshape(-1, 1, 1)
        return torch.cat([-image, image + slope], dim=1)


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_mirror_images_are_averaged(average):
    spec = replace(SPEC, sliding=Sliding(mirror=(0, 2), average=average))
    image = torch.randn(2, 1, 16, 16, 16)
    net = Left()
    said = Consensus([net], spec, (0, 2))(image)
    views = [net(image.flip(axes)).flip(axes) for axes in ([], [2], [4], [2, 4])]
    if average == "logits":
        assert torch.allclose(said, sum(views) / 4, atol=1e-5)
    else:
        mean = sum(one.softmax(dim=1) for one in views) / 4
        assert torch.allclose(said.softmax(dim=1), mean, atol=1e-5)
    assert not torch.allclose(said, net(image), atol=0.1)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid", "logits"])
def test_members_are_averaged(kind):
    spec = replace(
        SPEC,
        regions=(1,) if kind == "sigmoid" else (),
        sliding=Sliding(average="logits" if kind == "logits" else "probabilities"),
    )
    members = [nn.Conv3d(1, spec.outputs, 1) for _ in range(3)]
    image = torch.randn(1, 1, 4, 4, 4)
    said = Consensus(members, spec)(image)
    views = [one(image) for one in members]
    function = {"softmax": lambda x: x.softmax(1), "sigmoid": torch.sigmoid, "logits": lambda x: x}
    mean = sum(function[kind](one) for one in views) / 3
    assert torch.allclose(function[kind](said), mean, atol=1e-5)


def test_mirroring_waits_to_be_asked_for(study):
    spec = replace(SPEC, sliding=Sliding(mirror=(0, 1)))
    ways = [Predictor(Left(), spec, "cpu", tta=tta).predict(study) for tta in (False, True)]
    without = Predictor(Left(), SPEC, "cpu").predict(study)
    assert np.array_equal(ways[0].mask.array, without.mask.array)
    assert not np.array_equal(ways[1].mask.array, without.mask.array)


def test_an_ensemble_says_how_unsure_it_is(study, tmp_path):
    alike = Ensemble([Left(), Left()])
    apart = Ensemble([Left(), Against()])
    found = [
        Predictor(one, replace(SPEC, members=2), "cpu", uncertainty=True).predict(study)
        for one in (alike, apart)
    ]
    assert found[1].uncertainty.array.mean() > found[0].uncertainty.array.mean()
    assert found[1].uncertainty.array.min() == pytest.approx(1, abs=1e-3)  # they cancel out
    assert found[0].confidence["ball"] > 0.5
    files = write_outputs(found[0], study, tmp_path, ["uncertainty"])
    assert files["uncertainty"].name == "ball_uncertainty.nii.gz"


class Against(Left):
    """Says the opposite."""

    def forward(self, image):
        """Return logits (B, 2, I, J, K)."""
        return super().forward(image).flip(1)


def test_what_auto_chose_is_taken_again_and_stays_in_the_card(tmp_path, study, monkeypatch):
    pytest.importorskip("openvino")
    from medvision.outputs.nifti import save_nifti

    monkeypatch.setenv("MEDVISION_RUNTIMES", "off")
    model = save_model(tmp_path / "model", SPEC, network().state_dict(), "# small\n")
    save_nifti(study.image, tmp_path / "scans" / "a.nii.gz")
    out = tmp_path / "out"

    def run():
        predictor = load_predictor(model, "cpu", runtime="auto")
        jobs = plan_jobs([tmp_path / "scans"], out)
        run_batch(jobs, predictor, out, str(model), ["nifti"], show=False)
        return predictor, json.loads((out / "run.json").read_text())["resolved"]

    _, first = run()
    assert first["runtime"] != "auto"
    assert first["candidates"]
    predictor, second = run()  # nothing is left to do
    assert second == first
    assert predictor.execution.choice is None
    save_nifti(study.image, tmp_path / "scans" / "b.nii.gz")
    predictor, third = run()
    assert third == first  # the new study runs as the first did
    assert predictor.execution.choice is None


def test_confidence_is_of_what_the_mask_has(study):
    from medvision.cleanup_spec import Cleanup

    plain = Predictor(Left(), SPEC, "cpu").predict(study)
    assert plain.confidence.keys() == {"ball"}
    spec = replace(SPEC, cleanup={"ball": Cleanup(min_ml=1000)}, review=0.99)
    emptied = Predictor(Left(), spec, "cpu").predict(study)
    assert not emptied.mask.array.any()
    assert emptied.confidence == {}
    assert not emptied.needs_review


class Nonsense(nn.Module):
    """Says no numbers."""

    def forward(self, image):
        """Return logits (B, 2, I, J, K)."""
        return torch.cat([image, image], dim=1) * torch.nan


def test_an_answer_that_is_no_number_is_told(study):
    with pytest.raises(SpecError, match="does not say numbers"):
        Predictor(Nonsense(), SPEC, "cpu").predict(study)


def test_a_mask_has_no_more_labels_than_it_can_tell_apart():
    with pytest.raises(SpecError, match="255 labels at most; found 300"):
        replace(SPEC, class_names=tuple(map(str, range(300))))


def test_an_empty_scan_is_no_crash(study):
    from medvision.inference_spec import Sampling

    fixed = InputSpec(intensity=Intensity("fixed", low=-10, high=10))
    spec = replace(SPEC, inputs=(fixed,), sampling=Sampling(crop="nonzero"))
    nothing = study.image.with_array(np.zeros(study.image.array.shape, np.int16))
    found = Predictor(Left(), spec, "cpu").predict(Study("a", {"image": nothing}))
    assert found.mask.shape == nothing.shape
