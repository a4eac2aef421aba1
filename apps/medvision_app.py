"""The Streamlit page: choose a scan, look at it, run a model, look at the result.

Layout only: reading, predicting, measuring and drawing are medvision's verbs. Start it with
``medvision app FOLDER``.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import NamedTuple, TypeAlias

import streamlit as st
from viewer import mask_layer, show_viewer

from medvision import (
    Box,
    MedvisionError,
    Prediction,
    Predictor,
    Study,
    StudyRef,
    find_studies,
    load_predictor,
    parse_box,
    read_study,
    write_outputs,
)
from medvision.checkpoint import load_spec
from medvision.explain import explain
from medvision.explanation import Explanation
from medvision.geometry import BOXES, to_world
from medvision.outputs.explanation import explanation_html, heat_in_words, report_html
from medvision.prediction import in_percent
from medvision.render import (
    PLANES,
    display_window,
    focus_of,
    heat_panels,
    label_color,
    panel_side,
    plane_images,
)
from medvision.spec import BETWEEN
from medvision.text_spec import TextSpec
from medvision.volume import Volume, Window
from medvision.zoo import all_models

ROOT = Path(os.environ.get("MEDVISION_ROOT", "."))
OWN = [Path(one) for one in os.environ.get("MEDVISION_MODELS", "").split(os.pathsep) if one]
Source: TypeAlias = tuple[str, str, float]  # study, series, time stamp
WHOLE, TYPED = "the whole scan", "a box that I type"


class Answer(NamedTuple):
    """What a model said, and of what."""

    model: Path
    study: Study  # with the report that was given
    box: Box | None
    prediction: Prediction


@st.cache_resource(show_spinner="Loading the model …", max_entries=2)
def predictor_for(model: Path) -> Predictor:
    """Load the model in a folder once for all visitors."""
    return load_predictor(model)


@st.cache_resource(show_spinner="Reading the scan …", max_entries=4)
def study_at(_ref: StudyRef, source: Source) -> Study:
    """Read a scan; `source` tells it from others, and from itself before it changed."""
    return read_study(_ref, source[1] or None)


def main() -> None:
    """Draw the page."""
    st.set_page_config("medvision", page_icon="🧠", layout="wide")
    st.sidebar.title("medvision")
    st.sidebar.caption("Research use only, not a medical device.")
    try:
        study, source = choose_study()
        try:
            answer = analyse(study, source)
        except MedvisionError as error:  # a scan that no model takes can be looked at all the same
            st.error(str(error))
            answer = None
        show_scan(study, source, answer.prediction if answer else None)
        if answer is not None:
            show_result(answer.study, answer.prediction)
        if answer is not None and answer.prediction.task == "classification":
            show_explanation(answer)
    except MedvisionError as error:
        st.error(str(error))


def choose_study() -> tuple[Study, Source]:
    """Let the user choose a scan below the root; returns it and what tells it from others."""
    refs = {ref.case_id: ref for ref in find_studies(ROOT)}
    name = st.sidebar.selectbox(f"Scan ({len(refs)})", list(refs), key="scan")
    ref = refs[name]
    readable = [one for one in ref.series if one.role == "image" and not one.problem]
    labels = [one.label for one in readable]
    images = {s.label if labels.count(s.label) == 1 else s.uid: s for s in readable}
    label = ""
    if len(images) > 1:
        label = st.sidebar.selectbox(
            f"Series ({len(images)})",
            list(images),
            key="series",
            format_func=lambda one: f"{images[one].label}  {images[one].description}".strip(),
        )
    changed = max(
        (f.stat().st_mtime for f in (*files_in(ref), *ref.reports) if f.exists()), default=0
    )
    source = (f"{ref.path} {ref.uid}", label, changed)
    return study_at(ref, source), source


def files_in(ref: StudyRef) -> list[Path]:
    """Return the files of a study's series."""
    return [file for one in ref.series for file in one.files]


