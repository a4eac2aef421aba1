"""Tables hold names that users and headers give: a spreadsheet runs none of them."""

import csv

import numpy as np
import pytest
from dicom_phantom import write_series

from medvision.io import find_studies
from medvision.io.listing import write_csv
from medvision.outputs.batch_page import save_batch_page
from medvision.outputs.saved import read_saved
from medvision.outputs.table import write_results
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.scores import LabelScore, read_scores, write_scores
from medvision.spreadsheet import FORMULA_STARTS, harmless, unquoted

HOSTILE = ("=1+2", "+1", "-cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1")
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>&\"'"


@pytest.mark.parametrize("text", HOSTILE)
def test_formulas_are_text_and_come_back_as_they_were(text):
    assert not harmless(text).startswith(FORMULA_STARTS)
    assert unquoted(harmless(text)) == text


def test_numbers_and_plain_text_stay():
    assert [harmless(v) for v in (-1.5, 3, None, "a-b", "'tis")] == [-1.5, 3, None, "a-b", "'tis"]
    assert unquoted("'tis") == "'tis"


def cells(path):
    with path.open(newline="", encoding="utf-8") as file:
        return [cell for row in csv.reader(file) for cell in row]


def is_formula(cell):
    return cell.startswith(FORMULA_STARTS) and not cell.lstrip("+-").replace(".", "").isdigit()


def test_scores_run_no_formula_and_are_read_back(tmp_path):
    scores = [
        LabelScore(name, ("=one",), {"=one": 0.75, "two": 0.25}, confidence=0.5)
        for name in HOSTILE[:4]
    ]
    path = write_scores(scores, tmp_path / "scores.csv")
    assert not any(map(is_formula, cells(path)))
    assert [one.case_id for one in read_scores(path)] == list(HOSTILE[:4])


def test_the_table_of_info_runs_no_description(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDVISION_INDEX", "off")
    image, _ = ellipsoid_phantom(
        (6, 6, 3), np.diag([-1.0, -1, 1, 1]), [Ellipsoid((0, 0, 0), (2, 2, 2))]
    )
    stored = image.with_array(image.array.astype("int16"))
    write_series(tmp_path / "in", stored, description="=HYPERLINK(1)")
    path = write_csv(find_studies([tmp_path / "in"]), tmp_path / "found.csv")
    assert "'=HYPERLINK(1)" in cells(path)
    assert not any(map(is_formula, cells(path)))


def test_hostile_names_are_text_on_the_page(tmp_path):
    columns = ("case_id", "source", "status", "reason", "warnings", "seconds", "ball_ml")
    done = dict.fromkeys(columns, SCRIPT) | {"status": "ok", "seconds": "1", "ball_ml": "2"}
    failed = done | {"case_id": f"b{SCRIPT}", "status": "failed", "ball_ml": ""}
    write_results([done, failed], (*columns, "ball_voxels"), tmp_path / "results.csv")
    assert read_saved(tmp_path).rows[0]["case_id"] == SCRIPT
    page = save_batch_page(tmp_path).read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page
    assert "<img src=x" not in page
