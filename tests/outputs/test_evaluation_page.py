"""The page of an evaluation: the figures of the table, curves by hand, no script, no network."""

import re
from dataclasses import replace
from html import unescape
from itertools import pairwise

import numpy as np
import pytest
import simulated_scores
from app_server import browsing
from outputs.test_summary import Page
from PIL import Image

from medvision.differences import model_differences, subgroup_figures
from medvision.outputs.class_charts import (
    OneClass,
    classes_of,
    precision_recall_points,
    reliability,
    roc_points,
)
from medvision.outputs.curves import Axes, ticks
from medvision.outputs.evaluation_page import (
    CasePicture,
    EvaluationFacts,
    case_in_words,
    evaluation_html,
    extreme_cases,
)
from medvision.outputs.mask_charts import limits_of_agreement
from medvision.score_tables import score_table
from medvision.scores import ClassScore, LabelScore, MaskScore
from medvision.statistics import summarize
from medvision.weighted import curve_of

EVIL = '<script>alert("1")</script>&'
PATIENTS = 24
DRAWS = 200  # enough for a table


def groups():
    return simulated_scores.case_ids(PATIENTS)


def masks(seed=0, names=("liver", EVIL)):
    """Two structures in 72 cases; of every ninth case the first is neither there nor found."""
    rng = np.random.default_rng(seed)
    found = []
    for name in names:
        for n, one in enumerate(simulated_scores.masks(rng, PATIENTS)):
            if n % 9 == 0 and name == names[0]:
                nothing = MaskScore(
                    one.case_id, name, 1.0, np.nan, 0.0, 0.0, None, 1.0, 1.0, np.nan, 0, 0, 0, 0
                )
                found.append(nothing)
                continue
            missed = int(n % 10 == 0)
            error = float(rng.normal(0, 0.1))
            found.append(
                replace(one, structure=name, error_ml=error, iou=one.dice / (2 - one.dice), nsd=0.9,
                        assd_mm=0.5, true_lesions=2, hit_lesions=2 - missed, found_lesions=3,
                        false_lesions=1)
            )  # fmt: skip
    return found


def classes(seed=0):
    every = simulated_scores.classes(np.random.default_rng(seed), PATIENTS)
    return [replace(one, confidence=max(one.scores.values())) for one in every]


def labels(seed=0, names=("edema", EVIL, "mass")):
    rng = np.random.default_rng(seed)
    found = []
    for case_id in groups():
        has = rng.random(3) < 0.4
        share = np.clip(0.3 * has + 0.7 * rng.random(3), 0, 1).tolist()
        true = tuple(name for name, there in zip(names, has, strict=True) if there)
        found.append(LabelScore(case_id, true, dict(zip(names, share, strict=True)), 0.6))
    return found


KINDS = {"masks": masks, "classes": classes, "labels": labels}


def facts_of(kind, **more):
    scores, other = KINDS[kind](), KINDS[kind](1)
    if kind == "labels":  # the same truth
        other = [replace(b, truths=a.truths) for a, b in zip(scores, other, strict=True)]
    if kind == "masks":
        other = [replace(b, truth_ml=a.truth_ml) for a, b in zip(scores, other, strict=True)]
    patients = groups()
    by = {case_id: {"site": ("a", EVIL)[n % 2]} for n, case_id in enumerate(patients)}
    facts = EvaluationFacts(
        f"toy {EVIL}",
        scores,
        summarize(scores, patients),
        subgroup_figures(scores, by, patients, draws=DRAWS),
        model_differences(scores, other, patients, draws=DRAWS),
        f"baseline {EVIL}",
        other,
        [CasePicture(f"c1 {EVIL}", f"worst {EVIL}", Image.new("RGB", (60, 40), "gray"))],
        f"medvision evaluate {EVIL}",
        {f"Model {EVIL}": EVIL},
        {"torch": "2.13.0", "medvision-toolkit": "9.8.7"},
        [f"odd {EVIL}"],
    )
    return replace(facts, **more)


@pytest.fixture(scope="module", params=list(KINDS))
def told(request):
    facts = facts_of(request.param)
    return facts, evaluation_html(facts)


