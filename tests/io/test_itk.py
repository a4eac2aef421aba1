"""NRRD and MetaImage: as ITK places them, or refused by name."""

import bz2
import gzip
import tempfile
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medvision.errors import DecodeError, GeometryError, MedvisionError
from medvision.geometry import orientation_of, to_world
from medvision.io.itk import is_itk, itk_facts, read_itk
from medvision.volume import Label

VOXELS = np.arange(4 * 5 * 6, dtype="<i2").reshape((4, 5, 6), order="F")
TURN = np.linalg.qr(np.array([[1.0, 0.2, 0.1], [-0.3, 1, 0.4], [0.2, -0.1, 1]]))[0]
DIRECTIONS = {
    "straight": np.eye(3),
    "oblique": TURN * np.sign(np.linalg.det(TURN)),
    "left-handed": -TURN * np.sign(np.linalg.det(TURN)),
    "permuted": np.eye(3)[:, [2, 0, 1]],
}


def itk_image(array, direction=DIRECTIONS["oblique"], vector=False):
    """A SimpleITK image of (I, J, K) or (I, J, K, C) voxels."""
    sitk = pytest.importorskip("SimpleITK", reason="needs SimpleITK (extra test), the judge")
    back = array.transpose(2, 1, 0, 3) if vector else array.T
    image = sitk.GetImageFromArray(np.ascontiguousarray(back), isVector=vector)
    image.SetSpacing((0.8, 1.2, 2.5))
    image.SetOrigin((10, -20, 30))
    image.SetDirection(direction.ravel())
    return sitk, image


def nrrd(path, *lines, data=b"", shape="4 5 6", kind="short", encoding="raw"):
    """Write a NRRD of VOXELS' size."""
    fields = [
        "NRRD0004",
        f"type: {kind}",
        f"dimension: {len(shape.split())}",
        f"sizes: {shape}",
        f"encoding: {encoding}",
        "endian: little",
        *lines,
    ]
    path.write_bytes("\n".join(fields).encode() + b"\n\n" + data)
    return path


LPS = (
    "space: left-posterior-superior",
    "space directions: (1,0,0) (0,2,0) (0,0,3)",
    "space origin: (1,2,3)",
)
META = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
    "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 1 2 3\nElementSpacing = 1 2 3\n"
    "DimSize = 4 5 6\nElementType = MET_SHORT\n"
)


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("packed", [False, True])
def test_voxels_lie_where_itk_places_them(tmp_path, name, direction, packed):
    sitk, image = itk_image(VOXELS, DIRECTIONS[direction])
    sitk.WriteImage(image, tmp_path / name, packed)
    volume = read_itk(tmp_path / name)
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array[0], VOXELS)
    for index in ((0, 0, 0), (3, 1, 5)):
        x, y, z = image.TransformIndexToPhysicalPoint(index)  # LPS
        assert np.allclose(to_world(volume.affine, index), (-x, -y, z), atol=1e-6)
    assert volume.spacing == pytest.approx((0.8, 1.2, 2.5))
    assert volume.info.notes == ()
    assert volume.info.spacing_known
    assert itk_facts(tmp_path / name)[0] == (1, 4, 5, 6)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_every_type_of_number_is_read(tmp_path, name, dtype):
    array = VOXELS.astype(dtype)
    sitk, image = itk_image(array)
    sitk.WriteImage(image, tmp_path / name)
    assert np.array_equal(read_itk(tmp_path / name).array[0], array)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_vectors_are_channels_and_three_bytes_are_color(tmp_path, name):
    array = np.random.default_rng(0).integers(0, 255, (4, 5, 6, 3), dtype=np.uint8)
    sitk, image = itk_image(array, vector=True)
    sitk.WriteImage(image, tmp_path / name)
    color = read_itk(tmp_path / name)
    assert color.info.channels == "color"
    assert np.array_equal(color.array, np.moveaxis(array, -1, 0))
    sitk, image = itk_image(array[..., :2].astype(np.float32), vector=True)
    sitk.WriteImage(image, tmp_path / name)
    pair = read_itk(tmp_path / name)
    assert pair.info.channels == ""
    assert "Each voxel holds 2 numbers" in pair.info.notes[0]
    assert np.array_equal(pair.array, np.moveaxis(array[..., :2], -1, 0))
    assert itk_facts(tmp_path / name)[0] == (2, 4, 5, 6)


