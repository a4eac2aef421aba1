"""Classification from a table to scores: pictures and scans, and what is made of folds."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from dicom_phantom import write_series
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_phantom import write_phantom_cases, write_striped_cases

from medvision.cross_validation import plan_cases, train_folds
from medvision.dataset import read_cases, read_images, write_cases
from medvision.errors import CasesError, TrainingError
from medvision.evaluate import evaluate
from medvision.io import read_volume
from medvision.plan_file import with_settings
from medvision.predictor import load_predictor
from medvision.scores import figures, read_scores
from medvision.study import Study
from medvision.transforms import center_window, preprocess
from medvision.volume import Volume

QUICK = ("network.features=8,16", "batch_size=8", "learning_rate=0.01", "ema=0.8", "eval_every=20")
SPLITS = ("", "", "val")


def quick(table, *settings, **options):
    return with_settings(plan_cases(table, show=False, **options), [*QUICK, *settings])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A table of pictures, and what training on it left."""
    table = write_striped_cases(tmp_path_factory.mktemp("pictures"), 36, 2, SPLITS)
    out = table.parent / "run"
    plan = quick(table, "steps=30", architecture="cnn2d")
    return table, out, train_folds(table, out, plan, device="cpu", show=False)[0]


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    table = write_striped_cases(tmp_path_factory.mktemp("scans"), 24, 3, SPLITS)
    plan = quick(table, "steps=20", "batch_size=6", architecture="cnn3d")
    run = train_folds(table, table.parent / "run", plan, device="cpu", show=False)[0]
    return table, run


def test_pictures_are_learned(pictures):
    table, out, run = pictures
    assert figures(run.scores)["accuracy"] >= 0.9
    val = read_cases(table, ("val",), "classification")
    assert [s.case_id for s in run.scores] == [case.case_id for case in val]
    assert read_scores(out / "metrics.csv")[0].case_id == val[0].case_id
    card = (run.model / "card.md").read_text()
    assert "(classification) for across_columns, across_rows" in card
    assert "trained by medvision on 24 cases of 12 groups" in card
    assert "| cases | AUC | AUPRC | accuracy | balanced accuracy |" in card
    with (out / "log.csv").open(newline="") as file:
        said = {row["what"] for row in csv.DictReader(file)}
    assert said >= {"loss", "auc", "accuracy", "log_likelihood"}


def test_the_folder_says_what_training_said(pictures):
    table, _, run = pictures
    predictor = load_predictor(run.model, "cpu")
    cases = read_cases(table, ("val",), "classification")
    again = evaluate(predictor, cases, show=False)
    for one, two in zip(again, run.scores, strict=True):
        assert one.truth == two.truth
        assert one.scores == pytest.approx(two.scores, abs=1e-6)
        assert sum(one.scores.values()) == pytest.approx(1)
    prediction = predictor.predict(read_images(cases[0], predictor.spec))
    assert prediction.task == "classification"
    assert prediction.mask is None
    assert prediction.predicted == cases[0].label
    [known, *_] = read_cases(table, ("",), "classification")
    assert predictor.predict(read_images(known, predictor.spec)).warnings == ()


def test_a_picture_as_dicom_gives_the_scores_it_gives_as_png(pictures, tmp_path):
    table, _, run = pictures
    predictor = load_predictor(run.model, "cpu")
    for case in read_cases(table, ("val",), "classification")[:4]:
        png = read_volume(case.images["image"])
        stored = Volume(png.array.astype(np.int16), np.diag([-0.3, -0.3, 1, 1]))
        write_series(tmp_path / case.case_id, stored)
        dicom = read_volume(tmp_path / case.case_id)
        assert (png.orientation, dicom.orientation) == ("LIA", "LPS")
        one, two = (predictor.predict(Study("x", {"image": v})) for v in (png, dicom))
        assert two.scores == pytest.approx(one.scores, abs=1e-6)
        assert two.predicted == case.label
        told = " ".join(two.warnings)
        assert "a voxel size of 0.3 × 0.3 × 1 mm: trained on pictures without one" in told
        assert "extent" not in told  # it is as wide and high as those of training
        assert "planes" not in told


