"""What an evaluation must not do: lose masks, take another study's result, end without a word."""

import sqlite3

import numpy as np
import pytest

from medvision.dataset import Case
from medvision.differences import model_differences
from medvision.errors import CasesError, DecodeError, OutputError
from medvision.evaluation import judge_cases
from medvision.io import find_studies
from medvision.judged import judged_results
from medvision.outputs.class_charts import confusion_html
from medvision.outputs.nifti import save_nifti
from medvision.replay import job_of
from medvision.scores import LabelScore, MaskScore
from medvision.session import open_store
from medvision.statistics import summarize
from medvision.store import STORE, OtherLayout, Store
from medvision.volume import Volume


def write_masks(folder, count=3):
    """Write cubes as truth, and the same as found; return the cases."""
    folder.mkdir(parents=True)
    cases = []
    for n in range(count):
        labels = np.zeros((1, 8, 8, 8), np.uint8)
        labels[0, 2:6, 2:6, 2 : 4 + n] = 1
        path = save_nifti(Volume(labels, np.eye(4)), folder / f"c{n}.nii.gz")
        cases.append(Case(f"c{n}", {"image": path}, path, f"c{n}"))
    return cases


class Asked:
    """Stands for a model that is not to be asked."""

    name, task, class_names, settings = "model", "segmentation", ("cube",), {}

    def check(self, cases):
        """A model is asked about every case."""

    def masks_of(self, cases):
        return {}

    def unmatched(self, cases):
        return []

    def judge(self, cases, tolerance_mm, show, keep=None):
        raise AssertionError("asked before the results were looked at")


def test_masks_to_compare_with_are_not_written_over(tmp_path):
    cases = write_masks(tmp_path / "truth")
    write_masks(tmp_path / "out" / "found")
    before = (tmp_path / "out" / "found" / "c0.nii.gz").read_bytes()
    other = judged_results(tmp_path / "out" / "found", ["cube"])
    with pytest.raises(OutputError, match="or of the masks to compare with"):
        judge_cases(Asked(), cases, tmp_path / "out", other)
    assert (tmp_path / "out" / "found" / "c0.nii.gz").read_bytes() == before


def test_what_lacks_a_result_is_said_before_a_model_is_asked(tmp_path):
    cases = write_masks(tmp_path / "truth")
    write_masks(tmp_path / "masks", 2)
    other = judged_results(tmp_path / "masks", ["cube"])
    with pytest.raises(CasesError, match="c2"):
        judge_cases(Asked(), cases, tmp_path / "out", other)


def write_results(folder, source, shares="0.2,0.8"):
    folder.mkdir(parents=True)
    head = "case_id,source,status,predicted,no_probability,yes_probability"
    (folder / "results.csv").write_text(f"{head}\na,{source},ok,yes,{shares}\n")
    return judged_results(folder)


def test_a_result_of_another_study_is_not_taken(tmp_path, monkeypatch):
    for place in ("one", "two"):
        (tmp_path / place / "scans").mkdir(parents=True)
        (tmp_path / place / "scans" / "a.png").touch()
    monkeypatch.chdir(tmp_path / "two")
    first = write_results(tmp_path / "one" / "results", "scans/a.png")
    case = Case("p", {"image": tmp_path / "two" / "scans" / "a.png"}, None, "p", label="yes")
    assert first.answers_of([case]) == {}
    own = Case("q", {"image": tmp_path / "one" / "scans" / "a.png"}, None, "p", label="yes")
    assert first.answers_of([own])["q"].scores == {"no": 0.2, "yes": 0.8}


@pytest.mark.parametrize("shares", ["nan,nan", "-0.1,1.1", "inf,0", "half,half"])
def test_what_is_no_probability_is_no_answer(tmp_path, shares):
    found = write_results(tmp_path / "results", "a.png", shares)
    with pytest.raises(CasesError, match="no numbers from 0 to 1"):
        found.check([Case("a", {}, None, "a", label="yes")])


def test_a_run_card_of_another_shape_is_no_crash(tmp_path):
    write_results(tmp_path / "results", "a.png")
    (tmp_path / "results" / "run.json").write_text('{"model": "x", "cases": []}')
    assert judged_results(tmp_path / "results").settings == {"results": str(tmp_path / "results")}


def test_masks_of_pictures_without_voxel_size_are_compared():
    nan = float("nan")
    a, b = (
        [MaskScore(f"c{n}", "spot", dice + n / 50, nan, nan, nan) for n in range(8)]
        for dice in (0.8, 0.6)
    )
    [gap] = [one for one in model_differences(a, b) if (one.of, one.metric) == ("spot", "dice")]
    assert gap.value == pytest.approx(0.2)


def test_one_question_alone_has_its_four_cells():
    scores = [
        LabelScore(str(n), ("ill",) if ill else (), {"ill": share})
        for n, (ill, share) in enumerate([(1, 0.9), (1, 0.2), (0, 0.7), (0, 0.1), (0, 0.3)])
    ]
    html = confusion_html(scores)
    assert [html.count(">1<"), html.count(">2<")] == [3, 1]


def test_an_evaluation_is_no_folder_of_scans(tmp_path):
    write_masks(tmp_path / "scans", 1)
    write_masks(tmp_path / "evaluation" / "found")
    for name in ("scores.csv", "figures.json"):
        (tmp_path / "evaluation" / name).touch()
    assert [ref.case_id for ref in find_studies(tmp_path)] == ["c0"]


def test_a_card_of_before_is_refused_in_words(tmp_path):
    [case] = write_masks(tmp_path / "scans", 1)
    told = {"case_id": "c0", "source": str(case.mask), "series": [], "box": None}
    with pytest.raises(DecodeError, match="earlier medvision"):
        job_of(told | {"study_uid": "1.2.3"})
    assert job_of(told | {"study_uid": ""}).case_id == "c0"


def test_a_store_of_before_is_made_anew_where_that_is_asked_for(tmp_path):
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / STORE) as base:
        base.execute("UPDATE about SET value='1' WHERE name='layout'")
    base.close()
    with pytest.raises(OtherLayout, match="overwrite"):
        open_store(tmp_path, overwrite=False)
    store = open_store(tmp_path, overwrite=True)
    assert store.about()["layout"] == "2"
    store.close()


def test_what_all_draws_agree_on_has_no_interval():
    masks = [
        MaskScore(f"c{n}", "cube", 1.0, 0.0, 1.0, 0.0, 1, 1, 1, 0, 2, 2, 2, 0) for n in range(9)
    ]
    found = {one.metric: one for one in summarize(masks) if one.of == "cube"}
    assert found["lesion_f1"].method == found["dice"].method == "none"
    assert np.isnan(found["dice"].low)
    assert found["lesion_sensitivity"].method == "exact"
    assert found["lesion_sensitivity"].low == pytest.approx(0.025 ** (1 / 9))


@pytest.mark.parametrize(("patients", "told"), [(4, False), (5, True)])
def test_too_few_patients_have_no_interval(patients, told):
    masks = [MaskScore(f"c{n}", "a", 0.5 + n / 20, 1.0, 1.0, 0.0) for n in range(patients)]
    [dice] = [one for one in summarize(masks) if (one.of, one.metric) == ("a", "dice")]
    assert np.isfinite(dice.low) == told
