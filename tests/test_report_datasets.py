"""Builders of images with reports, against folders in their sources' layout and a local server."""

import csv
import http.server
import io
import tarfile
import threading
from collections import Counter
from functools import partial

import numpy as np
import pytest
from hippocampus_data import DATA
from PIL import Image
from typer.testing import CliRunner

from medvision.cli_datasets import datasets_app
from medvision.dataset import read_cases
from medvision.errors import CasesError
from medvision.extras import dataset_builder
from medvision.folds import split_folds
from medvision.io import read_volume
from medvision.report import DEFAULT_SECTIONS, report_for_model, split_sections

NOTES = DATA / "cxr_notes"
needs_notes = pytest.mark.skipif(not NOTES.is_dir(), reason=f"needs the notes in {NOTES}")
REPORT = """<?xml version="1.0" encoding="utf-8"?>
<eCitation>
  <meta type="rr"/>
  <uId id="{uid}"/>
  <articleDate>2013-08-01</articleDate>
  <MedlineCitation Owner="Indiana University" Status="supplied by publisher"><Article><Abstract>
    <AbstractText Label="COMPARISON">None.</AbstractText>
    <AbstractText Label="INDICATION">Positive TB
      test &amp; cough</AbstractText>
    <AbstractText Label="FINDINGS">{findings}</AbstractText>
    <AbstractText Label="IMPRESSION"/>
  </Abstract></Article></MedlineCitation>
  <MeSH>{terms}</MeSH>
  {images}
</eCitation>
"""


@pytest.fixture
def openi():
    return dataset_builder("openi")


@pytest.fixture
def cxr_notes():
    return dataset_builder("cxr_notes")


def write_picture(path, value=7):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 5), value, np.uint8)).save(path)


def write_report(folder, uid, terms, images, findings="Clear lungs."):
    """Write a report as Open-i lays it out, and its images."""
    path = folder / "ecgen-radiology" / f"{uid.removeprefix('CXR')}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    majors = "".join(f"<major>{term}</major>" for term in terms) + "<automatic>edema</automatic>"
    parents = "".join(
        f'<parentImage id="{name}"><caption>PA and Lateral</caption></parentImage>'
        for name in images
    )
    path.write_text(REPORT.format(uid=uid, terms=majors, images=parents, findings=findings))
    return path


@pytest.fixture
def collection(tmp_path):
    """A folder as Open-i's archives are unpacked to."""
    folder = tmp_path / "source"
    write_report(folder, "CXR1", ["normal"], ["CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001"])
    terms = ["Pleural Effusion/right/small", "Thickening/pleura/apex", "Aorta/tortuous"]
    write_report(folder, "CXR2", terms, ["CXR2_IM-0652-1001"])
    write_report(folder, "CXR3", ["Calcified Granuloma/lung"], ["CXR3_IM-1384-1001"])
    for name in ("CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001", "CXR2_IM-0652-1001"):
        write_picture(folder / "NLMCXR_png" / f"{name}.png")
    write_picture(folder / "NLMCXR_png" / "CXR3_IM-1384-1001.png", 9)
    return folder


def test_a_report_gives_its_text_label_and_group_to_each_of_its_images(openi, collection):
    out = collection / "cases.csv"
    rows, left_out = openi.build(collection, out)
    assert [(r["case_id"], r["label"], r["group"]) for r in rows] == [
        ("CXR1_1_IM-0001-3001", "No Finding", "CXR1"),
        ("CXR1_1_IM-0001-4001", "No Finding", "CXR1"),
        ("CXR2_IM-0652-1001", "Effusion|Pleural_Thickening", "CXR2"),
        ("CXR3_IM-1384-1001", "Other Finding", "CXR3"),
    ]
    assert not left_out
    assert rows[3]["image"] == "NLMCXR_png/CXR3_IM-1384-1001.png"
    cases = read_cases(out, task="classification")
    assert len({case.split for case in cases if case.group == "CXR1"}) == 1
    assert cases[0].report == (
        "INDICATION: Positive TB test & cough\n\nCOMPARISON: None.\n\nFINDINGS: Clear lungs."
    )
    assert split_sections(cases[0].report) == {
        "indication": "Positive TB test & cough",
        "comparison": "None.",
        "findings": "Clear lungs.",
    }
    assert read_volume(cases[3].images["image"]).array.max() == 9
    assert "2013" not in out.read_text()


