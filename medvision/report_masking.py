"""Words of a report hidden together with their negations, so that neither gives the answer away.

Knows nothing of sections and models.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from medvision.errors import SpecError

MASK = "[MASK]"

# Cues and their reach follow NegEx (Chapman et al., J Biomed Inform 2001): a negation covers the
# next five words, up to the end of the sentence or a word such as "but". Phrases that look like
# negations and are none ("no change") have no reach.
REACH = 5
NEGATIONS = (
    r"no(?!\s+(?:(?:significant|interval|suspicious|definite)\s+)*(?:change|increase|decrease))|"
    r"not(?!\s+(?:only|certain|necessarily))|without(?!\s+(?:difficulty|change))|w/o|nor|neither|"
    r"never|non|cannot|absen(?:t|ce)|lack(?:s|ing)?|free\s+of|den(?:y|ies|ied|ying)|negative|"
    r"rule[ds]?\s+out|ruling\s+out|r/o|exclud(?:e|es|ed|ing)|fail(?:s|ed)?\s+to|unlikely|"
    r"kein\w{0,2}|ohne|nicht|pas|sans|aucune?|sin|niega|ausencia|descarta"
)
AFFIRMATIONS = (  # what stands where a negation might: "evidence of", with "no" before it or not
    r"(?:evidence|signs?|suspicion|diagnosis)\s+of|(?:positive|suspicious|concern(?:ing)?|evaluate|"
    r"assess|question)\s+for|(?:consistent|compatible|diagnosed)\s+with|confirmed|proven|known|"
    r"suspected|probable|possible|likely"
)
AFTER = (
    r"not\s+\w+(?:[\-‐-―/]\w+)*|ruled\s+out|excluded|unlikely|likely|absent|present|negative|positive|confirmed|"
    r"suspected|resolved|free|seen|identified|detected|ausgeschlossen|unwahrscheinlich|exclue?s?|"
    r"descartad[oa]s?"
)
VERBS = r"is|are|was|were|has|have|be|been|can|cannot|could|ist|sind|wurden?|est|es"
JOINTS = r"and|or|nor|und|oder|et|ou|y|o"
ENDS = r"but|however|yet|though|although|except|aside|apart|because|due|aber|jedoch|mais|pero"

_UNSPACED = (  # scripts that put no blanks between words: a word there may be part of a longer run
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]"
)
_LETTER = r"[^\W\d_]"
_HYPHEN = r"\-‐-―"
_JOINT = rf"[\s{_HYPHEN}/]"
_SPACE = rf"(?:(?!\n\s*\n){_JOINT}){{1,9}}"  # between words; a blank line is none


def mask_words(text: str, words: Sequence[str]) -> str:
    """Replace words, and the cues that negate or affirm them, by one ``[MASK]``.

    What lies between a cue and its word goes too: "no fever or pneumonia" is one ``[MASK]`` when
    pneumonia is masked. That hides more than the word rather than less. Negations in other
    languages than English, German, French and Spanish stay.

    Parameters
    ----------
    text : str
    words : sequence of str
        Words or phrases, whatever their case; give the singular, plurals follow (``opacity``:
        ``opacities``). Blanks and hyphens inside may differ or be missing (``covid-19``:
        ``COVID 19``, ``covid19``). ``pneumon*`` is every word that begins so, ``*pneumonia`` every
        word that ends so.

    Raises
    ------
    SpecError
        When a word has neither letter nor digit.

    Examples
    --------
    >>> mask_words("No evidence of pneumonia. Heart normal.", ["pneumonia"])
    '[MASK]. Heart normal.'
    """
    given = tuple(word.strip() for word in words if word.strip())
    if not given:
        return text
    return MASK.join(
        _pattern(given).sub(MASK, part) for part in unicodedata.normalize("NFC", text).split(MASK)
    )


@lru_cache(maxsize=64)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """Return what matches any of the words, each with the cues around it."""
    word = rf"(?:{'|'.join(_word(one) for one in sorted(words, key=len, reverse=True))})"
    # what lies between: a word ends a sentence where . : ; ! ? and a blank follow it
    one = rf"(?!(?:{ENDS})\b)(?=[^\s\w]{{0,3}}\w)(?>(?:[^\s.,:;!?{_HYPHEN}/]|[.,:;!?](?=\S))+)"
    negated = rf"\b(?:{NEGATIONS})\b(?:[,:]?{_SPACE}{one}){{0,{REACH}}}?[,:]?{_SPACE}"
    affirmed = rf"\b(?:{AFFIRMATIONS}){_SPACE}(?:(?:an?|the|acute){_SPACE})?"
    before = rf"(?:(?:{negated}|{affirmed})[(\"'“‘]?)?(?:\b\w{{1,2}}['’])?"
    more = rf"(?:,?{_SPACE}(?:(?:{JOINTS}){_SPACE})?{word})*"  # no pneumonia, effusion or mass
    after = rf"(?:{_SPACE}{one}){{0,{REACH}}}?,?{_SPACE}(?:(?:{VERBS}){_SPACE}){{0,3}}(?:{AFTER})\b"
    answer = rf"\s?:{_SPACE}(?:no|none|yes|{AFTER})\b"
    return re.compile(rf"{before}{word}{more}(?:{answer}|{after})?", re.IGNORECASE)


def _word(word: str) -> str:
    """Return the pattern of one word or phrase."""
    plain = unicodedata.normalize("NFC", word)
    parts = re.findall(rf"\d+|[^\s\d{_HYPHEN}/*]+", plain)
    if not any(c.isalnum() for c in plain):
        raise SpecError(f"{word!r} cannot be masked: it has neither letter nor digit.")
    body = rf"{_JOINT}{{0,3}}".join(re.sub("['’]", "['’]", re.escape(part)) for part in parts)
    first, last = parts[0][0], parts[-1][-1]
    start = rf"(?:(?<!{_LETTER})|(?<={_UNSPACED}))"
    end = rf"(?!(?!{_UNSPACED}){_LETTER})"
    if plain.startswith("*") or re.match(_UNSPACED, first):
        start = r"(?<!\w)\w*?" if plain.startswith("*") else ""
    elif first.isdigit():
        start = r"(?<!\d)"
    if plain.endswith("*") or re.match(_UNSPACED, last):
        end = r"\w*" if plain.endswith("*") else ""
    elif last.isdigit():
        end = r"(?!\d)"
    else:  # a number behind it goes too: covid, covid-19
        body, end = _plural(body) + "(?:['’]s)?", rf"{end}(?:[{_HYPHEN}]?\d+)?"
    return f"{start}{body}{end}"


def _plural(body: str) -> str:
    """Return the pattern of a word in singular and plural, Latin and Greek plurals with them."""
    for ending, plural in (("is", "es"), ("ax", "aces"), ("us", "i"), ("um", "a"), ("y", "ies")):
        if body.lower().endswith(ending):
            return rf"(?:{body}(?:e?s)?|{body[: -len(ending)]}{plural})"
    return rf"{body}(?:e?s)?"
