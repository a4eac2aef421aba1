"""Classes that come together: two marks in a picture, each there or not, from table to scores."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn.functional import binary_cross_entropy_with_logits as torch_bce

from medvision.checkpoint import save_ensemble
from medvision.dataset import (
    Case,
    classes_of,
    is_multilabel,
    read_cases,
    read_images,
    write_cases,
)
from medvision.errors import CasesError, SpecError
from medvision.evaluate import evaluate
from medvision.folds import split_folds
from medvision.items import Item, class_weights, load_items
from medvision.losses import BinaryCrossEntropy
from medvision.models.network import Ensemble
from medvision.models.text import learn_vocabulary
from medvision.outputs.table import row_of
from medvision.plan import plan
from medvision.plan_file import with_settings
from medvision.prediction import Prediction
from medvision.predictor import load_predictor
from medvision.score_tables import score_table
from medvision.scores import LabelScore, figures, read_scores, write_scores
from medvision.spec import ModelSpec, label_of, names_of
from medvision.tables import findings_of
from medvision.text_spec import TextSpec
from medvision.train import train
from medvision.train_config import TrainConfig

LABELS = ("none", "A", "B", "A|B")
CORNERS = {"A": (slice(2, 7), slice(2, 7)), "B": (slice(13, 18), slice(13, 18))}  # rows, columns
NETWORK = ("network.features=8,16", "batch_size=8", "learning_rate=0.01", "ema=0.8")
WHOLE = (slice(0, 1),) * 3


def write_marks(folder, count=48, report=False):
    """Pictures with a bright square top left (A), bottom right (B), both or neither."""
    rng, rows = np.random.default_rng(0), []
    for number in range(count):
        label = LABELS[number % 4]
        pixels = rng.normal(80, 25, (20, 20))
        for name in names_of(label):
            pixels[CORNERS[name]] += 100
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"m{number}.png")
        row = {"case_id": f"m{number}", "image": f"m{number}.png", "label": label}
        if report:
            row["report"] = "INDICATION: cough." if number % 2 else "INDICATION: fever."
        rows.append(row | {"split": "val" if number % 12 >= 8 else ""})
    return write_cases(folder / "cases.csv", rows)


def trained(folder, *settings, text=None):
    table = write_marks(folder, report=text is not None)
    cases = read_cases(table, (), "classification")
    known = [case for case in cases if case.split == ""]
    names = classes_of(known, (), multilabel=is_multilabel(cases))
    what = plan(
        known,
        names,
        "marks",
        "classification",
        "cnn2d",
        show=False,
        text=text,
        multilabel=True,
    )
    what = with_settings(what, [*NETWORK, *settings])
    val = [case for case in cases if case.split == "val"]
    run = train(known, val, what.spec, what.train, folder / "run", "cpu", show=False)
    return what, val, run


@pytest.fixture(scope="module")
def marks(tmp_path_factory):
    """A plan, the validation cases, and what training left."""
    return trained(
        tmp_path_factory.mktemp("marks"), "steps=120", "eval_every=60", "augment.mirror="
    )


def of(label, number=0, group=""):
    return Case(f"c{number}", {}, None, group or f"g{number}", label=label, line=number + 2)


def cases_of(*labels):
    return [of(label, number) for number, label in enumerate(labels)]


def spec_of(**settings):
    given = {"name": "x", "task": "classification", "architecture": "cnn2d", "spacing": None}
    given |= {"class_names": ("A", "B"), "roi_size": (8, 8, 1), "multilabel": True}
    return ModelSpec(**{**given, **settings})


def test_two_marks_are_learned_at_once(marks):
    what, val, run = marks
    assert what.spec.multilabel
    assert what.spec.class_names == ("A", "B")
    assert what.reasons["multilabel"] == "an image may have several of the classes, or none"
    assert what.reasons["class_weights"].startswith("A 16 of 32, B 16 of 32: even enough")
    found = figures(run.scores)
    assert list(found) == ["auc", "log_likelihood", "auc/A", "auc/B"]
    assert found["auc/A"] > 0.95
    assert found["auc/B"] > 0.95
    assert [label_of(s.truths) for s in run.scores] == [case.label for case in val]
    assert "| class | cases | AUC |" in (run.model / "card.md").read_text()
    with (run.model.parent / "log.csv").open(newline="") as file:
        assert {row["what"] for row in csv.DictReader(file)} >= {"auc", "auc_A", "auc_B"}


def test_a_prediction_names_all_that_it_finds(marks):
    _, val, run = marks
    predictor = load_predictor(run.model, "cpu")
    said = [predictor.predict(read_images(case, predictor.spec)) for case in val]
    both = next(one for one, case in zip(said, val, strict=True) if case.label == "A|B")
    assert both.predicted == "A|B"
    assert both.to_dict()["predicted"] == "A|B"
    assert sum(both.scores.values()) > 1.5
    none = next(one for one, case in zip(said, val, strict=True) if case.label == "none")
    assert none.predicted == "none"
    assert sum(none.scores.values()) < 0.5
    row = row_of(both, "x.png", 0.1, {})
    assert row["predicted"] == "A|B"
    assert findings_of(row)[1].count("%") == 2
    assert findings_of(row_of(none, "x.png", 0.1, {})) == ["none", ""]


def test_an_ensemble_averages_each_probability(marks, tmp_path):
    what, val, run = marks
    weights = load_file(run.model / "model.safetensors")
    other = {name: one * 0.5 if "head" in name else one.clone() for name, one in weights.items()}
    model = save_ensemble(tmp_path / "both", what.spec, [weights, other], "# both\n")
    predictor = load_predictor(model, "cpu")
    assert isinstance(predictor.model, Ensemble)
    study = read_images(val[0], what.spec)
    image = torch.rand(3, 1, *what.spec.roi_size)
    with torch.inference_mode():
        mean = torch.stack([m(image).sigmoid() for m in predictor.model.members]).mean(dim=0)
        assert torch.allclose(predictor.execution.ready(image).sigmoid(), mean, atol=1e-6)
    alone = load_predictor(run.model, "cpu").predict(study).scores
    assert predictor.predict(study).scores["A"] != pytest.approx(alone["A"], abs=1e-6)


def test_images_and_reports_are_trained_on_together(tmp_path):
    words = learn_vocabulary(["cough.", "fever."] * 2)
    text = TextSpec(fusion="gated", vocabulary=words, width=16, layers=1)
    what, val, run = trained(tmp_path, "steps=2", text=text)
    predictor = load_predictor(run.model, "cpu")
    said = predictor.predict(read_images(val[0], what.spec))
    assert said.multilabel
    assert set(said.alone) == {"image", "report"}
    assert len(run.scores) == len(val)


def test_the_loss_is_that_of_torch():
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, generator=rng)
    truth = torch.randint(0, 2, (5, 3), generator=rng).float()
    weights = torch.tensor([1.0, 4.0, 20.0])
    loss = BinaryCrossEntropy(weights)
    wanted = torch_bce(logits, truth, pos_weight=weights)
    assert torch.allclose(loss(logits, truth), wanted)
    three = [logits, -logits, 2 * logits]
    alone = sum(torch_bce(one, truth, pos_weight=weights) for one in three[1:])
    assert torch.allclose(loss(three, truth), wanted + 0.3 * alone)
    smooth = BinaryCrossEntropy(torch.ones(3), label_smoothing=0.2)
    assert torch.allclose(smooth(logits, truth), torch_bce(logits, 0.1 + 0.8 * truth))


def test_cases_with_a_rare_class_count_more():
    targets = [[1.0, 0.0, 1.0]] * 2 + [[0.0, 0.0, 1.0]] * 98 + [[1.0, 1.0, 1.0]] * 8
    items = [Item("x", torch.zeros(1, 1, 1, 1), torch.tensor(one)) for one in targets]
    weights = class_weights(items, spec_of(class_names=("A", "B", "C")))
    assert weights.tolist() == pytest.approx([9.8, 12.5, 1.0])
    rare = [torch.tensor([float(n == 0)]) for n in range(100)]
    items = [Item("x", torch.zeros(1, 1, 1, 1), one) for one in rare]
    assert class_weights(items, spec_of(class_names=("A",))).tolist() == [20.0]


def test_a_target_holds_every_class(tmp_path):
    cases = read_cases(write_marks(tmp_path, 4), (), "classification")
    config = TrainConfig(steps=1, memory_gb=1e-9)  # so that targets go by way of the disk
    items = load_items(cases, spec_of(), config, tmp_path / "cache", show=False)
    assert [one.target.tolist() for one in items] == [[0, 0], [1, 0], [0, 1], [1, 1]]
    assert items[0].target.dtype == torch.float32


def test_scores_are_written_and_read(tmp_path):
    scores = [
        LabelScore("a", ("A", "B"), {"A": 0.9, "B": 0.6}),
        LabelScore("b", (), {"A": 0.2, "B": 0.7}),
        LabelScore("c", ("A",), {"A": 0.4, "B": 0.1}),
    ]
    path = write_scores(scores, tmp_path / "metrics.csv")
    lines = path.read_text().splitlines()
    assert lines[0] == "case_id,truths,predicted,A_probability,B_probability,confidence"
    assert lines[1:] == ["a,A|B,A|B,0.9,0.6,", "b,none,B,0.2,0.7,", "c,A,none,0.4,0.1,"]
    assert read_scores(path) == scores
    found = figures(scores)
    assert (found["auc/A"], found["auc/B"], found["auc"]) == (1.0, 0.5, 0.75)
    likely = np.log([0.9, 0.6, 0.8, 0.3, 0.4, 0.9]).mean()
    assert found["log_likelihood"] == pytest.approx(likely)
    table = score_table(scores)
    assert "| 3 | 0.750 | 0.750 |" in table
    assert "| A | 2 | 1.000 | 1.000 | 0.500 | 1.000 | 1.000 |" in table
    assert "| B | 1 | 0.500 | 0.500 | 1.000 | 0.500 | 0.500 |" in table


def test_a_class_of_all_cases_has_no_auc():
    scores = [LabelScore(n, ("A",), {"A": 0.9, "B": 0.2}) for n in "ab"]
    assert list(figures(scores)) == ["log_likelihood"]
    assert "| A | 2 | – | – | 1.000 | – | 1.000 |" in score_table(scores)


@pytest.mark.parametrize(
    ("scores", "predicted"),
    [((0.5, 0.2), "A"), ((0.49, 0.2), "none"), ((0.6, 0.9), "A|B")],
)
def test_predicted_is_what_is_as_likely_as_not(scores, predicted):
    shares = dict(zip("AB", scores, strict=True))
    one = Prediction("c", "m", ("A", "B"), WHOLE, scores=shares, multilabel=True)
    assert one.predicted == predicted
    assert one.likeliest in ("A", "B")


def test_classes_are_the_single_names():
    cases = cases_of("B|A", "none", "B", "C | A")
    assert classes_of(cases, multilabel=True) == ("A", "B", "C")
    assert classes_of(cases_of("A", "none"), multilabel=True) == ("A",)
    assert classes_of(cases_of("A", "none")) == ("A", "none")


@pytest.mark.parametrize(
    ("labels", "names", "multilabel", "words"),
    [
        (("A|B", "A", "B"), (), False, "'A|B' names several classes"),
        (("A|X", "B", "A"), ("A", "B"), True, r"line 2 \(c0\): label 'A\|X' holds \['X'\]"),
        (("A|A", "B"), (), True, "names a class twice"),
        (("A|B", "A"), (), True, "All 2 cases have the label 'A'"),
        (("none", "none"), (), True, "All 2 cases have the label 'none'"),
        (("A", "none"), ("A", "B"), True, "No case to train on has the label 'B'"),
        (("A|none", "B"), ("A", "B"), True, r"holds \['none'\]"),
        (("A|", "B"), ("A", "B"), True, r"holds \[''\]"),
    ],
)
def test_wrong_labels_are_refused(labels, names, multilabel, words):
    with pytest.raises(CasesError, match=words.replace("'A|B'", r"'A\|B'")):
        classes_of(cases_of(*labels), names, multilabel)


def test_an_empty_label_is_no_label(tmp_path):
    table = write_marks(tmp_path, 4)
    table.write_text(table.read_text().replace(",none,", ",,"))
    with pytest.raises(CasesError, match="no label"):
        read_cases(table, (), "classification")


def test_a_model_of_one_class_a_case_refuses_several(marks):
    _, val, run = marks
    predictor = load_predictor(run.model, "cpu")
    predictor.spec = replace(predictor.spec, multilabel=False)
    with pytest.raises(CasesError, match="names several classes"):
        evaluate(predictor, val, show=False)


def test_folds_share_the_rarest_class_of_each_case():
    cases = cases_of(*["A"] * 20, *["A|B"] * 4, *["none"] * 8)
    for val in split_folds(cases, 4, multilabel=True):
        labels = [cases[i].label for i in val]
        assert labels.count("A|B") == 1
        assert labels.count("none") == 2


def test_a_class_in_one_patient_alone_cannot_be_split():
    several = [of("B|A", number, "same") for number in range(4)]
    others = [of("A" if number % 2 else "none", number) for number in range(10, 20)]
    with pytest.raises(CasesError, match="Every case of B lies in one fold of 3"):
        split_folds([*several, *others], 3, multilabel=True)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"task": "segmentation"}, "true of a classification alone"),
        ({"multilabel": 1}, "multilabel is true or false"),
        ({"class_names": ("A", "none")}, "not named 'none'"),
        ({"class_names": ("A|B",)}, "found A|B"),
    ],
)
def test_a_spec_of_several_is_checked(settings, words):
    with pytest.raises(SpecError, match=words):
        spec_of(**settings)
    one = spec_of(class_names=("A",))
    assert ModelSpec.from_json(one.to_json()) == one
