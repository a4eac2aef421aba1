"""DICOM SEG files: what their segments are, where each frame lies, and the frames' pixels.

Binary, fractional and label map segmentations (PS3.3 A.51 and A.91, C.8.20). Knows nothing of the
scan that was segmented: `medvision.io.labels` puts the frames on its grid.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_color_lut, get_decoder
from pydicom.uid import UID, ImplicitVRLittleEndian

from medvision.errors import DecodeError
from medvision.geometry import check_affine, flip_ras_lps
from medvision.io.dicom.referenced import Referenced
from medvision.io.placing import Plane
from medvision.volume import Label, SeriesInfo

SEG_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")
MAX_FRAMES = 100_000
CODE_VALUES = ("CodeValue", "LongCodeValue", "URNCodeValue")
D65 = (0.95047, 1.0, 1.08883)  # white point of sRGB
XYZ_TO_RGB = np.array(  # IEC 61966-2-1
    [
        [3.2404542, -1.5371385, -0.4985314],
        [-0.9692660, 1.8760108, 0.0415560],
        [0.0556434, -0.2040259, 1.0572252],
    ]
)


@dataclass(frozen=True)
class Segmentation:
    """A SEG file: its segments, and its frames with their places."""

    path: Path
    data: Dataset
    kind: str  # one of KINDS
    labels: tuple[Label, ...]  # by segment number
    planes: tuple[Plane, ...]  # one a frame, in the order of the file
    numbers: tuple[int, ...]  # segment number of each frame; empty in a label map
    step_mm: float | None  # between slices, as declared
    most: int  # stored value of a whole fraction
    background: int  # stored value that stands for no segment
    syntax: UID  # transfer syntax
    referenced: Referenced
    info: SeriesInfo

    def frames(self) -> Iterator[tuple[Plane, int, NDArray[Any]]]:
        """Yield the place, segment number (0 in a label map) and pixels of each frame.

        Pixels are (columns, rows): 0 or 1; 0 to 1 in float32; or segment numbers, 0 where there
        is none.

        Raises
        ------
        DecodeError
            When pixels are missing, damaged, or not what the file says they are.
        """
        pixels = self.stored()
        for n, plane in enumerate(self.planes):
            stored = next(pixels)
            if stored.shape != (plane.rows, plane.columns):
                raise DecodeError(f"{self.path}: frame {n + 1} has the shape {stored.shape}.")
            yield plane, self.numbers[n] if self.numbers else 0, self.values(stored.T)

    def stored(self) -> Iterator[NDArray[Any]]:
        """Yield the stored pixels of each frame, (rows, columns)."""
        frames: Iterator[NDArray[Any]] | None = None
        for n in range(len(self.planes)):
            with warnings.catch_warnings():  # pydicom's words may repeat a value: not for logs
                warnings.simplefilter("ignore")
                try:
                    frames = frames or decoded(self.data, self.syntax)
                    frame = next(frames)
                except Exception:  # pydicom and its plugins raise errors of many kinds
                    raise DecodeError(
                        f"{self.path}: frame {n + 1} of {len(self.planes)} ({self.syntax.name}) is "
                        "missing, cut short, damaged, or needs a decoder: "
                        "pip install 'medvision-toolkit[dicom]'"
                    ) from None
            yield frame

    def values(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return what stored pixels stand for (PS3.3 C.8.20.2.3)."""
        if self.kind == "BINARY":
            return np.asarray(stored != 0)
        if self.kind == "FRACTIONAL":
            if stored.max() > self.most:
                raise DecodeError(
                    f"{self.path} holds {stored.max()}; its MaximumFractionalValue is {self.most}."
                )
            return stored.astype(np.float32) / np.float32(self.most)
        found = np.where(stored == self.background, 0, stored) if self.background else stored
        unknown = set(np.unique(found).tolist()) - {0} - {label.value for label in self.labels}
        if unknown:
            raise DecodeError(
                f"{self.path} holds the value {min(unknown)}, which none of its segments has."
            )
        return found


