"""The page Compare: two results of one scan side by side, where they differ, and by how much."""

from __future__ import annotations

import streamlit as st
from agreement import choose_tolerance, comparison, show_agreement
from notices import told
from overlays import Overlay, overlays_of
from running import Answer, answers
from sources import found, log, study_at
from state import go, plain
from streamlit.delta_generator import DeltaGenerator
from view import choose_scan
from viewer import Layer, labels_layer, show_viewer

from medvision import MedvisionError, Volume
from medvision.compare import compare_scores
from medvision.geometry import to_world
from medvision.render import focus_of

COLORS = {1: (0, 200, 255), 2: (255, 120, 0), 3: (230, 60, 200)}


def show() -> None:
    """Draw the page."""
    every = found()
    if not every.studies:
        st.info(plain(every.problem or "There is no scan yet."))
        return
    which, left, right = st.columns([2, 3, 3])
    ref, source = choose_scan(every, which)
    scan = study_at(ref, source).image
    over = overlays_of(every, ref, source, scan)
    masks = {title: one for title, one in over.items() if not one.heat}
    classes = {f"{one.name}: classes": one for one in answers(source) if one.prediction.scores}
    names = [*masks, *classes]
    if len(names) < 2:
        st.info(
            f"Two results of {plain(ref.case_id)} are needed, and there "
            f"{'is one' if names else 'are none'}: run a model in View, or put a mask on the same "
            "grid beside the scan (NIfTI, DICOM SEG, RTSTRUCT, or a folder of results)."
        )
        if st.button("Run a model", type="primary"):
            go("View", scan=ref.case_id)
        return
    first = left.selectbox("Found", names, key="compare found")
    rest = [one for one in names if one != first and (one in masks) == (first in masks)]
    if not rest:
        right.info("There is nothing of the same kind to hold it against.")
        return
    second = right.selectbox("Reference", rest, key="compare truth")
    if st.session_state.get("compared") != (source, first, second):
        log("compare", ref.case_id)
        st.session_state["compared"] = source, first, second
    if first in masks:
        show_masks(scan, source, masks[first], masks[second])
    else:
        show_scores(classes[first], classes[second])


def show_masks(scan: Volume, source: object, first: Overlay, second: Overlay) -> None:
    """Show two masks side by side, the crosshairs together; and the table of how they agree."""
    control, place, _ = st.columns([3, 2, 4], vertical_alignment="bottom")
    tolerance_mm = choose_tolerance(place)
    try:
        compared = comparison(first.key, second.key, tolerance_mm, first, second)
    except MedvisionError as error:
        st.error(told(str(error)))
        return
    mode = control.segmented_control(
        "On the right",
        ["Reference", "Difference"],
        default="Reference",
        key="difference",
        label_visibility="collapsed",
    )
    upright = scan.reoriented("RAS")
    middle = focus_of(scan, first.read(), None)
    at = [float(v) for v in to_world(upright.affine, middle)]
    layers = [first.layer(), second.layer()]
    if mode == "Difference":
        names = {1: "only found", 2: "only in the reference", 3: "another structure"}
        key = ("difference", first.key, second.key)
        layers[1] = labels_layer(compared.difference, names, "Difference", key, colors=COLORS)
    seen = [
        show_in(column, scan, source, layer, at, f"viewer {number}")
        for number, (column, layer) in enumerate(zip(st.columns(2), layers, strict=True))
    ]
    if not all(seen):
        st.info("This browser has no WebGL 2: only the table can be shown.")
    show_agreement(compared, tolerance_mm)


def show_in(
    column: DeltaGenerator, scan: Volume, source: object, layer: Layer, at: list[float], name: str
) -> bool:
    """Show a viewer in a column; False where the browser cannot."""
    with column:
        return bool(show_viewer(scan, source, [layer], at, height=470, group="compare", name=name))


def show_scores(first: Answer, second: Answer) -> None:
    """Show the probabilities of two answers, class by class."""
    a, b = first.prediction.scores or {}, second.prediction.scores or {}
    bar = st.column_config.ProgressColumn(format="percent", min_value=0.0, max_value=1.0)
    st.dataframe(
        [
            {"class": one.name, "found": one.a, "reference": one.b, "difference": one.difference}
            for one in compare_scores(a, b)
        ],
        hide_index=True,
        column_config={
            **dict.fromkeys(("found", "reference"), bar),
            "difference": st.column_config.NumberColumn(format="%.3f"),
        },
    )
