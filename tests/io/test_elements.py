"""Elements of DICOM files, written byte by byte."""

import struct

import pytest

from medvision.io.dicom.elements import read_elements

EXPLICIT = {"<": b"1.2.840.10008.1.2.1\0", ">": b"1.2.840.10008.1.2.2\0"}


def short(order, tag, vr, value):
    """An explicit element whose length has 16 bits (PS3.5 7.1.2)."""
    return struct.pack(f"{order}HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def long(order, tag, vr, value):
    """An explicit element whose length has 32 bits."""
    return struct.pack(f"{order}HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, len(value)) + value


def implicit(order, tag, value):
    """An element without value representation (PS3.5 7.1.3)."""
    return struct.pack(f"{order}HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


@pytest.mark.parametrize("order", ["<", ">"])
def test_elements_of_every_form_are_found_one_after_another(tmp_path, order):
    syntax = short("<", 0x00020010, b"UI", EXPLICIT[order])
    data = [
        short(order, 0x00080060, b"CS", b"CT"),
        long(order, 0x00091001, b"UN", b"x" * 70_000),  # longer than 16 bits can say
        short(order, 0x00091002, b"ZZ", b"of a later standard "),
        short(order, 0x00100020, b"LO", b"PID "),
        implicit(order, 0x00180050, b"2.5 "),  # among explicit ones
        long(order, 0x00181001, b"UC", b""),
        short(order, 0x00280010, b"US", struct.pack(f"{order}H", 512)),
        long(order, 0x7FE00010, b"OW", bytes(8)),
    ]
    path = tmp_path / "a.dcm"
    path.write_bytes(bytes(128) + b"DICM" + syntax + b"".join(data))
    found = read_elements(path)
    assert found.text("Modality") == "CT"
    assert found.text("PatientID") == "PID"
    assert found.first("SliceThickness") == 2.5
    assert found.whole("Rows") == 512
    assert found.pixel_data.start == path.stat().st_size - 8
    assert found.pixel_data.length == 8
