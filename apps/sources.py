"""What can be looked at: the scans below the folder the app was started on, and uploads.

Nothing outside of the folder is read, wherever links lead. Uploads lie in a folder of their own,
and are deleted when their session ends.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import streamlit as st
from trail import Trail
from visitors import VAULT, visitor

from medvision import MedvisionError, Study, StudyRef, Volume, find_studies, read_study
from medvision.errors import SeriesError
from medvision.io.archive import check_upload, is_archive
from medvision.io.names import safe_name
from medvision.outputs.saved import Saved, find_saved, read_saved
from medvision.spec import InputSpec
from medvision.study import SeriesRef

ROOT = Path(os.environ.get("MEDVISION_ROOT", "."))
OWN = [Path(one) for one in os.environ.get("MEDVISION_MODELS", "").split(os.pathsep) if one]
TRAIL = os.environ.get("MEDVISION_TRAIL", "")
FRESH = 20  # seconds that a walk of the folder is taken for true
TYPES = ("nii", "gz", "zip", "png", "jpg", "jpeg", "tif", "tiff", "dcm", "mha", "nrrd", "mgz")


class Source(NamedTuple):
    """What tells a series from others, and from itself before it changed."""

    study: str  # its path and key
    series: str  # label; empty for the only one
    changed: float  # seconds


class Found(NamedTuple):
    """What lies below the root."""

    studies: tuple[StudyRef, ...]
    results: tuple[Saved, ...]
    rows: Mapping[str, tuple[tuple[Saved, Mapping[str, str]], ...]]  # by the study they are of
    problem: str = ""  # why there is nothing
    outside: int = 0  # studies that links lead out of the root for


@st.cache_resource(show_spinner=False)
def trail_at(path: str) -> Trail:
    """Return an audit log; none is kept where the path is empty."""
    return Trail(Path(path) if path else None)


def log(event: str, study: str, **details: str) -> None:
    """Add a line to the audit log."""
    trail_at(TRAIL).write(visitor(), event, study, **details)


@st.cache_resource(show_spinner="Looking for scans …", ttl=FRESH, max_entries=4)
def below(root: Path) -> Found:
    """Return the studies and results below a folder."""
    try:
        refs = find_studies(root)
        problem = ""
    except MedvisionError as error:
        refs, problem = [], str(error)
    inside = tuple(ref for ref in refs if within(ref, root))
    saved = []
    for folder in find_saved(root):
        try:
            saved.append(read_saved(folder))
        except MedvisionError:
            continue  # some other program's results.csv
    rows: dict[str, list[tuple[Saved, Mapping[str, str]]]] = {}
    for result in saved:
        for row, ref in zip(result.rows, result.studies_of(inside), strict=True):
            if ref is not None:
                rows.setdefault(ref.case_id, []).append((result, row))
    held = {case: tuple(its) for case, its in rows.items()}
    return Found(inside, tuple(saved), held, problem, len(refs) - len(inside))


def within(ref: StudyRef, root: Path) -> bool:
    """Tell whether all that a study is read from lies below a folder, links followed."""
    files = [ref.path, *ref.reports, *(file for one in ref.series for file in one.files)]
    return all(is_within(file, root) for file in files)


def is_within(path: Path, root: Path) -> bool:
    """Tell whether a path lies below a folder, links followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def from_root(text: str) -> str:
    """Return text with paths told from the root on."""
    return text.replace(f"{ROOT.resolve()}/", "").replace(f"{ROOT}/", "")


def found() -> Found:
    """Return what this visitor can look at: the folder's, and after them their own uploads."""
    everyone = below(ROOT)
    own = uploads()
    if own is None or not any(own.iterdir()):
        return everyone
    mine = below(own).studies
    taken = {ref.case_id for ref in everyone.studies}
    fresh = tuple(ref for ref in mine if ref.case_id not in taken)
    same = tuple(renamed(ref, taken) for ref in mine if ref.case_id in taken)
    return everyone._replace(studies=(*everyone.studies, *fresh, *same))


def renamed(ref: StudyRef, taken: set[str]) -> StudyRef:
    """Return a study under a name that is not taken."""
    name = f"uploaded_{ref.case_id}"
    while name in taken:
        name = f"uploaded_{name}"
    return replace(ref, case_id=name)