def test_a_fourth_axis_is_time(tmp_path):
    series = np.arange(4 * 5 * 6 * 2, dtype="<i2").reshape((4, 5, 6, 2), order="F")
    data = series.tobytes(order="F")
    lines = (LPS[0], f"{LPS[1]} none", LPS[2], "kinds: domain domain domain list")
    nrrd(tmp_path / "a.nrrd", *lines, data=data, shape="4 5 6 2")
    turn = " ".join(str(int(n)) for n in np.eye(4).ravel())
    text = META.replace("NDims = 3", "NDims = 4").replace("1 0 0 0 1 0 0 0 1", turn)
    for old, new in (("1 2 3", "1 2 3 1"), ("4 5 6", "4 5 6 2")):
        text = text.replace(old, new)
    (tmp_path / "a.mha").write_bytes(f"{text}ElementDataFile = LOCAL\n".encode() + data)
    for name in ("a.nrrd", "a.mha"):
        volume = read_itk(tmp_path / name)
        assert volume.info.channels == "time"
        assert np.array_equal(volume.array, np.moveaxis(series, -1, 0))
        assert np.allclose(to_world(volume.affine, (1, 1, 1)), (-2, -4, 6))


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_a_flat_image_is_one_slice(tmp_path, name):
    sitk, _ = itk_image(VOXELS)
    image = sitk.GetImageFromArray(VOXELS[:, :, 0].T)
    image.SetSpacing((0.5, 2))
    sitk.WriteImage(image, tmp_path / name)
    volume = read_itk(tmp_path / name)
    assert volume.shape == (4, 5, 1)
    assert volume.spacing[:2] == (0.5, 2)
    assert np.array_equal(volume.array[0, :, :, 0], VOXELS[:, :, 0])


@pytest.mark.parametrize(
    ("space", "orientation"),
    [("right-anterior-superior", "RAS"), ("LAS", "LAS"), ("LPS", "LPS"), ("scanner-xyz", "LPS")],
)
def test_each_space_has_its_own_left(tmp_path, space, orientation):
    path = nrrd(tmp_path / "a.nrrd", f"space: {space}", LPS[1], data=VOXELS.tobytes(order="F"))
    shape, affine, notes = itk_facts(path)
    assert orientation_of(affine) == orientation
    assert bool(notes) == (space == "scanner-xyz")  # does not say which way the patient lies
    assert shape == (1, 4, 5, 6)


def test_a_file_without_place_or_size_says_so(tmp_path):
    data = VOXELS.tobytes(order="F")
    bare = "".join(
        line + "\n"
        for line in META.splitlines()
        if not line.startswith(("TransformMatrix", "ElementSpacing"))
    )
    (tmp_path / "a.mha").write_bytes(f"{bare}ElementDataFile = LOCAL\n".encode() + data)
    nrrd(tmp_path / "a.nrrd", data=data)
    for name in ("a.nrrd", "a.mha"):
        info = read_itk(tmp_path / name).info
        assert "left and right are a guess" in info.notes[0]
        assert "how large its voxels are" in info.notes[1]
        assert not info.spacing_known


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("bzip2", bz2.compress)])
def test_packed_nrrd(tmp_path, encoding, pack):
    data = pack(VOXELS.tobytes(order="F"))
    path = nrrd(tmp_path / "a.nrrd", *LPS, data=data, encoding=encoding)
    assert np.array_equal(read_itk(path).array[0], VOXELS)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DecodeError, match=r"a\.nrrd is (cut short|damaged)"):
        read_itk(path)