@pytest.mark.parametrize(
    ("terms", "labels"),
    [
        (["Cardiomegaly/mild", "Cardiac Shadow/enlarged"], ("Cardiomegaly",)),
        (["Pulmonary Atelectasis/base/left", "Infiltrate"], ("Atelectasis", "Infiltration")),
        (["Hernia, Hiatal/large", "Nodule/lung/upper lobe"], ("Hernia", "Nodule")),
        (["Thickening/bronchovascular"], ("Other Finding",)),
        (["Massive", "Pneumoniae"], ("Other Finding",)),
        (["normal"], ("No Finding",)),
        (["No Indexing"], ()),
        ([], ()),
    ],
)
def test_mesh_terms_become_the_labels_of_chestxray14(openi, terms, labels):
    assert openi.labels_of(terms) == labels


def test_one_finding_can_be_told_from_all_others(openi, collection, tmp_path):
    rows, _ = openi.build(collection, tmp_path / "cases.csv", "Effusion")
    assert [row["label"] for row in rows] == ["other", "other", "Effusion", "other"]
    for name, message in (("effusion", "Unknown finding"), ("Mass", "No image has the finding")):
        with pytest.raises(CasesError, match=f"{message}.*Effusion"):
            openi.build(collection, tmp_path / "cases.csv", name)
    command = ["openi", str(collection), "--out", str(tmp_path / "cases.csv")]
    result = CliRunner().invoke(datasets_app, [*command, "--label", "Effusion"])
    assert result.exit_code == 0, result.output
    assert "4 cases of 3 patients" in result.output
    assert "--fuse gated" in result.output


def test_all_labels_are_of_chestxray14(openi):
    assert len(set(openi.LABELS.values())) == 14


def test_the_split_is_70_10_20_and_stays(openi):
    count = Counter(openi.split_of(f"CXR{k}") for k in range(1, 4001))
    assert count["train"] == pytest.approx(2800, abs=90)
    assert count["val"] == pytest.approx(400, abs=60)
    first = [openi.split_of(f"CXR{k}") for k in range(1, 9)]
    assert first == ["train", "test", "train", "test", "train", "train", "val", "train"]


def test_what_has_no_image_or_label_is_left_out_and_counted(openi, collection, tmp_path):
    write_report(collection, "CXR4", ["normal"], [])
    write_report(collection, "CXR5", ["No Indexing"], ["CXR5_IM-1-1001"])
    write_report(collection, "CXR6", ["normal"], ["CXR6_IM-1-1001", "CXR6_IM-1-2001"])
    rows, left_out = openi.build(collection, tmp_path / "cases.csv")
    assert len(rows) == 4
    assert left_out == {
        "reports without an image": 1,
        "images without a label": 1,
        "images that are not there": 2,
    }
    result = CliRunner().invoke(
        datasets_app, ["openi", str(collection), "--out", str(tmp_path / "cases.csv")]
    )
    assert result.exit_code == 0, result.output
    assert "4 cases of 3 patients (left out: " in result.output
    assert "1 reports without an image" in result.output
    assert "--label Cardiomegaly" in result.output


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:300], "7.xml is damaged"),
        (lambda text: "", "7.xml is damaged"),
        (lambda text: text.replace("uId", "id"), "it has no uId"),
        (
            lambda text: text.replace("<eCitation>", '<!DOCTYPE x [<!ENTITY a "b">]><eCitation>'),
            "has a document type",
        ),
        (lambda text: text.encode("utf-16"), "7.xml is damaged"),
        (lambda text: text.replace("Clear", "\0"), "7.xml is damaged"),
    ],
)
def test_damaged_reports_are_named(openi, collection, tmp_path, damage, message):
    path = write_report(collection, "CXR7", ["normal"], [])
    found = damage(path.read_text())
    path.write_bytes(found if isinstance(found, bytes) else found.encode())
    with pytest.raises(CasesError, match=message):
        openi.build(collection, tmp_path / "cases.csv")
    assert not (tmp_path / "cases.csv").exists()


