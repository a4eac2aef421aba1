"""The Streamlit page: what is on every page, and which page it is.

Layout only: reading, predicting, measuring and drawing are medvision's verbs. Start it with
``medvision app FOLDER``.
"""

from __future__ import annotations

import batch
import browse
import compare
import results
import streamlit as st
import view
from notices import told
from running import jobs
from sources import found
from state import PAGES, keep_choices, page_now

from medvision import MedvisionError

STYLE = """<style>
/* medvision-name */
[data-testid=stMainBlockContainer] { padding: 0.6rem 1.2rem 1rem; max-width: none; }
[data-testid=stHeader] { display: none; }
[data-testid=stSidebarHeader] { height: 0; min-height: 0; padding: 0.4rem 0.6rem; }
[data-testid=stSidebarUserContent] { padding: 0.4rem 1rem 2rem; }
.medvision-name { font-weight: 700; font-size: 1.25rem; letter-spacing: 0.01em; }
.medvision-name span { color: #9aa3ae; font-weight: 400; font-size: 0.8rem; margin-left: 0.8em; }
</style>"""
SHOW = {
    "Browse": browse.show,
    "View": view.show,
    "Compare": compare.show,
    "Batch": batch.show,
    "Results": results.show,
}


def main() -> None:
    """Draw the page."""
    st.set_page_config("medvision", page_icon="🧠", layout="wide")
    st.html(STYLE)
    keep_choices()
    jobs()  # the first model is loaded while people look around
    here = page_now(len(found().studies))
    name, pages = st.columns([3, 2], vertical_alignment="center")
    name.html(
        '<div class="medvision-name">medvision'
        "<span>Research use only, not a medical device.</span></div>"
    )
    with pages:
        st.segmented_control(
            "Page",
            PAGES,
            key="page",
            required=True,
            label_visibility="collapsed",
            width="stretch",
        )
    st.query_params["page"] = here
    try:
        SHOW[here]()
    except MedvisionError as error:
        st.error(told(str(error)))


main()
