"""DICOM series: right in the world, or refused by name."""

import subprocess
import warnings
import zlib
from pathlib import Path

import dcm2niix
import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_phantom import write_series
from hippocampus_data import DATA
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from scipy.spatial.transform import Rotation

from medvision.errors import DecodeError, GeometryError, MedvisionError, SeriesError
from medvision.geometry import check_affine, to_world
from medvision.io import find_studies, read_volume
from medvision.io.dicom import read_dicom
from medvision.volume import Volume

DECUBITUS = DATA / "dicom" / "dcm_qa_decubitus" / "In"
T1 = {"prone": DECUBITUS / "HFP" / "2_t1_fl2d_sag", "supine": DECUBITUS / "HFS" / "3_t1_fl2d_sag"}


def counted(affine, shape=(5, 6, 4), dtype=np.int16):
    """A volume in which every voxel has its own value."""
    array = np.arange(np.prod(shape)).astype(dtype).reshape(1, *shape)
    return Volume(array, check_affine(affine))


def grid(angles=(0, 0, 0), spacing=(0.8, 1.2, 3.0), origin=(-30.0, 12, 40)):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(spacing)
    affine[:3, 3] = origin
    return affine


def same_in_world(found, truth):
    """Every value lies where it was put, whatever the order of the axes."""
    assert sorted(found.array.ravel()) == sorted(truth.array.ravel())
    for value in truth.array.ravel()[::7]:
        places = [to_world(v.affine, np.argwhere(v.array[0] == value)[0]) for v in (found, truth)]
        assert np.allclose(*places, atol=2e-3), f"{value} lies at {places}"


@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 6)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    seed=st.integers(0, 99),
)
def test_every_voxel_lies_where_the_file_says(tmp_path_factory, angles, spacing, origin, seed):
    truth = counted(grid(angles, spacing, origin))
    folder = tmp_path_factory.mktemp("series")
    write_series(folder, truth, seed=seed)
    same_in_world(read_volume(folder), truth)


def test_the_sources_are_in_slice_order(tmp_path):
    paths = write_series(tmp_path, counted(grid()))
    assert list(read_volume(tmp_path).info.sources) in (paths, paths[::-1])


def test_each_slice_is_rescaled_by_its_own_slope(tmp_path):
    def change(data, k):
        data.RescaleSlope, data.RescaleIntercept = 2, -1000 - k

    truth = counted(grid())
    write_series(tmp_path, truth, change=change)
    found = read_volume(tmp_path)
    expected = truth.array * 2 - 1000 - np.arange(4)
    assert found.array.dtype == np.int16
    assert np.array_equal(found.array, expected)
    assert found.info.unit == "HU"


def test_fractions_are_kept_as_float(tmp_path):
    write_series(tmp_path, counted(grid()), slope=0.25)
    found = read_volume(tmp_path)
    assert found.array.dtype == np.float32
    assert found.array.max() == (5 * 6 * 4 - 1) / 4


def test_values_beyond_int16_are_kept(tmp_path):
    truth = counted(grid(), dtype=np.uint16)
    truth.array[0, 0, 0, 3] = 60_000
    write_series(tmp_path, truth)
    assert read_volume(tmp_path).array.max() == 60_000


def test_monochrome1_is_turned_so_that_high_is_bright(tmp_path):
    def change(data, k):
        data.PhotometricInterpretation, data.BitsStored, data.HighBit = "MONOCHROME1", 12, 11
        data.WindowCenter, data.WindowWidth = 40, 400

    truth = counted(grid(), dtype=np.uint16)
    write_series(tmp_path, truth, change=change, modality="CR")
    found = read_volume(tmp_path)
    assert np.array_equal(found.array, 4095 - truth.array.astype(int))
    assert found.info.window is None  # that of the file is meant for the values before


def test_an_inverted_ct_keeps_its_units(tmp_path):
    def change(data, k):
        data.PhotometricInterpretation = "MONOCHROME1"

    truth = counted(grid())
    write_series(tmp_path, truth, change=change, modality="CT")
    assert sorted(read_volume(tmp_path).array.ravel()) == sorted(truth.array.ravel())


