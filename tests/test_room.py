"""A grid that no machine has room for is refused before it is taken, with the figures."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from medvision import room
from medvision.errors import MemoryNeeded, SpecError
from medvision.memory import Load, check_window
from medvision.models import build_model
from medvision.predictor import Predictor
from medvision.resample import resample_to, straightened
from medvision.resize import gaussian_blur
from medvision.room import GIB, available, check_grid
from medvision.spec import ModelSpec
from medvision.study import Study
from medvision.transforms import Grid, model_grid, preprocess, resample
from medvision.volume import Volume

SIDES = (16, 16, 8)
SMALL = {"features": [4, 8]}
MASKS = ModelSpec(
    "m", "segmentation", "unet3d", ("a",), (1.0, 1.0, 1.0), (16, 16, 16), network=SMALL
)
CLASSES = replace(MASKS, task="classification", architecture="cnn3d", class_names=("a", "b"))
TURNED = np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def scan(affine):
    values = np.random.default_rng(0).random((1, *SIDES), np.float32)
    return Volume(values, np.asarray(affine, float))


@pytest.mark.parametrize("affine", [np.eye(4), TURNED])
@pytest.mark.parametrize(
    "spacing", [(1e-4, 1e-4, 1e-4), (1e-9, 1, 1), (1e-300,) * 3, (1e-320, 1, 1)]
)
@pytest.mark.parametrize("spec", [MASKS, CLASSES])
def test_a_model_whose_grid_fits_nowhere_is_refused(spec, spacing, affine):
    small = replace(spec, spacing=spacing, max_obliquity=5.0)
    with pytest.raises(MemoryNeeded, match=r"A grid of .* mm would have .* voxels and need"):
        preprocess({"image": scan(affine)}, small)
    with pytest.raises(MemoryNeeded):
        Predictor(build_model(spec), small, "cpu").predict(Study("a", {"image": scan(affine)}))


def test_so_is_a_scan_whose_voxels_are_too_large():
    with pytest.raises(MemoryNeeded, match=r"1 × 1 × 1 mm would have 1.6e\+10 × 16 × 8 voxels"):
        preprocess({"image": scan(np.diag([1e9, 1, 1, 1]))}, MASKS)


def test_the_refusal_has_shape_and_memory_and_what_is_left(monkeypatch):
    check_grid((64, 64, 64), (1, 1, 1), 8, left=8 * 64**3)
    with pytest.raises(MemoryNeeded, match=r"1024 × 1024 × 1025 .* need 4.004 GiB .*; 4 are left"):
        check_grid((1024, 1024, 1025), (1, 1, 0.5), 4, left=4 * GIB)
    for shape in ((np.nan, 1, 1), (np.inf, 1, 1)):
        with pytest.raises(MemoryNeeded):
            check_grid(shape, (1, 1, 1), 4, left=np.inf)
    monkeypatch.setattr("medvision.transforms.available", lambda: 4.0 * 16 * 16 * 8)
    model_grid(scan(np.eye(4)), MASKS)
    with pytest.raises(MemoryNeeded):
        model_grid(scan(np.eye(4)), replace(MASKS, spacing=(1.0, 1.0, 0.5)))


def test_of_a_gpu_its_own_memory_counts_and_what_torch_keeps_of_it(monkeypatch):
    voxels = 4 * 16 * 16 * 8
    monkeypatch.setattr("medvision.transforms.available", lambda: 0.0)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (voxels - 300, 10**6))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: 500)
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda device: 200)
    assert model_grid(scan(np.eye(4)), MASKS, "cuda")[0].shape == SIDES
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda device: 201)
    with pytest.raises(MemoryNeeded):
        model_grid(scan(np.eye(4)), MASKS, "cuda")


@pytest.mark.parametrize("shape", [(10**6,) * 3, (10**30, 1, 1), (2**62, 2, 2)])
def test_a_scan_is_resampled_onto_no_grid_without_room(shape):
    with pytest.raises(MemoryNeeded):
        resample_to(scan(np.eye(4)), np.eye(4), shape)


def test_nor_is_one_straightened_onto_such_a_grid():
    leaning = np.eye(4)
    leaning[:3, 2] = (1e6, 0, 300)
    with pytest.raises(MemoryNeeded, match="voxels and need"):
        straightened(Volume(np.zeros((1, 400, 400, 400), np.int16), leaning))


def test_coarse_grids_need_no_more_than_the_scan():
    for size in (1e6, 1e12, 1e150):
        coarse = replace(MASKS, spacing=(size, size, size))
        assert preprocess({"image": scan(np.eye(4))}, coarse).tensor.shape == (1, 1, 1, 1)
    ramp = torch.arange(5.0).reshape(1, 5, 1, 1)
    assert gaussian_blur(ramp, [1e12, 0, 0]).allclose(torch.tensor(2.0), atol=0.2)


@pytest.mark.parametrize("spacing", [(np.nan, 1, 1), (np.inf, 1, 1), (1, 1, np.nan)])
def test_a_spacing_that_is_no_number_is_no_spec(spacing):
    with pytest.raises(SpecError, match="Spacing is three sizes"):
        replace(MASKS, spacing=spacing)


def test_max_ram_counts_the_grid_of_a_classification_too(monkeypatch):
    monkeypatch.setattr("medvision.memory.resident", lambda: 0.0)
    load = Load(CLASSES, [build_model(CLASSES)], torch.device("cpu"))
    check_window(1e9, load, scan(np.eye(4)), "a")
    large = scan(np.diag([40.0, 40.0, 20.0, 1.0]))  # 640 × 640 × 160 voxels of 4 bytes, 0.26 GB
    with pytest.raises(MemoryNeeded, match=r"a needs 0\.5 GB .* 0\.4 are allowed"):
        check_window(0.4e9, load, large, "a")


def test_parts_of_any_form_are_sampled_alike():
    image = torch.rand((2, 9, 8, 7), generator=torch.Generator().manual_seed(0))
    own, other = np.diag([1.0, 1.2, 0.7, 1.0]), TURNED @ np.diag([0.5, 0.5, 0.5, 1])
    whole = resample(image, own, Grid((6, 5, 11), other))
    for shift in range(6):  # a plane by itself is that plane of all
        moved = other.copy()
        moved[:3, 3] += other[:3, 0] * shift
        assert resample(image, own, Grid((1, 5, 11), moved)).allclose(whole[:, shift : shift + 1])


@pytest.mark.parametrize(
    ("names", "limit", "left"),
    [
        (room.CONTROLS[0], "1000000", 700_000),
        (room.CONTROLS[1], "1000000", 700_000),
        (room.CONTROLS[0], "max", None),
        (room.CONTROLS[1], "100", 0),
    ],
)
def test_a_container_has_what_its_control_group_leaves(tmp_path, monkeypatch, names, limit, left):
    files = dict(zip(names, (limit, "500000\n"), strict=False))
    for name, text in {
        **files,
        names[2]: f"anon 1\n{names[3]}inactive_file 50000\n{names[3]}active_file 150000\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(room, "CONTROL", tmp_path)
    monkeypatch.setattr(room, "left_of_machine", lambda: 1e12)
    assert available() == (1e12 if left is None else left)