def test_colors_are_told_apart(tmp_path):
    """Red and green squares of one brightness: gray, they would be the same."""
    rng, rows = np.random.default_rng(0), []
    for number in range(16):
        array = rng.integers(0, 40, (16, 16, 3), dtype=np.uint8)
        array[4:12, 4:12, number % 2] += 150
        Image.fromarray(array).save(tmp_path / f"c{number}.png")
        label, split = ("red", "green")[number % 2], "" if number < 12 else "val"
        image = f"c{number}.png"
        rows.append({"case_id": f"c{number}", "image": image, "label": label, "split": split})
    table = write_cases(tmp_path / "cases.csv", rows)
    plan = quick(table, "steps=20", architecture="cnn2d")
    run = train_folds(table, tmp_path / "run", plan, device="cpu", show=False)[0]
    assert figures(run.scores)["accuracy"] == 1


def test_tensorboard_shows_curves_and_pictures(pictures):
    _, out, _ = pictures
    board = EventAccumulator(str(out / "tensorboard"), {"tensors": 0, "images": 0, "scalars": 0})
    tags = board.Reload().Tags()
    assert {"loss/train", "learning_rate", "validation/auc"} <= set(tags["scalars"])
    curves = [tag for tag in tags["tensors"] if tag.startswith("across_")]
    assert {tag.split("/")[0] for tag in curves} == {"across_columns", "across_rows"}
    assert tags["images"] == ["s4/found", "s5/found"]
    assert board.Images("s4/found")[0].encoded_image_string.startswith(b"\x89PNG")


