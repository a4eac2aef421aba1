"""Folders of results, read back."""

import pytest

from medvision.errors import DecodeError
from medvision.files import write_text
from medvision.outputs.saved import find_saved, read_saved
from medvision.outputs.table import columns_of, write_results
from medvision.study import StudyRef

ROW = {"case_id": "a", "source": "scans/a.nii", "status": "ok", "seconds": 1.5}


def write(folder, rows, names=("liver", "=spleen"), task="segmentation"):
    write_results(rows, columns_of(task, names), folder / "results.csv")
    return folder


def test_what_was_written_is_read_back(tmp_path):
    rows = [
        ROW | {"liver_ml": 1200.5, "mask": "a.nii.gz"},
        ROW | {"case_id": "b", "status": "failed", "reason": "=cmd"},
    ]
    folder = write(tmp_path / "deep" / "results", rows)
    write(tmp_path / ".hidden", rows)
    write_text(folder / "run.json", '{"model": {"name": "organs"}, "cases": []}')
    write_text(folder / "a.nii.gz", "x")
    assert find_saved(tmp_path) == [folder]
    saved = read_saved(folder)
    assert saved.task == "segmentation"
    assert saved.class_names == ("liver", "=spleen")
    assert saved.model == "organs"
    assert saved.rows[0]["liver_ml"] == "1200.5"
    assert saved.rows[1]["reason"] == "=cmd"
    assert saved.mask_of(saved.rows[0]) == folder / "a.nii.gz"
    assert saved.mask_of(saved.rows[1]) is None
    assert saved.mask_of({"mask": "../../etc/passwd"}) is None


def test_a_row_finds_its_study(tmp_path):
    folder = write(tmp_path / "results", [ROW, ROW | {"case_id": "b_left", "source": "x"}])
    saved = read_saved(folder)
    write_text(tmp_path / "scans" / "a.nii", "")
    a = StudyRef("elsewhere_a", tmp_path / "scans" / "a.nii")
    b, c = StudyRef("b", tmp_path / "b"), StudyRef("c", tmp_path / "c")
    # by its path from the folder above, and by its name
    assert saved.studies_of([c, b, a]) == [a, b]
    assert saved.studies_of([c]) == [None, None]
    assert saved.studies_of([b, b]) == [None, None]  # cannot tell which


def test_the_run_card_tells_which_study_of_a_folder(tmp_path):
    folder = write(tmp_path / "results", [ROW])
    one, two = (StudyRef("a", tmp_path / "scans" / "a.nii", uid) for uid in ("1.2", "1.3"))
    write_text(folder / "run.json", f'{{"cases": [{{"case_id": "a", "study_key": "{one.key}"}}]}}')
    assert read_saved(folder).studies_of([two, one]) == [one]


@pytest.mark.parametrize("text", ["name,age\nx,3\n", "\xff\xfe\0"])
def test_another_table_is_told(tmp_path, text):
    (tmp_path / "results.csv").write_text(text, encoding="latin-1")
    with pytest.raises(DecodeError, match=r"results\.csv"):
        read_saved(tmp_path)


def test_the_run_card_tells_where_an_uncertainty_map_lies(tmp_path):
    folder = write(tmp_path, [ROW, ROW | {"case_id": "b"}])
    outputs = '{"uncertainty": {"file": "a_uncertainty.nii.gz", "sha256": ""}}'
    cases = f'[{{"case_id": "a", "outputs": {outputs}}}, {{"case_id": "b", "outputs": {{}}}}]'
    write_text(folder / "run.json", f'{{"cases": {cases}}}')
    assert read_saved(folder).uncertainty_of(ROW) is None  # it is gone
    write_text(folder / "a_uncertainty.nii.gz", "x")
    write_text(folder / "b_uncertainty.nii.gz", "of an earlier run")
    saved = read_saved(folder)
    assert saved.uncertainty_of(saved.rows[0]) == folder / "a_uncertainty.nii.gz"
    assert saved.uncertainty_of(saved.rows[1]) is None


def test_a_table_of_an_earlier_version_is_read(tmp_path):
    text = "case_id,source,status,reason,warnings,seconds,liver_ml\na,a.nii,ok,,,1.5,2.5\n"
    write_text(tmp_path / "results.csv", text)
    saved = read_saved(tmp_path)
    assert (saved.class_names, saved.rows[0].get("review", "")) == (("liver",), "")