def test_slices_in_files_of_their_own(tmp_path):
    for k in range(6):
        (tmp_path / f"s{k:02d}.raw").write_bytes(bytes(9) + VOXELS[:, :, k].tobytes(order="F"))
    names = "\n".join(f"s{k:02d}.raw" for k in range(6))
    nrrd(tmp_path / "list.nhdr", *LPS, "byte skip: 9", f"data file: LIST\n{names}")
    nrrd(tmp_path / "numbers.nhdr", *LPS, "byte skip: -1", "data file: s%02d.raw 0 5 1")
    meta = f"{META}HeaderSize = -1\nElementDataFile = "
    (tmp_path / "list.mhd").write_text(f"{meta}LIST\n{names}\n")
    (tmp_path / "numbers.mhd").write_text(f"{meta}s%02d.raw 0 5 1\n")
    for name in ("list.nhdr", "numbers.nhdr", "list.mhd", "numbers.mhd"):
        volume = read_itk(tmp_path / name)
        assert np.array_equal(volume.array[0], VOXELS)
        assert len(volume.info.sources) == 7


@pytest.mark.parametrize(
    "name", ["../secret.raw", "/etc/passwd", "C:\\secret.raw", "in/../../secret.raw", "..\\a.raw"]
)
def test_no_data_outside_the_folder_is_read(tmp_path, name):
    inside = tmp_path / "scans"
    inside.mkdir()
    (tmp_path / "secret.raw").write_bytes(bytes(240))
    nrrd(inside / "a.nhdr", *LPS, f"data file: {name}")
    nrrd(inside / "b.nhdr", *LPS, f"data file: LIST\n{name}")
    (inside / "a.mhd").write_text(f"{META}ElementDataFile = {name}\n")
    (inside / "b.mhd").write_text(f"{META}ElementDataFile = LIST\n{name}\n")
    for file in ("a.nhdr", "b.nhdr", "a.mhd", "b.mhd"):
        with pytest.raises(DecodeError, match="only files in the header's own folder") as error:
            read_itk(inside / file)
        assert file in str(error.value)


def test_damaged_files_are_refused_by_name(tmp_path, capfd):
    data = VOXELS.tobytes(order="F")
    for name in ("text.nrrd", "text.mha"):
        (tmp_path / name).write_text("this is no image\n" * 9)
    for name in ("empty.nrrd", "empty.mha"):
        (tmp_path / name).touch()
    nrrd(tmp_path / "short.nrrd", *LPS, data=data[:-9])
    nrrd(tmp_path / "lost.nhdr", *LPS, "data file: lost.raw")
    nrrd(tmp_path / "block.nrrd", *LPS, data=data, kind="block")
    nrrd(tmp_path / "ascii.nrrd", *LPS, data=data, encoding="ascii")
    nrrd(tmp_path / "bomb.nrrd", *LPS, data=data, shape="40000 50000 60000")
    nrrd(tmp_path / "flat.nrrd", LPS[0], "space directions: (1,0,0) (0,2,0) (0,2,0)", data=data)
    local = f"{META}ElementDataFile = LOCAL\n"
    (tmp_path / "short.mha").write_bytes(local.encode() + data[:-9])
    (tmp_path / "lost.mhd").write_text(f"{META}ElementDataFile = lost.raw\n")
    packed = f"CompressedData = True\n{local}".encode() + zlib.compress(data)
    (tmp_path / "packed.mha").write_bytes(packed[:-20])
    (tmp_path / "bits.mha").write_bytes(packed[:-60] + bytes(30) + packed[-30:])
    nrrd(tmp_path / "wide.nhdr", *LPS, "data file: s%999999999d.raw 0 5 1")
    says = {
        "wide.nhdr": "not understood",
        "text.nrrd": "no NRRD header",
        "text.mha": "no ElementDataFile",
        "empty.nrrd": "empty",
        "empty.mha": "empty",
        "short.nrrd": "cut short",
        "short.mha": "cut short",
        "lost.nhdr": "lost.raw, which is not beside it",
        "lost.mhd": "lost.raw, which is not beside it",
        "block.nrrd": "type 'block'",
        "ascii.nrrd": "raw, gzip and bzip2",
        "bomb.nrrd": "cut short",
        "packed.mha": "cut short",
        "bits.mha": "damaged",
    }
    tracemalloc.start()
    for name, words in says.items():
        with pytest.raises(DecodeError, match=words) as error:
            read_itk(tmp_path / name)
        assert name in str(error.value)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    with pytest.raises(GeometryError, match=r"flat\.nrrd.* same way"):
        read_itk(tmp_path / "flat.nrrd")
    assert capfd.readouterr() == ("", "")


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["nrrd", "mha"]),
    st.lists(st.tuples(st.integers(0, 260), st.sampled_from(b"0189-e. ,()=:\n\xff%")), max_size=8),
)
def test_any_header_is_read_or_refused(suffix, changes):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{suffix}"
        if suffix == "nrrd":
            nrrd(path, *LPS, data=VOXELS.tobytes(order="F"))
        else:
            local = f"{META}ElementDataFile = LOCAL\n"
            path.write_bytes(local.encode() + VOXELS.tobytes(order="F"))
        data = bytearray(path.read_bytes())
        for where, value in changes:
            data[where] = value
        path.write_bytes(data)
        try:
            volume, said = read_itk(path), path.name
        except MedvisionError as error:
            volume, said = None, str(error)
        assert folder in said or volume is not None
        assert volume is None or volume.array.shape == itk_facts(path)[0]


