"""Masks to DICOM SEG, on exactly the slices of the scan: binary (PS3.3 A.51) or label map (A.91).

A class is called by its codes in the model's spec.json. Where it has none, its category is
Anatomical Structure (SCT 123037004), its type Tissue (SCT 85756007), and its name the segment's
label.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import UID

import medvision
from medvision.codes import GENERIC
from medvision.errors import OutputError
from medvision.io.dicom.headers import Frame
from medvision.io.labels import read_labels
from medvision.outputs.dicom import (
    EXPLICIT,
    MAKER,
    coded,
    dated,
    headed,
    highdicom_for,
    plain,
    save_dicom,
    uid_of,
)
from medvision.outputs.source import Source, only_file, planes_of, read_source
from medvision.prediction import Prediction
from medvision.render.ink import label_color
from medvision.study import Study
from medvision.volume import Volume

WHAT = "DICOM SEG"
SEG_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"
ELSEWHERE = (
    1e9  # mm: where the frames of other moments are said to lie, so that none refers to them
)
MULTI_FRAME = ("Enhanced", "Multi-frame")  # words in the names of classes that hold several frames


def save_seg(prediction: Prediction, study: Study, path: Path) -> Path:
    """Write the mask as a binary DICOM SEG: one segment a class, also of those not found.

    Patient, study and frame of reference are those of the scan's files, and each frame names the
    one that it lies on. Slices without a structure are left out; of an empty mask all are there,
    and all are empty. The file is read back, and is refused unless every voxel is where it was.

    Raises
    ------
    MissingExtra
        Without highdicom.
    OutputError
        When the scan is not of DICOM files that have a frame for each slice.
    """
    return save_segments(prediction, study, path, "seg")


def save_labelmap(prediction: Prediction, study: Study, path: Path) -> Path:
    """Write the mask as a DICOM Label Map Segmentation; else as `save_seg`."""
    return save_segments(prediction, study, path, "labelmap")


def save_segments(prediction: Prediction, study: Study, path: Path, kind: str) -> Path:
    """Write and check a SEG of a kind: ``"seg"`` or ``"labelmap"``."""
    mask = prediction.mask
    if mask is None:
        raise OutputError(f"{prediction.case_id} has no mask to write: it is a classification.")
    source = read_source(study.image, WHAT)
    with highdicom_for(WHAT, source.path.name) as highdicom:
        data = segmentation(highdicom, prediction, mask, source, kind)
        return save_dicom(data, path, lambda part: check_written(part, mask, source.path.name))


def segmentation(
    highdicom: Any, prediction: Prediction, mask: Volume, source: Source, kind: str
) -> Dataset:
    """Return the data set of a SEG."""
    frames, labels = planes_of(mask, source, WHAT)
    uids = headed(prediction, source, kind, mask_facts(mask))
    images = stand_ins(highdicom, source, frames, gap_of(mask, frames))
    data: Dataset = highdicom.seg.Segmentation(
        source_images=images,
        pixel_array=labels,
        segmentation_type="BINARY" if kind == "seg" else "LABELMAP",
        segment_descriptions=[
            description(highdicom, prediction, number, name, source)
            for number, name in enumerate(prediction.class_names, start=1)
        ],
        plane_positions=[
            highdicom.PlanePositionSequence("PATIENT", frame.position) for frame in frames
        ],
        transfer_syntax_uid=EXPLICIT,
        content_label="SEGMENTATION",
        content_description=plain(f"{prediction.model}: research use only"),
        **uids,
    )
    return dated(data, source, uid_of("dimensions", uids["sop_instance_uid"]))


def mask_facts(mask: Volume) -> tuple[object, ...]:
    """Return what tells one mask from another."""
    voxels = mask.array.tobytes()
    return hashlib.sha256(voxels).hexdigest(), mask.array.shape, mask.affine.tolist()


def seg_uid(prediction: Prediction, mask: Volume, source: Source) -> tuple[str, str]:
    """Return series and instance UID of the SEG that `save_seg` writes."""
    uids = headed(prediction, source, "seg", mask_facts(mask))
    return uids["series_instance_uid"], uids["sop_instance_uid"]


def description(
    highdicom: Any, prediction: Prediction, number: int, name: str, source: Source
) -> Dataset:
    """Return what a segment is, who found it, and its color."""
    codes = prediction.codes.get(name, GENERIC)
    segment: Dataset = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=plain(name),
        segmented_property_category=coded(codes.category),
        segmented_property_type=coded(codes.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=plain(prediction.model),
            family=highdicom.sr.CodedConcept("123109", "DCM", "Artificial Intelligence"),
            version=medvision.__version__,
            source=MAKER,
        ),
        tracking_id=plain(name),
        tracking_uid=tracking_uid(prediction, name, source),
        display_color=highdicom.color.CIELabColor.from_rgb(*label_color(number)),
    )
    if codes.laterality:
        side = highdicom.sr.CodedConcept.from_code(coded(codes.laterality))
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [side]
    return segment


def tracking_uid(prediction: Prediction, name: str, source: Source) -> str:
    """Return what names a structure of a scan, in SEG and SR alike."""
    return uid_of("structure", prediction.model, name, source.header.SeriesInstanceUID)


def gap_of(mask: Volume, frames: Sequence[Frame]) -> float:
    """Return the distance between slices along their normal (mm)."""
    row, column = np.reshape(np.asarray(frames[0].cosines, np.float64), (2, 3))
    if len(frames) == 1:
        return frames[0].slice_step or float(min(mask.spacing))
    first, last = (np.asarray(frame.position, np.float64) for frame in (frames[0], frames[-1]))
    way = last - first
    return abs(float(way @ np.cross(row, column))) / (len(frames) - 1)


def stand_ins(highdicom: Any, source: Source, frames: Sequence[Frame], gap: float) -> list[Dataset]:
    """Return what highdicom is to know of the source files: one for each slice, or the only one.

    It takes patient and study from the first, and places and UIDs from all. Files say these in
    many ways, of which highdicom knows the standard's; `Frame` has them of all.
    """
    single = only_file(frames)
    if not single and (
        any(frame.header.coding.frames > 1 for frame in frames)
        or any(word in UID(frames[0].header.sop_class).name for word in MULTI_FRAME)
    ):
        raise OutputError(
            f"{WHAT} refers to one multi-frame file, or to one file a slice; the scan of "
            f"{source.path.name} lies in several multi-frame files. NIfTI fits (--outputs nifti)."
        )
    measures = highdicom.PixelMeasuresSequence(
        frames[0].pixel_spacing or (1.0, 1.0), thickness_of(source.header) or gap, gap
    )
    orientation = highdicom.PlaneOrientationSequence("PATIENT", frames[0].cosines)
    images: list[Dataset] = []
    for frame in frames[:1] if single else frames:
        image = Dataset()
        if not images:
            image.update(source.header)
        image.SOPClassUID, image.SOPInstanceUID = frame.header.sop_class, frame.header.instance_uid
        image.StudyInstanceUID = source.header.StudyInstanceUID
        image.SeriesInstanceUID = source.header.SeriesInstanceUID
        image.FrameOfReferenceUID = frame_of_reference(source)
        image.Rows, image.Columns = frame.rows, frame.columns
        image.ImagePositionPatient = highdicom.PlanePositionSequence("PATIENT", frame.position)[
            0
        ].ImagePositionPatient
        image.ImageOrientationPatient = orientation[0].ImageOrientationPatient
        image.update(measures[0])
        images.append(image)
    if single:
        here = {frame.number for frame in frames}
        everything = [f for f in source.frames if f.header.path == frames[0].header.path]
        shared = Dataset()
        shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = measures, orientation
        images[0].SharedFunctionalGroupsSequence = [shared]
        groups = []
        for frame in everything:
            group, place = Dataset(), frame.position if frame.number in here else [ELSEWHERE] * 3
            group.PlanePositionSequence = highdicom.PlanePositionSequence("PATIENT", place)
            groups.append(group)
        images[0].PerFrameFunctionalGroupsSequence = groups
        images[0].NumberOfFrames = len(groups)
    return images


def frame_of_reference(source: Source) -> str:
    """Return the FrameOfReferenceUID of a scan; where its files lack it, one of its series'."""
    given = source.header.get("FrameOfReferenceUID")
    return str(given or uid_of("frame of reference", source.header.SeriesInstanceUID))


def thickness_of(header: Dataset) -> float | None:
    """Return the SliceThickness (mm) of a header, wherever it stands; None when nowhere."""
    shared = header.get("SharedFunctionalGroupsSequence") or [Dataset()]
    single = header.get("PerFrameFunctionalGroupsSequence") or [Dataset()]
    for place in (
        header,
        *(g.get("PixelMeasuresSequence", [{}])[0] for g in (shared[0], single[0])),
    ):
        if place.get("SliceThickness"):
            return abs(float(place.get("SliceThickness")))
    return None


def check_written(part: Path, mask: Volume, name: str) -> None:
    """Read a SEG back, and refuse it unless it is the mask, voxel by voxel.

    Raises
    ------
    OutputError
    """
    found = read_labels(part, mask)
    if not same_labels(found.array, mask.array) or not np.array_equal(found.affine, mask.affine):
        raise OutputError(
            f"{WHAT} of {name} was not written: read back, its voxels were not those of the mask."
        )


def same_labels(found: NDArray[Any], wanted: NDArray[Any]) -> bool:
    """Tell whether two label maps are equal, whatever their types."""
    return found.shape == wanted.shape and bool((found == wanted).all())
