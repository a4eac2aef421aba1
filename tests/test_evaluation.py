"""`medvision evaluate`: what it writes, of models, of results, and of both against each other."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hippocampus_data import CROPS, needs_crops
from training_phantom import write_phantom_cases, write_striped_cases
from typer.testing import CliRunner

from medvision import cli
from medvision.checkpoint import model_hash
from medvision.dataset import read_cases, write_cases
from medvision.errors import MedvisionError, OutputError, SpecError
from medvision.evaluation import check_metrics
from medvision.evaluation_files import FIGURES, FIGURES_JSON, OTHER_SCORES, REPORT, SCORES
from medvision.files import sha256
from medvision.found_masks import FOUND, FOUND_CARD, keep_masks
from medvision.io import read_volume
from medvision.outputs.nifti import save_nifti
from medvision.scores import LabelScore, read_scores
from medvision.statistics import DRAWS, summarize
from medvision.volume import Volume

TINY = ("--classes", "ball", "--width", "4", "--set", "steps=3", "--set", "batch_size=2")


def run(*arguments):
    """Run a command; what the user can fix is returned as `exception`."""
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        assert isinstance(result.exception, MedvisionError), result.exception
    return result


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def with_facts(table):
    """Give the cases of a table facts to make sub-groups by."""
    rows = rows_of(table)
    for number, row in enumerate(rows):
        row |= {"sex": "FM"[number // 2 % 2], "site": "north"}
    return write_cases(table, rows)


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A table of balls, a model, and the folder of its evaluation."""
    folder = tmp_path_factory.mktemp("judged")
    table = with_facts(write_phantom_cases(folder, 8))
    trained = run("train", table, "--out", folder / "run", *TINY, "--device", "cpu", "-q")
    assert trained.exit_code == 0, trained.exception
    out = folder / "evaluation"
    result = run("evaluate", table, "--model", folder / "run" / "model", "--out", out)
    assert result.exit_code == 0, result.exception
    return table, folder / "run" / "model", out, result.output


def test_a_folder_holds_scores_figures_and_masks(judged):
    table, _, out, said = judged
    cases = read_cases(table)
    scores = read_scores(out / SCORES)
    assert [score.case_id for score in scores] == [case.case_id for case in cases]
    figures, same = rows_of(out / FIGURES), json.loads((out / FIGURES_JSON).read_text())
    assert [row["metric"] for row in figures] == [row["metric"] for row in same]
    dice = next(row for row in same if not row["subgroup"] and row["metric"] == "dice")
    mean = np.mean([score.dice for score in scores])
    assert dice["value"] == pytest.approx(mean, abs=1e-4)
    assert (dice["n"], dice["patients"]) == (8, 4)
    # sub-groups by sex; a site that all share is none
    assert {row["subgroup"] for row in same} == {"", "sex: F", "sex: M"}
    assert "| sex: F (few) | 4 | Dice ball |" in said
    assert "site" not in said
    for case, score in zip(cases, scores, strict=True):
        found, scan = read_volume(out / FOUND / f"{case.case_id}.nii.gz"), case.images["image"]
        assert np.allclose(found.affine, read_volume(scan).affine)
        truth = read_volume(case.mask).array.sum()
        assert (found.array.sum() - truth) / 1000 == pytest.approx(score.error_ml, abs=1e-3)


def test_the_page_has_the_figures_the_pictures_and_how_it_was_made(judged):
    table, model, out, _ = judged
    page = (out / REPORT).read_text(encoding="utf-8")
    scores = read_scores(out / SCORES)
    worst, *_ = sorted(scores, key=lambda one: (one.dice, one.case_id))
    assert f"worst: ball Dice {worst.dice:.3f}" in page
    assert page.count('src="data:image/') == 6  # three worst and three best of eight
    for fact in (sha256(table), model_hash(model), f"{DRAWS} draws"):
        assert fact in page
    assert "sex: F" in page


def test_a_case_without_a_picture_is_said(judged, tmp_path):
    table, _, out, _ = judged
    rows, thick = rows_of(table), np.diag([1, 1, 2, 1.0])
    for row in rows:
        for column in ("image", "mask"):
            row[column] = str(table.parent / row[column])
    scan = read_volume(rows[0]["image"])
    save_nifti(Volume(scan.array, thick), tmp_path / "thick.nii.gz")
    for row in rows:
        row["image"] = str(tmp_path / "thick.nii.gz")
    other = write_cases(tmp_path / "cases.csv", rows)
    judge = ("--results", out / FOUND, "--classes", "ball", "--out", tmp_path / "e")
    result = run("evaluate", other, *judge)
    assert result.exit_code == 0, result.exception
    said = "has no picture: none of its images has the grid of its mask."
    assert result.stderr.count(said) == 6
    assert said in (tmp_path / "e" / REPORT).read_text(encoding="utf-8")


