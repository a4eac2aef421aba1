"""What a table says of patients: in bands, in one spelling, and unknown where it says nothing."""

import pytest

from medvision.dataset import patients_of, read_cases, write_cases
from medvision.errors import CasesError
from medvision.facts import age_band


@pytest.mark.parametrize(
    ("age", "band"),
    [("0", "0–17"), ("17.9", "0–17"), ("18", "18–39"), ("039Y", "18–39"), ("40", "40–59"),
     ("79", "60–79"), ("80", "80+"), ("101", "80+"), ("018M", "0–17"), ("300d", "0–17"),
     ("60-79", "60–79"), ("80+", "80+")],
)  # fmt: skip
def test_ages_are_told_in_bands(age, band):
    assert age_band(age) == band


@pytest.mark.parametrize("age", ["old", "-3", "1950-01-01", "999", "60-70"])
def test_what_is_no_age_is_refused(age):
    with pytest.raises(CasesError, match="age is"):
        age_band(age)


def table(tmp_path, rows):
    (tmp_path / "i.nii").touch()
    columns = {"image": "i.nii", "label": "x"}
    return write_cases(tmp_path / "cases.csv", [columns | row for row in rows])


def test_facts_of_cases_are_read(tmp_path):
    path = table(
        tmp_path,
        [
            {"case_id": "a", "sex": "female", "age": "63", "by_stage": "II", "group": "p"},
            {"case_id": "b", "sex": "", "age": "", "by_stage": "", "group": "p"},
        ],
    )
    cases = read_cases(path, task="classification")
    assert cases[0].facts == {"sex": "F", "age": "60–79", "stage": "II"}
    assert set(cases[1].facts.values()) == {"unknown"}
    assert patients_of(cases) == {"a": "p", "b": "p"}


def test_a_wrong_age_names_its_line_and_not_its_value(tmp_path):
    path = table(tmp_path, [{"case_id": "a", "age": "1950-01-01"}])
    with pytest.raises(CasesError, match=r"line 2 \(a\): age is no number of years") as caught:
        read_cases(path, task="classification")
    assert "1950" not in str(caught.value)


def test_two_columns_for_one_fact_are_refused(tmp_path):
    path = table(tmp_path, [{"case_id": "a", "sex": "F", "by_sex": "M"}])
    with pytest.raises(CasesError, match="two columns for one thing"):
        read_cases(path, task="classification")
