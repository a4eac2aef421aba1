"""A result as a table of its own and as one page: the numbers of `measure`, and nobody's name."""

import csv
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from medvision.outputs import write_outputs
from medvision.outputs.summary import summary_html
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.prediction import Prediction
from medvision.study import Study
from medvision.volume import SeriesInfo, Volume

BALL = Ellipsoid((33.0, 15, 20), (8, 7, 6))
EVIL = '<script>alert("x")</script>&'
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """What a page holds; every tag that opens must close."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.words, self.sources = [], [], "", []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words += data


def segmented(names=("ball", "none"), **change):
    affine = np.diag([1.5, 1, 1, 1])
    image, mask = ellipsoid_phantom((30, 31, 32), affine, [BALL], noise=5)
    region = (slice(10, 30), slice(0, 31), slice(0, 32))
    found = Prediction("case", "toy", names, region, mask, warnings=("looks odd",))
    info = SeriesInfo(modality="MR", description="DOE^JANE 19700101", sources=(Path("JANE.nii"),))
    scan = Volume(image.array, image.affine, info)
    return replace(found, **change), Study("case", {"image": scan}, "REPORT of JANE")


def classified(names=("no", "yes"), **change):
    picture = np.arange(784, dtype=np.uint8).reshape(1, 28, 28, 1)
    scan = Volume(picture, np.eye(4), SeriesInfo(spacing_known=False))
    region = tuple(slice(0, n) for n in scan.shape)
    scores = dict(zip(names, (1 / 3, 2 / 3), strict=True))
    alone = {
        "image": dict.fromkeys(names, 0.5),
        "report": dict(zip(names, (0.9, 0.1), strict=True)),
    }
    found = Prediction("film", "toy", names, region, scores=scores, alone=alone)
    return replace(found, **change), Study("film", {"image": scan})


def write(case, kind, folder):
    files = write_outputs(*case, folder, [kind])
    assert [p.name for p in folder.iterdir()] == [f"{case[0].case_id}.{kind}"]
    return files[kind]


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_table_holds_what_measure_says(tmp_path):
    case = segmented()
    ball, none = read(write(case, "csv", tmp_path))
    measured, absent = case[0].measure()
    assert (ball["name"], int(ball["label"]), int(ball["voxels"])) == ("ball", 1, measured.voxels)
    assert float(ball["ml"]) == measured.ml == pytest.approx(BALL.ml, rel=0.04)
    assert tuple(float(ball[f"centroid_{a}_mm"]) for a in "xyz") == measured.centroid_mm
    assert measured.centroid_mm == pytest.approx(BALL.center_mm, abs=0.2)
    assert tuple(float(ball[f"extent_{a}_mm"]) for a in "ijk") == measured.extent_mm
    assert (ball["touches_border"], none["touches_border"]) == ("no", "no")
    assert (none["voxels"], float(none["ml"]), none["centroid_x_mm"]) == ("0", absent.ml, "")


def test_what_lies_at_the_edge_and_what_has_no_size_is_told(tmp_path):
    found, study = segmented(region=(slice(20, 30), slice(0, 31), slice(0, 32)))
    pixels = found.mask.info
    mask = replace(found.mask, info=replace(pixels, spacing_known=False))
    case = replace(found, mask=mask), study
    ball, _ = read(write(case, "csv", tmp_path))
    assert (ball["touches_border"], ball["ml"], ball["extent_i_mm"]) == ("yes", "", "")
    words = Page(summary_html(*case)).words
    assert "reaches the edge of what the model was shown" in words
    assert "a block of 10 × 31 × 32 voxels (i 20 to 29, j 0 to 30, k 0 to 31)" in words


def test_a_table_of_classes_holds_each_input_alone(tmp_path):
    no, yes = read(write(classified(), "csv", tmp_path))
    assert list(no) == ["name", "probability", "image_alone", "report_alone"]
    assert (no["name"], no["probability"], no["report_alone"]) == ("no", "0.333333", "0.9")
    assert (yes["probability"], yes["image_alone"], yes["report_alone"]) == (
        "0.666667",
        "0.5",
        "0.1",
    )


def test_names_run_no_formula(tmp_path):
    rows = read(write(segmented(("=1+1", "@x")), "csv", tmp_path))
    assert [row["name"] for row in rows] == ["'=1+1", "'@x"]
    assert float(rows[0]["ml"]) > 0
    names = [row["name"] for row in read(write(classified(("-a", "+b")), "csv", tmp_path / "c"))]
    assert names == ["'-a", "'+b"]


@pytest.mark.parametrize("make", [segmented, classified])
def test_a_page_stands_alone_and_runs_nothing(tmp_path, make):
    case = make()
    html = write(case, "html", tmp_path).read_text(encoding="utf-8")
    page = Page(html)
    assert page.tags.count("img") == len(page.sources) == 1
    assert page.sources[0].startswith("data:image/png;base64,")
    bare = re.sub(r'src="data:[^"]*"', "", html).lower()
    assert not re.search(r"https?:|//|<script|<link|@import|url\(|\bon\w+=", bare)
    assert "default-src 'none'" in html
    assert "Research use only, not a medical device." in page.words
    assert html == summary_html(*case)  # the same result, the same page


def test_a_page_says_what_the_json_says():
    found, study = segmented()
    words = Page(summary_html(found, study)).words
    for one in found.to_dict()["structures"]:
        assert f"{one['name']}{one['ml']:.2f}{one['voxels']}" in words
    assert "none0.000––not found" in words
    assert "MR, 30 × 31 × 32 voxels of 1.5 × 1 × 1 mm, axes RAS" in words
    assert "looks odd" in words
    assert "toy" in words
    assert "JANE" not in words
    assert "1970" not in words


def test_a_page_of_classes_says_their_probabilities():
    words = Page(summary_html(*classified())).words
    for said in ("Found: yes.", "yes 66.7% 50.0% 10.0%", "no 33.3% 50.0% 90.0%", "image alone",
                 "28 × 28 × 1 voxels, without known spacing", "the whole scan"):  # fmt: skip
        assert said in words
    several = Page(summary_html(*classified(multilabel=True))).words
    assert "Found: yes. Each class has a probability of its own." in several
    many = {f"c{n}": 1 / 40 for n in range(40)}
    found = classified()[0]
    more = replace(found, class_names=tuple(many), scores=many, alone={})
    assert "and 10 less likely classes" in Page(summary_html(more, classified()[1])).words


@pytest.mark.parametrize("make", [segmented, classified])
def test_names_are_text_on_a_page(make):
    found, study = make((EVIL, "b"), case_id=EVIL, model=EVIL, warnings=(EVIL,))
    html = summary_html(found, study)
    page = Page(html)
    assert "script" not in page.tags
    assert page.words.count(EVIL) >= 5  # title, heading, model, warning, name
    assert "<script" not in html


UNSURE = {"confidence": {"ball": 0.71}, "review": 0.83}
NOTE = (
    "Review: the model is less sure of ball (0.71) than of 95 % of the cases it was validated on "
    "(0.83)"
)


def test_the_page_says_that_a_person_should_look_and_why():
    found, study = segmented(**UNSURE)
    found = replace(found, warnings=("looks odd", NOTE.removeprefix("Review: ")))
    page = Page(summary_html(found, study))
    assert page.words.count("less sure of ball") == 1
    assert NOTE in page.words
    assert "looks odd" in page.words
    assert "0.71Review" in page.words  # the row of the structure
    assert "a model can be sure and wrong" in page.words
    sure = Page(summary_html(replace(found, review=0.7), study))
    assert "Review" not in sure.words
    assert "0.71" in sure.words
    plain = Page(summary_html(*segmented())).words
    assert not re.search("confidence|Review", plain)


def test_the_page_of_a_classification_says_how_sure_it_is():
    found, study = classified(confidence={"yes": 2 / 3}, review=0.7)
    words = Page(summary_html(found, study)).words
    assert "Found: yes. Confidence: 0.67." in words
    assert "Review: the model is less sure of yes (0.67) than" in words


def test_the_picture_says_that_a_person_should_look_and_why(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(
        "medvision.render.ink.text", lambda draw, at, words, *rest: drawn.append((at[1], words))
    )
    found, study = segmented(**UNSURE, warnings=("looks odd", NOTE.removeprefix("Review: ")))
    write_outputs(found, study, tmp_path, ["overlay"])
    words = " ".join(one for _, one in drawn)
    assert NOTE in words
    assert words.count("less sure of ball") == 1
    assert "! looks odd" in words
    ml = found.measure()[0].ml
    assert f"ball: {ml:.2f} ml · confidence 0.71" in words
    [top] = [y for y, one in drawn if one.startswith("Review:")]
    assert top < 60  # above the scan
    drawn.clear()
    write_outputs(*segmented(), tmp_path, ["overlay"])
    assert "confidence" not in " ".join(one for _, one in drawn)
