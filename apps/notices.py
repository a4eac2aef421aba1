"""What a person must know of a scan and of an answer, in one place, in the words of the app."""

from __future__ import annotations

import re

import streamlit as st
from running import Answer
from sources import from_root
from state import plain

from medvision import Study
from medvision.review import WORD, doubts_of, other_warnings

FLAG = ":material/flag:"
NEXT = "\n\n"  # a list begins on a line of its own
BOX = "draw a box around the part that is meant"
# what is said for the command line, and how it is said here
PHRASES = {
    "show it a part with --box": BOX,
    "Cut the one that is meant out of it (--box)": "Draw a box around the one that is meant",
    "crop the scan with --box": "draw a box around a part of the scan",
    "give --box in its own RAS mm": "draw a box, or type one in its own RAS mm",
    "run again with --debug, and please report it": "please report it",
    ", which `medvision info` shows": "",
}
OPTION = re.compile(r"(?<=\w) \(--[a-z][\w -]*\)")


def in_app(text: str) -> str:
    """Return what medvision says, for the app: no options, and paths from the app's folder on."""
    for phrase, instead in PHRASES.items():
        text = text.replace(phrase, instead)
    return OPTION.sub("", from_root(text))


def told(text: str) -> str:
    """Return the same where Markdown is shown."""
    return plain(in_app(text))


def show_notices(study: Study, answer: Answer | None) -> None:
    """Show what to look at first: the model's doubt, then warnings, then notes, folded away."""
    notes = list(study.image.info.notes)
    warnings: list[str] = []
    if answer is not None:
        if doubts := doubts_of(answer.prediction):
            said = listed(doubts)
            st.error(f"{WORD}:{NEXT if said.startswith('- ') else ' '}{said}", icon=FLAG)
        of_reading = notes_in(answer.study())
        warnings = [one for one in other_warnings(answer.prediction) if one not in of_reading]
        notes += [one for one in other_warnings(answer.prediction) if one in of_reading]
    notes = [one for one in dict.fromkeys(notes) if one not in warnings]
    if warnings:
        st.warning(listed(warnings))
    if notes:
        with st.expander(f"Notes on the scan ({len(notes)})"):
            st.markdown(listed(notes))


def notes_in(study: Study) -> set[str]:
    """Return what reading a study has said, as an answer repeats it."""
    several = len(study.volumes) > 1
    return {
        f"{name}: {note}" if several else note
        for name, volume in study.volumes.items()
        for note in volume.info.notes
    }


def listed(sentences: list[str]) -> str:
    """Return sentences as Markdown: one as it is, several as a list, the same advice once."""
    words = [told(one) for one in sentences]
    if sum(one.endswith(f"; {BOX}") for one in words) > 1:
        words = [one.removesuffix(f"; {BOX}") for one in words] + [BOX]
    return words[0] if len(words) == 1 else "\n".join(f"- {one}" for one in words)
