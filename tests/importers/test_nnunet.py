"""nnU-Net v2's results folders: medvision's masks are those of nnU-Net's own predictor."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hippocampus_data import CROPS, needs_crops
from nnunet_results import (
    architecture,
    dataset_of,
    dice,
    needs_nnunet,
    network_of,
    older,
    own_mask,
    plans_of,
    random_network,
    turned,
    write_results,
    write_scan,
)
from typer.testing import CliRunner

from medvision.checkpoint import load_spec
from medvision.cli import app
from medvision.errors import SpecError
from medvision.importers import find_importer, import_model
from medvision.importers.nnunet import read_nnunet
from medvision.importers.nnunet_plans import classes_of
from medvision.importers.nnunet_plans import network_of as network_words
from medvision.io import read_volume
from medvision.predictor import load_predictor
from medvision.study import Study
from medvision.zoo import find_model

pytestmark = needs_nnunet
ONES, TWOS, THREES = [1, 1, 1], [2, 2, 2], [3, 3, 3]
FLAT, PLANE = [1, 2, 2], [1, 3, 3]
WINDOW = (24, 32, 24)
BRATS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]}


def save(tmp_path, name, config, dataset=None, folds=1, mirror=None, seed=0, **plans):
    """Write a results folder of random networks."""
    dataset = dataset or dataset_of()
    made = plans_of(name, config, len(dataset["channel_names"]), **plans)
    networks = [random_network(made, dataset, name, seed + n) for n in range(folds)]
    folder = tmp_path / f"nnUNetTrainer__nnUNetPlans__{name}"
    return write_results(folder, made, dataset, name, networks, mirror)


def masks(folder, images, tmp_path, folds=(0,), precise=True, tta=False):
    """Return medvision's mask and nnU-Net's, (I, J, K) both."""
    made = import_model(folder, tmp_path / "model", folds=[*map(str, folds)])
    predictor = load_predictor(made, tta=tta)
    names = predictor.spec.input_names
    study = Study("a", {n: read_volume(one) for n, one in zip(names, images, strict=True)})
    mine = predictor.predict(study).mask.array[0]
    return mine, own_mask(folder, images, tmp_path / "own", folds, mirroring=tta, precise=precise)


def check(mine, theirs, least=0.999, labels=3):
    """All labels are there, and lie where nnU-Net lays them."""
    found = dice(mine, theirs)
    print("Dice by label:", {label: round(value, 5) for label, value in found.items()})
    assert len(found) >= labels
    assert min(found.values()) >= least


def small(**more):
    """Return a small network in 3D of even sides."""
    return {
        "patch_size": [32, 32, 32],
        "spacing": [1.5, 1.5, 1.5],
        **architecture(3, (6, 12, 16), [ONES, TWOS, TWOS], [THREES] * 3),
        **more,
    }


def test_planes_in_2d(tmp_path):
    config = {
        "patch_size": [32, 48],
        "spacing": [1.0, 1.25],
        "use_mask_for_norm": [True],
        **architecture(2, (8, 16, 16), [[1, 1], [2, 2], [2, 2]], [[3, 3]] * 3),
    }
    folder = save(tmp_path, "2d", config)
    affine = turned((0.9, 1.4, 3.0), (0, 2, 1), (-1, -1, 1), degrees=9)
    scan = write_scan(tmp_path / "a_0000.nii.gz", (70, 61, 13), affine, zero_border=3)
    check(*masks(folder, [scan], tmp_path))
    spec = load_spec(tmp_path / "model")
    assert (spec.orientation, spec.spacing, spec.roi_size) == ("JIK", (1.0, 1.25, 0.0), (32, 48, 1))


def test_regions_in_3d_from_plans_of_an_older_version(tmp_path):
    config = {
        "patch_size": [32, 32, 32],
        "spacing": [1.5, 1.5, 1.5],
        "normalization_schemes": ["CTNormalization"],
        **older([6, 12, 16], [ONES, TWOS, TWOS], [THREES] * 3),
    }
    dataset = dataset_of(BRATS, ("CT",), regions_class_order=[1, 2, 3])
    folder = save(tmp_path, "3d_fullres", config, dataset)
    affine = turned((1.3, 1.1, 1.8), (1, 0, 2), (1, -1, 1), degrees=20)
    scan = write_scan(tmp_path / "a_0000.nii.gz", (47, 52, 40), affine)
    check(*masks(folder, [scan], tmp_path), labels=2)
    spec = load_spec(tmp_path / "model")
    assert spec.class_names == ("whole outside core", "core outside enhancing", "enhancing")
    assert spec.inputs[0].modality == "CT"


def test_thick_slices_in_two_channels(tmp_path):
    config = {
        "patch_size": [12, 40, 32],
        "spacing": [4.0, 0.8, 0.7],
        "normalization_schemes": ["ZScoreNormalization", "RescaleTo01Normalization"],
        "use_mask_for_norm": [True, False],
        **architecture(3, (8, 12, 16), [ONES, FLAT, TWOS], [PLANE, PLANE, THREES]),
    }
    dataset = dataset_of(channels=("T1", "T2 FS"))
    folder = save(tmp_path, "3d_fullres", config, dataset)
    affine = turned((1.0, 0.9, 5.0), (0, 1, 2), (-1, 1, 1), degrees=-12)
    scans = [
        write_scan(tmp_path / f"a_000{n}.nii.gz", (58, 66, 17), affine, n, zero_border=2)
        for n in range(2)
    ]
    check(*masks(folder, scans, tmp_path))
    assert load_spec(tmp_path / "model").input_names == ("T1", "T2_FS")


def test_thick_slices_along_another_axis(tmp_path):
    config = small(
        patch_size=[12, 40, 32],
        spacing=[4.0, 0.8, 0.7],
        **architecture(3, (8, 12, 16), [ONES, FLAT, TWOS], [PLANE, PLANE, THREES]),
    )
    folder = save(tmp_path, "3d_fullres", config, transpose=(1, 0, 2))
    affine = turned((0.9, 4.6, 1.0), (0, 2, 1), (1, 1, -1))
    scan = write_scan(tmp_path / "a_0000.nii.gz", (58, 15, 50), affine)
    check(*masks(folder, [scan], tmp_path))
    assert load_spec(tmp_path / "model").orientation == "JKI"


def test_two_folds_of_residual_networks_mirrored(tmp_path):
    config = {
        "patch_size": [32, 32, 32],
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["NoNormalization"],
        **architecture(3, (6, 12, 16), [ONES, TWOS, TWOS], [THREES] * 3, residual=True),
    }
    folder = save(tmp_path, "3d_fullres", config, folds=2, mirror=(0, 2))
    affine = turned((1.0, 1.0, 1.0), (2, 0, 1), (1, 1, -1))
    scan = write_scan(tmp_path / "a_0000.nii.gz", (45, 28, 39), affine)  # narrower than the window
    check(*masks(folder, [scan], tmp_path, folds=(0, 1), tta=True), labels=2)
    spec = load_spec(tmp_path / "model")
    assert (spec.members, spec.sliding.mirror) == (2, (0, 2))


@pytest.mark.parametrize("residual", [False, True])
def test_the_network_says_the_same_to_the_last_digits(tmp_path, residual):
    config = small(
        patch_size=[8, 32, 32],
        **architecture(
            3, (6, 12, 16), [ONES, FLAT, TWOS], [PLANE, PLANE, THREES], 3, residual=residual
        ),
    )
    folder = save(tmp_path, "3d_fullres", config)
    theirs = random_network(plans_of("3d_fullres", config), dataset_of(), "3d_fullres", 0).eval()
    mine = load_predictor(import_model(folder, tmp_path / "model")).model
    image = torch.randn(1, 1, 8, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(mine(image), theirs(image), atol=1e-4)


def test_a_scan_stored_otherwise_is_turned_where_the_orientation_is_known(tmp_path):
    folder = save(tmp_path, "3d_fullres", small(spacing=[1.0, 1.0, 1.0]))
    predictor = load_predictor(import_model(folder, tmp_path / "model", orientation="LPS"))
    assert predictor.spec.orientation == "SPL"
    assert "SPL, whatever" in (tmp_path / "model" / "card.md").read_text()
    affine = turned((1.0, 1.0, 1.0), signs=(-1, -1, 1))
    volume = read_volume(write_scan(tmp_path / "a.nii.gz", (34, 36, 38), affine))
    assert volume.orientation == "LPS"
    straight = predictor.predict(Study("a", {"image": volume})).mask
    other = predictor.predict(Study("a", {"image": volume.reoriented("ASR")})).mask
    assert np.array_equal(other.reoriented("LPS").array, straight.array)
    assert straight.array.any()


def test_a_results_folder_is_a_model_wherever_one_is_asked_for(tmp_path, monkeypatch, capsys):
    folder = save(tmp_path, "3d_fullres", small())
    monkeypatch.setenv("MEDVISION_IMPORTED", str(tmp_path / "kept"))
    made = find_model(folder)
    assert made.parent == tmp_path / "kept"
    assert str(made) in capsys.readouterr().err
    assert find_model(str(folder)) == made
    assert capsys.readouterr().err == ""
    assert load_predictor(folder).spec.class_names == ("ball", "shell")
    (folder / "dataset.json").write_text(json.dumps(dataset_of({"background": 0, "a": 1, "b": 2})))
    assert find_model(folder) != made  # what it is made of has changed
    monkeypatch.setenv("MEDVISION_IMPORTED", "off")
    with pytest.raises(SpecError, match="medvision import"):
        find_model(folder)


def test_the_command_writes_a_model_folder_with_a_card(tmp_path):
    folder = save(tmp_path, "3d_fullres", small(), folds=3)
    given = ["import", str(folder), "--out", str(tmp_path / "model"), "--folds", "0,2"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    assert "Folds: 0, 2 (final checkpoint)" in done.output
    assert "Epochs: 1000, 1000" in done.output
    assert "as each file stores them (KJI)" in done.output
    assert load_spec(tmp_path / "model").members == 2
    again = CliRunner().invoke(app, given)
    assert isinstance(again.exception, SpecError)


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
@pytest.mark.slow
def test_a_trained_network_finds_the_hippocampus_as_nnunet_does(tmp_path):
    config = {
        "patch_size": list(WINDOW),
        "spacing": [1.2, 1.0, 1.1],
        **architecture(3, (8, 16, 24), [ONES, TWOS, TWOS], [THREES] * 3, convs=1),
    }
    dataset = dataset_of({"background": 0, "anterior": 1, "posterior": 2})
    plans = plans_of("3d_fullres", config)
    torch.manual_seed(0)
    network = network_of(plans, dataset, "3d_fullres")
    scans = sorted((CROPS / "imagesTr").glob("*.nii.gz"))[:4]
    train(network, scans[:3])
    folder = write_results(tmp_path / "r", plans, dataset, "3d_fullres", [network])
    mine, theirs = masks(folder, scans[3:], tmp_path, precise=False)
    check(mine, theirs)
    truth = read_volume(CROPS / "labelsTr" / scans[3].name).array[0]
    assert min(dice(mine, truth).values()) > 0.5  # it has learned what it shows


def train(network, scans, steps=250):
    """Teach a network a few scans, as nnU-Net lays and scales them."""
    cases = []
    for scan in scans:
        image = read_volume(scan).array[0].astype(np.float32).transpose(2, 1, 0)
        truth = read_volume(CROPS / "labelsTr" / scan.name).array[0].transpose(2, 1, 0)
        pads = [(0, max(0, side - n)) for side, n in zip(WINDOW, image.shape, strict=True)]
        image = np.pad((image - image.mean()) / image.std(), pads)
        cases.append((torch.from_numpy(image), torch.from_numpy(np.pad(truth, pads)).long()))
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    for step in range(steps):
        image, truth = cases[step % len(cases)]
        room = [n - side for n, side in zip(image.shape, WINDOW, strict=True)]
        starts = [int(torch.randint(n + 1, ())) for n in room]
        cut = tuple(slice(a, a + side) for a, side in zip(starts, WINDOW, strict=True))
        loss = torch.nn.functional.cross_entropy(network(image[cut][None, None]), truth[cut][None])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_spec_of_pictures_is_one_input_of_color():
    from medvision.importers.nnunet_plans import inputs_of

    plans = plans_of("2d", {}, 3, reader="NaturalImage2DIO")
    config = plans["configurations"]["parent"] | {
        "normalization_schemes": ["RGBTo01Normalization"] * 3
    }
    (one,) = inputs_of(plans, config, dataset_of(channels=("R", "G", "B")))
    assert (one.channels, one.intensity.std) == (3, 255.0)
    assert replace(one, channels=1).name == "image"