def test_a_folder_without_reports_or_images_is_refused(openi, tmp_path):
    with pytest.raises(CasesError, match=r"has no ecgen-radiology.*NLMCXR_png\.tgz"):
        openi.build(tmp_path, tmp_path / "cases.csv")
    write_report(tmp_path, "CXR1", ["normal"], ["CXR1_IM-1"])
    with pytest.raises(CasesError, match="none of the images that its 1 reports name"):
        openi.build(tmp_path, tmp_path / "cases.csv")


@pytest.fixture
def served(tmp_path):
    """Serve the folder tmp_path / "served" on this machine; yields its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def send_header(self, name, value):
            if name == "Content-Length" and "short" in self.path:
                value = "1000"  # more than it sends
            super().send_header(name, value)

    (tmp_path / "served" / "short").mkdir(parents=True)
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "served")
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def pack(archive, members):
    """Write a .tgz of (name, file or bytes)."""
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in members:
            if isinstance(content, bytes):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                tar.add(content, name)


def test_both_archives_are_fetched_and_unpacked_once(openi, collection, served, tmp_path):
    images = sorted((collection / "NLMCXR_png").iterdir())
    pack(tmp_path / "served" / "NLMCXR_png.tgz", [(file.name, file) for file in images])
    reports = collection / "ecgen-radiology"
    pack(tmp_path / "served" / "NLMCXR_reports.tgz", [(reports.name, reports)])
    folder = openi.download(tmp_path / "data", served)
    assert len(openi.build(folder, folder / "cases.csv")[0]) == 4
    # the second time nothing is fetched
    assert openi.download(folder, "http://127.0.0.1:9") == folder


@pytest.mark.parametrize("name", ["../outside.png", "a/../../outside.png"])
def test_an_archive_that_reaches_outside_is_not_unpacked(openi, served, tmp_path, name):
    pack(tmp_path / "served" / "NLMCXR_png.tgz", [("fine.png", b"x"), (name, b"x")])
    with pytest.raises(CasesError, match=r"NLMCXR_png\.tgz cannot be unpacked: .*outside"):
        openi.download(tmp_path / "data", served)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["NLMCXR_png.tgz"]
    assert not list(tmp_path.rglob("outside.png"))


def test_a_damaged_archive_and_a_source_out_of_reach_are_told(openi, served, tmp_path):
    (tmp_path / "served" / "NLMCXR_png.tgz").write_bytes(b"\x1f\x8b nothing")
    with pytest.raises(CasesError, match=r"NLMCXR_png\.tgz cannot be unpacked"):
        openi.download(tmp_path / "data", served)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["NLMCXR_png.tgz"]
    with pytest.raises(CasesError, match=r"cannot be reached .*openi\.nlm\.nih\.gov/faq"):
        openi.download(tmp_path / "other", "http://127.0.0.1:9")


def test_a_download_that_breaks_off_leaves_nothing(served, tmp_path):
    (tmp_path / "served" / "short" / "a.tgz").write_bytes(b"12345")
    with pytest.raises(CasesError, match="cannot be reached"):
        dataset_builder("fetch").fetch(f"{served}/short/a.tgz", tmp_path / "a.tgz", "", "the page")
    assert not list(tmp_path.glob("*.tgz"))


NOTE_COLUMNS = ["patientid", "finding", "modality", "filename", "clinical_notes", "other_notes"]


@pytest.fixture
def notes(tmp_path):
    """Write a folder as the source lays it out; returns a function that takes its rows."""

    def write(*rows, columns=NOTE_COLUMNS, table="metadata.csv"):
        folder = tmp_path / "clone"
        folder.mkdir(exist_ok=True)
        with (folder / table).open("w", newline="") as file:
            csv.writer(file).writerows(
                [[*columns, "date"], *([*row, "2020-03-01"] for row in rows)]
            )
        for row in rows:
            if row[3].endswith(".png"):
                write_picture(folder / "images" / row[3])
        return folder

    return write


def test_notes_become_reports_without_credits(cxr_notes, notes, tmp_path):
    folder = notes(
        ["2", "COVID-19, ARDS", "X-ray", "a.png", "Cough.", "Case courtesy of Dr X, Y.org"],
        ["2", "Pneumonia/Viral/COVID-19", "X-ray", "b.png", "Opacity (courtesy of Z). Later.", ""],
        ["3", "SARS", "X-ray", "c.png", "Fever", "ET tube."],
        ["3", "SARS", "CT", "d.png", "", ""],
        ["4", "todo", "X-ray", "e.png", "", ""],
    )
    out = folder / "cases.csv"
    rows, left_out = cxr_notes.build(folder, out)
    assert rows == [
        dict(zip(("case_id", "image", "label", "report", "group"), row, strict=True))
        for row in (
            ("cxr_0001", "images/a.png", "COVID-19", "Cough.", "2"),
            ("cxr_0002", "images/b.png", "COVID-19", "Opacity. Later.", "2"),
            ("cxr_0003", "images/c.png", "other", "Fever ET tube.", "3"),
        )
    ]
    assert left_out == {"rows without an X-ray": 1, "X-rays without a finding": 1}
    assert "2020" not in out.read_text()
    result = CliRunner().invoke(datasets_app, ["cxr-notes", str(folder), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "3 cases of 2 patients" in result.output
    assert "--fuse gated --sections note" in result.output.replace("\n", " ")


def test_a_folder_that_is_not_the_source_is_refused(cxr_notes, notes, tmp_path):
    out = tmp_path / "cases.csv"
    with pytest.raises(CasesError, match=r"holds no notes\.csv or metadata\.csv"):
        cxr_notes.build(tmp_path, out)
    row = ["2", "SARS", "X-ray", "a.png", "Cough.", ""]
    with pytest.raises(CasesError, match="lacks clinical_notes"):
        cxr_notes.build(notes(row, columns=[*NOTE_COLUMNS[:4], "notes", "other"]), out)
    with pytest.raises(CasesError, match="no X-ray has the finding 'COVID-19'; found: SARS"):
        cxr_notes.build(notes(row), out)
    with pytest.raises(CasesError, match="every X-ray has the finding 'SARS'"):
        cxr_notes.build(notes(row), out, "SARS")
    with pytest.raises(CasesError, match=r"line 3: no image '\.\./a\.png'"):
        cxr_notes.build(notes(row, ["", "COVID-19", "X-ray", "../a.png", "", ""]), out)
    with pytest.raises(CasesError, match="line 3: no patientid"):
        cxr_notes.build(notes(row, ["", "COVID-19", "X-ray", "b.png", "", ""]), out)
    assert not out.exists()


@needs_notes
def test_the_real_notes_are_276_cases_of_157_patients(cxr_notes, tmp_path):
    out = tmp_path / "cases.csv"
    rows, left_out = cxr_notes.build(NOTES, out)
    assert (len(rows), len({row["group"] for row in rows}), len(left_out)) == (276, 157, 0)
    assert Counter(row["label"] for row in rows) == {"COVID-19": 220, "other": 56}
    cases = read_cases(out, task="classification")
    assert all(len(fold) in (55, 56) for fold in split_folds(cases, 5))
    assert not read_volume(cases[0].images["image"]).info.spacing_known
    # these are free text, findings and all: by default a model sees none of it
    assert all(set(split_sections(case.report)) == {"note"} for case in cases)
    assert not any(report_for_model(case.report, DEFAULT_SECTIONS) for case in cases)
    told = " ".join(case.report.lower() for case in cases)
    assert not any(word in told for word in ("radiopaedia", "courtesy", "credit to"))
