"""The text baseline: TF-IDF of words and pairs of words, and a linear model.

Knows nothing of images, reports' sections or files: texts in, probabilities out.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from medvision.errors import SpecError, TrainingError

WORD = re.compile(r"\[mask\]|\w+")  # what a masked word leaves behind is a word, too
MIN_TEXTS = 2  # a word of one text alone cannot be learned
STRENGTHS = (0.1, 1.0, 10.0, 100.0)  # inverse, of regularization
INNER_FOLDS = 3

Shares: TypeAlias = NDArray[np.float64]  # (M, N) probabilities


def words_of(text: str) -> list[str]:
    """Cut a text into lower-case words.

    Examples
    --------
    >>> words_of("No [MASK], T2-weighted.")
    ['no', '[mask]', 't2', 'weighted']
    """
    return WORD.findall(text.lower())


class TextBaseline:
    """Logistic regression on TF-IDF: what a report tells without any understanding of it.

    Words and pairs of words with sublinear term frequency (Manning, Raghavan & Schütze 2008,
    section 6.4); classes weighted as if each were as frequent as any other.

    Parameters
    ----------
    class_names : sequence of str
        Order of the probabilities.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = tuple(class_names)
        self.prior: NDArray[np.float64] = np.zeros(0)  # (N,), shares of the training texts
        self.vectorizer: Any = None
        self.model: Any = None  # None where nothing can be learned: the prior is all there is

    def fit(
        self, texts: Sequence[str], labels: Sequence[str], groups: Sequence[str]
    ) -> TextBaseline:
        """Learn from texts, and nothing but these; how strongly to regularize, too.

        The strength with the best log-likelihood in a cross-validation inside these texts is
        taken, which never splits a group.

        Parameters
        ----------
        texts, labels, groups : sequence of M str

        Raises
        ------
        SpecError
            When they are not of the same M, or a label is none of the classes.
        TrainingError
            When there are none.
        """
        strange = sorted(set(labels) - set(self.class_names))
        if strange or not len(texts) == len(labels) == len(groups):
            raise SpecError(
                f"{len(texts)} texts, {len(labels)} labels and {len(groups)} groups, with labels "
                f"that are no class: {', '.join(map(repr, strange)) or 'none'}."
            )
        if not len(texts):
            raise TrainingError("A text baseline needs texts to learn from; found none.")
        truth = np.array([self.class_names.index(label) for label in labels])
        self.prior = np.bincount(truth, minlength=len(self.class_names)) / len(truth)
        self.vectorizer = self.model = None
        vectorizer = TfidfVectorizer(
            analyzer=terms_of, min_df=MIN_TEXTS, sublinear_tf=True, dtype=np.float64
        )
        try:
            matrix = vectorizer.fit_transform(texts)
        except ValueError:  # no word comes twice
            return self
        if len(set(labels)) > 1:
            strength = choose_strength(matrix, truth, groups, len(self.class_names))
            self.vectorizer, self.model = vectorizer, fit_linear(matrix, truth, strength)
        return self

    def likelihoods(self, texts: Sequence[str]) -> Shares:
        """Return (M, N) probabilities as if all classes of the training were equally frequent.

        These can be compared between folds, whose classes are never of quite the same shares.
        """
        if not self.prior.size:
            raise TrainingError("A text baseline predicts after it was fitted: call fit() first.")
        known = self.prior > 0
        shares = np.tile(known / known.sum(), (len(texts), 1))
        if self.model is not None and len(texts):
            matrix = self.vectorizer.transform(texts)
            told = np.diff(matrix.indptr) > 0  # texts with a known word in them
            if told.any():
                shares[told] = shares_of(self.model, matrix[told], len(self.class_names))
        return shares

    def predict(self, texts: Sequence[str]) -> Shares:
        """Return (M, N) probabilities, in the order of the classes.

        A text without a known word gets the shares of the training labels, and a class that the
        training lacked 0.

        Raises
        ------
        TrainingError
            Before `fit`.
        """
        shares = self.likelihoods(texts) * self.prior  # Bayes: undoes the weights of the classes
        return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float64)

    def top_words(self, count: int = 10) -> dict[str, list[str]]:
        """Return the words and pairs that speak most for each class; none where none does."""
        found: dict[str, list[str]] = {name: [] for name in self.class_names}
        if self.model is None:
            return found
        terms, rows = self.vectorizer.get_feature_names_out(), self.model.coef_
        rows = np.concatenate([-rows, rows]) if len(rows) == 1 else rows
        for number, row in zip(self.model.classes_, rows, strict=True):
            best = np.argsort(-row, kind="stable")[:count]
            found[self.class_names[number]] = [str(terms[i]) for i in best if row[i] > 0]
        return found


def terms_of(text: str) -> list[str]:
    """Return the words of a text, and its pairs of neighboring words."""
    words = words_of(text)
    return words + [f"{a} {b}" for a, b in pairwise(words)]


def fit_linear(matrix: Any, truth: NDArray[np.integer], strength: float) -> Any:
    """Fit a logistic regression with balanced classes to (M, V) features."""
    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=200, tol=1e-3)
    with warnings.catch_warnings():  # as good as it gets is good enough for a baseline
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(matrix, truth)


def shares_of(model: Any, matrix: Any, classes: int) -> Shares:
    """Return (M, N) probabilities, 0 for classes that the model never saw."""
    shares = np.zeros((matrix.shape[0], classes))
    shares[:, model.classes_] = model.predict_proba(matrix)
    return shares


def choose_strength(
    matrix: Any, truth: NDArray[np.integer], groups: Sequence[str], classes: int
) -> float:
    """Return the strength with the best likelihood out of fold; the middle one without folds."""
    folds = inner_folds(truth, groups)
    if not folds:
        return STRENGTHS[1]
    said = np.concatenate([truth[val] for _, val in folds])
    weights = 1 / np.bincount(said, minlength=classes).clip(1)[said]  # each class counts alike
    losses = []
    for strength in STRENGTHS:
        models = [fit_linear(matrix[train], truth[train], strength) for train, _ in folds]
        found = [shares_of(m, matrix[v], classes) for m, (_, v) in zip(models, folds, strict=True)]
        right = np.concatenate(found)[np.arange(len(said)), said]
        losses.append(-np.average(np.log(right.clip(1e-6)), weights=weights))
    return STRENGTHS[int(np.argmin(losses))]


def inner_folds(truth: NDArray[np.integer], groups: Sequence[str]) -> list[tuple[Any, Any]]:
    """Return rows to train on and rows to judge on; none where the groups cannot be split."""
    splitter = StratifiedGroupKFold(INNER_FOLDS, shuffle=True, random_state=0)
    with warnings.catch_warnings():  # classes rarer than the folds are judged all the same
        warnings.simplefilter("ignore", UserWarning)
        try:
            folds = list(splitter.split(truth, truth, groups))
        except ValueError:  # fewer groups than folds, or every class is rarer than they are
            return []
    fit = all(len(val) and len(set(truth[train])) > 1 for train, val in folds)
    return folds if fit else []
