"""The page on training names every setting as it is, and only commands that there are."""

import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
import typer
from training_phantom import write_phantom_cases

from medvision.cli import app
from medvision.dataset import read_cases
from medvision.plan import plan
from medvision.plan_file import with_settings
from medvision.train_config import Augment, TrainConfig

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "training.md").read_text(encoding="utf-8")
SCRIPT = DOCS / "slurm_train.sh"


def commands():
    """Every command line of medvision on the page, with its continuation lines joined."""
    blocks = re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if "medvision " in line and "tensorboard" not in line]


@pytest.mark.parametrize(("kind", "prefix"), [(TrainConfig, ""), (Augment, "augment.")])
def test_the_table_holds_every_setting_with_its_default(kind, prefix):
    rows = dict(re.findall(rf"^\| `{re.escape(prefix)}(\w+)` \| (\S+) \| \S", PAGE, re.MULTILINE))
    defaults = {f.name: str(getattr(kind(), f.name)) for f in fields(kind) if f.name != "augment"}
    assert rows == defaults


@pytest.mark.parametrize("line", commands())
def test_the_commands_are_there(line):
    name, *rest = line.split("medvision ", 1)[1].split()
    known = typer.main.get_command(app).commands[name].params
    options = {option for parameter in known for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= options


def test_the_settings_that_the_page_sets_are_taken(tmp_path):
    found = re.findall(r"--set (\S+?)[`\s]", PAGE)
    assert len(found) > 4
    cases = read_cases(write_phantom_cases(tmp_path, 2))
    planned = plan(cases, ["ball"], "balls", width=4, show=False)
    with_settings(planned, [one for one in found if "NAME" not in one and "shortcut" not in one])


def test_the_job_script_is_a_script():
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    text = SCRIPT.read_text(encoding="utf-8")
    assert "-m medvision train" in text
    first_command = text.index("set -euo")
    assert text.rindex("#SBATCH") < first_command  # SLURM reads none after it
