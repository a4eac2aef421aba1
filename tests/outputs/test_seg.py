"""DICOM SEG lies where the mask lies: every voxel, by three readers; and it is valid."""

import logging
import warnings
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from dicom_phantom import write_enhanced, write_series
from dicom_results import (
    BALLS,
    NAMES,
    SPACING,
    centroids_by_hand,
    drawn,
    errors_of,
    scanned,
    segmented,
)
from hippocampus_data import DATA

from medvision.errors import MissingExtra, OutputError
from medvision.geometry import to_voxel, to_world
from medvision.io import find_studies, read_labels, read_volume
from medvision.io.read import read_found
from medvision.outputs import write_outputs
from medvision.outputs.nifti import save_nifti
from medvision.outputs.seg import check_written
from medvision.render.ink import label_color
from medvision.study import Study
from medvision.volume import Volume

hd = pytest.importorskip("highdicom", reason="needs highdicom (extra seg)")

KINDS = ["axial", "axial from the head", "sagittal", "coronal", "oblique", "tilted"]
KINDS += [f"multi-frame {plane}" for plane in ("axial", "sagittal", "oblique")]
HALF_VOXEL = np.linalg.norm(SPACING) / 2
BOTH = ("seg", "seg-labelmap")
DICOM = DATA / "dicom"


def check_valid(path):
    found = errors_of(path)
    if found is None:
        pytest.skip("needs dciodvfy (Debian's dicom3tools)")
    assert found == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_voxel_lies_where_it_was_by_three_readers(tmp_path, kind):
    scan = scanned(tmp_path / "scan", kind)
    prediction, study = segmented(scan)
    files = write_outputs(prediction, study, tmp_path / "out", BOTH)
    assert [path.name for path in files.values()] == ["case_seg.dcm", "case_labelmap.dcm"]
    for path in files.values():
        for reference in (scan, None):  # with the scan given, and found by what the file says
            back = read_labels(path, reference)
            np.testing.assert_array_equal(back.array, prediction.mask.array)
            np.testing.assert_array_equal(back.affine, scan.affine)
        assert [label.name for label in back.info.labels] == list(NAMES)
        assert [label.color for label in back.info.labels] == [label_color(n) for n in (1, 2, 3)]
        for ball in BALLS:
            index = np.argwhere(back.array[0] == ball.label).mean(axis=0)
            assert np.linalg.norm(to_world(back.affine, index) - ball.center_mm) < HALF_VOXEL
    by_hand = centroids_by_hand(files["seg"])
    assert list(by_hand) == ["big", "small"]
    for ball, name in zip(BALLS, NAMES, strict=False):
        assert np.linalg.norm(by_hand[name] - ball.center_mm) < HALF_VOXEL


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "tilted"])  # its volumes are straight
@pytest.mark.parametrize("output", BOTH)
def test_highdicom_reads_it_back_onto_the_same_points(tmp_path, kind, output):
    prediction, study = segmented(scanned(tmp_path / "scan", kind))
    path = write_outputs(prediction, study, tmp_path, [output])[output]
    volume = hd.seg.segread(path).get_volume(combine_segments=True)
    for ball in BALLS:
        index = np.argwhere(volume.array == ball.label)
        assert len(index) == (prediction.mask.array == ball.label).sum()
        lps = volume.map_indices_to_reference(index.mean(axis=0)[None].astype(float))[0]
        assert np.linalg.norm(lps * (-1, -1, 1) - ball.center_mm) < HALF_VOXEL


@pytest.mark.parametrize("kind", ["axial", "oblique", "multi-frame sagittal"])
def test_itk_finds_every_voxel_at_its_place(tmp_path, kind):
    itk = pytest.importorskip("SimpleITK", reason="needs SimpleITK")
    scan = scanned(tmp_path / "scan", kind)
    labels = np.zeros(scan.array.shape, np.uint8)
    for k in range(scan.shape[2]):  # no slice is empty: ITK knows no gaps
        labels[0, 5 + k : 20 + k, 3:30, k] = 1
    prediction, study = segmented(scan, labels)
    one = replace(prediction, class_names=("big",), codes={})
    path = write_outputs(one, study, tmp_path, ["seg"])["seg"]
    image = itk.ReadImage(str(path))
    index = np.argwhere(itk.GetArrayFromImage(image).T)  # columns, rows, slices
    lps = np.array([image.TransformIndexToPhysicalPoint(one) for one in index.tolist()])
    found = to_voxel(scan.affine, lps * (-1, -1, 1))
    assert np.abs(found - np.rint(found)).max() < 0.01  # voxels
    assert set(map(tuple, np.rint(found).astype(int))) == set(map(tuple, np.argwhere(labels[0])))


