"""Labels lie where they were drawn: every voxel, on the grid of the scan, or refused."""

import json
import warnings

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_phantom import write_series
from pydicom import Dataset, FileDataset
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    RTStructureSetStorage,
    generate_uid,
)
from scipy.spatial.transform import Rotation

from medvision.convert import write_converted
from medvision.errors import DecodeError, GeometryError, SeriesError
from medvision.geometry import check_affine, flip_ras_lps, to_voxel, to_world
from medvision.io.dicom import read_dicom
from medvision.io.dicom.rtstruct import even_odd
from medvision.io.dicom.seg import rgb_of_lab
from medvision.io.labels import read_labels, side_car_names
from medvision.outputs import write_outputs
from medvision.prediction import Prediction
from medvision.study import Study
from medvision.volume import Label, Volume

PLANES = {"axial": (0, 0, 0), "sagittal": (0, 90, 90), "oblique": (20, -30, 50)}
FRAME = "1.2.826.0.1.3680043.8.498.1"
SHAPE = (35, 33, 7)  # 1155 pixels a frame: packed, all but the first begin within a byte


def write_scan(folder, angles=(0, 0, 0), shape=SHAPE, spacing=(0.8, 1.2, 3.0)):
    """Write a CT and return it as read, with its files in slice order of what is read."""
    affine = np.eye(4)
    rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    affine[:3, :3] = rotation @ np.diag(spacing)
    affine[:3, 3] = -30, 12, 40

    def in_frame(data, k):
        data.FrameOfReferenceUID = FRAME

    volume = Volume(np.zeros((1, *shape), np.int16), check_affine(affine))
    write_series(folder, volume, change=in_frame)
    scan = read_dicom(folder)
    return scan, list(scan.info.sources)


def random_map(shape=SHAPE, most=3, seed=0):
    """A label map in which two slices are empty."""
    rng = np.random.default_rng(seed)
    array = (rng.random(shape) < 0.3) * rng.integers(1, most + 1, shape)
    array[:, :, [2, 5]] = 0
    return array.astype(np.uint16)


