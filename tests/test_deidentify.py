"""DICOM without identities: planted names, numbers and dates are gone, and files still agree."""

import warnings

import numpy as np
import pydicom
import pytest
from dicom_phantom import write_series
from pydicom import Dataset
from typer.testing import CliRunner

from medvision import cli
from medvision.deidentify import check_moment, deidentify_studies, stands_in
from medvision.errors import OutputError, SeriesError
from medvision.io import find_studies, read_volume
from medvision.profile import EMPTIED, REMOVED
from medvision.volume import Volume

pytest.importorskip("dicognito", reason="needs dicognito (extra deidentify)")
SCAN = Volume(np.arange(4 * 5 * 3, dtype=np.int16).reshape(1, 4, 5, 3), np.diag([-1.0, -1, 2, 1]))
MARK = "ZQMARKER"
DATE = "19470823"


def planted(data, k):
    """Put a marker everywhere that a person, a place or a date may stand."""
    data.PatientName, data.PatientID = f"{MARK}^JANE", f"{MARK}PID-4711-X"
    data.OtherPatientNames, data.PatientBirthName = [f"{MARK}^A"], f"{MARK}^B"
    for keyword in (
        *("PatientAddress", "PatientComments", "AdditionalPatientHistory", "StudyDescription"),
        *("SeriesDescription", "ProtocolName", "ImageComments", "InstitutionName", "StationName"),
        *(
            "InstitutionAddress",
            "AccessionNumber",
            "StudyID",
            "IssuerOfPatientID",
            "DeviceSerialNumber",
        ),
        *(
            "RequestedProcedureDescription",
            "PerformedProcedureStepID",
            "AcquisitionProtocolDescription",
        ),
        *("ContrastBolusAgent", "EthnicGroup", "Occupation", "MedicalAlerts", "PerformedLocation"),
        *(
            "ReasonForStudy",
            "InterpretationText",
            "PatientTelephoneNumbers",
            "CurrentPatientLocation",
        ),
    ):
        setattr(data, keyword, f"{MARK} {keyword[:6]}"[:16])
    data.ReferringPhysicianName = data.OperatorsName = data.PerformingPhysicianName = f"{MARK}^DR"
    data.StudyDate = data.SeriesDate = data.ContentDate = data.PatientBirthDate = DATE
    data.StudyTime, data.SeriesTime = "101112", "101112.5"
    data.AcquisitionDateTime = f"{DATE}101112"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.ContentTime, data.InstanceCreationDate = "broken", "not a date"
    data.PatientWeight, data.PatientAge, data.PatientSex = "71", "049Y", "F"
    request = Dataset()
    request.RequestedProcedureDescription = request.ScheduledProcedureStepDescription = MARK
    data.RequestAttributesSequence = [request]
    other = Dataset()
    other.PatientID, other.PatientName, other.TextValue = f"{MARK}9", f"{MARK}^C", MARK
    data.DerivationCodeSequence = [other]
    block = data.private_block(0x0019, f"{MARK} MAKER", create=True)
    block.add_new(0x10, "LO", f"{MARK} private")
    data.add_new(0x60000022, "LO", f"{MARK} overlay")


@pytest.fixture
def tree(tmp_path):
    write_series(tmp_path / "in" / f"{MARK}_JANE" / "a", SCAN, change=planted)
    write_series(tmp_path / "in" / f"{MARK}_JANE" / "b", SCAN, number=2, change=planted)
    return tmp_path / "in"


def files_of(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file())


def test_no_marker_remains_in_any_byte_or_name(tree, tmp_path, caplog):
    caplog.clear()
    rows = deidentify_studies([tree], tmp_path / "out", "seed")
    assert [row.problem for row in rows] == ["", ""]
    assert caplog.text == ""  # pydicom logs what it finds odd, with its value
    found = files_of(tmp_path / "out")
    assert len(found) == 6
    uids = {str(pydicom.dcmread(p).SOPInstanceUID) for p in files_of(tree)}
    for path in found:
        whole = path.read_bytes()
        assert MARK.encode() not in whole
        assert DATE.encode() not in whole
        assert not any(uid.encode() in whole for uid in uids)
        assert MARK not in str(path.relative_to(tmp_path / "out"))


