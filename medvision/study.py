"""Study: what one model call looks at, named volumes and perhaps a report.

`StudyRef` and `SeriesRef` say what lies on the disk before a voxel of it is read. None of them
holds a patient's name, number or birth date.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from medvision.errors import SeriesError
from medvision.volume import Volume


@dataclass(frozen=True, repr=False)
class Study:
    """Named volumes of one patient visit.

    Parameters
    ----------
    case_id : str
        Name used for result files and rows; never a patient's name.
    volumes : mapping of str to Volume
        ``{"image": …}`` for a single series.
    report : str, optional
        Text of the radiology report.
    series : mapping of str to SeriesRef
        The series that each volume is of, where it was chosen among those of a `StudyRef`.
    """

    case_id: str
    volumes: Mapping[str, Volume]
    report: str | None = None
    series: Mapping[str, SeriesRef] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.volumes:
            raise SeriesError(f"Study {self.case_id!r} holds no volume.")

    def __repr__(self) -> str:
        """On one line, without voxels, paths or the report's words."""
        volumes = ", ".join(f"{name}={volume!r}" for name, volume in self.volumes.items())
        report = f", report of {len(self.report.split())} words" if self.report else ""
        return f"Study({self.case_id!r}, {volumes}{report})"

    @property
    def image(self) -> Volume:
        """The only volume, or the first of several: the reference, on whose grid results lie."""
        return next(iter(self.volumes.values()))


@dataclass(frozen=True)
class SeriesRef:
    """One series, or part of one, that could be read: its facts from headers alone.

    Parameters
    ----------
    label : str
        What ``--series`` takes: ``"3"``, ``"3.2"`` for a part, else the file's stem.
    files : tuple of Path
    format : {"dicom", "nifti", "itk", "raster"}
    role : {"image", "labels", "report", "other"}
        ``"labels"``: SEG, RTSTRUCT; ``"report"``: SR.
    uid, modality, description : str
    plane : str
        ``"axial"``, ``"coronal"`` or ``"sagittal"``, the nearest of the slices; empty when unknown.
    contrast : bool, optional
        Whether a contrast agent was given; None when the file does not say.
    shape : tuple of int
        (C, I, J, K); empty when the series makes no volume.
    spacing : tuple of float
        mm along i, j, k; empty when unknown.
    orientation : str
        Such as ``"LPS"``; empty when unknown.
    problem : str
        Why it cannot be read; empty when it can, as far as headers tell.
    notes : tuple of str
        What a reader would decide.
    """

    label: str
    files: tuple[Path, ...]
    format: str
    role: str = "image"
    uid: str = ""
    modality: str = ""
    description: str = ""
    plane: str = ""
    contrast: bool | None = None
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    orientation: str = ""
    problem: str = ""
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What the series is known by where its UID is no one's business; empty without one."""
        return digest_of(self.uid)

    def __str__(self) -> str:
        """As errors have it, which are kept: without text of its header, and without its UID."""
        what = ", ".join(filter(None, (self.modality, self.plane))) or "?"
        size = "×".join(map(str, self.shape)) or "unreadable"
        return f"{self.label:>6}  {what}, {size}, {len(self.files)} files"


@dataclass(frozen=True)
class StudyRef:
    """Where a study lies, and what its results will be called.

    Parameters
    ----------
    case_id : str
        Unique among what was found together; made of file and folder names.
    path : Path
        The file, or the folder that holds all its files, as the user named it.
    uid : str
        StudyInstanceUID; empty for other formats. Tells studies of one folder apart.
    patient : str
        Pseudonym: the same for all studies of one patient in one index, and nothing else.
    day : int, optional
        Days since the patient's first study in what was found together; None when unknown.
    series : tuple of SeriesRef
    reports : tuple of Path
        Files with report text that belong to the study.
    """

    case_id: str
    path: Path
    uid: str = ""
    patient: str = ""
    day: int | None = None
    series: tuple[SeriesRef, ...] = ()
    reports: tuple[Path, ...] = ()

    @property
    def key(self) -> str:
        """What results know the study by: a digest of its UID, which itself is no one's business.

        Empty without a UID. Whoever has the UID finds the results of its study.
        """
        return digest_of(self.uid)


def digest_of(uid: str) -> str:
    """Return a digest of a UID, which cannot be read back; empty without one."""
    return blake2b(uid.encode(), digest_size=12).hexdigest() if uid else ""
