"""Specs survive JSON, and refuse what cannot be."""

import json
from dataclasses import replace

import pytest

from medvision.codes import ClassCodes, split_code
from medvision.errors import SpecError
from medvision.fingerprint_spec import Fingerprint
from medvision.intensity_spec import Intensity
from medvision.spec import InputSpec, ModelSpec

RANGES = ((30.0, 40.0), (45.0, 60.0), (30.0, 45.0))
SPEC = ModelSpec(
    "m",
    "segmentation",
    "unet3d",
    ("a", "b"),
    (1.0, 1.0, 1.2),
    (40, 56, 40),
    network={"features": (16, 32)},
    inputs=(
        InputSpec("t1", "MR", r"t1|mprage", "sagittal", True),
        InputSpec("flair", intensity=Intensity("window", low=-50.0, high=150.0)),
    ),
    fingerprint=Fingerprint(3, RANGES, RANGES, (0.4, 0.6), (10.0, 90.0)),
)


def test_json_round_trip():
    assert ModelSpec.from_json(SPEC.to_json()) == SPEC


def test_codes_of_classes_stand_in_the_json_where_there_are_some():
    assert "codes" not in SPEC.to_json()
    left = ClassCodes("SCT:5366008:Hippocampus", laterality="SCT:7771000:Left")
    coded = replace(SPEC, codes={"a": left})
    assert ModelSpec.from_json(coded.to_json()) == coded
    said = json.loads(coded.to_json())
    said["codes"]["a"] = {"type": "SCT:5366008:Hippocampus"}
    found = ModelSpec.from_json(json.dumps(said)).codes["a"]
    assert found.category == "SCT:123037004:Anatomical Structure"
    assert split_code(found.type) == ("SCT", "5366008", "Hippocampus")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"task": "poetry"}, "Unknown task"),
        ({"spacing": [1, 1, 0]}, "above 0"),
        ({"colour": 1}, "Unknown ModelSpec settings: colour"),
        ({"overlap": 1.5}, "Overlap"),
        ({"class_names": ["a", "a"]}, "differ"),
        ({"inputs": [{"intensity": {"rule": "magic"}}]}, "zscore, window"),
        ({"inputs": [{"intensity": {"low": 3, "high": 3}}]}, "must rise"),
        ({"inputs": [{"channels": 2}]}, "1 channel, or 3 of color; found 2"),
        ({"inputs": []}, "one InputSpec or several"),
        ({"inputs": ["t1", "flair"]}, "InputSpec is a table of settings; found str"),
        ({"inputs": "t1"}, "inputs is tuple, found 't1'"),
        ({"inputs": 3}, "cannot be built"),
        ({"inputs": [{"name": "a"}, {"name": "a"}]}, "differ in name: a, a"),
        ({"inputs": [{"name": "a=b"}]}, "letters, digits"),
        ({"inputs": [{"name": 3}]}, "name is str, found 3"),
        ({"inputs": [{"plane": "oblique"}]}, "axial, coronal, sagittal"),
        ({"inputs": [{"description": "t1("}]}, r"Input image: 't1\(' is no regular expression"),
        ({"inputs": [{"contrast": "yes"}]}, "contrast is bool, found 'yes'"),
        ({"inputs": [{"intensity": 3}]}, "Intensity is a table of settings; found int"),
        ({"fingerprint": 3}, "Fingerprint is a table of settings; found int"),
        ({"network": 3}, "network is Mapping, found 3"),
        ({"name": 5}, "name is str, found 5"),
        ({"members": 1.5}, "members is int, found 1.5"),
        ({"members": True}, "members is int, found True"),
        ({"overlap": "half"}, "overlap is float, found 'half'"),
        ({"overlap": float("nan")}, "overlap is a number, found nan"),
        ({"class_names": "ab"}, "class_names is tuple, found 'ab'"),
        ({"class_names": ["a", 1]}, "class_names is str, found 1"),
        ({"roi_size": [8, 8]}, "roi_size is 3 values"),
        ({"roi_size": [8, 8, 8, 8]}, "roi_size is 3 values"),
        ({"roi_size": [8, 8, 8.5]}, "roi_size is int, found 8.5"),
        ({"inputs": [{"series": "3"}]}, "Unknown InputSpec settings: series"),
        ({"codes": {"c": {"type": "SCT:10200004:Liver"}}}, "Codes are of a, b; found some of c"),
        ({"codes": {"a": {"type": "10200004"}}}, "\"SCHEME:VALUE:Meaning\".*found '10200004'"),
        ({"codes": {"a": {"type": "SCT:1:" + "x" * 65}}}, "meaning of a code has at most 64"),
        ({"codes": {"a": {"category": "SCT:1:A"}}}, "ClassCodes cannot be built"),
    ],
)
def test_a_wrong_setting_is_named(change, says):
    with pytest.raises(SpecError, match=says):
        ModelSpec.from_json(json.dumps({**json.loads(SPEC.to_json()), **change}))


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
