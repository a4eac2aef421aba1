"""A plan as a file, which is a person's to change, and settings by name."""

import json
from dataclasses import replace

import pytest

from medvision.errors import SpecError
from medvision.intensity_spec import Intensity
from medvision.plan_file import Plan, read_plan, with_settings, write_plan
from medvision.spec import InputSpec, ModelSpec
from medvision.train_config import Augment, TrainConfig

MADE = Plan(
    ModelSpec(
        "pair",
        "segmentation",
        "unet3d",
        ("a",),
        (1.0, 1.0, 1.0),
        (20, 24, 20),
        network={"features": (4, 8, 16), "decoder_convs": 1},
        inputs=(InputSpec("t1"), InputSpec("t2")),
    ),
    TrainConfig(steps=2500),
    {"spacing": "median voxel size of the cases, mm"},
)


def test_a_plan_survives_its_file_and_a_person(tmp_path):
    path = write_plan(MADE, tmp_path / "plan.json")
    assert read_plan(path) == MADE
    data = json.loads(path.read_text())
    data["train"] = {"steps": 7, "augment": {"mirror": ""}}
    data["spec"]["inputs"][1]["intensity"] = {"rule": "window", "low": 0, "high": 1}
    data["reasons"] = {}
    path.write_text(json.dumps(data))
    edited = read_plan(path)
    assert edited.train == TrainConfig(steps=7, augment=Augment(mirror=""))
    assert edited.spec.inputs[1] == InputSpec("t2", intensity=Intensity("window", low=0, high=1))
    assert replace(edited.spec, inputs=MADE.spec.inputs) == MADE.spec


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ('{"spec": ', r"plan.json is no plan: .*line 1"),
        ("[]", "Plan is a table of settings; found list"),
        ('{"spec": 3, "train": {}, "reasons": {}}', "ModelSpec is a table of settings; found int"),
        ('{"train": {}, "reasons": {}}', "cannot be built: .*'spec'"),
        ('{"spec": {}, "train": {}, "reasons": {}}', "ModelSpec cannot be built: .*'name'"),
        ('{"train": {"step": 1}}', "Unknown TrainConfig settings: step"),
    ],
)
def test_a_file_that_is_no_plan_says_why(tmp_path, change, says):
    path = tmp_path / "plan.json"
    path.write_text(change)
    with pytest.raises(SpecError, match=says) as caught:
        read_plan(path)
    assert str(caught.value).startswith(str(path))


def test_a_plan_that_is_not_there_is_told(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(SpecError) as caught:
            read_plan(path)
        assert str(caught.value).startswith(f"No such file: {path}.")


def test_settings_are_replaced_by_name():
    asked = [
        *("steps=40", "learning_rate=1e-4", "keep=best", "augment.mirror=RAS", "name=other"),
        *("roi_size=32, 32,16", "roi_size.0=48", "class_names=tumor", "spacing=null"),
        *("network.features=8,16", "network.deep_supervision=false", "augment.flip = 0"),
        *("inputs.1.intensity.rule=window", "inputs.0.description=t1|mp{1,2}rage"),
    ]
    changed = with_settings(MADE, asked[:7] + asked[8:])
    assert changed.train == replace(
        MADE.train,
        steps=40,
        learning_rate=1e-4,
        keep="best",
        augment=replace(MADE.train.augment, mirror="RAS", flip=0),
    )
    spec = changed.spec
    assert (spec.name, spec.roi_size, spec.spacing) == ("other", (48, 32, 16), None)
    assert spec.network == {**MADE.spec.network, "features": (8, 16), "deep_supervision": False}
    assert spec.inputs[0].description == "t1|mp{1,2}rage"
    assert [one.intensity.rule for one in spec.inputs] == ["zscore", "window"]
    assert changed.reasons["steps"] == "as set"
    assert with_settings(MADE, ["class_names=liver, tumor"]).spec.class_names == ("liver", "tumor")
    assert with_settings(MADE, []) == MADE


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("speed=9", r"No setting 'speed=9'. Known: accumulate, architecture"),
        ("steps", "No setting 'steps'"),
        ("=3", "No setting '=3'"),
        ("augment.zoom=1", "Unknown Augment settings: zoom"),
        ("augment.zoom.x=1", "'augment.zoom.x=1': there is no x to set"),
        ("steps.x=1", "there is no x to set"),
        ("inputs.2.name=x", "there is no 2 to set"),
        ("inputs.first.name=x", "there is no first to set"),
        ("fingerprint.cases.x=1", "there is no cases to set"),
        ("steps=many", "TrainConfig cannot be built"),
        ("steps=0", "start at 1"),
        ("spacing=a", "Spacing|cannot be built"),
        ("patience=3", "keep = best"),
    ],
)
def test_a_setting_that_is_not_there_is_named(setting, says):
    with pytest.raises(SpecError, match=says):
        with_settings(MADE, [setting])


def test_a_reason_does_not_outlive_what_it_was_of():
    """Reasons of what a setting lies in, and of what lies in it, go; others stay in their order."""
    reasons = {
        "network": "4 stages",
        "inputs.0.intensity": "CT in HU",
        "augment.mirror": "left and right are classes",
        "steps": "about 500 windows of each case",
    }
    plan = replace(MADE, reasons=reasons)
    told = with_settings(plan, ["network.features=4,8,16", "augment.mirror=R"]).reasons
    assert told == {
        "inputs.0.intensity": "CT in HU",
        "steps": "about 500 windows of each case",
        "network.features": "as set",
        "augment.mirror": "as set",
    }
    windowed = with_settings(plan, ["inputs.0.intensity.rule=window"])
    assert "inputs.0.intensity" not in windowed.reasons
