"""A folder of results on one page: its numbers, its failures, no script, and not too large."""

import re
import time
from dataclasses import replace

import numpy as np
import pytest
from outputs.test_summary import BALL, EVIL, Page, classified, segmented
from PIL import Image

from medvision.calibration_spec import Calibration
from medvision.errors import DecodeError
from medvision.files import write_text
from medvision.outputs import RESERVED, write_outputs
from medvision.outputs.batch_page import batch_html, save_batch_page
from medvision.outputs.batch_studies import FIRST
from medvision.outputs.charts import binned, histogram
from medvision.outputs.saved import RESULTS, read_saved
from medvision.outputs.table import columns_of, failed_row, row_of, write_results

CARD = {
    "command": ["medvision", "predict", "my scans"],
    "model": {"name": "toy", "given_as": "runs/toy", "sha256": "ab12"},
    "formats": ["nifti", "json", "overlay"],
    "resolved": {"device": "cpu", "device_name": "Abacus 3000"},
    "versions": {"medvision-toolkit": "9.8.7"},
}
TABLE = ("results.csv", "report.html")


def results(folder, cases, failed=(), names=("ball", "none")):
    """Write a folder as a run does: files, table; return it."""
    rows = []
    for found, study in cases:
        files = write_outputs(found, study, folder)
        rows.append(row_of(found, f"scans/{found.case_id}.nii", 1.5, files))
    rows += [failed_row(name, f"scans/{name}.nii", why, 0.1) for name, why in failed]
    told = cases[0][0].calibration is not None
    write_results(rows, columns_of(cases[0][0].task, names, calibrated=told), folder / RESULTS)
    return folder


