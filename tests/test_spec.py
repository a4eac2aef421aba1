"""Specs survive JSON, and refuse what cannot be."""

import json

import pytest

from medvision.errors import SpecError
from medvision.spec import Fingerprint, Intensity, ModelSpec, TrainConfig

RANGES = ((30.0, 40.0), (45.0, 60.0), (30.0, 45.0))
SPEC = ModelSpec(
    "m",
    "segmentation",
    "unet3d",
    ("a", "b"),
    (1.0, 1.0, 1.2),
    (40, 56, 40),
    network={"features": (16, 32)},
    intensity=Intensity("window", low=-50.0, high=150.0),
    fingerprint=Fingerprint(3, RANGES, RANGES, (0.4, 0.6), (10.0, 90.0)),
)


def test_json_round_trip():
    assert ModelSpec.from_json(SPEC.to_json()) == SPEC


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"task": "poetry"}, "Unknown task"),
        ({"spacing": [1, 1, 0]}, "above 0"),
        ({"colour": 1}, "Unknown ModelSpec settings: colour"),
        ({"overlap": 1.5}, "Overlap"),
        ({"class_names": ["a", "a"]}, "differ"),
        ({"intensity": {"rule": "magic"}}, "zscore, window"),
        ({"intensity": 3}, "table of settings"),
    ],
)
def test_a_wrong_setting_is_named(change, says):
    with pytest.raises(SpecError, match=says):
        ModelSpec.from_json(json.dumps({**json.loads(SPEC.to_json()), **change}))


def test_what_is_no_json_is_said_so():
    with pytest.raises(SpecError, match="not JSON"):
        ModelSpec.from_json("{")


def test_training_settings_are_checked():
    with pytest.raises(SpecError, match="start at 1"):
        TrainConfig(steps=0)
    with pytest.raises(SpecError, match="shares of 1"):
        TrainConfig(flip=2)
