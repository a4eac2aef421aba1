"""Networks of MONAI have medvision's shapes, and refuse what does not fit."""

import re
from dataclasses import replace

import pytest
import torch
from monai.networks import nets

from medvision.consensus import Consensus
from medvision.errors import SpecError
from medvision.models import build_model
from medvision.models.monai_nets import NETS, find_net
from medvision.models.network import members_of
from medvision.predictor import Predictor
from medvision.spec import ModelSpec
from medvision.transfer import encoder_of

LEVELS = {"channels": [4, 8], "strides": [2]}
SMALL = {
    "UNet": LEVELS,
    "AttentionUnet": LEVELS,
    "BasicUNet": {"features": [4] * 6},
    "DynUNet": {
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2],
        "filters": [4, 8, 8],
        "deep_supervision": False,
    },
    "SegResNet": {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
    "SegResNetDS": {"init_filters": 8, "blocks_down": [1, 1], "dsdepth": 2},
    "MedNeXt": {"init_filters": 4, "kernel_size": 3},
    "UNETR": {"img_size": 32, "feature_size": 4, "hidden_size": 24, "mlp_dim": 24},
    "DenseNet": {"init_features": 8, "growth_rate": 4, "block_config": [2, 2]},
    "resnet10": {"widen_factor": 0.125},
    "EfficientNetBN": {"model_name": "efficientnet-b0"},
    "SEResNet50": {"layers": [1, 1, 1, 1]},
}


def spec_of(name, dims, **changes):
    task = NETS[name].task
    names = ("a", "b", "c") if task == "classification" else ("a", "b")
    roi = (32, 32, 32 if dims == 3 else 1)
    spec = ModelSpec("m", task, f"monai/{name}", names, (1, 1, 1), roi, SMALL[name])
    return replace(spec, **changes)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", SMALL)
def test_networks_have_the_shapes_of_medvision(name, dims):
    spec = spec_of(name, dims)
    model = build_model(spec).eval()
    with torch.inference_mode():
        logits = model(torch.randn(2, 1, *spec.roi_size))
    shape = (2, 3) if spec.task == "classification" else (2, 3, *spec.roi_size)
    assert logits.shape == shape
    assert len(model.divisor) == dims
    assert all(side % one == 0 for side, one in zip(spec.roi_size, model.divisor, strict=False))


def test_weights_are_those_of_monai():
    net = nets.UNet(3, 1, 3, **LEVELS).eval()
    model = build_model(spec_of("UNet", 3)).eval()
    model.net.load_state_dict(net.state_dict())
    image = torch.randn(1, 1, 32, 32, 32)
    with torch.inference_mode():
        assert torch.equal(model(image), net(image))
        ordered = build_model(spec_of("UNet", 3, network={**LEVELS, "order": [2, 0, 1]})).eval()
        ordered.net.load_state_dict(net.state_dict())
        assert torch.equal(ordered(image), net(image)[:, [2, 0, 1]])


def test_members_are_an_ensemble():
    spec = spec_of("UNet", 2, members=2)
    members = members_of(build_model(spec).eval())
    assert len(members) == 2
    said = Consensus(members, spec)(torch.randn(1, 1, 32, 32, 1))
    assert said.shape == (1, 3, 32, 32, 1)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"architecture": "monai/Nothing"},
            "Unknown network of MONAI 'Nothing'. Choose",
        ),
        ({"task": "classification"}, "makes a segmentation; the spec wants a classification"),
        ({"network": {**LEVELS, "pretrained": True}}, "does not take pretrained"),
        ({"network": {**LEVELS, "in_channels": 2}}, "has in_channels 2, but the spec needs 1"),
        ({"network": {**LEVELS, "out_channels": 2}}, "has out_channels 2, but the spec needs 3"),
        ({"network": {**LEVELS, "spatial_dims": 2}}, "has spatial_dims 2, but the spec needs 3"),
        ({"network": {**LEVELS, "order": [0, 1]}}, "has 3 outputs, in the order [0, 1]"),
        ({"network": {}}, "monai/UNet with"),
        ({"roi_size": (32, 32, 31)}, "sides must divide by"),
    ],
)
def test_what_does_not_fit_is_refused(changes, why):
    with pytest.raises(SpecError, match=re.escape(why)):
        build_model(spec_of("UNet", 3, **changes))


def test_they_have_no_encoder_to_transfer_to():
    with pytest.raises(SpecError, match="MonaiNet has no encoder"):
        encoder_of(build_model(spec_of("UNet", 3)))
    assert Predictor(build_model(spec_of("UNet", 3)), spec_of("UNet", 3), "cpu").spec.dims == 3


def test_names_of_monai_are_known():
    assert find_net("monai.networks.nets.Unet")[0] == "UNet"
    assert find_net("Densenet121")[0] == "DenseNet121"
    assert find_net("monai.networks.nets.resnet.resnet18")[0] == "resnet18"
    for name in ("os.system", "scripts.UNet", "system", "torch.nn.Linear", "Compose"):
        assert find_net(name) is None
