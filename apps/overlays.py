"""What can be laid over a scan: this visitor's answers, saved masks, DICOM SEG and RTSTRUCT.

Uncertainty maps, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import streamlit as st
from running import Answer, answers
from sources import ROOT, Found, Source, is_within, shown_path
from viewer import Layer, heat_layer, labels_layer, mask_layer

from medvision import MedvisionError, Prediction, StudyRef, Volume
from medvision.io import read_labels, read_volume
from medvision.io.nifti import is_nifti


@dataclass(frozen=True)
class Overlay:
    """A label map, or a map of values from 0 to 1, that can be laid over a scan.

    Parameters
    ----------
    title : str
    key : object
        What tells it from others.
    read : callable
        Returns its labels; those of an answer lie on the grid of the model's first input.
    answer : Answer, optional
        Where it is one.
    heat : bool
        Whether it is a map of values.
    of_study : bool
        Whether it is of the study itself, as a person's drawing is.
    """

    title: str
    key: object
    read: Callable[[], Volume]
    answer: Answer | None = None
    heat: bool = False
    of_study: bool = False

    @property
    def prediction(self) -> Prediction | None:
        """What a model said, where it is an answer."""
        return self.answer.prediction if self.answer else None

    def layer(self) -> Layer:
        """Return what the viewer draws."""
        if self.prediction is not None:
            return mask_layer(self.prediction, self.key)
        if self.heat:
            return heat_layer(self.read(), "Uncertainty", self.key)
        labels = self.read()
        colors = {one.value: one.color for one in labels.info.labels if one.color is not None}
        return labels_layer(labels, names_in(labels), self.title, self.key, colors=colors)


def names_in(labels: Volume) -> dict[int, str]:
    """Return what the values of a label map are called."""
    return {one.value: one.name for one in labels.info.labels}


def overlays_of(found: Found, ref: StudyRef, source: Source, scan: Volume) -> dict[str, Overlay]:
    """Return what can be laid over a scan, by its title: answers first, then what is saved."""
    every = []
    for one in reversed(answers(source)):
        if one.prediction.mask is not None:
            mask = one.prediction.mask
            every.append(Overlay(f"Mask of {one.name}", one.id, partial(same, mask), one))
        if one.prediction.uncertainty is not None:
            doubt = partial(same, one.prediction.uncertainty)
            every.append(Overlay(f"Uncertainty of {one.name}", (one.id, "doubt"), doubt, heat=True))
    for series in ref.series:
        if series.role == "labels" and not series.problem:
            words = f"{series.modality} {series.label} {series.description}".strip()
            every.append(replace(saved(words, series.files[0], scan, source), of_study=True))
    for result, row in found.rows.get(ref.case_id, ()):
        path = result.mask_of(row)
        if path and is_within(path, ROOT):
            every.append(saved(shown_path(path), path, scan, source))
        path = result.uncertainty_of(row)
        if path and is_within(path, ROOT):
            stamp = path.stat().st_mtime
            read = partial(values_at, path, stamp)
            every.append(Overlay(shown_path(path), (str(path), stamp, source), read, heat=True))
    for other in found.studies:
        for series in other.series:
            file = series.files[0] if series.files else Path()
            alike = series.shape[1:] == scan.shape and other is not ref
            if alike and is_nifti(file) and series.role == "image" and not series.problem:
                every.append(saved(shown_path(file), file, scan, source))
    titled: dict[str, Overlay] = {}
    for overlay in every:
        title, number = overlay.title, 2
        while title in titled:
            title, number = f"{overlay.title} ({number})", number + 1
        titled[title] = overlay
    return titled


def same(mask: Volume) -> Volume:
    """Return a mask that is there already."""
    return mask


def saved(title: str, path: Path, scan: Volume, source: Source) -> Overlay:
    """Return a label map that lies on the disk."""
    stamp = path.stat().st_mtime
    return Overlay(title, (str(path), stamp, source), lambda: labels_at(path, stamp, source, scan))


@st.cache_resource(show_spinner="Reading labels …", max_entries=6)
def labels_at(path: Path, stamp: float, source: Source, _scan: Volume) -> Volume:
    """Read labels onto the grid of a scan."""
    labels = read_labels(path, _scan)
    if labels.info.channels == "segment":
        raise MedvisionError(f"{path.name} holds segments that overlap: none is shown.")
    return labels


@st.cache_resource(show_spinner="Reading the map …", max_entries=6)
def values_at(path: Path, stamp: float) -> Volume:
    """Read a map of values, on its own grid."""
    return read_volume(path)


def choose_overlays(every: dict[str, Overlay], fresh: Answer | None) -> list[Overlay]:
    """Let the user choose what to lay over the scan; what was just found is chosen already."""
    titles = [title for title, one in every.items() if fresh and one.answer is fresh]
    if titles and fresh and st.session_state.get("fresh shown") != fresh.id:
        kept = [t for t in st.session_state.get("over", []) if t in every and t not in titles]
        st.session_state["over"] = [*kept, *titles]
        st.session_state["fresh shown"] = fresh.id
    st.session_state["over"] = [t for t in st.session_state.get("over", []) if t in every]
    if not every:
        return []
    chosen = st.sidebar.multiselect(
        "Overlay", list(every), key="over", placeholder="A mask, or another result"
    )
    return [every[title] for title in chosen]