@pytest.mark.parametrize("spacing", [0.703125, 0.8333, 1.25])
def test_positions_with_two_digits_make_a_grid(tmp_path, spacing):
    def change(data, k):
        data.ImagePositionPatient = [f"{float(v):.2f}" for v in data.ImagePositionPatient]
        data.ImageOrientationPatient = [
            float(v) + 1e-7 * (-1) ** k for v in data.ImageOrientationPatient
        ]

    truth = counted(grid((1.6, 0, 0), (0.8, 1.2, spacing)), (5, 6, 40))
    write_series(tmp_path, truth, change=change)
    assert read_volume(tmp_path).spacing[2] == pytest.approx(spacing, abs=0.001)


def test_the_window_of_the_file_is_kept(tmp_path):
    def change(data, k):
        data.WindowCenter, data.WindowWidth = [40, 300], [400, 1500]

    write_series(tmp_path, counted(grid()), change=change)
    window = read_volume(tmp_path).info.window
    assert (window.level, window.width) == (40, 400)


def test_padding_is_told_and_kept(tmp_path):
    def change(data, k):
        data.PixelPaddingValue, data.PixelPaddingRangeLimit = -2000, -1900

    write_series(tmp_path, counted(grid()), change=change, slope=2, intercept=-1000)
    found = read_volume(tmp_path)
    assert found.info.padding == (-5000, -4800)
    assert found.array.min() == -1000


def test_a_tilt_is_kept_in_the_affine_and_told(tmp_path):
    affine = grid()
    affine[1, 2] = 0.6  # each slice is shifted to the front
    truth = counted(affine)
    write_series(tmp_path, truth)
    found = read_volume(tmp_path)
    same_in_world(found, truth)
    assert "tilt of 11.3°" in found.info.notes[0]


def ramp(affine, shape=(8, 9, 12)):
    """A volume whose values are 10 × R + 5 × A + 20 × S in mm, so that interpolation is exact."""
    world = to_world(check_affine(affine), np.moveaxis(np.indices(shape), 0, -1))
    return Volume(np.rint(world @ [10, 5, 20])[None].astype(np.int16), check_affine(affine))


def test_missing_slices_are_interpolated_when_asked(tmp_path):
    truth = ramp(grid((0, 0, 0), (1, 1, 2), (0, 0, 0)))
    paths = write_series(tmp_path, truth)
    for path in paths[4:6]:
        path.unlink()
    found = read_dicom(tmp_path, resample=True).reoriented("RAS")
    assert found.shape == truth.shape
    assert np.allclose(found.affine, truth.affine)
    assert np.abs(found.array - truth.array).max() <= 1
    assert "2 slice(s) missing" in found.info.notes[0]
    assert "interpolated" in found.info.notes[1]


def test_a_tilt_is_straightened_when_asked(tmp_path):
    affine = grid((0, 0, 0), (1, 1, 2), (0, 0, 0))
    affine[1, 2] = 0.5
    write_series(tmp_path, ramp(affine))
    found = read_dicom(tmp_path, resample=True)
    axes = found.affine[:3, :3] / np.linalg.norm(found.affine[:3, :3], axis=0)
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    inside = to_world(found.affine, [[4, 6, 5], [3, 7, 6], [2, 8, 4]])
    for point, voxel in zip(inside, [(4, 6, 5), (3, 7, 6), (2, 8, 4)], strict=True):
        assert found.array[0][voxel] == pytest.approx(point @ [10, 5, 20], abs=1)


def test_one_file_is_one_slice(tmp_path):
    paths = write_series(tmp_path, counted(grid()))
    found = read_volume(paths[2])
    assert found.shape == (5, 6, 1)
    assert found.spacing == pytest.approx((0.8, 1.2, 3.0))


def drop(*names):
    def change(data, k):
        for name in names:
            if name in data:
                delattr(data, name)

    return change


def test_a_radiograph_without_place_keeps_its_pixel_size(tmp_path):
    place = drop("ImagePositionPatient", "ImageOrientationPatient")
    write_series(tmp_path, counted(grid(), (5, 6, 1)), change=place, modality="CR")
    found = read_volume(tmp_path)
    assert found.spacing[:2] == pytest.approx((0.8, 1.2))
    assert found.info.spacing_known
    assert "left and right are a guess" in found.info.notes[0]


def test_a_picture_without_pixel_size_knows_no_millimeters(tmp_path):
    bare = drop("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")
    write_series(tmp_path, counted(grid(), (5, 6, 1)), change=bare)
    assert not read_volume(tmp_path).info.spacing_known