def analyse(study: Study, source: Source) -> Answer | None:
    """Let the user run a model; returns the result for this scan, when there is one."""
    side = st.sidebar
    side.header("Analyze")
    models = all_models(OWN)
    model = models[side.selectbox("Model", list(models), key="model")]
    with side.expander("About this model"):
        st.markdown((model / "card.md").read_text(encoding="utf-8"))
    where = side.selectbox(
        "Look at",
        [WHOLE, *BOXES, TYPED] if study.image.info.spacing_known else [WHOLE],
        key="where",
        index=1 if study.image.info.space == "mni" else 0,
    )
    box: Box | None = None
    if where == TYPED:
        box = parse_box(
            side.text_input("x0:x1,y0:y1,z0:z1 in RAS mm", str(BOXES["mni:left-hippocampus"]))
        )
    elif where != WHOLE:
        box = parse_box(where)
    text = load_spec(model).text
    if text is not None:
        study = replace(study, report=choose_report(study, source, text))
    key = (source, model, str(box), study.report)
    results: dict[object, Answer] = st.session_state.setdefault("results", {})
    if side.button("Run", type="primary", width="stretch"):
        predictor = predictor_for(model)
        with st.spinner(f"Running {model.name} on {predictor.device} …"):
            results[key] = Answer(model, study, box, predictor.predict(study, box))
        st.session_state["center"] = None  # look at what was found
    return results.get(key)


def choose_report(study: Study, source: Source, text: TextSpec) -> str | None:
    """Let the user change the report that a model reads; returns it, None when it is empty."""
    report = st.sidebar.text_area(
        "Radiology report", study.report or "", key=f"report of {source}", height=200
    )
    hidden = f" Hidden from it: {', '.join(text.masked)}." if text.masked else ""
    st.sidebar.caption(f"The model reads the sections {', '.join(text.sections)}.{hidden}")
    return report.strip() or None


def show_scan(study: Study, source: Source, prediction: Prediction | None) -> None:
    """Show the scan in the viewer, and over it what was found."""
    image = study.image
    about = [
        image.info.modality,
        image.info.description,
        " × ".join(map(str, image.shape)),
        f"voxels {image.orientation}",
    ]
    if image.info.spacing_known:
        about.append(" × ".join(f"{mm:.3g}" for mm in image.spacing) + " mm")
    st.subheader(study.case_id)
    st.caption(" · ".join(filter(None, about)))
    for note in image.info.notes:
        st.info(note)
    layers = []
    if prediction is not None and prediction.mask is not None:
        layers.append(mask_layer(prediction, (source, prediction.model, prediction.region)))
    if not show_viewer(image, source, layers, at_start(study, prediction)):
        show_slices(study, source, prediction)


@st.fragment
def show_slices(study: Study, source: Source, prediction: Prediction | None) -> None:
    """Show three planes as pictures, for a browser without WebGL."""
    image = study.image
    st.caption("Slices as pictures: this browser has no WebGL 2. Right side of the patient: left.")
    center, window = looking_at(study, source, prediction), choose_window(image)
    mask = prediction.mask if prediction else None
    hidden = mask is not None and not st.checkbox("Show the mask", value=True)
    panels = plane_images(
        image,
        center,
        window,
        mask=None if hidden else mask,
        region=prediction.region if prediction and not hidden else None,
        side=panel_side(image),
    )
    for column, panel in zip(st.columns(len(panels)), panels, strict=True):
        column.image(panel, width="stretch" if len(panels) > 1 else "content")


def at_start(study: Study, prediction: Prediction | None) -> list[float]:
    """Return the place in RAS mm to look at first: the middle of what was found, or of the scan."""
    upright = study.image.reoriented("RAS")
    mask, region = (prediction.mask, prediction.region) if prediction else (None, None)
    return [float(v) for v in to_world(upright.affine, focus_of(study.image, mask, region))]


def looking_at(study: Study, source: Source, prediction: Prediction | None) -> tuple[int, int, int]:
    """Return the voxel to look at, from three sliders that start at what was found."""
    upright = study.image.reoriented("RAS").shape
    if st.session_state.get("shown") != source or st.session_state.get("center") is None:
        mask, region = (prediction.mask, prediction.region) if prediction else (None, None)
        start = focus_of(study.image, mask, region)
        for axis, place in enumerate(start):
            st.session_state[f"axis{axis}"] = place + 1  # people count slices from 1
        st.session_state["shown"], st.session_state["center"] = source, True
    chosen = [0, 0, 0]
    for column, plane in zip(st.columns(3), PLANES, strict=True):
        last = upright[plane.axis]
        if last > 1:
            number = column.slider(plane.name.capitalize(), 1, last, key=f"axis{plane.axis}")
            chosen[plane.axis] = number - 1
    return chosen[0], chosen[1], chosen[2]


def choose_window(image: Volume) -> Window:
    """Return window level and width, from two fields."""
    usual = display_window(image)
    wide, step = float(usual.width), usual.width / 20
    level, width, _ = st.columns([1, 1, 4])
    unit = f" ({image.info.unit})" if image.info.unit else ""
    return Window(
        level.number_input(f"Level{unit}", value=float(usual.level), step=step),
        width.number_input(f"Width{unit}", value=wide, step=step, min_value=wide / 1000),
    )


