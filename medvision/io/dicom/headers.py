"""What a DICOM file says of itself, without its pixels and without the patient's identity."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from pydicom.uid import UID

from medvision.errors import DecodeError
from medvision.io.dicom.elements import Elements, PixelData
from medvision.io.dicom.suv import pet_unit

MAX_SIDE = 1 << 16  # pixels: Rows and Columns are 16-bit numbers


@dataclass(frozen=True)
class Coding:
    """How the stored pixels of a file are coded (PS3.3 C.7.6.3, PS3.5 8)."""

    path: Path
    syntax: str  # UID of the transfer syntax
    rows: int
    columns: int
    frames: int
    samples: int  # values a pixel
    photometric: str
    planar: bool  # whether colors lie plane by plane
    allocated: int  # bits
    stored: int  # bits
    high_bit: int
    signed: bool
    big_endian: bool
    where: PixelData | None
    offsets: tuple[int, ...] = ()  # of frames: Extended Offset Table (PS3.3 C.7.6.3.1.8)
    lut: bool = False  # whether a table turns stored values into values (PS3.3 C.11.1)

    @property
    def syntax_name(self) -> str:
        """The transfer syntax in words, as far as it is known."""
        return str(UID(self.syntax, validation_mode=0).name)  # 0: no warning of odd ones


@dataclass(frozen=True)
class Header:
    """One file; lengths in mm, directions and positions in DICOM's LPS."""

    path: Path
    study_uid: str
    series_uid: str
    instance_uid: str
    sop_class: str
    series_number: int | None
    instance_number: int
    description: str
    modality: str
    manufacturer: str  # lower case
    image_type: tuple[str, ...]
    contrast: bool  # whether an agent is named; its text may hold more
    patient_orientation: tuple[str, ...]  # where rows and columns lead, in letters
    imager_spacing: tuple[float, ...] | None  # between rows, between columns, at the detector
    window: tuple[float, float] | None  # center, width
    unit: str
    padding: tuple[float, float] | None  # lowest and highest stored value that means nothing
    coding: Coding

    @property
    def color(self) -> bool:
        """Whether a pixel is red, green and blue."""
        return self.coding.samples > 1 or self.coding.photometric == "PALETTE COLOR"

    @property
    def inverted(self) -> bool:
        """Whether high values mean dark, and nothing else."""
        return self.coding.photometric == "MONOCHROME1" and self.modality not in ("CT", "PT")


@dataclass(frozen=True)
class Frame:
    """One slice: where it lies, and where in its file its pixels are."""

    header: Header
    number: int  # frame of the file, from 0
    tile: int | None  # tile of a mosaic, from 0
    rows: int
    columns: int
    position: tuple[float, ...] | None  # x, y, z of the first pixel's center
    cosines: tuple[float, ...] | None  # along a row, then along a column
    pixel_spacing: tuple[float, ...] | None  # between rows, between columns
    slice_step: float | None  # SpacingBetweenSlices, else SliceThickness
    order: tuple[float, ...]  # what comes first in its series
    volume: tuple[float, ...] = ()  # which volume of its series it says that it belongs to
    traits: tuple[tuple[str, str], ...] = ()  # what slices of one volume have in common, in words
    rescale: tuple[float, float] = (1.0, 0.0)  # slope, intercept
    scale: float | None = None  # Philips: stored value over signal
    seconds: float | None = None  # when it was taken; only differences mean something
    b_value: float | None = None  # s/mm²
    b_vector: tuple[float, ...] | None = None  # direction of the gradient

    @property
    def name(self) -> str:
        """How an error names it: the file, and which frame of it."""
        file = self.header.path.name
        if self.tile is not None:
            return f"{file} (tile {self.tile + 1})"
        return file if self.header.coding.frames == 1 else f"{file} (frame {self.number + 1})"


@dataclass(frozen=True)
class NoImage:
    """A DICOM file that is no image: a segmentation, a structure set, a report, a plan."""

    path: Path
    role: str  # labels, report or other
    study_uid: str
    series_uid: str
    series_number: int | None
    modality: str
    description: str


ROLES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "labels",  # Segmentation
    "1.2.840.10008.5.1.4.1.1.66.7": "labels",  # Label Map Segmentation
    "1.2.840.10008.5.1.4.1.1.481.3": "labels",  # RT Structure Set
}
REPORTS = "1.2.840.10008.5.1.4.1.1.88."  # every structured report