@pytest.mark.parametrize("kind", ["axial", "oblique", "multi-frame axial", "tilted"])
def test_dciodvfy_finds_no_error(tmp_path, kind):
    prediction, study = segmented(scanned(tmp_path / "scan", kind))
    check_valid(write_outputs(prediction, study, tmp_path, ["seg"])["seg"])


def test_patient_study_and_space_are_those_of_the_scan(tmp_path):
    def change(data, k):
        data.SpecificCharacterSet = "ISO_IR 100"
        data.PatientName, data.PatientSex = "Müller^Jörg", "M"
        data.StudyDate, data.StudyTime, data.AccessionNumber = "20240229", "101112", "A-1"
        data.FrameOfReferenceUID = "1.2.3.4"

    scan = scanned(tmp_path / "scan", change=change)
    prediction, study = segmented(scan)
    path = write_outputs(prediction, study, tmp_path, ["seg"])["seg"]
    made, source = pydicom.dcmread(path), pydicom.dcmread(scan.info.sources[0])
    for keyword in (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID"),
        *("StudyDate", "StudyTime", "AccessionNumber", "FrameOfReferenceUID"),
    ):
        assert made[keyword].value == source[keyword].value, keyword
    assert made.PatientName.family_name == "Müller"
    assert made.SpecificCharacterSet == "ISO_IR 192"
    assert (made.ContentDate, made.ContentTime) == ("20240229", "101112")
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    first = made.SegmentSequence[1]
    assert first.SegmentedPropertyTypeCodeSequence[0].CodeValue == "5366008"
    modifier = first.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence
    assert modifier[0].CodeMeaning == "Left"
    plain = made.SegmentSequence[0]
    assert plain.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "123037004"
    assert plain.SegmentedPropertyTypeCodeSequence[0].CodeValue == "85756007"
    assert plain.SegmentAlgorithmType == "AUTOMATIC"
    assert plain.SegmentAlgorithmName == "toy"
    referenced = made.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == source.SeriesInstanceUID
    assert len(referenced.ReferencedInstanceSequence) == scan.shape[2]
    check_valid(path)


@pytest.mark.parametrize("kind", ["axial", "multi-frame axial"])
def test_each_frame_names_the_image_below_it(tmp_path, kind):
    scan = scanned(tmp_path / "scan", kind)
    prediction, study = segmented(scan)
    made = pydicom.dcmread(write_outputs(prediction, study, tmp_path, ["seg"])["seg"])
    places = {}
    for path in scan.info.sources:
        data = pydicom.dcmread(path)
        for n, group in enumerate(data.get("PerFrameFunctionalGroupsSequence", [data]), start=1):
            plane = group.get("PlanePositionSequence", [data])[0]
            number = n if "NumberOfFrames" in data else None
            places[data.SOPInstanceUID, number] = list(plane.ImagePositionPatient)
    for group in made.PerFrameFunctionalGroupsSequence:
        (image,) = group.DerivationImageSequence[0].SourceImageSequence
        key = (image.ReferencedSOPInstanceUID, image.get("ReferencedFrameNumber"))
        assert places[key] == list(group.PlanePositionSequence[0].ImagePositionPatient)
        assert image.SpatialLocationsPreserved == "YES"


def test_of_several_moments_the_first_is_referred_to(tmp_path):
    one = drawn("axial")
    several = Volume(np.concatenate([one.array, one.array + 1]), one.affine)
    write_enhanced(tmp_path / "scan" / "one.dcm", several, dimensions="time")
    scan = read_volume(tmp_path / "scan")
    labels = (scan.array[:1] >= 100).astype(np.uint8)
    prediction, study = segmented(scan, labels)
    path = write_outputs(prediction, study, tmp_path, ["seg"])["seg"]
    np.testing.assert_array_equal(read_labels(path, scan).array, labels)
    for group in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence:
        assert len(group.DerivationImageSequence[0].SourceImageSequence) == 1


