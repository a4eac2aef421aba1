"""The elements of a DICOM header as a table, without what may identify a patient.

What may is decided as in de-identification: `profile` lists what is known to be harmless, and all
other text, names, dates, times, instance UIDs and private elements read "hidden". Pixels are not
read. Knows nothing of scans.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_keyword
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.uid import UID_dictionary

from medvision.errors import DecodeError
from medvision.io.archive import archive_of, unpacked
from medvision.io.dicom.elements import read_elements
from medvision.io.quiet import quiet_pydicom
from medvision.profile import (
    EMPTIED,
    IDENTIFYING,
    KEPT_TEXT,
    MAKERS,
    OVERLAYS,
    REMOVED,
    SHORTEST,
    TEXT_VRS,
)

HIDDEN = "hidden"
LONGEST = 200  # characters of a value
MOST_VALUES = 16  # of an element
MOST_ITEMS = 100  # of a sequence; a frame of an Enhanced image is one
MOST_TAGS = 20_000  # of a file, before sequences are no longer looked into
MOMENT_VRS = {"DA", "DT", "TM"}
LETTERS = {  # PS3.5 6.2, and what makers add to it; a value of others may be anything
    "CS": re.compile(r"[A-Z0-9 _.+/-]{0,32}"),
    "DS": re.compile(r"[0-9.eE+-]{0,20}"),
    "IS": re.compile(r"[0-9+-]{0,12}"),
}


@dataclass(frozen=True)
class Tag:
    """One element of a DICOM header.

    Parameters
    ----------
    tag : str
        ``"(0010,0010)"``: group and element in hex.
    name : str
        Keyword; of an element inside a sequence the path to it,
        ``"ReferencedSeriesSequence[0].SeriesInstanceUID"``.
    vr : str
        Value representation, two letters (PS3.5 6.2).
    value : str
        As text; long ones are shortened, binary ones are told as ``"512 bytes"``, sequences as
        ``"2 items"``. ``"hidden"`` where it may identify somebody.
    hidden : bool
    """

    tag: str
    name: str
    vr: str
    value: str
    hidden: bool = False


def read_tags(path: Path, *, identity: bool = False) -> list[Tag]:
    """Read the header of a DICOM file, up to its pixels, with the items of its sequences.

    Parameters
    ----------
    path : Path
        A file, or the path of one in a zip.
    identity : bool
        Whether to show what identifies the patient, and private elements. Else their values read
        ``"hidden"``; so does every value that repeats one of them.

    Returns
    -------
    list of Tag
        In the order of the tags, the file's meta information first.

    Raises
    ------
    DecodeError
        When the file is no DICOM file, is cut short or damaged, or claims a header beyond 512 MB.
    """
    place = unpacked(path) if archive_of(path) is not None else nullcontext(path)
    with place as file:
        if not file.exists():
            raise DecodeError(f"{path} is not there.")
        read_elements(file)  # believes no length before the bytes are there, as pydicom does
        with quiet_pydicom():
            try:
                data = dcmread(file, stop_before_pixels=True, force=True)
                rows = [row for part in (data.file_meta, data) for row in rows_of(part, "", False)]
            except Exception:  # pydicom raises errors of many kinds
                raise DecodeError(f"{file} is damaged: its header cannot be parsed.") from None
    if identity:
        return [row.tag for row in rows]
    known = identities_in(rows)
    return [row.told(known) for row in rows]


def find_tags(tags: Sequence[Tag], words: str) -> list[Tag]:
    """Return the elements in which every word occurs: in the tag, the name or the shown value.

    Upper and lower case are one. What is hidden is not searched, so that nobody can guess at it.

    Examples
    --------
    >>> name = Tag("(0010,0010)", "PatientName", "PN", "hidden", hidden=True)
    >>> [len(find_tags([name], words)) for words in ("patient name", "0010,0010", "hidden")]
    [1, 1, 0]
    """
    asked = words.casefold().split()

    def text(tag: Tag) -> str:
        digits = re.sub(r"\W", "", tag.tag)
        shown = "" if tag.hidden else tag.value
        return f"{tag.tag}\n{digits}\n{tag.name}\n{shown}".casefold()

    return [tag for tag in tags if all(word in text(tag) for word in asked)]


@dataclass(frozen=True)
class Row:
    """An element as it is, with what decides whether its value is shown."""

    tag: Tag  # with its value
    keyword: str
    texts: tuple[str, ...]  # values, whole
    secret: bool

    def told(self, known: set[str]) -> Tag:
        """Return the element with its value hidden where it is secret, or repeats what is known."""
        hidden = bool(self.tag.value) and (self.secret or self.repeats(known))
        return replace(self.tag, value=HIDDEN, hidden=True) if hidden else self.tag

    def repeats(self, known: set[str]) -> bool:
        """Tell whether the value holds one of the known identities, as a word or a whole."""
        if self.keyword in MAKERS or self.tag.vr not in TEXT_VRS | {"CS"}:
            return False  # a hospital may be called as a maker is
        whole = {text.casefold() for text in self.texts}
        words = {word for text in whole for word in re.split(r"[\W_]+", text)}
        return bool(known & (whole | words | {w for text in whole for w in text.split()}))


def rows_of(data: Dataset, parent: str, secret: bool, count: int = 0) -> Iterator[Row]:
    """Yield the elements of a data set; `secret` says that it lies in something that is hidden."""
    for key in sorted(data.keys()):
        count += 1
        row, items = row_of(data, key, parent, secret)
        yield row
        for number, item in enumerate(items[:MOST_ITEMS] if count < MOST_TAGS else ()):
            below = f"{row.tag.name}[{number}]."
            for one in rows_of(item, below, row.secret, count):
                count += 1
                yield one


def row_of(data: Dataset, key: BaseTag, parent: str, secret: bool) -> tuple[Row, Sequence[Dataset]]:
    """Return an element, and the items that it holds."""
    number = f"({key.group:04X},{key.element:04X})"
    keyword = "" if key.is_private else dictionary_keyword_of(key)
    element, broken = data.get_item(key), False
    vr, value = str(getattr(element, "VR", None) or "UN"), None
    try:
        element = data[key]
        vr, value = str(element.VR), element.value
    except Exception:  # a value that its VR cannot hold, a VR that does not exist
        broken = True
    name = parent + (keyword or (private_name(element) if key.is_private else "Unknown"))
    if vr == "SQ" and not broken:
        items = list(value or ())
        words = f"{len(items)} item{'' if len(items) == 1 else 's'}"
        more = f", the first {MOST_ITEMS} shown" if len(items) > MOST_ITEMS else ""
        below = secret or key.is_private or not keyword or keyword in REMOVED
        return Row(Tag(number, name, vr, words + more), keyword, (), below), items
    texts = () if broken else texts_of(value)
    words = "cannot be read" if broken else in_words(value, texts)
    hide = secret or may_identify(key, keyword, vr, texts)
    return Row(Tag(number, name, vr, words), keyword, texts, hide), ()


def may_identify(key: BaseTag, keyword: str, vr: str, texts: Sequence[str]) -> bool:
    """Tell whether a value may identify somebody: whatever is not known to be harmless."""
    if key.is_private or not keyword or key.group & 0xFF00 in OVERLAYS:
        return True
    if keyword in REMOVED | EMPTIED | IDENTIFYING or vr in MOMENT_VRS or vr == "PN":
        return True
    if vr == "UI":
        return not all(text in UID_dictionary for text in texts)
    if vr in LETTERS:
        return not all(LETTERS[vr].fullmatch(text) for text in texts)
    return vr in TEXT_VRS and keyword not in KEPT_TEXT


def identities_in(rows: Sequence[Row]) -> set[str]:
    """Return the names and their parts, the numbers and the dates that no other value may tell."""
    found = set[str]()
    for row in rows:
        if row.tag.vr == "PN":
            found |= {part for text in row.texts for part in [text, *re.split(r"[\W_]+", text)]}
        elif row.tag.vr in ("DA", "DT") or row.keyword in IDENTIFYING:
            found |= set(row.texts)
    return {text.casefold() for text in found if len(text) >= SHORTEST}


def texts_of(value: Any) -> tuple[str, ...]:
    """Return the values of an element as text; none of a binary one."""
    if value is None or isinstance(value, bytes):
        return ()
    values = value if isinstance(value, (MultiValue, list, tuple)) else [value]
    return tuple(" ".join(str(one).replace("\0", " ").split()) for one in values)


def in_words(value: Any, texts: Sequence[str]) -> str:
    """Return a value as a table shows it."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes" if value else ""
    words = " \\ ".join(texts[:MOST_VALUES])
    if len(words) > LONGEST:
        words = f"{words[:LONGEST]}… ({sum(map(len, texts))} characters)"
    more = len(texts) - MOST_VALUES
    known = UID_dictionary.get(words)
    words += f" ({known[0]})" if known else ""
    return f"{words} \\ … ({len(texts)} values)" if more > 0 else words


def private_name(element: Any) -> str:
    """Return what pydicom's dictionary calls a private element, ``"[CSA Image Header Info]"``."""
    name = str(getattr(element, "name", ""))
    return name if name.startswith("[") else "Private"


def dictionary_keyword_of(key: BaseTag) -> str:
    """Return the keyword of a tag; empty when the standard does not know it."""
    try:
        return str(dictionary_keyword(key))
    except KeyError:
        return ""
