"""Which results a person should look at, from numbers known by hand."""

from dataclasses import replace

import numpy as np
import pytest

from medvision.prediction import Prediction
from medvision.review import doubts_of, limit_in_words, limit_of, other_warnings, review_note
from medvision.review import review_word as word_of
from medvision.volume import Volume

WHOLE = (slice(0, 4), slice(0, 4), slice(0, 4))
SAID = (
    "the model is less sure of anterior (0.71) than of 95 % of the cases it was validated on (0.83)"
)


def segmented(confidence, review=0.83, **change):
    names = ("anterior", "posterior")
    mask = Volume(np.ones((1, 4, 4, 4), np.uint8), np.eye(4))
    found = Prediction("a", "m", names, WHOLE, mask, confidence=confidence, review=review)
    return replace(found, **change)


@pytest.mark.parametrize(
    ("count", "rank"), [(10, 1), (20, 1), (21, 2), (40, 2), (41, 3), (100, 5), (101, 6)]
)
def test_the_limit_is_the_5th_percentile_by_nearest_rank(count, rank):
    values = np.random.default_rng(0).permutation(np.arange(1, count + 1)) / 1000
    assert limit_of(list(values)) == rank / 1000
    assert limit_of(list(values)) == np.percentile(values, 5, method="inverted_cdf")
    assert sum(values < limit_of(list(values))) <= 0.05 * count


def test_of_fewer_than_ten_cases_no_limit_is_told():
    assert limit_of([0.5] * 9) is None
    assert limit_of([0.5] * 10) == 0.5
    assert "there are 9 of 12 folds' cases" in limit_in_words([0.5] * 9, 12, "folds' cases")
    assert "below 0.5000 are flagged" in limit_in_words([0.5] * 10, 12)
    assert "10 of 12 validation cases" in limit_in_words([0.5] * 10, 12)


def test_a_doubt_names_what_the_model_is_unsure_of():
    assert doubts_of(segmented({"anterior": 0.71, "posterior": 0.9})) == [SAID]
    assert review_note(segmented({"anterior": 0.71})) == f"Review: {SAID}"
    [both] = doubts_of(segmented({"anterior": 0.71, "posterior": 0.5}))
    assert "less sure of posterior (0.50) and anterior (0.71) than" in both
    [close] = doubts_of(segmented({"anterior": 0.8299}))
    assert "anterior (0.8299) than" in close
    assert close.endswith("(0.8300)")
    many = {f"s{n}": n / 100 for n in range(9)}
    [told] = doubts_of(segmented(many))
    assert "s4 (0.04) and 4 more than of 95 %" in told


@pytest.mark.parametrize(
    ("confidence", "review", "word"),
    [
        ({"anterior": 0.83}, 0.83, "no"),  # the limit itself is sure enough
        ({"anterior": 0.82}, 0.83, "yes"),
        ({"anterior": 0.1}, None, ""),  # the model knows no limit
        ({}, 0.83, ""),  # nothing was found to be sure of
    ],
)
def test_only_what_lies_below_the_limit_is_to_be_reviewed(confidence, review, word):
    found = segmented(confidence, review)
    assert word_of(found) == word
    assert bool(doubts_of(found)) == found.needs_review == (word == "yes")
    assert bool(review_note(found)) == (word == "yes")


def test_warnings_beside_a_note_do_not_say_it_again():
    found = segmented({"anterior": 0.71}, warnings=("looks odd", SAID))
    assert other_warnings(found) == ("looks odd",)


def test_the_dictionary_says_how_sure_the_model_is():
    said = segmented({"anterior": 0.7123456789}).to_dict()
    assert [s["confidence"] for s in said["structures"]] == [0.712346, None]
    assert (said["confidence"], said["review"], said["needs_review"]) == (0.712346, 0.83, True)
    scores = {"no": 0.1, "yes": 0.9}
    sure = Prediction("a", "m", ("no", "yes"), WHOLE, scores=scores, confidence={"yes": 0.9})
    said = sure.to_dict()
    assert (said["confidence"], said["review"], said["needs_review"]) == (0.9, None, False)


def test_what_is_unlike_the_training_is_to_be_reviewed_however_sure_the_model_is():
    found = segmented(
        {"anterior": 0.99}, None, unlike=("anterior has 72 ml: 1 to 3 ml in training",)
    )
    assert found.needs_review
    assert not found.is_unsure
    assert word_of(found) == "yes"
    assert review_note(found) == "Review: anterior has 72 ml: 1 to 3 ml in training"
    both = replace(found, review=0.995, confidence={"anterior": 0.71})
    assert [one.partition(" ")[0] for one in doubts_of(both)] == ["the", "anterior"]
    assert other_warnings(replace(both, warnings=(*doubts_of(both), "cut off"))) == ("cut off",)
