"""Predictions to files. Knows nothing of models; `batch` and the faces join the two."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medvision.errors import OutputError
from medvision.files import write_text
from medvision.outputs.nifti import save_nifti
from medvision.outputs.overlay import save_overlay
from medvision.prediction import Prediction
from medvision.spec import TASKS, Task
from medvision.study import Study


@dataclass(frozen=True)
class Writer:
    """A kind of file: the end of its name, what writes it, and the tasks whose results it holds."""

    suffix: str
    write: Callable[[Prediction, Study, Path], Path]
    tasks: tuple[Task, ...] = TASKS


def write_mask(prediction: Prediction, study: Study, path: Path) -> Path:
    """Write the mask as NIfTI, on exactly the grid of the scan."""
    if prediction.mask is None:
        raise OutputError(f"{prediction.case_id} has no mask to write: it is a classification.")
    return save_nifti(prediction.mask, path)


def write_json(prediction: Prediction, study: Study, path: Path) -> Path:
    """Write the measurements, or the classes' probabilities, as JSON."""
    return write_text(path, json.dumps(prediction.to_dict(), indent=2) + "\n")


RESERVED = ("run", "results")  # run.json and results.csv stand beside the results
WRITERS: Mapping[str, Writer] = {
    "nifti": Writer(".nii.gz", write_mask, ("segmentation",)),
    "json": Writer(".json", write_json),
    "overlay": Writer(".png", save_overlay),
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
        Keys of `WRITERS`: ``"nifti"`` (of a segmentation), ``"json"``, ``"overlay"``. None
        given, all that fit the result.

    Returns
    -------
    dict of str to Path
        One file a format; each is whole or absent.

    Raises
    ------
    OutputError
        When a format is unknown or does not fit the result, the case's name cannot name a file, a
        result would replace the scan, or the disk refuses.
    """
    formats = choose_formats(formats, prediction.task)
    case_id = prediction.case_id
    bad = set(case_id) & set('/\\:*?"<>|\0\n\r') or case_id.startswith(".")
    if not case_id or bad or case_id.lower() in RESERVED:
        raise OutputError(f"A case called {case_id!r} cannot name a file: give it another case_id.")
    targets = {kind: Path(folder) / f"{case_id}{WRITERS[kind].suffix}" for kind in formats}
    scans = {source.resolve() for v in study.volumes.values() for source in v.info.sources}
    for path in targets.values():
        if path.resolve() in scans:
            raise OutputError(f"{path} is the scan itself: name another folder for the results.")
    files = {}
    for kind, path in targets.items():
        try:
            files[kind] = WRITERS[kind].write(prediction, study, path)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from None
    return files


def choose_formats(formats: Sequence[str], task: Task) -> tuple[str, ...]:
    """Return the formats asked for, or without any all that can hold the result of a task.

    Raises
    ------
    OutputError
        For a format that no writer writes, or not of such a result.
    """
    fitting = tuple(kind for kind, writer in WRITERS.items() if task in writer.tasks)
    for kind in formats:
        if kind not in fitting:
            why = f"A {task} has no output" if kind in WRITERS else "Unknown output"
            raise OutputError(f"{why} {kind!r}. Choose from: {', '.join(fitting)}.")
    return tuple(dict.fromkeys(formats)) or fitting
