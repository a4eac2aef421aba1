"""Predictions to files. Knows nothing of models; `batch` and the faces join the two."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medvision.errors import OutputError, require_extra
from medvision.files import write_text
from medvision.outputs.measurements import save_measurements
from medvision.outputs.nifti import save_nifti
from medvision.outputs.overlay import save_overlay
from medvision.outputs.sc import WHAT as SC
from medvision.outputs.sc import save_sc
from medvision.outputs.seg import WHAT as SEG
from medvision.outputs.seg import save_labelmap, save_seg
from medvision.outputs.source import check_source
from medvision.outputs.sr import WHAT as SR
from medvision.outputs.sr import save_sr
from medvision.outputs.summary import save_summary
from medvision.outputs.table import series_of
from medvision.outputs.uncertainty import SUFFIX, UNCERTAINTY, save_uncertainty
from medvision.prediction import Prediction
from medvision.spec import TASKS, Task
from medvision.study import Study


@dataclass(frozen=True)
class Writer:
    """A kind of file.

    Parameters
    ----------
    suffix : str
        End of its name.
    write : callable
        Writes it.
    tasks : tuple of Task
        The tasks whose results it can hold.
    usual : bool
        Whether it is written where no format is asked for.
    dicom : str
        What it is called where it is written beside DICOM files, and of none else; else empty.
    """

    suffix: str
    write: Callable[[Prediction, Study, Path], Path]
    tasks: tuple[Task, ...] = TASKS
    usual: bool = True
    dicom: str = ""


def write_mask(prediction: Prediction, study: Study, path: Path) -> Path:
    """Write the mask as NIfTI, on exactly the grid of the scan."""
    if prediction.mask is None:
        raise OutputError(f"{prediction.case_id} has no mask to write: it is a classification.")
    return save_nifti(prediction.mask, path)


def write_json(prediction: Prediction, study: Study, path: Path) -> Path:
    """Write the measurements, or the classes' probabilities, as JSON, and of which series."""
    said = {"case_id": prediction.case_id, **series_of(study), **prediction.to_dict()}
    return write_text(path, json.dumps(said, indent=2) + "\n")


RESERVED = ("run", "results", "report")  # run.json, results.csv, report.html stand beside them
WRITERS: Mapping[str, Writer] = {
    "nifti": Writer(".nii.gz", write_mask, ("segmentation",)),
    "json": Writer(".json", write_json),
    "overlay": Writer(".png", save_overlay),
    "csv": Writer(".csv", save_measurements, usual=False),
    "html": Writer(".html", save_summary, usual=False),
    "seg": Writer("_seg.dcm", save_seg, ("segmentation",), False, SEG),
    "seg-labelmap": Writer("_labelmap.dcm", save_labelmap, ("segmentation",), False, SEG),
    "sr": Writer("_sr.dcm", save_sr, usual=False, dicom=SR),  # after seg, to which it refers
    "sc": Writer("_sc.dcm", save_sc, usual=False, dicom=SC),
    UNCERTAINTY: Writer(SUFFIX, save_uncertainty, ("segmentation",), usual=False),
}


def write_outputs(
    prediction: Prediction,
    study: Study,
    folder: str | Path,
    formats: Sequence[str] = (),
) -> dict[str, Path]:
    """Write a prediction into a folder, named after its case.

    Parameters
    ----------
    prediction : Prediction
    study : Study
        The study it was made of; pictures show its scan.
    folder : str or Path
    formats : sequence of str
        Keys of `WRITERS`: ``"nifti"`` (of a segmentation), ``"json"``, ``"overlay"``; ``"csv"``,
        ``"html"`` and those of DICOM only when asked for: ``"seg"``, ``"seg-labelmap"`` (of a
        segmentation), ``"sr"``, ``"sc"``; and ``"uncertainty"``, of a segmentation that has the
        map. None given, the usual ones that fit the result.

    Returns
    -------
    dict of str to Path
        One file a format; each is whole or absent.

    Raises
    ------
    OutputError
        When a format is unknown or does not fit the result or the scan, the case's name cannot
        name a file, a result would replace the scan, or the disk refuses.
    MissingExtra
        When a format needs what is not installed.
    """
    formats = choose_formats(formats, prediction.task)
    case_id = prediction.case_id
    check_name(case_id)
    targets = {kind: Path(folder) / f"{case_id}{WRITERS[kind].suffix}" for kind in formats}
    scans = {source.resolve() for v in study.volumes.values() for source in v.info.sources}
    for path in targets.values():
        if path.resolve() in scans:
            raise OutputError(f"{path} is the scan itself: name another folder for the results.")
    files = {}
    for kind in sorted(targets, key=list(WRITERS).index):  # a report refers to what is there
        path = targets[kind]
        try:
            files[kind] = WRITERS[kind].write(prediction, study, path)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from None
    return files


def check_name(case_id: str) -> None:
    """Raise `OutputError` when a case's name cannot name the files of its results."""
    bad = set(case_id) & set('/\\:*?"<>|\0\n\r') or case_id.startswith(".")
    if not case_id or bad or case_id.lower() in RESERVED:
        raise OutputError(f"A case called {case_id!r} cannot name a file: give it another case_id.")


def check_formats(study: Study, formats: Sequence[str]) -> None:
    """Refuse what cannot be written of a study, before anything is predicted.

    Raises
    ------
    OutputError
        When a format is written beside DICOM files, and the scan has none.
    """
    for kind in formats:
        if WRITERS[kind].dicom:
            check_source(study.image, WRITERS[kind].dicom)


def choose_formats(formats: Sequence[str], task: Task) -> tuple[str, ...]:
    """Return the formats asked for, or without any the usual ones of a task.

    Raises
    ------
    OutputError
        For a format that no writer writes, or not of such a result.
    MissingExtra
        For one that needs what is not installed.
    """
    fitting = tuple(kind for kind, writer in WRITERS.items() if task in writer.tasks)
    for kind in formats:
        if kind not in fitting:
            why = f"A {task} has no output" if kind in WRITERS else "Unknown output"
            raise OutputError(f"{why} {kind!r}. Choose from: {', '.join(fitting)}.")
        if WRITERS[kind].dicom:
            require_extra("highdicom", "seg", WRITERS[kind].dicom)
    usual = tuple(kind for kind in fitting if WRITERS[kind].usual)
    return tuple(dict.fromkeys(formats)) or usual
