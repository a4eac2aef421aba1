"""The page View: one scan, what lies over it, and what a model says of it."""

from __future__ import annotations

import streamlit as st
from agreement import show_reference
from analyse import TYPED, WHOLE, choose_question, run_button
from notices import show_notices, told
from outcomes import explanation_of, show_answer
from overlays import Overlay, choose_overlays, overlays_of
from running import (
    Answer,
    Question,
    active_jobs,
    answer_to,
    asked_before,
    last_job,
    spec_of,
    stamp_of,
    watch,
)
from slices import show_slices
from sources import (
    OWN,
    Found,
    Source,
    facts_in_words,
    found,
    images_of,
    log,
    series_names,
    source_of,
    study_at,
)
from state import go, plain
from streamlit.delta_generator import DeltaGenerator
from viewer import Layer, heat_layer, show_viewer
from what_if import key_of, show_changes, show_what_if

from medvision import MedvisionError, Study, StudyRef, Volume
from medvision.geometry import BOXES, to_world
from medvision.render import focus_of
from medvision.volume import same_grid
from medvision.zoo import all_models


def show() -> None:
    """Draw the page."""
    all_found = found()
    if not all_found.studies:
        st.info(plain(all_found.problem or "There is no scan yet."))
        if st.button("Go to Browse, to upload one", type="primary"):
            go("Browse")
        return
    take_up_again()
    ref, source = choose_scan(all_found)
    study = study_at(ref, source)
    if st.session_state.get("viewed") != source:
        log("view", ref.case_id)
        st.session_state["viewed"] = source
    question = answer = None
    problem, active = "", active_jobs()
    try:  # a scan that no model takes can be looked at all the same
        question = choose_question(ref, source, study)
        answer = answer_to(question)
        run_button(question, ref, answer)
    except MedvisionError as error:
        problem = str(error)
    there = overlays_of(all_found, ref, source, study.image)
    overlays = choose_overlays(there, answer)
    watch(active)
    if question and (job := last_job(question)) and job.error:
        problem = f"{job.title}: {job.error}"
    if problem:
        st.error(told(problem))
    text = spec_of(question.model, stamp_of(question.model)).text if question else None
    if question is None or text is None:
        show_scan(ref, source, study, overlays, question, answer)
        if answer is not None:
            show_answer(answer)
            show_reference(answer, there)
        return
    left, right = st.columns([5, 4])
    with right:
        show_what_if(question, text, study, all_found)
        if answer is not None and answer.prediction.scores is not None:
            show_changes(answer, study)
    with left:
        show_scan(ref, source, study, overlays, question, answer)
    if answer is not None:
        show_answer(answer)


def take_up_again() -> None:
    """After the page was loaded anew: choose what the job in its address was asked."""
    if st.session_state.get("taken up"):
        return
    st.session_state["taken up"] = True
    job = asked_before()
    if job is None or not isinstance(job.key, Question):
        return
    asked = job.key
    names = {folder: name for name, folder in all_models(OWN).items()}
    if asked.model in names:
        st.session_state["model"] = names[asked.model]
    boxes = {str(box): name for name, box in BOXES.items()}
    where = WHOLE if asked.box is None else boxes.get(str(asked.box), TYPED)
    st.session_state["where"], st.session_state["typed"] = where, str(asked.box or "")
    st.session_state["boxed"] = asked.source.study
    st.session_state[key_of(asked.source)] = asked.report or ""


def choose_scan(all_found: Found, place: DeltaGenerator | None = None) -> tuple[StudyRef, Source]:
    """Let the user choose a study and one of its series, at the side unless a place is given."""
    place = place or st.sidebar
    refs = {ref.case_id: ref for ref in all_found.studies if images_of(ref)}
    if not refs:
        problems = [one.problem for ref in all_found.studies for one in ref.series if one.problem]
        raise MedvisionError("\n".join(problems) or "There is no image here.")
    if st.session_state.get("scan") not in refs:
        asked = st.query_params.get("scan", "")
        st.session_state["scan"] = asked if asked in refs else next(iter(refs))
    name = place.selectbox(f"Scan ({len(refs)})", list(refs), key="scan")
    st.query_params["scan"] = name
    ref = refs[name]
    images = series_names(images_of(ref))
    if len(images) == 1:
        return ref, source_of(ref)
    if st.session_state.get("series") not in images:
        asked = st.query_params.get("series", "")
        st.session_state["series"] = asked if asked in images else next(iter(images))
    label = place.selectbox(
        f"Series ({len(images)})",
        list(images),
        key="series",
        format_func=lambda one: f"{images[one].label}  {images[one].description}".strip(),
    )
    st.query_params["series"] = label
    return ref, source_of(ref, label)


def show_scan(
    ref: StudyRef,
    source: Source,
    study: Study,
    overlays: list[Overlay],
    question: Question | None,
    answer: Answer | None,
) -> None:
    """Show the scan in the viewer, and over it what was chosen."""
    image = study.image
    st.caption(f"**{plain(ref.case_id)}** · {plain(facts_in_words(image))}")
    show_notices(study, answer)
    layers = []
    for one in overlays:
        try:
            layers.append(one.layer())
        except MedvisionError as error:
            st.error(told(f"{one.title}: {error}"))
    layers += heat_of(answer)
    box = question.box if question else None
    seen = show_viewer(
        image,
        source,
        layers,
        start_of(image, overlays, answer),
        box=box,
        drawable=image.info.spacing_known and question is not None,
    )
    if seen is None:
        masks = [one.read() for one in overlays if not one.heat]
        fitting = [mask for mask in masks if same_grid(mask, image)]
        if len(fitting) < len(masks):
            st.info("A mask on another grid is not shown: it needs a browser with WebGL 2.")
        if len(masks) < len(overlays):
            st.info("An uncertainty map is not shown: it needs a browser with WebGL 2.")
        own = answer is not None and not answer.question.series
        prediction = answer.prediction if answer and own else None
        show_slices(image, source, fitting[-1] if fitting else None, prediction)
        return
    before = st.session_state.get("box seen", (None, None))
    if before != (source, seen.box):
        st.session_state["box seen"] = source, seen.box
        if seen.box is not None:
            st.session_state["moved box"] = str(seen.box)
            st.rerun()
        if before[0] == source:  # it was cleared
            st.session_state["cleared box"] = True
            st.rerun()


def heat_of(answer: Answer | None) -> list[Layer]:
    """Return the heat of an answer that was explained."""
    why = explanation_of(answer) if answer else None
    if answer is None or why is None:
        return []
    key = (answer.id, why.class_name)
    return [heat_layer(why.heat, f"Speaks for {why.class_name}", key)]


def start_of(image: Volume, overlays: list[Overlay], answer: Answer | None) -> list[float]:
    """Return the place in RAS mm to look at first: the middle of what was found, or of the scan."""
    grid, mask, region = image, None, None
    if answer is not None and any(one.answer is answer for one in overlays):
        mask, region = answer.prediction.mask, answer.prediction.region
        grid = mask or image  # which may be of another series
    elif answer is not None and not answer.question.series:
        region = answer.prediction.region
    upright = grid.reoriented("RAS")
    return [float(v) for v in to_world(upright.affine, focus_of(grid, mask, region))]
