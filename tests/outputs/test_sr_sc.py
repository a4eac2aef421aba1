"""DICOM SR holds what was measured, Secondary Capture what was drawn, both beside their scan."""

from dataclasses import replace

import numpy as np
import pydicom
import pytest
from dicom_phantom import write_series
from dicom_results import BALLS, NAMES, errors_of, scanned, segmented

from medvision.codes import ClassCodes
from medvision.errors import OutputError
from medvision.io import read_volume
from medvision.outputs import write_outputs
from medvision.outputs.nifti import save_nifti
from medvision.outputs.overlay import draw_result
from medvision.study import Study
from medvision.volume import Volume

hd = pytest.importorskip("highdicom", reason="needs highdicom (extra seg)")

IDENTITY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID"),
    *("StudyDate", "AccessionNumber"),
)


def known(data, k):
    data.PatientSex, data.StudyDate, data.AccessionNumber = "F", "20240229", "A-1"


def check_valid(path):
    found = errors_of(path)
    if found is None:
        pytest.skip("needs dciodvfy (Debian's dicom3tools)")
    assert found == []


def scored(tmp_path, change=known, **kwargs):
    prediction, study = segmented(scanned(tmp_path / "scan", change=change))
    scores = dict(zip(NAMES, (0.7251234567, 0.2748, 0.00007), strict=True))
    return replace(prediction, mask=None, scores=scores, **kwargs), study


def check_identity(path, study):
    made, source = pydicom.dcmread(path), pydicom.dcmread(study.image.info.sources[0])
    for keyword in IDENTITY:
        assert made[keyword].value == source[keyword].value, keyword
    return made


def groups_of(path):
    report = hd.sr.srread(path)
    assert report.SOPClassUID.name == "Comprehensive 3D SR Storage"
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert report.VerificationFlag == "UNVERIFIED"
    return report.content


@pytest.mark.parametrize("kind", ["axial", "oblique", "multi-frame axial"])
@pytest.mark.parametrize("formats", [("sr", "seg"), ("sr",)])
def test_a_report_holds_the_volume_of_each_structure(tmp_path, kind, formats):
    change = known if kind != "multi-frame axial" else (lambda data, k: None)
    prediction, study = segmented(scanned(tmp_path / "scan", kind, change))
    files = write_outputs(prediction, study, tmp_path / "out", formats)
    content = groups_of(files["sr"])
    if "seg" in formats:
        groups = content.get_volumetric_roi_measurement_groups()
        uid = pydicom.dcmread(files["seg"]).SOPInstanceUID
        for number, group in enumerate(groups, start=1):
            (item, *_) = group.referenced_segment
            reference = item.ReferencedSOPSequence[0]
            assert reference.ReferencedSOPInstanceUID == uid
            assert reference.ReferencedSegmentNumber == number
    else:
        groups = content.get_image_measurement_groups()
        assert len(groups[0].source_images) > 0
    assert [group.tracking_identifier for group in groups] == list(NAMES)
    for group, one in zip(groups, prediction.measure(), strict=True):
        (volume,) = group.get_measurements()
        assert (volume.name.value, volume.unit.value) == ("118565006", "ml")
        assert volume.value == pytest.approx(one.ml, abs=1e-4)
    for group, ball in zip(groups, BALLS, strict=False):
        assert group.get_measurements()[0].value == pytest.approx(ball.ml, rel=0.03)
    assert [group.finding_type.value for group in groups] == ["85756007", "5366008", "85756007"]
    assert groups[1].finding_sites[0].value.meaning == "Hippocampus"
    check_valid(files["sr"])


def test_a_structure_refers_to_the_slices_it_lies_on(tmp_path):
    scan = scanned(tmp_path / "scan")
    prediction, study = segmented(scan)
    content = groups_of(write_outputs(prediction, study, tmp_path, ["sr"])["sr"])
    for group, label in zip(content.get_image_measurement_groups(), (1, 2, 3), strict=True):
        slices = np.flatnonzero((prediction.mask.array[0] == label).any(axis=(0, 1)))
        wanted = [pydicom.dcmread(scan.info.sources[k]).SOPInstanceUID for k in slices]
        found = [image.referenced_sop_instance_uid for image in group.source_images]
        assert found == wanted


def test_the_seg_of_another_mask_is_not_referred_to(tmp_path):
    prediction, study = segmented(scanned(tmp_path / "scan"))
    write_outputs(prediction, study, tmp_path, ["seg"])
    other = prediction.mask.array.copy()
    other[0, 0, 0, 0] = 1
    changed = replace(prediction, mask=prediction.mask.with_array(other))
    content = groups_of(write_outputs(changed, study, tmp_path, ["sr"])["sr"])
    assert not content.get_volumetric_roi_measurement_groups()
    assert len(content.get_image_measurement_groups()) == 3


