"""Networks and model folders."""

from dataclasses import replace

import pytest
import torch

from medvision.checkpoint import load_model, model_hash, save_model
from medvision.errors import SpecError
from medvision.models import build_model
from medvision.spec import ModelSpec

SPEC = ModelSpec(
    "m",
    "segmentation",
    "unet3d",
    ("a", "b"),
    (1, 1, 1),
    (16, 16, 16),
    network={"features": (4, 8, 12)},
)


def spec_of(architecture, task="segmentation", size=(16, 16, 16), **network):
    return ModelSpec("m", task, architecture, ("a", "b"), None, size, network=network)


@pytest.mark.parametrize("size", [(16, 24, 1), (8, 16, 12)])
def test_logits_have_the_size_of_the_image(size):
    name = "unet2d" if size[2] == 1 else "unet3d"
    net = build_model(spec_of(name, size=size, features=(4, 8, 8))).eval()
    assert net(torch.zeros(3, 1, *size)).shape == (3, 3, *size)
    coarse = net.train()(torch.zeros(1, 1, *size))
    halves = tuple(max(1, side // 2) for side in size)
    assert [tuple(one.shape[2:]) for one in coarse] == [size, halves]


def test_every_weight_learns():
    net = build_model(SPEC)
    sum(m.square().mean() for m in net(torch.randn(1, 1, 16, 16, 16))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_a_model_folder_round_trip(tmp_path):
    net = build_model(SPEC).eval()
    save_model(tmp_path / "m", SPEC, net.state_dict(), "# m\n")
    again, spec = load_model(tmp_path / "m")
    image = torch.randn(1, 1, 16, 16, 16)
    assert spec == SPEC
    assert torch.equal(net(image), again(image))
    assert model_hash(tmp_path / "m") == model_hash(tmp_path / "m")


def test_a_broken_model_folder_says_what_is_wrong(tmp_path):
    folder = tmp_path / "m"
    save_model(folder, SPEC, build_model(SPEC).state_dict(), "")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(SpecError, match="damaged or cut short"):
        load_model(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(SpecError, match=r"model.safetensors is missing"):
        load_model(folder)
    (folder / "spec.json").unlink()
    with pytest.raises(SpecError, match=r"spec.json"):
        load_model(folder)
    wider = replace(SPEC, network={"features": (5, 8, 12)})
    save_model(folder, wider, build_model(SPEC).state_dict(), "")
    with pytest.raises(SpecError, match="does not fit"):
        load_model(folder)


def test_settings_that_fit_no_network_are_named():
    with pytest.raises(SpecError, match="Choose from: cnn2d"):
        build_model(replace(SPEC, architecture="oracle"))
    with pytest.raises(SpecError, match="does not take"):
        build_model(replace(SPEC, network={"magic": 1}))
    with pytest.raises(SpecError, match="divide by 4"):
        build_model(replace(SPEC, roi_size=(16, 16, 18)))
