"""The app, headless: what each state of the page says."""

import numpy as np
import pytest
from app_pages import open_page, press
from hippocampus_data import template
from PIL import Image
from state import plain
from toy_classifier import Brightness, probability, write_classifier, write_picture
from toy_fusion import BRIGHT, DARK, REPORT, write_films

from medvision.fingerprint import FORCED
from medvision.outputs.nifti import save_nifti
from medvision.volume import Volume


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    brain = template()
    save_nifti(Volume(brain.array, brain.affine, brain.info), folder / "brain.nii.gz")
    return folder


@pytest.fixture
def page(scans, monkeypatch):
    return open_page(monkeypatch, scans, pictures=True)


def test_a_model_runs_and_its_result_is_shown(page):
    assert not page.exception
    assert "not a medical device" in "".join(one.proto.body for one in page.get("html"))
    assert page.caption[0].value.startswith("**brain** · brain · 197 × 233 × 189")
    assert page.selectbox(key="where").value == "mni:left-hippocampus"
    press(page, "Run")
    assert not page.exception
    table = page.dataframe[0].value
    assert list(table["structure"]) == ["anterior", "posterior"]
    assert 3.5 < table["ml"].sum() < 6
    # the sliders went to what was found: left of the middle, behind the front, low
    assert [page.slider(key=f"axis{a}").value for a in range(3)] == pytest.approx(
        [98 - 26, 134 - 22, 72 - 14], abs=5
    )
    page.selectbox(key="where").select("mni:right-hippocampus").run()
    assert not page.dataframe  # another question has no answer yet


def table_of(page, column):
    """The table that has a column."""
    [table] = [one.value for one in page.dataframe if column in one.value.columns]
    return table


def words_of(page):
    """What is said in HTML, without the page's own."""
    return [one.proto.body for one in page.get("html") if "medvision-name" not in one.proto.body]


@pytest.fixture
def classifier_page(tmp_path, monkeypatch):
    models, pictures = tmp_path / "models", tmp_path / "pictures"
    write_classifier(models / "toy")
    write_classifier(models / "toy3d", dims=3)
    write_picture(pictures / "a_gray.png", 140)
    write_picture(pictures / "b_large.png", 200, size=(640, 240))
    Image.new("RGB", (28, 28), (200, 30, 30)).save(pictures / "c_color.png")
    save_nifti(Volume(np.full((1, 9, 9, 9), 9, np.uint8), np.eye(4)), pictures / "d_scan.nii")
    monkeypatch.setattr("medvision.zoo.BUNDLED", models)
    monkeypatch.setattr("medvision.checkpoint.build_model", lambda spec: Brightness())
    return open_page(monkeypatch, pictures, pictures=True)


def downloads_of(page):
    return [button.label for button in page.get("download_button")]


def test_a_classifier_runs_and_its_probabilities_are_shown(classifier_page):
    page = classifier_page
    assert "where" not in [one.key for one in page.selectbox]  # a picture has no mm
    press(page, "Run")
    assert not page.exception
    assert not page.error
    assert not page.warning
    assert not page.checkbox  # there is no mask to hide
    assert page.metric[0].value == "bright"
    assert page.metric[0].label == f"Likeliest class, {probability(140):.1%}"
    table = page.dataframe[0].value
    assert list(table["class"]) == ["bright", "dark"]
    assert table["probability"][0] == pytest.approx(probability(140), abs=1e-6)
    assert downloads_of(page) == [
        "Table (CSV)",
        "Numbers (JSON)",
        "Summary (HTML)",
        "Picture (PNG)",
    ]


def test_what_a_classifier_was_not_trained_on_is_warned_of(classifier_page):
    page = classifier_page
    page.selectbox(key="scan").select("b_large").run()
    press(page, "Run")
    assert not page.exception
    [box] = page.error  # one box, above the picture
    assert f"- {FORCED}\n- 640 × 240 pixels: trained on another shape" in box.value
    assert not page.warning
    assert page.metric[0].value == "bright"


@pytest.mark.parametrize(
    ("scan", "says"), [("c_color", "takes one channel"), ("d_scan", "takes one picture")]
)
def test_what_no_model_takes_is_told_and_can_be_looked_at(classifier_page, scan, says):
    page = classifier_page
    page.selectbox(key="scan").select(scan).run()
    press(page, "Run")
    assert not page.exception
    assert says in page.error[0].value
    assert any(one.value.startswith(f"**{plain(scan)}**") for one in page.caption)
    assert not page.metric


