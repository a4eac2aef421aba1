"""What a model said of a scan: warnings, tables, downloads, and why."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from html import escape

import streamlit as st
from notices import told
from running import Answer, predictor_for, stamp_of
from sources import log
from state import duration, plain

from medvision import MedvisionError, Prediction, write_outputs
from medvision.explain import explain
from medvision.explanation import HEATS, Explanation
from medvision.outputs import WRITERS
from medvision.outputs.explanation import explanation_html, heat_in_words
from medvision.outputs.page import CONFIDENCE
from medvision.outputs.uncertainty import UNCERTAINTY
from medvision.prediction import calibrated_note, in_percent
from medvision.render import heat_panels, label_color
from medvision.spec import BETWEEN

DICOM = {"seg": "Mask (DICOM SEG)", "sr": "Findings (DICOM SR)", "sc": "Picture (DICOM SC)"}
FILES = {
    "nifti": "Mask (NIfTI)",
    "csv": "Table (CSV)",
    "json": "Numbers (JSON)",
    "html": "Summary (HTML)",
    "overlay": "Picture (PNG)",
    UNCERTAINTY: "Uncertainty (NIfTI)",
}
COLUMNS = 5  # of downloads, at least


def show_answer(answer: Answer) -> None:
    """Show what the model said, downloads, and for a class why."""
    prediction = answer.prediction
    st.caption(plain(f"{answer.name}, {duration(answer.seconds)} on {answer.device}"))
    if prediction.scores is not None:
        show_classes(prediction)
    else:
        show_structures(prediction)
    show_files(answer)
    if prediction.task == "classification":
        show_explanation(answer)


def show_classes(prediction: Prediction) -> None:
    """Show the probability of each class, the likeliest first, and what each modality says."""
    scores, alone = prediction.scores or {}, prediction.alone
    ranked = sorted(scores.items(), key=lambda one: -one[1])
    name, probability = ranked[0]
    if prediction.multilabel:
        st.metric("Classes of 50 % or more", (prediction.predicted or "").replace(BETWEEN, ", "))
    else:
        st.metric(f"Likeliest class, {in_percent(probability)}", name)
    if (least := prediction.least_confidence) is not None:
        st.caption(f"Confidence {least:.2f}. {CONFIDENCE}")
    if note := calibrated_note(prediction):
        st.caption(plain(note))
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
            | sureness(prediction, s.name)
            for s in prediction.measure()
        ],
        hide_index=True,
        column_config=dict.fromkeys(
            ("ml", "confidence"), st.column_config.NumberColumn(format="%.2f")
        ),
    )
    if prediction.confidence:
        st.caption(CONFIDENCE)


def sureness(prediction: Prediction, name: str) -> dict[str, object]:
    """Return how sure the model is of a structure, and whether a person should look; as columns."""
    if not prediction.confidence:
        return {}
    sure, limit = prediction.confidence.get(name), prediction.review
    if limit is None:
        return {"confidence": sure}
    return {"confidence": sure, "review": sure is not None and sure < limit}


def show_files(answer: Answer) -> None:
    """Let the user download what `medvision predict` would write."""
    offer(answer, files_of(answer))
    if answer.ref.series and answer.ref.series[0].format == "dicom":
        show_dicom(answer)


def show_dicom(answer: Answer) -> None:
    """Let the user make and download DICOM results, which are of the scan's patient and study."""
    kept, files, reasons = st.session_state.get("dicom files", (None, {}, []))
    if kept != answer.id:
        if not st.button("Make DICOM files", help="They are of the scan's patient and study."):
            return
        files, reasons = {}, []
        with st.spinner("Writing …"), tempfile.TemporaryDirectory() as folder:
            for kind in [k for k in DICOM if answer.prediction.task in WRITERS[k].tasks]:
                try:
                    paths = write_outputs(answer.prediction, answer.study(), folder, [kind])
                except MedvisionError as error:
                    reasons.append(f"{DICOM[kind]}: {error}")
                else:
                    files[kind] = (paths[kind].name, paths[kind].read_bytes())
        st.session_state["dicom files"] = answer.id, files, reasons
    for reason in reasons:
        st.warning(told(reason))
    offer(answer, files)


def offer(answer: Answer, files: Mapping[str, tuple[str, bytes]]) -> None:
    """Let the user download files, given as name and content by kind."""
    columns = st.columns(max(COLUMNS, len(files)))
    for column, (kind, (name, content)) in zip(columns, files.items(), strict=False):
        column.download_button(
            (FILES | DICOM)[kind],
            content,
            name,
            width="stretch",
            on_click=log,
            args=("export", answer.ref.case_id),
            kwargs={"kind": kind},
        )


def files_of(answer: Answer) -> dict[str, tuple[str, bytes]]:
    """Return the name and content of every result file, written once an answer and visitor."""
    kept, files = st.session_state.get("files", (None, {}))
    if kept == answer.id:
        return files  # type: ignore[no-any-return]
    task = answer.prediction.task
    kinds = [kind for kind in FILES if kind in WRITERS and task in WRITERS[kind].tasks]
    if answer.prediction.uncertainty is None:
        kinds = [kind for kind in kinds if kind != UNCERTAINTY]
    with tempfile.TemporaryDirectory() as folder:
        paths = write_outputs(answer.prediction, answer.study(), folder, kinds)
        files = {kind: (paths[kind].name, paths[kind].read_bytes()) for kind in kinds}
    st.session_state["files"] = answer.id, files
    return files


def explanation_of(answer: Answer) -> Explanation | None:
    """Return why a model said so: what was asked for last, or what it said by itself."""
    asked, found = st.session_state.get("explained", (None, None))
    if asked is not None and asked[0] == answer.id:
        return found  # type: ignore[no-any-return]
    return answer.explanation


def show_explanation(answer: Answer) -> None:
    """Let the user ask what speaks for a class, and show it in the image and in the words."""
    st.subheader("Explain")
    choose, way, ask, _ = st.columns([2, 1.5, 1, 1.5], vertical_alignment="bottom")
    names = answer.prediction.class_names
    there = explanation_of(answer)
    usual = there.class_name if there else answer.prediction.likeliest or names[0]
    if st.session_state.get("explained class") not in names:
        st.session_state["explained class"] = usual
    name = choose.selectbox("What speaks for", names, key="explained class")
    method = way.selectbox("By", HEATS, format_func=HEATS.__getitem__, key="explained by")
    if ask.button("Explain", width="stretch"):
        model = answer.question.model
        with st.spinner("Explaining …"):
            predictor = predictor_for(model, stamp_of(model))
            study, box = answer.study(), answer.question.box
            found = explain(predictor, study, name, box=box, method=method)
        st.session_state["explained"] = (answer.id, name), found
        st.rerun()  # its heat belongs over the scan
    if there is not None and there.class_name == name:
        show_reasons(there)


def show_reasons(found: Explanation) -> None:
    """Show where the network looked; words are shown where reports are changed."""
    for warning in found.warnings:
        if warning not in found.prediction.warnings:
            st.warning(told(warning))
    panels = heat_panels(found.scan, found.heat)
    for row in zip(*panels, strict=True) if len(panels) > 1 else panels:
        for column, panel in zip(st.columns(len(row)), row, strict=True):
            column.image(panel, width="stretch")
    st.caption(heat_in_words(found))
    st.download_button(
        "Explanation (HTML)",
        explanation_html(found),
        f"{found.prediction.case_id}_explained.html",
        on_click=log,
        args=("export", found.prediction.case_id),
        kwargs={"kind": "explanation"},
    )
