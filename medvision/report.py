"""Report text: its sections, cleaned, with words hidden. Text in, text out; knows of no files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from medvision.report_masking import mask_words

SECTIONS = ("indication", "history", "technique", "comparison", "findings", "impression", "note")
DEFAULT_SECTIONS = ("indication", "history", "comparison")  # written before the image is looked at
TITLES = {  # in English, German, French and Spanish
    "indication": "indications? for (?:the )?(?:exam|examination|study)|(?:clinical |exam )?"
    "indications?|reasons? for (?:the )?(?:exam|examination|study|visit|referral|consult)|"
    "clinical questions?|(?:rechtfertigende |klinische )?indikation(?:en)?|fragestellung|motif|"
    "indicaci[oó]n(?:es)?|motivo(?: de consulta)?",
    "history": "(?:clinical |patient |past |medical |relevant |brief )*history|clinical "
    "(?:information|details|data|background|presentation)|klinische (?:angaben|informationen?)|"
    "(?:klinik|anamnese|vorgeschichte)|ant[eé]c[eé]dents|renseignements cliniques|antecedentes|"
    "datos cl[ií]nicos|historia cl[ií]nica|informaci[oó]n cl[ií]nica",
    "technique": "techniques?|procedures?|protocol|exam(?:ination)?(?: type)?|study|type of "
    "(?:exam|examination|study)|technik|untersuchung(?:stechnik)?|t[eé]cnica",
    "comparison": "comparisons?(?: studies| exams?)?|priors?|(?:prior|previous) (?:studies|study|"
    "exams?|examinations?|imaging)|vergleich|vor(?:untersuchung(?:en)?|aufnahmen?|bilder)|"
    "comparaison|comparaci[oó]n",
    "findings": "findings?|description|report|observations?|befunde?|befundbericht|r[eé]sultats?|"
    "constatations|hallazgos|informe|descripci[oó]n",
    "impression": "impressions?|conclusions?|opinion|assessment|interpretation|summary|"
    "(?:final |preliminary )?diagnos[ie]s|recommendations?|addend(?:um|a)|comments?|wet read|"
    "beurteilung|zusammenfassung|diagnosen?|empfehlung(?:en)?|nachtrag|interpr[eé]tation|"
    "impresi[oó]n|conclusi[oó]n(?:es)?|diagn[oó]stico|interpretaci[oó]n",
}
# Of a heading for several sections, the one that may hold most of the answer.
CLOSEST = ("impression", "findings", "technique", "comparison", "history", "indication")

_KNOWN = "|".join(f"(?:{titles})" for titles in TITLES.values())
_TITLE = rf"(?:{_KNOWN})(?:\s*(?:/|&|,|\band\b|\bund\b|\bet\b|\by\b)\s*(?:{_KNOWN}))*"
_BEFORE = r"(?:(?:\d+|[ivx]+)[.)][ \t]*|[#>*_-]+[ \t]*)*"  # numbers, bullets, markdown
_HEADING = re.compile(
    # a line that begins with a known title and a colon, or holds nothing else
    rf"^[ \t]*{_BEFORE}(?P<line>{_TITLE})[ \t*_]*(?::[*_]*|[-–—][ \t]|\.?[ \t]*$)"
    # a known title inside a line, with a colon
    rf"|(?<=[\s.;!?)\]*_#>])(?P<inside>{_TITLE})[ \t*_]*:[*_]*"
    # the start of what holds the answer, in capitals
    r"|(?<=[\s.;!?)\]*_#>])(?P<large>(?-i:FINDINGS?|IMPRESSIONS?|CONCLUSIONS?|BEFUNDE?|"
    r"BEURTEILUNG|RÉSULTATS?|HALLAZGOS|IMPRESIÓN))(?!\w)"
    # any other title: in capitals with a colon, or a line's first few words with a colon
    r"|(?:^[ \t]*|(?<=[.;!?]\s))(?P<other>(?-i:[A-ZÀ-Þ][A-ZÀ-Þ0-9 /&,()-]{2,50})):"
    rf"|^[ \t]*{_BEFORE}(?P<small>(?-i:[A-ZÀ-Þ])[\w()/-]+(?:[ \t][\w()/-]+){{0,3}})[ \t]?:(?=\s)",
    re.IGNORECASE | re.MULTILINE,
)
_BLANKS = re.compile(r"\[\*\*.*?\*\*\]|\b[Xx]{3,}\b|_{2,}|<(?:unk|redacted|name|date)>")
_UNITS = re.compile(r"(?<=\d)(?=(?:mm|cm|ml|cc|mg|kg|hu|mhz)\b)", re.IGNORECASE)


def split_sections(text: str) -> dict[str, str]:
    """Split a report into the sections that it has, in the order of their first headings.

    Nothing but headings is lost. Text under no heading is ``note``; so is what follows an unknown
    heading, but inside of technique, findings and impression, where such headings are common
    (``LUNGS:``). Addenda and recommendations belong to the impression.

    Examples
    --------
    >>> split_sections("INDICATION: cough. FINDINGS: clear lungs.")
    {'indication': 'cough.', 'findings': 'clear lungs.'}
    """
    parts: dict[str, list[str]] = {}
    section, start = "note", 0
    for heading in _HEADING.finditer(text):
        before = text[start : heading.start()].rstrip("*_#> \t\r\n")  # markdown of the heading
        parts.setdefault(section, []).append(before)
        title = heading["line"] or heading["inside"] or heading["large"]
        start = heading.end()
        if title:
            section = section_of(title)
        else:  # an unknown title is kept as text: it may be no title at all
            start = heading.start()
            section = section if section in ("technique", "findings", "impression") else "note"
    parts.setdefault(section, []).append(text[start:])
    joined = {name: "\n".join(p.strip() for p in some if p.strip()) for name, some in parts.items()}
    return {name: said for name, said in joined.items() if said}


def section_of(title: str) -> str:
    """Return the section of a known title; of several the one that may hold most of the answer."""
    parts = re.split(r"\s*(?:/|&|,|\band\b|\bund\b|\bet\b|\by\b)\s*", title.strip().lower())
    found = {
        name
        for part in [*parts, title.strip().lower()]
        for name, titles in TITLES.items()
        if re.fullmatch(titles, part)
    }
    return next(name for name in CLOSEST if name in found)


def select_sections(text: str, sections: Sequence[str]) -> str:
    """Return the text of some sections, in the order of the report."""
    return "\n".join(said for name, said in split_sections(text).items() if name in sections)


def clean_report(text: str) -> str:
    """Return a text in one line: without blanks left by de-identification and control characters.

    ``XXXX``, ``____`` and ``[** … **]`` go, ``3mm`` becomes ``3 mm``, letters with accents get one
    form (Unicode NFC).
    """
    text = _BLANKS.sub(" ", unicodedata.normalize("NFC", text))
    kept = (
        c if c.isspace() or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else "" for c in text
    )
    return " ".join(_UNITS.sub(" ", "".join(kept)).split())


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
    """
    return mask_words(clean_report(select_sections(report or "", sections)), masked)
