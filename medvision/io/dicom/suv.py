"""From the values of a PET image to SUV by body weight, or the precondition that fails.

The rule is the vendor-neutral pseudocode of QIBA's FDG-PET profile ("SUV Vendor-neutral
Pseudo-code, happy path and robust"). Errors name the elements and never their values: weights,
doses and times are the patient's.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from medvision.errors import DecodeError
from medvision.io.dicom.elements import Elements

UNITS = {"BQML": "Bq/ml", "CNTS": "counts", "CPS": "counts/s", "PCNT": "%", "NONE": ""}
SUV_TYPES = {"": "SUVbw", "BW": "SUVbw", "LBM": "SUVlbm", "BSA": "SUVbsa", "IBW": "SUVibw"}
SUVBW = "SUVbw"
GE_CREATOR, GE_SCAN_TIME = 0x00090010, 0x0009100D
PHILIPS_CREATOR, PHILIPS_SUV, PHILIPS_ACTIVITY = 0x70530010, 0x70531000, 0x70531009
MAX_HALF_LIVES = 20.0  # between injection and scan: beyond it one of the times is wrong
DAY = timedelta(days=1)


def pet_unit(data: Elements) -> str:
    """Return the unit of a PET image's values: ``"Bq/ml"``, ``"counts"``, ``"SUVbw"``…"""
    said = data.text("Units")
    if said == "GML":  # PS3.3 C.8.9.1.1.3, and SUVType; QIBA takes one that says nothing for bw
        return SUV_TYPES.get(data.text("SUVType"), "g/ml")
    return UNITS.get(said, said)


def suvbw_factor(data: Elements) -> float:
    """Return what the values of a PET slice are multiplied with, to be SUV by body weight.

    Parameters
    ----------
    data : Elements
        The slice's file. Its factor is that of its whole series.

    Returns
    -------
    float
        g/ml per Bq/ml, or per count; 1 where the values are SUV by body weight already.

    Raises
    ------
    DecodeError
        When the file is no PET, or does not say what the factor needs: units, attenuation and
        decay corrections, weight, dose, half-life, times of injection and scan.
    """
    said = data.text("Units")
    if data.text("Modality") != "PT":
        raise refusal(data, f"it is {data.text('Modality') or 'of no modality'}, not PT")
    if pet_unit(data) == SUVBW:
        return 1.0
    if said not in ("BQML", "CNTS"):
        raise refusal(data, f"Units is {said or 'missing'}, not BQML, CNTS or GML")
    missing = {"ATTN", "DECY"} - set(data.texts("CorrectedImage"))
    if missing:
        raise refusal(data, f"CorrectedImage lacks {' and '.join(sorted(missing))}")
    if said == "BQML":
        return grams_per_becquerel(data)
    if "Philips PET" in data.text(PHILIPS_CREATOR):
        factor = data.first(PHILIPS_SUV)
        if factor is not None and factor > 0:
            return factor
        activity = data.first(PHILIPS_ACTIVITY)
        if activity is not None and activity > 0:
            return activity * grams_per_becquerel(data)
    raise refusal(
        data, "Units is CNTS, and no Philips scale factor (7053,1000 or 7053,1009) is there"
    )


def grams_per_becquerel(data: Elements) -> float:
    """Return body weight by the dose that was left at the time to which decay is corrected."""
    drug = (data.items("RadiopharmaceuticalInformationSequence") or [Elements(data.path)])[0]
    weight = positive(data, data, "PatientWeight")  # kg
    dose = positive(data, drug, "RadionuclideTotalDose")  # Bq
    correction = data.text("DecayCorrection")
    if correction == "ADMIN":
        return 1000 * weight / dose
    if correction != "START":
        raise refusal(data, f"DecayCorrection is {correction or 'missing'}, not START or ADMIN")
    half_life = positive(data, drug, "RadionuclideHalfLife")  # s
    scan = scan_start(data)
    passed = (scan - injection(data, drug, scan)).total_seconds()
    if not 0 <= passed <= MAX_HALF_LIVES * half_life:
        raise refusal(
            data,
            "the time of injection is "
            + (
                "after that of the scan"
                if passed < 0
                else f"more than {MAX_HALF_LIVES:g} half-lives before the scan"
            ),
        )
    return float(1000 * weight / (dose * 2 ** (-passed / half_life)))


def scan_start(data: Elements) -> datetime:
    """Return the time to which decay is corrected: when the scan began.

    It is the series' time, unless that lies after the acquisition, as in series that were
    processed later: then GE says it elsewhere.
    """
    series = moment(data.text("SeriesDate") + data.text("SeriesTime"))
    acquired = moment(
        (data.text("AcquisitionDate") or data.text("SeriesDate")) + data.text("AcquisitionTime")
    )
    if series is None:
        raise refusal(data, "SeriesDate and SeriesTime are missing or unreadable")
    if acquired is None:
        raise refusal(data, "AcquisitionTime is missing or unreadable")
    if series <= acquired:
        return series
    if "GEMS_PETD" in data.text(GE_CREATOR):
        found = moment(data.text(GE_SCAN_TIME))
        if found is not None:
            return found
    raise refusal(
        data,
        "SeriesTime lies after AcquisitionTime, and GE's scan time (0009,100D) is not there: when "
        "the scan began is unknown",
    )


def injection(data: Elements, drug: Elements, scan: datetime) -> datetime:
    """Return when the dose was measured; where no date is said, within a day before the scan."""
    whole = moment(drug.text("RadiopharmaceuticalStartDateTime"))
    if whole is not None:
        return whole
    time = moment(f"{scan:%Y%m%d}" + drug.text("RadiopharmaceuticalStartTime"))
    if time is None:
        raise refusal(
            data,
            "RadiopharmaceuticalStartDateTime and RadiopharmaceuticalStartTime are missing or "
            "unreadable",
        )
    return time if time <= scan else time - DAY  # past midnight


def moment(text: str) -> datetime | None:
    """Return a date and time of DICOM (PS3.5 6.2: DT, or DA and TM), None where it is none.

    Offsets from UTC are passed over: times of one scan are all told by one clock.
    """
    text = text.replace(":", "").split("+")[0].split("-")[0]
    if text[4:5] == "." and text[7:8] == ".":  # a date of ACR-NEMA
        text = text[:4] + text[5:7] + text[8:]
    whole, _, fraction = text.partition(".")
    if len(whole) not in (10, 12, 14) or not (whole + fraction).isdigit():
        return None  # to the hour at least
    try:
        start = datetime.strptime(whole.ljust(14, "0"), "%Y%m%d%H%M%S")
    except ValueError:
        return None
    return start + timedelta(seconds=float(f"0.{fraction or 0}"))


def positive(data: Elements, where: Elements, name: str) -> float:
    """Return a number above 0."""
    found = where.first(name)
    if found is None or found <= 0:
        raise refusal(data, f"{name} is {'missing' if found is None else 'not above 0'}")
    return found


def refusal(data: Elements, why: str) -> DecodeError:
    """Return the error that says why there is no SUV."""
    return DecodeError(f"{data.path}: SUV cannot be computed, for {why}.")
