"""A model is given the confidence below which its results are to be reviewed, by its training."""

import json
from dataclasses import replace

import pytest
from training_phantom import write_phantom_cases

from medvision.checkpoint import load_spec
from medvision.cross_validation import plan_cases, train_folds
from medvision.dataset import read_cases
from medvision.plan import plan
from medvision.plan_file import Plan
from medvision.predictor import Predictor
from medvision.scores import read_scores
from medvision.train import train
from medvision.train_config import TrainConfig

CONFIG = TrainConfig(steps=2, batch_size=2, eval_every=100)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_phantom_cases(tmp_path_factory.mktemp("cases"), 24)


@pytest.fixture(scope="module")
def spec(table):
    return plan(read_cases(table), ["ball"], "balls", width=4, show=False).spec


@pytest.fixture
def asked(monkeypatch):
    """Make the model as sure of case n as (50 + n) %, but of case 3, where it finds nothing.

    Holds whom it was asked about.
    """
    asked = []

    class Sure(Predictor):
        def predict(self, study, box=None, step=None):
            asked.append(study.case_id)
            number = int(study.case_id.removeprefix("case"))
            sure = {} if number == 3 else {"ball": (50 + number) / 100}
            return replace(super().predict(study, box, step), confidence=sure)

    monkeypatch.setattr("medvision.train.Predictor", Sure)
    return asked


def test_training_writes_the_limit_into_spec_and_card(table, spec, tmp_path, asked):
    cases = read_cases(table)
    run = train(cases[12:], cases[:12], spec, CONFIG, tmp_path, "cpu", show=False)
    assert load_spec(run.model).review == 0.5  # of 11 cases the least sure
    assert sorted(asked) == sorted(case.case_id for case in cases[:12])  # each once
    card = (run.model / "card.md").read_text(encoding="utf-8")
    assert "confidence below 0.5000 are flagged for review" in card
    assert "11 of 12 validation cases with something found" in card
    kept = read_scores(tmp_path / "metrics.csv")
    assert [score.confidence for score in kept[2:5]] == [0.52, None, 0.54]
    again = train(cases[12:], cases[:12], spec, CONFIG, tmp_path, "cpu", resume=True, show=False)
    assert load_spec(again.model).review == 0.5


def test_of_few_validation_cases_no_limit_is_told(table, spec, tmp_path, asked):
    cases = read_cases(table)
    run = train(cases[10:], cases[:10], spec, CONFIG, tmp_path, "cpu", show=False)
    assert load_spec(run.model).review is None  # nine with something found
    assert "review" not in json.loads((run.model / "spec.json").read_text(encoding="utf-8"))
    card = (run.model / "card.md").read_text(encoding="utf-8")
    assert "No result is flagged for review" in card
    assert "there are 9 of 10 validation cases with something found" in card
    other = train(cases[20:], [], spec, CONFIG, tmp_path / "none", "cpu", show=False)
    assert "review" not in (other.model / "card.md").read_text(encoding="utf-8").lower()


def test_an_ensemble_is_judged_by_all_cases_that_were_held_out(table, tmp_path, asked):
    what = plan_cases(table, class_names=["ball"], width=4, show=False)
    what = Plan(what.spec, CONFIG, what.reasons)
    out = tmp_path / "run"
    runs = train_folds(table, out, what, folds=2, device="cpu", show=False)
    assert len(asked) == len(set(asked)) == 24  # each by the one network that did not know it
    for run in runs:
        least = min(s.confidence for s in run.scores if s.confidence is not None)
        assert load_spec(run.model).review == least
    assert load_spec(out / "ensemble").review == 0.51  # of 23 cases the second
    card = (out / "ensemble" / "card.md").read_text(encoding="utf-8")
    assert "23 of 24 held-out cases of all folds with something found" in card
    assert "more or fewer than 5 %" in card
