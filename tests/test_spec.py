"""Specs survive JSON, and refuse what cannot be."""

import json
from dataclasses import replace

import pytest

from medvision.errors import SpecError
from medvision.spec import Fingerprint, InputSpec, Intensity, ModelSpec, TrainConfig

RANGES = ((30.0, 40.0), (45.0, 60.0), (30.0, 45.0))
SPEC = ModelSpec(
    "m",
    "segmentation",
    "unet3d",
    ("a", "b"),
    (1.0, 1.0, 1.2),
    (40, 56, 40),
    network={"features": (16, 32)},
    inputs=(InputSpec("t1", "MR", r"t1|mprage", "sagittal", True), InputSpec("flair")),
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
        ({"inputs": []}, "one InputSpec or several"),
        ({"inputs": ["t1", "flair"]}, "InputSpec is a table of settings; found str"),
        ({"inputs": "t1"}, "one InputSpec or several"),
        ({"inputs": 3}, "cannot be built"),
        ({"inputs": [{"name": "a"}, {"name": "a"}]}, "differ in name: a, a"),
        ({"inputs": [{"name": "a=b"}]}, "letters, digits"),
        ({"inputs": [{"name": 3}]}, "are text"),
        ({"inputs": [{"plane": "oblique"}]}, "axial, coronal, sagittal"),
        ({"inputs": [{"description": "t1("}]}, r"Input image: 't1\(' is no regular expression"),
        ({"inputs": [{"contrast": "yes"}]}, "true, false or null"),
        ({"inputs": [{"series": "3"}]}, "Unknown InputSpec settings: series"),
    ],
)
def test_a_wrong_setting_is_named(change, says):
    with pytest.raises(SpecError, match=says):
        ModelSpec.from_json(json.dumps({**json.loads(SPEC.to_json()), **change}))


def test_a_spec_of_one_unnamed_input_is_still_read():
    data = json.loads(SPEC.to_json()) | {"inputs": ["image"], "modality": "CT"}
    assert ModelSpec.from_json(json.dumps(data)).inputs == (InputSpec("image", "CT"),)


def test_every_input_is_fed_by_name_the_reference_first():
    assert list(SPEC.feed({"x": 0, "flair": 1, "t1": 2}).items()) == [("t1", 2), ("flair", 1)]
    with pytest.raises(SpecError, match="takes t1, flair; missing: flair; found: t1"):
        SPEC.feed({"t1": 2})
    single = replace(SPEC, inputs=(InputSpec("t1"),))
    assert single.feed({"image": 7}) == {"t1": 7}
    with pytest.raises(SpecError, match="missing: t1; found: a, b"):
        single.feed({"a": 1, "b": 2})


def test_what_is_no_json_is_said_so():
    with pytest.raises(SpecError, match="not JSON"):
        ModelSpec.from_json("{")


def test_training_settings_are_checked():
    with pytest.raises(SpecError, match="start at 1"):
        TrainConfig(steps=0)
    with pytest.raises(SpecError, match="shares of 1"):
        TrainConfig(flip=2)