def show_result(study: Study, prediction: Prediction) -> None:
    """Show warnings, what the model said, and downloads."""
    for warning in prediction.warnings:
        st.warning(warning)
    if prediction.scores is not None:
        show_classes(prediction)
    else:
        show_structures(prediction)
    labels = {"nifti": "Mask (NIfTI)", "json": "Numbers (JSON)", "overlay": "Picture (PNG)"}
    files = files_of(prediction, study)
    for column, (kind, (name, content)) in zip(
        st.columns([1, 1, 1, 3]), files.items(), strict=False
    ):
        column.download_button(labels[kind], content, name, width="stretch")


def show_classes(prediction: Prediction) -> None:
    """Show the probability of each class, the likeliest first, and what each modality says."""
    scores, alone = prediction.scores or {}, prediction.alone
    ranked = sorted(scores.items(), key=lambda one: -one[1])
    name, probability = ranked[0]
    if prediction.multilabel:
        st.metric("Classes of 50 % or more", (prediction.predicted or "").replace(BETWEEN, ", "))
    else:
        st.metric(f"Likeliest class, {in_percent(probability)}", name)
    bar = st.column_config.ProgressColumn(format="percent", min_value=0.0, max_value=1.0)
    columns = {f"{what} alone": found for what, found in alone.items() if len(alone) > 1}
    st.dataframe(
        [
            {"class": name, "probability": probability}
            | {what: found[name] for what, found in columns.items()}
            for name, probability in ranked
        ],
        hide_index=True,
        column_config=dict.fromkeys(("probability", *columns), bar),
    )


def show_explanation(answer: Answer) -> None:
    """Let the user ask what speaks for a class, and show it in the image and in the words."""
    st.subheader("Explain")
    choose, ask, _ = st.columns([2, 1, 3], vertical_alignment="bottom")
    names = answer.prediction.class_names
    name = choose.selectbox(
        "What speaks for", names, names.index(answer.prediction.likeliest or names[0])
    )
    question = (answer.prediction, name)
    if ask.button("Explain", width="stretch"):
        with st.spinner("Explaining …"):
            found = explain(predictor_for(answer.model), answer.study, name, box=answer.box)
        st.session_state["explained"] = question, found, explanation_html(found)
    asked, found, page = st.session_state.get("explained", (None, None, ""))
    if asked is not None and asked[0] is answer.prediction and asked[1] == name:
        show_reasons(found, page)


def show_reasons(found: Explanation, page: str) -> None:
    """Show heat and words; `page` is what can be downloaded."""
    for warning in found.warnings:
        if warning not in found.prediction.warnings:
            st.warning(warning)
    panels = heat_panels(found.scan, found.heat)
    for row in zip(*panels, strict=True) if len(panels) > 1 else panels:
        for column, panel in zip(st.columns(len(row)), row, strict=True):
            column.image(panel, width="stretch")
    st.caption(heat_in_words(found))
    if found.gates:
        shares = ", ".join(f"{what} {in_percent(share)}" for what, share in found.gates.items())
        st.caption(f"Weight in the joint answer: {shares}.")
    if words := report_html(found):
        st.html(words)
    st.download_button("Explanation (HTML)", page, f"{found.prediction.case_id}_explained.html")


def show_structures(prediction: Prediction) -> None:
    """Show the measurements of each structure, and its color."""
    squares = [
        f'<span style="color:rgb{label_color(s.label)}">■</span> {escape(s.name)}'
        for s in prediction.measure()
    ]
    st.markdown(" &nbsp; ".join(squares), unsafe_allow_html=True)
    st.dataframe(
        [
            {
                "structure": s.name,
                "ml": s.ml,
                "voxels": s.voxels,
                "centroid, RAS mm": s.centroid_mm and ", ".join(f"{v:.1f}" for v in s.centroid_mm),
                "touches the border": s.touches_border,
            }
            for s in prediction.measure()
        ],
        hide_index=True,
        column_config={"ml": st.column_config.NumberColumn(format="%.2f")},
    )


def files_of(prediction: Prediction, study: Study) -> dict[str, tuple[str, bytes]]:
    """Return the name and content of every result file, written once a result and visitor."""
    kept, files = st.session_state.get("files", (None, {}))
    if kept is prediction:
        return files  # type: ignore[no-any-return]
    with tempfile.TemporaryDirectory() as folder:
        paths = write_outputs(prediction, study, folder)
        files = {kind: (path.name, path.read_bytes()) for kind, path in paths.items()}
    st.session_state["files"] = prediction, files
    return files


main()