def many(folder, count, warned=(), wide=""):
    """Write a table of many studies, and a picture each."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (71, 94, 3), np.uint8)
    rows = []
    for n in range(count):
        row = {"case_id": f"c{n}", "source": f"scans/c{n}{wide}.nii", "status": "ok"}
        row |= {"ball_ml": round(float(rng.lognormal()), 4), "seconds": 1.0}
        rows.append(row | ({"warnings": "looks odd"} if n in warned else {}))
    write_results(rows, columns_of("segmentation", ("ball",)), folder / "results.csv")
    Image.fromarray(pixels).resize((940, 710)).save(folder / "c0.png")
    for n in range(1, count):
        (folder / f"c{n}.png").hardlink_to(folder / "c0.png")
    return read_saved(folder)


def counted(html):
    """How many studies the bars of each figure hold."""
    figures = re.findall(r"<figure>.*?</figure>", html, re.S)
    return [sum(map(int, re.findall(r": (\d+)</title>", one))) for one in figures]


def test_a_page_holds_volumes_pictures_and_why_studies_failed(tmp_path):
    case = segmented()
    folder = results(tmp_path, [case], [("bad", EVIL), ("worse", EVIL)])
    html = batch_html(read_saved(folder), CARD)
    page = Page(html)
    ml = case[0].measure()[0].ml
    assert ml == pytest.approx(BALL.ml, rel=0.04)
    assert "scans/case.nii" in page.words
    assert re.search(rf"{ml:.2f}0\.001\.5", page.words)  # ball, none, seconds
    assert "1 done2 failed1 with warnings" in page.words
    assert f"2{EVIL}bad, worse" in page.words
    assert "looks odd" in page.words
    assert [source[:22] for source in page.sources] == ["data:image/jpeg;base64"]
    for said in ("toy on 3 studies", "Abacus 3000", "9.8.7", "predict 'my scans'", "ab12"):
        assert said in page.words
    assert "not a medical device" in page.words
    assert "JANE" not in html


def test_a_page_stands_alone_and_is_always_the_same(tmp_path):
    folder = results(tmp_path, [segmented()], [("bad", EVIL)])
    html = save_batch_page(folder).read_text(encoding="utf-8")
    bare = re.sub(r'src="data:[^"]*"', "", html).lower()
    assert not re.search(r"https?:|//|<script|<link|@import|url\(|\bon\w+=|href", bare)
    assert "default-src 'none'" in html
    assert save_batch_page(folder).read_text(encoding="utf-8") == html
    assert {p.name for p in folder.iterdir() if not p.name.startswith("case.")} == set(TABLE)
    assert "report" in RESERVED


def test_the_same_reason_is_one_though_its_path_differs(tmp_path):
    why = "scans/{0}.nii is empty (0 bytes): {0}.nii"
    failed = [(name, why.format(name)) for name in ("a", "b", "c")]
    words = Page(batch_html(read_saved(results(tmp_path, [segmented()], failed)), {})).words
    assert "3… is empty (0 bytes): …a, b, c" in words
    assert "scans/b.nii is empty" in words  # whole in the study's own row


def test_every_study_is_in_the_histograms(tmp_path):
    cases = [replace(segmented()[0], case_id=name) for name in "abc"]
    folder = results(tmp_path, [(case, segmented()[1]) for case in cases], [("bad", "why")])
    html = batch_html(read_saved(folder), CARD)
    assert counted(html) == [3, 3]
    assert "0 in 3 studies" in html  # the structure that is not there
    assert counted(batch_html(many(tmp_path / "many", 150), CARD)) == [150]


def test_a_page_of_classes_says_their_probabilities(tmp_path):
    folder = results(tmp_path, [classified()], names=("no", "yes"))
    html = batch_html(read_saved(folder), CARD)
    assert counted(html) == [1, 1]
    assert "yes33.3%66.7%" in Page(html).words
    assert "median 0.667, from 0.667 to 0.667, 1 study" in html


def test_a_thousand_studies_are_quick_and_not_too_large(tmp_path):
    saved = many(tmp_path, 1000, warned={500, 900})
    began = time.monotonic()
    html = batch_html(saved, CARD)
    assert time.monotonic() - began < 30
    assert len(html.encode()) < 10e6
    page = Page(html)
    assert len(page.sources) == FIRST + 2
    assert "of the first 100 studies and of those with warnings." in page.words
    assert page.words.count("c999") == 2


def test_whatever_has_no_room_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("medvision.outputs.batch_studies.PICTURE_BYTES", 30_000)
    monkeypatch.setattr("medvision.outputs.batch_studies.ROW_BYTES", 10_000)
    html = batch_html(many(tmp_path, 150, warned={140}), CARD)
    assert len(html) < 90_000
    words = Page(html).words
    assert "as far as the page has room" in words
    assert re.search(r"The first \d+ of 150 studies are listed", words)


def test_pictures_of_an_earlier_run_or_that_are_none_stay_out(tmp_path):
    saved = many(tmp_path, 2)
    assert "<img" not in batch_html(saved, CARD | {"formats": ["json"]})
    (tmp_path / "c1.png").unlink()
    write_text(tmp_path / "c1.png", "none")
    assert batch_html(saved, CARD).count("<img") == 1


def test_a_card_may_be_missing_or_of_a_run_that_goes_on(tmp_path):
    saved = many(tmp_path, 2)
    assert "No run.json tells" in batch_html(saved, {})
    assert "has not ended" in batch_html(saved, CARD | {"status": "unfinished"})
    assert "cpu" not in batch_html(saved, {"resolved": "cpu", "command": 1, "formats": None})


def test_names_are_text_on_a_page(tmp_path):
    row = {"case_id": EVIL, "source": EVIL, "status": "ok", "warnings": EVIL, f"{EVIL}_ml": 1.0}
    write_results([row], columns_of("segmentation", (EVIL,)), tmp_path / "results.csv")
    html = batch_html(read_saved(tmp_path), {"model": {"given_as": EVIL}, "command": [EVIL]})
    assert "script" not in Page(html).tags
    assert Page(html).words.count(EVIL) >= 6


def test_a_folder_without_results_is_told(tmp_path):
    with pytest.raises(DecodeError, match=r"results\.csv"):
        save_batch_page(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "values", [[0.0], [3.2] * 5, [0, 1e-15], [1, 1 + 1e-9], [-2.0, 7], [1e9, 2], range(100)]
)
def test_every_value_has_a_bin_of_a_round_width(values):
    low, step, counts = binned(list(values))
    assert sum(counts) == len(values)
    assert len(counts) <= 30
    assert low <= min(values) + 1e-6 * step
    assert low + step * len(counts) >= max(values) - 1e-6 * step
    assert f"{step:.0e}"[0] in "125"


def test_a_histogram_says_median_and_range():
    text = histogram("a", [1.0, 2, 2, 9], "4 studies", "ml", "red")
    assert "median 2 ml, from 1 to 9 ml, 4 studies" in text
    assert binned([0.2, 1.0], (0, 1))[0] == 0


def test_studies_to_review_are_counted_and_come_first(tmp_path):
    sure = {"c0": 0.95, "c1": 0.72, "c2": None, "c3": 0.61}
    rows = [
        {"case_id": name, "source": f"{name}.nii", "status": "ok", "ball_ml": 1.0, "seconds": 1}
        | ({} if c is None else {"confidence": c, "review": "yes" if c < 0.8 else "no"})
        for name, c in sure.items()
    ]
    columns = columns_of("segmentation", ("ball",))
    write_results(rows, columns, tmp_path / "results.csv")
    html = batch_html(read_saved(tmp_path), CARD)
    words = Page(html).words
    assert "4 done0 failed0 with warnings2 to review" in words
    assert "Those to review come first" in words
    listed = words[words.index("Studies") :]
    places = [listed.index(f"{name}.nii") for name in ("c3", "c1", "c0", "c2")]
    assert places == sorted(places)
    assert listed.count("Review") == 2
    assert "c3 Reviewc3.nii0.611.001.0" in listed
    assert counted(html) == [4, 3]  # volumes; how sure the model is
    assert "3 studies; 2 to review; 1 study without a number" in words


def test_a_page_of_a_model_without_a_limit_has_nothing_to_review(tmp_path):
    words = Page(batch_html(read_saved(results(tmp_path, [segmented()])), CARD)).words
    assert "to review" not in words
    assert "onfidence" not in words


def test_pictures_of_those_to_review_are_never_left_out(tmp_path):
    many(tmp_path, 300)
    rows = [dict(row) for row in read_saved(tmp_path).rows]
    rows[250] |= {"confidence": "0.5", "review": "yes"}
    write_results(rows, list(rows[0]), tmp_path / "results.csv")
    page = Page(batch_html(read_saved(tmp_path), CARD))
    assert len(page.sources) == FIRST + 1
    assert "and of those to review or with warnings." in page.words


def test_a_calibrated_answer_is_told_with_its_set(tmp_path):
    found, study = classified()
    thresholds = {"no": 0.0, "yes": 0.0}
    known = Calibration(1.0, "val", 99, 0.1, 1.0, 99, thresholds, "Youden")
    folder = results(tmp_path, [(replace(found, calibration=known), study)], names=("no", "yes"))
    words = Page(batch_html(read_saved(folder), CARD)).words
    assert "one of: yes, no" in words  # the likeliest first
    assert "at its threshold: no, yes" in words


def test_the_page_names_the_commands_of_all_runs_that_did_something(tmp_path):
    saved, versions = many(tmp_path, 2), {"medvision-toolkit": "9.8.7"}
    runs = [
        {"command": ["medvision", "predict", name], "cases": cases, "versions": versions}
        for name, cases in (("first", 4), ("nothing", 0), ("again", 1), ("again", 2))
    ]
    html = batch_html(saved, {"runs": runs})
    assert "medvision predict first; then medvision predict again<" in html
    assert "nothing" not in html
    assert "medvision 9.8.7" in html