def test_two_runs_give_equal_bytes_and_another_mask_other_uids(tmp_path):
    scan = scanned(tmp_path / "scan")
    prediction, study = segmented(scan)
    first = write_outputs(prediction, study, tmp_path / "1", BOTH)
    again = write_outputs(prediction, study, tmp_path / "2", BOTH)
    for kind in BOTH:
        assert first[kind].read_bytes() == again[kind].read_bytes()
    other = prediction.mask.array.copy()
    other[0, 0, 0, 0] = 3
    changed = replace(prediction, mask=prediction.mask.with_array(other))
    third = write_outputs(changed, study, tmp_path / "3", BOTH)
    uids = [pydicom.dcmread(f[k]).SOPInstanceUID for f in (first, third) for k in BOTH]
    assert len(set(uids)) == 4
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)


def test_an_empty_mask_is_empty_frames_on_every_slice(tmp_path):
    scan = scanned(tmp_path / "scan")
    prediction, study = segmented(scan, np.zeros(scan.array.shape, np.uint8))
    files = write_outputs(prediction, study, tmp_path, BOTH)
    for path in files.values():
        back = read_labels(path, scan)
        assert not back.array.any()
        assert back.shape == scan.shape
    check_valid(files["seg"])


def test_one_slice_alone(tmp_path):
    one = drawn("oblique")
    i, j, k = one.shape
    middle = slice(k // 2, k // 2 + 1)
    write_series(tmp_path / "scan", one.cropped((slice(0, i), slice(0, j), middle)))
    scan = read_volume(tmp_path / "scan")
    prediction, study = segmented(scan)
    path = write_outputs(prediction, study, tmp_path, ["seg"])["seg"]
    np.testing.assert_array_equal(read_labels(path, scan).array, prediction.mask.array)
    check_valid(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda data, k: [
            delattr(data, name)
            for name in ("PatientName", "PatientID", "PatientBirthDate", "SliceThickness")
        ],
        lambda data, k: setattr(data, "PatientName", "LONELY"),  # no caret: highdicom logs it
        lambda data, k: setattr(data, "PatientID", None),
        lambda data, k: setattr(data, "StudyDate", "1.1.2024"),
        lambda data, k: setattr(data, "PatientSex", "unknown"),
        lambda data, k: setattr(data, "SpecificCharacterSet", "NONSENSE"),
    ],
)
def test_a_scan_with_little_or_odd_identity_is_served_in_silence(
    tmp_path, change, caplog, capfd, recwarn
):
    def odd(data, k):
        with pydicom.config.disable_value_validation():
            change(data, k)

    with warnings.catch_warnings(action="ignore"):  # pydicom's, of writing it
        scan = scanned(tmp_path / "scan", change=odd)
    capfd.readouterr()
    with caplog.at_level(logging.DEBUG):
        prediction, study = segmented(scan)
        path = write_outputs(prediction, study, tmp_path, ["seg"])["seg"]
    np.testing.assert_array_equal(read_labels(path, scan).array, prediction.mask.array)
    said = caplog.text + "".join(capfd.readouterr())
    assert "LONELY" not in said
    assert "DOE" not in said
    assert not recwarn.list
    check_valid(path)


def test_a_scan_without_identities_stays_without(tmp_path):
    pytest.importorskip("dicognito", reason="needs dicognito (extra deidentify)")
    from medvision.deidentify import deidentify_studies

    scanned(tmp_path / "scan")
    deidentify_studies([tmp_path / "scan"], tmp_path / "clean", seed="a")
    scan = read_volume(tmp_path / "clean")
    path = write_outputs(*segmented(scan), tmp_path, ["seg"])["seg"]
    whole = path.read_bytes()
    assert b"DOE" not in whole
    assert b"PID-4711-X" not in whole
    made, source = pydicom.dcmread(path), pydicom.dcmread(scan.info.sources[0])
    assert made.PatientName == source.PatientName
    assert made.PatientIdentityRemoved == "YES"
    check_valid(path)


def test_axes_of_the_mask_may_be_turned(tmp_path):
    scan = scanned(tmp_path / "scan", "sagittal")
    prediction, _ = segmented(scan)
    turned = scan.reoriented("RAS")
    mask = prediction.mask.reoriented("RAS")
    assert turned.shape != scan.shape
    region = tuple(slice(0, n) for n in mask.shape)
    found = replace(prediction, mask=mask, region=region)
    path = write_outputs(found, Study("case", {"image": turned}), tmp_path, ["seg"])["seg"]
    np.testing.assert_array_equal(read_labels(path, scan).array, prediction.mask.array)


