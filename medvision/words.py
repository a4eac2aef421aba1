"""How well the presence of a word tells a class, counted over patients.

Knows nothing of models and of reports' sections: texts and labels in, words out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.stats import hypergeom
from sklearn.feature_extraction.text import CountVectorizer

from medvision.tfidf import terms_of

TELLING_AUC = 0.6  # below this a word tells little, however sure that little is
ALPHA = 0.01  # after Bonferroni: one of a hundred audits sees a word that is not there
SHOWN_GROUPS = 3  # a word of fewer patients may be a name: it is never shown
SHOWN_WORDS = 10


@dataclass(frozen=True)
class TellingWord:
    """A word, or pair of words, whose presence tells a class from the others.

    Parameters
    ----------
    word, class_name : str
    auc : float
        Of the presence alone, or of the absence where that tells the class.
    share_in, share_out : float
        Of the patients of the class, and of the others, those that have it.
    groups : int
        Patients that have it.
    p : float
        Fisher's exact test, two-sided as twice the smaller tail, after Bonferroni.
    """

    word: str
    class_name: str
    auc: float
    share_in: float
    share_out: float
    groups: int
    p: float


def telling_words(
    texts: Sequence[str], labels: Sequence[str], groups: Sequence[str], class_names: Sequence[str]
) -> list[TellingWord]:
    """Return the words and pairs that tell a class alone, the best first.

    Parameters
    ----------
    texts, labels, groups : sequence of M str
    class_names : sequence of str

    Returns
    -------
    list of TellingWord
        At most `SHOWN_WORDS`, each of `SHOWN_GROUPS` patients at least; of a word and a pair that
        holds it the word.
    """
    counter = CountVectorizer(analyzer=terms_of, binary=True)
    try:
        has = counter.fit_transform(texts)
    except ValueError:  # no text has a word
        return []
    terms = [str(term) for term in counter.get_feature_names_out()]
    told = [one for one in telling(has, terms, labels, groups, class_names) if one]
    told.sort(key=lambda one: (-round(one.auc, 2), len(one.word.split()), -one.auc, one.word))
    shown: list[TellingWord] = []
    for one in told:
        known = {word.word for word in shown if word.class_name == one.class_name}
        if len(shown) < SHOWN_WORDS and known.isdisjoint(one.word.split()):
            shown.append(one)
    return shown


def telling(
    has: Any,
    words: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str],
    class_names: Sequence[str],
) -> list[TellingWord | None]:
    """Judge the presence (M, V) of V words in M texts; None for a word that tells nothing.

    Several texts of a patient count as one; a patient with texts of two classes counts once for
    each. A word is held against each class, and told for the one that it tells best.
    """
    if not words or len(class_names) < 2:
        return [None] * len(words)
    _, group_of = np.unique(np.asarray(groups, str), return_inverse=True)
    spread = np.asarray(any_of(has, group_of).sum(axis=0)).ravel()  # (V,) patients
    pairs = np.array([[group, label] for group, label in zip(groups, labels, strict=True)], str)
    units, unit_of = np.unique(pairs, axis=0, return_inverse=True)
    tested = np.flatnonzero(spread >= SHOWN_GROUPS)
    found: list[TellingWord | None] = [None] * len(words)
    if not len(tested):
        return found
    held = any_of(csr_matrix(has)[:, tested], unit_of.ravel())  # (U, T)
    is_class = np.stack([units[:, 1] == name for name in class_names]).astype(float)  # (N, U)
    inside = np.asarray((held.T @ is_class.T).T)  # (N, T) patients of the class that have it
    total = np.asarray(held.sum(axis=0)).reshape(1, -1)  # (1, T)
    size = is_class.sum(axis=1)[:, None]  # (N, 1)
    share_in = inside / size.clip(1)
    share_out = (total - inside) / (len(units) - size).clip(1)
    area = 0.5 + np.abs(share_in - share_out) / 2
    area[((size == 0) | (size == len(units))).ravel()] = 0.5
    more = hypergeom.sf(inside - 1, len(units), total, size)
    less = hypergeom.cdf(inside, len(units), total, size)
    tests = len(tested) * (len(class_names) if len(class_names) > 2 else 1)
    p = (2 * np.minimum(more, less) * tests).clip(0, 1)
    # of two classes both are told as well: the one whose patients have the word
    best = (area + 1e-6 * (share_in > share_out)).argmax(axis=0)
    for n, column in enumerate(tested.tolist()):
        k = int(best[n])
        if area[k, n] >= TELLING_AUC and p[k, n] < ALPHA:
            found[column] = TellingWord(
                words[column],
                class_names[k],
                auc=float(area[k, n]),
                share_in=float(share_in[k, n]),
                share_out=float(share_out[k, n]),
                groups=int(spread[column]),
                p=float(p[k, n]),
            )
    return found


def any_of(has: Any, unit_of: NDArray[np.intp]) -> Any:
    """Return whether any text of a unit has a word: (M, V) → sparse (U, V) of 0 and 1."""
    ones = np.ones(len(unit_of))
    rows = csr_matrix((ones, (unit_of, np.arange(len(unit_of)))))  # (U, M)
    return (rows @ csr_matrix(has)).sign()


def plain(text: str) -> str:
    """Return a text as words between single blanks, without case and punctuation.

    Examples
    --------
    >>> plain("COVID-19: pleural_effusion")
    'covid 19 pleural effusion'
    """
    return " ".join(re.findall(r"[^\W_]+", text.lower()))
