"""The side of View: which model is asked, what it takes, where it looks, and what it runs on."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st
from running import Answer, Question, active_jobs, ask, device_in_words, spec_of, stamp_of
from sources import OWN, Source, images_of, series_names
from viewer import identity_of
from what_if import report_now

from medvision import Box, Study, StudyRef, parse_box
from medvision.geometry import BOXES
from medvision.io.choose import best_fits, compare
from medvision.spec import ModelSpec
from medvision.study import SeriesRef
from medvision.zoo import all_models

WHOLE, TYPED = "the whole scan", "a box"
HINT = "Draw it in the viewer (button Box, or b), or type x0:x1,y0:y1,z0:z1 in RAS mm"


def choose_question(ref: StudyRef, source: Source, study: Study) -> Question:
    """Let the user choose what to ask a model of a scan.

    Raises
    ------
    MedvisionError
        When a typed box is none, or the study has no series that feeds an input.
    """
    side = st.sidebar
    models = all_models(OWN)
    if st.session_state.get("model") not in models:
        st.session_state["model"] = next(iter(models))
    model = models[side.selectbox("Model", list(models), key="model")]
    spec = spec_of(model, stamp_of(model))
    with side.expander("About this model"):
        st.markdown((model / "card.md").read_text(encoding="utf-8"))
    series = choose_series(ref, source, spec)
    box = choose_box(source, study)
    report = report_now(source, study) if spec.text is not None else None
    return Question(model, source, series, box, report)


def choose_series(ref: StudyRef, source: Source, spec: ModelSpec) -> tuple[str, ...]:
    """Let the user say which series feeds each input, where there is a choice."""
    images = series_names(images_of(ref))
    if len(images) < 2:
        return ()
    chosen: list[str] = []
    taken: dict[str, SeriesRef] = {}
    for one in spec.inputs:
        against = {name: compare(found, one)[1] for name, found in images.items()}
        fits = best_fits(ref, one, taken)
        preferred = next((name for name, found in images.items() if found in fits), None)
        if source.series and len(spec.inputs) == 1 and not against[source.series]:
            preferred = source.series  # what is looked at
        names = sorted(images, key=lambda name: bool(against[name]))
        key = f"series for {one.name} of {spec.name} in {identity_of(source)}"
        if st.session_state.get(key) not in names:
            st.session_state[key] = preferred or names[0]
        label = st.sidebar.selectbox(
            "Series it takes" if len(spec.inputs) == 1 else f"Series for {one.name}",
            names,
            key=key,
            format_func=lambda name: series_in_words(name, images, against),  # noqa: B023
        )
        taken[one.name] = images[label]
        chosen.append(label if len(spec.inputs) == 1 else f"{one.name}={label}")
    if chosen == [source.series]:
        return ()
    return tuple(chosen)


def series_in_words(
    name: str, images: Mapping[str, SeriesRef], against: Mapping[str, list[str]]
) -> str:
    """Return a series, and what speaks against it."""
    one = images[name]
    words = f"{one.label}  {one.description}".strip()
    return f"{words} ({', '.join(against[name])})" if against[name] else words


def choose_box(source: Source, study: Study) -> Box | None:
    """Let the user say which part of the scan a model is shown; None for all of it."""
    side = st.sidebar
    if not study.image.info.spacing_known:
        return None
    if st.session_state.get("boxed") != source.study:  # a box is one scan's own
        usual = next(iter(BOXES)) if study.image.info.space == "mni" else WHOLE
        st.session_state["where"], st.session_state["boxed"] = usual, source.study
    if drawn := st.session_state.pop("moved box", None):
        st.session_state["where"], st.session_state["typed"] = TYPED, drawn
    if st.session_state.pop("cleared box", False):
        st.session_state["where"] = WHOLE
    where = side.selectbox("Region", [WHOLE, *BOXES, TYPED], key="where")
    if where == WHOLE:
        return None
    if where != TYPED:
        return parse_box(where)
    if not st.session_state.get("typed"):
        st.session_state["typed"] = str(next(iter(BOXES.values())))
    typed = side.text_input("Box", key="typed", help=HINT)
    drawn = st.session_state.get("box seen", (None, None))[1]
    return drawn if typed == str(drawn) else parse_box(typed)  # the text is rounded


def run_button(question: Question, ref: StudyRef, answer: Answer | None) -> None:
    """Let the user ask."""
    side = st.sidebar
    busy = any(job.key == question for job in active_jobs())
    label = "Running …" if busy else "Run again" if answer else "Run"
    if side.button(label, type="primary", width="stretch", disabled=busy, key="run"):
        ask(question, ref)
        st.rerun()
    side.caption(f"On {device_in_words()}.")
