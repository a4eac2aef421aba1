"""The costs of networks against published ones, and against what a CPU keeps."""

import pytest
import torch
from torch import nn

from medvision.model_table import (
    INPUT,
    count_operations,
    count_saved_bytes,
    describe_model,
    example_spec,
)
from medvision.models import MODELS, build_model
from medvision.spec import TASKS, InputSpec, ModelSpec


@pytest.mark.parametrize(
    ("architecture", "gmacs"),
    [  # torchvision's documentation: three channels, 224 × 224, 1000 classes
        ("resnet18_2d", 1.81),
        ("resnet50_2d", 4.09),
        ("densenet121_2d", 2.83),
        ("efficientnet_b0_2d", 0.39),
        ("vit2d", 17.56),
    ],
)
def test_operations_are_the_published_ones(architecture, gmacs):
    classes = tuple(f"c{number}" for number in range(1000))
    inputs = (InputSpec("r"), InputSpec("g"), InputSpec("b"))
    spec = ModelSpec("m", "classification", architecture, classes, None, INPUT[2], inputs=inputs)
    facts = describe_model(spec)
    assert facts.gflops / 2 == pytest.approx(gmacs, rel=0.02)
    assert facts.weights_mb * 1e6 >= 4 * facts.parameters


def test_saved_bytes_of_a_network_small_enough_to_count_by_hand():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    image = torch.empty(1, 4, device="meta")
    assert count_saved_bytes(net.to("meta"), image) == 4 * 4 + 3 * 4  # the image, and the ReLU's
    assert count_operations(net, image) == 2 * 4 * 3


def test_the_meta_device_keeps_what_a_cpu_keeps():
    net, image = nn.Sequential(nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4), nn.ReLU()), (1, 1, 8, 8, 8)
    on_cpu = count_saved_bytes(net, torch.zeros(image))
    assert count_saved_bytes(net.to("meta"), torch.empty(image, device="meta")) == on_cpu


@pytest.mark.parametrize("name", MODELS)
def test_every_network_can_be_built_at_its_default_input(name):
    with torch.device("meta"):
        assert all(build_model(example_spec(name, task)) is not None for task in TASKS)
