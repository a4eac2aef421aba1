"""Predictions to files. Knows nothing of models; `batch` and the faces join the two."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from medvision.errors import OutputError
from medvision.files import write_text
from medvision.outputs.nifti import save_nifti
from medvision.outputs.overlay import save_overlay
from medvision.prediction import Prediction
from medvision.study import Study

Writer = Callable[[Prediction, Study, Path], Path]


def write_mask(prediction: Prediction, study: Study, path: Path) -> Path:
    """Write the mask as NIfTI, on exactly the grid of the scan."""
    return save_nifti(prediction.mask, path)


def write_measurements(prediction: Prediction, study: Study, path: Path) -> Path:
    """Write the measurements as JSON."""
    return write_text(path, json.dumps(prediction.to_dict(), indent=2) + "\n")


RESERVED = ("run", "results")  # run.json and results.csv stand beside the results
WRITERS: Mapping[str, tuple[str, Writer]] = {  # kind → (suffix, writer)
    "nifti": (".nii.gz", write_mask),
    "json": (".json", write_measurements),
    "overlay": (".png", save_overlay),
}


def write_outputs(
    prediction: Prediction,
    study: Study,
    folder: str | Path,
    formats: Sequence[str] = tuple(WRITERS),
) -> dict[str, Path]:
    """Write a prediction into a folder, named after its case.

    Parameters
    ----------
    prediction : Prediction
    study : Study
        The study it was made of; pictures show its scan.
    folder : str or Path
    formats : sequence of str
        Keys of `WRITERS`: ``"nifti"``, ``"json"``, ``"overlay"``.

    Returns
    -------
    dict of str to Path
        One file a format; each is whole or absent.

    Raises
    ------
    OutputError
        When a format is unknown, the case's name cannot name a file, a result would replace the
        scan, or the disk refuses.
    """
    check_formats(formats)
    case_id = prediction.case_id
    bad = set(case_id) & set('/\\:*?"<>|\0\n\r') or case_id.startswith(".")
    if not case_id or bad or case_id.lower() in RESERVED:
        raise OutputError(f"A case called {case_id!r} cannot name a file: give it another case_id.")
    targets = {kind: Path(folder) / f"{case_id}{WRITERS[kind][0]}" for kind in formats}
    scans = {source.resolve() for v in study.volumes.values() for source in v.info.sources}
    for path in targets.values():
        if path.resolve() in scans:
            raise OutputError(f"{path} is the scan itself: name another folder for the results.")
    files = {}
    for kind, path in targets.items():
        try:
            files[kind] = WRITERS[kind][1](prediction, study, path)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from None
    return files


def check_formats(formats: Sequence[str]) -> None:
    """Raise `OutputError` for a format that no writer writes."""
    unknown = [kind for kind in formats if kind not in WRITERS]
    if unknown or not formats:
        raise OutputError(
            f"Unknown output {', '.join(map(repr, unknown)) or '(none given)'}. "
            f"Choose from: {', '.join(WRITERS)}."
        )
