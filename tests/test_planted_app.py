"""The app over planted studies: what it sends to the browser unasked, and what it keeps."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from app_pages import open_page, press
from app_server import browsing, serving
from planted import (
    found_below,
    found_in,
    write_planted,
    write_planted_file,
    write_planted_report,
)
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue
from streamlit.runtime.memory_media_file_storage import MemoryMediaFileStorage
from toy_fusion import TEXT, spec_of, write_toy

from medvision.files import write_text
from medvision.outputs.nifti import save_nifti
from medvision.volume import Volume

DESCRIPTION = b"ZQ0008103E"  # shown, as `medvision info` does
SHAPE = (12, 12, 6)


class Sent:
    """What goes to the browser: every message, and every file that it may fetch."""

    def __init__(self):
        self.parts = []

    def found(self):
        """Return the planted values in what was sent since it was asked last."""
        parts, self.parts = self.parts, []
        assert parts
        return {mark.replace(b"\0", b"") for part in parts for mark in found_in(part)}


@pytest.fixture
def sent(monkeypatch):
    sent = Sent()
    enqueue, load = ForwardMsgQueue.enqueue, MemoryMediaFileStorage.load_and_get_id

    def enqueued(self, message):
        sent.parts.append(message.SerializeToString())
        return enqueue(self, message)

    def loaded(self, content, *about, **more):
        bytes_of = content if isinstance(content, bytes) else Path(content).read_bytes()
        sent.parts += [bytes_of, repr((about, more)).encode()]
        return load(self, content, *about, **more)

    monkeypatch.setattr(ForwardMsgQueue, "enqueue", enqueued)
    monkeypatch.setattr(MemoryMediaFileStorage, "load_and_get_id", loaded)
    return sent


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A study with a report, one of two series of one number, one that is cut; and a mask."""
    root = tmp_path_factory.mktemp("planted") / "root"
    cube = np.zeros((1, *SHAPE), np.int16)
    cube[0, 3:8, 3:8, 1:5] = 900
    scan = Volume(cube, np.diag([-1.0, -1, 1, 1]))
    write_planted_file(root / "one" / "a.dcm", scan, 1)
    write_planted_report(root / "one" / "report.dcm", "Fever and cough.", 1)
    write_planted(root / "two" / "a", scan)
    write_planted(root / "two" / "b", scan, series=1)
    for path in write_planted(root / "cut", scan, 2):
        path.write_bytes(path.read_bytes()[:-400])
    drawn = scan.with_array((cube > 0).astype(np.uint8))
    save_nifti(drawn, root / "drawn.nii.gz")
    write_text(root / "cases.csv", "case_id,image,mask\none,one/a.dcm,drawn.nii.gz\n")
    return root


@pytest.fixture
def root(planted, tmp_path):
    return shutil.copytree(planted, tmp_path / "root")


def kept(root):
    """Return the planted values in the audit log and in the voxels that browsers may fetch."""
    from visitors import VAULT

    trail = root.parent / f"{root.name}.trail"
    assert trail.stat().st_size
    return found_in(trail.read_bytes()) | set().union(*found_below(VAULT.folder).values())


def events(root):
    lines = (root.parent / f"{root.name}.trail").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["event"] for line in lines]


def test_browse_shows_descriptions_and_no_more(root, sent, monkeypatch):
    page = open_page(monkeypatch, root, "Browse")
    assert not page.exception
    assert set(page.dataframe[0].value["study"]) == {"one", "two", "cut", "drawn"}
    assert sent.found() == {DESCRIPTION}
    for name in ("one", "two", "cut"):
        page.text_input(key="filter text").set_value(name).run()
        assert not page.exception
        assert [one for one in page.button if one.label == "Tags"]
        assert sent.found() == {DESCRIPTION}


def test_tags_are_hidden_until_asked_for_and_then_that_is_written_down(root, sent, monkeypatch):
    page = open_page(monkeypatch, root, "Browse")
    page.text_input(key="filter text").set_value("one").run()
    press(page, "Tags")
    assert not page.exception
    assert "PatientName" in list(page.dataframe[-1].value["name"])
    assert sent.found() == {DESCRIPTION}
    assert not (root.parent / "root.trail").exists()
    page.toggle[0].set_value(True)
    press(page, "Tags")  # a dialog closes when the whole page is drawn anew
    assert {b"ZQ00100010", b"ZQ00100020", b"ZQ00080050"} <= sent.found()
    assert events(root)[-1] == "identity"
    assert kept(root) == set()


@pytest.mark.parametrize("pictures", [True, False])
def test_view_shows_descriptions_and_no_more(root, sent, monkeypatch, pictures):
    page = open_page(monkeypatch, root, "View", pictures=pictures)
    page.selectbox(key="scan").select("two").run()
    assert len(page.selectbox(key="series").options) == 2  # of one number: told apart by keys
    page.selectbox(key="series").select_index(1).run()
    press(page, "Run")
    assert not page.exception
    page.selectbox(key="scan").select("one").run()
    press(page, "Run")
    assert not page.exception
    assert page.get("download_button")
    assert page.query_params["page"] == "View"
    assert sent.found() == {DESCRIPTION}
    assert found_in(repr(dict(page.query_params)).encode()) == set()
    assert kept(root) == set()
    page.selectbox(key="scan").select("cut").run()
    assert sent.found() <= {DESCRIPTION}


