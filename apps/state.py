"""What a person chose: kept while they are on another page, and in the page's address."""

from __future__ import annotations

import re

import streamlit as st

PAGES = ("Browse", "View", "Compare", "Batch", "Results")
KEPT = (
    "page", "scan", "series", "model", "where", "typed", "over", "folder", "explained class",
    "explained by", "tolerance", "results part", "truth table",
)  # fmt: skip
KEPT_BATCH = ("batch model", "batch studies", "batch boxes", "batch outputs", "batch folder")
KEPT_FROM = ("report of ", "series for ", "filter ")


# what Markdown and Streamlit read as more than themselves
SPECIAL = re.compile(
    r"([\\`*_{}\[\]()<>#+!|~$]|:(?=\S))"
)  # what Markdown and Streamlit read as more


def plain(text: str) -> str:
    """Return text as it is, where Markdown is shown: names of files and series may hold any."""
    return SPECIAL.sub(r"\\\1", text)


def duration(seconds: float) -> str:
    """Return a time as people say it: ``0.4 s``, ``42 s``, ``4 min 21 s``, ``1 h 5 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def keep_choices() -> None:
    """Keep the choices of pages that are not drawn now: Streamlit forgets those of its widgets."""
    for name in list(st.session_state):
        if name in KEPT + KEPT_BATCH or str(name).startswith(KEPT_FROM):
            st.session_state[name] = st.session_state[name]


def page_now(studies: int) -> str:
    """Return the page to draw: what was chosen or what the address says; first of many: Browse."""
    if moved := st.session_state.pop("moved to", None):
        st.session_state["page"] = moved
    if st.session_state.get("page") not in PAGES:
        asked = st.query_params.get("page", "")
        st.session_state["page"] = asked if asked in PAGES else "View" if studies == 1 else "Browse"
    return str(st.session_state["page"])


def go(page: str, **choices: object) -> None:
    """Draw another page, with some things chosen there."""
    st.session_state["moved to"] = page
    for name, value in choices.items():
        st.session_state[name] = value
    st.rerun()