def test_what_the_profile_wants_gone_is_gone(tree, tmp_path):
    deidentify_studies([tree], tmp_path / "out", "seed")
    for path in files_of(tmp_path / "out"):
        data = pydicom.dcmread(path)
        there = {element.keyword for element in data.iterall()}
        assert not there & REMOVED
        assert not any(data.get(keyword) for keyword in EMPTIED)
        assert not any(element.tag.is_private for element in data.iterall())
        assert data.PatientIdentityRemoved == "YES"
        codes = {item.CodeValue for item in data.DeidentificationMethodCodeSequence}
        assert codes == {"113100", "113107"}
        assert "PatientID" in data
        assert "PatientName" in data
        assert data.ContentTime in (None, "")


def test_voxels_places_and_belongings_stay(tree, tmp_path):
    deidentify_studies([tree], tmp_path / "out", "seed")
    before, after = find_studies(tree), find_studies(tmp_path / "out")
    assert len(before) == len(after) == 2  # two studies of one patient
    assert len({ref.patient for ref in after}) == 1
    ours = read_volume(tree / f"{MARK}_JANE" / "a")
    clean = read_volume(tmp_path / "out" / "study-0001")
    assert np.array_equal(clean.array, ours.array)
    assert np.array_equal(clean.affine, ours.affine)


def test_the_same_secret_gives_the_same_files(tree, tmp_path):
    for name, seed in (("a", "one"), ("b", "one"), ("c", "two"), ("d", None)):
        deidentify_studies([tree], tmp_path / name, seed)
    uids = [
        [pydicom.dcmread(path).SOPInstanceUID for path in files_of(tmp_path / name)]
        for name in "abcd"
    ]
    assert uids[0] == uids[1]
    assert not set(uids[0]) & set(uids[2])
    assert not set(uids[2]) & set(uids[3])


def test_what_would_remain_is_not_written(tree, tmp_path, monkeypatch):
    def only_dates(data):
        for element in list(data):
            if element.VR in ("DA", "DT", "TM"):
                check_moment(data, element)

    monkeypatch.setattr("medvision.deidentify.strip", only_dates)
    rows = deidentify_studies([tree], tmp_path / "out", "seed")
    assert all("would still hold an identity" in row.problem for row in rows)
    assert MARK not in "".join(row.problem.replace(str(tree), "") for row in rows)
    assert files_of(tmp_path / "out") == []


def test_names_burned_into_pixels_are_warned_of(tmp_path):
    def burned(data, k):
        data.BurnedInAnnotation = "YES"

    write_series(tmp_path / "a", SCAN, change=burned)
    [row] = deidentify_studies([tmp_path / "a"], tmp_path / "out")
    assert "which stay" in row.notes[0]
    assert pydicom.dcmread(row.files[0]).PatientIdentityRemoved == "NO"


def test_a_mosaic_is_left_to_nifti(tmp_path):
    def mosaic(data, k):
        data.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]

    write_series(tmp_path / "a", Volume(SCAN.array[..., :1], SCAN.affine), change=mosaic)
    [row] = deidentify_studies([tmp_path / "a"], tmp_path / "out")
    assert row.problem
    assert files_of(tmp_path / "out") == []


def test_numbers_inside_longer_numbers_are_others():
    assert stands_in("12345678", b"x 12345678 y")
    assert not stands_in("12345678", b"1.2.123456789")
    assert not stands_in("1.2.840.99", b"1.2.840.99.1")
    assert stands_in("AB-123456", b"(AB-123456)")


def test_one_bad_file_is_a_row(tree, tmp_path):
    (tree / f"{MARK}_JANE" / "a" / "bad.dcm").write_text("x")
    command = ["convert", str(tree), str(tmp_path / "out"), "--deidentify", "--seed", "s"]
    result = CliRunner().invoke(cli.app, command, env={"COLUMNS": "160"})
    assert result.exit_code == 1
    assert "2 series done, 1 failed" in result.output
    with pytest.raises(OutputError, match="not empty"):
        deidentify_studies([tree], tmp_path / "out")
    with pytest.raises(SeriesError):
        (tmp_path / "x.nii").touch()
        deidentify_studies([tmp_path / "x.nii"], tmp_path / "other")