def cells(html):
    """The text of every cell, as a person reads it."""
    plain = [re.sub(r"<[^>]+>", "", one) for one in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", html)]
    return [unescape(one) for one in plain]


def test_a_page_stands_alone_and_runs_nothing(told):
    facts, html = told
    page = Page(html)  # every tag closes
    assert [source[:22] for source in page.sources] == ["data:image/jpeg;base64"]
    bare = re.sub(r'src="data:[^"]*"', "", html).lower()
    assert not re.search(r"https?:|//|<link|@import|url\(|<script>", bare.replace("</script", ""))
    assert not {"script", "iframe", "object"} & set(page.tags)
    assert "default-src 'none'" in html
    assert "Research use only, not a medical device." in page.words
    for said in (f"toy {EVIL}", f"medvision evaluate {EVIL}", "9.8.7", f"odd {EVIL}"):
        assert said in page.words
    assert html == evaluation_html(facts)  # the same facts, the same page


def test_the_numbers_are_those_of_the_table(told):
    facts, html = told
    table = score_table(facts.scores, groups())
    said = set(cells(html))
    numbers = [
        cell
        for line in table.splitlines()
        if line.startswith("| ")
        for cell in line.strip("| ").split(" | ")
    ]
    assert len([one for one in numbers if " to " in one]) >= 10
    assert not [one for one in numbers if one not in said]


def test_every_chart_has_its_numbers_in_words(told):
    _, html = told
    charts = re.findall(r"<svg [^>]*>", html)
    assert charts
    assert all('role="img" aria-label="' in one or 'aria-hidden="true"' in one for one in charts)
    assert "nan" not in re.sub(r"<style>.*?</style>|aria-label", "", html, flags=re.S).lower()


def test_sub_groups_and_differences_are_told_with_their_p_values(told):
    facts, html = told
    said = cells(html)
    for one in [*facts.differences, *(f for f in facts.subgroups if f.versus)]:
        for p in (one.p, one.p_holm):
            assert np.isnan(p) or ("<0.001" if p < 0.001 else f"{p:.3f}") in said
    for site in ("site: a", f"site: {EVIL}"):
        assert said.count(site) >= 2  # in the forest plot, and in the table of all


def test_of_one_model_without_patients_nothing_is_made_up():
    scores = [MaskScore("a", "liver", 0.8, 2.0, 10.0, 1.0)]  # as earlier versions wrote
    page = Page(evaluation_html(EvaluationFacts("old", scores, summarize(scores, draws=0))))
    assert "Lesions" not in page.words
    assert "Empty masks" not in page.words
    assert "Sub-groups" not in page.words
    assert "1 case0.800 Dice" in re.sub(r"(?<=case)\s", "", page.words)


def test_what_was_empty_or_missed_is_counted():
    page = Page(evaluation_html(facts_of("masks")))
    assert "liver728008" in page.words  # cases, both, only found, missed, without a distance
    # the second structure: 72 cases, two lesions each, 8 cases with one missed, one false each
    assert f"{EVIL}144136720.944" in page.words


def test_the_roc_curve_by_hand():
    wanted = np.array([True, False, True, False])
    one = OneClass("ill", wanted, np.array([0.9, 0.7, 0.7, 0.1]))
    # 0.9: one of two hits; 0.7: a hit and an alarm together; 0.1: the other alarm
    assert roc_points(one) == [(0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 1.0)]
    assert roc_points(OneClass("none", ~wanted | wanted, one.share)) == []


def test_the_precision_recall_curve_by_hand():
    wanted = np.array([True, False, True, False])
    one = OneClass("ill", wanted, np.array([0.9, 0.7, 0.7, 0.1]))
    points = precision_recall_points(one)
    steps = [(0.0, 1.0), (0.5, 1.0), (0.5, 2 / 3), (1.0, 2 / 3), (1.0, 0.5), (1.0, 0.5)]
    assert np.array(points) == pytest.approx(np.array(steps))
    below = sum((b[0] - a[0]) * b[1] for a, b in pairwise(points))
    assert below == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_what_lies_below_the_curves_is_what_is_told():
    [one] = classes_of(classes())
    curve = curve_of(one.wanted, one.share, np.ones((1, len(one.share))))
    for points, area in (
        (roc_points(one), curve.auc()),
        (precision_recall_points(one), curve.average_precision()),
    ):
        x, y = np.transpose(points)
        assert np.trapezoid(y, x) == pytest.approx(area[0])


def test_reliability_by_hand():
    share = np.array([0.05, 0.15, 0.12, 0.95, 1.0])
    bins = reliability(share, np.array([False, True, False, True, True]))
    assert [one.count for one in bins] == [1, 2, 2]
    assert [one.low for one in bins] == pytest.approx([0.0, 0.1, 0.9])
    assert [one.said for one in bins] == pytest.approx([0.05, 0.135, 0.975])
    assert [one.true for one in bins] == pytest.approx([0.0, 0.5, 1.0])


@pytest.mark.parametrize("right", [True, False])
def test_reliability_where_all_are_right_or_wrong(right):
    [one] = reliability(np.array([0.95, 1 + 1e-7]), np.array([right, right]))
    assert (one.count, one.true) == (2, float(right))


def test_a_class_that_no_case_has_gets_no_curve():
    scores = [
        ClassScore(f"c{n}", "ab"[n % 2], {"a": 0.5 - n / 20, "b": 0.4, "c": 0.1 + n / 20})
        for n in range(6)
    ]
    words = Page(evaluation_html(EvaluationFacts("toy", scores, summarize(scores)))).words
    assert "ROC of c: no curve, as no case has it or all have" in words
    assert "ROC of a: AUC" in words


def test_a_page_of_many_cases_stays_small():
    rng = np.random.default_rng(0)
    scores = [
        MaskScore(f"case {n}", "liver", float(d), 1.0, 10.0, float(d) - 0.5)
        for n, d in enumerate(rng.random(5000))
    ]
    html = evaluation_html(EvaluationFacts("many", scores, summarize(scores, draws=0)))
    assert html.count("<circle") == 1000
    assert "one case in 5 is drawn" in html
    many = [ClassScore(f"c{n}", "ab"[int(rng.random() < p)], {"a": 1 - p, "b": p})
            for n, p in enumerate(rng.random(20_000).tolist())]  # fmt: skip
    html = evaluation_html(EvaluationFacts("many", many, summarize(many, draws=0)))
    assert len(html) < 200_000


def test_the_confusion_matrix_by_hand():
    said = {"a": {"a": 0.8, "b": 0.2}, "b": {"a": 0.3, "b": 0.7}}
    pairs = ["aa", "aa", "ab", "bb", "ba"]  # true, found
    scores = [ClassScore(f"c{n}", true, said[found]) for n, (true, found) in enumerate(pairs)]
    page = evaluation_html(EvaluationFacts("toy", scores, summarize(scores, draws=0)))
    table = page[page.index("true, by row") :]
    assert cells(table[: table.index("</table>")])[2:] == ["a", "2", "1", "b", "1", "1"]


def test_limits_of_agreement_by_hand():
    found = limits_of_agreement([-0.5, 0.5, 1.5], 0.5)  # mean 0.5, standard deviation 1
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, -1.46, 2.46))
    assert np.isnan(limits_of_agreement([1.0], 1.0).low)


