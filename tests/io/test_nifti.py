"""NIfTI files through nibabel: right, or refused by name."""

import gzip
import json
import struct
import sys
import tempfile
import tracemalloc
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medvision.errors import DecodeError, GeometryError, MedvisionError
from medvision.geometry import to_world
from medvision.io import read_study, read_volume
from medvision.io.nifti import is_nifti, nifti_facts, read_nifti

NATIVE = "<" if sys.byteorder == "little" else ">"

OBLIQUE = np.array(
    [[0.9, 0.1, 0, -20], [-0.1, 0.8, 0.3, 31], [0, -0.2, 2.0, 7], [0, 0, 0, 1]], dtype=np.float32
).astype(float)

HEADER = nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), OBLIQUE).to_bytes()[:352]


def save(path, array, affine=OBLIQUE, **header):
    image = nib.Nifti1Image(array, affine)
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_voxels_and_world_are_those_of_the_file(tmp_path, suffix, dtype):
    array = np.arange(5 * 6 * 7, dtype=dtype).reshape(5, 6, 7)
    volume = read_volume(save(tmp_path / f"a{suffix}", array))
    assert volume.array.dtype == dtype
    assert np.array_equal(volume.array[0], array)
    assert np.allclose(to_world(volume.affine, (1, 2, 3)), (OBLIQUE @ [1, 2, 3, 1])[:3])
    assert volume.info.description == "a"


def test_two_axes_are_one_slice(tmp_path):
    assert read_volume(save(tmp_path / "a.nii", np.ones((4, 5), np.int16))).shape == (4, 5, 1)


def test_the_fourth_axis_is_time(tmp_path):
    array = np.random.default_rng(0).random((4, 5, 6, 3)).astype(np.float32)
    volume = read_volume(save(tmp_path / "a.nii.gz", array))
    assert volume.array.shape == (3, 4, 5, 6)
    assert volume.info.channels == "time"
    assert np.array_equal(volume.array[2], array[..., 2])


def test_slope_and_intercept_are_applied(tmp_path):
    image = nib.Nifti1Image(np.full((3, 3, 3), 10, np.int16), OBLIQUE)
    image.header.set_slope_inter(0.5, -7)
    nib.save(image, tmp_path / "a.nii")
    raw = nib.load(tmp_path / "a.nii")
    stored = np.asarray(raw.dataobj.get_unscaled())
    volume = read_volume(tmp_path / "a.nii")
    assert np.allclose(volume.array[0], stored * raw.dataobj.slope + raw.dataobj.inter)


def write_forms(path, sform, s_code, qform, q_code):
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), None)
    image.header.set_qform(qform, q_code)
    image.header.set_sform(sform, s_code)
    nib.save(image, path)
    return path


def test_sform_wins_and_the_conflict_is_told(tmp_path):
    sform, qform = np.diag([1.0, 1, 1, 1]), np.diag([1.0, 1, 1, 1])
    qform[0, 3] = 5
    volume = read_volume(write_forms(tmp_path / "a.nii", sform, 1, qform, 1))
    assert np.array_equal(volume.affine, sform)
    assert "differ by up to 5.0 mm" in volume.info.notes[0]


def test_qform_serves_without_sform(tmp_path):
    qform = np.diag([2.0, 2, 3, 1])
    qform[:3, 3] = (1, 2, 3)
    volume = read_volume(write_forms(tmp_path / "a.nii", np.eye(4), 0, qform, 1))
    assert np.allclose(volume.affine, qform)
    assert volume.info.notes == ()


def test_a_file_without_orientation_says_so(tmp_path):
    volume = read_volume(write_forms(tmp_path / "a.nii", np.eye(4), 0, np.eye(4), 0))
    assert "left and right are a guess" in volume.info.notes[0]


def test_mni_space_is_known_by_its_code(tmp_path):
    path = write_forms(tmp_path / "a.nii", np.eye(4), 4, np.eye(4), 0)
    assert read_volume(path).info.space == "mni"


def test_microns_become_millimeters(tmp_path):
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.diag([250.0, 250, 250, 1]))
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    assert volume.spacing == pytest.approx((0.25, 0.25, 0.25))
    assert "micron" in volume.info.notes[0]


