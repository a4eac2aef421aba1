"""Several people at the app: cancelled runs, reloads, and what nobody else gets."""

import http.client
import json
import re
import zipfile
from contextlib import closing
from urllib.parse import urlsplit

import numpy as np
import pytest
from app_server import browsing, serving
from dicom_phantom import write_series
from hippocampus_data import template
from test_app_browser import SLOW, choose, viewer_of

from medvision.outputs.nifti import save_nifti
from medvision.volume import Volume


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A brain at 2 mm, a DICOM series, and a broken one; yields the address and the log."""
    root = tmp_path_factory.mktemp("scans")
    brain = template()
    half = brain.affine.copy()
    half[:3, :3] *= 2
    save_nifti(Volume(brain.array[:, ::2, ::2, ::2], half, brain.info), root / "brain.nii.gz")
    cube = np.zeros((1, 20, 20, 8), np.int16)
    cube[0, 5:9, 5:9, 2:5] = 900
    files = write_series(root / "ct", Volume(cube, np.diag([2.0, 2, 3, 1])))
    for file in write_series(root / "cut", Volume(cube, np.eye(4)), description="cut"):
        file.write_bytes(file.read_bytes()[:-300])
    with zipfile.ZipFile(root.parent / "exam.zip", "w") as packed:
        for file in files:
            packed.write(file, file.name)
    trail = root.parent / "trail.jsonl"
    with serving(["medvision", "app", str(root), "--trail", str(trail)]) as address:
        yield address, root, trail


def events(trail):
    return [json.loads(line) for line in trail.read_text(encoding="utf-8").splitlines()]


def status_of(url, cookies):
    """How a server answers a browser with these cookies."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.netloc, timeout=60)) as connection:
        sent = "; ".join(f"{one['name']}={one['value']}" for one in cookies)
        connection.request("GET", parts.path, headers={"Cookie": sent})
        return connection.getresponse().status


def test_a_run_is_cancelled_and_another_survives_a_reload(served):
    address, _, trail = served
    fetched = []
    with browsing(f"{address}/?page=View&scan=brain") as tab:
        tab.on("request", lambda request: fetched.append(request.url))
        viewer_of(tab)
        choose(tab, "Region", "the whole scan")
        tab.get_by_role("button", name="Run", exact=True).click()
        tab.get_by_text("Running on cpu").wait_for(timeout=SLOW)
        tab.get_by_role("button", name="Cancel").click()
        tab.get_by_role("button", name="Run", exact=True).wait_for(timeout=SLOW)
        assert tab.locator(".viewer[data-layers='0']").count() == 1
        choose(tab, "Region", "mni:right-hippocampus")
        before = tab.url
        tab.get_by_role("button", name="Run", exact=True).click()
        tab.wait_for_url(lambda url: url != before, timeout=SLOW)
        tab.reload()
        viewer_of(tab, layers=1)
        looked_at = tab.get_by_role("combobox", name="Region")
        assert looked_at.input_value() == "mni:right-hippocampus"
        link = tab.url
        other = tab.context.browser.new_context().new_page()  # somebody else
        other.goto(link)
        viewer_of(other)
        assert other.get_by_role("button", name="Run", exact=True).count() == 1
        token = next(url for url in reversed(fetched) if "/medvision/voxels/" in url)
        assert status_of(token, tab.context.cookies()) == 200
        assert status_of(token, other.context.cookies()) == 404
    told = [one["event"] for one in events(trail)]
    assert told.count("run") == 2
    assert told.count("cancel") == 1
    assert "brain" not in trail.read_text(encoding="utf-8")


def test_dicom_is_browsed_its_tags_shown_and_who_it_is_of_only_when_asked(served):
    address, root, trail = served
    with browsing(f"{address}/?page=Browse") as tab:
        row = tab.locator("[data-testid=stDataFrame]").first
        row.wait_for(timeout=SLOW)
        search = tab.get_by_role("textbox", name="Search")
        search.fill("ct", timeout=SLOW)
        search.press("Enter")
        tab.get_by_role("button", name="Tags").first.click(timeout=SLOW)
        dialog = tab.get_by_role("dialog")
        dialog.get_by_text(re.compile(r"\d+ tags of ct/")).wait_for(timeout=SLOW)
        assert "DOE" not in tab.content()
        dialog.get_by_text("Show identity").click()
        for _ in range(100):
            if any(one["event"] == "identity" for one in events(trail)):
                break
            tab.wait_for_timeout(100)
        assert any(one["event"] == "identity" for one in events(trail))
        tab.keyboard.press("Escape")
        tab.locator("input[type=file]").set_input_files(root.parent / "exam.zip")
        viewer_of(tab)
        assert "scan=exam" in tab.url or "uploaded" in tab.url


def test_a_broken_series_is_told_and_the_app_lives(served):
    address, _, _ = served
    with browsing(f"{address}/?page=View&scan=cut") as tab:
        tab.locator("[data-testid=stAlert]").first.wait_for(timeout=SLOW)
        assert tab.locator("[data-testid=stException]").count() == 0
        choose(tab, "Scan", "ct")
        viewer_of(tab)


def test_a_box_drawn_in_the_viewer_is_what_a_model_looks_at(served):
    address, _, _ = served
    with browsing(f"{address}/?page=View&scan=brain") as tab:
        viewer = viewer_of(tab)
        tab.get_by_role("button", name="Axial").click()
        tab.get_by_role("button", name="Box", exact=True).click()
        frame = viewer.locator("canvas").bounding_box()
        x, y = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2
        tab.mouse.move(x - 40, y - 30)
        tab.mouse.down()
        tab.mouse.move(x + 10, y + 10, steps=3)
        tab.mouse.move(x + 40, y + 30, steps=3)
        tab.mouse.up()
        typed = tab.get_by_role("textbox", name="Box")
        typed.wait_for()
        pairs = [[float(v) for v in one.split(":")] for one in typed.input_value().split(",")]
        assert [low < high for low, high in pairs] == [True] * 3
        viewer.focus()
        tab.keyboard.press("Escape")
        typed.wait_for(state="detached", timeout=60_000)
        assert tab.get_by_role("combobox", name="Region").input_value() == "the whole scan"
