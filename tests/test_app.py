"""The app, headless and in a real browser."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from hippocampus_data import template
from streamlit.testing.v1 import AppTest

from medvision.outputs.nifti import save_nifti
from medvision.volume import Volume

PAGE = Path(__file__).parents[1] / "apps" / "medvision_app.py"
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


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


@pytest.fixture
def served(scans):
    port = free_port()
    command = [sys.executable, "-m", "medvision", "app", str(scans), "--port", str(port)]
    environment = {**os.environ, "STREAMLIT_SERVER_HEADLESS": "true"}
    with subprocess.Popen(
        command,
        env=environment,
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


def test_a_person_runs_the_model_in_a_browser(served, tmp_path):
    if CHROMIUM is None:
        pytest.skip("needs a Chromium browser")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra test)")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1400, "height": 1000})
        tab.goto(served)
        tab.get_by_role("button", name="Run").click(timeout=120_000)
        tab.get_by_text("Mask (NIfTI)").wait_for(timeout=120_000)
        pictures = tab.locator("[data-testid=stImage] img")
        assert pictures.count() == 3
        shown = pictures.nth(0).screenshot(path=str(tmp_path / "axial.png"))
        tab.screenshot(path=os.environ.get("MEDVISION_SCREENSHOT", str(tmp_path / "page.png")))
        with tab.expect_download() as download:
            tab.get_by_text("Mask (NIfTI)").click()
        assert download.value.suggested_filename == "brain.nii.gz"
        browser.close()
    from io import BytesIO

    from PIL import Image

    pixels = np.asarray(Image.open(BytesIO(shown)).convert("RGB")).astype(int)
    assert (np.ptp(pixels, axis=-1) > 40).mean() > 0.001  # the colored mask is on the page