class Uploads:
    """A folder that is deleted with what holds it: the session of a visitor."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="upload-", dir=VAULT.folder))
        self.finalize = weakref.finalize(self, forget_later, self.folder)


def forget_later(folder: Path) -> None:
    """Forget uploads, in a thread of its own: this runs wherever Python collects its garbage."""
    try:
        threading.Thread(target=forget, args=(folder,)).start()
    except RuntimeError:  # Python ends
        shutil.rmtree(folder, ignore_errors=True)


def forget(folder: Path) -> None:
    """Delete uploads, and what was made of them."""
    shutil.rmtree(folder, ignore_errors=True)
    VAULT.drop(str(folder))
    study_at.clear()
    fed_study.cache_clear()


def uploads(make: bool = False) -> Path | None:
    """Return where this session's uploads lie; None where there are none, unless to be made."""
    if make and "uploads" not in st.session_state:
        st.session_state["uploads"] = Uploads()
    held = st.session_state.get("uploads")
    return held.folder if held is not None else None


def keep_upload(name: str, content: memoryview | bytes) -> list[StudyRef]:
    """Keep an uploaded file; returns the studies in it.

    Raises
    ------
    MedvisionError
        When it is no scan, or a zip beyond the limits; nothing of it is kept then.
    """
    folder = uploads(make=True)
    assert folder is not None
    home = folder / str(len(list(folder.iterdir())))  # names may repeat
    home.mkdir()
    place = home / safe_name(Path(name).name)
    place.write_bytes(content)
    try:
        if is_archive(place):
            check_upload(place)
        refs = find_studies(place, index=False)
        if not any(one.role == "image" and not one.problem for r in refs for one in r.series):
            problem = next((one.problem for r in refs for one in r.series if one.problem), "")
            raise SeriesError(problem or f"{name} holds no scan.")
    except MedvisionError as error:
        place.unlink(missing_ok=True)
        raise type(error)(str(error).replace(f"{home}/", "")) from None
    below.clear()
    return refs


def images_of(ref: StudyRef) -> list[SeriesRef]:
    """Return the series of a study that can be looked at."""
    return [one for one in ref.series if one.role == "image" and not one.problem]


def series_names(series: Sequence[SeriesRef]) -> dict[str, SeriesRef]:
    """Return series by what `read_study` takes: labels, or keys where labels are not unique."""
    labels = [one.label for one in series]
    return {one.label if labels.count(one.label) == 1 else one.key: one for one in series}


def source_of(ref: StudyRef, series: str = "") -> Source:
    """Return what tells a series of a study from others, and from itself before it changed."""
    files = [*(file for one in ref.series for file in one.files), *ref.reports]
    changed = max((file.stat().st_mtime for file in files if file.exists()), default=0.0)
    return Source(f"{ref.path} {ref.key}", series, changed)


@st.cache_resource(show_spinner="Reading the scan …", max_entries=6)
def study_at(_ref: StudyRef, source: Source) -> Study:
    """Read one series of a study."""
    return read_study(_ref, source.series or None)


@lru_cache(maxsize=4)
def fed_study(
    ref: StudyRef, source: Source, series: tuple[str, ...], inputs: tuple[InputSpec, ...]
) -> Study:
    """Read what feeds a model; `source` tells it from itself before it changed."""
    return read_study(ref, series or source.series or None, inputs=inputs)


def shown_path(path: Path) -> str:
    """Return a path from the root on, as a person should see it."""
    try:
        return str(path.resolve().relative_to(ROOT.resolve()))
    except ValueError:
        return path.name


def facts_in_words(image: Volume) -> str:
    """Return modality, description, size and voxels of a scan on one line."""
    about = [image.info.modality, image.info.description, " × ".join(map(str, image.shape))]
    if len(image.array) > 1 and image.info.channels:
        about.append(f"{len(image.array)} × {image.info.channels}")
    about.append(f"voxels {image.orientation}")
    if image.info.spacing_known:
        about.append(" × ".join(f"{mm:.3g}" for mm in image.spacing) + " mm")
    return " · ".join(filter(None, about))
