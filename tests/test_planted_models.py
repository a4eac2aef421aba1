"""Models made, judged, explained and exported with planted scans: no value of a header is kept."""

import logging
import shutil

import numpy as np
import pytest
import toy_classifier
from planted import found_below, found_in, write_planted_file, write_planted_report
from safetensors import safe_open
from toy_fusion import TEXT, spec_of, write_toy
from typer.testing import CliRunner

import medvision.checkpoint
from medvision import cli
from medvision.dataset import write_cases
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.portable import PARITY
from medvision.volume import Volume

TINY = ("--width", "4", "--set", "steps=3", "--set", "batch_size=2")
CPU = ("--device", "cpu")
SHAPE = (22, 24, 20)
WORDS = "Fever and cough."


def run(*arguments, status=0):
    """Run a command, and return what it prints."""
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments], env={"COLUMNS": "300"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert status is None or result.exit_code == status, result.output
    return result.output


@pytest.fixture(autouse=True)
def silent(caplog, capfd):
    """Nothing planted is said, on the terminal or in log lines."""
    caplog.set_level(logging.DEBUG)
    yield
    said = caplog.text + "".join(capfd.readouterr())
    assert found_in(said.encode("utf-8", "replace")) == set()


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Tables of six planted scans with balls: with planted masks, and with classes."""
    folder = tmp_path_factory.mktemp("planted")
    random, rows = np.random.default_rng(0), []
    lps = np.diag([-1.0, -1, 1, 1])
    for number in range(6):
        center = tuple(float(v) for v in random.uniform(8, 13, 3) * (-1, -1, 1))
        ball = Ellipsoid(center, (6.0, 5.0, 4.0), value=60)
        image, mask = ellipsoid_phantom(SHAPE, lps, [ball], noise=8, seed=number)
        stored = Volume(np.rint(image.array + 40 * (number % 2)).astype(np.int16), lps)
        write_planted_file(folder / f"i{number}.dcm", stored, number)
        drawn = mask.with_array(mask.array.astype(np.int16))
        write_planted_file(folder / f"m{number}.dcm", drawn, 100 + number)
        write_planted_report(folder / f"r{number}.dcm", WORDS, number)
        row = {"case_id": f"case{number}", "image": f"i{number}.dcm", "group": f"g{number // 2}"}
        rows.append((row, f"m{number}.dcm", ("dark", "bright")[number % 2], f"r{number}.dcm"))
    masks = write_cases(folder / "masks.csv", [row | {"mask": mask} for row, mask, *_ in rows])
    classes = [
        row | {"label": label, "report_file": report, "split": ("train", "val", "test")[n // 2]}
        for n, (row, _, label, report) in enumerate(rows)
    ]
    return masks, write_cases(folder / "classes.csv", classes)


@pytest.fixture(scope="module")
def trained(scans, tmp_path_factory):
    """The folder of a run of `medvision train`, planned by `medvision plan`."""
    folder = tmp_path_factory.mktemp("trained")
    said = run("plan", scans[0], "--classes", "ball", *TINY, "--out", folder / "plan.json")
    said += run("train", scans[0], "--plan", folder / "plan.json", "--out", folder / "run", *CPU)
    return folder, said


def test_a_plan_and_a_training_keep_nothing_of_headers(trained):
    folder, said = trained
    names = {path.name for path in folder.rglob("*")}
    assert {"plan.json", "model.safetensors", "spec.json", "card.md"} <= names
    assert found_below(folder) == {}
    assert found_in(said.encode()) == set()


@pytest.mark.slow
def test_a_training_in_folds_keeps_nothing_of_headers(scans, tmp_path):
    said = run("train", scans[0], "--classes", "ball", *TINY, "--folds", 3, "--out", tmp_path, *CPU)
    assert found_below(tmp_path) == {}
    assert found_in(said.encode()) == set()


def test_an_evaluation_keeps_nothing_of_headers(scans, trained, tmp_path):
    model = trained[0] / "run" / "model"
    judge = ("evaluate", scans[0], *CPU)
    said = run(*judge, "--model", model, "--out", tmp_path / "first")
    found = ("--results", tmp_path / "first" / "found", "--classes", "ball")
    said += run(*judge, *found, "--against", model, "--out", tmp_path / "second")
    files = sorted(scans[0].parent.glob("i*.dcm"))
    said += run("predict", *files, "--model", model, "--out", tmp_path / "results", *CPU)
    said += run(*judge, "--results", tmp_path / "results", "--out", tmp_path / "third")
    pages = list(tmp_path.rglob("report.html"))
    assert len(pages) == 4
    assert all("data:image/" in page.read_text(encoding="utf-8") for page in pages)
    assert found_below(tmp_path) == {}
    assert found_in(said.encode()) == set()


def test_an_exported_model_keeps_neither_scans_nor_headers(trained, tmp_path):
    pytest.importorskip("openvino", reason="needs openvino (extra export)")
    said = run("export", trained[0] / "run" / "model", tmp_path / "exported")
    with safe_open(tmp_path / "exported" / PARITY, "pt") as file:
        assert file.metadata() == {"window": "noise"}  # of no scan
    assert not list(tmp_path.rglob("*.nii.gz"))
    assert found_below(tmp_path) == {}
    assert found_in(said.encode()) == set()


@pytest.fixture
def brightness(tmp_path, monkeypatch):
    """A model folder that tells dark scans from bright ones."""
    monkeypatch.setattr(medvision.checkpoint, "build_model", lambda _: toy_classifier.Brightness())
    return toy_classifier.write_classifier(tmp_path / "brightness", 3)


def test_classes_are_judged_and_calibrated_without_headers(scans, brightness, tmp_path):
    table, out = scans[1], tmp_path / "out"
    said = run("evaluate", table, "--model", brightness, "--out", out / "judged", *CPU)
    said += run(
        "calibrate", table, "--model", brightness, "--out", out / "calibrated", "--alpha", 0.5, *CPU
    )
    files = sorted(table.parent.glob("i*.dcm"))
    said += run("predict", *files, "--model", brightness, "--out", out / "results", *CPU)
    results = ("--results", out / "results", "--against", out / "calibrated", *CPU)
    said += run("evaluate", table, *results, "--out", out / "second")
    assert found_below(out) == {}
    assert found_in(said.encode()) == set()


def test_a_page_that_explains_has_the_words_of_a_report_and_nothing_of_headers(scans, tmp_path):
    model = write_toy(tmp_path / "model", spec_of(3, TEXT, name="reader"))
    page, out = tmp_path / "out" / "why.html", tmp_path / "out"
    scan, report = scans[0].parent / "i0.dcm", scans[0].parent / "r0.dcm"
    asked = ("explain", scan, "--report", report, "--model", model, *CPU)
    said = run(*asked, "--out", page, "--heat", out / "heat.nii.gz")
    said += run(*asked, "--method", "occlusion", "--patch", 16, "--out", out / "hidden.html")
    words = page.read_text(encoding="utf-8")
    assert "Fever" in words
    assert "data:image/" in words
    assert found_below(out) == {}
    assert found_in(said.encode()) == set()


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_errors_about_cases_that_are_damaged_say_no_value(scans, brightness, tmp_path, share):
    folder = shutil.copytree(scans[0].parent, tmp_path / "hurt")
    for name in ("i0.dcm", "m1.dcm", "r2.dcm"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: int(share * len(whole))])
    out, model = tmp_path / "out", ("--model", brightness, *CPU)
    said = []
    for command in (
        ("plan", folder / "masks.csv", "--classes", "ball", "--out", out / "plan.json"),
        ("plan", folder / "classes.csv", "--out", out / "plan.json"),
        ("train", folder / "masks.csv", "--classes", "ball", *TINY, "--out", out / "run", *CPU),
        ("evaluate", folder / "classes.csv", *model, "--out", out / "judged"),
        ("calibrate", folder / "classes.csv", *model, "--alpha", 0.5, "--out", out / "c"),
        ("predict", folder / "i0.dcm", *model, "--out", out / "results"),
        ("explain", folder / "i0.dcm", *model, "--out", out / "why.html"),
        ("audit", folder / "classes.csv", "--out", out / "audit.md"),
    ):
        result = CliRunner().invoke(cli.app, [str(one) for one in command])
        assert result.exit_code, command
        said.append(result.output + str(result.exception))
    assert "i0.dcm" in "".join(said)
    assert found_in("\n".join(said).encode()) == set()
    assert found_below(out) == {}


@pytest.mark.parametrize("kind", ["md", "json"])
def test_an_audit_keeps_nothing_of_headers(scans, tmp_path, kind):
    out = tmp_path / "out" / f"audit.{kind}"
    said = run("audit", scans[1], "--sections", "indication", "--out", out, status=None)
    assert out.exists()
    assert found_below(out.parent) == {}
    assert found_in(said.encode()) == set()


@pytest.mark.slow
def test_a_comparison_of_what_reports_add_keeps_nothing_of_headers(tmp_path):
    random, rows, words = np.random.default_rng(0), [], ("fever", "cough", "pain", "fall", "none")
    for number in range(24):
        voxels = random.integers(0, 50, (1, 12, 12, 12)).astype(np.int16) + 40 * (number % 2)
        image, report = tmp_path / f"i{number}.dcm", tmp_path / f"r{number}.dcm"
        write_planted_file(image, Volume(voxels, np.diag([-1.0, -1, 1, 1])), number)
        write_planted_report(report, " ".join(random.choice(words, 6)), number)
        row = {"case_id": f"c{number}", "image": image.name, "report_file": report.name}
        rows.append(row | {"label": "ab"[number % 2]})
    table, out = write_cases(tmp_path / "cases.csv", rows), tmp_path / "out"
    sizes = ("steps=3", "batch_size=2", "network.features=4,8", "text.width=16", "text.layers=1")
    options = [part for one in sizes for part in ("--set", one)]
    plan = ("plan", table, "--model", "cnn3d", "--fuse", "gated", *options)
    said = run(*plan, "--out", out / "plan.json")
    ask = ("evaluate", table, "--ablate", "--plan", out / "plan.json", "--seeds", 1, "--folds", 2)
    said += run(*ask, "--out", out / "ablation", *CPU)
    assert (out / "ablation" / "ablation.md").exists()
    assert found_below(out) == {}
    assert found_in(said.encode()) == set()
