"""The picture of a result as a DICOM Secondary Capture (PS3.3 A.8.1), in the study of its scan."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from pydicom import Dataset

from medvision.outputs.dicom import (
    EXPLICIT,
    RESEARCH,
    dated,
    headed,
    highdicom_for,
    plain,
    save_dicom,
)
from medvision.outputs.overlay import draw_result
from medvision.outputs.source import Source, read_source
from medvision.prediction import Prediction
from medvision.profile import BURNED_IN
from medvision.study import Study

WHAT = "DICOM Secondary Capture"


def save_sc(prediction: Prediction, study: Study, path: Path) -> Path:
    """Write the picture that ``overlay`` shows, in color, without the name of the case.

    Patient and study are those of the scan's files. Nobody's name is in the pixels, unless it was
    in those of the scan: BurnedInAnnotation is what the scan's files say, and NO where they say
    nothing and are of a modality that draws no text into its images.

    Raises
    ------
    MissingExtra
        Without highdicom.
    OutputError
        When the scan is not of DICOM files.
    """
    source = read_source(study.image, WHAT)
    image = draw_result(prediction, study, prediction.model)
    pixels = np.asarray(image.convert("RGB"))  # (rows, columns, 3)
    with highdicom_for(WHAT, source.path.name) as highdicom:
        facts = (hashlib.sha256(pixels.tobytes()).hexdigest(), pixels.shape)
        data = highdicom.sc.SCImage(
            pixel_array=pixels,
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            patient_orientation=("L", "P"),
            study_instance_uid=source.header.StudyInstanceUID,
            transfer_syntax_uid=EXPLICIT,
            specific_character_set=source.header.SpecificCharacterSet,
            **headed(prediction, source, "sc", facts),
        )
        data.copy_patient_and_study_information(source.header)
        data.PatientOrientation = None  # several planes are on it
        data.Laterality = source.header.get("Laterality")  # type 2C
        data.DerivationDescription = plain(f"Result of {prediction.model} drawn on the scan", 1024)
        data.ImageComments = RESEARCH
        data.SourceImageSequence = [reference(*one) for one in source.instances.items()]
        burned = burned_in(source)
        if burned:
            data.BurnedInAnnotation = burned
        return save_dicom(dated(data, source, ""), path)


def reference(uid: str, sop_class: str) -> Dataset:
    """Return a reference to a file of the scan."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    return item


def burned_in(source: Source) -> str:
    """Return whether the pixels identify the patient: YES, NO, or nothing where nobody knows."""
    said = str(source.header.get("BurnedInAnnotation") or "")
    if said in ("YES", "NO"):
        return said
    return "" if source.header.get("Modality") in BURNED_IN else "NO"
