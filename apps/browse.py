"""The page Browse: the worklist, a study's series with thumbnails, its tags, and uploads."""

from __future__ import annotations

from io import BytesIO
from math import prod
from pathlib import Path

import streamlit as st
from notices import told
from running import answers
from sources import (
    TYPES,
    Found,
    Source,
    below,
    found,
    images_of,
    keep_upload,
    log,
    series_names,
    shown_path,
    source_of,
)
from state import go, plain

from medvision import MedvisionError, StudyRef, read_study
from medvision.render import display_window, focus_of, plane_images
from medvision.review import YES
from medvision.study import SeriesRef
from medvision.tags import find_tags, read_tags

STATES = ("none", "done", "with warnings", "to review", "failed")
SIDE = 220  # pixels of a thumbnail
HEIGHT = 560  # pixels of the worklist
FORMATS = {"dicom": "DICOM", "nifti": "NIfTI", "itk": "ITK", "raster": "picture"}


def show() -> None:
    """Draw the page."""
    every = found()
    listed, chosen = st.columns([8, 5])
    with listed:
        refs = filtered(every)
        if not every.studies:
            st.info(
                f"{every.problem or 'No scan here yet.'} Drop one below, or start the app on a "
                "folder of scans: `medvision app FOLDER`."
            )
        elif not refs:
            st.info("No study fits these filters.")
        picked = worklist(refs, every) if refs else None
        if every.outside:
            st.caption(f"{every.outside} not shown: links lead out of the folder to them.")
        upload()
    with chosen:
        if picked is not None:
            show_study(picked)
        elif refs:
            st.info("Choose a study on the left to see its series.")


def filtered(every: Found) -> list[StudyRef]:
    """Return the studies that the filters leave."""
    words, modality, state, days, again = st.columns([4, 3, 3, 3, 1], vertical_alignment="bottom")
    text = words.text_input("Search", key="filter text", placeholder="study, patient, description")
    kinds = sorted({one.modality for ref in every.studies for one in ref.series} - {""})
    wanted = modality.multiselect("Modality", kinds, key="filter modality", placeholder="any")
    states = state.multiselect("Results", STATES, key="filter state", placeholder="any")
    known = [ref.day for ref in every.studies if ref.day is not None]
    span: tuple[int, int] | None = None
    if known and max(known) > min(known):
        span = days.slider(
            "Days since first study",
            min(known),
            max(known),
            (min(known), max(known)),
            key="filter days",
        )
    if again.button("↻", help="Look for new scans", width="stretch"):
        below.clear()
        st.rerun()
    refs = []
    for ref in every.studies:
        series = [one.modality for one in ref.series]
        about = [ref.case_id, ref.patient, *(one.description for one in ref.series)]
        fits = all(any(w in part.lower() for part in about) for w in text.lower().split())
        fits &= not wanted or any(one in wanted for one in series)
        fits &= not states or state_of(ref, every) in states
        fits &= span is None or span == (min(known), max(known)) or in_span(ref.day, span)
        if fits:
            refs.append(ref)
    return refs


def in_span(day: int | None, span: tuple[int, int]) -> bool:
    """Tell whether a day lies in a span."""
    return day is not None and span[0] <= day <= span[1]


def state_of(ref: StudyRef, every: Found) -> str:
    """Return what became of a study: in the folders of results, or in this session."""
    rows = [row for _, row in every.rows.get(ref.case_id, ())]
    asked = [one.prediction for one in answers() if one.ref == ref]
    if any(row["status"] == "failed" for row in rows):
        return "failed"
    flagged = any(row.get("review") == YES for row in rows)
    if flagged or any(one.needs_review for one in asked):
        return "to review"
    if any(row.get("warnings") for row in rows) or any(one.warnings for one in asked):
        return "with warnings"
    return "done" if rows or asked else "none"


def worklist(refs: list[StudyRef], every: Found) -> StudyRef | None:
    """Show the studies; returns the one that is chosen, the first where none is."""
    rows = [
        {
            "study": ref.case_id,
            "patient": ref.patient,
            "day": "" if ref.day is None else str(ref.day),
            "modality": ", ".join(dict.fromkeys(s.modality for s in ref.series if s.modality)),
            "format": formats_of(ref),
            "description": main.description,
            "series": len(ref.series),
            "voxels": " × ".join(map(str, main.shape[1:])),
            "problem": problem_of(ref),
            "report": "✓" if ref.reports else "",
            "results": state_of(ref, every).replace("none", ""),
        }
        for ref, main in ((ref, main_series(ref)) for ref in refs)
    ]
    columns = {name for row in rows for name, value in row.items() if value not in ("", None)}
    event = st.dataframe(
        rows,
        hide_index=True,
        height=min(HEIGHT, 38 + 35 * len(rows)),
        on_select="rerun",
        selection_mode="single-row",
        column_order=[name for name in rows[0] if name in columns],
        key="worklist",
    )
    picked = event["selection"]["rows"]
    return refs[picked[0]] if picked and picked[0] < len(refs) else refs[0]


