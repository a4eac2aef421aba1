"""The app, headless: what each state of the page says."""

from pathlib import Path

import numpy as np
import pytest
from hippocampus_data import template
from PIL import Image
from streamlit.testing.v1 import AppTest
from toy_classifier import Brightness, probability, write_classifier, write_picture
from toy_fusion import BRIGHT, DARK, REPORT, write_films

from medvision.fingerprint import FORCED
from medvision.outputs.nifti import save_nifti
from medvision.volume import Volume

PAGE = Path(__file__).parents[1] / "apps" / "medvision_app.py"


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    brain = template()
    save_nifti(Volume(brain.array, brain.affine, brain.info), folder / "brain.nii.gz")
    return folder


def open_page(monkeypatch, root, pictures=False):
    """Run the page on a folder; with `pictures` as for a browser without WebGL."""
    monkeypatch.setenv("MEDVISION_ROOT", str(root))
    monkeypatch.delenv("MEDVISION_MODELS", raising=False)
    page = AppTest.from_file(str(PAGE), default_timeout=120)
    page.session_state["pictures"] = pictures
    return page.run()


@pytest.fixture
def page(scans, monkeypatch):
    return open_page(monkeypatch, scans, pictures=True)


def test_a_model_runs_and_its_result_is_shown(page):
    assert not page.exception
    assert "not a medical device" in page.sidebar.caption[0].value
    assert page.subheader[0].value == "brain"
    assert page.selectbox(key="where").value == "mni:left-hippocampus"
    page.button[0].click().run()
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


@pytest.fixture
def classifier_page(tmp_path, monkeypatch):
    models, pictures = tmp_path / "models", tmp_path / "pictures"
    write_classifier(models / "toy")
    write_classifier(models / "toy3d", dims=3)
    write_picture(pictures / "a_gray.png", 140)
    write_picture(pictures / "b_large.png", 200, size=(640, 480))
    Image.new("RGB", (28, 28), (200, 30, 30)).save(pictures / "c_color.png")
    save_nifti(Volume(np.full((1, 9, 9, 9), 9, np.uint8), np.eye(4)), pictures / "d_scan.nii")
    monkeypatch.setattr("medvision.zoo.BUNDLED", models)
    monkeypatch.setattr("medvision.checkpoint.build_model", lambda spec: Brightness())
    return open_page(monkeypatch, pictures, pictures=True)


def downloads_of(page):
    return [button.label for button in page.get("download_button")]


def test_a_classifier_runs_and_its_probabilities_are_shown(classifier_page):
    page = classifier_page
    assert page.selectbox(key="where").options == ["the whole scan"]
    page.button[0].click().run()
    assert not page.exception
    assert not page.error
    assert not page.warning
    assert not page.checkbox  # there is no mask to hide
    assert page.metric[0].value == "bright"
    assert page.metric[0].label == f"Likeliest class, {probability(140):.1%}"
    table = page.dataframe[0].value
    assert list(table["class"]) == ["bright", "dark"]
    assert table["probability"][0] == pytest.approx(probability(140), abs=1e-6)
    assert downloads_of(page) == ["Numbers (JSON)", "Picture (PNG)"]


def test_what_a_classifier_was_not_trained_on_is_warned_of(classifier_page):
    page = classifier_page
    page.selectbox(key="scan").select("b_large").run()
    page.button[0].click().run()
    assert not page.exception
    assert page.warning[0].value == FORCED
    assert page.warning[1].value == "extent 640 pixels wide: trained on 28 pixels"
    assert page.metric[0].value == "bright"


@pytest.mark.parametrize(
    ("scan", "says"), [("c_color", "takes one channel"), ("d_scan", "takes one picture")]
)
def test_what_no_model_takes_is_told_and_can_be_looked_at(classifier_page, scan, says):
    page = classifier_page
    page.selectbox(key="scan").select(scan).run()
    page.button[0].click().run()
    assert not page.exception
    assert says in page.error[0].value
    assert page.subheader[0].value == scan
    assert not page.metric


def test_a_classified_scan_keeps_its_sliders_and_letters(classifier_page):
    page = classifier_page
    page.selectbox(key="scan").select("d_scan").run()
    page.selectbox(key="model").select("toy3d").run()
    page.selectbox(key="where").select("a box that I type").run()
    page.text_input[0].set_value("0:4,0:8,0:8").run()
    page.button[0].click().run()
    assert not page.exception
    assert page.metric[0].value == "dark"
    assert [page.slider(key=f"axis{a}").value for a in range(3)] == [3, 5, 5]  # the box's middle
    page.selectbox(key="scan").select("a_gray").run()  # which has no boxes
    assert not page.exception


@pytest.fixture
def fusion_page(tmp_path, monkeypatch):
    monkeypatch.setattr("medvision.zoo.BUNDLED", tmp_path / "models")
    return open_page(monkeypatch, write_films(tmp_path))


def press(page, label):
    [button] = [one for one in page.button if one.label == label]
    return button.click().run()


def test_a_report_is_read_beside_the_image_and_can_be_changed(fusion_page, caplog):
    page = fusion_page
    report = page.text_area[0]
    assert report.label == "Radiology report"
    assert report.value == REPORT
    told = page.sidebar.caption[-1].value
    assert told.startswith("The model reads the sections indication, history, comparison.")
    assert "Hidden from it: pneumonia." in told
    press(page, "Run")
    assert not page.exception
    assert not page.error
    first = page.dataframe[0].value
    assert list(first.columns) == ["class", "probability", "image alone", "report alone"]
    page.text_area[0].set_value("INDICATION: no pain").run()
    assert not page.dataframe  # another question has no answer yet
    press(page, "Run")
    second = page.dataframe[0].value.set_index("class")
    first = first.set_index("class")
    assert second["image alone"][BRIGHT] == pytest.approx(first["image alone"][BRIGHT])
    assert second["report alone"][BRIGHT] != pytest.approx(first["report alone"][BRIGHT], abs=1e-4)
    page.text_area[0].set_value("").run()
    press(page, "Run")
    assert list(page.dataframe[0].value.columns) == ["class", "probability"]
    assert page.warning[0].value == "no report: the answer is from the image alone"
    page.selectbox(key="scan").select("b").run()
    assert page.text_area[0].value == ""
    assert "pain" not in caplog.text
    assert "fever" not in caplog.text


def test_an_answer_is_explained_in_image_and_words(fusion_page):
    page = fusion_page
    press(page, "Run")
    assert not page.get("html")
    for name in (DARK, BRIGHT):
        [choice] = [one for one in page.selectbox if one.label == "What speaks for"]
        choice.select(name).run()
        assert not page.get("html")
        press(page, "Explain")
        assert not page.exception
        [words] = page.get("html")
        assert "fever" in words.proto.body
        assert "Not shown to the model: findings" in words.proto.body
        assert any(f"spoke for {name}" in one.value for one in page.caption)
    assert any(one.value.startswith("Weight in the joint answer: image") for one in page.caption)
    assert "Explanation (HTML)" in downloads_of(page)


def test_a_broken_scan_is_told_in_words(tmp_path, monkeypatch):
    (tmp_path / "bad.nii").write_text("no image")
    page = open_page(monkeypatch, tmp_path)
    assert not page.exception
    assert "bad.nii is not a readable NIfTI file" in page.error[0].value


def test_an_empty_folder_is_told_in_words(tmp_path, monkeypatch):
    page = open_page(monkeypatch, tmp_path)
    assert "No scan in" in page.error[0].value
