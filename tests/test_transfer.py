"""Weights from elsewhere, frozen stages, layer-wise learning rates."""

import copy
import pickle
from dataclasses import replace

import pytest
import torch
from monai.networks.nets.resnet import ResNet, get_medicalnet_pretrained_resnet_args
from safetensors.torch import save_file
from torch import nn

from medvision.checkpoint import save_model
from medvision.errors import SpecError
from medvision.models import build_model
from medvision.spec import InputSpec, ModelSpec
from medvision.transfer import freeze, load_weights, parameter_groups, read_state

LAYERS = {18: ("basic", [2, 2, 2, 2]), 50: ("bottleneck", [3, 4, 6, 3])}


def spec_of(architecture, task="classification", size=(64, 64, 1), inputs=1, **network):
    channels = tuple(InputSpec(f"i{number}") for number in range(inputs))
    return ModelSpec("m", task, architecture, ("a", "b"), None, size, network, channels)


UNET = spec_of("unet3d", "segmentation", (8, 8, 8), features=(4, 8))


def medicalnet(depth):
    """MONAI's network that MedicalNet's files fit: `pretrained=True` loads them with strict=True
    once ``module.`` is gone, so that its names and shapes are theirs.
    """
    bias, shortcut = get_medicalnet_pretrained_resnet_args(depth)
    block, layers = LAYERS[depth]
    return ResNet(
        block,
        layers,
        [64, 128, 256, 512],
        n_input_channels=1,
        conv1_t_stride=2,
        shortcut_type=shortcut,
        feed_forward=False,
        bias_downsample=bias,
    )


def randomize(net):
    """Give a network running statistics that differ from those of a new one."""
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return net.eval()


@torch.no_grad()
@pytest.mark.parametrize(("depth", "shortcut", "names"), [(18, "A", 17 * 6), (50, "B", 53 * 6)])
def test_a_file_of_medicalnet_gives_the_features_of_its_network(tmp_path, depth, shortcut, names):
    theirs = randomize(medicalnet(depth))
    state = {f"module.{name}": value for name, value in theirs.state_dict().items()}
    assert len(state) == names  # a convolution and the five tensors of its batch norm
    assert state["module.conv1.weight"].shape == (64, 1, 7, 7, 7)
    torch.save({"state_dict": state}, tmp_path / "resnet_23dataset.pth")
    ours = build_model(spec_of(f"resnet{depth}_3d", size=(48, 48, 48), shortcut=shortcut)).eval()
    report = load_weights(ours, tmp_path / "resnet_23dataset.pth")
    assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())
    assert len(report.loaded) == names * 5 // 6
    image = torch.randn(1, 1, 48, 48, 48)
    assert torch.allclose(ours.encode(image), theirs(image), atol=1e-5)


def test_a_network_with_other_shortcuts_names_what_stays_random(tmp_path):
    state = {f"module.{k}": v for k, v in medicalnet(18).state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "resnet_18.pth")
    net = build_model(spec_of("resnet18_3d", size=(48, 48, 48)))
    report = load_weights(net, tmp_path / "resnet_18.pth")
    assert {name.split(".")[-2] for name in report.missing} == {"0", "1"}
    assert all(".0.downsample." in name for name in report.missing)
    assert "Not in the file, left random: encoder.layer2.0.downsample.0.weight" in report.summary()


def torchvision_like():
    """A 2D ResNet-18 with torchvision's names: conv1 7 × 7 of RGB to fc."""
    net = ResNet(
        "basic", [2, 2, 2, 2], [64, 128, 256, 512], 2, 3, conv1_t_stride=2, bias_downsample=False
    )
    return randomize(net)


