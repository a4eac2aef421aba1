"""Damaged models, tables and results that the fuzz test found: each is refused in words."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from medvision.ablate import read_answers
from medvision.checkpoint import load_model, load_spec, save_model
from medvision.dataset import Case
from medvision.errors import (
    CasesError,
    DecodeError,
    MemoryNeeded,
    SeriesError,
    SpecError,
    TrainingError,
)
from medvision.from_json import parse_json
from medvision.memory import Load, check_window
from medvision.models import build_model
from medvision.models.bounded import BoundedBuild
from medvision.outputs.saved import read_saved
from medvision.plan_file import read_plan
from medvision.replay import replay
from medvision.run_card import read_run_card
from medvision.scores import read_scores
from medvision.spec import ModelSpec
from medvision.train_state import read_state
from medvision.volume import Volume
from medvision.zoo import find_model

DEEP = "[" * 100_000
SPEC = ModelSpec(
    name="small",
    task="segmentation",
    architecture="unet3d",
    class_names=("ball",),
    spacing=(1.0, 1.0, 1.0),
    roi_size=(16, 16, 16),
    network={"features": [4, 8]},
)
CLASSES = replace(
    SPEC, task="classification", architecture="cnn3d", class_names=("a", "b"), network={}
)


@pytest.mark.parametrize(
    ("read", "name", "error"),
    [
        (lambda path: load_spec(path.parent), "spec.json", SpecError),
        (read_plan, "plan.json", SpecError),
        (read_run_card, "run.json", DecodeError),
    ],
)
def test_lists_in_lists_without_end_are_refused(tmp_path, read, name, error):
    (tmp_path / name).write_text(DEEP)
    with pytest.raises(error, match="nested too deep"):
        read(tmp_path / name)
    with pytest.raises(ValueError, match="nested too deep"):
        parse_json(DEEP)


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        (("inputs", 0, "intensity", "percentiles"), [1], "percentiles is 2 values, found"),
        (("inputs", 0, "intensity", "percentiles"), [1, 99] * 200, "percentiles is 2 values"),
        (("inputs", 0, "intensity", "to"), [0], "to is 2 values, found"),
        (("spacing",), [1, 1], "spacing is 3 values, found"),
        (("roi_size",), [16, 16, 8_000_000_000], "134,217,728 voxels at most; found"),
    ],
)
def test_a_spec_of_too_few_too_many_or_too_large_numbers_is_refused(where, value, said):
    data = json.loads(json.dumps(asdict(SPEC)))
    *path, last = where
    place = data
    for step in path:
        place = place[step]
    place[last] = value
    with pytest.raises(SpecError, match=said):
        ModelSpec.from_json(json.dumps(data))


def test_a_network_larger_than_its_weights_is_not_built(tmp_path):
    wide = replace(SPEC, network={"features": [4, 60_000]})
    save_model(tmp_path, wide, build_model(SPEC).state_dict(), "")
    with pytest.raises(SpecError, match="larger than its weights: 4762 numbers"):
        load_model(tmp_path)
    with pytest.raises(SpecError, match="larger than its weights"), BoundedBuild([{}]):
        build_model(replace(SPEC, network={"features": [4, 8], "encoder_convs": 10**9}))


def test_a_classification_that_needs_more_memory_is_refused_with_the_figure():
    load = Load(CLASSES, [build_model(CLASSES)], torch.device("cpu"))
    scan = Volume(np.zeros((1, 8, 8, 8), np.int16), np.eye(4))
    check_window(None, load, scan, "scan")
    check_window(1e15, load, scan, "scan")
    with pytest.raises(MemoryNeeded, match=r"scan needs .* GB .* and 0.0 are allowed"):
        check_window(1.0, load, scan, "scan")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "case_id\na\n",
        "case_id,structure,dice\na,ball,high\n",
        "case_id,structure,dice\na,ball,0.5\n",
        "case_id,truth,a_probability\na,a\n",
        'case_id,truth,a_probability\na,a,"' + "1" * 200_000 + "\n",
    ],
)
def test_a_table_of_scores_or_answers_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "metrics.csv"
    path.write_text(text)
    with pytest.raises(CasesError, match="no table of answers"):
        read_answers(path, ("a",), [Case("a", {}, None, "")])
    if text:
        with pytest.raises(CasesError, match="no table of scores"):
            read_scores(path)


@pytest.mark.parametrize("cases", [3, [3], [{"case_id": []}], [{"case_id": "a", "outputs": 1}]])
def test_results_are_read_whatever_their_run_card_says(tmp_path, cases):
    (tmp_path / "results.csv").write_text(f"case_id,source,status\na,{'x' * 5000},done\n")
    card = {"model": [], "resolved": {}, "formats": 1, "cases": cases}
    (tmp_path / "run.json").write_text(json.dumps(card))
    saved = read_saved(tmp_path)
    assert saved.model == ""
    assert saved.studies_of([]) == [None]
    assert saved.mask_of({"mask": "x" * 5000}) is None
    with pytest.raises((DecodeError, SeriesError)):
        replay(tmp_path, tmp_path / "again", show=False)


def test_a_name_that_no_folder_can_have_is_no_model():
    with pytest.raises(SpecError, match="neither a bundled name"):
        find_model("9" * 5000)


@pytest.mark.parametrize(
    "held", [b"", b"PK", b"\x80\x02X\x05\0\0\0a\xe8abc.", b"\x80\x02X\0\0\0\0"]
)
def test_what_a_training_left_is_refused_where_it_is_none(tmp_path, held):
    path = tmp_path / "state.pt"
    path.write_bytes(held)
    with pytest.raises(TrainingError, match="cannot be read"):
        read_state(path, torch.device("cpu"))
    for found in ([1], {"settings": ""}):
        torch.save(found, path)
        with pytest.raises(TrainingError, match="no state of a training"):
            read_state(path, torch.device("cpu"))