def bad_files(folder):
    """Every way in which a .nii is none, by name."""
    good = save(folder / "good.nii", np.zeros((9, 9, 9), np.int16)).read_bytes()
    zipped = gzip.compress(good)
    nan, flat = OBLIQUE.copy(), np.diag([1.0, 1, 0, 1])
    nan[0, 0] = np.nan
    (folder / "empty.nii").touch()
    (folder / "empty.nii.gz").touch()
    (folder / "short.nii").write_bytes(good[:700])
    (folder / "header.nii").write_bytes(good[:100])
    (folder / "short.nii.gz").write_bytes(zipped[: len(zipped) // 2])
    (folder / "text.nii").write_text("this is no image\n" * 100)
    (folder / "text.nii.gz").write_text("this is no image\n" * 100)
    for name, affine in (("nan.nii", nan), ("flat.nii", flat)):
        write_forms(folder / name, affine, 1, np.eye(4), 0)
    save(folder / "complex.nii", np.zeros((3, 3, 3), np.complex64))


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("empty.nii", DecodeError, "empty"),
        ("empty.nii.gz", DecodeError, "empty"),
        ("short.nii", DecodeError, "cut short"),
        ("header.nii", DecodeError, "not a readable"),
        ("short.nii.gz", DecodeError, "cut short"),
        ("text.nii", DecodeError, "not a readable"),
        ("text.nii.gz", DecodeError, "not a readable"),
        ("nan.nii", GeometryError, "NaN"),
        ("flat.nii", GeometryError, "above 0"),
        ("complex.nii", DecodeError, "real numbers"),
        ("absent.nii", MedvisionError, "No such file"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, name, kind, says):
    bad_files(tmp_path)
    with pytest.raises(kind, match=says) as error:
        read_volume(tmp_path / name)
    assert name in str(error.value)


def test_what_is_no_scan_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DecodeError, match=r"notes.txt is no scan"):
        read_volume(tmp_path / "notes.txt")


def test_integers_stay_integers_and_stay_in_place(tmp_path):
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    for name, order in (("little.nii", "<"), ("big.nii", ">")):
        header = nib.Nifti1Header(endianness=order)
        header.set_data_dtype(np.int16)
        nib.save(nib.Nifti1Image(array, OBLIQUE, header), tmp_path / name)
        found = read_volume(tmp_path / name).array
        assert found.dtype == np.dtype(np.int16)
        assert found.dtype.isnative
        assert np.array_equal(found[0], array)
        assert isinstance(mapped_by(found), np.memmap) == (order == NATIVE)


def test_writing_to_a_mapped_array_leaves_the_file_alone(tmp_path):
    path = save(tmp_path / "a.nii", np.zeros((3, 4, 5), np.int16))
    before = path.read_bytes()
    read_volume(path).array[...] = 7
    assert path.read_bytes() == before
    assert not read_volume(path).array.any()


def test_a_mapped_file_takes_no_memory(tmp_path):
    path = tmp_path / "large.nii"
    header = nib.Nifti1Header()
    header.set_data_shape((1000, 1000, 2000))
    header.set_data_dtype(np.int16)
    header.set_sform(np.eye(4), 1)
    with path.open("wb") as file:
        file.write(header.binaryblock + bytes(4))
        file.truncate(352 + 4_000_000_000)  # a hole: the disk holds nothing
    tracemalloc.start()
    volume = read_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert volume.shape == (1000, 1000, 2000)
    assert volume.array[0, 999, 999, 1999] == 0
    assert peak < 10_000_000


def mapped_by(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def test_a_mapped_float_scan_goes_through_a_model(tmp_path):
    from medvision.predictor import load_predictor

    noise = np.random.default_rng(0).random((16, 17, 18)).astype(np.float32)
    turned = np.array([[0, 0, 1.0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])  # C order in RAS
    study = read_study(save(tmp_path / "a.nii", noise, turned))
    assert load_predictor("hippocampus", "cpu").predict(study).mask.shape == (16, 17, 18)


@pytest.mark.parametrize(
    ("dtype", "values", "kept"),
    [
        (np.int8, [-5, 9], np.int8),
        (np.uint16, [0, 65535], np.uint16),
        (np.uint32, [0, 4_000_000_000], np.uint32),
        (np.int64, [-3, 2_000_000_000], np.int32),
        (np.uint64, [0, 1 << 40], np.float32),
        (np.float64, [0.25, -3.5], np.float32),
    ],
)
def test_values_become_what_networks_can_take(tmp_path, dtype, values, kept):
    array = np.resize(np.array(values, dtype), (2, 3, 4))
    nib.save(nib.Nifti1Image(array, OBLIQUE, dtype=dtype), tmp_path / "a.nii.gz")
    found = read_volume(tmp_path / "a.nii.gz").array
    assert found.dtype == kept
    assert np.array_equal(found[0].astype(np.float64), array.astype(np.float64))


@pytest.mark.parametrize("slope", [0, np.nan, np.inf, 1])
def test_a_slope_that_is_none_scales_nothing(tmp_path, slope):
    path = save(tmp_path / "a.nii", np.full((3, 3, 3), 10, np.int16))
    data = bytearray(path.read_bytes())
    data[112:120] = struct.pack(f"{NATIVE}ff", slope, 0)
    path.write_bytes(data)
    found = read_volume(path).array
    assert found.dtype == np.int16
    assert (found == 10).all()


def test_voxels_that_are_not_finite_are_kept_and_counted(tmp_path):
    array = np.ones((3, 4, 5), np.float32)
    array[0, 0, :2] = np.nan, np.inf
    volume = read_volume(save(tmp_path / "a.nii", array))
    assert np.array_equal(volume.array[0], array, equal_nan=True)
    assert volume.info.notes == ("2 of 60 voxels are NaN or infinite; they are kept.",)


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize("zipped", ["", ".gz"])
def test_a_pair_is_found_once_and_read(tmp_path, kind, zipped):
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    nib.save(kind(array, OBLIQUE), tmp_path / f"a.img{zipped}")
    names = [path for path in sorted(tmp_path.iterdir()) if is_nifti(path)]
    assert names == [tmp_path / f"a.hdr{zipped}"]
    volume = read_nifti(names[0])
    assert np.array_equal(volume.array[0], array)
    assert np.allclose(volume.affine, OBLIQUE)
    assert volume.info.description == "a"
    assert volume.info.sources == (tmp_path / f"a.hdr{zipped}", tmp_path / f"a.img{zipped}")
    (tmp_path / f"a.img{zipped}").unlink()
    assert not is_nifti(names[0])
    with pytest.raises(DecodeError, match=r"a\.hdr.* is half of a pair"):
        read_nifti(names[0])


def test_analyze_is_refused_for_want_of_orientation(tmp_path):
    nib.save(nib.AnalyzeImage(np.zeros((3, 4, 5), np.int16), np.eye(4)), tmp_path / "a.img")
    with pytest.raises(DecodeError, match=r"a\.hdr is Analyze 7\.5, which does not say"):
        read_volume(tmp_path / "a.hdr")


def test_nifti_2_and_freesurfer(tmp_path):
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    nib.save(nib.Nifti2Image(array, OBLIQUE), tmp_path / "two.nii")
    rigid = nib.affines.from_matvec(rotation() * [1, 2, 3], [4, 5, 6])
    nib.save(nib.MGHImage(array, rigid), tmp_path / "free.mgz")
    nib.save(nib.MGHImage(array.astype(np.float32), rigid), tmp_path / "free.mgh")
    for name, affine in (("two.nii", OBLIQUE), ("free.mgz", rigid), ("free.mgh", rigid)):
        volume = read_volume(tmp_path / name)
        assert np.array_equal(volume.array[0], array)
        assert np.allclose(volume.affine, affine, atol=1e-5)
        assert volume.array.dtype.isnative
        assert volume.info.description == name[:-4]


def rotation():
    """A turn about an oblique axis, (3, 3)."""
    turn = np.linalg.qr(np.array([[1.0, 0.2, 0.1], [-0.3, 1, 0.4], [0.2, -0.1, 1]]))[0]
    return turn * np.sign(np.linalg.det(turn))


def test_the_qform_serves_where_the_sform_is_singular(tmp_path):
    qform = np.diag([-2.0, 2, 3, 1])  # left-handed: qfac is -1
    volume = read_volume(write_forms(tmp_path / "a.nii", np.diag([1.0, 1, 0, 1]), 2, qform, 1))
    assert np.allclose(volume.affine, qform)
    assert "The sform is not usable" in volume.info.notes[0]
    assert volume.info.space == "scanner"


@pytest.mark.parametrize(
    ("sizes", "shape", "spacing", "says"),
    [
        ((2, 2, 0), (4, 5, 1), (2, 2, 1), "how thick its only slice"),
        ((2, -2, 3), (4, 5, 6), (2, 2, 3), "negative voxel size"),
        ((2, 2, 0), (4, 5, 6), None, "2 × 2 × 0 mm"),
        ((2, np.nan, 2), (4, 5, 6), None, "NaN"),
    ],
)
@pytest.mark.parametrize("q_code", [0, 1])
def test_voxel_sizes_that_are_none(tmp_path, capfd, sizes, shape, spacing, says, q_code):
    path = tmp_path / "a.nii"
    image = nib.Nifti1Image(np.zeros(shape, np.int16), None)
    image.header.set_qform(np.eye(4), q_code)
    nib.save(image, path)
    data = bytearray(path.read_bytes())
    data[80:92] = struct.pack(f"{NATIVE}fff", *sizes)
    path.write_bytes(data)
    if spacing is None:
        with pytest.raises(GeometryError, match=says) as error:
            read_volume(path)
        assert "a.nii" in str(error.value)
    else:
        volume = read_volume(path)
        assert volume.spacing == spacing
        assert says in " ".join(volume.info.notes)
    assert capfd.readouterr() == ("", "")


def test_the_time_step_is_told_in_seconds(tmp_path):
    image = nib.Nifti1Image(np.zeros((3, 3, 3, 4), np.int16), OBLIQUE)
    image.header.set_zooms((1, 1, 1, 2500))
    image.header.set_xyzt_units("mm", "msec")
    nib.save(image, tmp_path / "a.nii")
    assert "2.5 s a step" in read_volume(tmp_path / "a.nii").info.notes[-1]
    image.header.set_xyzt_units("mm", "ppm")
    nib.save(image, tmp_path / "b.nii")
    volume = read_volume(tmp_path / "b.nii")
    assert volume.info.channels == ""
    assert "not time: it counts in ppm" in volume.info.notes[-1]


def test_color_is_channels(tmp_path):
    array = np.random.default_rng(0).integers(0, 255, (4, 5, 6, 4), dtype=np.uint8)
    record = np.dtype([(name, "u1") for name in "RGBA"])
    rgb = np.ascontiguousarray(array).view(record)[..., 0]
    nib.save(nib.Nifti1Image(rgb, OBLIQUE), tmp_path / "record.nii.gz")
    vector = nib.Nifti1Image(array[:, :, :, None], OBLIQUE)
    vector.header["intent_code"] = 2004
    nib.save(vector, tmp_path / "vector.nii")
    for name in ("record.nii.gz", "vector.nii"):
        volume = read_volume(tmp_path / name)
        assert volume.info.channels == "color"
        assert np.array_equal(volume.array, np.moveaxis(array[..., :3], -1, 0))
        assert nifti_facts(tmp_path / name)[0] == volume.array.shape


def test_vectors_are_refused_by_name(tmp_path):
    path = save(tmp_path / "warp.nii.gz", np.zeros((3, 3, 3, 1, 3), np.float32), intent_code=1007)
    with pytest.raises(DecodeError, match=r"warp\.nii\.gz .*3 numbers a voxel, intent code 1007"):
        read_volume(path)


def test_a_promise_is_checked_before_room_is_made(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_shape((30_000, 30_000, 30_000))
    header.set_data_dtype(np.float64)
    header.set_sform(np.eye(4), 1)
    block = header.binaryblock + bytes(1000)
    (tmp_path / "a.nii").write_bytes(block)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(block))
    header.set_data_shape((4000, 4000, 200))
    (tmp_path / "c.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(30_000_000)))
    tracemalloc.start()
    for name in ("a.nii", "b.nii.gz", "c.nii.gz"):
        with pytest.raises(DecodeError, match=rf"{name} is cut short"):
            read_volume(tmp_path / name)
    assert tracemalloc.get_traced_memory()[1] < 100_000_000
    tracemalloc.stop()


def test_a_damaged_gzip_is_found_by_its_checksum(tmp_path):
    noise = np.random.default_rng(0).integers(0, 99, (20, 20, 20), dtype=np.uint8)
    path = save(tmp_path / "a.nii.gz", noise)
    data = bytearray(path.read_bytes())
    data[-8:-4] = b"\0\0\0\0"
    path.write_bytes(data)
    with pytest.raises(DecodeError, match=r"a\.nii\.gz is damaged"):
        read_volume(path)


@pytest.mark.parametrize("shape", [(12, 13, 24), (79, 26544, 2)])  # the latter fills one CHUNK
def test_a_gzip_without_its_end_is_refused_even_where_all_voxels_are_there(tmp_path, shape):
    noise = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    packer = zlib.compressobj(1, wbits=31)  # gzip
    begun = packer.compress(nib.Nifti1Image(noise, OBLIQUE).to_bytes())
    begun += packer.flush(zlib.Z_SYNC_FLUSH)
    end = packer.flush()
    path = tmp_path / "a.nii.gz"
    path.write_bytes(begun + end)
    assert np.array_equal(read_volume(path).array[0], noise)
    for some in range(len(end)):
        path.write_bytes(begun + end[:some])
        with pytest.raises(DecodeError, match="cut short"):
            read_volume(path)


def test_a_gzip_of_many_members_is_read(tmp_path):
    noise = np.random.default_rng(0).integers(0, 99, (12, 13, 24), dtype=np.uint8)
    data = nib.Nifti1Image(noise, OBLIQUE).to_bytes()
    parts = [gzip.compress(data[n : n + 1000]) for n in range(0, len(data), 1000)]
    (tmp_path / "a.nii.gz").write_bytes(b"".join(parts))  # as bgzip and pigz -i write
    assert np.array_equal(read_volume(tmp_path / "a.nii.gz").array[0], noise)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), max_size=12), st.booleans())
def test_any_header_is_read_or_refused(changes, zipped):
    data = bytearray(HEADER + bytes(120))
    for where, value in changes:
        data[where] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.nii{'.gz' if zipped else ''}"
        path.write_bytes(gzip.compress(data, 1) if zipped else data)
        try:
            volume, said = read_volume(path), path.name
        except MedvisionError as error:
            volume, said = None, str(error)
        assert path.name in said
        assert volume is None or volume.array.shape == nifti_facts(path)[0]


def test_a_bids_side_car_names_the_series(tmp_path):
    path = save(tmp_path / "a.nii.gz", np.zeros((3, 3, 3), np.int16))
    side_car = {"Modality": "MR", "PatientName": "Doe^Jane", "ProtocolName": "t1 mprage sag"}
    (tmp_path / "a.json").write_text(json.dumps(side_car))
    info = read_volume(path).info
    assert (info.modality, info.description) == ("MR", "t1 mprage sag")
    assert "Doe" not in str(info)
    (tmp_path / "a.json").write_text(json.dumps({"Modality": ["MR"], "SeriesDescription": 3}))
    info = read_volume(path).info
    assert (info.modality, info.description) == ("", "a")
    for damaged in (b"{", b"\xff\xfe", b"[" * 100_000):
        (tmp_path / "a.json").write_bytes(damaged)
        assert "a.json is not valid JSON" in read_volume(path).info.notes[-1]


DIRECTIONS = np.array([[0, 0, 0], [1, 0, 0], [0, 0.6, 0.8], [-0.48, 0.6, 0.64]])  # RAS


@pytest.mark.parametrize("handed", [1, -1])
def test_b_vectors_come_back_in_the_world(tmp_path, handed):
    axes = rotation() * [handed, 1, 1]  # columns: where i, j, k run in RAS
    image = nib.Nifti1Image(
        np.zeros((3, 3, 3, 4), np.int16), nib.affines.from_matvec(axes * [2, 2, 3])
    )
    nib.save(image, tmp_path / "dwi.nii.gz")
    stored = axes.T @ DIRECTIONS.T  # FSL: along the voxel axes, (3, 4)
    if handed > 0:
        stored[0] *= -1  # of a positive determinant, x is negated
    np.savetxt(tmp_path / "dwi.bvec", stored)
    (tmp_path / "dwi.bval").write_text("0 1000 1000 2000\n")
    info = read_volume(tmp_path / "dwi.nii.gz").info
    assert info.channels == "diffusion"
    assert info.b_values == (0, 1000, 1000, 2000)
    assert np.allclose(info.b_vectors, DIRECTIONS, atol=1e-6)
    np.savetxt(tmp_path / "dwi.bvec", stored.T)  # one direction a line
    assert np.allclose(read_volume(tmp_path / "dwi.nii.gz").info.b_vectors, DIRECTIONS, atol=1e-6)


@pytest.mark.parametrize("text", ["0 1000", "0 nan 1 2", "0 -5 1 2", "no numbers", "1 2\n3"])
def test_b_values_that_do_not_fit_are_told(tmp_path, text):
    path = save(tmp_path / "dwi.nii.gz", np.zeros((3, 3, 3, 4), np.int16))
    (tmp_path / "dwi.bval").write_text(text)
    info = read_volume(path).info
    assert info.channels == "time"
    assert "dwi.bval" in info.notes[-1]
