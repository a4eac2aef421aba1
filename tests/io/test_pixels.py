"""Stored pixels of every kind: what was written is what is read, or the file is named."""

import struct
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from dicom_phantom import write_series
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import apply_color_lut, apply_modality_lut
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from medvision.errors import DecodeError, MedvisionError
from medvision.geometry import check_affine
from medvision.io import read_volume
from medvision.io.dicom.codecs import unpack_bits
from medvision.io.dicom.elements import read_elements
from medvision.io.dicom.frames import read_frames
from medvision.io.dicom.headers import coding_of
from medvision.io.dicom.pixels import Pixels
from medvision.io.dicom.rescale import padding_values, real_world_value
from medvision.volume import Volume

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
RLE, JPEG_LS, J2K = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
LOSSY_DIFFERENCE = 3  # in 255: decoders round, and spread halved colors, each in its own way


def write_image(path, pixel_data, syntax, shape=(20, 30), bits=16, **elements):
    """Write a file of one image, or of several, around bytes of pixel data."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    data.SeriesInstanceUID, data.Modality = generate_uid(), "OT"
    data.Rows, data.Columns = shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = bits
    data.PixelRepresentation = 0
    for name, value in elements.items():
        setattr(data, name, value)
    if "HighBit" not in data:
        data.HighBit = data.BitsStored - 1
    if pixel_data is not None:
        data.PixelData = pixel_data
        wrapped = pydicom.uid.UID(syntax).is_encapsulated if syntax.startswith(IMPLICIT) else False
        data["PixelData"].VR = "OB" if wrapped or bits <= 8 else "OW"
        data["PixelData"].is_undefined_length = wrapped
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.save_as(path, enforce_file_format=True)
    return path


def image(bits=12, shape=(20, 30), signed=False, seed=0):
    low = -(1 << (bits - 1)) if signed else 0
    kind = ("i" if signed else "u") + ("1" if bits <= 8 else "2")
    return np.random.default_rng(seed).integers(low, low + (1 << bits), shape).astype(kind)


def read(path, c=0):
    """What medvision reads, as (rows, columns)."""
    return read_volume(path).array[c, :, :, 0].T


def pydicom_images():
    """Every image that pydicom ships, with what pydicom decodes of it."""
    for path in sorted(FILES.glob("*.dcm")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = pydicom.dcmread(path, force=True)
            if "Rows" not in data or "PixelData" not in data:
                continue
            if "TransferSyntaxUID" not in data.file_meta:
                continue  # pydicom does not decode it
            yield pytest.param(path, id=path.name)


@pytest.mark.parametrize("path", list(pydicom_images()))
def test_pydicoms_images_are_decoded_as_pydicom_decodes_them(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(path, force=True)
        try:
            expected = data.pixel_array
        except (ValueError, RuntimeError):
            expected = None
    if expected is None:
        decoded_alone = path.name == "JPEG-lossy.dcm"  # pylibjpeg refuses its end of spectrum
        if decoded_alone:
            assert read(path).max() > 100
        else:
            with pytest.raises(DecodeError, match=path.name):
                read_volume(path)
        return
    if expected.dtype.itemsize == 4 and data.SamplesPerPixel == 3:
        with pytest.raises(DecodeError, match="3 values of 32 bits"):
            read_volume(path)
        return
    coding = coding_of(read_elements(path))
    pixels = Pixels(coding)
    expected = expected if coding.frames > 1 else expected[None]
    lossy = coding.syntax[-3:] in (".50", ".51") and LOSSY_DIFFERENCE
    for number in {0, coding.frames - 1}:
        if coding.samples == 3:
            found = pixels.colors(number).astype(int)
            truth = expected[number].astype(int) >> (coding.stored - 8)
        else:
            found, truth = pixels.stored(number).astype(int), expected[number].astype(int)
        assert found.shape == truth.shape
        assert np.abs(found - truth).max() <= lossy


def compressed(stored, syntax):
    """One frame in a transfer syntax."""
    end, bits = syntax.rpartition(".")[2], int(stored.max()).bit_length()
    if end in ("57", "70"):
        predictor = 1 if end == "70" else 6
        return imagecodecs.jpeg8_encode(
            stored, lossless=True, predictor=predictor, bitspersample=max(bits, 2)
        )
    if end in ("80", "81"):
        return imagecodecs.jpegls_encode(stored.view(f"u{stored.itemsize}"))
    if end in ("90", "91"):
        return imagecodecs.jpeg2k_encode(stored, codecformat="j2k", reversible=True, level=0)
    return imagecodecs.htj2k_encode(stored)


@pytest.mark.parametrize("end", ["57", "70", "80", "81", "90", "91", "201", "202", "203"])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_lossless_codes_give_back_what_was_coded(tmp_path, end, bits):
    stored = image(bits)
    syntax = f"1.2.840.10008.1.2.4.{end}"
    code = encapsulate([compressed(stored, syntax)])
    path = write_image(tmp_path / "x", code, syntax, bits=8 * stored.itemsize, BitsStored=bits)
    assert np.array_equal(read(path), stored)


@pytest.mark.parametrize("end", ["70", "80", "90", "201"])
def test_signed_values_survive_codes_that_know_no_sign(tmp_path, end):
    stored = image(12, signed=True)
    syntax = f"1.2.840.10008.1.2.4.{end}"
    coded = stored if end in ("90", "201") else (stored & 0xFFF).astype(np.uint16)
    path = write_image(
        tmp_path / "x",
        encapsulate([compressed(coded, syntax)]),
        syntax,
        BitsStored=12,
        PixelRepresentation=1,
    )
    assert np.array_equal(read(path), stored)


def test_jpeg_2000_without_the_sign_of_its_header_is_mended(tmp_path):
    stored = image(13, signed=True)
    code = imagecodecs.jpeg2k_encode(
        (stored & 0x1FFF).astype(np.uint16), codecformat="j2k", reversible=True, level=0,
        bitspersample=13,
    )  # fmt: skip
    path = write_image(
        tmp_path / "x", encapsulate([code]), J2K, BitsStored=16, PixelRepresentation=1
    )
    assert np.array_equal(read(path), stored)


@pytest.mark.parametrize("bits", [8, 12])
def test_lossy_jpeg_of_8_and_12_bits(tmp_path, bits):
    y, x = np.mgrid[:24, :32]
    stored = ((x + y) * ((1 << bits) - 1) / 54).astype(np.uint8 if bits == 8 else np.uint16)
    code = imagecodecs.jpeg8_encode(stored, level=98, bitspersample=bits)
    syntax = f"1.2.840.10008.1.2.4.5{0 if bits == 8 else 1}"
    path = write_image(
        tmp_path / "x", encapsulate([code]), syntax, (24, 32), 8 * stored.itemsize, BitsStored=bits
    )
    assert np.abs(read(path).astype(int) - stored).max() <= (1 << bits) / 100


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL_422"])
def test_colors_of_jpeg_are_what_the_header_says(tmp_path, photometric):
    stored = np.zeros((16, 16, 3), np.uint8)
    stored[:] = 200, 60, 20
    space = "RGB" if photometric == "RGB" else "YCBCR"
    code = imagecodecs.jpeg8_encode(stored, level=98, colorspace="RGB", outcolorspace=space)
    path = write_image(
        tmp_path / "x", encapsulate([code]), "1.2.840.10008.1.2.4.50", (16, 16), 8,
        SamplesPerPixel=3, PhotometricInterpretation=photometric, PlanarConfiguration=0,
    )  # fmt: skip
    found = read_volume(path).array[:, 3, 4, 0].astype(int)
    assert np.abs(found - (200, 60, 20)).max() <= 3


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("bits", [8, 16])
def test_planes_of_color(tmp_path, planar, bits):
    stored = np.stack([image(bits, seed=s) for s in range(3)], axis=-1)  # (rows, columns, 3)
    laid = np.moveaxis(stored, -1, 0) if planar else stored
    path = write_image(
        tmp_path / "x", laid.tobytes(), EXPLICIT, bits=bits,
        SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=planar,
    )  # fmt: skip
    found = read_volume(path).array[:, :, :, 0].transpose(2, 1, 0)
    assert np.array_equal(found, stored >> (bits - 8))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("high_bit", [11, 13, 15])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG, RLE])
def test_bits_beside_the_stored_ones_are_no_part_of_a_value(tmp_path, signed, high_bit, syntax):
    stored = image(12, signed=signed)
    shift = high_bit - 11
    junk = np.random.default_rng(9).integers(0, 1 << 16, stored.shape).astype(np.uint16)
    mask = np.uint16(0xFFF << shift)
    word = (stored.astype(np.uint16) << shift) & mask | junk & ~mask
    laid = word.astype(">u2" if syntax == BIG else "<u2").tobytes()
    laid = encapsulate([rle(word)]) if syntax == RLE else laid
    path = write_image(
        tmp_path / "x", laid, EXPLICIT if syntax == BIG else syntax, BitsStored=12,
        HighBit=high_bit, PixelRepresentation=int(signed),
    ) if syntax != BIG else write_big(tmp_path / "x", word, high_bit, signed)  # fmt: skip
    assert np.array_equal(read(path), stored)


def write_big(path, word, high_bit, signed):
    data = pydicom.dcmread(
        write_image(path, word.tobytes(), EXPLICIT, BitsStored=12, HighBit=high_bit,
                    PixelRepresentation=int(signed))
    )  # fmt: skip
    data.PixelData = word.astype(">u2").tobytes()
    data.file_meta.TransferSyntaxUID = BIG
    big = Dataset(dict(data.items()))
    big.file_meta = data.file_meta
    big.save_as(path, implicit_vr=False, little_endian=False, enforce_file_format=True)
    return path


def rle(stored):
    """Run lengths as literal runs (PS3.5 G), the highest byte of each sample first."""
    planes = stored.reshape(*stored.shape[:2], -1).astype(f">u{stored.itemsize}")
    segments = []
    for sample in range(planes.shape[2]):
        octets = np.ascontiguousarray(planes[..., sample]).view(np.uint8)
        for byte in range(stored.itemsize):
            raw = octets.reshape(-1, stored.itemsize)[:, byte].tobytes()
            runs = [raw[n : n + 128] for n in range(0, len(raw), 128)]
            packed = b"".join(bytes([len(run) - 1]) + run for run in runs)
            segments.append(packed + b"\x80" * (len(packed) % 2))
    offsets = [64 + sum(map(len, segments[:n])) for n in range(len(segments))]
    head = struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments)))
    return head + b"".join(segments)


@pytest.mark.parametrize("width", [1, 12])
def test_values_that_lie_across_bytes(tmp_path, width):
    stored = image(width, (3, 7, 5), seed=4)  # 35 values: no frame but the first begins a byte
    stream = (stored.reshape(-1, 1).astype(int) >> np.arange(width)) & 1
    laid = np.packbits(stream.astype(np.uint8).ravel(), bitorder="little").tobytes()
    path = write_image(
        tmp_path / "x", laid + b"\0" * (len(laid) % 2), EXPLICIT, (7, 5), width, NumberOfFrames=3
    )
    assert np.array_equal(read_volume(path).array[:, :, :, 0].transpose(0, 2, 1), stored)


@pytest.mark.parametrize(
    ("name", "kind"), [("FloatPixelData", "f4"), ("DoubleFloatPixelData", "f8")]
)
def test_real_pixels(tmp_path, name, kind):
    stored = np.random.default_rng(1).normal(0, 3, (20, 30)).astype(kind)
    path = write_image(
        tmp_path / "x", None, EXPLICIT, bits=8 * stored.itemsize, **{name: stored.tobytes()}
    )
    found = read(path)
    assert found.dtype == np.float32
    assert np.array_equal(found, stored.astype(np.float32))


def test_values_of_32_bits(tmp_path):
    stored = np.arange(600, dtype=np.uint32).reshape(20, 30)
    path = write_image(tmp_path / "x", (stored * 100_000).tobytes(), EXPLICIT, bits=32)
    assert np.array_equal(read(path), (stored * 100_000).astype(np.float32))
    path = write_image(tmp_path / "x", stored.tobytes(), EXPLICIT, bits=32)
    assert read(path).dtype == np.int16


def test_ge_writes_big_endian_pixels_after_a_little_endian_header(tmp_path):
    stored = image(16)
    path = write_image(tmp_path / "x", stored.astype(">u2").tobytes(), IMPLICIT)
    plain, of_ge = b"1.2.840.10008.1.2\0", b"1.2.840.113619.5.2"
    path.write_bytes(path.read_bytes().replace(plain, of_ge))
    assert np.array_equal(read(path), stored)


def test_a_deflated_file(tmp_path):
    stored = image(16)
    path = write_image(tmp_path / "x", stored.tobytes(), "1.2.840.10008.1.2.1.99")
    assert np.array_equal(read(path), stored)


def frames_of(count=3, bits=12):
    stored = np.stack([image(bits, (40, 50), seed=s) for s in range(count)])
    return stored, [imagecodecs.jpegls_encode(frame) for frame in stored]


def items(*contents):
    return b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(c)) + c for c in contents)


def even(code):
    return bytes(code) + b"\0" * (len(code) % 2)


def halves(code):
    code, middle = even(code), len(code) // 4 * 2
    return [code[:middle], code[middle:]]


@pytest.mark.parametrize("kind", ["offsets", "none", "split", "split, offsets", "extended"])
def test_frames_are_found_in_fragments(tmp_path, kind):
    stored, codes = frames_of()
    more = {}
    parts = [half for code in codes for half in halves(code)]
    starts = np.cumsum([0, *[len(even(c)) + 16 for c in codes]])[:3]
    if kind == "extended":
        laid, more["ExtendedOffsetTable"], more["ExtendedOffsetTableLengths"] = (
            encapsulate_extended([bytes(c) for c in codes])
        )
    elif kind == "offsets":
        laid = encapsulate([bytes(c) for c in codes])
    elif kind == "none":
        laid = encapsulate([bytes(c) for c in codes], has_bot=False)
    elif kind == "split":
        laid = items(b"", *parts)
    else:
        laid = items(struct.pack("<3I", *starts), *parts)
    path = write_image(
        tmp_path / "x", laid, JPEG_LS, (40, 50), BitsStored=12, NumberOfFrames=3, **more
    )
    assert np.array_equal(read_volume(path).array[:, :, :, 0].transpose(0, 2, 1), stored)


def test_one_frame_in_many_fragments(tmp_path):
    stored, codes = frames_of(1)
    code = even(codes[0])
    laid = items(b"", *(code[n : n + 100] for n in range(0, len(code), 100)))
    path = write_image(tmp_path / "x", laid, JPEG_LS, (40, 50), BitsStored=12)
    assert np.array_equal(read(path), stored[0])


def test_more_frames_than_there_are_is_an_error(tmp_path):
    _, codes = frames_of()
    code = encapsulate([bytes(c) for c in codes])
    path = write_image(tmp_path / "many", code, JPEG_LS, (40, 50), BitsStored=12, NumberOfFrames=5)
    with pytest.raises(DecodeError, match=r"many: the header promises 5 frames.* 3 images start"):
        read_volume(path)
    path = write_image(tmp_path / "few", image().tobytes(), EXPLICIT, NumberOfFrames=90_000)
    with pytest.raises(DecodeError, match=r"few: .* take 108000000 bytes or more; .* holds 1200"):
        read_volume(path)


@pytest.mark.parametrize("end", ["5", "4.70", "4.80", "4.90", "4.201"])
@pytest.mark.parametrize("kept", [0.2, 0.8])
def test_frames_cut_short_are_refused_by_name(tmp_path, end, kept):
    stored, syntax = image(12), f"1.2.840.10008.1.2.{end}"
    code = rle(stored) if syntax == RLE else bytes(compressed(stored, syntax))
    laid = encapsulate([code[: int(kept * len(code))]])
    path = write_image(tmp_path / "cut", laid, syntax, BitsStored=12)
    with pytest.raises(DecodeError, match=r"cut: its pixel data \(.*\) is cut short or damaged"):
        read_volume(path)


def test_an_image_of_another_size_is_refused_before_it_is_decoded(tmp_path):
    code = encapsulate([imagecodecs.jpegls_encode(image(12, (400, 300)))])
    path = write_image(tmp_path / "x", code, JPEG_LS, BitsStored=12)
    with pytest.raises(DecodeError, match=r"promises 30 × 20 .* holds 300 × 400"):
        read_volume(path)


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        ("1.2.840.10008.1.2.4.102", "MPEG-4 AVC/H.264 High Profile / Level 4.1"),
        ("1.2.840.10008.1.2.4.94", "JPIP Referenced"),
        ("1.2.3.4", "1.2.3.4"),
    ],
)
def test_what_nothing_decodes_is_named(tmp_path, syntax, name):
    path = write_image(tmp_path / "x", None, EXPLICIT)
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = syntax
    data.PixelData = encapsulate([b"\0\0\0\1"])
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    data.save_as(path, implicit_vr=False, little_endian=True)
    with pytest.raises(DecodeError) as error:
        read_volume(path)
    assert name in str(error.value)
    assert syntax in str(error.value)
    assert "uncompressed" in str(error.value)


WITHOUT = """
import sys
sys.modules["imagecodecs"] = None
import importlib.util
find = importlib.util.find_spec
def without(name, *more):
    return None if name == "imagecodecs" else find(name, *more)