def test_scans_are_learned_on_any_axes(scans):
    table, run = scans
    assert figures(run.scores)["accuracy"] >= 0.9
    predictor = load_predictor(run.model, "cpu")
    for case in read_cases(table, ("val",), "classification")[:4]:
        volume = read_volume(case.images["image"])
        straight = predictor.predict(Study("x", {"image": volume})).scores
        for orientation in ("LPS", "SAR", "PIR"):
            turned = predictor.predict(Study("x", {"image": volume.reoriented(orientation)}))
            assert turned.scores == straight
        # turned in the world, not on its axes alone, it is of the other class
        quarter = np.array([[0, -1.0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        other = replace(volume, affine=quarter @ volume.affine)
        assert predictor.predict(Study("x", {"image": other})).predicted != case.label


def test_what_lies_beside_the_window_has_no_say(scans):
    table, run = scans
    predictor = load_predictor(run.model, "cpu")
    [case, *_] = read_cases(table, ("val",), "classification")
    volume = read_volume(case.images["image"])
    roi = predictor.spec.roi_size
    assert predictor.spec.spacing == (1, 1, 1.5)
    array = np.pad(volume.array, [(0, 0), *[(10, 10)] * 3], mode="edge")
    wide = Volume(array, volume.affine)
    assert min(wide.shape[axis] - roi[axis] for axis in range(3)) >= 16
    prepared = preprocess({"image": wide}, predictor.spec).tensor
    shifted = preprocess({"image": volume}, predictor.spec).tensor
    # the same place in the world, were it not for the scale of intensities
    assert np.corrcoef(prepared[0, 10:26, 10:24, 10:22].ravel(), shifted.ravel())[0, 1] > 0.999
    assert predictor.predict(Study("x", {"image": wide})).predicted == case.label


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_an_ensemble_of_folds_says_the_mean_of_what_they_say(tmp_path, task):
    if task == "classification":
        table = write_striped_cases(tmp_path, 12, 2)
        plan = quick(table, "steps=2", architecture="cnn2d")
    else:
        table = write_phantom_cases(tmp_path, 4)
        balls = plan_cases(table, class_names=("ball",), width=4, show=False)
        plan = with_settings(balls, ["steps=3", "learning_rate=0.05", "ema=0"])
    folds = 2 if task == "segmentation" else 3
    out = tmp_path / "cv"
    runs = train_folds(table, out, plan, folds=folds, device="cpu", show=False)
    cases = read_cases(table, task=task)
    assert sorted({s.case_id for run in runs for s in run.scores}) == sorted(
        c.case_id for c in cases
    )
    joined = load_predictor(out / "ensemble", "cpu")
    assert joined.spec == replace(plan.spec, members=folds, review=joined.spec.review)
    members = [load_predictor(run.model, "cpu") for run in runs]
    study = read_images(cases[0], plan.spec)
    if task == "classification":
        single = [one.predict(study).scores for one in members]
        for name, share in joined.predict(study).scores.items():
            assert share == pytest.approx(np.mean([one[name] for one in single]), abs=1e-6)
        assert np.ptp([one["across_rows"] for one in single]) > 1e-3
        return
    image = preprocess(study.volumes, plan.spec).tensor
    window = center_window(image, plan.spec.roi_size)
    with torch.inference_mode():
        shares = [one.execution.ready(window[None])[0].softmax(dim=0) for one in members]
        found = joined.execution.ready(window[None])[0].softmax(dim=0)
    assert torch.allclose(found, sum(shares) / folds, atol=1e-5)
    assert not torch.allclose(shares[0], shares[1], atol=1e-2)


def test_a_fold_that_is_missing_or_another_plan_is_refused(tmp_path):
    table = write_striped_cases(tmp_path, 12, 2)
    plan = quick(table, "steps=1", architecture="cnn2d")
    out = tmp_path / "cv"
    train_folds(table, out, plan, folds=3, only_fold=0, device="cpu", show=False)
    assert not (out / "ensemble").exists()
    other = with_settings(plan, ["steps=2"])
    with pytest.raises(TrainingError, match=r"holds runs of another plan.*plan.json"):
        train_folds(table, out, other, folds=3, only_fold=1, device="cpu", show=False)
    assert '"steps": 1,' in (out / "plan.json").read_text()
    train_folds(table, out, plan, folds=3, only_fold=1, device="cpu", show=False)
    train_folds(table, out, plan, folds=3, resume=True, device="cpu", show=False)
    assert (out / "ensemble" / "spec.json").is_file()
    first = load_file(out / "fold_0" / "model" / "model.safetensors")
    joined = load_file(out / "ensemble" / "model.safetensors")
    assert {name.split(".", 2)[2] for name in joined} == set(first)


BAD = [
    ("label", "s4", "stripes", r"line 6 \(s4\): label 'stripes' is none of the classes"),
    ("image", "s4", "s99.png", r"line 6 \(s4\): no image at 's99.png'"),
    ("image", "s4", "flat.png", r"line 6 \(s4\): The model takes one channel"),
    ("split", "s4", "test", r"group g2 is in two splits: test \(line 6\), val \(line 7\)"),
]


@pytest.mark.parametrize(("column", "case_id", "value", "says"), BAD)
def test_a_bad_row_stops_before_anything_is_trained(tmp_path, column, case_id, value, says):
    table = write_striped_cases(tmp_path, 12, 2, SPLITS)
    plan = quick(table, "steps=1", architecture="cnn2d")
    color = np.zeros((20, 24, 3), np.uint8)
    color[..., 0] = 9
    Image.fromarray(color).save(tmp_path / "flat.png")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    next(row for row in rows if row["case_id"] == case_id)[column] = value
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(CasesError, match=says):
        train_folds(table, tmp_path / "run", plan, device="cpu", show=False)
    assert not (tmp_path / "run" / "log.csv").exists()


def test_classes_must_be_there_to_be_trained_on(tmp_path):
    table = write_striped_cases(tmp_path, 12, 2, SPLITS)
    plan = quick(table, "steps=1", architecture="cnn2d")
    lines = table.read_text().splitlines()
    kept = [line for line in lines if "across_rows" not in line or ",val," in line]
    table.write_text("\n".join(kept))
    with pytest.raises(CasesError, match="All 4 cases have the same label, 'across_columns'"):
        train_folds(table, tmp_path / "run", plan, device="cpu", show=False)
    with pytest.raises(CasesError, match="All 4 cases have the same label"):
        plan_cases(table, show=False)
    table.write_text("\n".join([lines[0], *(line for line in lines if ",val," in line)]))
    with pytest.raises(CasesError, match="every row is of split val"):
        train_folds(table, tmp_path / "run", plan, device="cpu", show=False)
