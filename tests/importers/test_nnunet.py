"""nnU-Net v2's results folders: medvision's masks are those of nnU-Net's own predictor."""

import json

import numpy as np
import pytest
import torch
from hippocampus_data import CROPS
from nnunet_results import (
    BRATS,
    FLAT,
    ONES,
    PLANE,
    THREES,
    TWOS,
    WINDOW,
    architecture,
    dataset_of,
    dice,
    needs_nnunet,
    network_of,
    older,
    own_mask,
    plans_of,
    random_network,
    save,
    small,
    turned,
    write_results,
    write_scan,
)
from typer.testing import CliRunner

from medvision.checkpoint import load_spec
from medvision.cli import app
from medvision.errors import SpecError
from medvision.importers import import_model
from medvision.io import read_volume
from medvision.predictor import load_predictor
from medvision.study import Study
from medvision.zoo import find_model

pytestmark = needs_nnunet


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
