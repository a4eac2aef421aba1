"""nnU-Net v2's results folders: what is not there, not whole, not safe or has no counterpart."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hippocampus_data import needs_crops
from nnunet_results import (
    ONES,
    THREES,
    TWOS,
    architecture,
    dataset_of,
    needs_nnunet,
    older,
    plans_of,
    save,
    small,
)

from medvision.errors import SpecError
from medvision.importers import find_importer, import_model
from medvision.importers.nnunet import read_nnunet
from medvision.importers.nnunet_plans import classes_of
from medvision.importers.nnunet_plans import network_of as network_words

pytestmark = needs_nnunet


def test_what_is_not_there_is_named(tmp_path):
    folder = save(tmp_path, "3d_fullres", small(), folds=2)
    with pytest.raises(SpecError, match=r"fold 4; folds that have one: 0, 1"):
        read_nnunet(folder, folds=["4"])
    with pytest.raises(SpecError, match=r"checkpoint_best.pth of any fold.*: none"):
        read_nnunet(folder, checkpoint="best")
    with pytest.raises(SpecError, match="no model that can be imported"):
        import_model(tmp_path, tmp_path / "model")


def test_a_truncated_checkpoint_is_named(tmp_path):
    folder = save(tmp_path, "3d_fullres", small())
    file = folder / "fold_0" / "checkpoint_final.pth"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(SpecError, match=r"checkpoint_final.pth is damaged"):
        read_nnunet(folder)


class Evil:
    """What runs a command when it is unpickled."""

    def __reduce__(self):
        return print, ("I ran",)


def test_a_checkpoint_with_code_is_refused_and_the_code_does_not_run(tmp_path, capsys):
    folder = save(tmp_path, "3d_fullres", small())
    file = folder / "fold_0" / "checkpoint_final.pth"
    held = torch.load(file, weights_only=False)
    torch.save({**held, "logging": Evil()}, file)
    with pytest.raises(SpecError, match=r"checkpoint_final.pth wants to run code \(print\)"):
        read_nnunet(folder)
    assert "I ran" not in capsys.readouterr().out


class Pointer:
    """An array of objects whose addresses are bytes of the file."""

    def __reduce__(self):
        return np.ndarray, ((1,), np.dtype("O"), b"A" * 8)


def test_a_checkpoint_whose_numbers_would_end_the_process_is_read_without_making_them(tmp_path):
    folder = save(tmp_path, "3d_fullres", small())
    file = folder / "fold_0" / "checkpoint_final.pth"
    held = torch.load(file, weights_only=False)
    arrays = {"a": np.arange(3), "b": np.array(["x", None], object), "c": np.float16(0.5)}
    torch.save({**held, "current_epoch": Pointer(), "logging": arrays}, file)
    code = "from sys import argv; from pathlib import Path; from medvision.importers import *; "
    code += "import_model(Path(argv[1]), Path(argv[2]))"
    out = tmp_path / "model"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(out)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Epochs: unknown" in "".join(one.read_text() for one in out.glob("*.md"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"network_weights": {"encoder.stages.0.0.convs.0.conv.weight": [1]}}, "is no tensor"),
        ({"network_weights": {3: torch.zeros(1)}}, "3 in its network_weights is no tensor"),
        (
            {"network_weights": {"decoder.transpconvs.0.weight": torch.zeros(2)}},
            "weights and plans do not fit",
        ),
        ({"network_weights": [1]}, "no network_weights, or no plan"),
        ({"init_args": ["configuration"]}, "no network_weights, or no plan"),
        ({"init_args": {"configuration": 3}}, "no network_weights, or no plan"),
    ],
)
def test_a_checkpoint_of_another_kind_is_refused_by_name(tmp_path, more, said):
    folder = save(tmp_path, "3d_fullres", small())
    file = folder / "fold_0" / "checkpoint_final.pth"
    torch.save({**torch.load(file, weights_only=False), **more}, file)
    with pytest.raises(SpecError, match=said) as found:
        import_model(folder, tmp_path / "model")
    assert folder.name in str(found.value)


def test_tables_that_are_none_are_refused_by_name(tmp_path):
    folder = save(tmp_path, "3d_fullres", small())
    validation = folder / "fold_0" / "validation" / "summary.json"
    validation.parent.mkdir()
    validation.write_text('{"foreground_mean": [1]}')
    assert "not there" in read_nnunet(folder).card
    changed(folder, patch_size=[float("inf")] * 3)
    with pytest.raises(SpecError, match="not as nnU-Net v2 writes them"):
        read_nnunet(folder)
    (folder / "plans.json").write_text("[" * 100_000)
    with pytest.raises(SpecError, match=r"plans.json cannot be read: it is nested too deep"):
        read_nnunet(folder)


def test_no_more_structures_than_a_mask_holds():
    labels = {"background": 0, **{f"s{n}": n for n in range(1, 256)}}
    assert len(classes_of({"labels": labels})[0]) == 255
    with pytest.raises(SpecError, match="256 structures; a mask holds 255"):
        classes_of({"labels": {**labels, "more": 256}})


def changed(folder, **more):
    """Change the configuration in a results folder's plans."""
    plans = json.loads((folder / "plans.json").read_text())
    plans["configurations"]["3d_fullres"].update(more)
    (folder / "plans.json").write_text(json.dumps(plans))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"previous_stage": "3d_lowres"}, "second half of a cascade.*3d_lowres"),
        (
            {"architecture": {"network_class_name": "my.Mamba", "arch_kwargs": {}}},
            "The network my.Mamba is not translated",
        ),
        ({"normalization_schemes": ["MyNormalization"]}, "MyNormalization is not translated"),
        ({"resampling_fn_data": "resample_torch_simple"}, "Resampling by resample_torch_simple"),
        ({"preprocessor_name": "MyPreprocessor"}, "MyPreprocessor is not translated"),
        ({"patch_size": None}, "not as nnU-Net v2 writes them"),
        (
            architecture(3, (6, 12, 20), [ONES, TWOS, TWOS], [THREES] * 3),
            "weights and plans do not fit",
        ),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(tmp_path, more, said):
    folder = save(tmp_path, "3d_fullres", small())
    changed(folder, **more)
    with pytest.raises(SpecError, match=said):
        import_model(folder, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_labels_with_a_gap_are_refused_and_an_ignored_one_is_no_class():
    with pytest.raises(SpecError, match=r"found \[1, 3\]"):
        classes_of({"labels": {"background": 0, "a": 1, "b": 3}})
    labels = {"background": 0, "b": 2, "a": 1, "ignore": 3}
    assert classes_of({"labels": labels}) == (("a", "b"), ())


def test_regions_that_do_not_overlap_keep_their_names():
    labels = {"background": 0, "liver": [1, 2], "kidney": [3], "tumor": [2]}
    found = classes_of({"labels": labels, "regions_class_order": [1, 3, 2]})
    assert found == (("liver outside tumor", "tumor", "kidney"), (1, 3, 2))


def test_old_and_new_plans_describe_one_network():
    given = ([6, 12, 16], [ONES, TWOS, TWOS], [THREES] * 3)
    sizes = {"patch_size": [32, 32, 32]}
    new = network_words({**sizes, **architecture(3, *given)})
    assert network_words({**sizes, **older(*given)}) == new


def test_it_is_no_model_of_nnunet_once_it_is_imported(tmp_path):
    folder = save(tmp_path, "3d_fullres", small())
    assert find_importer(folder)
    assert find_importer(import_model(folder, tmp_path / "model")) is None


@needs_crops
def test_spec_of_pictures_is_one_input_of_color():
    from medvision.importers.nnunet_plans import inputs_of

    plans = plans_of("2d", {}, 3, reader="NaturalImage2DIO")
    config = plans["configurations"]["parent"] | {
        "normalization_schemes": ["RGBTo01Normalization"] * 3
    }
    (one,) = inputs_of(plans, config, dataset_of(channels=("R", "G", "B")))
    assert (one.channels, one.intensity.std) == (3, 255.0)
    assert replace(one, channels=1).name == "image"
