"""Coded concepts: what DICOM files call the classes of a model.

A code is text, ``"SCT:5366008:Hippocampus"``: scheme, value and meaning. SCT is SNOMED CT, whose
codes DICOM may use in any product (PS3.16 8). Knows nothing of models or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from medvision.errors import SpecError

ANATOMICAL_STRUCTURE = "SCT:123037004:Anatomical Structure"
TISSUE = "SCT:85756007:Tissue"
MOST = {"scheme": 16, "value": 16, "meaning": 64}  # characters: SH, SH and LO of PS3.5 6.2


class Code(NamedTuple):
    """One coded concept (PS3.3 8.1)."""

    scheme: str  # "SCT", "DCM", "UCUM", …
    value: str
    meaning: str


@dataclass(frozen=True)
class ClassCodes:
    """What a class of a model is, in codes.

    Parameters
    ----------
    type : str
        What it is, such as ``"SCT:10200004:Liver"``; of a segment see PS3.16 CID 7151.
    category : str
        What kind of thing that is: CID 7150, such as ``"SCT:49755003:Morphologically Altered
        Structure"`` for a lesion.
    laterality : str
        ``"SCT:7771000:Left"``, ``"SCT:24028007:Right"`` (CID 244); empty where it has none.

    Raises
    ------
    SpecError
        When a code is not ``"SCHEME:VALUE:Meaning"``, or longer than DICOM lets it be.
    """

    type: str
    category: str = ANATOMICAL_STRUCTURE
    laterality: str = ""

    def __post_init__(self) -> None:
        for text in (self.type, self.category, *([self.laterality] if self.laterality else [])):
            split_code(text)


def split_code(text: str) -> Code:
    """Return the parts of a code.

    Raises
    ------
    SpecError

    Examples
    --------
    >>> split_code("SCT:5366008:Hippocampus").meaning
    'Hippocampus'
    """
    parts = [part.strip() for part in text.split(":", 2)]
    if len(parts) != 3 or not all(parts) or "\\" in text:
        raise SpecError(
            f'A code is "SCHEME:VALUE:Meaning", such as "SCT:10200004:Liver"; found {text!r}.'
        )
    for part, (what, most) in zip(parts, MOST.items(), strict=True):
        if len(part) > most:
            raise SpecError(f"The {what} of a code has at most {most} characters: {text!r}.")
    return Code(*parts)


GENERIC = ClassCodes(TISSUE)  # of a class without codes: its name says the rest
