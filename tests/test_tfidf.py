"""The text baseline: it finds words that tell, and says the prior where none do."""

from collections import Counter

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from medvision.errors import SpecError, TrainingError
from medvision.metrics import auc
from medvision.tfidf import TextBaseline, terms_of

FILLER = [
    *("chest", "film", "of", "an", "adult", "lung", "heart"),
    *("seen", "on", "view", "supine", "portable", "today"),
]


def reports(count, told=1.0, seed=0, names=("effusion", "normal")):
    """Texts of random words; a share `told` of them has a word of its class, one of three."""
    rng = np.random.default_rng(seed)
    labels = [names[n % len(names)] for n in range(count)]
    texts = []
    for label in labels:
        words = list(rng.choice(FILLER, 8))
        if rng.random() < told:
            words.insert(4, f"{label[:3]}{rng.integers(3)}")
        texts.append(" ".join(words))
    return texts, labels, [f"p{n // 2 // len(names)}" for n in range(count)]


def truth_of(labels, names):
    return np.array([names.index(label) for label in labels])


@pytest.mark.parametrize("names", [("effusion", "normal"), ("mass", "effusion", "normal")])
def test_words_that_tell_are_found(names):
    texts, labels, groups = reports(120, names=names)
    model = TextBaseline(names).fit(texts, labels, groups)
    new, their_labels, _ = reports(60, seed=1, names=names)
    shares = model.predict(new)
    assert shares.shape == (60, len(names))
    assert shares.sum(axis=1) == pytest.approx(1)
    assert auc(truth_of(their_labels, names), shares) == 1
    for name, words in model.top_words(3).items():
        assert sorted(words) == [f"{name[:3]}{n}" for n in range(3)]


def test_words_that_do_not_tell_are_worth_nothing():
    texts, labels, groups = reports(300, told=0)
    model = TextBaseline(("effusion", "normal")).fit(texts, labels, groups)
    new, their_labels, _ = reports(300, told=0, seed=1)
    area = auc(truth_of(their_labels, ("effusion", "normal")), model.predict(new))
    assert 0.4 < area < 0.6


def test_a_text_without_a_known_word_gets_the_prior():
    texts, labels, groups = reports(120)
    keep = [n for n in range(120) if labels[n] == "normal" or n < 40]  # 20 and 60
    pick = [[one[n] for n in keep] for one in (texts, labels, groups)]
    model = TextBaseline(("effusion", "normal")).fit(*pick)
    for text in ("", "Unheard words", "\n"):
        assert model.predict([text])[0] == pytest.approx([0.25, 0.75])
        assert model.likelihoods([text])[0] == pytest.approx([0.5, 0.5])
    assert model.predict([]).shape == (0, 2)


@pytest.mark.parametrize("texts", [["", ""] * 4, [f"once{n}" for n in range(8)]])
def test_an_empty_vocabulary_gives_the_prior(texts):
    model = TextBaseline(("a", "b")).fit(texts, list("aaaaaabb"), list("12345678"))
    assert model.predict(["once1", ""]).tolist() == [[0.75, 0.25]] * 2
    assert model.top_words() == {"a": [], "b": []}


def test_a_class_that_training_lacks_gets_nothing():
    texts, labels, groups = reports(60)
    model = TextBaseline(("normal", "mass", "effusion")).fit(texts, labels, groups)
    shares = model.predict([*texts, ""])
    assert (shares[:, 1] == 0).all()
    assert shares.sum(axis=1) == pytest.approx(1)
    assert model.top_words()["mass"] == []
    assert shares[:60].argmax(axis=1).tolist() == [2, 0] * 30
    alone = TextBaseline(("a", "b")).fit(["x y", "x y"], ["b", "b"], ["1", "2"])
    assert alone.predict(["x"]).tolist() == [[0, 1]]


def test_the_words_are_those_of_the_training_texts():
    texts, labels, groups = reports(60)
    model = TextBaseline(("effusion", "normal")).fit([*texts[:-1], "unique"], labels, groups)
    words = set(model.vectorizer.get_feature_names_out())
    counted = Counter(term for text in texts[:-1] for term in set(terms_of(text)))
    assert words == {term for term, count in counted.items() if count >= 2}
    assert "unique" not in words


def test_the_prior_is_put_back_as_bayes_says():
    texts, labels, groups = reports(120, told=0.6)
    keep = [n for n in range(120) if labels[n] == "normal" or n < 40]
    pick = [[one[n] for n in keep] for one in (texts, labels, groups)]
    model = TextBaseline(("effusion", "normal")).fit(*pick)
    even, shares = model.likelihoods(texts), model.predict(texts)
    odds = (shares[:, 1] / shares[:, 0]) / (even[:, 1] / even[:, 0])
    assert odds == pytest.approx(3)
    theirs = LogisticRegression(C=model.model.C, class_weight="balanced", tol=1e-3, max_iter=200)
    matrix = model.vectorizer.transform(pick[0])
    theirs.fit(matrix, [label == "normal" for label in pick[1]])
    assert model.likelihoods(pick[0]) == pytest.approx(theirs.predict_proba(matrix))


@pytest.mark.parametrize("groups", [["1"] * 8, list("11112222"), list("12345678")])
def test_few_groups_are_enough_to_fit(groups):
    texts = ["big mass"] * 3 + ["clear lung"] * 5
    model = TextBaseline(("a", "b")).fit(texts, list("aaabbbbb"), groups)
    assert model.predict(["big mass", "clear lung"]).argmax(axis=1).tolist() == [0, 1]


def test_what_does_not_fit_is_said():
    with pytest.raises(SpecError, match=r"no class: 'c'"):
        TextBaseline(("a", "b")).fit(["x"], ["c"], ["1"])
    with pytest.raises(SpecError, match="2 texts, 1 labels and 1 groups"):
        TextBaseline(("a", "b")).fit(["x", "y"], ["a"], ["1"])
    with pytest.raises(TrainingError, match="needs texts"):
        TextBaseline(("a", "b")).fit([], [], [])
    with pytest.raises(TrainingError, match="fit"):
        TextBaseline(("a", "b")).predict(["x"])
