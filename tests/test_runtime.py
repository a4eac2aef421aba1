"""How a network is executed changes its numbers by rounding alone."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from toy_fusion import TEXT, build_toy, spec_of

from medvision import runtime
from medvision.errors import MissingExtra, SpecError
from medvision.models import build_model
from medvision.runtime import EAGER, candidates, prepare_runtime
from medvision.spec import ModelSpec

needs_openvino = pytest.mark.skipif(
    find_spec("openvino") is None, reason="needs openvino (extra openvino)"
)
CPU = torch.device("cpu")
TOLERANCE = {"torch-channels-last": 1e-3, "openvino": 1e-3, "bf16": 0.2}
SMALL = {"features": [8, 16, 16]}
KINDS = {
    "2d": ("unet2d", (32, 32, 1), "segmentation", SMALL),
    "3d": ("unet3d", (16, 24, 16), "segmentation", SMALL),
    "residual": ("resunet3d", (16, 16, 16), "segmentation", {**SMALL, "blocks": [1, 1, 1]}),
    "segresnet": ("segresnet3d", (16, 16, 16), "segmentation", {"init_filters": 8}),
    "groups": ("unet3d", (16, 16, 16), "segmentation", {**SMALL, "norm": "group"}),
    "classes2d": ("resnet18_2d", (64, 64, 1), "classification", {}),
    "classes3d": ("cnn3d", (16, 16, 16), "classification", {}),
}


def small(kind="3d", **more):
    """A network whose norms do something, and its spec."""
    architecture, size, task, network = KINDS[kind]
    spec = ModelSpec("toy", task, architecture, ("a", "b"), None, size, network=network, **more)
    torch.manual_seed(0)
    model = build_model(spec).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.GroupNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.2)
    return model, spec


def windows(spec, count=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, spec.channels, *spec.roi_size, generator=generator)


def error(found, truth):
    return float((found - truth).abs().max() / truth.abs().max())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("torch-channels-last", kind) for kind in KINDS),
        *(pytest.param("openvino", kind, marks=needs_openvino) for kind in KINDS),
        ("bf16", "3d"),  # processors without bfloat16 imitate it, slowly
        ("bf16", "classes2d"),
    ],
)
def test_it_says_what_eager_says(name, kind):
    model, spec = small(kind)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    run = prepare_runtime(model, spec, CPU, name)
    for count in (2, 1, 3):  # the last batch of a scan is smaller
        given = windows(spec, count)
        truth = prepare_runtime(model, spec, CPU)(given)
        found = run(given)
        assert found.dtype == torch.float32
        assert found.shape == truth.shape
        assert error(found, truth) < TOLERANCE[name]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(p.is_contiguous() for p in model.parameters()), "the network was changed"


def test_eager_is_the_network_itself():
    model, spec = small()
    run = prepare_runtime(model, spec, CPU)
    with torch.inference_mode():
        assert torch.equal(run(windows(spec)), model(windows(spec)))
    assert (run.name, run.precision) == ("torch", "float32")


@needs_openvino
def test_an_answer_is_not_overwritten_by_the_next():
    model, spec = small()
    run = prepare_runtime(model, spec, CPU, "openvino")
    first = run(windows(spec, seed=1))
    kept = first.clone()
    run(windows(spec, seed=2))
    assert torch.equal(first, kept)


@needs_openvino
def test_openvino_can_be_prepared_where_no_gradient_is_kept():
    model, spec = small()
    with torch.inference_mode():
        assert prepare_runtime(model, spec, CPU, "openvino")(windows(spec)).shape[1] == 3


@needs_openvino
def test_openvino_tells_nobody_of_its_use(tmp_path):
    code = (
        "import sys; from medvision.openvino_model import import_openvino; import_openvino(); "
        "print([m for m in sys.modules if m.startswith('openvino_telemetry')])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert found.stdout.strip() == "[]"
    assert not (tmp_path / "intel").exists()


@needs_openvino
def test_openvino_says_what_it_really_computes_in():
    model, spec = small()
    run = prepare_runtime(model, spec, CPU, "openvino-bf16")
    assert run.precision == ("bfloat16" if runtime.cpu_has_bfloat16() else "float32")
    assert prepare_runtime(model, spec, CPU, "openvino").precision == "float32"


def test_what_does_not_fit_is_refused_in_words():
    model, spec = small()
    with pytest.raises(SpecError, match=r"Unknown runtime 'tensorrt'\. Choose from: torch, "):
        prepare_runtime(model, spec, CPU, "tensorrt")
    with pytest.raises(SpecError, match=r"fp16 needs a GPU, and the device is cpu\. Choose from"):
        prepare_runtime(model, spec, CPU, "fp16")
    with pytest.raises(SpecError, match="openvino runs on the CPU, and the device is cuda"):
        prepare_runtime(model, spec, "cuda:0", "openvino")


@needs_openvino
def test_an_error_without_a_message_is_named_by_its_kind(monkeypatch):
    def trace(network, example):
        raise torch.OutOfMemoryError

    monkeypatch.setattr("medvision.openvino_model.trace", trace)
    model, spec = small()
    with pytest.raises(SpecError, match="OpenVINO cannot take unet3d: OutOfMemoryError"):
        prepare_runtime(model, spec, CPU, "openvino")


def test_a_missing_package_names_its_install_line(monkeypatch):
    monkeypatch.setattr("medvision.errors.find_spec", lambda _: None)
    model, spec = small()
    with pytest.raises(MissingExtra, match=r"pip install 'medvision-toolkit\[openvino\]'"):
        prepare_runtime(model, spec, CPU, "openvino")


def test_reports_are_read_by_torch_alone():
    spec = spec_of(2, TEXT)
    model = build_toy(spec)
    given = windows(spec)
    said = prepare_runtime(model, spec, CPU)(given, ["a spot", ""])
    with torch.inference_mode():
        assert torch.equal(said, model(given, ["a spot", ""]))
        assert torch.equal(prepare_runtime(model, spec, CPU)(given), model(given, ["", ""]))
    last = prepare_runtime(model, spec, CPU, "torch-channels-last")
    assert error(last(given, ["a spot", ""]), said) < 1e-4
    with pytest.raises(SpecError, match="openvino takes no reports, and toy reads them"):
        prepare_runtime(model, spec, CPU, "openvino")
    assert candidates(spec, CPU) == ["torch", "torch-channels-last"]


def test_candidates_leave_out_what_the_processor_only_imitates(monkeypatch):
    _, spec = small()
    monkeypatch.setattr(runtime, "cpu_field", lambda name: "fpu sse avx2")
    plain = candidates(spec, CPU)
    assert plain[0] == EAGER
    assert not {"bf16", "openvino-bf16", "fp16"} & set(plain)
    monkeypatch.setattr(runtime, "cpu_field", lambda name: "fpu avx512_bf16")
    assert "bf16" in candidates(spec, CPU)
    on_gpu = candidates(spec, torch.device("cuda"))
    assert on_gpu == ["torch", "torch-channels-last", "bf16", "fp16"]