def stretch(data, k):
    if k == 3:
        data.ImagePositionPatient[2] += 1


def shift(data, k):
    if k == 1:
        data.ImagePositionPatient[0] += 2


def turn(data, k):
    if k == 2:
        data.ImageOrientationPatient = [0, 1, 0, -1, 0, 0]


def zoom(data, k):
    if k == 2:
        data.PixelSpacing = [2, 2]


def shrink(data, k):
    if k == 2:
        data.Rows -= 1


def bend(data, k):
    data.ImageOrientationPatient = [1, 0, 0, 1, 0, 0]


def frames(data, k):
    data.NumberOfFrames = 3


def mosaic(data, k):
    data.ImageType = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]


def color(data, k):
    data.SamplesPerPixel, data.PhotometricInterpretation = 3, "RGB"


def no_pixels(data, k):
    del data.PixelData


def short_pixels(data, k):
    data.PixelData = data.PixelData[:20]


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        (stretch, GeometryError, "uneven spacing between"),
        (shift, GeometryError, "sideways: IM"),
        (turn, SeriesError, "(?s)2 parts of one series.*another angle"),
        (zoom, GeometryError, r"1 of 4 slices differ in pixel spacing .* IM\d+ \(2 × 2\)"),
        (shrink, SeriesError, r"(?s)2 parts of one series.*5 × 6\], 3 images.*5 × 5\], 1 image"),
        (bend, GeometryError, "perpendicular"),
        (drop("ImagePositionPatient"), GeometryError, "lacks its place"),
        (frames, DecodeError, "pixel data"),
        (mosaic, DecodeError, "does not hold a known number of tiles"),
        (color, DecodeError, "pixel data"),
        (no_pixels, DecodeError, "pixel data"),
        (short_pixels, DecodeError, "pixel data"),
    ],
)
def test_what_makes_no_volume_is_refused(tmp_path, change, kind, says):
    write_series(tmp_path, counted(grid()), change=change)
    with pytest.raises(kind, match=says) as error, warnings.catch_warnings():
        warnings.simplefilter("error")
        read_volume(tmp_path)
    assert "DOE" not in str(error.value)
    assert "PID-4711-X" not in str(error.value)


def test_a_missing_slice_is_named_by_its_neighbors(tmp_path):
    paths = write_series(tmp_path, counted(grid(), (5, 6, 8)))
    paths[3].unlink()
    with pytest.raises(GeometryError, match=r"1 slice\(s\) missing") as error:
        read_volume(tmp_path)
    assert paths[2].name in str(error.value)
    assert paths[4].name in str(error.value)


def test_a_copy_of_a_slice_is_left_out(tmp_path):
    truth = counted(grid())
    paths = write_series(tmp_path, truth)
    (tmp_path / "copy").write_bytes(paths[1].read_bytes())
    found = read_volume(tmp_path)
    same_in_world(found, truth)
    assert "1 copies of other images were left out" in found.info.notes[0]


def test_another_slice_at_the_same_place_is_named(tmp_path):
    paths = write_series(tmp_path, counted(grid()))
    other = pydicom.dcmread(paths[1])
    other.PixelData = other.PixelData[::-1]
    other.save_as(tmp_path / "copy")
    with pytest.raises(GeometryError, match="lie where another lies") as error:
        read_volume(tmp_path)
    assert paths[1].name in str(error.value)
    assert "copy" in str(error.value)


def test_several_series_are_listed_until_one_is_chosen(tmp_path):
    flat = counted(grid())
    write_series(tmp_path, flat, number=2, description="T1 mprage", modality="MR")
    uid = None
    for path in write_series(
        tmp_path / "b",
        flat.with_array(flat.array + 500),
        number=7,
        description="T2 flair",
        modality="MR",
    ):
        path.rename(tmp_path / f"second-{path.name}")
        uid = pydicom.dcmread(tmp_path / f"second-{path.name}").SeriesInstanceUID
    with pytest.raises(SeriesError) as error:
        read_volume(tmp_path)
    for part in ("holds 2 series", "2  MR", "7  MR", "4 images", "--series"):
        assert part in str(error.value)
    for kept in ("T1 mprage", "T2 flair", uid):  # reasons are kept, and a name may stand there
        assert kept not in str(error.value)
    for chosen in ("7", "flair", uid):
        assert read_volume(tmp_path, series=chosen).array.min() == 500
    assert read_volume(tmp_path, series="2").array.min() == 0
    with pytest.raises(SeriesError, match=r"No series in .* fits 'pet'"):
        read_volume(tmp_path, series="pet")
    with pytest.raises(SeriesError, match=r"2 series in .* fit 'T'"):
        read_volume(tmp_path, series="T")


