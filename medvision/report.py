"""Report text: its sections, cleaned, with words hidden. Text in, text out; knows of no files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from medvision.errors import SpecError
from medvision.report_headings import ANSWERS, Heading, find_headings
from medvision.report_masking import MASK, mask_words

SECTIONS = ("indication", "history", "technique", "comparison", "findings", "impression", "note")
DEFAULT_SECTIONS = ("indication", "history", "comparison")  # written before the image is looked at

_RULES = re.compile(r"^[ \t]*[-=_*~]{3,}[ \t]*$", re.MULTILINE)  # lines drawn across the page
_LINE_ENDS = re.compile(r"\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")
_SENTENCE = re.compile(r"[.!?][\"')\]]?\s+(?=[A-ZÀ-Þ])|[.!?][^\S\n]*\n")  # its end
_BLANK_LINE = re.compile(r"\S[^\S\n]*\n[^\S\n]*\n")
_CONTROLS = re.compile(  # but for the joiners, which Persian and Indic scripts need
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff]"
)
_BLANKS = re.compile(  # left by de-identification
    r"-?(?:\[\*\*[^\[\]]{0,200}\*\*\]|\b[Xx]{3,}\b|_{2,}|<(?:unk|redacted|phi|name|date)>|"
    r"\[(?:unk|redacted|phi|name|date)\])-?",
    re.IGNORECASE,
)
_UNITS = re.compile(r"(?<=\d)[ -]?(mm|cm|ml|cc|mg|kg|hu)\b", re.IGNORECASE)
_BY = re.compile(r"(?<=\d)\s?[x×]\s?(?=\d)")  # 3x4 cm


def split_sections(text: str) -> dict[str, str]:
    """Split a report into the sections that it has, in the order of their first headings.

    Nothing but headings and ruled lines is lost. What may hold the answer is kept out of the
    `DEFAULT_SECTIONS`: text under no heading is ``note``, and so is what follows an unknown heading
    (``DOSE:``) or a blank line in a section that is written before the image is looked at, and
    what follows the first sentence of a comparison, where findings often come without a heading.
    Inside of findings and impression unknown headings (``LUNGS:``) belong to them. Addenda and
    recommendations belong to the impression.

    Examples
    --------
    >>> split_sections("INDICATION: cough. FINDINGS: clear lungs.")
    {'indication': 'cough.', 'findings': 'clear lungs.'}
    """
    text = _RULES.sub("", _LINE_ENDS.sub("\n", unicodedata.normalize("NFC", text)))
    found = list(find_headings(text))
    last_answer = max((h.start for h in found if h.section in ANSWERS), default=-1)
    parts: dict[str, list[str]] = {}
    section, start = "note", 0
    for heading in found:
        if heading.start < start or not _opens(heading, section, last_answer):
            continue
        _add(parts, section, text[start : heading.start])
        section = heading.section or "note"
        start = heading.end
    _add(parts, section, text[start:])
    return {name: "\n".join(some) for name, some in parts.items()}


def _opens(heading: Heading, section: str, last_answer: int) -> bool:
    """Tell whether a heading ends the section that it lies in."""
    if heading.section is None:
        return section not in ("note", "technique", *ANSWERS)
    if not heading.inside or heading.section in ANSWERS:
        return True
    # free text ("… Past medical history: none. Both lungs show …") goes on without headings
    if section == "note":
        return heading.start < last_answer
    return section not in ANSWERS or (heading.capitals and heading.start < last_answer)


def _add(parts: dict[str, list[str]], section: str, text: str) -> None:
    """Add text to a section, and to ``note`` what lies beyond the section's end."""
    end = len(text)
    if section not in ("note", *ANSWERS):
        blank = _BLANK_LINE.search(text)
        end = blank.end() if blank else end
    if section == "comparison":
        stop = _SENTENCE.search(text, 0, end)
        end = stop.end() if stop else end
    for name, said in ((section, text[:end].strip()), ("note", text[end:].strip())):
        if said:
            parts.setdefault(name, []).append(said)


def select_sections(text: str, sections: Sequence[str]) -> str:
    """Return the text of some sections, in the order of the report.

    Raises
    ------
    SpecError
        When there is no such section.
    """
    strange = [name for name in sections if name not in SECTIONS]
    if strange:
        raise SpecError(f"No section {', '.join(strange)}. Choose from: {', '.join(SECTIONS)}.")
    return "\n".join(said for name, said in split_sections(text).items() if name in sections)


def clean_report(text: str) -> str:
    """Return a text in one line: without blanks left by de-identification and control characters.

    ``XXXX``, ``____`` and ``[** … **]`` go, ``3mm`` becomes ``3 mm``, letters with accents get one
    form (Unicode NFC). Case and script stay.

    Examples
    --------
    >>> clean_report("XXXX-year-old, 3x4mm nodule on [**2019-1-1**] .")
    'year-old, 3 x 4 mm nodule on.'
    """
    text = unicodedata.normalize("NFC", _CONTROLS.sub("", _LINE_ENDS.sub("\n", text)))
    text = " ".join(_BLANKS.sub(" ", text).split())
    text = _BY.sub(" x ", _UNITS.sub(lambda unit: " " + unit[1].lower(), text))
    text = re.sub(r"\( ?\)|\[ ?\]", "", text)
    return " ".join(re.sub(r" ([,.;!?])(?!\d)", r"\1", text).split())


def report_for_model(
    report: str | None, sections: Sequence[str], masked: Sequence[str] = ()
) -> str:
    """Return what a model may see of a report; empty when there is nothing.

    Parameters
    ----------
    report : str, optional
    sections : sequence of str
        Some of `SECTIONS`.
    masked : sequence of str
        See `medvision.report_masking.mask_words`.

    Raises
    ------
    SpecError
        When there is no such section, or a word to mask has neither letter nor digit.
    """
    text = mask_words(clean_report(select_sections(report or "", sections)), masked)
    return text if any(c.isalnum() for c in text.replace(MASK, "")) else ""
