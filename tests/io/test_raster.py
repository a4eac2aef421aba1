"""Pictures: slices whose millimeters are known only where a program or a person says them."""

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from medvision.errors import DecodeError, GeometryError, SpecError
from medvision.geometry import to_world
from medvision.io import read_study, read_volume
from medvision.io.raster import raster_facts, read_raster


def test_columns_and_rows_are_the_first_two_axes(tmp_path):
    plane = np.arange(12, dtype=np.uint8).reshape(3, 4)  # 3 rows, 4 columns
    Image.fromarray(plane).save(tmp_path / "a.png")
    found = read_volume(tmp_path / "a.png")
    assert found.array.shape == (1, 4, 3, 1)
    assert found.array[0, 3, 1, 0] == plane[1, 3]
    assert not found.info.spacing_known
    assert found.orientation == "LIA"


def test_sixteen_bits_are_kept(tmp_path):
    plane = np.array([[0, 60_000], [1, 2]], dtype=np.uint16)
    Image.fromarray(plane).save(tmp_path / "a.png")
    found = read_volume(tmp_path / "a.png").array
    assert found.dtype == np.uint16
    assert np.array_equal(found[0, :, :, 0].T, plane)


def test_color_is_channels_and_gray_in_color_is_gray(tmp_path):
    color = np.zeros((3, 4, 3), np.uint8)
    color[..., 1] = 7
    Image.fromarray(color).save(tmp_path / "color.png")
    found = read_volume(tmp_path / "color.png")
    assert found.array.shape == (3, 4, 3, 1)
    assert (found.array[1] == 7).all()
    assert found.info.channels == "color"
    Image.fromarray(np.full((3, 4, 3), 9, np.uint8)).save(tmp_path / "gray.png")
    assert read_volume(tmp_path / "gray.png").array.shape == (1, 4, 3, 1)


def test_alpha_and_palettes_are_resolved(tmp_path):
    Image.new("LA", (4, 3), (9, 128)).save(tmp_path / "la.png")
    assert (read_volume(tmp_path / "la.png").array == 9).all()
    Image.new("RGB", (4, 3), (5, 6, 7)).quantize(4).save(tmp_path / "p.png")
    assert read_volume(tmp_path / "p.png").array[:, 0, 0, 0].tolist() == [5, 6, 7]


def test_exif_rotation_is_applied(tmp_path):
    plane = np.zeros((8, 16), np.uint8)
    plane[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to show
    Image.fromarray(plane).save(tmp_path / "a.jpg", exif=exif, quality=95)
    found = read_volume(tmp_path / "a.jpg")
    assert found.shape == (8, 16, 1)
    assert found.array[0, 4, 2, 0] > 200 > 50 > found.array[0, 4, 13, 0]


@pytest.mark.parametrize("name", ["empty.png", "text.png", "short.png", "short.jpg"])
def test_damaged_pictures_are_refused_by_name(tmp_path, name):
    path = tmp_path / name
    if name == "empty.png":
        path.touch()
    elif name == "text.png":
        path.write_text("this is no picture")
    else:
        noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DecodeError, match=name):
        read_volume(path)


def test_a_picture_has_no_volume_in_milliliters(tmp_path):
    from medvision.predictor import load_predictor

    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(tmp_path / "a.png")
    study = read_study(tmp_path / "a.png")
    assert study.image.spacing == (1, 1, 1)
    with pytest.raises((SpecError, GeometryError), match="without a known voxel size"):
        load_predictor("hippocampus", "cpu").predict(study)


def noise(shape, dtype):
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".webp", ".bmp", ".jpg"])
def test_every_format_gives_the_same_pixels(tmp_path, suffix):
    plane = np.repeat(np.repeat(noise((4, 5), np.uint8), 8, 0), 8, 1)  # 32 rows, 40 columns
    options = {"lossless": True} if suffix == ".webp" else {"quality": 100} if "j" in suffix else {}
    Image.fromarray(plane).save(tmp_path / f"a{suffix}", **options)
    found = read_volume(tmp_path / f"a{suffix}")
    assert found.array.shape == (1, 40, 32, 1)
    off = np.abs(found.array[0, :, :, 0].T.astype(int) - plane).max()
    assert off <= (6 if suffix == ".jpg" else 0)
    assert raster_facts(tmp_path / f"a{suffix}") == (
        (3 if suffix == ".webp" else 1, 40, 32, 1),  # WebP keeps no gray
        (),
    )


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<i4", "<f4"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_tiff_pages_are_slices(tmp_path, dtype, compression):
    stack = noise((4, 5, 6), dtype)  # pages, rows, columns
    pages = [Image.fromarray(page) for page in stack]
    options = {"save_all": True, "append_images": pages[1:], "compression": compression}
    pages[0].save(tmp_path / "a.tif", **options)
    found = read_volume(tmp_path / "a.tif")
    assert np.array_equal(found.array[0], stack.transpose(2, 1, 0))
    assert found.array.dtype.isnative
    assert found.array.dtype.kind == np.dtype(dtype).kind or dtype == "<i4"
    assert raster_facts(tmp_path / "a.tif") == ((1, 6, 5, 4), ())
    assert to_world(found.affine, (1, 2, 3)).tolist() == [-1, 3, -2]  # left, front, feet