def test_a_file_is_not_a_folder(judged, tmp_path):
    table, model, *_ = judged
    for name in ("scores.csv", "taken"):
        (tmp_path / "taken").touch()
        result = run("evaluate", table, "--model", model, "--out", tmp_path / name)
        assert result.exit_code == 2
        assert "--out is a folder" in " ".join(result.output.split())
    assert not (tmp_path / "scores.csv").exists()


def test_a_mask_replaces_no_file_of_the_table(judged):
    table, *_ = judged
    cases = read_cases(table)
    truth = cases[0].mask
    write_cases(table.with_name("t.csv"), [row_of(cases[0], "m0")])
    assert truth is not None
    again, ball = read_cases(table.with_name("t.csv")), ["ball"]
    with (
        pytest.raises(OutputError, match="a file of the table"),
        keep_masks(again, table.parent, ball),
    ):
        pytest.fail("it began")


def row_of(case, case_id):
    """A row of a table, of an image and its mask."""
    return {"case_id": case_id, "image": str(case.images["image"]), "mask": str(case.mask)}


def test_what_was_found_earlier_is_judged_as_the_model(judged, tmp_path):
    table, model, out, _ = judged
    again = ("evaluate", table, "--classes", "ball", "--out", tmp_path / "e", "-q")
    plain = run(*again, "--results", out / FOUND)
    assert plain.exit_code == 0, plain.exception
    figures = (out / FIGURES).read_text()
    assert (tmp_path / "e" / FIGURES).read_text() == figures
    assert not (tmp_path / "e" / FOUND).exists()  # they lie where they lay
    scans = [case.images["image"] for case in read_cases(table)]
    # results are called by their scans, i0, i1, …, and the cases otherwise: the image tells
    done = run("predict", *scans, "--model", model, "--out", tmp_path / "r", "-q")
    assert done.exit_code == 0, done.exception
    same = run("evaluate", table, "--results", tmp_path / "r", "--out", tmp_path / "f", "-q")
    assert same.exit_code == 0, same.exception
    assert (tmp_path / "f" / FIGURES).read_text() == figures
    bad = run(*again, "--results", tmp_path / "r", "--classes", "liver")
    assert "has the classes ball; --classes says liver" in str(bad.exception)


def test_cases_without_results_are_named_and_results_without_cases_said(judged, tmp_path):
    table, _, out, _ = judged
    masks = tmp_path / "masks"
    shutil.copytree(out / FOUND, masks)
    judge = ("evaluate", table, "--results", masks, "--classes", "ball", "--out", tmp_path / "e")
    shutil.copy(masks / "case3.nii.gz", masks / "stranger.nii.gz")
    result = run(*judge)
    assert result.exit_code == 0
    assert f"{masks}: 1 results are of none of the cases, and are not counted: stranger." in (
        result.stderr
    )
    (masks / "case3.nii.gz").unlink()
    (masks / "case5.nii.gz").unlink()
    lacking = str(run(*judge).exception)
    assert lacking == (
        f"line 5 (case3): no result in {masks}\nline 7 (case5): no result in {masks}"
    )
    done = run("predict", tmp_path / "none.nii", "--model", judged[1], "--out", tmp_path / "r")
    assert done.exit_code == 1
    (tmp_path / "empty").mkdir()
    empty = run("evaluate", table, "--results", tmp_path / "empty", "--out", tmp_path / "e")
    assert "holds no results" in str(empty.exception)
    shutil.copy(out / FOUND / "case3.nii.gz", masks)
    shutil.copy(out / FOUND / "case5.nii.gz", masks)
    other = run(*judge[:4], "--classes", "a,b", *judge[-2:])
    assert str(other.exception) == (
        f"{masks / FOUND_CARD} says that the labels 1, 2, … are ball; asked for were a, b."
    )
    (masks / FOUND_CARD).unlink()
    unnamed = run(*judge[:4], *judge[-2:])
    assert "--classes liver,tumor" in str(unnamed.exception)
    few = run(*judge[:4], "--classes", "a,b", *judge[-2:])
    assert few.exit_code == 0  # labels above those that are there may be named


