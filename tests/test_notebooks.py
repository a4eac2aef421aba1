"""The notebooks run from beginning to end, and find what they say. In processes of their own."""

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs nbformat (extra test)")
pytest.importorskip("nbclient", reason="needs nbclient (extra test)")
pytest.importorskip("ipykernel", reason="needs ipykernel (extra test)")

from run_notebooks import execute  # noqa: E402  (examples/)

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = ("first_prediction", "train_your_own", "does_the_report_help")
NUMBER = r"([+-]?\d+\.\d+)"
PICTURES = ("image/png", "image/jpeg", "image/svg+xml")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    def run_one(name):
        kept = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
        found = execute(EXAMPLES / f"{name}.ipynb", tmp_path)
        assert [kinds(cell) for cell in found.cells] == [kinds(cell) for cell in kept.cells]
        assert {path.name for path in tmp_path.iterdir()} == {name, "ipython"}
        return said_in(found)

    return run_one


def kinds(cell):
    """What sorts of output a cell has."""
    return [one.get("name", one.output_type) for one in cell.get("outputs", [])]


def said_in(notebook):
    """All text that a notebook's cells show."""
    parts = []
    for cell in notebook.cells:
        for one in cell.get("outputs", []):
            data = one.get("data", {})
            parts.append(one.get("text", "") or data.get("text/markdown", ""))
    return "\n".join(parts)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_is_small_whole_and_of_no_machine(name):
    path = EXAMPLES / f"{name}.ipynb"
    assert path.stat().st_size < 1_000_000
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [one for cell in code for one in cell.outputs]
    assert {one.get("name", "stdout") for one in outputs} == {"stdout"}  # no warning
    assert not any("text/html" in one.get("data", {}) for one in outputs)  # as bars would be
    assert any(set(PICTURES) & set(one.get("data", {})) for one in outputs)
    text = said_in(notebook) + "".join(cell.source for cell in notebook.cells)
    assert not re.search(r"/(home|root|work|tmp|usr|Users)/|[A-Z]:\\|\b20\d\d-\d\d-\d\d\b", text)
    assert "Research use only" in text


def test_first_prediction(run):
    said = run("first_prediction")
    for side in ("left", "right"):
        parts = re.findall(rf"{side} \w+: {NUMBER} ml, confidence {NUMBER}", said)
        assert len(parts) == 2
        assert 3.5 <= sum(float(ml) for ml, _ in parts) <= 6.0
        assert all(float(sure) > 0.9 for _, sure in parts)
    assert "Read back on the same grid: True True" in said
    mirrored = re.findall(rf"Dice {NUMBER}, HD95 {NUMBER}", said)
    assert len(mirrored) == 2
    assert all(float(dice) > 0.95 and float(far) < 3 for dice, far in mirrored)


def test_train_your_own(run):
    said = run("train_your_own")
    assert "{'train': 23, 'val': 3, 'test': 6}" in said
    told = rf"dice: {NUMBER} \({NUMBER} to {NUMBER}\)"
    for name in ("all", "head", "tail"):
        dice, low, high = (float(n) for n in re.search(rf"{name} {told}", said).groups())
        assert 0.7 < low <= dice <= high < 1, name
    assert "| head | 6 |" in said


def test_does_the_report_help(run):
    said = run("does_the_report_help")
    best = [float(n) for n in re.findall(rf"best possible AUC, \w+: {NUMBER}", said)]
    assert best == pytest.approx([0.750, 0.750, 0.831], abs=0.0005)
    areas = {
        name: float(area)
        for name, area in re.findall(rf"\| ([^|]+) \| {NUMBER} \([^|]+\|[^|]+\|[^|]+\|", said)
    }
    assert areas["image and report"] > max(areas["image only"], areas["report only"])
    assert 0.7 < areas["image and report"] < best[2] + 0.05
    what = {
        name.strip(): float(share)
        for name, share in re.findall(r"^([a-z ]+?) +present: (0\.\d+)$", said, re.M)
    }
    assert what["as it is"] > what["severe hidden"] > what["minimal instead of severe"]
    word, added = re.search(rf"^(\w+) +{NUMBER}$", said, re.M).groups()
    assert word == "severe"
    assert float(added) > 0.5
