"""The figures in the cards of the bundled models are where `make cards` puts them, and right."""

import re
import runpy
from pathlib import Path

import pytest

from medvision.checkpoint import CARD
from medvision.errors import CasesError
from medvision.score_tables import score_table
from medvision.scores import read_scores
from medvision.zoo import bundled_models

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MADE_BY = runpy.run_path(str(BENCHMARKS / "card_sections.py"))
START, END, section, with_section = (
    MADE_BY[name] for name in ("START", "END", "section", "with_section")
)
SCORES = BENCHMARKS / "scores"
KEPT = sorted(path.stem for path in SCORES.glob("*.csv"))


def figures_in(name):
    """The part of a model's card that holds its figures."""
    card = (bundled_models()[name] / CARD).read_text(encoding="utf-8")
    assert (card.count(START), card.count(END)) == (1, 1)
    return card.partition(START)[2].partition(END)[0]


@pytest.mark.parametrize("name", bundled_models())
def test_every_card_has_its_figures_between_the_marks(name):
    assert re.search(r"^\| .*\d\.\d{3}", figures_in(name), re.M)


@pytest.mark.parametrize("name", KEPT)
def test_figures_are_those_of_the_scores_that_are_kept(name):
    text = figures_in(name)
    assert "95 % intervals over" in text
    plain = re.sub(r" \([^()]*\)(?= \|)", "", text)
    assert score_table(read_scores(SCORES / f"{name}.csv")) in plain


def test_scores_are_kept_of_the_classifiers():
    assert KEPT == ["adrenal28", "pneumonia28"]


def test_other_figures_take_the_place_of_those_between_the_marks():
    card = f"# m\n\n{section('old')}\n\n## Limits\n"
    assert with_section(card, "new\n") == f"# m\n\n{START}\n\nnew\n\n{END}\n\n## Limits\n"
    for bad in ("# m\n", f"{END} {START}", f"{card}{section('twice')}"):
        with pytest.raises(CasesError, match="once each"):
            with_section(bad, "new")