def test_pages_of_different_sizes_make_no_stack(tmp_path):
    pages = [Image.new("L", (6, 5)), Image.new("L", (3, 2))]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(DecodeError, match=r"a\.tif has pages of different sizes"):
        read_volume(tmp_path / "a.tif")


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".png", ".webp"])
def test_facts_know_the_turned_size(tmp_path, turn, suffix):
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(np.arange(16 * 8 * 3, dtype=np.uint8).reshape(8, 16, 3)).save(
        tmp_path / f"a{suffix}", exif=exif
    )
    shape = read_volume(tmp_path / f"a{suffix}").array.shape
    assert shape[1:] == ((16, 8, 1) if turn < 5 else (8, 16, 1))
    assert raster_facts(tmp_path / f"a{suffix}")[0] == shape


IMAGEJ = "ImageJ=1.53t\nimages=3\nslices=3\nunit={unit}\nspacing=2.5\nloop=false\n"
OME = (
    '<?xml version="1.0"?><OME><Image ID="Image:0"><Pixels SizeC="1" SizeT="1" SizeX="6" SizeY="5" '
    'SizeZ="3" PhysicalSizeX="500" PhysicalSizeY="0.25" PhysicalSizeYUnit="mm" '
    'PhysicalSizeZ="2.5" PhysicalSizeZUnit="mm"/></Image></OME>'
)


def write_tiff(path, description, pages=3, **tags):
    images = [Image.new("L", (6, 5), 9) for _ in range(pages)]
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[270] = description
    for tag, value in tags.items():
        info[int(tag[1:])] = value
    images[0].save(path, save_all=True, append_images=images[1:], tiffinfo=info)
    return path


@pytest.mark.parametrize(
    ("description", "tags", "spacing"),
    [
        (IMAGEJ.format(unit="mm"), {"_282": 2.0, "_283": 4.0}, (0.5, 0.25, 2.5)),
        (IMAGEJ.format(unit="micron"), {"_282": 2.0, "_283": 4.0}, (0.0005, 0.00025, 0.0025)),
        (IMAGEJ.format(unit="pixel"), {"_282": 2.0, "_283": 4.0}, ()),
        (IMAGEJ.format(unit="mm"), {}, ()),
        (OME, {}, (0.5, 0.25, 2.5)),
        ("taken with a camera", {"_282": 96.0, "_283": 96.0, "_296": 2}, ()),
    ],
)
def test_a_size_is_known_when_a_program_says_it(tmp_path, description, tags, spacing):
    path = write_tiff(tmp_path / "a.tif", description, **tags)
    found = read_volume(path)
    assert found.info.spacing_known == bool(spacing)
    assert found.spacing == pytest.approx(spacing or (1, 1, 1))
    assert raster_facts(path)[1] == pytest.approx(spacing)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_print_size_is_not_believed(tmp_path, suffix):
    Image.new("L", (6, 5), 9).save(tmp_path / f"a{suffix}", dpi=(300, 300))
    assert not read_volume(tmp_path / f"a{suffix}").info.spacing_known


def test_a_side_car_gives_rows_first(tmp_path):
    Image.new("L", (6, 5), 9).save(tmp_path / "a.png")
    (tmp_path / "a.json").write_text('{"PixelSpacing": [0.2, 0.1]}')  # from row to row: 0.2
    found = read_volume(tmp_path / "a.png")
    assert found.info.spacing_known
    assert found.spacing == (0.1, 0.2, 1)
    assert raster_facts(tmp_path / "a.png")[1] == (0.1, 0.2, 1)
    for unfit in ('{"PixelSpacing": [0.2, -1]}', '{"PixelSpacing": "0.2"}', "{"):
        (tmp_path / "a.json").write_text(unfit)
        assert not read_volume(tmp_path / "a.png").info.spacing_known


def test_a_stack_needs_its_page_distance(tmp_path):
    path = write_tiff(tmp_path / "a.tif", "")
    (tmp_path / "a.json").write_text('{"PixelSpacing": [0.2, 0.1]}')
    assert not read_volume(path).info.spacing_known
    (tmp_path / "a.json").write_text('{"PixelSpacing": [0.2, 0.1], "SpacingBetweenSlices": 3}')
    assert read_volume(path).spacing == (0.1, 0.2, 3)


@pytest.mark.parametrize(
    "description",
    ["ImageJ=1.53t\nimages=3\nframes=3\n", "ImageJ=1.53t\nimages=90\nslices=90\n", OME],
)
def test_pages_that_are_no_slices_are_refused(tmp_path, description):
    path = write_tiff(tmp_path / "a.tif", description, pages=3 if "ImageJ" in description else 6)
    for read in (read_raster, raster_facts):
        with pytest.raises(DecodeError, match=r"a\.tif has \d pages and says"):
            read(path)


def test_pictures_that_claim_too_much_are_refused_unread(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "a.png")
    for read in (read_raster, raster_facts):
        with pytest.raises(DecodeError, match=r"a\.png claims more pixels"):
            read(tmp_path / "a.png")


def test_values_that_are_not_finite_are_counted(tmp_path):
    plane = np.array([[1, np.nan], [np.inf, 2]], np.float32)
    Image.fromarray(plane).save(tmp_path / "a.tif")
    assert "2 of 4 voxels" in read_volume(tmp_path / "a.tif").info.notes[0]


FORMATS = ("png", "jpg", "tif", "webp", "bmp")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FORMATS), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255))))
def test_any_damage_is_read_or_refused(suffix, changes):
    buffer = io.BytesIO()
    form = {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper())
    Image.fromarray(noise((12, 16), np.uint8)).save(buffer, form)
    data = bytearray(buffer.getvalue())
    for share, value in changes:
        data[min(len(data) - 1, int(share**2 * len(data)))] = value  # headers more than pixels
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{suffix}"
        path.write_bytes(data)
        for read in (read_raster, raster_facts):
            try:
                read(path)
            except DecodeError as error:
                said = str(error)
            else:
                said = path.name
            assert path.name in said
