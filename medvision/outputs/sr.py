"""Measurements to DICOM SR: a TID 1500 Measurement Report (PS3.16), as Comprehensive 3D SR.

A structure is a group with its volume; a class of a classification is a group with its probability,
as Certainty of Finding (DCM 111012) in percent. A class's name is the group's tracking identifier,
and its finding where the model's spec.json has codes for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.sr.coding import Code as Coded

import medvision
from medvision.codes import GENERIC
from medvision.errors import OutputError
from medvision.io.dicom import is_dicom
from medvision.io.dicom.elements import read_elements
from medvision.io.dicom.headers import Frame
from medvision.outputs.dicom import (
    EXPLICIT,
    MAKER,
    NO_SERIAL,
    coded,
    dated,
    headed,
    highdicom_for,
    plain,
    save_dicom,
    uid_of,
)
from medvision.outputs.seg import SEG_CLASS, seg_uid, tracking_uid
from medvision.outputs.source import Source, planes_of, read_source
from medvision.prediction import Prediction, Structure
from medvision.study import Study

WHAT = "DICOM SR"
VOLUME = Coded("118565006", "SCT", "Volume")
MILLILITER = Coded("ml", "UCUM", "Milliliter")
CERTAINTY = Coded("111012", "DCM", "Certainty of Finding")
PERCENT = Coded("%", "UCUM", "Percent")
IMAGING = Coded("363679005", "SCT", "Imaging procedure")
DEVICE = Coded("121007", "DCM", "Device")
END, SEG_END = "_sr.dcm", "_seg.dcm"  # of files that are written of one case
ML_DIGITS, PERCENT_DIGITS = 4, 4


def save_sr(prediction: Prediction, study: Study, path: Path) -> Path:
    """Write volumes in ml, or probabilities in percent, as a DICOM Structured Report.

    A structure refers to its segment when the SEG of this very mask lies beside `path` (as it does
    when ``seg`` is asked for, too), else to the images. The report is not verified by anybody, and
    says so.

    Raises
    ------
    MissingExtra
        Without highdicom.
    OutputError
        When the scan is not of DICOM files, or has no voxel size by which to measure.
    """
    source = read_source(study.image, WHAT)
    structures = prediction.measure()
    if any(one.ml is None for one in structures):
        raise OutputError(
            f"{WHAT} holds volumes in ml; {source.path} has no voxel size to measure by."
        )
    segments = seg_beside(prediction, source, path)
    with highdicom_for(WHAT, source.path.name) as highdicom:
        report = Report(highdicom, prediction, source)
        groups = (
            [report.structure(one, segments) for one in structures]
            if prediction.scores is None
            else [report.finding(name, share) for name, share in prediction.scores.items()]
        )
        return save_dicom(report.document(groups, segments, structures), path)


def seg_beside(prediction: Prediction, source: Source, path: Path) -> tuple[str, str] | None:
    """Return series and instance UID of the SEG of this mask beside a report; None without it."""
    if prediction.mask is None or not path.name.endswith(END):
        return None
    seg = path.with_name(path.name.removesuffix(END) + SEG_END)
    if not seg.is_file() or not is_dicom(seg):
        return None
    uids = seg_uid(prediction, prediction.mask, source)
    return uids if read_elements(seg).text("SOPInstanceUID") == uids[1] else None


class Report:
    """What a report is made of, in highdicom's words."""

    def __init__(self, highdicom: Any, prediction: Prediction, source: Source) -> None:
        self.highdicom, self.sr = highdicom, highdicom.sr
        self.prediction, self.source = prediction, source

    def structure(self, one: Structure, segments: tuple[str, str] | None) -> Any:
        """Return the group of a structure: its volume, and where it was found."""
        codes = self.prediction.codes.get(one.name, GENERIC)
        side = coded(codes.laterality) if codes.laterality else None
        about = {
            **self.tracked(one.name),
            "finding_type": coded(codes.type),
            "finding_category": coded(codes.category),
            "finding_sites": [self.sr.FindingSite(coded(codes.type), side)] if side else None,
            "measurements": [
                self.sr.Measurement(VOLUME, round(float(one.ml or 0), ML_DIGITS), MILLILITER)
            ],
        }
        if segments is None:
            return self.sr.MeasurementsAndQualitativeEvaluations(
                **about, source_images=self.images(one.label)
            )
        series = str(self.source.header.SeriesInstanceUID)
        segment = self.sr.ReferencedSegment(
            SEG_CLASS,
            segments[1],
            one.label,
            source_series=self.sr.SourceSeriesForSegmentation(series),
        )
        return self.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            **about, referenced_segment=segment
        )

    def finding(self, name: str, share: float) -> Any:
        """Return the group of a class: its probability."""
        codes = self.prediction.codes.get(name)
        percent = round(100 * float(share), PERCENT_DIGITS)
        return self.sr.MeasurementsAndQualitativeEvaluations(
            **self.tracked(name),
            finding_type=coded(codes.type) if codes else None,
            finding_category=coded(codes.category) if codes else None,
            measurements=[self.sr.Measurement(CERTAINTY, percent, PERCENT)],
            source_images=self.images(),
        )

    def tracked(self, name: str) -> dict[str, Any]:
        """Return how a group is called, and which algorithm it is from."""
        uid = tracking_uid(self.prediction, name, self.source)
        return {
            "tracking_identifier": self.sr.TrackingIdentifier(uid, plain(name)),
            "algorithm_id": self.sr.AlgorithmIdentification(
                plain(self.prediction.model), medvision.__version__
            ),
        }

    def images(self, label: int | None = None) -> list[Any] | None:
        """Return references to the files of the scan, or to those that a structure lies on."""
        frames = [frame for frame, labels in self.found if label in labels]
        if label is None or not self.found:
            frames = list(self.source.frames)
        several = any(frame.header.coding.frames > 1 for frame in frames)
        numbers: dict[tuple[str, str], list[int]] = {}
        for frame in frames:
            key = (frame.header.sop_class, frame.header.instance_uid)
            numbers.setdefault(key, []).append(frame.number + 1)
        return [
            self.sr.SourceImageForMeasurementGroup(*key, here if several and label else None)
            for key, here in numbers.items()
        ] or None

    @cached_property
    def found(self) -> list[tuple[Frame, set[int]]]:
        """The frames of the mask with the labels on them; none where the mask lies on others."""
        mask = self.prediction.mask
        if mask is None:
            return []
        try:
            frames, labels = planes_of(mask, self.source, WHAT)
        except OutputError:
            return []
        there = [set(np.flatnonzero(np.bincount(plane.ravel())).tolist()) for plane in labels]
        return list(zip(frames, there, strict=True))

    def evidence(self, segments: tuple[str, str] | None) -> list[Dataset]:
        """Return what the report is based on: the scan's files, and the SEG."""
        header = self.source.header
        series = str(header.SeriesInstanceUID)
        found = [(series, uid, kind) for uid, kind in self.source.instances.items()]
        if segments:
            found.append((*segments, SEG_CLASS))
        images: list[Dataset] = []
        for series, uid, kind in found:
            image = Dataset()
            if not images:
                image.update(header)
            image.StudyInstanceUID, image.SeriesInstanceUID = header.StudyInstanceUID, series
            image.SOPInstanceUID, image.SOPClassUID = uid, kind
            images.append(image)
        return images

    def document(
        self,
        groups: Sequence[Any],
        segments: tuple[str, str] | None,
        structures: Sequence[Structure],
    ) -> Dataset:
        """Return the data set of a report of groups."""
        prediction, source = self.prediction, self.source
        said = [*structures, *(prediction.scores or {}).items(), segments]
        uids = headed(prediction, source, "sr", said)
        device = self.sr.DeviceObserverIdentifyingAttributes(
            uid=uid_of("device", MAKER, medvision.__version__, prediction.model),
            name=MAKER,
            manufacturer_name=MAKER,
            model_name=plain(prediction.model),
            serial_number=NO_SERIAL,
        )
        content = self.sr.MeasurementReport(
            observation_context=self.sr.ObservationContext(
                observer_device_context=self.sr.ObserverContext(DEVICE, device)
            ),
            procedure_reported=IMAGING,
            imaging_measurements=groups,
            title=self.highdicom.sr.CodedConcept("126000", "DCM", "Imaging Measurement Report"),
        )
        data: Dataset = self.sr.Comprehensive3DSR(
            evidence=self.evidence(segments),
            content=content,
            is_complete=True,
            transfer_syntax_uid=EXPLICIT,
            **uids,
        )
        return dated(data, source, "")
