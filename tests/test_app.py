"""The app, headless and in a real browser."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hippocampus_data import template
from PIL import Image
from streamlit.testing.v1 import AppTest
from toy_classifier import Brightness, probability, write_classifier, write_picture
from toy_fusion import BRIGHT, DARK, REPORT, TEXT, spec_of, write_toy

from medvision.fingerprint import FORCED
from medvision.outputs.nifti import save_nifti
from medvision.volume import Volume

PAGE = Path(__file__).parents[1] / "apps" / "medvision_app.py"
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
PORT = {"medvision": "port", "streamlit": "server.port"}  # option of each command
CLASSIFIER_PAGE = """
import runpy, sys
from pathlib import Path
sys.path.insert(0, "{tests}")
import medvision.checkpoint, medvision.zoo, toy_classifier
medvision.zoo.BUNDLED = Path("{folder}") / "models"
medvision.checkpoint.build_model = lambda spec: toy_classifier.Brightness()
runpy.run_path("{app}")
"""
FUSION_PAGE = """
import runpy
from pathlib import Path
import medvision.zoo
medvision.zoo.BUNDLED = Path("{folder}") / "models"
runpy.run_path("{app}")
"""


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    brain = template()
    save_nifti(Volume(brain.array, brain.affine, brain.info), folder / "brain.nii.gz")
    return folder


@pytest.fixture
def page(scans, monkeypatch):
    monkeypatch.setenv("MEDVISION_ROOT", str(scans))
    return AppTest.from_file(str(PAGE), default_timeout=120).run()


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
    monkeypatch.setenv("MEDVISION_ROOT", str(pictures))
    return AppTest.from_file(str(PAGE), default_timeout=120).run()


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


def write_films(folder):
    """Write a model that reads reports, and films, of which one has a report."""
    write_toy(folder / "models" / "reader", spec_of(2, TEXT, name="reader"))
    films = folder / "films"
    write_picture(films / "a.png", 80, (40, 40))
    (films / "a.txt").write_text(REPORT)
    write_picture(films / "b.png", 30, (40, 40))
    return films


@pytest.fixture
def fusion_page(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDVISION_ROOT", str(write_films(tmp_path)))
    monkeypatch.setattr("medvision.zoo.BUNDLED", tmp_path / "models")
    return AppTest.from_file(str(PAGE), default_timeout=120).run()


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
    monkeypatch.setenv("MEDVISION_ROOT", str(tmp_path))
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not page.exception
    assert "bad.nii is not a readable NIfTI file" in page.error[0].value


def test_an_empty_folder_is_told_in_words(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDVISION_ROOT", str(tmp_path))
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert "No scan in" in page.error[0].value


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def serving(command, **environment):
    """Run a server until the block ends; yields its address."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", *command, f"--{PORT[command[0]]}={port}"],
        env={**os.environ, "STREAMLIT_SERVER_HEADLESS": "true", **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            for _ in range(120):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2)
                    break
                except OSError:
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, 15)


@contextmanager
def browsing(address):
    """Open a page in a browser until the block ends."""
    if CHROMIUM is None:
        pytest.skip("needs a Chromium browser")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra test)")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1400, "height": 1000})
        tab.goto(address)
        yield tab
        browser.close()


def test_a_person_runs_a_classifier_in_a_browser(tmp_path):
    write_classifier(tmp_path / "models" / "toy")
    write_picture(tmp_path / "pictures" / "gray.png", 140)
    page = tmp_path / "page.py"
    page.write_text(CLASSIFIER_PAGE.format(tests=Path(__file__).parent, folder=tmp_path, app=PAGE))
    root = str(tmp_path / "pictures")
    with (
        serving(["streamlit", "run", str(page)], MEDVISION_ROOT=root) as address,
        browsing(address) as tab,
    ):
        tab.get_by_role("button", name="Run").click(timeout=120_000)
        tab.get_by_text(f"Likeliest class, {probability(140):.1%}").wait_for(timeout=120_000)
        assert tab.locator("[data-testid=stImage] img").count() == 1
        with tab.expect_download() as download:
            tab.get_by_text("Picture (PNG)").click()
        assert download.value.suggested_filename == "gray.png"
        with Image.open(download.value.path()) as picture:
            assert picture.width > 400
        tab.screenshot(path=os.environ.get("MEDVISION_SCREENSHOT", str(tmp_path / "page.png")))


def test_a_person_has_an_answer_explained_in_a_browser(tmp_path):
    films, page = write_films(tmp_path), tmp_path / "page.py"
    page.write_text(FUSION_PAGE.format(folder=tmp_path, app=PAGE))
    with (
        serving(["streamlit", "run", str(page)], MEDVISION_ROOT=str(films)) as address,
        browsing(address) as tab,
    ):
        report = tab.get_by_label("Radiology report")
        report.fill("INDICATION: fever, pneumonia?", timeout=120_000)
        report.press("Control+Enter")
        tab.get_by_role("button", name="Run").click()
        tab.get_by_role("button", name="Explain").click(timeout=120_000)
        word = tab.locator("[data-testid=stHtml] span", has_text="fever").last
        word.wait_for(timeout=120_000)
        color = word.evaluate("one => getComputedStyle(one).backgroundColor")
        assert color.startswith("rgba(")
        assert not color.endswith(" 0)")
        assert tab.locator("[data-testid=stHtml]").get_by_text("hidden", exact=True).count() == 1
        assert tab.locator("[data-testid=stImage] img").count() == 3  # the film, twice more
        tab.screenshot(
            path=os.environ.get("MEDVISION_SCREENSHOT", str(tmp_path / "page.png")), full_page=True
        )
        with tab.expect_download() as download:
            tab.get_by_text("Explanation (HTML)").click()
        assert download.value.suggested_filename == "a_explained.html"
        assert "fever" in Path(download.value.path()).read_text(encoding="utf-8")


def test_a_person_runs_the_model_in_a_browser(scans, tmp_path):
    with serving(["medvision", "app", str(scans)]) as address, browsing(address) as tab:
        tab.get_by_role("button", name="Run").click(timeout=120_000)
        tab.get_by_text("Mask (NIfTI)").wait_for(timeout=120_000)
        pictures = tab.locator("[data-testid=stImage] img")
        assert pictures.count() == 3
        shown = pictures.nth(0).screenshot(path=str(tmp_path / "axial.png"))
        tab.screenshot(path=os.environ.get("MEDVISION_SCREENSHOT", str(tmp_path / "page.png")))
        with tab.expect_download() as download:
            tab.get_by_text("Mask (NIfTI)").click()
        assert download.value.suggested_filename == "brain.nii.gz"
    pixels = np.asarray(Image.open(BytesIO(shown)).convert("RGB")).astype(int)
    assert (np.ptp(pixels, axis=-1) > 40).mean() > 0.001  # the colored mask is on the page
