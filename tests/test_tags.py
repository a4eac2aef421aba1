"""The table of a DICOM header: whole when asked for, and without a patient otherwise."""

import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantom import write_series
from pydicom import Dataset
from pydicom.datadict import DicomDictionary

from medvision.errors import DecodeError
from medvision.io.quiet import quiet_pydicom
from medvision.profile import KEPT_TEXT
from medvision.tags import HIDDEN, MOST_ITEMS, find_tags, read_tags
from medvision.volume import Volume

REAL = Path(pydicom.__file__).parent / "data" / "test_files"
SCAN = Volume(np.zeros((1, 4, 5, 1), np.int16), np.diag([-1.0, -1, 2, 1]))
MARK, DATE, UID = "ZQMARKER", "19470823", "1.2.826.0.1.4711"
PLANTED = {"DA": DATE, "TM": "194708.23", "DT": f"{DATE}101112", "UI": UID, "AS": "047Y"}
TEXTS = ("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")
OTHER_PLACES = {"SpecificCharacterSet", "TransferSyntaxUID"}


def value_for(vr, keyword):
    return PLANTED.get(vr, f"{MARK} {keyword[:6]}")


def planted(data, k):
    """Put something that tells into every text, date and UID that the standard knows."""
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        known = (vr in TEXTS or vr in PLANTED) and keyword not in KEPT_TEXT | OTHER_PLACES
        if known and tag >> 16 not in (0, 2, 4, 6) and not (vr == "UI" and "Class" in keyword):
            data.add_new(tag, vr, value_for(vr, keyword))
    inner = Dataset()
    inner.PatientName, inner.ReferencedSOPInstanceUID = f"{MARK}^A", UID
    inner.TextValue, inner.ReferencedFrameNumber = MARK, 7
    outer = Dataset()
    outer.SourceImageSequence, outer.CodeMeaning = [inner, inner], "kept"
    data.DerivationCodeSequence = [outer]
    data.ScheduledProcedureStepSequence = [outer]
    block = data.private_block(0x0019, f"{MARK} MAKER", create=True)
    block.add_new(0x10, "LO", f"{MARK} private")
    block.add_new(0x11, "SQ", [inner])
    data.add_new(0x60000022, "LO", f"{MARK} overlay")
    data.SegmentLabel, data.Manufacturer = f"of {MARK}", "Maker"  # the first repeats a name
    data.BodyPartExamined = f"a {MARK}"  # no code string


def header(tmp_path, change=planted):
    with quiet_pydicom():
        [path] = write_series(tmp_path / "scan", SCAN, change=change)
    return path


def test_nothing_planted_is_shown(tmp_path):
    path = header(tmp_path)
    tags = read_tags(path)
    assert len(tags) > 1000
    shown = "\n".join(f"{one.tag} {one.name} {one.vr} {one.value}" for one in tags)
    assert not any(mark in shown for mark in (MARK, "MAKER", DATE, UID, "047Y", "194708"))
    assert all(one.value == HIDDEN for one in tags if one.hidden)
    there = {one.name: one for one in tags}
    for name in ("PatientName", "PatientID", "StudyDate", "StationName", "StudyInstanceUID",
                 "SegmentLabel", "BodyPartExamined", "PatientComments",
                 "DerivationCodeSequence[0].SourceImageSequence[1].PatientName",
                 "ScheduledProcedureStepSequence[0].CodeMeaning"):  # fmt: skip
        assert there[name].hidden, name
    assert all(one.hidden for one in tags if int(one.tag[1:5], 16) % 2)  # private


def test_what_is_technical_is_shown(tmp_path):
    there = {one.name: one for one in read_tags(header(tmp_path))}
    assert there["TransferSyntaxUID"].value == "1.2.840.10008.1.2.1 (Explicit VR Little Endian)"
    assert there["SOPClassUID"].value == "1.2.840.10008.5.1.4.1.1.2 (CT Image Storage)"
    assert there["PixelSpacing"].value == "1.000000 \\ 1.000000"
    assert (there["Modality"].value, there["Modality"].tag) == ("CT", "(0008,0060)")
    assert there["Manufacturer"].value == "Maker"
    nested = "DerivationCodeSequence[0].SourceImageSequence[1].ReferencedFrameNumber"
    assert (there[nested].value, there[nested].vr) == ("7", "IS")
    assert there["DerivationCodeSequence[0].SourceImageSequence"].value == "2 items"
    assert "PixelData" not in there


def test_identity_is_shown_when_asked_for(tmp_path):
    tags = read_tags(header(tmp_path), identity=True)
    assert not any(one.hidden for one in tags)
    there = {one.name: one.value for one in tags}
    assert there["PatientName"] == f"{MARK} Patien"
    assert there["StudyDate"] == DATE
    assert f"{MARK} private" in [one.value for one in tags if one.tag == "(0019,1010)"]
    assert there["ScheduledProcedureStepSequence[0].CodeMeaning"] == "kept"


