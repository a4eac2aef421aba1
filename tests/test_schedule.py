"""Steps of a training: the learning rate, what is kept, what a resumed run must find again."""

import csv
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file
from training_phantom import write_phantom_cases

from medvision.dataset import read_cases
from medvision.errors import SpecError, TrainingError
from medvision.intensity_spec import Intensity
from medvision.losses import SupervisedDice
from medvision.models import build_model
from medvision.spec import InputSpec, ModelSpec
from medvision.train import train
from medvision.train_config import TrainConfig
from medvision.train_state import TrainState, averaging, learning_rate

NETWORK = {"features": (4, 8)}
BALLS = ModelSpec("balls", "segmentation", "unet3d", ("ball",), (1, 1, 1), (24, 24, 20), NETWORK)
KINDS = ModelSpec(
    "kinds",
    "classification",
    "cnn3d",
    ("a", "b"),
    (1, 1, 1),
    (24, 24, 20),
    {**NETWORK, "dropout": 0.5},
    (InputSpec(intensity=Intensity("window", low=-50, high=100)),),
)
CONFIG = TrainConfig(steps=12, batch_size=2, learning_rate=0.01, ema=0.5, eval_every=5)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Four cases with masks and labels."""
    table = write_phantom_cases(tmp_path_factory.mktemp("cases"), 4)
    return [replace(c, label="ab"[n % 2]) for n, c in enumerate(read_cases(table))]


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def stop_at(step, monkeypatch, error=KeyboardInterrupt):
    """Let every training be cut off as it begins a step."""
    begin = TrainState.begin_step

    def cut(state):
        if state.step == step:
            raise error
        return begin(state)

    monkeypatch.setattr(TrainState, "begin_step", cut)


@pytest.mark.parametrize("schedule", ["cosine", "poly"])
@pytest.mark.parametrize("cycles", [1, 3, 7])
def test_the_rate_rises_to_its_peak_and_falls_to_nothing(schedule, cycles):
    config = TrainConfig(steps=1000, learning_rate=0.1, schedule=schedule, cycles=cycles)
    rates = [learning_rate(step, config) for step in range(1000)]
    starts = [-(-1000 * cycle // cycles) for cycle in range(cycles + 1)]
    for cycle, (start, end) in enumerate(pairwise(starts)):
        one = rates[start:end]
        peak = one.index(max(one))
        assert max(one) == pytest.approx(0.1 * 0.5**cycle, rel=0.02)
        assert peak == pytest.approx(0.1 * len(one), abs=1)
        assert one[: peak + 1] == sorted(one[: peak + 1])
        assert one[peak:] == sorted(one[peak:], reverse=True)
        assert 0 < one[-1] < 0.02 * max(one)


def test_poly_is_that_of_nnunet_and_cosine_is_half_its_peak_half_way():
    config = TrainConfig(steps=250, learning_rate=0.01, schedule="poly", warmup=0)
    rates = [learning_rate(step, config) for step in range(250)]
    assert rates == pytest.approx([0.01 * (1 - step / 250) ** 0.9 for step in range(250)])
    cosine = replace(config, schedule="cosine")
    assert learning_rate(125, cosine) == pytest.approx(0.005)
    assert learning_rate(0, cosine) == 0.01


def test_rates_of_stages_follow_the_schedule(cases):
    config = replace(CONFIG, layer_decay=0.5, freeze=1)
    state = TrainState(Fabric(accelerator="cpu"), BALLS, config)
    for state.step in (0, 6, 11):
        rate = state.begin_step()
        assert rate == learning_rate(state.step, config)
        groups = [group["lr"] / rate for group in state.optimizer.param_groups]
        assert groups == pytest.approx([1, 0.5])  # decoder and heads, second stage; first is frozen


def test_what_the_network_draws_goes_on_too(cases, tmp_path, monkeypatch):
    train(cases, [], KINDS, CONFIG, tmp_path / "straight", "cpu", show=False)
    torch.rand(3)  # whatever was drawn before does not matter
    with monkeypatch.context() as patch:
        stop_at(7, patch)
        with pytest.raises(KeyboardInterrupt):
            train(cases, [], KINDS, CONFIG, tmp_path / "cut", "cpu", show=False)
    other = replace(CONFIG, workers=1, memory_gb=1e-5)  # which the result does not depend on
    train(cases, [], KINDS, other, tmp_path / "cut", "cpu", resume=True, show=False)
    assert same(weights(tmp_path / "straight"), weights(tmp_path / "cut"))
    calm = replace(KINDS, network={**NETWORK, "dropout": 0.0})
    train(cases, [], calm, CONFIG, tmp_path / "calm", "cpu", show=False)
    assert not same(weights(tmp_path / "straight"), weights(tmp_path / "calm"))


def test_a_run_cut_off_while_it_validates_looks_again(cases, tmp_path, monkeypatch):
    best = replace(CONFIG, keep="best")
    train(cases[:2], cases[2:], BALLS, best, tmp_path / "straight", "cpu", show=False)
    with monkeypatch.context() as patch:
        patch.setattr(TrainState, "note", lambda state, figure: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(cases[:2], cases[2:], BALLS, best, tmp_path / "cut", "cpu", show=False)
    train(cases[:2], cases[2:], BALLS, best, tmp_path / "cut", "cpu", resume=True, show=False)
    assert same(weights(tmp_path / "straight"), weights(tmp_path / "cut"))
    logs = []
    for run in ("straight", "cut"):
        with (tmp_path / run / "log.csv").open() as file:
            logs.append([(row["step"], row["what"]) for row in csv.DictReader(file)])
    assert logs[0] == logs[1]
    assert [step for step, what in logs[0] if what == "dice"] == ["5", "10", "12"]


def test_a_line_after_the_last_saved_step_is_not_there_twice(cases, tmp_path, monkeypatch):
    config = replace(CONFIG, steps=24, eval_every=15)
    with monkeypatch.context() as patch:
        stop_at(22, patch, ZeroDivisionError)  # a crash: step 20 is logged, 15 is saved
        with pytest.raises(ZeroDivisionError):
            train(cases[:2], [], KINDS, config, tmp_path, "cpu", show=False)
    train(cases[:2], [], KINDS, config, tmp_path, "cpu", resume=True, show=False)
    with (tmp_path / "log.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["10", "20"]


def test_patience_stops_and_the_best_weights_are_the_model(cases, tmp_path, monkeypatch):
    figures = iter([0.3, 0.5, 0.4, 0.45, 0.9])
    monkeypatch.setattr("medvision.train.figures", lambda scores: {"dice": next(figures)})
    config = replace(CONFIG, steps=50, eval_every=1, keep="best", patience=2)
    train(cases[:2], cases[2:3], BALLS, config, tmp_path, "cpu", show=False)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert (state["step"], state["best"]) == (4, (0.5, 2, 2, 4))
    assert same(weights(tmp_path), state["best_weights"])
    assert "step 2 did best" in (tmp_path / "model" / "card.md").read_text()


def test_no_figure_is_worse_than_any():
    state = TrainState(Fabric(accelerator="cpu"), BALLS, CONFIG)
    for state.step, figure in ((1, float("nan")), (2, 0.1), (3, float("nan"))):
        state.note(figure)
    assert (state.best, state.best_step) == (0.1, 2)


@pytest.mark.parametrize(
    ("loss", "what"),
    [
        (lambda logits: logits.sum() * torch.nan, "loss"),
        (lambda logits: (logits * 0).abs().sqrt().sum(), "gradient"),
    ],
)
def test_what_is_no_number_keeps_the_last_good_state(cases, tmp_path, monkeypatch, loss, what):
    forward, calls = SupervisedDice.forward, []

    def fail(self, logits, labels):
        calls.append(1)
        return loss(logits[0]) if len(calls) > 7 else forward(self, logits, labels)

    monkeypatch.setattr(SupervisedDice, "forward", fail)
    with pytest.raises(TrainingError, match=rf"{what} is nan at step 7, on cases case\d, .*keeps"):
        train(cases, [], BALLS, CONFIG, tmp_path, "cpu", show=False)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 5
    assert all(value.isfinite().all() for value in state["network"].values())
    assert not (tmp_path / "model").exists()


def test_frozen_stages_stay_as_they_were_built(cases, tmp_path):
    config = replace(CONFIG, freeze=1)
    train(cases, [], KINDS, config, tmp_path, "cpu", show=False)  # cnn3d has batch norm
    torch.manual_seed(config.seed)
    before, after = build_model(KINDS).state_dict(), weights(tmp_path)
    frozen = {name for name in before if name.startswith("encoder.stages.0.")}
    assert any(name.endswith("running_var") for name in frozen)
    assert {name for name in before if torch.equal(before[name], after[name])} == frozen


def test_weights_to_start_from_are_taken_and_told_of(cases, tmp_path):
    train(cases, [], BALLS, CONFIG, tmp_path / "masks", "cpu", show=False)
    gentle = replace(CONFIG, steps=1, learning_rate=1e-9)
    source = tmp_path / "masks" / "model"
    plain = replace(KINDS, architecture="unet3d", network=NETWORK)
    train(cases, [], plain, gentle, tmp_path / "kinds", "cpu", show=False, start=source)
    old, new = weights(tmp_path / "masks"), weights(tmp_path / "kinds")
    shared = [name for name in new if name.startswith("encoder.")]
    assert all(torch.allclose(new[name], old[name], atol=1e-6) for name in shared)
    (tmp_path / "kinds" / "model" / "card.md").unlink()
    train(cases, [], plain, gentle, tmp_path / "kinds", "cpu", resume=True, show=False)
    card = (tmp_path / "kinds" / "model" / "card.md").read_text()
    assert f"Begun with {source}: {len(shared)} of {len(shared)} weights loaded" in card


def test_a_run_is_not_resumed_with_other_cases(cases, tmp_path):
    quick = replace(CONFIG, steps=1)
    train(cases[:2], [], KINDS, quick, tmp_path, "cpu", show=False)
    with pytest.raises(TrainingError, match="other settings or cases"):
        train(cases[1:3], [], KINDS, quick, tmp_path, "cpu", resume=True, show=False)


def test_a_checkpoint_that_is_something_else_is_refused(cases, tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError, match="no state of a training"):
        train(cases[:2], [], KINDS, CONFIG, tmp_path, "cpu", resume=True, show=False)
    (tmp_path / "checkpoint.pt").write_bytes(b"cut")
    with pytest.raises(TrainingError, match="cannot be read"):
        train(cases[:2], [], KINDS, CONFIG, tmp_path, "cpu", resume=True, show=False)


def test_the_scale_of_half_precision_is_kept(tmp_path):
    class Scaled:
        scale = 3.0

        def state_dict(self):
            return {"scale": self.scale}

        def load_state_dict(self, found):
            self.scale = found["scale"]

    states = [TrainState(Fabric(accelerator="cpu"), KINDS, CONFIG) for _ in range(2)]
    for state in states:
        state.fabric.strategy.precision = Scaled()
    states[0].fabric.strategy.precision.scale = 7.0
    states[0].save(tmp_path / "checkpoint.pt")
    states[1].load(tmp_path / "checkpoint.pt")
    assert states[1].fabric.strategy.precision.scale == 7.0


def test_half_precision_needs_a_gpu_and_bfloat16_says_nothing(cases, tmp_path, capfd):
    half = replace(CONFIG, precision="16-mixed")
    with pytest.raises(SpecError, match="needs a GPU"):
        train(cases, [], KINDS, half, tmp_path, "cpu", show=False)
    train(
        cases,
        [],
        BALLS,
        replace(half, precision="bf16-mixed", steps=2),
        tmp_path,
        "cpu",
        show=False,
    )
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.parametrize(("most", "after"), [(0.99, 372 / 143), (0.2, 757 / 275), (0.0, 3.0)])
def test_the_average_forgets_the_weights_it_began_with(most, after):
    # the decays 2/11, 3/12 and 4/13, none above the most, over weights of 1, 2 and 3 after 0
    average, update = [torch.zeros(1)], averaging(most)
    for n in (1, 2, 3):
        update(average, [torch.full((1,), float(n))], torch.tensor(n))
    assert average[0].item() == pytest.approx(after)
