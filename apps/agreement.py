"""How two masks agree, as Compare tells it; and in View an answer held against a person's mask."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st
from notices import told
from overlays import Overlay, names_in
from running import Answer
from state import plain
from streamlit.delta_generator import DeltaGenerator
from viewer import identity_of

from medvision import MedvisionError
from medvision.compare import Comparison, compare_masks
from medvision.mask_figures import TOLERANCE_MM

MOST_MM = 100.0  # of a tolerance


@st.cache_data(show_spinner="Comparing …", max_entries=8)
def comparison(
    first_key: object,
    second_key: object,
    tolerance_mm: float,
    _first: Overlay,
    _second: Overlay,
) -> Comparison:
    """Hold one mask against another; the keys tell which."""
    names = structures(_second) | structures(_first)
    return compare_masks(_first.read(), _second.read(), names, tolerance_mm)


def structures(overlay: Overlay) -> dict[int, str]:
    """Return what the values of an overlay are called."""
    if overlay.prediction is not None:
        return dict(enumerate(overlay.prediction.class_names, start=1))
    return names_in(overlay.read())


def choose_tolerance(place: DeltaGenerator) -> float:
    """Let the user say how far apart two surfaces may be and still agree, in mm."""
    st.session_state.setdefault("tolerance", TOLERANCE_MM)
    said = place.number_input(
        "Tolerance of the NSD, mm", min_value=0.0, max_value=MOST_MM, step=0.5, key="tolerance"
    )
    return float(said)


def show_agreement(compared: Comparison, tolerance_mm: float) -> None:
    """Show how two masks agree, structure by structure."""
    number = st.column_config.NumberColumn
    nsd = f"NSD at {tolerance_mm:g} mm"
    st.dataframe(
        [
            {
                "structure": one.name,
                "Dice": one.dice,
                "IoU": one.iou,
                "HD95, mm": one.hd95_mm,
                "ASSD, mm": one.assd_mm,
                nsd: one.nsd,
                "found, ml": one.ml_found,
                "reference, ml": one.ml_truth,
                "difference, ml": one.difference_ml,
                "difference, %": one.difference_percent,
                "parts": one.lesions.true,
                "parts hit": one.lesions.hit,
                "parts beyond": one.lesions.false,
                "F1 of parts": one.lesions.f1,
            }
            for one in compared.rows
        ],
        hide_index=True,
        column_config={
            **dict.fromkeys(("Dice", "IoU", nsd, "F1 of parts"), number(format="%.4f")),
            **dict.fromkeys(
                ("found, ml", "reference, ml", "difference, ml"), number(format="%.3f")
            ),
            **dict.fromkeys(("HD95, mm", "ASSD, mm"), number(format="%.2f")),
            "difference, %": number(format="%.1f"),
        },
    )
    st.caption(
        "Where both are empty, overlaps are 1 and there is no distance; where one is, overlaps are "
        "0 and distances are the diagonal of the grid. A part is what hangs together by faces; one "
        "is hit where a voxel of it was found, and beyond where none is in the reference."
    )


def show_reference(answer: Answer, over: Mapping[str, Overlay]) -> None:
    """Hold the mask of an answer against one that lies beside the scan.

    Labels of the study itself are taken by themselves; any other mask where it is chosen.
    """
    mine = next((one for one in over.values() if one.answer is answer and not one.heat), None)
    masks = {name: one for name, one in over.items() if one.answer is None and not one.heat}
    if mine is None or not masks:
        return
    st.subheader("Against a reference mask")
    choose, place = st.columns([3, 1])
    own = next((n for n, one in enumerate(masks.values()) if one.of_study), None)
    chosen = choose.selectbox(
        "Reference",
        list(masks),
        index=own,
        key=f"mask beside {identity_of(answer.question.source)}",
        placeholder="Choose a mask on the grid of the scan",
    )
    tolerance_mm = choose_tolerance(place)
    if chosen is None:
        return
    try:
        compared = comparison(mine.key, masks[chosen].key, tolerance_mm, mine, masks[chosen])
        theirs = structures(masks[chosen])
    except MedvisionError as error:
        st.error(told(str(error)))
        return
    for label, name in structures(mine).items():
        if theirs.get(label, name) not in (name, f"label {label}"):  # the latter: it has no name
            words = f"Label {label} is {name} for the model, and {theirs[label]} in the mask."
            st.warning(plain(words))
    show_agreement(compared, tolerance_mm)