def test_a_classified_scan_keeps_its_sliders_and_letters(classifier_page):
    page = classifier_page
    page.selectbox(key="scan").select("d_scan").run()
    page.selectbox(key="model").select("toy3d").run()
    page.selectbox(key="where").select("a box").run()
    page.text_input[0].set_value("0:4,0:8,0:8").run()
    press(page, "Run")
    assert not page.exception
    assert page.metric[0].value == "dark"
    assert [page.slider(key=f"axis{a}").value for a in range(3)] == [3, 5, 5]  # the box's middle
    page.selectbox(key="scan").select("a_gray").run()  # which has no boxes
    assert not page.exception


@pytest.fixture
def fusion_page(tmp_path, monkeypatch):
    monkeypatch.setattr("medvision.zoo.BUNDLED", tmp_path / "models")
    return open_page(monkeypatch, write_films(tmp_path))


def test_a_report_is_read_beside_the_image_and_can_be_changed(fusion_page, caplog):
    page = fusion_page
    report = page.text_area[0]
    assert report.label == "Radiology report"
    assert report.value == REPORT
    [told] = [one.value for one in page.caption if one.value.startswith("The model reads")]
    assert told.startswith("The model reads the sections indication, history, comparison.")
    assert "Hidden from it: pneumonia." in told
    press(page, "Run")
    assert not page.exception
    assert not page.error
    first = table_of(page, "class")
    assert list(first.columns) == ["class", "probability", "image alone", "report alone"]
    assert [one.label for one in page.metric][-1].startswith("Likeliest class")
    page.text_area[0].set_value("INDICATION: no pain").run()
    assert not page.dataframe  # another question has no answer yet
    press(page, "Run")
    first, second = (t.set_index("class") for t in (first, table_of(page, "class")))
    tried = table_of(page, "report")
    assert list(tried["report"]) == ["As it came", "INDICATION: no pain"]
    likeliest = first["probability"].idxmax()
    now = page.metric[0]
    assert now.label == f"{likeliest}, now".capitalize()
    change = 100 * (second["probability"] - first["probability"])[likeliest]
    assert now.delta == f"{change:+.1f} points"
    assert tried[likeliest].tolist() == [t["probability"][likeliest] for t in (first, second)]
    assert second["image alone"][BRIGHT] == pytest.approx(first["image alone"][BRIGHT])
    assert second["report alone"][BRIGHT] != pytest.approx(first["report alone"][BRIGHT], abs=1e-4)
    press(page, "Blank")
    assert page.text_area[0].value == ""
    press(page, "Run")
    assert list(table_of(page, "class").columns) == ["class", "probability"]
    assert list(table_of(page, "report")["report"])[-1] == "(no report)"
    press(page, "As it came")
    assert page.text_area[0].value == REPORT
    assert table_of(page, "class").set_index("class").equals(first)  # it was asked before
    press(page, "Blank")
    assert page.warning[0].value == "no report: the answer is from the image alone"
    page.selectbox(key="scan").select("b").run()
    assert page.text_area[0].value == ""
    assert "pain" not in caplog.text
    assert "fever" not in caplog.text


def test_an_answer_is_explained_in_image_and_words(fusion_page):
    page = fusion_page
    press(page, "Run")
    assert any("fever" in words for words in words_of(page))  # explained by itself
    for name in (DARK, BRIGHT):
        [choice] = [one for one in page.selectbox if one.label == "What speaks for"]
        choice.select(name).run()
        press(page, "Explain")
        assert not page.exception
        [words] = words_of(page)
        assert "fever" in words
        assert "Not shown to the model: findings" in words
        assert any(f"spoke for {name}" in one.value for one in page.caption)
    assert any(one.value.startswith("image ") and "Gates:" in one.value for one in page.caption)
    assert "Explanation (HTML)" in downloads_of(page)


def test_a_broken_scan_is_told_in_words(tmp_path, monkeypatch):
    (tmp_path / "bad.nii").write_text("no image")
    page = open_page(monkeypatch, tmp_path)
    assert not page.exception
    assert "bad.nii is not a readable NIfTI file" in page.error[0].value


def test_an_empty_folder_is_told_in_words(tmp_path, monkeypatch):
    page = open_page(monkeypatch, tmp_path)
    assert "No scan in" in page.info[0].value
    page = press(page, "Go to Browse, to upload one")
    assert "Drop one below" in page.info[0].value
