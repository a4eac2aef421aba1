"""Damaged scans that the fuzz test found: each is refused in words, and soon."""

import nibabel as nib
import numpy as np
import pytest
from dicom_phantom import write_series
from PIL import Image
from pydicom import dcmread

from medvision.errors import DecodeError, SeriesError
from medvision.io import find_studies, read_volume
from medvision.io.dicom.elements import read_elements
from medvision.io.dicom.frames import frames_in
from medvision.volume import Volume

SCAN = Volume(np.zeros((1, 6, 5, 3), np.int16), np.diag([-1.0, -1, 2, 1]))


def write_slice(folder, change):
    """Write a slice whose elements `change` edits, as they are after that, right or wrong."""
    path = write_series(folder, SCAN)[0]
    data = dcmread(path)
    change(data)
    data.save_as(path)
    return path


def test_more_frames_than_the_pixel_data_holds_are_refused_before_they_are_counted_out(tmp_path):
    def many(data):
        data.NumberOfFrames = 65_536

    path = write_slice(tmp_path, many)
    with pytest.raises(DecodeError, match="65536 × 6 × 5 pixels, which take"):
        frames_in(read_elements(path))


def test_a_ge_gradient_beside_one_direction_cosine_is_refused(tmp_path):
    def gradient(data):
        data.Modality, data.Manufacturer = "MR", "GE MEDICAL SYSTEMS"
        data.ImageOrientationPatient = "1"
        data.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x39, "IS", [1000, 8, 0, 0])
        block = data.private_block(0x0019, "GEMS_ACQU_01", create=True)
        for offset in (0xBB, 0xBC, 0xBD):
            block.add_new(offset, "DS", "0.5")

    path = write_slice(tmp_path, gradient)
    with pytest.raises(DecodeError, match="ImageOrientationPatient must be 6 numbers"):
        read_volume(path)
    [study] = find_studies(path)
    assert "must be 6 numbers" in study.series[0].problem


def test_half_a_slice_of_nuclear_medicine_counts_as_one(tmp_path):
    def halved(data):
        data.Modality, data.ImageType = "NM", ["ORIGINAL", "PRIMARY", "TOMO"]
        data.NumberOfFrames, data.SpacingBetweenSlices = 2, 3
        data.add_new("NumberOfSlices", "DS", "0.5")
        data.PixelData *= 2

    assert read_volume(write_slice(tmp_path, halved)).array.shape == (2, 6, 5, 1)


def test_a_mosaic_of_fewer_than_no_tiles_is_refused(tmp_path):
    def negative(data):
        data.ImageType = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]
        block = data.private_block(0x0019, "SIEMENS MR HEADER", create=True)
        block.add_new(0x0A, "IS", "-36")

    with pytest.raises(DecodeError, match="does not hold"):
        read_volume(write_slice(tmp_path, negative))


def test_a_name_that_no_file_can_have_is_no_scan():
    for name in ("9" * 5000, "9" * 5000 + ".zip"):
        for read in (find_studies, read_volume):
            with pytest.raises(SeriesError, match="No such file or folder"):
                read(name)


def test_what_unpacks_to_more_than_the_memory_left_is_refused_before_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr("medvision.room.available", lambda: 100.0)
    nib.save(nib.Nifti1Image(SCAN.array[0], np.eye(4)), tmp_path / "a.nii.gz")
    Image.new("L", (20, 20)).save(tmp_path / "a.png")
    write_series(tmp_path / "dicom", SCAN)
    for name in ("a.nii.gz", "a.png", "dicom"):
        with pytest.raises(DecodeError, match=r"needs 0\.0 GiB of memory; 0\.0 are left"):
            read_volume(tmp_path / name)
    nib.save(nib.Nifti1Image(SCAN.array[0], np.eye(4)), tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii").shape == (6, 5, 3)  # mapped, not unpacked
