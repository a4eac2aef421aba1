"""Every architecture: shapes, known sizes, learning, and what third parties' networks answer."""

import math
from dataclasses import replace

import pytest
import torch
from monai.networks.nets import SegResNet, SwinUNETR
from torch import nn

from medvision.consensus import Consensus
from medvision.errors import SpecError
from medvision.models import MODELS, build_model
from medvision.models.decoder import small_steps
from medvision.models.network import members_of
from medvision.models.resnet import PadShortcut, ResNetEncoder
from medvision.spec import TASKS, InputSpec, ModelSpec

NARROW = {  # settings that keep a network small enough for a test
    "cnn": {"features": (4, 8, 8)},
    "resnet": {"stem": "small", "width": 4},
    "densenet": {"stem": "small"},
    "efficientnet": {"stem": "small"},
    "vit": {"patch_size": 4, "hidden_size": 24, "mlp_dim": 32, "num_layers": 2, "num_heads": 2},
    "unet": {"features": (4, 8, 8)},
    "resunet": {"features": (4, 8, 8), "blocks": (1, 1, 2)},
    "segresnet": {"init_filters": 8, "blocks_down": (1, 1, 2)},
    "swin": {"feature_size": 12},
}
SIZES = {"densenet": (16, 8, 8), "efficientnet": (32, 32, 16), "swin": (64, 32, 32)}


def spec_of(architecture, task="classification", size=None, classes=2, inputs=1, **network):
    dims = MODELS[architecture].dims
    size = size or ((32, 32, 1) if dims == 2 else (16, 16, 16))
    names = tuple(f"c{number}" for number in range(classes))
    channels = tuple(InputSpec(f"i{number}") for number in range(inputs))
    return ModelSpec("m", task, architecture, names, None, size, network, channels)


def narrow_spec(architecture, task):
    family = next(f for f in sorted(NARROW, key=len, reverse=True) if architecture.startswith(f))
    size = SIZES.get(family, (16, 16, 8))
    size = size if MODELS[architecture].dims == 3 else (*size[:2], 1)
    return spec_of(architecture, task, size, **NARROW[family])


def count(model):
    return sum(one.numel() for one in model.parameters())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("architecture", MODELS)
def test_every_network_gives_the_promised_shapes_and_learns_everywhere(architecture, task):
    torch.manual_seed(0)
    spec = narrow_spec(architecture, task)
    net = build_model(spec)
    out = net(torch.randn(2, 1, *spec.roi_size))
    maps = out if isinstance(out, list) else [out]
    if task == "classification":
        assert [tuple(one.shape) for one in maps] == [(2, 2)]
    else:
        assert maps[0].shape == (2, 3, *spec.roi_size)
        sides = [one.shape[2] for one in maps]
        assert sides == [spec.roi_size[0] >> scale for scale in range(len(maps))]
        assert all(one.ndim == 5 for one in maps)
    sum(one.square().mean() for one in maps).backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []
    if task == "segmentation":
        net.eval()
        with torch.no_grad():
            assert net(torch.randn(1, 1, *spec.roi_size)).shape == (1, 3, *spec.roi_size)


@pytest.mark.parametrize("architecture", MODELS)
def test_an_encoder_gives_the_maps_it_names_and_its_stages_hold_all_its_weights(architecture):
    spec = narrow_spec(architecture, "classification")
    with torch.device("meta"):
        encoder = build_model(spec).encoder.eval()
        size = spec.roi_size[: spec.dims]
        maps = encoder(torch.empty(1, 1, *size))
    assert tuple(one.shape[1] for one in maps) == encoder.channels
    for one, stride in zip(maps, encoder.strides, strict=True):
        sides = [math.ceil(side / step) for side, step in zip(size, stride, strict=True)]
        assert list(one.shape[2:]) == sides
    staged = [id(p) for stage in encoder.stage_modules() for m in stage for p in m.parameters()]
    assert sorted(staged) == sorted(id(p) for p in encoder.parameters())


@pytest.mark.parametrize(
    ("architecture", "parameters"),
    [  # torchvision's documentation: three channels, 1000 classes
        ("resnet18_2d", 11_689_512),
        ("resnet34_2d", 21_797_672),
        ("resnet50_2d", 25_557_032),
        ("resnet101_2d", 44_549_160),
        ("densenet121_2d", 7_978_856),
        ("efficientnet_b0_2d", 5_288_548),
        ("vit2d", 86_567_656 - 2 * 768),  # ours has no class token, nor a place for it
    ],
)
def test_published_networks_have_their_published_size(architecture, parameters):
    with torch.device("meta"):
        model = build_model(spec_of(architecture, size=(224, 224, 1), classes=1000, inputs=3))
    assert count(model) == parameters


def test_small_stems_suit_images_of_28_voxels_and_large_ones_are_refused():
    for name in ("resnet18_2d", "densenet121_2d", "efficientnet_b0_2d"):
        net = build_model(spec_of(name, size=(28, 28, 1), stem="small"))
        assert net(torch.randn(2, 1, 28, 28, 1)).shape == (2, 2)
        with pytest.raises(SpecError, match="smaller stem"):
            build_model(spec_of(name, size=(28, 28, 1)))
    for name in ("cnn2d", "cnn3d", "unet2d"):
        size = (28, 28, 1) if name.endswith("2d") else (28, 28, 28)
        build_model(spec_of(name, size=size))
    build_model(spec_of("resnet18_3d", size=(28, 28, 28), stem="small"))


