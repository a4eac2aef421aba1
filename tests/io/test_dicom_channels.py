"""More than one image a place: time, echoes, phases, diffusion; frames in one file; color."""

import numpy as np
import pydicom
import pytest
from dicom_phantom import write_enhanced, write_series
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_color_lut

from medvision.errors import DecodeError, GeometryError, SeriesError
from medvision.geometry import check_affine, to_world
from medvision.io import read_volume
from medvision.io.dicom.elements import read_elements
from medvision.volume import Volume

AFFINE = check_affine([[0.8, 0, 0.3, -30], [0, 1.2, 0, 12], [-0.2, 0, 3, 40], [0, 0, 0, 1]])
UPRIGHT = check_affine([[0.8, 0, 0, -30], [0, 1.2, 0, 12], [0, 0, 3, 40], [0, 0, 0, 1]])


def counted(channels=1, affine=UPRIGHT, start=0):
    shape = (channels, 5, 6, 4)
    array = (start + np.arange(np.prod(shape))).reshape(shape).astype(np.int16)
    return Volume(array, affine)


def write_times(folder, scan, change=lambda data, c: None):
    """Write each channel as files of one series, one after the other; returns their UID."""
    uid = pydicom.uid.generate_uid()
    for c in range(len(scan.array)):

        def number(data, k, c=c):
            data.SeriesInstanceUID = uid
            data.InstanceNumber = 1 + c * scan.shape[2] + k
            change(data, c)

        one = scan.with_array(scan.array[c])
        for path in write_series(folder / f"{c}", one, change=number, seed=c, modality="MR"):
            path.rename(folder / f"{c}-{path.name}")
        (folder / f"{c}").rmdir()
    return uid


def same_in_world(found, truth):
    for value in truth.array.ravel()[::11]:
        (c, *here), (d, *there) = (np.argwhere(v.array == value)[0] for v in (found, truth))
        assert c == d
        assert np.allclose(to_world(found.affine, here), to_world(truth.affine, there), atol=1e-3)


def test_images_of_one_place_are_channels_in_order_of_their_numbers(tmp_path):
    truth = counted(3)
    write_times(tmp_path, truth)
    found = read_volume(tmp_path)
    assert found.info.channels == "time"
    assert found.array.shape == (3, 5, 6, 4)
    same_in_world(found, truth)


def test_channels_keep_their_times(tmp_path):
    def change(data, c):
        data.AcquisitionTime = ["095958.5", "100001", "100003.5"][c]

    write_times(tmp_path, counted(3), change)
    assert read_volume(tmp_path).info.times == (0, 2.5, 5)


def test_a_time_point_that_lacks_a_slice_is_named(tmp_path):
    write_times(tmp_path, counted(3))
    sorted(tmp_path.glob("2-*"))[1].unlink()
    with pytest.raises(GeometryError, match="1 of 4 places have not 3 images"):
        read_volume(tmp_path)


def test_diffusion_keeps_its_weights_and_directions(tmp_path):
    def change(data, c):
        data.DiffusionBValue = [0.0, 1000.0, 1000.0][c]
        if c:
            data.DiffusionGradientOrientation = [[1.0, 0, 0], [0, 0.6, 0.8]][c - 1]

    write_times(tmp_path, counted(3), change)
    info = read_volume(tmp_path).info
    assert info.channels == "diffusion"
    assert info.b_values == (0, 1000, 1000)
    assert info.b_vectors == ((0, 0, 0), (-1, 0, 0), (0, -0.6, 0.8))  # LPS in the file, RAS here


def test_echoes_of_one_series_are_parts_that_must_be_chosen(tmp_path):
    def change(data, c):
        data.EchoTime = [4.92, 7.38][c]

    truth = counted(2)
    write_times(tmp_path, truth, change)
    with pytest.raises(SeriesError) as error:
        read_volume(tmp_path)
    for words in ("2 parts of one series", "1.1", "echo 4.92 ms", "1.2", "echo 7.38 ms"):
        assert words in str(error.value)
    for chosen in ("1.2", "7.38"):
        assert np.array_equal(
            np.sort(read_volume(tmp_path, chosen).array.ravel()), truth.array[1].ravel()
        )


def test_magnitude_and_phase_are_told_apart(tmp_path):
    def change(data, c):
        data.ImageType = ["ORIGINAL", "PRIMARY", "MP"[c], "ND"]

    write_times(tmp_path, counted(2), change)
    assert read_volume(tmp_path, "phase").array.min() == 120
    assert read_volume(tmp_path, "magnitude").array.max() == 119


def test_the_planes_of_a_localizer_are_told_apart(tmp_path):
    def change(data, c):
        data.ImageOrientationPatient = [[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1]][c]

    write_times(tmp_path, counted(2).cropped((slice(0, 5), slice(0, 6), slice(0, 1))), change)
    assert read_volume(tmp_path, "sagittal").orientation == "PIR"
    assert read_volume(tmp_path, "axial").orientation == "LPS"


