"""Training: learns, repeats itself, and goes on where it stopped."""

import re
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_phantom import in_cube, write_pair_cases, write_phantom_cases

from medvision.checkpoint import load_model
from medvision.cross_validation import plan_cases, train_folds
from medvision.dataset import read_case, read_cases
from medvision.errors import CasesError, SpecError, TrainingError
from medvision.io import read_volume
from medvision.metrics import dice
from medvision.outputs.nifti import save_nifti
from medvision.plan import plan
from medvision.predictor import Predictor, load_predictor
from medvision.scores import mean_dice, read_scores
from medvision.study import Study
from medvision.train import stop_on_interrupt, train
from medvision.train_config import TrainConfig
from medvision.train_state import learning_rate

CONFIG = TrainConfig(steps=30, batch_size=2, learning_rate=0.01, ema=0.8, eval_every=15)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return write_phantom_cases(tmp_path_factory.mktemp("cases"))


@pytest.fixture(scope="module")
def spec(cases):
    return plan(read_cases(cases), ["ball"], "balls", width=4, show=False).spec


def weights(run):
    return load_file(run.model / "model.safetensors")


def test_it_learns_a_ball_and_says_so(cases, spec, tmp_path):
    all_cases = read_cases(cases)
    run = train(all_cases[:4], all_cases[4:], spec, CONFIG, tmp_path, "cpu", show=False)
    assert mean_dice(run.scores, "ball") > 0.8
    assert read_scores(tmp_path / "metrics.csv")[0].case_id == "case4"
    assert "4 cases of 2 groups" in (run.model / "card.md").read_text()
    assert list((tmp_path / "tensorboard").iterdir())
    log = (tmp_path / "log.csv").read_text()
    assert "dice_ball" in log
    with pytest.raises(TrainingError, match="--resume"):
        train(all_cases[:4], [], spec, CONFIG, tmp_path, "cpu", show=False)


def test_the_bar_tells_the_loss_and_the_last_look(cases, spec, tmp_path, capsys):
    some, config = read_cases(cases), replace(CONFIG, steps=10, eval_every=5)
    train(some[:4], some[4:], spec, config, tmp_path, "cpu")
    log = (tmp_path / "log.csv").read_text()
    [looked] = re.findall(r"^5,dice,(.*?),", log, re.M)
    [loss] = re.findall(r"^10,loss,(.*?),", log, re.M)  # the mean of these ten steps
    said = " ".join(capsys.readouterr().err.split())
    assert f"Train loss {float(loss):.2f} · Dice {float(looked):.2f} at 5 " in said


