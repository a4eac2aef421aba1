"""Reports: the words that were written, without names, at the study they are of."""

import json

import pydicom
import pytest
from hippocampus_data import DATA
from PIL import Image
from pydicom import Dataset, FileDataset
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.uid import BasicTextSRStorage, ExplicitVRLittleEndian, generate_uid

from medvision.errors import DecodeError
from medvision.io import read_study
from medvision.io.pairing import pair_reports, report_of
from medvision.io.reports import read_report, report_table
from medvision.study import SeriesRef, StudyRef

NOTES = DATA / "cxr_notes" / "notes.csv"


def touch(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def item(kind, name, relation="CONTAINS", **values):
    """One item of an SR's content tree."""
    data, concept = Dataset(), Dataset()
    data.ValueType, data.RelationshipType = kind, relation
    concept.CodeValue, concept.CodingSchemeDesignator, concept.CodeMeaning = "1", "99TEST", name
    data.ConceptNameCodeSequence = [concept]
    for key, value in values.items():
        setattr(data, key, value)
    return data


def code(meaning, value="1"):
    data = Dataset()
    data.CodeValue, data.CodingSchemeDesignator, data.CodeMeaning = value, "99TEST", meaning
    return [data]


def write_sr(path, content, uid="1.2.3", charset="ISO_IR 192"):
    data = FileDataset("", {}, preamble=b"\0" * 128, file_meta=FileMetaDataset())
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = BasicTextSRStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = uid, generate_uid()
    data.SpecificCharacterSet = charset
    data.Modality, data.PatientName, data.PatientID = "SR", "DOE^JANE", "PID-4711-X"
    root = item("CONTAINER", "Chest report", ContentSequence=content)
    data.update(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def chest():
    number = Dataset()
    number.NumericValue, number.MeasurementUnitsCodeSequence = "7.5", code("millimeter", "mm")
    return [
        item("PNAME", "Observer", "HAS OBS CONTEXT", PersonName="DOE^JANE"),
        item("TEXT", "Organization", "HAS OBS CONTEXT", TextValue="Doe Hospital"),
        item("UIDREF", "Procedure", UID="1.2.3.4"),
        item("DATE", "Date", Date="20200102"),
        item("PNAME", "Reader", PersonName="ROE^RICHARD"),
        item(
            "CONTAINER",
            "Findings",
            ContentSequence=[
                item("TEXT", "Finding", TextValue="Größe normal.\r\nNo effusion."),
                item(
                    "NUM",
                    "Diameter",
                    MeasuredValueSequence=[number],
                    ContentSequence=[
                        item("CODE", "Side", "HAS CONCEPT MOD", ConceptCodeSequence=code("left"))
                    ],
                ),
            ],
        ),
        item(
            "CONTAINER",
            "Impression",
            ContentSequence=[item("CODE", "Impression", ConceptCodeSequence=code("Nodule"))],
        ),
    ]


@pytest.mark.parametrize("charset", ["ISO_IR 192", "ISO_IR 100"])
def test_an_sr_reads_as_text_without_names_and_dates(tmp_path, charset):
    assert read_report(write_sr(tmp_path / "sr.dcm", chest(), charset=charset)) == (
        "Chest report\n\n"
        "FINDINGS:\nFinding: Größe normal.\nNo effusion.\nDiameter: 7.5 mm (Side: left)\n\n"
        "IMPRESSION:\nImpression: Nodule"
    )


def test_pydicoms_structured_reports():
    found = read_report(get_testdata_file("test-SR.dcm"))
    assert found.startswith(
        "Diagnosis\n\nA mass of (Code: Sample Code 1; Code: Sample Code 2) 3 cm"
    )
    assert '&%$§"!' in found
    for name in ("Riesmeier", "Test^S", "Observer", "OFFIS e.V.", "1.2.3.4.5"):
        assert name not in found
    assert read_report(get_testdata_file("reportsi.dcm")) == (
        "Document Title\n\nSECTION HEADING:\nReport Text: Enter text"
    )


def test_srs_that_say_nothing_are_refused(tmp_path):
    path = write_sr(tmp_path / "sr.dcm", [item("CONTAINER", "Findings")])
    with pytest.raises(DecodeError, match=r"sr\.dcm is an SR without text"):
        read_report(path)
    whole = write_sr(path, chest()).read_bytes()
    for end in (len(whole) // 2, 400, 200):
        path.write_bytes(whole[:end])
        with pytest.raises(DecodeError, match=r"sr\.dcm"):
            read_report(path)
    with pytest.raises(DecodeError, match="no SR"):
        read_report(get_testdata_file("CT_small.dcm"))


def test_a_tree_deeper_than_any_document_is_refused(tmp_path):
    deep = item("TEXT", "Finding", TextValue="Nodule.")
    for _ in range(60):
        deep = item("CONTAINER", "Section", ContentSequence=[deep])
    with pytest.raises(DecodeError, match=r"sr\.dcm"):
        read_report(write_sr(tmp_path / "sr.dcm", [deep]))


def test_text_and_json(tmp_path):
    touch(tmp_path / "a.txt", "﻿FINDINGS: clear.\r\nNo mass.\n")
    assert read_report(tmp_path / "a.txt") == "FINDINGS: clear.\nNo mass."
    (tmp_path / "b.txt").write_bytes("Größe".encode("latin-1"))
    assert read_report(tmp_path / "b.txt") == "Größe"
    for found in (
        {"Report": "clear."},
        {"text": "clear."},
        {"id": 7, "report_text": "clear."},
    ):
        assert read_report(touch(tmp_path / "a.json", json.dumps(found))) == "clear."
    sections = {"findings": "clear.", "impression": "normal.", "age": 40}
    for found in (sections, {"report": {k: sections[k] for k in ("findings", "impression")}}):
        text = read_report(touch(tmp_path / "a.json", json.dumps(found)))
        assert text == "FINDINGS: clear.\n\nIMPRESSION: normal."


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b" \n", "no text"),
        ("a.txt", b"a\0b", "zero bytes"),
        ("a.json", b'{"EchoTime": 0.1}', "no report"),
        ("a.json", b"{", "no readable JSON"),
        ("a.json", b"[" * 100_000, "no readable JSON"),
        ("a.csv", b"case_id,report", "table"),
        ("a.pdf", b"%PDF", "no report that medvision reads"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DecodeError, match=rf"a\.\w+.*{words}"):
        read_report(tmp_path / name)
    with pytest.raises(DecodeError, match="none"):
        read_report(tmp_path / f"none.{name[2:]}")


def test_tables_of_reports(tmp_path):
    rows = 'Case_ID;Report\nc1;"clear;\nnormal"\nc2;\n;lost\nc3;mass\n'
    assert report_table(touch(tmp_path / "a.csv", rows)) == {"c1": "clear;\nnormal", "c3": "mass"}
    rows = "filename\tfindings\timpression\na.png\tclear\tnormal\n"
    assert report_table(touch(tmp_path / "a.tsv", rows)) == {
        "a.png": "FINDINGS: clear\n\nIMPRESSION: normal"
    }
    with pytest.raises(DecodeError, match="rows 2 and 3"):
        report_table(touch(tmp_path / "b.csv", "case_id,report\nc1,clear\nc1,mass\n"))
    with pytest.raises(DecodeError, match="needs a column"):
        report_table(touch(tmp_path / "c.csv", "a,b\n1,2\n"))


def paired(studies, *files):
    """What each study was given, by file name, and what was told."""
    found, told = pair_reports(studies, list(files))
    return [[path.name for path in ref.reports] for ref in found], told


def test_reports_are_found_by_the_name_of_their_scan(tmp_path):
    scans = [touch(tmp_path / f"{name}.nii.gz") for name in ("t1", "t2", "t3", "t4")]
    studies = [StudyRef(path.name[:2], path) for path in scans]
    files = [
        touch(tmp_path / "t1.txt", "one"),
        touch(tmp_path / "t2_report.txt", "two"),
        touch(tmp_path / "t1.json", '{"EchoTime": 0.03}'),  # parameters
        touch(tmp_path / "t3.json", '{"text": "three"}'),
        touch(tmp_path / "reports" / "t4.txt", "four"),
        touch(tmp_path / "README.txt", "read me"),
        touch(tmp_path / "other.txt", "nobody's"),
    ]
    assert paired(studies, *files) == (
        [["t1.txt"], ["t2_report.txt"], ["t3.json"], ["t4.txt"]],
        [],
    )
    found, _ = pair_reports(studies, files)
    assert [report_of(ref) for ref in found] == ["one", "two", "three", "four"]
    assert report_of(studies[0]) is None


def test_a_study_has_the_report_in_its_own_folder(tmp_path):
    a, b = touch(tmp_path / "a" / "IM1").parent, touch(tmp_path / "b" / "x.nii").parent
    studies = [StudyRef("a", a, uid="1.2"), StudyRef("b", b / "x.nii")]
    files = [touch(a / "notes.txt", "a"), touch(b / "report.txt", "b"), touch(b / "more.txt", "c")]
    assert paired(studies, *files) == ([["notes.txt"], ["report.txt"]], [])
    files = [touch(a / "notes.txt"), touch(a / "more.txt")]
    reports, told = paired(studies, *files)
    assert reports == [[], []]
    assert "notes.txt, more.txt" in told[0]


def test_a_name_that_fits_several_is_told_and_left_out(tmp_path):
    scans = [touch(tmp_path / folder / "t1.nii") for folder in ("a", "b")]
    studies = [StudyRef(f"{path.parent.name}_t1", path) for path in scans]
    reports, told = paired(studies, touch(tmp_path / "reports" / "t1.txt"))
    assert reports == [[], []]
    assert "2 studies have its name" in told[0]
    one = touch(tmp_path / "c" / "t2.nii")
    files = [touch(tmp_path / "x" / "t2.txt"), touch(tmp_path / "y" / "t2.txt")]
    reports, told = paired([StudyRef("t2", one)], *files)
    assert (reports, len(told)) == ([[]], 2)
    beside = touch(tmp_path / "b" / "t1.txt")
    assert paired(studies, beside)[0] == [[], ["t1.txt"]]


def test_structured_reports_are_found_by_uid(tmp_path):
    studies = [StudyRef("a", tmp_path, uid="1.2.3"), StudyRef("b", tmp_path, uid="1.2.4")]
    first = write_sr(tmp_path / "x" / "one", chest(), uid="1.2.4")
    held = SeriesRef(
        "9", (write_sr(tmp_path / "two.dcm", chest(), uid="1.2.3"),), "dicom", "report"
    )
    studies[0] = StudyRef("a", tmp_path, uid="1.2.3", series=(held,))
    ct = tmp_path / "ct.dcm"
    pydicom.dcmread(get_testdata_file("CT_small.dcm")).save_as(ct)
    assert paired(studies, first, ct) == ([["two.dcm"], ["one"]], [])
    assert report_of(pair_reports(studies, [first])[0][1]).startswith("Chest report")


def test_tables_give_each_study_its_row(tmp_path):
    scans = [touch(tmp_path / f / "t1.nii.gz") for f in ("a", "b")] + [touch(tmp_path / "c.png")]
    studies = [
        StudyRef(name, path) for name, path in zip(("a_t1", "b_t1", "c"), scans, strict=True)
    ]
    table = touch(
        tmp_path / "r.csv", "image,report\na/t1.nii.gz,first\nb/t1.nii.gz,second\nc,third\n"
    )
    found, told = pair_reports(studies, [table, touch(tmp_path / "p.csv", "a,b\n1,2\n")])
    assert ([report_of(ref) for ref in found], told) == (["first", "second", "third"], [])
    unclear = touch(tmp_path / "u.csv", "image,report\nt1.nii.gz,either\nc.png,third\n")
    reports, told = paired(studies, unclear)
    assert (reports, len(told)) == ([[], [], ["u.csv"]], 2)


@pytest.mark.skipif(not NOTES.is_file(), reason=f"needs the notes of chest radiographs in {NOTES}")
def test_real_notes_belong_to_their_radiographs():
    table = report_table(NOTES)
    images = sorted((NOTES.parent / "images").iterdir())
    found, told = pair_reports([StudyRef(path.stem, path) for path in images], [NOTES])
    assert told == []
    texts = [report_of(ref) for ref in found]
    assert all(texts)
    assert texts == [table[path.name] for path in images]


@pytest.mark.parametrize("name", ["film.txt", "film_report.md"])
def test_a_scan_named_alone_has_the_report_beside_it(tmp_path, name):
    Image.new("L", (8, 8), 9).save(tmp_path / "film.png")
    Image.new("L", (8, 8), 9).save(tmp_path / "other.png")
    touch(tmp_path / name, "INDICATION: cough")
    touch(tmp_path / "other.txt", "INDICATION: fever")
    assert read_study(tmp_path / "film.png").report == "INDICATION: cough"
    touch(tmp_path / "film.json", '{"EchoTime": 3}')  # of the image, not a report
    assert read_study(tmp_path / "film.png").report == "INDICATION: cough"