@pytest.mark.parametrize("affine", [AFFINE, UPRIGHT], ids=["oblique", "upright"])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_enhanced_file_is_a_volume_of_its_frames(tmp_path, affine, channels):
    truth = counted(channels, affine)
    found = read_volume(write_enhanced(tmp_path / "e.dcm", truth))
    assert found.array.shape == truth.array.shape
    same_in_world(found, truth)


@pytest.mark.parametrize("first", ["slice", "time"])
def test_dimension_indices_put_volumes_in_order(tmp_path, first):
    def change(data, groups):  # the time index runs backwards, against TemporalPositionIndex
        for group in groups:
            content = group.FrameContentSequence[0]
            indices = list(content.DimensionIndexValues)
            indices[-1 if first == "slice" else 0] = 4 - content.TemporalPositionIndex
            content.DimensionIndexValues = indices

    truth = counted(3)
    path = write_enhanced(tmp_path / "e.dcm", truth, dimensions=first, change=change)
    pointers = read_elements(path).items("DimensionIndexSequence")
    assert 0x00209057 in [item.whole("DimensionIndexPointer") for item in pointers]
    same_in_world(read_volume(path), truth.with_array(truth.array[::-1]))


def test_each_frame_is_rescaled_as_it_says(tmp_path):
    truth = counted(1)
    found = read_volume(write_enhanced(tmp_path / "e.dcm", truth.with_array(truth.array * 2), 2.0))
    assert found.array.max() == truth.array.max() * 2


def test_a_film_without_place_is_one_slice_over_time(tmp_path):
    def change(data, k):
        del data.ImagePositionPatient, data.ImageOrientationPatient
        data.NumberOfFrames = 2
        data.PixelData = data.PixelData + (np.frombuffer(data.PixelData, np.int16) + 500).tobytes()

    one = counted().cropped((slice(0, 5), slice(0, 6), slice(0, 1)))
    found = read_volume(write_series(tmp_path, one, change=change, modality="US")[0])
    assert found.info.channels == "time"
    assert np.array_equal(found.array, np.concatenate([one.array, one.array + 500]))


@pytest.mark.parametrize(("first", "lies_at"), [(0, 43), (40, 43), (7, None)])
def test_a_dose_grid_lies_where_its_offsets_say(tmp_path, first, lies_at):
    def change(data, k):
        data.NumberOfFrames, data.GridFrameOffsetVector = 2, [first, first + 3]
        data.PixelData = data.PixelData * 2

    one = counted().cropped((slice(0, 5), slice(0, 6), slice(0, 1)))  # its slice lies at z = 40 mm
    path = write_series(tmp_path, one, change=change)[0]
    if lies_at is None:
        with pytest.raises(DecodeError, match="starts at 7"):
            read_volume(path)
    else:
        assert sorted(to_world(read_volume(path).affine, [[0, 0, 0], [0, 0, 1]])[:, 2]) == [40, 43]


def test_a_film_in_color_lies_along_k():
    path = get_testdata_file("SC_rgb_rle_2frame.dcm")
    found = read_volume(path)
    assert found.array.shape == (3, 100, 100, 2)
    assert "which is no distance" in found.info.notes[-1]
    expected = pydicom.dcmread(path).pixel_array  # (frames, rows, columns, 3)
    assert np.array_equal(found.array.transpose(3, 2, 1, 0), expected)


def test_a_film_lies_as_its_letters_say(tmp_path):
    def change(data, k):
        del data.ImagePositionPatient, data.ImageOrientationPatient
        data.PatientOrientation = ["L", "F"]

    one = counted().cropped((slice(0, 5), slice(0, 6), slice(0, 1)))
    found = read_volume(write_series(tmp_path, one, change=change, modality="DX")[0])
    assert found.orientation == "LIP"  # i to the left, j to the feet
    assert not found.info.notes


@pytest.mark.parametrize("name", ["SC_rgb_rle.dcm", "SC_rgb_jpeg_dcmtk.dcm"])
def test_color_is_three_channels(name):
    path = get_testdata_file(name)
    found = read_volume(path)
    assert found.info.channels == "color"
    expected = pydicom.dcmread(path).pixel_array
    assert np.array_equal(found.array[:, :, :, 0].transpose(2, 1, 0), expected)


def test_a_palette_becomes_color():
    path = get_testdata_file("OBXXXX1A.dcm", download=False) or get_testdata_file(
        "examples_palette.dcm", download=False
    )
    if path is None:
        pytest.skip("pydicom ships without a palette image")
    data = pydicom.dcmread(path)
    found = read_volume(path)
    expected = apply_color_lut(data.pixel_array, data) >> 8
    assert np.array_equal(found.array[:, :, :, 0].transpose(2, 1, 0), expected)


def test_a_dose_is_scaled_to_gray(tmp_path):
    data = pydicom.dcmread(get_testdata_file("rtdose.dcm"))
    data.DoseUnits = "GY"
    data.save_as(tmp_path / "dose.dcm")
    found = read_volume(tmp_path / "dose.dcm")
    assert found.info.unit == "Gy"
    assert found.array.max() == pytest.approx(data.pixel_array.max() * float(data.DoseGridScaling))
