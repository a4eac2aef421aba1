"""Settings of a training are refused where they cannot be meant."""

from dataclasses import replace

import pytest

from medvision.errors import SpecError
from medvision.from_json import build_dataclass
from medvision.train_config import Augment, TrainConfig


def test_what_is_said_nowhere_has_a_default_that_is_allowed():
    assert build_dataclass(TrainConfig, {}) == TrainConfig()
    nested = build_dataclass(TrainConfig, {"augment": {"mirror": "RA"}})
    assert nested.augment == Augment(mirror="RA")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"steps": 0}, "start at 1"),
        ({"batch_size": 0}, "start at 1"),
        ({"cycles": 0}, "start at 1"),
        ({"eval_every": 0}, "start at 1"),
        ({"freeze": -1}, "at 0"),
        ({"workers": -1}, "at 0"),
        ({"batch_size": 6, "accumulate": 4}, "6 samples do not make 4 equal parts"),
        ({"schedule": "linear"}, "Unknown schedule 'linear'. Choose from: cosine, poly"),
        ({"class_weights": "yes"}, "Unknown class_weights 'yes'. Choose from: none, balanced"),
        ({"keep": "first"}, "Unknown keep 'first'. Choose from: last, best"),
        ({"precision": "8-bit"}, "Unknown precision '8-bit'"),
        ({"patience": 3}, "needs keep = best"),
        ({"ema": 1.0}, "shares of 1"),
        ({"warmup": -0.1}, "shares of 1"),
        ({"label_smoothing": 1.0}, "shares of 1"),
        ({"foreground": 1.5}, "shares of 1"),
        ({"layer_decay": 0.0}, "layer_decay lies above 0"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"memory_gb": -1.0}, "memory_gb"),
        ({"augment": {"mirror": "RX"}}, "axes of R, A and S; found 'RX'"),
        ({"augment": {"noise": 2}}, "shares of 1"),
        ({"augment": {"zoom": 1}}, "Unknown Augment settings: zoom. Known: mirror, flip"),
        ({"augment": {"scale": -2}}, "sizes, 0 or above"),
        ({"augment": 3}, "Augment is a table of settings; found int"),
        ({"steps": "many"}, "TrainConfig cannot be built: steps is int, found 'many'"),
        ({"steps": 2.5}, "steps is int, found 2.5"),
        ({"learning_rate": float("nan")}, "learning_rate is a number, found nan"),
        ({"step": 5}, "Unknown TrainConfig settings: step. Known: steps, "),
    ],
)
def test_a_setting_that_cannot_be_is_named(change, says):
    with pytest.raises(SpecError, match=says):
        build_dataclass(TrainConfig, change)


def test_patience_goes_with_the_best_weights():
    assert replace(TrainConfig(), keep="best", patience=2).patience == 2
