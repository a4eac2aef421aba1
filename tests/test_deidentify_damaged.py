"""DICOM that cannot be read or written whole is not de-identified, and is told why."""

import pytest
from dicom_phantom import write_series
from fuzzing.dicoms import ball, same_uids, set_raw
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset

pytest.importorskip("dicognito", reason="needs dicognito (extra deidentify)")

from dicognito.anonymizer import Anonymizer

from medvision.deidentify import clean_file, deidentify_studies
from medvision.errors import DecodeError, OutputError
from medvision.hidden_bytes import clean_pixel_bytes

ROWS, FRAMES, SAMPLES, BITS, PIXELS = 0x00280010, 0x00280008, 0x00280002, 0x00280101, 0x7FE00010


@pytest.fixture
def folder(tmp_path):
    with same_uids():
        write_series(tmp_path / "in", ball())
    return tmp_path / "in"


def clean(folder, change):
    """Change a slice and clean it; return where it was to be written."""
    data = dcmread(min(path for path in folder.rglob("*") if path.is_file()))
    change(data)
    target = folder.parent / "out" / "1.dcm"
    try:
        clean_file(data, target, Anonymizer(seed="0"))
    except (DecodeError, OutputError):
        assert not [path for path in target.parent.glob("*") if path.is_file()]
        raise
    return target


def overlay(data):
    """Let an overlay lie in bits of pixels that are of too few bits for it."""
    data[BITS].value = 0
    set_raw(data, 0x60000010, "US", b"\1\0")


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda d: set_raw(d, 0x80551100, "ZZ", b"JANE"), DecodeError, "damaged .NotImplemented"),
        (lambda d: set_raw(d, FRAMES, "IS", b"inf"), DecodeError, "damaged .OverflowError"),
        (lambda d: set_raw(d, FRAMES, "IS", b"-3"), DecodeError, "NumberOfFrames is no whole"),
        (lambda d: set_raw(d, SAMPLES, "US", b"\1\0\2\0"), DecodeError, "SamplesPerPixel is no"),
        (lambda d: set_raw(d, ROWS, "LO", b"JANE"), DecodeError, "Rows is no whole number from 0"),
        (lambda d: set_raw(d, PIXELS, "US", b"\1\0"), DecodeError, "PixelData is no pixel data"),
        (overlay, DecodeError, "Pixels of 0 bits up to bit"),
    ],
)
def test_a_file_that_cannot_be_understood_is_not_written(folder, change, error, says):
    with pytest.raises(error, match=says) as told:
        clean(folder, change)
    assert "JANE" not in str(told.value)


def test_nor_is_one_whose_pixels_are_not_as_its_syntax_says(folder):
    def packed(data):
        data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.80"

    def unknown(data):
        data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.1"

    with pytest.raises(OutputError, match=r"an element has no value of its kind \(ValueError\)"):
        clean(folder, packed)
    with pytest.raises(DecodeError, match="transfer syntax is none of DICOM's"):
        clean(folder, unknown)


def test_what_follows_the_last_fragment_is_cut_and_a_short_one_refused():
    item, end = b"\xfe\xff\0\xe0\x04\0\0\0\xff\xd8\xff\xd9", b"\xfe\xff\xdd\xe0\0\0\0\0"
    table = b"\xfe\xff\0\xe0\0\0\0\0"
    for syntax in ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.5"):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = syntax
        for follows in (b"", end, end + b"JANE", b"JANE"):
            set_raw(data, PIXELS, "OB", table + item + follows)
            clean_pixel_bytes(data)
            assert data.PixelData == table + item
        set_raw(data, PIXELS, "OB", table + item[:-2])
        with pytest.raises(DecodeError, match="PixelData is cut short"):
            clean_pixel_bytes(data)


def test_elements_of_messages_are_left_out(folder):
    def message(data):
        set_raw(data, 0x0000EEEE, "UN", b"JANE")
        set_raw(data, 0x00020016, "AE", b"JANE")

    assert b"JANE" not in clean(folder, message).read_bytes()


def test_a_row_says_it_and_the_rest_goes_on(folder):
    first = min(path for path in folder.rglob("*") if path.is_file())
    data = dcmread(first)
    set_raw(data, 0x80551100, "ZZ", b"JANE")
    data.save_as(first, enforce_file_format=False)
    write_series(folder / "other", ball())
    rows = deidentify_studies([folder], folder.parent / "out", "seed")
    assert any("an element is damaged (NotImplementedError)" in row.problem for row in rows)
    assert any(len(row.files) == 5 and not row.problem for row in rows)
