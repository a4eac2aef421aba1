"""docs/reports.md can be followed: its commands are there, and say what it says they do."""

import re
import shlex
from pathlib import Path

import typer
from typer.testing import CliRunner

from medvision.ablation_page import ONE_SEED, SAYS
from medvision.cli import app

PAGE = (Path(__file__).parents[1] / "docs" / "reports.md").read_text(encoding="utf-8")
BLOCKS = "\n".join(re.findall(r"```\n(.*?)```", PAGE, re.S)).replace("\\\n", " ")
COMMANDS = [
    words
    for line in BLOCKS.splitlines()
    if (words := shlex.split(line, comments=True)) and words[0] == "medvision"
]


def test_every_option_is_one_of_its_command():
    assert [words[1] for words in COMMANDS] == [
        *("datasets", "audit", "audit", "plan", "train", "evaluate", "explain")
    ]
    for words in COMMANDS:
        command = typer.main.get_command(app)
        for word in words[1:]:
            command = getattr(command, "commands", {}).get(word, command)
        known = {option for one in command.params for option in one.opts}
        assert {word for word in words if word.startswith("--")} <= known, words


def test_what_is_quoted_is_what_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = ""
    for words, code in zip(COMMANDS, (0, 0, 1), strict=False):
        done = CliRunner().invoke(app, words[1:])
        assert done.exit_code == code, done.output
        said += done.stdout
    quoted = re.findall(r"^> .*(?:\n> .*)*", PAGE, re.M)[:3]
    for block in quoted:
        for line in block.replace("<br>\n> ", "\n").replace("\n> ", " ").splitlines():
            assert line.removeprefix("> ") in said
    assert "by patient: here 0.714 for all three" in PAGE.replace("\n", " ")
    assert re.search(r"0\.71\d \(0\.\d+ to 0\.\d+\)", said)


def test_the_conclusions_are_in_the_words_of_the_page():
    text = " ".join(PAGE.replace("<br>", " ").replace("> ", " ").split())
    assert all(any(words in text for words in each) for each in SAYS.values())
    assert ONE_SEED in text