def test_the_mean_error_ends_alike_in_all_tables():
    # their mean is -0.0245: in what digit it ends hangs on the order in which they are summed
    errors = [0.1577, -0.1565, -0.0907, -0.2067, 0.1075, 0.0417]
    scores = [MaskScore(f"c{n}", "liver", 0.9, 1, 1, error) for n, error in enumerate(errors)]
    figures = summarize(scores, draws=0)
    [mean] = [one.value for one in figures if one.metric == "error_ml"]
    html = evaluation_html(EvaluationFacts("toy", scores, figures))
    assert f"mean error {mean:+.3f} ml" in html
    assert cells(html).count(f"{mean:+.3f}") == 3  # the main figures, volumes, all figures
    assert len({"-0.024", "-0.025"} & set(cells(html))) == 1


def test_what_is_counted_is_called_a_case_everywhere(told):
    _, html = told
    assert re.search(r"median .*, from .* to .*, \d+ cases", Page(html).words)
    assert "stud" not in Page(html).words


def test_axes_run_up_and_to_the_right():
    axes = Axes("", "", (-1, 1), (0, 10))
    left, low = axes.place((-1, 0))
    right, high = axes.place((1, 10))
    assert left < right
    assert high < low
    assert ticks((0, 1)) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])


@pytest.mark.parametrize(
    ("count", "worst", "best"),
    [(1, ["b"], ["d"]), (2, ["b", "a"], ["d", "c"]), (3, ["b", "a"], ["d", "c"])],
)
def test_extreme_cases_are_in_one_list_only(count, worst, best):
    dice = {"a": 0.5, "b": 0.1, "c": 0.5, "d": 0.9}
    scores = [
        MaskScore(case_id, name, value + shift, 1.0, 1.0, 0.0)
        for case_id, value in dice.items()
        for name, shift in (("liver", 0.1), ("spleen", -0.1))
    ]
    assert extreme_cases(scores, count) == (worst, best)
    assert case_in_words(scores, "b") == "spleen Dice 0.000, liver Dice 0.200"


def test_extreme_cases_of_classes_are_those_least_sure_of_the_truth():
    scores = [
        LabelScore("a", ("x",), {"x": 0.9, "y": 0.2}),  # 0.85 on average
        LabelScore("b", (), {"x": 0.6, "y": 0.2}),  # 0.6
    ]
    assert extreme_cases(scores) == (["b"], ["a"])
    assert case_in_words(scores, "b") == "true: none"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_in_a_browser_the_page_fits_and_can_be_read(told, tmp_path, scheme, width):
    _, html = told
    path = tmp_path / "report.html"
    path.write_text(html, encoding="utf-8")
    with browsing("about:blank", webgl=False, size=(width, 800)) as tab:
        asked = []
        tab.on("request", lambda one: asked.append(one.url))
        tab.emulate_media(color_scheme=scheme)
        tab.goto(path.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        body = "getComputedStyle(document.body).color"
        white = "getComputedStyle(document.documentElement).backgroundColor"
        ink, paper = (re.findall(r"\d+", tab.evaluate(one)) for one in (body, white))
        ink, paper = (sum(map(int, one[:3])) for one in (ink, paper))
        assert (ink > paper) == (scheme == "dark")
        assert abs(ink - paper) > 500
        tab.emulate_media(media="print", color_scheme=scheme)
        assert tab.evaluate(white) == "rgb(255, 255, 255)"
    assert [one for one in asked if not one.startswith(("file:", "data:"))] == []
