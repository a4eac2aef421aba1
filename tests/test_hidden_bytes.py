"""What hides beside pixels: comments and leftovers are blanked, pixels stay as they are."""

import numpy as np
import pytest
from dicom_phantom import write_series
from planted import found_in, read_quietly
from pydicom import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    MPEG4HP41,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from medvision.deidentify import deidentify_studies
from medvision.errors import DecodeError, OutputError
from medvision.hidden_bytes import (
    END_OF_ITEMS,
    ITEM,
    blank_jpeg,
    blank_jpeg2000,
    clean_pixel_bytes,
    whole_items,
)
from medvision.io import read_volume
from medvision.volume import Volume

imagecodecs = pytest.importorskip("imagecodecs", reason="needs imagecodecs (extra dicom)")
PLANE = np.random.default_rng(0).integers(0, 250, (24, 20), dtype=np.uint8)
TEXT = b"ZQ-COMMENT DOE^JANE"


def jpeg_with_text(stream):
    """Put a comment and an application segment after the start, and bytes after the end."""
    segments = b"".join(
        b"\xff" + bytes([kind]) + (len(TEXT) + 2).to_bytes(2) + TEXT for kind in (0xFE, 0xE1)
    )
    return stream[:2] + segments + stream[2:] + TEXT


def jpeg2000_with_text(stream):
    """Put a comment into the main header, and bytes after the end."""
    at = 4 + int.from_bytes(stream[4:6])  # behind SIZ
    comment = b"\xff\x64" + (len(TEXT) + 4).to_bytes(2) + b"\0\1" + TEXT
    return stream[:at] + comment + stream[at:] + TEXT


CODED = {
    JPEGBaseline8Bit: (
        lambda: jpeg_with_text(imagecodecs.jpeg8_encode(PLANE)),
        imagecodecs.jpeg8_decode,
        blank_jpeg,
    ),
    JPEGLSLossless: (
        lambda: jpeg_with_text(imagecodecs.jpegls_encode(PLANE)),
        imagecodecs.jpegls_decode,
        blank_jpeg,
    ),
    JPEG2000Lossless: (
        lambda: jpeg2000_with_text(imagecodecs.jpeg2k_encode(PLANE, codecformat="j2k", level=0)),
        imagecodecs.jpeg2k_decode,
        blank_jpeg2000,
    ),
}


def coded_set(syntax, stream, pieces=1):
    data = Dataset()
    data.file_meta = Dataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.Rows, data.Columns = PLANE.shape
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit = 7
    data.PixelData = encapsulate([stream], fragments_per_frame=pieces)
    return data


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("syntax", CODED, ids=lambda uid: uid.name)
def test_comments_are_blanked_and_pixels_stay(syntax, pieces):
    encode, decode, _ = CODED[syntax]
    stream = encode()
    assert found_in(stream) == {b"ZQ-COMMENT"}
    data = coded_set(syntax, stream, pieces)
    assert clean_pixel_bytes(data) == ""
    assert found_in(data.PixelData) == set()
    clean = b"".join(generate_frames(data.PixelData, number_of_frames=1))
    assert np.array_equal(decode(clean), decode(stream))


@pytest.mark.parametrize("syntax", CODED, ids=lambda uid: uid.name)
def test_damaged_streams_end(syntax):
    encode, _, blank = CODED[syntax]
    stream, random = encode(), np.random.default_rng(1)
    for _ in range(200):
        broken = bytearray(stream[: random.integers(0, len(stream))])
        for at in random.integers(0, max(1, len(broken)), 5) if broken else ():
            broken[at] = random.integers(0, 256)
        size = len(broken)
        blank(broken)
        assert len(broken) == size


def test_colors_are_meant_as_before():
    color = np.random.default_rng(2).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    stream = bytearray(imagecodecs.jpeg8_encode(color))
    before = imagecodecs.jpeg8_decode(bytes(stream))
    blank_jpeg(stream)
    assert np.array_equal(imagecodecs.jpeg8_decode(bytes(stream)), before)
    assert stream[6:10] == b"JFIF"


def test_what_follows_the_pixels_goes(tmp_path):
    scan = Volume(np.arange(27, dtype=np.int16).reshape(1, 3, 3, 3), np.diag([-1.0, -1, 1, 1]))

    def longer(data, k):
        data.PixelData += TEXT

    write_series(tmp_path / "in", scan, change=longer)
    [row] = deidentify_studies([tmp_path / "in"], tmp_path / "out")
    assert row.problem == ""
    assert all(found_in(path.read_bytes()) == set() for path in row.files)
    assert np.array_equal(read_volume(tmp_path / "out").array, scan.array)


def test_an_overlay_in_the_pixels_bits_goes(tmp_path):
    scan = Volume(np.arange(27, dtype=np.int16).reshape(1, 3, 3, 3), np.diag([-1.0, -1, 1, 1]))

    def overlaid(data, k):
        data.BitsStored, data.HighBit, data.PixelRepresentation = 12, 11, 0
        words = np.frombuffer(data.PixelData, "<u2") | 0x4000
        data.PixelData = words.tobytes()
        data.add_new(0x60000010, "US", 3)
        data.add_new(0x60000011, "US", 3)
        data.add_new(0x60000100, "US", 16)
        data.add_new(0x60000102, "US", 14)

    write_series(tmp_path / "in", scan, change=overlaid)
    [row] = deidentify_studies([tmp_path / "in"], tmp_path / "out")
    for path in row.files:
        data = read_quietly(path)
        assert not np.frombuffer(data.PixelData, "<u2")[:9].max() & 0xF000
    assert np.array_equal(read_volume(tmp_path / "out").array, scan.array)


def test_what_cannot_be_taken_out_is_said():
    data = coded_set(RLELossless, b"\0" * 64)
    assert clean_pixel_bytes(data) == ""
    data.add_new(0x60000010, "US", 3)
    data.add_new(0x60000102, "US", 14)
    with pytest.raises(OutputError, match="unused bits of compressed pixels"):
        clean_pixel_bytes(data)
    assert "stays" in clean_pixel_bytes(coded_set(MPEG4HP41, b"\0" * 64))


def item(content):
    return ITEM + len(content).to_bytes(4, "little") + content


def test_bytes_between_fragments_are_refused_and_those_behind_the_last_go():
    whole = item(b"") + item(b"12345678") + item(b"abcd")
    assert whole_items(whole) == whole
    assert whole_items(whole + END_OF_ITEMS + b"\0\0\0\0NAME") == whole
    assert whole_items(whole + b"NAME") == whole
    with pytest.raises(DecodeError, match="between its fragments"):
        whole_items(item(b"") + item(b"12345678") + b"NAME" + item(b"abcd"))
    with pytest.raises(DecodeError, match="cut short"):
        whole_items(whole[:-2])