def test_a_report_holds_the_probability_of_each_class(tmp_path):
    codes = {"big": ClassCodes("SCT:233604007:Pneumonia", "SCT:64572001:Disease")}
    prediction, study = scored(tmp_path, codes=codes)
    path = write_outputs(prediction, study, tmp_path, ["sr"])["sr"]
    made = check_identity(path, study)
    assert (made.ContentDate, made.Modality) == ("20240229", "SR")
    groups = groups_of(path).get_image_measurement_groups()
    assert [group.tracking_identifier for group in groups] == list(NAMES)
    values = [group.get_measurements()[0] for group in groups]
    assert [float(one.value) for one in values] == [72.5123, 27.48, 0.007]
    assert {(one.name.value, one.unit.value) for one in values} == {("111012", "%")}
    assert groups[0].finding_type.value == "233604007"
    assert groups[1].finding_type is None
    assert len(groups[0].source_images) == study.image.shape[2]
    check_valid(path)


@pytest.mark.parametrize("kind", ["axial", "multi-frame oblique"])
def test_the_capture_is_the_picture_in_the_study_of_the_scan(tmp_path, kind):
    prediction, study = segmented(scanned(tmp_path / "scan", kind), warnings=("looks odd",))
    path = write_outputs(prediction, study, tmp_path, ["sc"])["sc"]
    made = pydicom.dcmread(path)
    drawn = np.asarray(draw_result(prediction, study, "toy", ("looks odd",)))
    np.testing.assert_array_equal(made.pixel_array, drawn)
    assert (made.PhotometricInterpretation, made.BurnedInAnnotation) == ("RGB", "NO")
    assert made.ImageComments.startswith("Research use only")
    assert made.StudyInstanceUID == pydicom.dcmread(study.image.info.sources[0]).StudyInstanceUID
    check_valid(path)


def test_names_of_cases_are_not_drawn_for_archives(tmp_path):
    prediction, study = scored(tmp_path)
    one = write_outputs(prediction, study, tmp_path, ["sc"])["sc"]
    two = write_outputs(replace(prediction, case_id="doe_jane"), study, tmp_path, ["sc"])["sc"]
    assert one.read_bytes() == two.read_bytes()
    check_identity(one, study)
    check_valid(one)


@pytest.mark.parametrize(
    ("said", "modality", "wanted"),
    [("YES", "CT", "YES"), ("NO", "US", "NO"), ("", "US", None), ("", "MR", "NO")],
)
def test_text_in_the_pixels_of_the_scan_is_told(tmp_path, said, modality, wanted):
    def change(data, k):
        data.Modality = modality
        if said:
            data.BurnedInAnnotation = said

    prediction, study = scored(tmp_path, change)
    path = write_outputs(prediction, study, tmp_path, ["sc"])["sc"]
    assert pydicom.dcmread(path).get("BurnedInAnnotation") == wanted


def test_a_film_without_a_place_has_a_report_and_a_capture(tmp_path):
    def change(data, k):
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            delattr(data, name)
        data.Modality, data.PatientName = "DX", "LONELY"

    picture = np.arange(40 * 30, dtype=np.int16).reshape(1, 40, 30, 1)
    write_series(tmp_path / "scan", Volume(picture, np.eye(4)), change=change)
    scan = read_volume(tmp_path / "scan")
    prediction, _ = scored(tmp_path / "other")
    study = Study("case", {"image": scan})
    film = replace(prediction, region=tuple(slice(0, n) for n in scan.shape))
    for path in write_outputs(film, study, tmp_path, ["sr", "sc"]).values():
        assert pydicom.dcmread(path).PatientName == "LONELY"
        check_valid(path)
    mask = scan.with_array(np.ones(scan.array.shape, np.uint8))
    masked = replace(film, scores=None, mask=mask)
    with pytest.raises(OutputError, match="no voxel size to measure by"):
        write_outputs(masked, study, tmp_path, ["sr"])
    with pytest.raises(OutputError, match="place of each slice in the patient"):
        write_outputs(masked, study, tmp_path, ["seg"])


def test_two_runs_give_equal_bytes(tmp_path):
    prediction, study = segmented(scanned(tmp_path / "scan"))
    formats = ("sc", "sr", "seg")
    first = write_outputs(prediction, study, tmp_path / "1", formats)
    again = write_outputs(prediction, study, tmp_path / "2", formats)
    assert {k: p.read_bytes() for k, p in first.items()} == {
        k: p.read_bytes() for k, p in again.items()
    }
    made = [pydicom.dcmread(path) for path in first.values()]
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber"):
        assert len({one[keyword].value for one in made}) == 3
    assert {one.InstanceCreationDate for one in made} == {"19000101"}  # the phantom has no date


@pytest.mark.parametrize("kind", ["sr", "sc"])
def test_what_is_no_dicom_is_refused(tmp_path, kind):
    scan = scanned(tmp_path / "scan")
    prediction, _ = segmented(scan)
    study = Study("case", {"image": read_volume(save_nifti(scan, tmp_path / "scan.nii.gz"))})
    with pytest.raises(OutputError, match=r"scan\.nii\.gz is none"):
        write_outputs(prediction, study, tmp_path / "out", [kind])