def no_image_of(data: Elements) -> NoImage | None:
    """Return what a file is when it is no image, by its SOP class (PS3.4 B.5); else None."""
    sop_class = data.text("SOPClassUID")
    role = ROLES.get(sop_class, "report" if sop_class.startswith(REPORTS) else "")
    if not role and "Rows" in data and "Columns" in data:
        return None
    return NoImage(
        path=data.path,
        role=role or "other",
        study_uid=data.text("StudyInstanceUID"),
        series_uid=data.text("SeriesInstanceUID"),
        series_number=data.whole("SeriesNumber"),
        modality=data.text("Modality"),
        description=data.text("SeriesDescription"),
    )


def header_of(data: Elements) -> Header:
    """Return what a whole file says once.

    Raises
    ------
    DecodeError
        When an element is not what it must be.
    """
    center, width = data.first("WindowCenter"), data.first("WindowWidth")
    return Header(
        path=data.path,
        study_uid=data.text("StudyInstanceUID"),
        series_uid=data.text("SeriesInstanceUID"),
        instance_uid=data.text("SOPInstanceUID"),
        sop_class=data.text("SOPClassUID"),
        series_number=data.whole("SeriesNumber"),
        instance_number=data.whole("InstanceNumber") or 0,
        description=data.text("SeriesDescription"),
        modality=data.text("Modality"),
        manufacturer=data.text("Manufacturer").lower(),
        image_type=data.texts("ImageType"),
        contrast=bool(data.text("ContrastBolusAgent")),
        patient_orientation=data.texts("PatientOrientation"),
        imager_spacing=data.numbers("ImagerPixelSpacing", 2),
        window=(center, width) if center is not None and width and width > 0 else None,
        unit=unit_of(data),
        padding=padding_of(data),
        coding=coding_of(data),
    )


def coding_of(data: Elements) -> Coding:
    """Return how the pixels of a file are coded."""
    allocated = data.whole("BitsAllocated") or 16
    stored = data.whole("BitsStored") or allocated
    coding = Coding(
        path=data.path,
        syntax=data.syntax,
        rows=data.whole("Rows") or 0,
        columns=data.whole("Columns") or 0,
        frames=data.whole("NumberOfFrames") or 1,
        samples=data.whole("SamplesPerPixel") or 1,
        photometric=data.text("PhotometricInterpretation"),
        planar=data.whole("PlanarConfiguration") == 1,
        allocated=allocated,
        stored=min(stored, allocated),
        high_bit=(data.whole("HighBit") or stored - 1),
        signed=data.whole("PixelRepresentation") == 1,
        big_endian=data.big_endian,
        where=data.pixel_data,
        offsets=offsets_of(data),
        lut=bool(data.items("ModalityLUTSequence")),
    )
    if not (0 < coding.rows <= MAX_SIDE and 0 < coding.columns <= MAX_SIDE):
        raise DecodeError(
            f"{data.path}: its image has {coding.columns} columns and {coding.rows} rows."
        )
    return coding


def offsets_of(data: Elements) -> tuple[int, ...]:
    """Return where each frame begins, in bytes after the first fragment; empty where not told."""
    value = data.raw("ExtendedOffsetTable")[1]
    return struct.unpack_from(f"<{len(value) // 8}Q", value)


def padding_of(data: Elements) -> tuple[float, float] | None:
    """Return the range of stored values that stand for nothing (PS3.3 C.7.5.1.1.2)."""
    first, last = data.first("PixelPaddingValue"), data.first("PixelPaddingRangeLimit")
    if first is None:
        return None
    last = first if last is None else last
    return min(first, last), max(first, last)


def unit_of(data: Elements) -> str:
    """Return the unit of the values: ``"HU"`` for CT by definition, that of PET as it says.

    DICOM PS3.3 C.8.2.1.1: CT of image type ORIGINAL is in Hounsfield units after rescaling, unless
    the file says otherwise.
    """
    said, modality = data.text("RescaleType"), data.text("Modality")
    if modality == "RTDOSE":
        return "Gy" if data.text("DoseUnits") == "GY" else ""
    if modality == "PT":
        return pet_unit(data)
    if modality == "CT":
        return "HU" if said in ("", "HU") else "" if said == "US" else said
    return ""
