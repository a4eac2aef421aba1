"""MONAI's intensity transforms and medvision's one rule give the same numbers."""

from pathlib import Path

import monai.transforms
import numpy as np
import pytest
import torch

from medvision.errors import SpecError
from medvision.importers.monai_config import Part
from medvision.importers.monai_intensity import Scale, Seen, apply
from medvision.intensity import scale_intensity
from medvision.intensity_spec import Intensity

CT = {"a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1, "clip": True}
CHAINS = [
    [("ScaleIntensityRange", CT)],
    [("ScaleIntensityRange", CT | {"b_min": -1.0, "b_max": 2.5, "clip": False})],
    [("ScaleIntensityRange", {"a_min": -500, "a_max": 500})],
    [("ScaleIntensityRange", CT), ("NormalizeIntensity", {"subtrahend": 0.3, "divisor": 0.2})],
    [("ScaleIntensityRange", CT | {"clip": False}), ("ScaleIntensityRange", {**CT, "a_min": 0})],
    [
        ("ScaleIntensityRange", CT),
        ("ScaleIntensityRange", CT | {"a_min": 0.2, "a_max": 0.9}),
    ],
    [("ScaleIntensity", {})],
    [("ScaleIntensity", {"minv": -1, "maxv": 1})],
    [("ScaleIntensity", {}), ("NormalizeIntensity", {"subtrahend": 0.5, "divisor": 0.5})],
    [("ScaleIntensity", {}), ("NormalizeIntensity", {})],
    [("NormalizeIntensity", {}), ("ScaleIntensity", {})],
    [("NormalizeIntensity", {"subtrahend": 120.0, "divisor": 30.0})],
    [("NormalizeIntensity", {"nonzero": True})],
    [("NormalizeIntensity", {"channel_wise": True})],
    [
        (
            "ScaleIntensityRangePercentiles",
            {"lower": 1, "upper": 98, "b_min": 0, "b_max": 2, "clip": True},
        )
    ],
    [("ScaleIntensityRangePercentiles", {"lower": 1, "upper": 98, "b_min": 0, "b_max": 2})],
    [("ClipIntensityPercentiles", {"lower": 2, "upper": 97}), ("NormalizeIntensity", {})],
    [("ClipIntensityPercentiles", {"lower": 2, "upper": 97}), ("ScaleIntensity", {})],
]


def rule_of(chain, seen=Seen(0, 1)):  # noqa: B008
    scale = Scale()
    for name, settings in chain:
        part = Part(Path("inference.json"), {"_target_": name + "d", **settings}, "pre")
        scale = apply(scale, part, seen)
    return scale.rule


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: "+".join(n for n, _ in chain))
def test_one_rule_gives_the_numbers_of_monai(chain):
    rng = np.random.default_rng(0)
    image = rng.normal(80, 120, (1, 24, 20, 16)).astype(np.float32)
    image[:, :8] = 0
    theirs = image
    for name, settings in chain:
        theirs = getattr(monai.transforms, name)(**settings)(theirs)
    ours = scale_intensity(torch.from_numpy(image), rule_of(chain))
    assert np.allclose(ours, np.asarray(theirs), atol=2e-4)


def test_what_one_rule_cannot_say_is_refused():
    clipped = ("ScaleIntensityRange", CT)
    for chain, why in [
        ([clipped, ("NormalizeIntensity", {})], "normalizes by the image itself what was scaled"),
        ([clipped, ("ScaleIntensity", {})], "scales by the image itself what was clipped"),
        ([("NormalizeIntensity", {}), clipped], "comes after a normalization"),
        ([("NormalizeIntensity", {"nonzero": True}), ("ScaleIntensity", {})], "what was clipped"),
        ([("NormalizeIntensity", {"nonzero": True, "subtrahend": 1, "divisor": 2})], "nonzero"),
        ([("NormalizeIntensity", {"subtrahend": 1})], "without the other"),
        ([("ScaleIntensity", {"factor": 0.1})], "factor = 0.1"),
        ([("ScaleIntensityRange", {"a_min": 2, "a_max": 1})], "do not rise"),
        ([("ScaleIntensityRange", {**CT, "b_min": 1, "b_max": 0})], "do not rise"),
        ([("ScaleIntensityRange", {**CT, "gamma": 0})], "has gamma, which medvision does not know"),
        ([("ScaleIntensityRangePercentiles", {"lower": 1, "upper": 2})], "lacks one of"),
        ([("NormalizeIntensity", {"subtrahend": "a", "divisor": 1})], "no number"),
    ]:
        with pytest.raises(SpecError, match=why):
            rule_of(chain)


def test_channels_are_scaled_as_monai_does_or_refused():
    each = [("NormalizeIntensity", {"channel_wise": True})]
    assert rule_of(each, Seen(0, 4)) == Intensity("zscore", percentiles=(0, 100))
    with pytest.raises(SpecError, match="each input's own"):
        rule_of([("NormalizeIntensity", {})], Seen(0, 4))
    with pytest.raises(SpecError, match="each color apart"):
        rule_of(each, Seen(0, 1, colors=3))
    given = [
        ("NormalizeIntensity", {"subtrahend": [1, 2], "divisor": [3, 4], "channel_wise": True})
    ]
    assert rule_of(given, Seen(1, 2)) == Intensity("fixed", mean=2, std=4, clip=False)
    with pytest.raises(SpecError, match="2 numbers for 3 channels"):
        rule_of(given, Seen(1, 3))


def test_hardly_a_voxel_of_a_ct_is_zero():
    chain = [("NormalizeIntensity", {"nonzero": True}), ("ScaleIntensity", {"minv": -1, "maxv": 1})]
    assert rule_of(chain, Seen(0, 1, ct=True)) == Intensity("range", (0, 100), to=(-1, 1))
