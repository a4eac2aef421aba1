"""Every attribute of PS3.15 Table E.1-1: planted, and not found in what is written."""

import shutil
import subprocess
from datetime import datetime

import pytest
from dicom_phantom import write_series

pytest.importorskip("dicognito", reason="needs dicognito (extra deidentify)")

from planted import (
    ROOT,
    SCAN,
    attributes,
    found_below,
    found_in,
    plant,
    read_quietly,
    value_of,
    vr_of,
    write_planted,
)
from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.sr.codedict import codes

from medvision.deidentify import deidentify_studies, strip
from medvision.io.quiet import quiet_pydicom


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    home = tmp_path_factory.mktemp("planted")
    files = write_planted(home / "in" / "ZQ-FOLDER_JANE")
    rows = deidentify_studies([home / "in"], home / "out", "seed")
    assert [row.problem for row in rows] == [""]
    return files, sorted((home / "out").rglob("*.dcm")), home / "out"


def test_the_table_is_there_whole():
    assert len(attributes()) > 600  # 652 in the edition 2026c, beside overlays and curves
    assert {action for action, _ in attributes()} >= {"X", "Z", "D", "U", "X_Z_U_STAR"}


def test_the_search_finds_what_is_planted(trees):
    files, _, _ = trees
    found = found_in(files[0].read_bytes())
    marks = {mark for mark in found if mark.startswith(b"ZQ")}
    texts = [tag for _, tag in attributes() if f"ZQ{tag:08X}".encode() in found]
    assert len(texts) > 350
    assert {b"ZQ-PREAMBLE", b"ZQ-METAAET", b"ZQ-METAPRIVATE", b"ZQ-PRIVATEITEM"} <= marks
    assert {b"ZQ-OVERLAYDATA", b"ZQ-CURVESDATA"} <= marks
    assert b"19471105" in found
    assert b"134657.8" in found
    assert ROOT.encode() in found


def test_no_planted_value_is_in_any_byte(trees):
    _, clean, out = trees
    assert len(clean) == 3
    assert found_below(out) == {}


def test_each_attribute_is_treated_as_the_table_has_it(anonymizer):
    wrong = [
        f"{action} {tag}" for action, tag in attributes() if not treated(action, tag, anonymizer)
    ]
    assert wrong == []


def treated(action, tag, anonymizer):
    """Tell whether an attribute that stands alone is removed, emptied or replaced."""
    if tag.group == 2:  # file meta information is made anew
        return True
    vr, keyword = vr_of(tag), keyword_for_tag(tag)
    first, second = (cleaned(tag, vr, action, anonymizer) for _ in range(2))
    if vr in ("DA", "DT", "TM"):  # Modified Dates: moved, or emptied where they cannot be
        moved = repr(first) != repr(value_of(tag, vr, 1, action))
        return not first or (moved and (vr != "DA" or str(first)[:2] == "19"))
    if action == "X" and vr not in ("UI", "PN"):
        return first is None
    if action == "U" and keyword != "ManufacturerDeviceClassUID":
        return bool(first) and first == second and not str(first).startswith(ROOT)
    return not first or not found_in(repr(first).encode())


def cleaned(tag, vr, action, anonymizer):
    """Return what becomes of a planted attribute; None when it is gone."""
    data = Dataset()
    data.file_meta = Dataset()
    data.add_new(tag, vr, value_of(tag, vr, 1, action))
    with quiet_pydicom():
        strip(data)
        anonymizer.anonymize(data)
    return data[tag].value if tag in data else None


@pytest.fixture(scope="module")
def anonymizer():
    from dicognito.anonymizer import Anonymizer

    return Anonymizer(seed="seed")


def test_what_was_done_is_said(trees):
    _, clean, _ = trees
    for path in clean:
        data = read_quietly(path)
        assert data.PatientIdentityRemoved == "YES"
        assert data.LongitudinalTemporalInformationModified == "MODIFIED"
        assert set(data.file_meta.keys()) <= {
            *(0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013)
        }
        assert data.file_meta.MediaStorageSOPInstanceUID == data.SOPInstanceUID
        assert data.preamble == bytes(128)


def test_the_method_is_coded_as_pydicom_has_it(trees):
    known = codes.cid7050  # PS3.16, De-identification Method
    named = [
        known.BasicApplicationConfidentialityProfile,
        known.RetainLongitudinalTemporalInformationModifiedDatesOption,
    ]
    for path in trees[1]:
        items = read_quietly(path).DeidentificationMethodCodeSequence
        coded = [(one.CodeValue, one.CodingSchemeDesignator, one.CodeMeaning) for one in items]
        assert coded == [(one.value, one.scheme_designator, one.meaning) for one in named]


def test_the_output_is_as_valid_as_the_input(tmp_path):
    if shutil.which("dciodvfy") is None:
        pytest.skip("needs dciodvfy (Debian's dicom3tools)")
    files = write_series(tmp_path / "in", SCAN)
    [row] = deidentify_studies([tmp_path / "in"], tmp_path / "out", "seed")
    assert errors_of(row.files[0]) <= errors_of(files[0])


def errors_of(path):
    """Return what dciodvfy finds wrong with a file."""
    run = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    return {line for line in run.stderr.splitlines() if line.startswith("Error")}


def test_dates_move_together(trees):
    files, clean, _ = trees
    before = sorted((read_quietly(path) for path in files), key=lambda d: d.InstanceNumber)
    after = sorted((read_quietly(path) for path in clean), key=lambda d: d.InstanceNumber)
    moved = set()
    for old, new in zip(before, after, strict=True):
        for keyword in ("StudyDate", "SeriesDate", "ContentDate", "AcquisitionDate"):
            moved.add((pydate(old[keyword].value) - pydate(new[keyword].value)).days)
        assert not new.PatientBirthDate
    assert len(moved) <= 2  # one, or two where the hours pass midnight
    assert 62 <= min(moved) <= max(moved) <= 731


def pydate(text):
    return datetime.strptime(text, "%Y%m%d")


def test_uids_stay_consistent(trees):
    _, clean, _ = trees
    sets = [read_quietly(path) for path in clean]
    assert len({data.SOPInstanceUID for data in sets}) == 3
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert len({data[keyword].value for data in sets}) == 1
    item = sets[0].ReferencedImageSequence[0]
    assert item.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert not item.ReferencedSOPInstanceUID.startswith(ROOT)


def test_planting_reaches_every_depth():
    data = Dataset()
    data.file_meta = Dataset()
    plant(data)
    nested = data.DerivationCodeSequence[0]
    assert nested.PatientName == "ZQ00100010^JANE"