importlib.util.find_spec = without
from medvision.io import read_volume
print(read_volume(sys.argv[1]).array.sum())
try:
    read_volume(sys.argv[2])
except Exception as error:
    print(type(error).__name__, error)
"""


def test_without_imagecodecs_run_lengths_are_read_and_the_rest_names_the_extra(tmp_path):
    stored = image(12)
    first = write_image(tmp_path / "r", encapsulate([rle(stored)]), RLE, BitsStored=12)
    code = encapsulate([imagecodecs.jpegls_encode(stored)])
    second = write_image(tmp_path / "j", code, JPEG_LS, BitsStored=12)
    command = [sys.executable, "-c", WITHOUT, str(first), str(second)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    total, said = run.stdout.splitlines()
    assert int(total) == stored.sum(dtype=int)
    assert said.startswith("MissingExtra")
    assert "pip install 'medvision-toolkit[dicom]'" in said


def test_both_ways_to_unpack_run_lengths_agree():
    packed = bytes([2, 1, 2, 3, 254, 9, 128, 0, 5])
    assert unpack_bits(packed, 7).tolist() == [1, 2, 3, 9, 9, 9, 5]
    assert list(imagecodecs.packbits_decode(packed)) == [1, 2, 3, 9, 9, 9, 5]


def lut(data, entries, first=0, bits=16):
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.ModalityLUTType, item.LUTData = "US", [int(e) for e in entries]
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    data.ModalityLUTSequence = [item]


def test_a_modality_table_gives_the_values(tmp_path):
    stored = image(8)
    table = np.arange(256)[::-1] * 100
    path = write_image(tmp_path / "x", stored.tobytes(), EXPLICIT, bits=8)
    data = pydicom.dcmread(path)
    lut(data, table)
    data.save_as(path)
    assert np.array_equal(read(path), apply_modality_lut(stored, data))
    assert np.array_equal(read(path), table[stored])


@pytest.mark.parametrize("segmented", [False, True])
def test_palettes_of_16_bits_whole_or_in_segments(tmp_path, segmented):
    stored = image(8)
    path = write_image(
        tmp_path / "x",
        stored.tobytes(),
        EXPLICIT,
        bits=8,
        PhotometricInterpretation="PALETTE COLOR",
    )
    data = pydicom.dcmread(path)
    for n, color in enumerate(("Red", "Green", "Blue")):
        setattr(data, f"{color}PaletteColorLookupTableDescriptor", [256, 0, 16])
        data[f"{color}PaletteColorLookupTableDescriptor"].VR = "US"
        if segmented:  # one value, then a line to another (PS3.3 C.7.9.2)
            entries = np.array([0, 1, 256 * n, 1, 255, 65_000 - 256 * n], "<u2")
            setattr(data, f"Segmented{color}PaletteColorLookupTableData", entries.tobytes())
        else:
            entries = (np.arange(256) * 200 + n).astype("<u2")
            setattr(data, f"{color}PaletteColorLookupTableData", entries.tobytes())
    data.save_as(path)
    found = read_volume(path).array[:, :, :, 0].transpose(2, 1, 0)
    assert np.array_equal(found, apply_color_lut(stored, data) >> 8)


def test_padding_keeps_its_value_and_is_told(tmp_path):
    def change(data, k):
        data.PixelPaddingValue, data.RescaleIntercept = -2000, -24
        data["PixelPaddingValue"].VR = "SS"

    array = np.full((1, 4, 4, 2), 1000, np.int16)
    array[0, 0] = -2000
    paths = write_series(tmp_path, Volume(array, check_affine(np.eye(4))), change=change)
    assert sorted(np.unique(read_volume(tmp_path).array)) == [-2024, 976]
    assert padding_values(read_frames(paths[0])[0]) == (-2024, -2024)


def test_real_world_values_are_offered_with_their_unit(tmp_path):
    path = write_image(tmp_path / "x", image().tobytes(), EXPLICIT)
    data, item, unit = pydicom.dcmread(path), Dataset(), Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "mm2/s", "UCUM", "mm2/s"
    item.RealWorldValueSlope, item.RealWorldValueIntercept = 1e-6, 0.5
    item.MeasurementUnitsCodeSequence = [unit]
    data.RealWorldValueMappingSequence = [item]
    data.save_as(path)
    assert real_world_value([read_elements(path)]) == (1e-6, 0.5, "mm2/s")
    assert real_world_value([]) is None


def test_bytes_changed_at_random_never_raise_another_error(tmp_path):
    codes = frames_of(2)[1]
    path = write_image(
        tmp_path / "x", encapsulate([bytes(c) for c in codes]), JPEG_LS, (40, 50),
        BitsStored=12, NumberOfFrames=2,
    )  # fmt: skip
    good, random = bytearray(path.read_bytes()), np.random.default_rng(0)
    for _ in range(60):
        bad = good.copy()
        for at in random.integers(132, len(good), 4):
            bad[at] = random.integers(256)
        path.write_bytes(bad[: random.integers(len(good) // 2, len(good) + 1)])
        with suppress(MedvisionError):
            read_volume(path)


def test_uncompressed_frames_in_fragments(tmp_path):
    stored = np.stack([image(16, seed=s) for s in range(2)])
    syntax = "1.2.840.10008.1.2.1.98"
    code = [frame.tobytes() for frame in stored]
    path = write_image(tmp_path / "x", encapsulate(code), syntax, NumberOfFrames=2)
    assert np.array_equal(read_volume(path).array[:, :, :, 0].transpose(0, 2, 1), stored)
    code[1] = code[1][:-2]
    path = write_image(tmp_path / "y", encapsulate(code), syntax, NumberOfFrames=2)
    with pytest.raises(DecodeError, match="y: frame 2 is cut short"):
        read_volume(path)


def test_a_header_that_claims_more_than_any_volume_takes_no_memory(tmp_path):
    code = encapsulate([imagecodecs.jpegls_encode(image())])
    path = write_image(tmp_path / "x", code, JPEG_LS, (65_535, 65_535), NumberOfFrames=2)
    with pytest.raises(DecodeError, match="voxels; at most 4294967296 are read"):
        read_volume(path)


def test_colors_where_one_value_is_promised_are_refused(tmp_path):
    data = pydicom.dcmread(pydicom.data.get_testdata_file("SC_ybr_full_422_uncompressed.dcm"))
    data.SamplesPerPixel = 1
    data.save_as(tmp_path / "gray.dcm")
    with pytest.raises(DecodeError, match=r"gray\.dcm"):
        read_volume(tmp_path / "gray.dcm")