def test_a_broken_file_among_slices_is_not_passed_over(tmp_path):
    write_series(tmp_path, counted(grid()))
    (tmp_path / "IM9999.dcm").write_bytes(b"")
    with pytest.raises(DecodeError, match=r"IM9999.dcm is empty"):
        read_volume(tmp_path)


def test_a_folder_above_the_slices_is_read(tmp_path):
    write_series(tmp_path / "deep" / "er", counted(grid()))
    assert read_volume(tmp_path).shape == (5, 6, 4)
    assert [r.path for r in find_studies(tmp_path)] == [tmp_path / "deep" / "er"]


def test_a_file_without_preamble_is_read(tmp_path):
    paths = write_series(tmp_path, counted(grid()))
    bare = tmp_path / "bare" / "slice"
    bare.parent.mkdir()
    data = pydicom.dcmread(paths[0])
    pydicom.Dataset(data).save_as(bare, implicit_vr=False, little_endian=True)
    assert bare.read_bytes()[128:132] != b"DICM"
    # its transfer syntax is a guess, the default; pydicom tells explicit from implicit itself
    assert find_studies(bare.parent)[0].path == bare.parent
    assert read_volume(bare).shape == (5, 6, 1)


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "MR_small_RLE.dcm",
        "JPEG2000.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "JPGExtended.dcm",
    ],
)
def test_real_files_hold_what_pydicom_decodes(name):
    path = get_testdata_file(name)
    data = pydicom.dcmread(path)
    expected = data.pixel_array * float(data.get("RescaleSlope", 1)) + float(
        data.get("RescaleIntercept", 0)
    )
    rounding = 1 if name == "JPGExtended.dcm" else 0  # of a lossy code: decoders may differ by it
    assert np.abs(read_volume(path).array[0, :, :, 0].T - expected).max() <= rounding


@pytest.mark.parametrize("patient", sorted(T1))
def test_a_real_series_lies_where_dcm2niix_puts_it(tmp_path, patient):
    if not T1[patient].is_dir():
        pytest.skip(f"needs dcm_qa_decubitus in {DATA}")
    subprocess.run(
        [dcm2niix.bin, "-z", "n", "-b", "n", "-f", "t1", "-o", str(tmp_path), str(T1[patient])],
        check=True,
        capture_output=True,
    )
    image = nib.load(tmp_path / "t1.nii")
    found = read_volume(T1[patient])
    theirs = Volume(np.asarray(image.dataobj)[None], check_affine(image.affine))
    ours, theirs = found.reoriented("RAS"), theirs.reoriented("RAS")
    assert np.allclose(ours.affine, theirs.affine, atol=1e-3)
    assert np.array_equal(ours.array, theirs.array)


def damaged(folder):
    good = write_series(folder / "good", counted(grid()))[0].read_bytes()
    (folder / "empty.dcm").touch()
    (folder / "text.dcm").write_text("this is no image")
    (folder / "magic.dcm").write_bytes(b"\0" * 128 + b"DICM")
    for size in (140, 200, 400, 700):
        (folder / f"cut{size}.dcm").write_bytes(good[:size])


def test_a_deflated_file_that_is_cut_short_inside_ends(tmp_path):
    whole = Path(get_testdata_file("image_dfl.dcm")).read_bytes()
    at = whole.index(b"CLUNIE1 ") + 8  # the end of the file meta information
    inner = zlib.decompressobj(-zlib.MAX_WBITS).decompress(whole[at:])
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    path = tmp_path / "short.dcm"
    path.write_bytes(
        whole[:at]
        + packer.compress(inner[: inner.index(b"1.2.840.10008.5.1.4") + 5])
        + packer.flush()
    )
    with pytest.raises(DecodeError, match=r"short\.dcm is cut short"):
        read_volume(path)


def test_damaged_files_are_refused_by_name(tmp_path):
    damaged(tmp_path)
    files = sorted(tmp_path.glob("*.dcm"))
    assert len(files) == 7
    for path in files:
        with pytest.raises(MedvisionError, match=path.name):
            read_volume(path)