def main_series(ref: StudyRef) -> SeriesRef:
    """Return the series that stands for a study in the list: its largest image, or its first."""
    images = [one for one in images_of(ref) if one.shape]
    return (
        max(images, key=lambda one: prod(one.shape))
        if images
        else next(iter(ref.series), SeriesRef("", (), ""))
    )


def formats_of(ref: StudyRef) -> str:
    """Return the formats of a study's series."""
    found = dict.fromkeys(one.format for one in ref.series)
    return ", ".join(FORMATS.get(one, one.upper()) for one in found)


def problem_of(ref: StudyRef) -> str:
    """Return why a study, or some of it, cannot be looked at; empty when all can."""
    bad = sum(bool(one.problem) for one in ref.series)
    if bad and images_of(ref):
        return f"{bad} of {len(ref.series)} series unreadable"
    return "unreadable" if bad else "" if images_of(ref) else "no image"


def show_study(ref: StudyRef) -> None:
    """Show a study's series, each with a thumbnail and a way to look at it."""
    day = f" · day {ref.day}" if ref.day is not None else ""
    patient = f" · {ref.patient}" if ref.patient else ""
    st.markdown(f"**{plain(ref.case_id)}** · {plain(shown_path(ref.path))}{patient}{day}")
    named = series_names(images_of(ref))
    for number, (name, one) in enumerate(named.items()):
        picture, about = st.columns([2, 3])
        with picture:
            try:
                source = source_of(ref, name if len(named) > 1 else "")
                st.image(thumbnail(ref, source), width="stretch")
            except MedvisionError as error:
                st.warning(told(str(error)))
        with about:
            words = plain(f"{one.modality} {one.description}".strip())
            st.markdown(f"**{plain(one.label)}** {words}")
            size = " × ".join(map(str, one.shape[1:]))
            mm = " × ".join(f"{v:.3g}" for v in one.spacing)
            st.caption(" · ".join(filter(None, [size, f"{mm} mm" if mm else "", one.plane])))
            for note in one.notes:
                st.caption(plain(note))
            look, tags = st.columns(2)
            if look.button("View it", key=f"view {number}", type="primary", width="stretch"):
                go("View", scan=ref.case_id, series=name)
            if one.format == "dicom" and tags.button("Tags", key=f"tags {number}", width="stretch"):
                show_tags(ref, one)
    for one in ref.series:
        if one.problem:
            st.warning(told(f"{one.label}: {one.problem}"))
        elif one.role != "image":
            st.caption(plain(f"{one.label} {one.modality} {one.description}: {one.role}"))
    if ref.reports:
        st.caption(plain(f"Report: {', '.join(shown_path(path) for path in ref.reports)}"))


@st.cache_data(show_spinner="Drawing …", max_entries=500)
def thumbnail(_ref: StudyRef, source: Source) -> bytes:
    """Return a PNG of the slice through the middle."""
    scan = read_study(_ref, source.series or None).image
    plane = plane_images(scan, focus_of(scan), display_window(scan), side=SIDE)[0]
    file = BytesIO()
    plane.save(file, "PNG")
    return file.getvalue()


@st.dialog("DICOM tags", width="large")
def show_tags(ref: StudyRef, series: SeriesRef) -> None:
    """Show the header of a series' first file, what identifies the patient hidden until asked."""
    search, show = st.columns([3, 1], vertical_alignment="bottom")
    words = search.text_input("Search", placeholder="tag, name or value")
    identity = show.toggle("Show identity", value=False)
    if identity:
        log("identity", ref.case_id)
    try:
        tags = find_tags(read_tags(series.files[0], identity=identity), words)
    except MedvisionError as error:
        st.error(told(str(error)))
        return
    st.dataframe(
        [{"tag": t.tag, "name": t.name, "VR": t.vr, "value": t.value} for t in tags],
        hide_index=True,
        height=460,
        column_config={"value": st.column_config.TextColumn(width="large")},
    )
    file = plain(shown_path(series.files[0]))
    st.caption(f"{len(tags)} tags of {file}, one of {len(series.files)} files.")


def upload() -> None:
    """Let the user drop scans; they are deleted when the session ends."""
    given = st.file_uploader(
        "Drop NIfTI, a zip of DICOM, or pictures here. They are deleted when you leave.",
        type=TYPES,
        accept_multiple_files=True,
        key=f"upload {st.session_state.get('uploaded', 0)}",
    )
    for words in st.session_state.pop("upload problems", []):
        st.error(told(words))
    if not given:
        return
    refs, problems = [], []
    for file in given:
        try:
            refs += keep_upload(file.name, file.getbuffer())
        except MedvisionError as error:
            problems.append(f"{Path(file.name).name}: {error}")
    st.session_state["upload problems"] = problems
    st.session_state["uploaded"] = st.session_state.get("uploaded", 0) + 1  # an empty uploader
    if len(refs) == 1 and not problems:
        names = {ref.path: ref.case_id for ref in found().studies}
        go("View", scan=names.get(refs[0].path, refs[0].case_id))
    st.rerun()