def test_another_is_held_against_the_same_cases(judged, tmp_path):
    table, model, out, _ = judged
    masks = tmp_path / "truth"
    masks.mkdir()
    for case in read_cases(table):
        shutil.copy(case.mask, masks / f"{case.case_id}.nii.gz")
    options = ("--classes", "ball", "--against", out / FOUND, "--out", tmp_path / "e")
    result = run("evaluate", table, "--results", masks, *options)
    assert result.exit_code == 0, result.exception
    rows = [row for row in rows_of(tmp_path / "e" / FIGURES) if row["versus"] == "other model"]
    assert [row["metric"] for row in rows] == ["dice", "hd95_mm", "nsd"]
    ours, theirs = (read_scores(tmp_path / "e" / name) for name in (SCORES, OTHER_SCORES))
    assert all(score.dice == 1 for score in ours)
    assert float(rows[0]["value"]) == pytest.approx(
        1 - np.mean([score.dice for score in theirs]), abs=1e-4
    )
    assert theirs == [replace(one, confidence=None) for one in read_scores(out / SCORES)]
    assert float(rows[0]["p"]) <= float(rows[0]["p_holm"])
    assert "corrected by Holm over 3 differences" in " ".join(result.stdout.split())
    one = run("evaluate", table, "--results", masks, *options, "--metric", "iou", "-q")
    assert one.exit_code == 0
    rows = [row for row in rows_of(tmp_path / "e" / FIGURES) if row["versus"] == "other model"]
    assert [(row["metric"], row["compared"]) for row in rows] == [("iou", "1")]
    for given, says in (
        (("--against", "pneumonia28"), "only the same, in one order, can be compared"),
        (("--against", tmp_path / "nowhere"), "Nothing to compare with at"),
        (("--against", model, "--metric", "beauty"), "no figure beauty to compare by"),
    ):
        bad = run("evaluate", table, "--model", model, *given, "--out", tmp_path / "x", "-q")
        assert says in str(bad.exception)
    for given in (("--metric", "dice"), ("--classes", "ball"), ("--results", masks)):
        bad = run("evaluate", table, "--model", model, *given, "--out", tmp_path / "x", "-q")
        assert bad.exit_code == 2


def test_probabilities_that_were_said_earlier_are_judged_as_the_model(tmp_path):
    table = write_striped_cases(tmp_path, 12, 2, ("", "", "val"))
    tiny = ("--model", "cnn2d", "--set", "network.features=4,8", "--set", "steps=3")
    trained = run("train", table, "--out", tmp_path / "run", *tiny, "--device", "cpu", "-q")
    assert trained.exit_code == 0, trained.exception
    model = tmp_path / "run" / "model"
    pictures = [case.images["image"] for case in read_cases(table, (), "classification")]
    done = run("predict", *pictures, "--model", model, "--out", tmp_path / "r", "-q")
    assert done.exit_code == 0, done.exception
    asked = run("evaluate", table, "--model", model, "--out", tmp_path / "a", "-q")
    assert asked.exit_code == 0, asked.exception
    options = ("--against", model, "--out", tmp_path / "b", "-q")
    saved = run("evaluate", table, "--results", tmp_path / "r", *options)
    assert saved.exit_code == 0, saved.exception
    page = (tmp_path / "a" / REPORT).read_text(encoding="utf-8")
    assert page.count('src="data:image/') == 6
    assert "worst: true: across_" in page
    assert read_scores(tmp_path / "a" / SCORES) == read_scores(tmp_path / "b" / SCORES)
    rows = [row for row in rows_of(tmp_path / "b" / FIGURES) if row["versus"] == "other model"]
    assert {row["metric"] for row in rows} == {"auc", "balanced_accuracy", "brier"}
    assert all(float(row["value"]) == pytest.approx(0, abs=1e-6) for row in rows)
    (tmp_path / "r" / "results.csv").write_text("case_id,source,status,predicted,a_probability\n")
    none = run("evaluate", table, "--results", tmp_path / "r", "--out", tmp_path / "c")
    assert "no result in" in str(none.exception)
    assert "There are: none." in str(none.exception)


@needs_crops
def test_real_scans_are_judged_from_the_table_to_the_page(tmp_path):
    images = sorted((CROPS / "imagesTr").glob("*.nii.gz"))[:4]
    rows = [
        {
            "case_id": path.name.removesuffix(".nii.gz"),
            "image": str(path),
            "mask": str(CROPS / "labelsTr" / path.name),
            "scanner": "AB"[number % 2],
        }
        for number, path in enumerate(images)
    ]
    table, out = write_cases(tmp_path / "cases.csv", rows), tmp_path / "e"
    result = run("evaluate", table, "--model", "hippocampus", "--out", out, "--device", "cpu")
    assert result.exit_code == 0, result.exception
    assert "| scanner: A (few) | 2 | Dice |" in result.output
    assert all(score.dice > 0.7 for score in read_scores(out / SCORES))  # it was trained on them
    names = ("--classes", "anterior,posterior")
    same = ("--results", out / FOUND, *names, "--against", out / FOUND, "--out", tmp_path / "f")
    again = run("evaluate", table, *same)
    assert again.exit_code == 0, again.exception
    gaps = [row for row in rows_of(tmp_path / "f" / FIGURES) if row["versus"] == "other model"]
    assert len(gaps) == 9  # Dice, NSD and HD95, of both structures and their mean
    assert all(float(row["value"]) == 0 for row in gaps)
    assert (tmp_path / "f" / REPORT).read_text().count('src="data:image/') == 4


def test_every_metric_of_real_scores_may_be_asked_for(judged):
    check_metrics([row["metric"] for row in rows_of(judged[2] / FIGURES)], "segmentation")
    with pytest.raises(SpecError, match="no figure auc to compare by"):
        check_metrics(["auc"], "segmentation")
    labels = [LabelScore("x", ("a",), {"a": 0.9, "b": 0.2}), LabelScore("y", (), {"a": 0, "b": 1})]
    check_metrics([one.metric for one in summarize(labels, draws=0)], "classification")
