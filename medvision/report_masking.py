"""Words of a report hidden together with their negations, so that neither gives the answer away."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

MASK = "[MASK]"
# Cues that negate or affirm, and how far they reach: NegEx (Chapman et al., J Biomed Inform 2001).
BEFORE = (
    r"no|not|non|nor|neither|never|without|absent|absence of|lack of|free of|denie[sd]|denying|"
    r"negative for|positive for|rules? out|ruled out|ruling out|exclude[sd]?|excluding|r/o|"
    r"evaluate for|assess for|concern(?:ing)? for|suspicio(?:n of|us for)|suspected|confirmed|"
    r"consistent with|compatible with|kein(?:e[nrsm]?)?|ohne|pas de|sans|sin|niega"
)
AFTER = (
    r"(?:(?:is|are|was|were|has been|have been|can be|cannot be|could not be)\s+)?(?:not\s+)?"
    r"(?:ruled out|excluded|unlikely|likely|absent|negative|positive|confirmed|suspected|seen|"
    r"identified|detected|present|free)"
)
REACH = 4  # words between a cue and what it is about


def mask_words(text: str, words: Sequence[str]) -> str:
    """Replace words, and the cues that negate or affirm them, by ``[MASK]``.

    Parameters
    ----------
    text : str
    words : sequence of str
        Words or phrases, whatever their case; blanks and hyphens inside may differ or be missing
        (``covid-19``: ``COVID 19``, ``covid19``), a plural s may follow, and ``pneumon*`` stands
        for every word that begins so.

    Examples
    --------
    >>> mask_words("No evidence of pneumonia. Heart normal.", ["pneumonia"])
    '[MASK]. Heart normal.'
    """
    given = tuple(word.strip() for word in words if word.strip(" *-"))
    if not given:
        return text
    return _pattern(given).sub(MASK, text)


@lru_cache(maxsize=64)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """Return what matches any of the words, each with the cues around it."""
    hidden = "|".join(_word(word) for word in sorted(words, key=len, reverse=True))
    one = rf"(?:\[MASK\]|(?<!\w)(?:{hidden})(?!\w))"
    before = rf"(?<!\w)(?:{BEFORE})[\s-]+(?:(?!\[MASK\])[\w'/-]+,?[ \t]+){{0,{REACH}}}?"
    return re.compile(
        rf"(?:{before})?(?<!\w)(?:{hidden})(?!\w)"
        rf"(?:(?:,|\s+(?:and|or|und|oder|et|y))?[\s-]+{one})*(?:[\s-]+(?:{AFTER})(?!\w))?",
        re.IGNORECASE,
    )


def _word(word: str) -> str:
    """Return the pattern of one word or phrase."""
    stem = word.removesuffix("*")
    parts = re.split(r"[\s-]+", stem.strip(" -"))
    end = r"\w*" if word.endswith("*") else "(?:e?s)?"
    return r"[\s-]*".join(re.escape(part) for part in parts) + end