def test_words_are_found_in_tags_names_and_shown_values(tmp_path):
    tags = read_tags(header(tmp_path))
    assert [one.name for one in find_tags(tags, "PIXEL spacing 1.0")] == ["PixelSpacing"]
    assert [one.name for one in find_tags(tags, "00080060")] == ["Modality"]
    assert "Modality" in [one.name for one in find_tags(tags, "(0008,")]
    assert find_tags(tags, MARK) == []
    assert not any(one.hidden and "hidden" in one.name for one in find_tags(tags, "hidden"))
    assert len(find_tags(tags, "")) == len(tags)
    everything = read_tags(tmp_path / "scan" / "IM0000", identity=True)
    assert len(find_tags(everything, MARK.lower())) > 100


def test_long_and_binary_values_are_told_in_short(tmp_path):
    def change(data, k):
        data.LUTExplanation = "x" * 60
        data.RedPaletteColorLookupTableData = b"\0" * 512
        data.add_new(0x00189074, "SQ", [Dataset() for _ in range(MOST_ITEMS + 5)])
        data.add_new(0x00081161, "UL", list(range(50)))
        data.DeviceSerialNumber, data.PatientWeight = "", None
        data.ImageComments = "y" * 5000

    there = {one.name: one for one in read_tags(header(tmp_path, change), identity=True)}
    assert there["RedPaletteColorLookupTableData"].value == "512 bytes"
    assert there["SimpleFrameList"].value.endswith("14 \\ 15 \\ … (50 values)")
    assert there["ImageComments"].value.endswith("y… (5000 characters)")
    assert max(len(one.value) for one in there.values()) < 300
    sequence = next(one for one in there.values() if one.tag == "(0018,9074)")
    assert sequence.value == f"{MOST_ITEMS + 5} items, the first {MOST_ITEMS} shown"
    assert (there["DeviceSerialNumber"].value, there["DeviceSerialNumber"].hidden) == ("", False)


def test_every_header_that_ships_with_pydicom_is_read(caplog):
    read, refused = 0, []
    for path in sorted(REAL.rglob("*.dcm")):
        if path.stat().st_size > 5_000_000:
            continue
        try:
            tags = read_tags(path)
        except DecodeError as error:
            refused.append(str(error))
            continue
        with quiet_pydicom():
            data = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        told = ("PatientName", "PatientID", "StudyDate", "PatientBirthDate", "SOPInstanceUID")
        secrets = {str(data.get(what, "")) for what in told}
        assert not {text for text in secrets if len(text) > 3} & {one.value for one in tags}, path
        read += 1
    assert all("cut short" in one or "without a DICOM header" in one for one in refused)
    assert read > 60
    assert caplog.text == ""  # pydicom logs what it finds odd, with its value


def test_what_is_no_header_is_refused_by_name(tmp_path):
    whole = header(tmp_path).read_bytes()
    for name, content, says in (
        ("empty.dcm", b"", "is empty"),
        ("notes.dcm", b"some notes " * 90, "is no DICOM file"),
        ("cut.dcm", whole[: whole.index(b"ZQMARKER Instit") + 4], "is cut short or damaged"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DecodeError, match=says) as found:
            read_tags(tmp_path / name)
        assert name in str(found.value)
        assert MARK not in str(found.value)
    for gone in (tmp_path / "gone.dcm", tmp_path):
        with pytest.raises(DecodeError):
            read_tags(gone)


def test_a_value_that_its_kind_cannot_hold_is_no_leak(tmp_path):
    def change(data, k):
        data.StageNumber = 77

    path = header(tmp_path, change)
    path.write_bytes(path.read_bytes().replace(b"IS\x02\x0077", b"IS\x02\x00Jo"))
    there = {one.name: one for one in read_tags(path)}
    assert there["StageNumber"].hidden  # words in a number
    path.write_bytes(path.read_bytes().replace(b"IS\x02\x00Jo", b"XX\x02\x00Jo"))  # no such VR
    there = {one.name: one for one in read_tags(path)}
    assert there["StageNumber"].value in (HIDDEN, "cannot be read")
    assert "Jo" not in {one.value for one in there.values()}


def test_a_file_in_a_zip_has_its_table(tmp_path):
    path = header(tmp_path)
    with zipfile.ZipFile(tmp_path / "exam.zip", "w") as out:
        out.write(path, "a/IM1")
    assert read_tags(tmp_path / "exam.zip" / "a" / "IM1") == read_tags(path)