def decoded(data: Dataset, syntax: UID) -> Iterator[NDArray[Any]]:
    """Yield the stored pixels of each frame, (rows, columns), one at a time."""
    if int(data.BitsAllocated) == 1 and not syntax.is_encapsulated:
        # PS3.5 8.1.1: frames follow each other bit by bit; pydicom 3.0 cannot take one of them
        # out where it spans a byte more than its bits fill
        packed = np.frombuffer(data.PixelData, dtype=np.uint8)
        size = int(data.Rows) * int(data.Columns)
        for start in range(0, size * int(data.get("NumberOfFrames") or 1), size):
            some = packed[start // 8 : -(-(start + size) // 8)]
            bits = np.unpackbits(some, bitorder="little")[start % 8 :][:size]
            yield bits.reshape(int(data.Rows), int(data.Columns))
    else:
        for frame, _ in get_decoder(syntax).iter_array(data, raw=True):
            yield frame


def read_dataset(path: Path) -> Dataset:
    """Read a whole file through pydicom, quietly.

    Raises
    ------
    DecodeError
        When pydicom cannot.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = dcmread(path, force=True)
            if "TransferSyntaxUID" not in data.file_meta:
                data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian  # PS3.5 10.1
        except Exception:  # pydicom raises errors of many kinds
            raise DecodeError(f"{path} is cut short or damaged: it cannot be parsed.") from None
    return data


@contextmanager
def told_as(path: Path, what: str) -> Iterator[None]:
    """Raise whatever goes wrong in reading a data set's elements as a `DecodeError`, quietly."""
    with warnings.catch_warnings():  # pydicom's words may repeat a value: not for logs
        warnings.simplefilter("ignore")
        try:
            yield
        except DecodeError:
            raise
        except Exception as error:  # a missing element, a wrong type, an unparsable value
            raise DecodeError(
                f"{path} is no usable {what}: an element is missing or damaged "
                f"({type(error).__name__})."
            ) from None


def read_seg(path: Path) -> Segmentation:
    """Read a SEG file, but not yet its pixels.

    Raises
    ------
    DecodeError
        When it lacks what a segmentation must have, or contradicts itself.
    """
    data = read_dataset(path)
    with told_as(path, "segmentation"):
        return segmentation_of(path, data)


def segmentation_of(path: Path, data: Dataset) -> Segmentation:
    """Return what a SEG file says of its segments and frames."""
    kind = str(data.get("SegmentationType", "LABELMAP"))
    if kind not in KINDS:
        raise DecodeError(f"{path}: its SegmentationType is none of {', '.join(KINDS)}.")
    groups = list(data.get("PerFrameFunctionalGroupsSequence") or [])
    count = int(data.get("NumberOfFrames") or 1)
    if not 1 <= count <= MAX_FRAMES or len(groups) != count:
        raise DecodeError(f"{path} holds {count} frames and the places of {len(groups)}.")
    shared = list(data.get("SharedFunctionalGroupsSequence") or [])
    background = int(data.get("PixelPaddingValue") or 0) if kind == "LABELMAP" else 0
    labels = tuple(
        label_of(segment, data)
        for segment in data.SegmentSequence
        if int(segment.SegmentNumber) != background
    )
    known = [label.value for label in labels]
    if not known or len(set(known)) != len(known) or min(known) < 1:
        raise DecodeError(f"{path}: its segments have the numbers {known}; 1, 2… are expected.")
    numbers = () if kind == "LABELMAP" else tuple(segment_number(g, shared, known) for g in groups)
    if set(numbers) - set(known):
        raise DecodeError(
            f"{path}: frames of segment {min(set(numbers) - set(known))}, which is not described."
        )
    measures = functional_group("PixelMeasuresSequence", groups[0], shared)
    step = measures.get("SpacingBetweenSlices") or measures.get("SliceThickness")
    return Segmentation(
        path=path,
        data=data,
        kind=kind,
        labels=labels,
        planes=tuple(plane_of(group, shared, data, path) for group in groups),
        numbers=numbers,
        step_mm=abs(float(step)) if step else None,
        most=int(data.get("MaximumFractionalValue") or 255),
        background=background,
        syntax=UID(str(data.file_meta.TransferSyntaxUID)),
        referenced=Referenced(
            tuple(str(s.SeriesInstanceUID) for s in data.get("ReferencedSeriesSequence") or []),
            str(data.get("FrameOfReferenceUID") or ""),
        ),
        info=SeriesInfo(
            modality="SEG",
            description=str(data.get("SeriesDescription") or ""),
            study_uid=str(data.get("StudyInstanceUID") or ""),
            series_uid=str(data.get("SeriesInstanceUID") or ""),
            space="scanner",
            sources=(path,),
        ),
    )


def functional_group(name: str, group: Dataset, shared: list[Dataset]) -> Dataset:
    """Return a frame's functional group, or that of all frames (PS3.3 C.7.6.16); else empty."""
    for where in (group, *shared):
        if where.get(name):
            return where[name].value[0]
    return Dataset()


def segment_number(group: Dataset, shared: list[Dataset], known: list[int]) -> int:
    """Return the segment that a frame is of."""
    found = functional_group("SegmentIdentificationSequence", group, shared)
    if "ReferencedSegmentNumber" not in found and len(known) == 1:
        return known[0]
    return int(found.ReferencedSegmentNumber)


def plane_of(group: Dataset, shared: list[Dataset], data: Dataset, path: Path) -> Plane:
    """Return where a frame lies (PS3.3 C.7.6.2.1.1)."""
    position = functional_group("PlanePositionSequence", group, shared)
    orientation = functional_group("PlaneOrientationSequence", group, shared)
    measures = functional_group("PixelMeasuresSequence", group, shared)
    if "ImagePositionPatient" not in position or "ImageOrientationPatient" not in orientation:
        raise DecodeError(
            f"{path}: its frames do not say where they lie in the patient (PlanePositionSequence, "
            "PlaneOrientationSequence)."
        )
    row, column = np.reshape(np.array(orientation.ImageOrientationPatient, float), (2, 3))
    between_rows, between_columns = (float(mm) for mm in measures.PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0] = row * between_columns
    affine[:3, 1] = column * between_rows
    affine[:3, 2] = np.cross(row, column)  # 1 mm: a frame has no thickness here
    affine[:3, 3] = np.array(position.ImagePositionPatient, float)
    return Plane(check_affine(flip_ras_lps(affine)), int(data.Columns), int(data.Rows))


def label_of(segment: Dataset, data: Dataset) -> Label:
    """Return the number, name, color and code of a segment."""
    number = int(segment.SegmentNumber)
    lab = segment.get("RecommendedDisplayCIELabValue")
    color = rgb_of_lab(lab) if lab is not None and len(lab) == 3 else palette_color(data, number)
    name = str(segment.get("SegmentLabel") or "").strip() or f"segment {number}"
    return Label(number, name, color, code_of(segment.get("SegmentedPropertyTypeCodeSequence")))


def code_of(sequence: Any) -> str:
    """Return the first code of a sequence as ``scheme:value`` (PS3.3 8.1); empty when absent."""
    if not sequence:
        return ""
    code = sequence[0]
    value = next((code[n].value for n in CODE_VALUES if code.get(n)), "")
    scheme = str(code.get("CodingSchemeDesignator") or "")
    return f"{scheme}:{value}" if scheme and value else str(value)


def rgb_of_lab(stored: Any) -> tuple[int, int, int]:
    """Return the sRGB color of a CIELab color as DICOM stores it.

    PS3.3 C.10.7.1.1: 16 bits over L* 0 to 100, a* and b* −128 to 127. The standard means the
    profile connection space of ICC, whose white is D50; those who write SEG (DCMTK, dcmqi,
    highdicom) take the white of sRGB, D65, which is what gives their colors back.

    Examples
    --------
    >>> rgb_of_lab((65535, 32896, 32896))
    (255, 255, 255)
    """
    scaled = np.array([int(v) for v in stored]) / 65535.0
    lightness, a, b = scaled * (100, 255, 255) - (0, 128, 128)
    y = (lightness + 16) / 116
    f = np.array([y + a / 500, y, y - b / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * D65
    linear = np.clip(XYZ_TO_RGB @ xyz, 0, 1)
    gamma = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = np.rint(gamma * 255).astype(int).tolist()
    return red, green, blue


def palette_color(data: Dataset, number: int) -> tuple[int, int, int] | None:
    """Return the color that the file's palette gives a value; None without a palette."""
    if data.get("PhotometricInterpretation") != "PALETTE COLOR":
        return None
    color = apply_color_lut(np.array([[number]], dtype=np.uint16), data)
    eight = color if color.dtype == np.uint8 else color >> 8
    red, green, blue = eight.reshape(-1)[:3].tolist()
    return red, green, blue