SLICER = (
    "Segment0_ID:=Segment_1",
    "Segment0_Name:=left kidney",
    "Segment0_Color:=0.5 0 1",
    "Segment0_LabelValue:=3",
    "Segment0_Layer:=0",
    "Segment0_Tags:=Segmentation.Status:inprogress|TerminologyEntry:Segmentation category and type"
    "~SCT^123037004^Anatomical Structure~SCT^64033007^Kidney~SCT^7771000^Left~^^~^^|",
    "Segment1_ID:=Segment_2",
    "Segment1_Name:=tumor",
    "Segment1_LabelValue:=1",
)


def test_slicers_segments_keep_name_color_and_code(tmp_path):
    mask = (VOXELS % 4).astype(np.uint8)
    data = mask.tobytes(order="F")
    path = nrrd(tmp_path / "a.seg.nrrd", *LPS, *SLICER, data=data, kind="uchar")
    volume = read_itk(path)
    assert volume.info.labels == (
        Label(3, "left kidney", (128, 0, 255), "SCT:64033007"),
        Label(1, "tumor"),
    )
    assert np.array_equal(volume.array[0], mask)
    assert volume.info.channels == ""


def test_segments_that_overlap_become_channels(tmp_path):
    layers = np.stack([(VOXELS % 4), (VOXELS % 2)]).astype(np.uint8)  # (layer, I, J, K)
    lines = (
        LPS[0],
        "space directions: none (1,0,0) (0,2,0) (0,0,3)",
        "kinds: list domain domain domain",
        *SLICER,
        "Segment1_Layer:=1",
    )
    data = layers.tobytes(order="F")
    path = nrrd(tmp_path / "a.seg.nrrd", *lines, data=data, kind="uchar", shape="2 4 5 6")
    volume = read_itk(path)
    assert volume.info.channels == "segment"
    assert [(label.value, label.name) for label in volume.info.labels] == [
        (1, "left kidney"),
        (2, "tumor"),
    ]
    assert np.array_equal(volume.array[0] > 0, layers[0] == 3)
    assert np.array_equal(volume.array[1] > 0, layers[1] == 1)
    assert itk_facts(path)[0] == (2, 4, 5, 6)


def test_names_of_itk_files(tmp_path):
    assert is_itk(Path("A.NRRD"))
    assert is_itk(Path("a.seg.nrrd"))
    assert not is_itk(Path("a.raw"))
    with pytest.raises(DecodeError, match=r"absent\.mha could not be opened"):
        read_itk(tmp_path / "absent.mha")