@torch.no_grad()
@pytest.mark.parametrize("form", ["plain", "state_dict", "model", "safetensors", "legacy"])
def test_rgb_weights_answer_to_one_channel_as_to_a_gray_picture(tmp_path, form):
    theirs = torchvision_like()
    state = theirs.state_dict()
    path = tmp_path / ("r.safetensors" if form == "safetensors" else "r.pth")
    if form == "safetensors":
        save_file(state, path)
    else:
        content = {form: state} if form in ("state_dict", "model") else state
        torch.save(content, path, _use_new_zipfile_serialization=form != "legacy")
    net = build_model(spec_of("resnet18_2d")).eval()
    report = load_weights(net, path)
    assert report.unexpected == ("encoder.fc.bias", "encoder.fc.weight")
    assert (report.missing, report.mismatched) == ((), ())
    gray = torch.randn(1, 1, 64, 64)
    theirs.fc = nn.Identity()
    expected = theirs(gray.expand(1, 3, 64, 64))
    assert torch.allclose(net.encode(gray[..., None]), expected, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("inputs", [2, 3, 4])
def test_rgb_weights_answer_to_channels_that_are_all_alike_as_before(tmp_path, inputs):
    theirs = torchvision_like()
    torch.save(theirs.state_dict(), tmp_path / "r.pth")
    net = build_model(spec_of("resnet18_2d", inputs=inputs)).eval()
    load_weights(net, tmp_path / "r.pth")
    gray = torch.randn(1, 1, 64, 64)
    theirs.fc = nn.Identity()
    image = gray[..., None].expand(1, inputs, 64, 64, 1)
    assert torch.allclose(net.encode(image), theirs(gray.expand(1, 3, 64, 64)), atol=1e-4)


def test_a_small_stem_is_named_and_the_rest_is_loaded(tmp_path):
    torch.save(torchvision_like().state_dict(), tmp_path / "r.pth")
    net = build_model(spec_of("resnet18_2d", stem="small"))
    report = load_weights(net, tmp_path / "r.pth")
    assert report.mismatched == ("encoder.conv1.weight (64, 3, 7, 7), here (64, 1, 3, 3)",)
    assert "encoder.layer4.1.conv2.weight" in report.loaded


def test_names_of_torchvisions_densenet(tmp_path):
    source = build_model(spec_of("densenet121_2d", inputs=3))
    state = {k: v for k, v in source.encoder.state_dict().items() if k.startswith("features.")}
    theirs = {name.replace(".layers.", "."): value for name, value in state.items()}
    assert theirs["features.denseblock1.denselayer1.norm1.weight"].shape == (64,)
    torch.save(theirs, tmp_path / "d.pth")
    report = load_weights(build_model(spec_of("densenet121_2d")), tmp_path / "d.pth")
    assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())


@torch.no_grad()
def test_an_encoder_goes_from_classification_to_segmentation_and_back(tmp_path):
    classifier = build_model(replace(UNET, task="classification")).eval()
    save_model(tmp_path / "c", UNET, classifier.state_dict(), "")
    segmenter = build_model(UNET).eval()
    report = load_weights(segmenter, tmp_path / "c")
    assert report.unexpected == ("head.bias", "head.weight")
    image = torch.randn(1, 1, 8, 8, 8)
    assert torch.equal(segmenter.encoder(image)[-1], classifier.encoder(image)[-1])
    save_file(segmenter.state_dict(), tmp_path / "s.safetensors")
    back = build_model(replace(UNET, task="classification")).eval()
    assert load_weights(back, tmp_path / "s.safetensors").missing == ()
    assert torch.equal(back.encode(image), classifier.encode(image))


def test_a_decoder_is_taken_when_asked_for_and_a_head_never(tmp_path):
    source = build_model(UNET)
    save_file(source.state_dict(), tmp_path / "s.safetensors")
    for wanted in (False, True):
        net = build_model(replace(UNET, class_names=("a",)))
        report = load_weights(net, tmp_path / "s.safetensors", decoder=wanted)
        name = "decoder.ups.0.weight"
        assert torch.equal(net.state_dict()[name], source.state_dict()[name]) == wanted
        assert (name in report.loaded) == wanted
        assert "heads.0.weight" in report.unexpected
        assert report.missing == ()


def test_the_first_member_of_an_ensemble_is_taken(tmp_path):
    source = build_model(replace(UNET, members=2))
    save_file(source.state_dict(), tmp_path / "e.safetensors")
    net = build_model(UNET)
    assert load_weights(net, tmp_path / "e.safetensors").missing == ()
    first = source.members[0].encoder.state_dict()
    assert all(torch.equal(v, first[k]) for k, v in net.encoder.state_dict().items())
    with pytest.raises(SpecError, match="Ensemble has no encoder"):
        load_weights(source, tmp_path / "e.safetensors")


