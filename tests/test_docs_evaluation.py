"""docs/evaluation.md names options, files and metrics that there are."""

import re
import shlex
from pathlib import Path

import typer

from medvision.cli import app
from medvision.evaluation import COMPARED
from medvision.evaluation_files import FIGURES, FIGURES_JSON, OTHER_SCORES, REPORT, SCORES
from medvision.facts import FACTS
from medvision.found_masks import FOUND, FOUND_CARD
from medvision.mask_figures import TOLERANCE_MM
from medvision.statistics import DRAWS, FEW

PAGE = (Path(__file__).parents[1] / "docs" / "evaluation.md").read_text(encoding="utf-8")


def test_every_option_is_one_of_its_command():
    block = re.search(r"```\n(medvision evaluate.*?)```", PAGE, re.S).group(1)
    known = {
        option for one in typer.main.get_command(app).commands["evaluate"].params
        for option in one.opts
    }  # fmt: skip
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    assert len(lines) == 4
    for words in lines:
        assert words[:3] == ["medvision", "evaluate", "cases.csv"]
        assert {word for word in words if word.startswith("--")} <= known, words
    assert set(re.findall(r"(--[a-z]+)", PAGE)) - {"--out"} <= known


def test_what_is_named_is_there():
    files = (SCORES, FIGURES, FIGURES_JSON, OTHER_SCORES, REPORT, f"{FOUND}/", FOUND_CARD)
    for name in (*files, *FACTS):
        assert f"`{name}`" in PAGE
    text = " ".join(PAGE.split())
    assert f"`--tolerance` ({TOLERANCE_MM:g} mm)" in text
    assert f"{DRAWS:,} times" in text
    assert f"fewer than {FEW} patients" in text
    assert COMPARED == ("dice", "nsd", "hd95_mm", "auc", "balanced_accuracy", "brier")
    assert "by Dice, NSD and HD95, or AUC, balanced accuracy and Brier score" in text