def test_dicom_results_are_of_the_patient_and_are_asked_for(root, sent, monkeypatch):
    pytest.importorskip("highdicom", reason="needs highdicom (extra seg)")
    page = open_page(monkeypatch, root, "View", pictures=True)
    page.selectbox(key="scan").select("one").run()
    press(page, "Run")
    assert sent.found() == {DESCRIPTION}
    press(page, "Make DICOM files")
    assert not page.exception
    assert b"ZQ00100010" in sent.found()
    assert kept(root) == set()


def test_a_batch_its_results_and_what_they_are_held_against(root, sent, monkeypatch):
    page = open_page(monkeypatch, root, "Batch")
    press(page, "Start")
    assert not page.exception
    page = open_page(monkeypatch, root, "Results")
    assert not page.exception
    failures = next(one.value for one in page.dataframe if "reason" in one.value)
    assert {"cut", "two"} <= set(failures["study"])
    page.segmented_control(key="results part").set_value("Evaluation").run()
    page.selectbox(key="truth table").select("cases.csv").run()
    press(page, "Evaluate")
    assert not page.exception
    page = open_page(monkeypatch, root, "Compare")
    page.selectbox(key="scan").select("one").run()
    assert not page.exception
    assert len(page.selectbox(key="compare found").options) == 2
    assert sent.found() <= {DESCRIPTION}
    assert found_below(root / "results_hippocampus") == {}
    assert kept(root) == set()


def test_what_if_shows_the_report_and_nothing_of_its_header(root, tmp_path, sent, monkeypatch):
    spec = spec_of(3, TEXT, name="reader")
    write_toy(tmp_path / "models" / "reader", spec)
    page = open_page(monkeypatch, root, "View", pictures=True, models=[tmp_path / "models"])
    page.selectbox(key="scan").select("one").run()
    page.selectbox(key="model").select("reader").run()
    assert not page.exception
    assert "Fever and cough." in page.text_area[0].value
    press(page, "Run")
    press(page, "Explain")
    assert not page.exception
    assert sent.found() == {DESCRIPTION}
    assert kept(root) == set()


def test_uploads_are_told_of_without_their_headers(root, tmp_path, sent, monkeypatch):
    page = open_page(monkeypatch, root, "Browse")
    scan = Volume(np.zeros((1, 4, 4, 2), np.int16), np.diag([-1.0, -1, 1, 1]))
    files = write_planted(tmp_path / "more", scan, 3)
    with zipfile.ZipFile(tmp_path / "exam.zip", "w") as packed:
        for file in files:
            packed.write(file, file.name)
    page.file_uploader[0].set_value(
        [
            ("exam.zip", (tmp_path / "exam.zip").read_bytes(), "application/zip"),
            ("cut.dcm", files[0].read_bytes()[:5000], "application/dicom"),
        ]
    ).run()
    assert not page.exception
    assert len(page.error) == 1
    assert "exam" in set(page.dataframe[0].value["study"])
    assert sent.found() <= {DESCRIPTION}


@pytest.mark.slow
def test_a_browser_is_sent_descriptions_and_no_more(planted, tmp_path):
    """Whatever a server sends: messages, files, addresses, and the pages as they are drawn."""
    shutil.copytree(planted / "two", tmp_path / "root" / "two")
    seen, urls, trail = [], [], tmp_path / "trail.jsonl"

    def keep(part):  # playwright takes no method of a list
        seen.append(part)

    command = ["medvision", "app", str(tmp_path / "root"), "--trail", str(trail)]
    with serving(command) as address, browsing("about:blank") as tab:
        tab.on("response", lambda response: urls.append(response.url))
        tab.on("websocket", lambda one: one.on("framereceived", keep))
        tab.goto(f"{address}/?page=Browse")
        tab.get_by_role("button", name="Tags").first.click()
        tab.get_by_text("tags of").wait_for()
        seen.append(tab.content())
        tab.goto(f"{address}/?page=View&scan=two")
        tab.locator(".viewer[data-state=shown]").wait_for()
        tab.get_by_role("button", name="Run", exact=True).click()
        tab.locator(".viewer[data-state=shown][data-layers='1']").wait_for()
        seen += [tab.content(), tab.url, *urls]
        seen.append(tab.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])"))
        files = [url for url in urls if "/media/" in url or "/voxels/" in url]
        answers = [tab.request.get(url) for url in files]
        seen += [one.body() for one in answers if one.ok]
        assert sum(one.ok for one in answers) >= 2  # a scan and a mask, at least
    parts = [part if isinstance(part, bytes) else part.encode() for part in seen]
    assert {mark.replace(b"\0", b"") for part in parts for mark in found_in(part)} == {DESCRIPTION}
    assert found_in(trail.read_bytes()) == set()