def test_a_stopped_run_goes_on_bit_for_bit(cases, spec, tmp_path, monkeypatch):
    some = read_cases(cases)[:4]
    straight = train(some, [], spec, CONFIG, tmp_path / "a", "cpu", show=False)
    again = train(some, [], spec, CONFIG, tmp_path / "b", "cpu", show=False)
    stop_at = 7

    def rate(step, config):
        if step == stop_at:
            signal.raise_signal(signal.SIGINT)  # Ctrl-C in the middle of a step
        return learning_rate(step, config)

    monkeypatch.setattr("medvision.train_state.learning_rate", rate)
    with pytest.raises(KeyboardInterrupt):
        train(some, [], spec, CONFIG, tmp_path / "c", "cpu", show=False)
    stop_at = -1
    state = torch.load(tmp_path / "c" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 8
    resumed = train(some, [], spec, CONFIG, tmp_path / "c", "cpu", resume=True, show=False)
    for name, value in weights(straight).items():
        assert torch.equal(value, weights(again)[name]), name
        assert torch.equal(value, weights(resumed)[name]), name


def test_a_run_with_other_settings_is_not_resumed(cases, spec, tmp_path):
    some = read_cases(cases)[:2]
    quick = TrainConfig(steps=1, batch_size=1)
    train(some, [], spec, quick, tmp_path, "cpu", show=False)
    with pytest.raises(TrainingError, match="other settings"):
        train(some, [], spec, TrainConfig(steps=2, batch_size=1), tmp_path, "cpu", True, False)


def test_a_loss_that_is_no_number_names_its_cases(cases, spec, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "medvision.train.SupervisedDice.forward",
        lambda self, logits, labels: logits[0].sum() * torch.nan,
    )
    with pytest.raises(TrainingError, match=r"nan at step 0, on cases case\d, case\d"):
        train(read_cases(cases)[:4], [], spec, CONFIG, tmp_path, "cpu", show=False)
    assert not (tmp_path / "model").exists()


def test_folds_hold_every_case_out_once(cases, tmp_path):
    balls = plan_cases(cases, class_names=("ball",), width=4, show=False)
    quick = replace(balls, train=TrainConfig(steps=2, batch_size=1))
    runs = train_folds(cases, tmp_path, quick, folds=3, device="cpu", show=False)
    held = [score.case_id for run in runs for score in run.scores]
    assert sorted(held) == [f"case{i}" for i in range(6)]
    assert "All folds" in (tmp_path / "summary.md").read_text()
    with pytest.raises(CasesError, match="no fold 3"):
        train_folds(cases, tmp_path, quick, folds=3, only_fold=3)
    with pytest.raises(CasesError, match="0 folds are asked for"):
        train_folds(cases, tmp_path, quick, only_fold=0)
    with pytest.raises(CasesError, match="Name the structures"):
        plan_cases(cases)


def test_rows_of_val_validate_and_those_of_test_are_never_read(cases, tmp_path):
    lines = cases.read_text().splitlines()
    broken = cases.with_name("broken.nii.gz")
    broken.write_text("no image")
    lines[5:] = [re.sub(r"i\d\.nii\.gz", broken.name, line) for line in lines[5:]]
    table = cases.with_name("split.csv")

    def write(split):
        table.write_text("\n".join(f"{a},{b}" for a, b in zip(lines, split, strict=True)))

    write(["split", "train", "val", "train", "train", "test", "test"])
    says = r"group g0 is in two splits: train \(line 2\), val \(line 3\)"
    with pytest.raises(CasesError, match=says):
        plan_cases(table, class_names=("ball",), show=False)
    write(["split", "", "", "val", "val", "test", "test"])
    balls = plan_cases(table, class_names=("ball",), width=4, show=False)
    assert balls.spec.fingerprint.cases == 2
    quick = replace(balls, train=replace(CONFIG, steps=2))
    [run] = train_folds(table, tmp_path, quick, device="cpu", show=False)
    assert {score.case_id for score in run.scores} == {"case2", "case3"}
    assert "trained by medvision on 2 cases of 1 groups" in (run.model / "card.md").read_text()


@pytest.mark.parametrize("what", ["mask", "constant", "channels"])
def test_a_case_that_cannot_validate_is_found_before_training(cases, spec, tmp_path, what):
    good = read_cases(cases)
    wrong = replace(good[4], mask=good[0].images["image"])
    if what != "mask":
        image = read_volume(good[4].images["image"])
        arrays = {"constant": image.array * 0, "channels": np.repeat(image.array, 2, axis=0)}
        save_nifti(replace(image, array=arrays[what]), tmp_path / "i.nii")
        wrong = replace(good[4], images={"image": tmp_path / "i.nii"})
    says = {"mask": "labels", "constant": "constant", "channels": "has 2 channel"}[what]
    with pytest.raises(CasesError, match=rf"line 6 \(case4\): .*{says}"):
        train(good[:4], [wrong], spec, CONFIG, tmp_path / "run", "cpu", show=False)
    assert not (tmp_path / "run" / "log.csv").exists()


def test_a_2d_network_learns_the_ball_plane_by_plane(cases, tmp_path):
    flat = plan_cases(cases, class_names=("ball",), architecture="unet2d", width=4, show=False)
    assert flat.spec.roi_size == (24, 24, 1)
    config = replace(CONFIG, steps=100, batch_size=6, eval_every=100)
    some = read_cases(cases)
    run = train(some[:4], some[4:], flat.spec, config, tmp_path, "cpu", show=False)
    assert mean_dice(run.scores, "ball") > 0.8
    # planes are those of the model's axes, whatever the order of the scan's own
    predictor, volume = load_predictor(run.model, "cpu"), read_volume(some[4].images["image"])
    straight = predictor.predict(Study("x", {"image": volume})).mask
    turned = predictor.predict(Study("x", {"image": volume.reoriented("SPL")})).mask
    assert np.array_equal(turned.reoriented("RAS").array, straight.array)


@pytest.fixture
def told(monkeypatch):
    """Validation figures that are told beforehand, one a look."""

    def tell(*values):
        rest = iter(values)
        monkeypatch.setattr("medvision.train.figures", lambda scores: {"dice": next(rest)})

    return tell


BEST = replace(CONFIG, steps=12, eval_every=2, keep="best")


def test_the_best_weights_are_kept_and_patience_ends_it(cases, spec, tmp_path, told):
    some = read_cases(cases)
    told(0.2, 0.9, 0.5, 0.9)  # as good is not better
    patient = replace(BEST, patience=2)
    run = train(some[:4], some[4:5], spec, patient, tmp_path / "a", "cpu", show=False)
    state = torch.load(tmp_path / "a" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 8
    assert state["best"][:3] == (0.9, 4, 2)
    last = {k.removeprefix("module."): v for k, v in state["average"].items() if "module" in k}
    assert any(not torch.equal(value, last[name]) for name, value in weights(run).items())
    # the schedule is that of all steps: step 4 of this run is step 4 of one that goes on
    told(0.2, 0.9, 0.1, 0.1, 0.1, 0.1)
    whole = train(some[:4], some[4:5], spec, BEST, tmp_path / "b", "cpu", show=False)
    assert torch.load(tmp_path / "b" / "checkpoint.pt", weights_only=True)["step"] == 12
    for name, value in weights(run).items():
        assert torch.equal(value, weights(whole)[name]), name
    assert "The weights of step 4 did best" in (run.model / "card.md").read_text()
    # it has ended: going on changes nothing, and looks at nothing
    told()
    again = train(some[:4], some[4:5], spec, patient, tmp_path / "a", "cpu", True, False)
    for name, value in weights(run).items():
        assert torch.equal(value, weights(again)[name]), name


def test_the_last_look_may_be_the_best(cases, spec, tmp_path, told):
    some = read_cases(cases)
    told(0.1, 0.2, 0.3)
    config = replace(BEST, steps=5)
    run = train(some[:4], some[4:5], spec, config, tmp_path, "cpu", show=False)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["best"][:2] == (0.3, 5)
    for name, value in weights(run).items():
        assert torch.equal(value, state["average"][f"module.{name}"]), name


def test_the_best_is_remembered_when_a_run_is_stopped(cases, spec, tmp_path, told, monkeypatch):
    some, patient = read_cases(cases), replace(BEST, patience=2)

    def run(folder, resume=False):
        return train(
            some[:4], some[4:5], spec, patient, tmp_path / folder, "cpu", resume, show=False
        )

    def state(folder):
        return torch.load(tmp_path / folder / "checkpoint.pt", weights_only=True)

    told(0.2, 0.9, 0.5, 0.6)
    straight = run("straight")
    for stop_at in (4, 7):  # with a look that is due, and between two

        def rate(step, config, stop_at=stop_at):
            if step == stop_at - 1:
                signal.raise_signal(signal.SIGINT)
            return learning_rate(step, config)

        told(0.2, 0.9, 0.5, 0.6)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("medvision.train_state.learning_rate", rate)
            run(f"stopped {stop_at}")
        assert state(f"stopped {stop_at}")["step"] == stop_at
        resumed = run(f"stopped {stop_at}", resume=True)
        for name, value in weights(straight).items():
            assert torch.equal(value, weights(resumed)[name]), name
        assert state(f"stopped {stop_at}")["best"] == state("straight")["best"] == (0.9, 4, 2, 8)


def test_the_best_needs_cases_to_be_found_on(cases, spec, tmp_path):
    with pytest.raises(TrainingError, match="there are none"):
        train(read_cases(cases), [], spec, BEST, tmp_path, "cpu", show=False)


def test_a_device_or_precision_that_is_not_there_is_refused(cases, spec, tmp_path):
    with pytest.raises(SpecError, match="Unknown device"):
        train(read_cases(cases)[:4], [], spec, CONFIG, tmp_path, "abacus", show=False)
    with pytest.raises(SpecError, match="Unknown precision"):
        replace(CONFIG, precision="8-bit")


def test_the_schedule_rises_and_falls():
    rates = [learning_rate(s, CONFIG) for s in range(CONFIG.steps)]
    assert max(rates) == pytest.approx(CONFIG.learning_rate, rel=0.02)
    assert rates.index(max(rates)) == 3  # a tenth of the steps
    assert rates[-1] < 0.01 * CONFIG.learning_rate


def test_each_cycle_repeats_the_first_at_half_its_height():
    once = [learning_rate(s, CONFIG) for s in range(CONFIG.steps)]
    twice = replace(CONFIG, steps=2 * CONFIG.steps, cycles=2)
    assert [learning_rate(s, twice) for s in range(60)] == once + [r / 2 for r in once]


def test_outside_the_main_thread_interrupts_are_left_alone():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def run():
        with stop_on_interrupt() as stop:
            seen.append(stop.is_set())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [False]
    assert signal.getsignal(signal.SIGINT) is before


def test_two_inputs_are_learned_where_neither_alone_tells(tmp_path):
    table, corners = write_pair_cases(tmp_path, 8)
    cases = read_cases(table)
    spec = plan(cases[:6], ["both"], "pair", width=4, show=False).spec
    assert spec.input_names == ("a", "b")
    config = TrainConfig(steps=80, batch_size=2, learning_rate=0.01, ema=0.8, eval_every=40)
    run = train(cases[:6], cases[6:], spec, config, tmp_path / "run", "cpu", show=False)
    network, saved = load_model(run.model)
    assert saved == spec
    assert mean_dice(run.scores, "both") > 0.8
    # the first scan of one case with the second of another: what those two share is found
    here, there = (read_case(case, saved)[0].volumes for case in cases[6:])
    mixed = Study("mixed", {"a": here["a"], "b": there["b"]})
    found = Predictor(network, saved, "cpu").predict(mixed).mask.array[0] > 0
    first, second = (in_cube(c, (24, 24, 24), np.eye(4)) for c in (corners[6][0], corners[7][1]))
    assert dice(found, first & second) > 0.8
    assert max(dice(alone, first & second) for alone in (first, second)) < 0.6