def test_a_file_of_which_nothing_matches_names_both(tmp_path):
    torch.save({"fc9.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(SpecError, match=r"other.pt .*fc9.weight; the network has encoder.stages"):
        load_weights(build_model(UNET), tmp_path / "other.pt")
    wider = build_model(spec_of("unet3d", "segmentation", (8, 8, 8), features=(5, 9)))
    save_file(wider.state_dict(), tmp_path / "wide.safetensors")
    with pytest.raises(SpecError, match=r"stages.0.0.0.weight \(5, 1, 3, 3, 3\), here \(4, 1"):
        load_weights(build_model(UNET), tmp_path / "wide.safetensors")


class Payload:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_code_in_a_file_is_never_run(tmp_path):
    torch.save({"state_dict": Payload(tmp_path / "ran")}, tmp_path / "evil.pth")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    for name in ("evil.pth", "evil.pkl"):
        with pytest.raises(SpecError, match=f"{name} (wants to run code|is damaged)"):
            read_state(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_what_is_no_file_of_weights_is_refused(tmp_path):
    torch.save({"conv.weight": torch.randn(100)}, tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.pth").write_text("no weights here")
    (tmp_path / "text.safetensors").write_text("no weights here")
    torch.save({"epoch": 3, "state_dict": {}}, tmp_path / "numbers.pth")
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    for name, message in [
        ("cut.pth", "is damaged"),
        ("empty.pth", "is damaged"),
        ("text.pth", "is damaged"),
        ("text.safetensors", "is damaged"),
        ("numbers.pth", "no tensors by name"),
        ("list.pth", "no tensors by name"),
        ("absent.pth", "does not exist"),
        (".", "model.safetensors does not exist"),
    ]:
        with pytest.raises(SpecError, match=message):
            read_state(tmp_path / name)


def take_step(net, spec):
    """Take one large step on random data, in training mode."""
    groups = parameter_groups(net, 0.1, 1.0, 0.01)
    optimizer = torch.optim.AdamW(groups)
    net.train()(torch.randn(4, 1, *spec.roi_size)).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("resnet18_2d", {"stem": "small", "width": 8}),
        ("efficientnet_b0_2d", {"stem": "small"}),
        ("vit2d", {"hidden_size": 24, "mlp_dim": 32, "num_layers": 3}),
        ("cnn2d", {}),
    ],
)
def test_frozen_stages_do_not_move_and_the_others_do(name, network):
    torch.manual_seed(0)
    spec = spec_of(name, size=(32, 32, 1), **network)
    net = build_model(spec)
    freeze(net, 2)
    before = copy.deepcopy(net.state_dict())
    take_step(net, spec)
    frozen = {id(t) for stage in net.encoder.stage_modules()[:2] for m in stage for t in tensors(m)}
    moved = {}
    for key, value in net.state_dict(keep_vars=True).items():
        moved.setdefault(id(value) in frozen, []).append(not torch.equal(value, before[key]))
    assert not any(moved[True])
    assert all(moved[False])


def tensors(module):
    return [*module.parameters(), *module.buffers()]


def test_freezing_ends_and_is_bounded():
    net = build_model(UNET)
    freeze(net, 1)
    assert not net.train().encoder.stages[0][0].training
    freeze(net, 0)
    assert net.train().encoder.stages[0][0].training
    assert all(one.requires_grad for one in net.parameters())
    with pytest.raises(SpecError, match="3 stages cannot be frozen: this encoder has 2"):
        freeze(net, 3)


def test_rates_fall_by_depth_from_the_head():
    net = build_model(UNET)
    groups = parameter_groups(net, 1e-3, 0.5, 0.02)
    assert [group["scale"] for group in groups] == [1, 0.5, 0.25]
    assert [group["lr"] for group in groups] == [1e-3, 5e-4, 2.5e-4]
    assert {group["weight_decay"] for group in groups} == {0.02}
    assert groups[2]["params"][0] is net.encoder.stages[0][0][0].weight
    grouped = [id(one) for group in groups for one in group["params"]]
    assert sorted(grouped) == sorted(id(one) for one in net.parameters())
    freeze(net, 1)
    assert [group["scale"] for group in parameter_groups(net, 1e-3, 0.5, 0.0)] == [1, 0.5]
    net.requires_grad_(False)
    with pytest.raises(SpecError, match="nothing is left to train"):
        parameter_groups(net, 1e-3, 0.5, 0.0)
