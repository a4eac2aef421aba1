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
        When a format is unknown, the case's name cannot name a file, or the disk refuses.
    """
    check_formats(formats)
    case_id = prediction.case_id
    if not case_id or case_id.startswith(".") or set(case_id) & set('/\\:*?"<>|\0\n\r'):
        raise OutputError(f"A case called {case_id!r} cannot name a file: give it another case_id.")
    files = {}
    for kind in formats:
        suffix, writer = WRITERS[kind]
        path = Path(folder) / f"{case_id}{suffix}"
        try:
            files[kind] = writer(prediction, study, path)
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
