"""The Streamlit page: choose a scan, look at it, run a model, look at the result.

Layout only: reading, predicting, measuring and drawing are medvision's verbs. Start it with
``medvision app FOLDER``.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TypeAlias

import streamlit as st

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
from medvision.geometry import BOXES
from medvision.prediction import in_percent
from medvision.render import (
    PLANES,
    display_window,
    focus_of,
    label_color,
    panel_side,
    plane_images,
)
from medvision.volume import Volume, Window
from medvision.zoo import bundled_models

ROOT = Path(os.environ.get("MEDVISION_ROOT", "."))
Source: TypeAlias = tuple[str, str, float]  # study, series, time stamp
WHOLE, TYPED = "the whole scan", "a box that I type"


@st.cache_resource(show_spinner="Loading the model …", max_entries=2)
def predictor_for(model: str) -> Predictor:
    """Load a model once for all visitors."""
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
            prediction = analyse(study, source)
        except MedvisionError as error:  # a scan that no model takes can be looked at all the same
            st.error(str(error))
            prediction = None
        show_scan(study, source, prediction)
        if prediction is not None:
            show_result(study, prediction)
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
        (f.stat().st_mtime for one in ref.series for f in one.files if f.exists()), default=0
    )
    source = (f"{ref.path} {ref.uid}", label, changed)
    return study_at(ref, source), source


def analyse(study: Study, source: Source) -> Prediction | None:
    """Let the user run a model; returns the result for this scan, when there is one."""
    side = st.sidebar
    side.header("Analyze")
    models = bundled_models()
    model = side.selectbox("Model", list(models), key="model")
    with side.expander("About this model"):
        st.markdown((models[model] / "card.md").read_text(encoding="utf-8"))
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
    key = (source, model, str(box))
    results: dict[object, Prediction] = st.session_state.setdefault("results", {})
    if side.button("Run", type="primary", width="stretch"):
        predictor = predictor_for(model)
        with st.spinner(f"Running {model} on {predictor.device} …"):
            results[key] = predictor.predict(study, box)
        st.session_state["center"] = None  # look at what was found
    return results.get(key)


def show_scan(study: Study, source: Source, prediction: Prediction | None) -> None:
    """Show three planes, with sliders for where and how to look."""
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
    st.caption(" · ".join(filter(None, about)) + " · right side of the patient on the left")
    for note in image.info.notes:
        st.info(note)
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
        show_classes(prediction.scores)
    else:
        show_structures(prediction)
    labels = {"nifti": "Mask (NIfTI)", "json": "Numbers (JSON)", "overlay": "Picture (PNG)"}
    files = files_of(prediction, study)
    for column, (kind, (name, content)) in zip(
        st.columns([1, 1, 1, 3]), files.items(), strict=False
    ):
        column.download_button(labels[kind], content, name, width="stretch")


def show_classes(scores: Mapping[str, float]) -> None:
    """Show the probability of each class, the likeliest first."""
    ranked = sorted(scores.items(), key=lambda one: -one[1])
    name, probability = ranked[0]
    st.metric(f"Likeliest class, {in_percent(probability)}", name)
    st.dataframe(
        [{"class": name, "probability": probability} for name, probability in ranked],
        hide_index=True,
        column_config={
            "probability": st.column_config.ProgressColumn(
                format="percent", min_value=0.0, max_value=1.0
            )
        },
    )


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
