"""What if the report had said something else: change it, and watch the answer change."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st
from outcomes import explanation_of
from running import Answer, Question, answers
from sources import Found, Source
from viewer import identity_of

from medvision import Study
from medvision.explanation import GATES
from medvision.io.pairing import report_of
from medvision.outputs.explanation import report_html
from medvision.prediction import in_percent
from medvision.text_spec import TextSpec

BLANK = "(no report)"
LONGEST = 50  # letters of a report in the table of attempts


def key_of(source: Source) -> str:
    """Return where the report of a scan is kept, as it reads now."""
    return f"report of {identity_of(source)}"


def report_now(source: Source, study: Study) -> str | None:
    """Return the report that the model is to read; None when it is empty."""
    key = key_of(source)
    if key not in st.session_state:
        st.session_state[key] = study.report or ""
    return st.session_state[key].strip() or None


def show_what_if(question: Question, text: TextSpec, study: Study, all_found: Found) -> None:
    """Let the user change the report that a model reads."""
    key = key_of(question.source)
    others = {ref.case_id: ref for ref in all_found.studies if ref.reports}
    others.pop(study.case_id, None)
    st.text_area("Radiology report", key=key, height=190, help="Ctrl+Enter, then Run")
    came, blank, swap = st.columns(3)
    came.button("As it came", on_click=put, args=(key, study.report or ""), width="stretch")
    blank.button("Blank", on_click=put, args=(key, ""), width="stretch")
    with swap.popover("Swap", width="stretch", disabled=not others):
        name = st.selectbox("With the report of", list(others), key="swapped")
        if name:
            given = report_of(others[name]) or ""
            st.button("Take it", on_click=put, args=(key, given), type="primary")
    hidden = f" Hidden from it: {', '.join(text.masked)}." if text.masked else ""
    st.caption(f"The model reads the sections {', '.join(text.sections)}.{hidden}")


def put(key: str, report: str) -> None:
    """Put a report in the place of another."""
    st.session_state[key] = report


def show_changes(answer: Answer, study: Study) -> None:
    """Show what the model says now, beside the image alone and the report as it came."""
    asked = answer.question
    alike = [
        one
        for one in answers(asked.source)
        if (one.question.model, one.question.box, one.question.series)
        == (asked.model, asked.box, asked.series)
    ]
    came = next((one for one in alike if one.question.report == (study.report or None)), None)
    now = answer.prediction
    name = (came or answer).prediction.likeliest or now.class_names[0]
    assert now.scores is not None
    shares = {f"{name}, now": now.scores[name]}
    shares |= {f"{what} alone": scores[name] for what, scores in now.alone.items()}
    before = came.prediction.scores if came else None
    for column, (what, share) in zip(st.columns(len(shares)), shares.items(), strict=True):
        change = share - before[name] if before and what.endswith("now") else 0.0
        delta = f"{100 * change:+.1f} points" if change else None
        column.metric(what.capitalize(), in_percent(share), delta, delta_color="off")
    if len(alike) > 1:
        rows = [attempt(one, study, name) for one in reversed(alike)]
        columns = dict.fromkeys(column for row in rows for column in row)
        st.dataframe(
            [dict.fromkeys(columns, "") | row for row in rows],
            hide_index=True,
            column_config={
                name: st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)
            },
        )
    why = explanation_of(answer)
    if why is not None:
        if words := report_html(why):
            st.html(words)
        if why.gates:
            st.caption(f"{gates_in_words(why.gates)}. {GATES}")


def attempt(answer: Answer, study: Study, name: str) -> dict[str, object]:
    """Return a row of what was tried."""
    report, said = answer.question.report, answer.prediction
    words = " ".join((report or BLANK).split())
    words = words if len(words) <= LONGEST else f"{words[:LONGEST]} …"
    row: dict[str, object] = {
        "report": "As it came" if report and report == study.report else words,
        name: (said.scores or {})[name],
    }
    if answer.explanation and answer.explanation.gates:
        row["gates"] = gates_in_words(answer.explanation.gates)
    return row


def gates_in_words(gates: Mapping[str, float]) -> str:
    """Return the gates on one line."""
    return ", ".join(f"{what} {in_percent(gate)}" for what, gate in gates.items())
