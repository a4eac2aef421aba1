"""SUV by body weight: QIBA's vendor-neutral rule on times whose answer is known."""

import pydicom
import pytest
from pydicom import Dataset

from medvision.errors import DecodeError
from medvision.io.dicom.elements import read_elements
from medvision.io.dicom.suv import pet_unit, suvbw_factor

HALF_LIFE = 6586.2  # s: F-18
FACTOR = 1000 * 70 / 370e6  # g/Bq: nothing has decayed


def write_pet(path, drug=(), drop=(), **elements):
    """Write the header of a PET slice: 70 kg, 370 MBq an hour before the scan."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.128", "1.2.3"
    data.Modality, data.Manufacturer, data.Units = "PT", "SIEMENS", "BQML"
    data.CorrectedImage, data.DecayCorrection = ["DECY", "ATTN", "SCAT"], "START"
    data.SeriesDate, data.SeriesTime = "20200102", "110000"
    data.AcquisitionDate, data.AcquisitionTime = "20200102", "110500.25"
    data.PatientWeight = 70
    info = Dataset()
    info.RadiopharmaceuticalStartTime = "100000"
    info.RadionuclideTotalDose, info.RadionuclideHalfLife = 370e6, HALF_LIFE
    for where, changes in ((data, elements), (info, dict(drug))):
        for name, value in changes.items():
            setattr(where, name, value)
    data.RadiopharmaceuticalInformationSequence = [info]
    for name in drop:
        del (info if name in info else data)[name]
    return save(path, data)


def save(path, data):
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    data.save_as(path, enforce_file_format=True)
    return path


def private(path, tag, creator, vr, value):
    """Add a private element."""
    data = pydicom.dcmread(path)
    data.add_new((tag >> 16, 0x0010), "LO", creator)
    data.add_new((tag >> 16, tag & 0xFFFF), vr, value)
    data.save_as(path)
    return read_elements(path)


def after(seconds):
    return FACTOR * 2 ** (seconds / HALF_LIFE)


def test_the_dose_decays_until_the_scan_begins(tmp_path):
    data = read_elements(write_pet(tmp_path / "x"))
    assert suvbw_factor(data) == pytest.approx(after(3600))
    assert pet_unit(data) == "Bq/ml"


def test_after_one_half_life_half_the_dose_is_left(tmp_path):
    times = {"RadiopharmaceuticalStartDateTime": "20200102091013.8"}
    data = read_elements(write_pet(tmp_path / "x", times, SeriesTime="110000"))
    assert suvbw_factor(data) == pytest.approx(2 * FACTOR)


@pytest.mark.parametrize(
    "drug",
    [
        {"RadiopharmaceuticalStartTime": "233000"},
        {"RadiopharmaceuticalStartDateTime": "20200101233000.000000+0100"},
    ],
)
def test_midnight_between_injection_and_scan(tmp_path, drug):
    path = write_pet(tmp_path / "x", drug, SeriesTime="003000", AcquisitionTime="003000")
    assert suvbw_factor(read_elements(path)) == pytest.approx(after(3600))


def test_decay_corrected_to_the_injection_needs_no_times(tmp_path):
    path = write_pet(tmp_path / "x", DecayCorrection="ADMIN", drop=["RadionuclideHalfLife"])
    assert suvbw_factor(read_elements(path)) == pytest.approx(FACTOR)


def test_a_series_made_later_has_ge_say_when_the_scan_began(tmp_path):
    path = write_pet(tmp_path / "x", SeriesTime="150000", Manufacturer="GE MEDICAL SYSTEMS")
    with pytest.raises(DecodeError, match="SeriesTime lies after AcquisitionTime"):
        suvbw_factor(read_elements(path))
    data = private(path, 0x0009100D, "GEMS_PETD_01", "DT", "20200102110000.00")
    assert suvbw_factor(data) == pytest.approx(after(3600))


def test_counts_of_philips_have_a_factor_of_their_own(tmp_path):
    path = write_pet(tmp_path / "x", Units="CNTS")
    with pytest.raises(DecodeError, match="no Philips scale factor"):
        suvbw_factor(read_elements(path))
    creator = "Philips PET Private Group"
    data = private(path, 0x70531009, creator, "DS", "2.5")
    assert suvbw_factor(data) == pytest.approx(2.5 * after(3600))
    data = private(path, 0x70531000, creator, "DS", "0.00025")
    assert suvbw_factor(data) == 0.00025
    assert pet_unit(data) == "counts"


def test_suv_stays_suv(tmp_path):
    data = read_elements(write_pet(tmp_path / "x", Units="GML", SUVType="BW"))
    assert (suvbw_factor(data), pet_unit(data)) == (1, "SUVbw")
    data = read_elements(write_pet(tmp_path / "y", Units="GML", SUVType="LBM"))
    assert pet_unit(data) == "SUVlbm"
    with pytest.raises(DecodeError, match="Units is GML"):
        suvbw_factor(data)


@pytest.mark.parametrize(
    ("drug", "drop", "elements", "says"),
    [
        ({}, [], {"Modality": "CT"}, "it is CT, not PT"),
        ({}, [], {"Units": "PCNT"}, "Units is PCNT"),
        ({}, ["Units"], {}, "Units is missing"),
        ({}, [], {"CorrectedImage": ["DECY"]}, "CorrectedImage lacks ATTN"),
        ({}, ["CorrectedImage"], {}, "lacks ATTN and DECY"),
        ({}, [], {"DecayCorrection": "NONE"}, "DecayCorrection is NONE"),
        ({}, [], {"PatientWeight": 0}, "PatientWeight is not above 0"),
        ({}, ["PatientWeight"], {}, "PatientWeight is missing"),
        ({}, ["RadionuclideTotalDose"], {}, "RadionuclideTotalDose is missing"),
        ({}, ["RadionuclideHalfLife"], {}, "RadionuclideHalfLife is missing"),
        ({}, ["RadiopharmaceuticalStartTime"], {}, "RadiopharmaceuticalStartTime are missing"),
        ({}, ["SeriesTime"], {}, "SeriesDate and SeriesTime"),
        ({}, ["AcquisitionTime"], {}, "AcquisitionTime is missing"),
        ({"RadiopharmaceuticalStartDateTime": "20200102113000"}, [], {}, "after that of the scan"),
        ({"RadiopharmaceuticalStartDateTime": "20190102100000"}, [], {}, "20 half-lives"),
    ],
)
def test_what_is_missing_is_named_and_no_value_of_the_patient_told(
    tmp_path, drug, drop, elements, says
):
    path = write_pet(tmp_path / "x", drug, drop, **elements)
    with pytest.raises(DecodeError, match=says) as error:
        suvbw_factor(read_elements(path))
    for value in ("2020", "2019", "1100", "1000", "370"):
        assert value not in str(error.value).replace(str(path), "")