@pytest.mark.parametrize(
    ("stem", "strides"),
    [("large", (2, 4, 8, 16, 32)), ("medium", (2, 4, 8, 16)), ("small", (1, 2, 4, 8))],
)
def test_stems_of_a_resnet(stem, strides):
    encoder = ResNetEncoder(2, 1, 18, stem=stem, width=8)
    assert [one[0] for one in encoder.strides] == list(strides)
    sides = [one.shape[2] for one in encoder(torch.zeros(1, 1, 64, 64))]
    assert sides == [64 // one for one in strides]


def test_another_norm_replaces_every_batch_norm():
    encoder = ResNetEncoder(3, 1, 50, norm="group", width=8)
    assert not any(isinstance(one, nn.BatchNorm3d) for one in encoder.modules())
    assert {one.num_groups for one in encoder.modules() if isinstance(one, nn.GroupNorm)} == {8}


def test_a_shortcut_of_zeros_passes_the_gradient():
    x = torch.randn(1, 2, 4, 4, 4, requires_grad=True)
    out = PadShortcut(3, 2)(x)
    assert torch.equal(out[:, :2], x[:, :, ::2, ::2, ::2])
    assert not out[:, 2].any()
    out.sum().backward()
    assert x.grad.sum() == 2 * 2**3


def test_thick_slices_are_halved_less_often():
    strides = (1, (2, 2, 1), (2, 2, 2))
    spec = spec_of("unet3d", "segmentation", (16, 16, 6), features=(4, 8, 8), strides=strides)
    net = build_model(spec)
    assert net.divisor == (4, 4, 2)
    sizes = [tuple(one.shape[2:]) for one in net(torch.randn(1, 1, 16, 16, 6))]
    assert sizes == [(16, 16, 6), (8, 8, 6)]
    with pytest.raises(SpecError, match=r"divide by \(4, 4, 2\)"):
        build_model(replace(spec, roi_size=(16, 16, 5)))


def test_a_decoder_climbs_in_small_steps():
    assert small_steps((4, 4, 2)) == [(2, 2, 2), (2, 2, 1)]
    assert small_steps((6, 7)) == [(2, 7), (3, 1)]
    assert small_steps((2, 2)) == [(2, 2)]


def test_pooled_features_are_the_mean_of_the_deepest_map():
    net = build_model(spec_of("cnn2d", size=(16, 16, 1), features=(4, 6))).eval()
    image = torch.randn(2, 1, 16, 16, 1)
    features = net.encode(image)
    assert features.shape == (2, net.features) == (2, 6)
    assert torch.allclose(features, net.encoder(image[..., 0])[-1].mean(dim=(2, 3)), atol=1e-6)
    assert torch.equal(net(image), net.head(features))


@pytest.mark.parametrize("task", TASKS)
def test_an_ensemble_gives_the_log_of_the_mean_probability(task):
    spec = replace(spec_of("unet3d", task, (8, 8, 8), features=(4, 8)), members=3)
    net = build_model(spec).eval()
    assert {name.split(".")[1] for name in net.state_dict()} == {"0", "1", "2"}
    image = torch.randn(2, 1, 8, 8, 8)
    with torch.no_grad():
        each = torch.stack([member(image).softmax(dim=1) for member in net.members])
        said = Consensus(members_of(net), spec)(image)
    assert torch.allclose(said, each.mean(dim=0).log(), atol=1e-5)
    assert torch.allclose(said.softmax(dim=1), each.mean(dim=0), atol=1e-6)


def give_weights(ours, theirs, homes):
    """Load a whole MONAI network's weights into ours; `homes` says which parts lie where."""
    state = {}
    for name, value in theirs.state_dict().items():
        part, rest = name.split(".", 1)
        state[f"{homes.get(part, 'decoder.' + part)}.{rest}"] = value
    ours.load_state_dict(state)


@torch.no_grad()
@pytest.mark.parametrize("dims", [2, 3])
def test_segresnet_taken_apart_answers_as_monai_does(dims):
    size = (16, 16, 8)[:dims]
    theirs = SegResNet(dims, 16, 1, 3).eval()
    ours = build_model(
        spec_of(f"segresnet{dims}d", "segmentation", (16, 16, 8 if dims == 3 else 1))
    )
    parts = {p: f"encoder.{p}" for p in ("convInit", "down_layers")} | {"conv_final": "heads.0"}
    give_weights(ours.eval(), theirs, parts)
    image = torch.randn(1, 1, *size)
    given = image if dims == 3 else image[..., None]
    assert torch.equal(ours(given).reshape(1, 3, *size), theirs(image))


@torch.no_grad()
@pytest.mark.parametrize("dims", [2, 3])
def test_swin_unetr_taken_apart_answers_as_monai_does(dims):
    size = (64, 32, 32)[:dims]
    theirs = SwinUNETR(1, 3, feature_size=12, spatial_dims=dims).eval()
    roi = size if dims == 3 else (*size, 1)
    ours = build_model(spec_of(f"swin_unetr{dims}d", "segmentation", roi, feature_size=12))
    give_weights(ours.eval(), theirs, {"swinViT": "encoder.swinViT", "out": "heads.0"})
    image = torch.randn(1, 1, *size)
    assert torch.equal(ours(image.reshape(1, 1, *roi)).reshape(1, 3, *size), theirs(image))
