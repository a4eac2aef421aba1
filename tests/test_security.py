"""The threat note names files that are there, and limits as the code has them."""

import re
from pathlib import Path

import jobs
import pytest

from medvision.extras import UPLOAD_MB
from medvision.io import archive
from medvision.io.dicom import elements, frames, stack

ROOT = Path(__file__).parents[1]
NOTE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`((?:medvision|apps|tests|datasets|docs)/[\w./-]+)`", NOTE)))


@pytest.mark.parametrize("name", NAMED)
def test_a_file_that_is_named_is_there(name):
    assert (ROOT / name).exists()


def test_each_part_names_a_test():
    assert len(NAMED) > 40
    for part in (
        "Model files",
        "Scans that attack",
        "Results, logs",
        "De-identification",
        "The app",
    ):
        text = NOTE.split(f"## {part}")[1].split("\n## ")[0]
        assert "`tests/" in text, part


def test_limits_are_those_of_the_code():
    words = " ".join(NOTE.split())
    assert f"{archive.MAX_MEMBERS:,} members and {archive.MAX_TOTAL >> 30} GB" in words
    assert f"{archive.MAX_RATIO} bytes unpacked for one packed" in words
    assert (
        f"at most {elements.MAX_HEADER >> 20} MB, {elements.MAX_INFLATED >> 30} GB inflated"
        in words
    )
    assert f"at most {elements.MAX_DEPTH} deep" in words
    assert f"{frames.MAX_FRAMES:,} frames" in words
    assert stack.MAX_VOXELS == 2**32
    assert "2³² voxels" in words
    assert f"{UPLOAD_MB >> 10} GB a file" in words
    assert f"{jobs.KEPT} a browser and {jobs.KEPT_IN_ALL} in all" in words
    members, total = archive.check_upload.__kwdefaults__.values()
    assert f"{members:,} members and {total >> 30} GB unpacked" in words