def test_what_has_no_frame_a_slice_is_refused_with_its_reason(tmp_path):
    scan = scanned(tmp_path / "scan")
    prediction, _ = segmented(scan)
    bare = save_nifti(scan, tmp_path / "scan.nii.gz")
    nifti = Study("case", {"image": read_volume(bare)})
    with pytest.raises(OutputError, match=r"scan\.nii\.gz is none\. NIfTI fits"):
        write_outputs(prediction, nifti, tmp_path / "out", ["seg"])
    nothing = Study("case", {"image": Volume(scan.array, scan.affine)})
    with pytest.raises(OutputError, match="beside DICOM files; this scan has none"):
        write_outputs(prediction, nothing, tmp_path / "out", ["seg"])
    half = scan.cropped((slice(0, 20), slice(0, 53), slice(0, 24)))
    cropped, _ = segmented(half)
    with pytest.raises(OutputError, match="resampled or cropped"):
        write_outputs(cropped, Study("case", {"image": half}), tmp_path / "out", ["seg"])
    affine = scan.affine.copy()
    affine[:3, 2] *= 1.02
    shifted = Volume(scan.array, affine, scan.info)
    moved, _ = segmented(shifted)
    with pytest.raises(OutputError, match="resampled or cropped"):
        write_outputs(moved, Study("case", {"image": shifted}), tmp_path / "out", ["seg"])
    gone = replace(scan, info=replace(scan.info, sources=(tmp_path / "gone.dcm",)))
    with pytest.raises(OutputError, match=r"gone\.dcm, which is not there"):
        write_outputs(prediction, Study("case", {"image": gone}), tmp_path / "out", ["seg"])
    assert not list((tmp_path / "out").glob("*"))


def test_what_cannot_be_referred_to_is_refused(tmp_path):
    scan = scanned(tmp_path / "a", change=lambda data, k: delattr(data, "StudyInstanceUID"))
    with pytest.raises(OutputError, match="lacks StudyInstanceUID"):
        write_outputs(*segmented(scan), tmp_path / "out", ["seg"])


def test_a_classification_has_no_seg(tmp_path):
    scan = scanned(tmp_path / "scan")
    prediction, study = segmented(scan)
    scored = replace(prediction, mask=None, scores=dict.fromkeys(NAMES, 1 / 3))
    with pytest.raises(OutputError, match="classification has no output 'seg'"):
        write_outputs(scored, study, tmp_path / "out", ["seg"])


def test_without_highdicom_the_install_line_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("medvision.errors.find_spec", lambda name: None)
    scan = scanned(tmp_path / "scan")
    with pytest.raises(MissingExtra, match=r"pip install 'medvision-toolkit\[seg\]'"):
        write_outputs(*segmented(scan), tmp_path / "out", ["seg"])


def test_a_file_that_reads_back_otherwise_is_not_written(tmp_path):
    scan = scanned(tmp_path / "scan")
    prediction, study = segmented(scan)
    path = write_outputs(prediction, study, tmp_path, ["seg"])["seg"]
    mirrored = prediction.mask.with_array(prediction.mask.array[:, ::-1])
    with pytest.raises(OutputError, match="voxels were not those of the mask"):
        check_written(path, mirrored, "scan")


def real_series():
    refs = find_studies(DICOM, index=False) if DICOM.is_dir() else []
    return [
        (ref, one)
        for ref in refs
        for one in ref.series
        if one.format == "dicom" and one.role == "image" and not one.problem
    ]


@pytest.mark.skipif(not DICOM.is_dir(), reason=f"needs {DICOM}")
def test_real_series_of_several_makers(tmp_path):
    written = refused = 0
    for number, (ref, one) in enumerate(real_series()):
        scan = read_found(ref, one)
        labels = np.zeros((1, *scan.shape), np.uint8)
        i, j, k = scan.shape
        labels[0, i // 8 : i // 3, j // 4 : j // 2, : k // 2 + 1] = 1
        labels[0, i // 2 : i // 2 + 3, j // 2 :, k // 3 :] = 2
        prediction, study = segmented(scan, labels)
        folder = tmp_path / str(number)
        for path in write_outputs(prediction, study, folder, ["sr", "sc"]).values():
            assert not errors_of(path), one
        if "MOSAIC" in pydicom.dcmread(scan.info.sources[0], stop_before_pixels=True).ImageType:
            with pytest.raises(OutputError, match="mosaic, in which all slices"):
                write_outputs(prediction, study, folder, ["seg"])
            refused += 1
            continue
        path = write_outputs(prediction, study, folder, ["seg"])["seg"]
        np.testing.assert_array_equal(read_labels(path, scan).array, labels)
        assert not errors_of(path), one
        written += 1
    assert written >= 6
    assert refused > 0
