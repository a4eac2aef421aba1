"""Networks and model folders."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from medvision.checkpoint import load_model, model_hash, save_model
from medvision.errors import SpecError
from medvision.models import build_model
from medvision.spec import ModelSpec
from medvision.zoo import BUNDLED

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


def test_the_bundled_weights_fit_their_network():
    spec = spec_of("unet3d", size=(32, 48, 32), features=(24, 48, 96, 192), decoder_convs=1)
    net = build_model(spec)
    net.load_state_dict(load_file(BUNDLED / "hippocampus" / "model.safetensors"))
    assert sum(one.numel() for one in net.parameters()) == 2_824_929


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "oracle"}, "Choose from: cnn2d, "),
        ({"network": {"magic": 1}}, "does not take magic for a segmentation. It takes: decoder_"),
        ({"network": {"dropout": 0.1}}, "does not take dropout for a segmentation"),
        ({"roi_size": (16, 16, 18)}, "divide by 4"),
        ({"roi_size": (4, 4, 4)}, r"stride of \(4, 4, 4\), too much"),
        ({"roi_size": (16, 16, 1)}, r"unet3d is 3D .* which fits: cnn2d, "),
        ({"architecture": "unet2d"}, r"unet2d is 2D .* \(16, 16, 16\), which fits: cnn3d, "),
        ({"network": {"features": 5}}, "features is a list of whole numbers above 0, found 5"),
        ({"network": {"features": (4, -8)}}, r"found \(4, -8\)"),
        ({"network": {"features": (8,)}}, "two maps or more"),
        ({"network": {"features": (4, 8), "strides": (1,)}}, "2 stages need 2 strides, found 1"),
        ({"network": {"features": (4, 8), "strides": (1, 0)}}, "a stride is a whole number"),
        ({"network": {"norm": "layer"}}, "unknown norm 'layer', choose from instance, batch"),
        ({"network": {"decoder_convs": "two"}}, "unet3d with"),
        ({"architecture": "resnet18_3d", "network": {"stem": "tiny"}}, "choose from large, "),
        ({"architecture": "resnet18_3d", "network": {"depth": 50}}, "does not take depth"),
        ({"architecture": "vit3d", "network": {"patch_size": 5}}, "divide by patch_size, 5"),
        ({"architecture": "swin_unetr3d", "network": {"depths": (2, 2)}}, "four each"),
        ({"architecture": "segresnet3d", "network": {"init_filters": 9}}, "segresnet3d with"),
    ],
)
def test_what_fits_no_network_is_named(change, message):
    with pytest.raises(SpecError, match=message):
        build_model(replace(SPEC, **change))
