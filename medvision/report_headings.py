"""Where the headings of a report lie, in the styles found in the wild. Knows of no files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

ANSWERS = ("findings", "impression")  # sections written from the image
# Of a heading for several sections, the one that gives most away.
CLOSEST = ("impression", "findings", "technique", "comparison", "history", "indication")

# Headings without case and accents, in English, German, French and Spanish.
TITLES = {
    "indication": "indication|indications|reason|reason for exam|reason for examination|reason for "
    "the exam|reason for the examination|reason for this exam|reason for this examination|reason "
    "for study|reason for the study|reason for test|reason for visit|reason for referral|reason "
    "for consult|exam indication|indication for exam|indication for examination|indication for "
    "study|question|order reason|indikation|indikationen|rechtfertigende indikation|fragestellung|"
    "motif|motif de l examen|indicacion|indicaciones|motivo|motivo de consulta",
    "history": "history|history of present illness|hpi|hx|pmh|chief complaint|presenting complaint|"
    "clinical information|clinical info|clinical details|clinical data|clinical background|"
    "clinical presentation|clinical statement|klinische angaben|klinische information|klinische "
    "informationen|klinik|anamnese|vorgeschichte|antecedents|renseignements cliniques|contexte|"
    "contexte clinique|histoire clinique|antecedentes|datos clinicos|historia clinica|"
    "informacion clinica",
    "technique": "technique|techniques|procedure|procedures|procedure comments|protocol|exam|"
    "examination|exam type|examination type|type of exam|type of examination|type of study|study|"
    "technik|untersuchung|untersuchungstechnik|protocole|examen|tecnica|exploracion|estudio",
    "comparison": "comparison|comparisons|comparison study|comparison studies|comparison exam|"
    "comparison exams|prior|priors|prior study|prior studies|prior exam|prior exams|prior "
    "examination|prior imaging|previous study|previous studies|previous exam|previous exams|"
    "previous examination|previous imaging|vergleich|voruntersuchung|voruntersuchungen|"
    "voraufnahmen|comparaison|comparacion|estudios previos",
    "findings": "findings|finding|report|description|observation|observations|result|results|"
    "befund|befunde|befundbericht|resultat|resultats|constatations|compte rendu|hallazgo|"
    "hallazgos|informe|descripcion|resultados",
    "impression": "impression|impressions|conclusion|conclusions|opinion|assessment|summary|"
    "interpretation|diagnosis|diagnoses|recommendation|recommendations|addendum|addenda|comment|"
    "comments|wet read|notification|notifications|beurteilung|zusammenfassung|diagnose|diagnosen|"
    "empfehlung|empfehlungen|nachtrag|synthese|avis|impresion|impresion diagnostica|conclusiones|"
    "diagnostico|juicio|juicio diagnostico|interpretacion|recomendacion|recomendaciones",
}
SECTION_OF = {title: name for name, titles in TITLES.items() for title in titles.split("|")}
# Words before a title that change nothing: "relevant clinical history".
QUALIFIERS = (
    *("clinical", "relevant", "pertinent", "brief", "past", "medical", "surgical", "family"),
    *("social", "patient", "patients", "exam", "examination", "radiology", "radiological"),
    *("final", "preliminary", "overall", "additional", "klinische"),
)

JOINTS = r"\s*(?:[/&,+]|\b(?:and|und|et|y)\b)\s*"  # of a title for several sections
WORDS, REACH = 6, 80  # of a title inside a line: words, and characters before its colon

_LINE = re.compile(  # a line that begins with a title
    r"[ \t]*(?P<mark>#{1,6}[ \t]+)?(?:[>•*-][ \t]+|\(?(?:\d{1,2}|[ivxIVX]{1,4})[.)][ \t]+)*"
    r"(?P<bold>[*_]{1,3})?(?P<title>[^\W\d_][^:：\n]{0,70}?)[*_]{0,3}"
    r"(?P<end>[ \t]*[:：][*_]{0,3}|[ \t]+[-–—](?=[ \t])|[.*_ \t]*$)"
)
_BARE = re.compile(  # a title in capitals, without a colon, before text that is not in capitals
    r"(?<![^\s.;>|])(?:FINDINGS?|IMPRESSIONS?|CONCLUSIONS?|BEFUNDE?|BEURTEILUNG|RÉSULTATS?|"
    r"HALLAZGOS|IMPRESIÓN|CONCLUSIÓN)(?=\s+(?:\d|[^\W\d_]?[ \t]?[^\W\d_A-ZÀ-Þ]))"
)
_STOP = re.compile(r"[.;!?](?=\s)|[|<>]")  # ends a sentence inside a line


@dataclass(frozen=True)
class Heading:
    """Where a heading lies in a text; its section is None when the title is unknown."""

    start: int
    end: int
    section: str | None
    inside: bool = False  # of a line
    capitals: bool = False


def section_of(title: str) -> str | None:
    """Return the section of a title; of several the one that gives most away.

    Examples
    --------
    >>> section_of("FINDINGS/IMPRESSION"), section_of("Klinische Angaben"), section_of("Dose")
    ('impression', 'history', None)
    """
    letters = unicodedata.normalize("NFKD", re.sub(r"\([^()]*\)", " ", title.casefold()))
    plain = "".join(c for c in letters if not unicodedata.combining(c))
    plain = " ".join(re.sub(r"[^\w/&,+]", " ", plain).split())
    found = [_one_section(part) for part in (plain, *re.split(JOINTS, plain))]
    if found[0] or all(found[1:]) or set(found) & set(ANSWERS):
        return found[0] or next(name for name in CLOSEST if name in found)
    return None


def _one_section(title: str) -> str | None:
    """Return the section of a plain title, with or without words that change nothing."""
    words = title.split()
    while words and " ".join(words) not in SECTION_OF and words[0] in QUALIFIERS:
        words = words[1:]
    return SECTION_OF.get(" ".join(words))


def find_headings(text: str) -> Iterator[Heading]:
    """Yield what may be a heading, in its order.

    Parameters
    ----------
    text : str
        Lines end with a line feed.
    """
    start = 0
    for line in text.split("\n"):
        for one in sorted(_of_line(line), key=lambda heading: heading.start):
            yield Heading(start + one.start, start + one.end, one.section, one.inside, one.capitals)
        start += len(line) + 1


def _of_line(line: str) -> Iterator[Heading]:
    """Yield what may be a heading in one line."""
    done = 0
    found = _LINE.match(line)
    if found:
        title, end = found["title"].strip(), found["end"].strip(" \t*_.")
        section, marked = section_of(title), bool(found["mark"] or found["bold"])
        if section and (end in (":", "：") or title[0].isupper() or marked):
            yield Heading(found.start(), done := found.end(), section)
        elif marked and not end:
            yield Heading(found.start(), done := found.end(), None)
    for colon in re.finditer("[:：]", line):
        if colon.start() >= done:
            yield from _before_colon(line, done, colon.start())
            done = colon.end()
    for bare in _BARE.finditer(line):
        yield Heading(bare.start(), bare.end(), section_of(bare[0]), bool(bare.start()), True)


def _before_colon(line: str, done: int, colon: int) -> Iterator[Heading]:
    """Yield the heading that ends with a colon: the longest known title, else an unknown one."""
    first = max(done, colon - REACH)
    before = line[first:colon].rstrip(" \t*_")
    titles = []  # where a title may begin, and whether a sentence begins there
    for word in list(re.finditer(r"[^\s|<>*_#]+", before))[-WORDS:]:
        start, title = word.start(), before[word.start() :]
        outside = before[:start].rstrip(" \t*_#|")
        begins = outside[-1:] in ".;!?|>" if outside else not line[:first].strip()
        if not _STOP.search(title) and (title[0].isupper() or begins):
            titles.append((start, begins))
            section = section_of(title)
            if section:
                end = len(line) - len(line[colon + 1 :].lstrip("*_"))
                inside = bool(line[: first + start].strip())
                yield Heading(first + len(outside), end, section, inside, title.isupper())
                return
    if titles and not line[colon + 1 : colon + 2].strip():  # 10:30 is no title
        start = first + (titles[0] if titles[0][1] else titles[-1])[0]
        words = before[titles[0][0] :].split()
        answer = next((name for name in map(section_of, words) if name in ANSWERS), None)
        # the unknown title is kept as text: it may be no title at all
        yield Heading(start, start, answer, bool(line[:start].strip()))
