"""What a DICOM file says of itself, without its pixels and without the patient's identity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import UID

from medvision.io.dicom.elements import numbers, text, whole


@dataclass(frozen=True)
class Header:
    """One file; lengths in mm, directions and positions in DICOM's LPS."""

    path: Path
    study_uid: str
    series_uid: str
    instance_uid: str
    series_number: int | None
    instance_number: int
    description: str
    modality: str
    image_type: tuple[str, ...]
    rows: int
    columns: int
    frame_count: int
    samples: int
    photometric: str
    imager_spacing: tuple[float, ...] | None  # between rows, between columns, at the detector
    window: tuple[float, float] | None  # center, width
    unit: str
    syntax: str  # transfer syntax, in words

    @property
    def color(self) -> bool:
        """Whether a pixel is red, green and blue."""
        return self.samples > 1 or self.photometric == "PALETTE COLOR"

    @property
    def inverted(self) -> bool:
        """Whether high values mean dark, and nothing else."""
        return self.photometric == "MONOCHROME1" and self.modality not in ("CT", "PT")


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
    order: tuple[float, ...]  # what comes first among slices of one place
    rescale: tuple[float, float] | None = None  # slope, intercept; None: as the file says
    echo_ms: float | None = None
    part: str = ""  # M, P, R or I: magnitude, phase, real, imaginary
    b_value: float | None = None  # s/mm²
    b_vector: tuple[float, ...] | None = None  # direction of the gradient

    @property
    def name(self) -> str:
        """How an error names it: the file, and which frame of it."""
        file = self.header.path.name
        if self.tile is not None:
            return f"{file} (tile {self.tile + 1})"
        return file if self.header.frame_count == 1 else f"{file} (frame {self.number + 1})"


def header_of(path: Path, data: Dataset) -> Header:
    """Return what a whole file says once."""
    center, width = (numbers(path, data, name) for name in ("WindowCenter", "WindowWidth"))
    syntax = UID(str(getattr(data.file_meta, "TransferSyntaxUID", "")) or "1.2.840.10008.1.2")
    return Header(
        path=path,
        study_uid=text(data, "StudyInstanceUID"),
        series_uid=text(data, "SeriesInstanceUID"),
        instance_uid=text(data, "SOPInstanceUID"),
        series_number=whole(path, data, "SeriesNumber"),
        instance_number=whole(path, data, "InstanceNumber") or 0,
        description=text(data, "SeriesDescription"),
        modality=text(data, "Modality"),
        image_type=tuple(str(v) for v in data.get("ImageType") or ()),
        rows=whole(path, data, "Rows") or 0,
        columns=whole(path, data, "Columns") or 0,
        frame_count=whole(path, data, "NumberOfFrames") or 1,
        samples=whole(path, data, "SamplesPerPixel") or 1,
        photometric=text(data, "PhotometricInterpretation"),
        imager_spacing=numbers(path, data, "ImagerPixelSpacing", 2),
        window=(center[0], width[0]) if center and width and width[0] > 0 else None,
        unit=unit_of(data),
        syntax=syntax.name,
    )


def unit_of(data: Dataset) -> str:
    """Return ``"HU"`` for CT, whose values are so by definition, unless the file says otherwise.

    DICOM PS3.3 C.8.2.1.1: CT of image type ORIGINAL is in Hounsfield units after rescaling.
    """
    said = text(data, "RescaleType")
    if text(data, "Modality") == "CT":
        return "HU" if said in ("", "HU") else "" if said == "US" else said
    return ""