def write_seg(path, files, array, kind, segments=(1, 2, 3), colored=True, **kwargs):
    """Write a SEG by highdicom; `array` is (I, J, K) or (C, I, J, K)."""
    hd = pytest.importorskip("highdicom", reason="needs highdicom, which writes the SEGs")
    sources = [pydicom.dcmread(file) for file in files]
    for source in sources:
        for name in ("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "PatientSex"):
            setattr(source, name, "")
        source.ReferringPhysicianName = ""
    frames = np.ascontiguousarray(np.moveaxis(array, (-1, -2, -3), (0, 1, 2)))  # (K, J, I[, C])
    described = [
        hd.seg.SegmentDescription(
            number,
            f"part {number}",
            codes.SCT.Organ,
            codes.SCT.Liver,
            hd.seg.SegmentAlgorithmTypeValues.MANUAL,
            display_color=hd.color.CIELabColor.from_rgb(200, 30, 10 * number % 256)
            if colored
            else None,
        )
        for number in segments
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seg = hd.seg.Segmentation(
            sources, frames, kind, described, generate_uid(), 9, generate_uid(), 1,
            "maker", "model", "1", "1", **kwargs,
        )  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        seg.save_as(path)
    return path


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_every_voxel_of_a_seg_comes_back(tmp_path, plane, kind):
    scan, files = write_scan(tmp_path / "ct", PLANES[plane])
    truth = random_map()
    found = read_labels(write_seg(tmp_path / "seg" / "a.dcm", files, truth, kind))  # finds the scan
    assert np.array_equal(found.affine, scan.affine)
    assert found.array.dtype == np.uint8
    assert np.array_equal(found.array[0], truth)
    assert found.info.notes == ()
    names = [(label.value, label.name, label.color, label.code) for label in found.info.labels]
    assert names == [(n, f"part {n}", (200, 30, 10 * n), "SCT:10200004") for n in (1, 2, 3)]
    assert "DOE" not in repr(found.info)
    assert "PID-4711-X" not in repr(found.info)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_compressed_frames_are_decoded(tmp_path, syntax):
    pytest.importorskip("openjpeg", reason="needs the extra dicom")
    _, files = write_scan(tmp_path, shape=(36, 34, 4))
    truth = random_map((36, 34, 7))[..., :4]
    path = write_seg(tmp_path / "a.dcm", files, truth, "LABELMAP", transfer_syntax_uid=syntax)
    assert np.array_equal(read_labels(path).array[0], truth)


def test_compressed_bits_are_decoded(tmp_path):
    pytest.importorskip("openjpeg", reason="needs the extra dicom")
    scan, files = write_scan(tmp_path / "ct", shape=(36, 34, 4))
    truth = random_map((36, 34, 7))[..., :4]
    path = write_seg(
        tmp_path / "a.dcm", files, truth, "BINARY", transfer_syntax_uid=JPEG2000Lossless
    )
    assert np.array_equal(read_labels(path, scan).array[0], truth)


def test_a_palette_gives_the_colors_that_segments_lack(tmp_path):
    hd = pytest.importorskip("highdicom", reason="needs highdicom, which writes the SEGs")
    _, files = write_scan(tmp_path)
    colors = np.array([[0, 0, 0], [255, 0, 0], [1, 200, 3], [9, 9, 250]], np.uint8)
    palette = hd.PaletteColorLUTTransformation.from_combined_lut(colors)
    path = write_seg(
        tmp_path / "a.dcm",
        files,
        random_map(),
        "LABELMAP",
        colored=False,
        palette_color_lut_transformation=palette,
        icc_profile=None,
    )
    found = read_labels(path)
    assert np.array_equal(found.array[0], random_map())
    assert [label.color for label in found.info.labels] == [(255, 0, 0), (1, 200, 3), (9, 9, 250)]


def test_segment_numbers_above_255_take_16_bits(tmp_path):
    _, files = write_scan(tmp_path)
    truth = np.where(random_map() > 0, 299, 0).astype(np.uint16)
    truth[0, 0, 0] = 300
    path = write_seg(tmp_path / "a.dcm", files, truth, "LABELMAP", segments=range(1, 301))
    found = read_labels(path)
    assert found.array.dtype == np.uint16
    assert np.array_equal(found.array[0], truth)


@pytest.mark.parametrize("meaning", ["PROBABILITY", "OCCUPANCY"])
def test_fractions_are_channels(tmp_path, meaning):
    scan, files = write_scan(tmp_path)
    truth = np.stack([(random_map() == n) * n * 51 for n in (1, 2, 3)])  # of 255
    path = write_seg(tmp_path / "a.dcm", files, truth / 255, "FRACTIONAL", fractional_type=meaning)
    found = read_labels(path)
    assert (found.info.channels, found.array.dtype) == ("segment", np.float32)
    assert np.allclose(found.array, truth / 255, atol=1e-6)
    assert np.array_equal(found.affine, scan.affine)


def test_overlapping_segments_are_channels(tmp_path):
    _, files = write_scan(tmp_path)
    truth = np.stack([random_map(seed=n) > 0 for n in (1, 2)]).astype(np.uint8)
    found = read_labels(write_seg(tmp_path / "a.dcm", files, truth, "BINARY", segments=(1, 2)))
    assert (found.info.channels, found.array.dtype) == ("segment", np.uint8)
    assert np.array_equal(found.array, truth)
    assert [label.value for label in found.info.labels] == [1, 2]


def test_frames_in_any_order_and_axes_of_the_scan_in_any_order(tmp_path):
    scan, files = write_scan(tmp_path / "ct", PLANES["oblique"])
    truth = random_map()
    path = write_seg(tmp_path / "b" / "a.dcm", files, truth, "LABELMAP")
    data = pydicom.dcmread(path)
    groups, frames = data.PerFrameFunctionalGroupsSequence, data.pixel_array
    order = np.random.default_rng(1).permutation(len(groups))
    data.PerFrameFunctionalGroupsSequence = [groups[n] for n in order]
    data.PixelData = frames[order].tobytes() + b"\0" * (frames.size % 2)
    data.save_as(path)
    turned = Volume(truth[None], scan.affine).reoriented("SAL")
    found = read_labels(path, turned)
    assert np.array_equal(found.array, turned.array)
    assert found.info.notes == ()


def test_without_its_scan_a_seg_lies_on_its_own_grid(tmp_path):
    scan, files = write_scan(tmp_path / "far" / "away" / "ct", PLANES["oblique"])
    path = write_seg(tmp_path / "x" / "y" / "a.dcm", files, random_map(), "BINARY")
    found = read_labels(path)
    assert "not near it" in found.info.notes[0]
    assert np.allclose(found.affine, scan.affine, atol=1e-5)
    assert np.array_equal(found.array[0], random_map())
    assert np.array_equal(read_labels(path, tmp_path / "far" / "away" / "ct").array, found.array)


def test_on_another_grid_each_voxel_takes_the_nearest_label(tmp_path):
    _, files = write_scan(tmp_path / "ct")
    other, _ = write_scan(tmp_path / "other", (0, 0, 5), (50, 40, 20), (0.7, 0.9, 1.0))
    truth = random_map()
    found = read_labels(write_seg(tmp_path / "a.dcm", files, truth, "BINARY"), other)
    assert "another grid" in found.info.notes[-1]
    scan = read_dicom(tmp_path / "ct")
    index = np.rint(to_voxel(scan.affine, to_world(other.affine, np.argwhere(found.array[0]))))
    there = truth[tuple(index.astype(int).T)]
    assert len(there) > 1000
    assert np.array_equal(there, found.array[0][found.array[0] > 0])
    assert "was drawn" not in found.info.notes[0]
    assert "drawn on another scan" in found.info.notes[0]


def test_messages_say_where_the_uid_of_the_missing_scan_stands_and_not_the_uid(tmp_path):
    _, files = write_scan(tmp_path / "far" / "away" / "ct")
    scan = pydicom.dcmread(files[0])
    path = write_seg(tmp_path / "x" / "y" / "a.dcm", files, random_map(), "BINARY")
    other, _ = write_scan(tmp_path / "other")
    for labels in (read_labels(path), read_labels(path, other)):
        said = " ".join(labels.info.notes)
        assert "ReferencedSeriesSequence" in said
        assert scan.SeriesInstanceUID not in said
        assert other.info.series_uid not in said
    [named] = pydicom.dcmread(path).ReferencedSeriesSequence
    assert named.SeriesInstanceUID == scan.SeriesInstanceUID


def test_the_same_frame_of_reference_is_second_best(tmp_path):
    _, files = write_scan(tmp_path / "far" / "away" / "ct")
    near, _ = write_scan(tmp_path / "x" / "ct", shape=(20, 20, 5))
    found = read_labels(write_seg(tmp_path / "x" / "seg" / "a.dcm", files, random_map(), "BINARY"))
    assert np.array_equal(found.affine, near.affine)
    assert found.shape == near.shape
    assert "FrameOfReferenceUID" in found.info.notes[0]
    assert any("beyond the scan" in note for note in found.info.notes)


def test_pydicoms_liver(tmp_path):
    with pytest.raises(DecodeError, match="1 frames and the places of 3"):
        read_labels(get_testdata_file("liver_1frame.dcm"))
    data = pydicom.dcmread(get_testdata_file("liver_1frame.dcm"))
    data.PerFrameFunctionalGroupsSequence = data.PerFrameFunctionalGroupsSequence[:1]
    data.save_as(tmp_path / "liver.dcm")
    found = read_labels(tmp_path / "liver.dcm")
    assert np.array_equal(found.array[0, :, :, 0], data.pixel_array.T)
    assert found.info.labels == (Label(1, "Liver", (221, 130, 101), "SRT:T-62000"),)
    assert "JANCT" not in repr(found.info)


def test_colors_come_back_as_highdicom_wrote_them():
    hd = pytest.importorskip("highdicom", reason="needs highdicom, which knows the colors")
    for rgb in [(255, 0, 0), (0, 255, 0), (0, 0, 255), (12, 130, 250), (0, 0, 0)]:
        assert rgb_of_lab(hd.color.CIELabColor.from_rgb(*rgb).value) == rgb


def test_damaged_segs_are_refused(tmp_path):
    scan, files = write_scan(tmp_path)
    path = write_seg(tmp_path / "a.dcm", files, random_map(), "BINARY")
    whole = path.read_bytes()
    for end in (len(whole) - 300, len(whole) // 2, 700):
        path.write_bytes(whole[:end])
        with pytest.raises(DecodeError, match=r"a\.dcm"):
            read_labels(path, scan)
    path.write_bytes(whole)
    data = pydicom.dcmread(path)
    del data.SegmentSequence
    data.save_as(path)
    with pytest.raises(DecodeError, match=r"a\.dcm"):
        read_labels(path, scan)
    with pytest.raises(DecodeError, match="neither SEG nor RTSTRUCT"):
        read_labels(files[0])
    with pytest.raises(SeriesError, match="No such file"):
        read_labels(tmp_path / "none.dcm")


def write_rtstruct(path, scan, rois, kind="CLOSED_PLANAR"):
    """Write contours in voxel indices of a scan: {name: [(N, 3) …]}."""
    data = FileDataset("", {}, preamble=b"\0" * 128, file_meta=FileMetaDataset())
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = RTStructureSetStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = scan.info.study_uid, generate_uid()
    data.Modality, data.PatientName, data.PatientID = "RTSTRUCT", "DOE^JANE", "PID-4711-X"
    series, study, space = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = scan.info.series_uid
    study.RTReferencedSeriesSequence = [series]
    space.FrameOfReferenceUID, space.RTReferencedStudySequence = FRAME, [study]
    data.ReferencedFrameOfReferenceSequence = [space]
    described, drawn, observed = [], [], []
    for number, (name, contours) in enumerate(rois.items(), start=5):
        roi, lines, seen = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        lines.ReferencedROINumber = seen.ReferencedROINumber = number
        lines.ROIDisplayColor, seen.RTROIInterpretedType = [255, 0, number], "GTV"
        items = []
        for points in contours:
            lps = to_world(flip_ras_lps(scan.affine), np.asarray(points, float))
            one = Dataset()
            one.ContourGeometricType, one.NumberOfContourPoints = kind, len(lps)
            one.ContourData = [f"{v:.6f}" for v in lps.ravel()]
            items.append(one)
        lines.ContourSequence = items
        described.append(roi)
        drawn.append(lines)
        observed.append(seen)
    data.StructureSetROISequence, data.ROIContourSequence = described, drawn
    data.RTROIObservationsSequence = observed
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def box(low, high, k):
    """A rectangle around the centers low to high, both included, in slice k."""
    (a, b), (c, d) = np.subtract(low, 0.3), np.add(high, 0.3)
    return [(a, b, k), (c, b, k), (c, d, k), (a, d, k)]


def circle(center, radius, k, points=400):
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    i, j = center[0] + radius * np.cos(angle), center[1] + radius * np.sin(angle)
    return np.column_stack([i, j, np.full(points, k)])


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_contours_hold_the_voxels_whose_centers_they_enclose(tmp_path, plane, kind):
    scan, _ = write_scan(tmp_path / "ct", PLANES[plane])
    keyhole = [(1, 20), (1, 30), (11, 30), (11, 20), (6, 20), (6, 23), (8, 23), (8, 27), (4, 27)]
    keyhole = [(i - 0.5, j - 0.5, 3) for i, j in [*keyhole, (4, 23), (6, 23), (6, 20)]]
    rois = {
        "box": [box((2, 3), (7, 5), k) for k in (1, 2)],
        "ring": [c for k in (4, 5) for c in (circle((20, 15), 9.3, k), circle((20, 15), 4.6, k))],
        "keyhole": [keyhole],
        "nothing": [],
    }
    found = read_labels(write_rtstruct(tmp_path / "a" / "rt.dcm", scan, rois, kind))
    truth = np.zeros(SHAPE, int)
    truth[2:8, 3:6, 1:3] = 5
    distance = np.hypot(*(np.indices(SHAPE)[:2] - np.reshape([20, 15], (2, 1, 1, 1))))
    truth[:, :, 4:6][((distance > 4.6) & (distance < 9.3))[:, :, 4:6]] = 6
    truth[1:11, 20:30, 3], truth[4:8, 23:27, 3] = 7, 0
    assert np.array_equal(found.array[0], truth)
    assert np.array_equal(found.affine, scan.affine)
    assert found.info.labels[0] == Label(5, "box", (255, 0, 5), "RTROI:GTV")
    assert found.info.notes == ("nothing has no closed contour: its label is empty.",)
    assert "DOE" not in repr(found.info)


def test_overlapping_regions_are_channels(tmp_path):
    scan, _ = write_scan(tmp_path / "ct")
    rois = {"a": [box((2, 2), (4, 4), 1)], "b": [box((9, 9), (9, 9), 1)]}
    rois |= {"c": [box((4, 4), (6, 6), 1)]}
    found = read_labels(write_rtstruct(tmp_path / "rt.dcm", scan, rois), tmp_path / "ct")
    assert found.info.channels == "segment"
    assert found.array.sum(axis=(1, 2, 3)).tolist() == [9, 1, 9]
    assert found.array[2, 4:7, 4:7, 1].all()
    assert [label.value for label in found.info.labels] == [1, 2, 3]


def test_a_contour_through_centers_takes_its_low_side():
    square = np.array([(1, 1), (4, 1), (4, 4), (1, 4)], float)
    found = even_odd([square], 9, 6)
    assert found[1:4, 1:4].all()
    assert found.sum() == 9
    beside = even_odd([np.add(square, (3, 0))], 9, 6)  # shares a side: no pixel is in both
    assert beside[4:7, 1:4].all()
    assert beside.sum() == 9


def test_contours_off_the_scan_are_refused(tmp_path):
    scan, _ = write_scan(tmp_path / "ct")
    path = write_rtstruct(tmp_path / "rt.dcm", scan, {"box": [box((2, 2), (4, 4), 8)]})
    with pytest.raises(GeometryError, match=r"rt\.dcm.*6\.00 mm beyond"):
        read_labels(path)
    tilted = [[(2, 2, 1), (6, 2, 1), (6, 6, 3)]]
    path = write_rtstruct(tmp_path / "rt.dcm", scan, {"tilted": tilted})
    with pytest.raises(GeometryError, match=r"not parallel.*6\.00 mm"):
        read_labels(path)


def test_open_contours_are_left_out_and_told(tmp_path):
    scan, _ = write_scan(tmp_path / "ct")
    path = write_rtstruct(tmp_path / "rt.dcm", scan, {"mark": [[(2, 2, 1)]]}, "POINT")
    assert "mark: 1 POINT enclose nothing and are left out." in read_labels(path).info.notes


def test_an_rtstruct_without_its_scan_says_where_it_names_it(tmp_path):
    scan, _ = write_scan(tmp_path / "far" / "away" / "ct")
    path = write_rtstruct(tmp_path / "x" / "y" / "rt.dcm", scan, {"a": [box((2, 2), (4, 4), 1)]})
    with pytest.raises(SeriesError, match=r"ReferencedSeriesSequence.*reference="):
        read_labels(path)
    assert read_labels(path, scan).array.sum() == 9 * 5


def test_nifti_labels_and_their_names(tmp_path):
    scan, _ = write_scan(tmp_path / "ct")
    truth = random_map()
    path = tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(truth.astype(np.float32), scan.affine), path)
    assert [label.name for label in read_labels(path).info.labels][:1] == ["label 1"]
    for names in ({"1": "liver", "0": "background"}, {"liver": 1, "background": 0}):
        (tmp_path / "mask.json").write_text(json.dumps({"labels": names}))
        found = read_labels(path, scan)
        assert np.array_equal(found.array[0], truth)
        assert found.array.dtype == np.uint8
        assert [label.name for label in found.info.labels] == ["liver", "label 2", "label 3"]
        assert found.info.notes == ()
    (tmp_path / "mask.json").write_text('{"labels": ["liver"]}')
    with pytest.raises(DecodeError, match=r"mask\.json"):
        read_labels(path)


@pytest.mark.parametrize("value", [0.5, -1, np.nan])
def test_nifti_values_that_are_no_labels_are_refused(tmp_path, value):
    array = np.zeros((4, 4, 4), np.float32)
    array[1, 1, 1] = value
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(DecodeError, match=r"a\.nii is no label map"):
        read_labels(tmp_path / "a.nii")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('{"labels": {"1": "liver", "20": "left kidney"}}', {1: "liver", 20: "left kidney"}),
        ('{"labels": {"liver": 1, "left kidney": "20"}}', {1: "liver", 20: "left kidney"}),
        ('{"Labels": {"liver": 1}, "Units": "HU"}', {1: "liver"}),
        ('{"structures": [{"name": "liver", "label": 2, "ml": 3.0}]}', {2: "liver"}),
        ('{"labels": null, "Labels": {"liver": 1}}', {1: "liver"}),
        ('{"labels": {}}', {}),
        ('{"structures": ["ribs"]}', {}),  # somebody else's
        ('{"structures": [{"name": "ribs"}], "Labels": "none"}', {}),
        ('{"Modality": "CT"}', {}),
        ("[1]", {}),
    ],
)
def test_a_side_car_names_values_whichever_way_it_maps_them(tmp_path, text, names):
    path = tmp_path / "mask.json"
    assert side_car_names(path) == {}
    path.write_text(text)
    assert side_car_names(path) == names


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no readable JSON"),
        ('{"labels": ["liver"]}', 'must be like {"1": "liver"} or {"liver": 1}'),
        ('{"labels": {"liver": "one"}}', "must be like"),
    ],
)
def test_a_side_car_that_names_nothing_is_told(tmp_path, text, says):
    path = tmp_path / "mask.json"
    path.write_text(text)
    with pytest.raises(DecodeError) as caught:
        side_car_names(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


def test_masks_that_medvision_wrote_come_back_with_their_names(tmp_path):
    array = random_map(most=2)[None].astype(np.uint8)
    scan = Volume(array * 0, np.eye(4))
    mask, everywhere = scan.with_array(array), tuple(slice(0, n) for n in SHAPE)
    made = Prediction("a", "toy", ("front", "back"), everywhere, mask)
    files = write_outputs(made, Study("a", {"image": scan}), tmp_path, ("nifti", "json"))
    labels = (Label(1, "front"), Label(2, "back"))
    assert read_labels(files["nifti"]).info.labels == labels
    named = {"Labels": {label.name: label.value for label in labels}}
    image, *_ = write_converted(mask, named, tmp_path / "b")
    assert read_labels(image).info.labels == labels
