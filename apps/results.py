"""The page Results: a folder that `medvision predict` wrote, as a table to look through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st
from evaluations import show_evaluation
from notices import in_app, listed
from sources import ROOT, Found, found, images_of, is_within, shown_path
from state import duration, go, plain

from medvision.outputs.batch_studies import to_review
from medvision.outputs.saved import ML, PROBABILITY, Saved
from medvision.review import YES
from medvision.study import StudyRef

PARTS = STUDIES, EVALUATION = ("Studies", "Evaluation")
BINS = 20
# columns of results.csv, and what they are called here
FIRST = {"case_id": "study", "status": "status", "predicted": "predicted"}
LAST = {"warnings": "warnings", "touches_border": "touches the border"}


def show() -> None:
    """Draw the page."""
    every = found()
    if not every.results:
        st.info(
            "No folder of results here yet. Make one on the page Batch, or with "
            "`medvision predict FOLDER --model MODEL --out FOLDER/results`."
        )
        return
    folders = {shown_path(one.folder): one for one in every.results}
    if st.session_state.get("folder") not in folders:
        st.session_state["folder"] = next(iter(folders))
    choose, about = st.columns([2, 3], vertical_alignment="bottom")
    result = folders[choose.selectbox("Folder", list(folders), key="folder")]
    failed = [row for row in result.rows if row["status"] == "failed"]
    warned = [row for row in result.rows if row.get("warnings")]
    model = plain(result.model) or "Unknown model"
    words = f"{len(result.rows)} studies, {len(failed)} failed, {len(warned)} with warnings"
    if any(row.get("review") for row in result.rows):
        words += f", {sum(row.get('review') == YES for row in result.rows)} to review"
    about.caption(f"{model}: {words}.")
    st.session_state.setdefault("results part", STUDIES)
    part = st.segmented_control(
        "Part", PARTS, key="results part", required=True, label_visibility="collapsed"
    )
    if part == EVALUATION:
        show_evaluation(result, every.results)
        return
    show_table(result, every)
    if failed:
        with st.expander(f"Failures ({len(failed)})", expanded=True):
            st.dataframe(
                [{"study": row["case_id"], "reason": reason_of(row)} for row in failed],
                hide_index=True,
            )
    show_distributions(result)


def show_table(result: Saved, every: Found) -> None:
    """Show a row a study; the one that is chosen can be looked at, its mask over it."""
    places = chosen_rows(result)
    rows = [table_row(result.rows[at], result) for at in places]
    event = st.dataframe(
        rows,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        height=min(420, 38 + 35 * len(rows)),
        column_config=formats_of(result),
        placeholder="",
        key=f"{len(rows)} rows of {shown_path(result.folder)}",
    )
    picked = event["selection"]["rows"]
    if not picked:
        st.caption("Choose a row to look at the scan with its result.")
        return
    row = result.rows[places[picked[0]]]
    ref = result.studies_of(every.studies)[places[picked[0]]]
    if ref is None:
        st.warning(plain(f"The scan of {row['case_id']} is not below the folder of the app."))
        return
    if said := [one for one in (row.get("reason"), *row.get("warnings", "").split("; ")) if one]:
        st.warning(listed(said))
    if not images_of(ref):
        return
    look, _ = st.columns([1, 3])
    if look.button(f"View {row['case_id']}", type="primary", width="stretch"):
        open_row(row, ref, result)


def chosen_rows(result: Saved) -> list[int]:
    """Let the user look at those to review alone; returns which rows are shown."""
    every = list(range(len(result.rows)))
    flagged = to_review(result.rows)
    if not flagged:
        return every
    alone = st.toggle(
        f"Only those to review ({len(flagged)}), the least sure first",
        key=f"review of {shown_path(result.folder)}",
    )
    return flagged if alone else every


def open_row(row: Mapping[str, str], ref: StudyRef, result: Saved) -> None:
    """Go to a scan, the mask of its row over it."""
    mask = result.mask_of(row)
    over = [shown_path(mask)] if mask and is_within(mask, ROOT) else []
    go("View", scan=ref.case_id, over=over)


def table_row(row: Mapping[str, str], result: Saved) -> dict[str, Any]:
    """Return a row with numbers as numbers."""
    shown: dict[str, Any] = {word: row[name] for name, word in FIRST.items() if name in row}
    if any(r.get("confidence") for r in result.rows):
        shown["confidence"] = number(row.get("confidence", ""))
    if any(r.get("review") for r in result.rows):
        shown["review"] = row.get("review") == YES
    for name in result.class_names:
        for end in (ML, PROBABILITY):
            if f"{name}{end}" in row:
                what = f"{name}, ml" if end == ML else name
                shown[what] = number(row[f"{name}{end}"])
    shown |= {
        word: in_app(row[name])
        for name, word in LAST.items()
        if any(r.get(name) for r in result.rows)
    }
    if (seconds := number(row.get("seconds", ""))) is not None:
        shown["time"] = duration(seconds)
    return shown


def reason_of(row: Mapping[str, str]) -> str:
    """Return why a study failed, in the words of the app."""
    return in_app(row.get("reason", ""))


def number(text: str) -> float | None:
    """Return a number, or None where there is none."""
    try:
        return float(text)
    except ValueError:
        return None


def formats_of(result: Saved) -> dict[str, Any]:
    """Return how the columns are shown."""
    two = st.column_config.NumberColumn(format="%.2f")
    if result.task == "classification":
        bar = st.column_config.ProgressColumn(format="percent", min_value=0.0, max_value=1.0)
        return dict.fromkeys(result.class_names, bar) | {"confidence": two}
    return {f"{name}, ml": two for name in result.class_names} | {"confidence": two}


def show_distributions(result: Saved) -> None:
    """Show how volumes or probabilities are spread over the studies."""
    import altair as alt

    end, unit = (PROBABILITY, "probability") if result.task == "classification" else (ML, "ml")
    values = [
        {"structure": name, unit: value, "study": row["case_id"]}
        for row in result.rows
        for name in result.class_names
        if (value := number(row.get(f"{name}{end}", ""))) is not None
    ]
    if len({one["study"] for one in values}) < 2:
        return
    chart = (
        alt.Chart(alt.Data(values=values))  # type: ignore[no-untyped-call]
        .mark_bar(color="#f5b840")
        .encode(
            x=alt.X(f"{unit}:Q", bin=alt.Bin(maxbins=BINS), title=unit),
            y=alt.Y("count()", title="studies"),
            facet=alt.Facet("structure:N", columns=4, title=None),
            tooltip=["count()"],
        )
        .properties(width=240, height=140)
        .resolve_scale(x="independent", y="independent")
    )
    st.altair_chart(chart)
