"""Cases on the model's grid, and random windows of them."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from medvision.dataset import Case
from medvision.errors import CasesError
from medvision.intensity_spec import Intensity
from medvision.items import Item, Patches, class_weights, foreground_of, load_item, load_items
from medvision.spec import InputSpec, ModelSpec
from medvision.train_config import Augment, TrainConfig
from medvision.transforms import center_window

SPEC = ModelSpec("m", "segmentation", "unet3d", ("a", "b"), (1, 1, 1), (16, 16, 16))
STILL = Augment(
    flip=0, still=1, shift=0, warp=0, gamma=0, bias=0, level=0, blur=0, coarse=0, noise=0
)


def save(path, array, affine=None):
    nib.save(nib.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


def test_every_unusable_case_is_named(tmp_path):
    spec = replace(SPEC, class_names=("a",))
    image = save(tmp_path / "i.nii", np.zeros((4, 4, 4, 2), np.int16))
    mask = save(tmp_path / "m.nii", np.zeros((4, 4, 4), np.uint8))
    both = [Case(name, {"image": image}, mask, name) for name in ("one", "two")]
    with pytest.raises(CasesError, match=r"one: .*\ntwo: "):
        load_items(both, spec, TrainConfig(), show=False)


def test_mask_follows_its_image_onto_the_model_grid(tmp_path):
    affine = np.diag([-1.0, 1, 2, 1])
    image = np.zeros((20, 22, 10), np.float32)
    image[5:12, 6:15, 3:7] = 100
    noise = np.random.default_rng(0).random(image.shape)
    files = {"image": save(tmp_path / "i.nii", image + noise, affine)}
    mask = save(tmp_path / "m.nii", (image > 0).astype(np.uint8), affine)
    item = load_item(Case("x", files, mask, "g"), SPEC)
    assert item.target.shape == item.image.shape[1:] == (20, 22, 20)
    bright = item.image[0] > 0.5 * (item.image.min() + item.image.max())
    both = (bright & (item.target == 1)).sum()
    assert 2 * both / (bright.sum() + (item.target == 1).sum()) > 0.97


def item(seed=0):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.zeros(20, 24, 18, dtype=torch.uint8)
    labels[4:12, 8:20, 5:14], labels[12:16, 8:20, 5:14] = 1, 2
    image = labels.float()[None] * 2 + torch.randn(1, 20, 24, 18, generator=rng) * 0.01
    return Item(f"case{seed}", image, labels, foreground_of(labels, SPEC))


def test_a_patch_is_a_function_of_seed_and_index():
    items, config = [item(0), item(1), item(2)], TrainConfig(seed=4)
    one, two = (Patches(items, SPEC, config) for _ in range(2))
    torch.randn(3)  # the global generator has no say
    assert torch.equal(one[17]["image"], two[17]["image"])
    assert torch.equal(one[17]["target"], two[17]["target"])
    assert not torch.equal(one[17]["image"], one[18]["image"])
    other = Patches(items, SPEC, replace(config, seed=5))
    assert not torch.equal(one[17]["image"], other[17]["image"])


def test_every_case_is_seen_once_an_epoch():
    patches = Patches([item(i) for i in range(5)], SPEC, TrainConfig())
    for epoch in range(3):
        assert len({patches[epoch * 5 + i]["case_id"] for i in range(5)}) == 5


def test_space_changes_image_and_labels_together():
    still = dict.fromkeys(("gamma", "bias", "level", "blur", "coarse", "noise"), 0.0)
    patches = Patches([item()], SPEC, TrainConfig(augment=Augment(**still), seed=1))
    for index in range(8):
        patch = patches[index]
        assert patch["image"].shape == (1, 16, 16, 16)
        for label in (0, 1, 2):
            inside = patch["image"][0][patch["target"] == label]
            if inside.numel() > 50:
                assert inside.median().item() == pytest.approx(2 * label, abs=0.2)


@pytest.mark.parametrize(
    ("orientation", "axis"), [("RAS", 0), ("LPS", 0), ("ASR", 2), ("PIR", 2), ("SRA", 1)]
)
def test_mirroring_swaps_left_and_right_alone(orientation, axis):
    whole = item()
    config = TrainConfig(foreground=0, augment=replace(STILL, mirror="R", flip=1))
    spec = replace(SPEC, roi_size=tuple(whole.target.shape), orientation=orientation)
    patch = Patches([whole], spec, config)[0]
    assert torch.allclose(patch["image"], whole.image.flip(1 + axis), atol=1e-4)
    assert torch.equal(patch["target"], whole.target.flip(axis).long())


def test_windows_centered_on_foreground_show_it_each_structure_as_often():
    labels = torch.zeros(60, 60, 60, dtype=torch.uint8)
    labels[2:5, 2:5, 2:5], labels[30:50, 30:50, 30:50] = 1, 2
    whole = Item("x", labels.float()[None], labels, foreground_of(labels, SPEC))
    spec = replace(SPEC, roi_size=(8, 8, 8))
    all_of_them = Patches([whole], spec, TrainConfig(foreground=1, augment=STILL))
    shown = [set(all_of_them[n]["target"].unique().tolist()) for n in range(60)]
    assert all(found & {1, 2} for found in shown)
    assert 18 <= sum(1 in found for found in shown) <= 42
    anywhere = Patches([whole], spec, TrainConfig(foreground=0, augment=STILL))
    assert sum(1 in anywhere[n]["target"] for n in range(60)) <= 6


def test_a_case_without_any_structure_is_cut_anywhere():
    empty = Item("x", torch.rand(1, 20, 20, 20), torch.zeros(20, 20, 20, dtype=torch.uint8))
    patches = Patches([empty], SPEC, TrainConfig(foreground=1))
    assert not patches[0]["target"].any()


def test_foreground_is_thinned_out_evenly():
    labels = torch.ones(100, 100, 16, dtype=torch.uint8)
    [voxels] = foreground_of(labels, replace(SPEC, class_names=("a",)))
    assert len(voxels) == 10_000
    for axis, side in enumerate(labels.shape):  # on every plane about as many
        counts = torch.bincount(voxels[:, axis].int(), minlength=side)
        assert counts.min() > 0.5 * 10_000 / side
        assert counts.max() < 1.5 * 10_000 / side
    assert torch.equal(foreground_of(labels * 2, SPEC)[0], voxels)  # label 1 is absent


def test_a_2d_window_is_one_plane_of_image_and_labels():
    planes = torch.arange(9.0).expand(1, 24, 20, 9)
    labels = (planes[0] % 3).to(torch.uint8)
    spec = replace(SPEC, architecture="unet2d", roi_size=(16, 16, 1))
    still = dict.fromkeys(("gamma", "bias", "level", "blur", "coarse", "noise"), 0.0)
    config = TrainConfig(augment=Augment(mirror="RAS", still=0, **still))
    patches = Patches([Item("x", planes, labels, foreground_of(labels, spec))], spec, config)
    seen = set()
    for index in range(60):
        image, target = patches[index]["image"], patches[index]["target"]
        assert image.shape == (1, 16, 16, 1)
        assert target.shape == (16, 16, 1)
        plane = round(float(image.mean()))
        assert torch.allclose(image, torch.full_like(image, plane), atol=1e-4)
        assert (target == plane % 3).all()
        seen.add(plane)
    assert seen == set(range(9))


def write_volumes(folder, count=3):
    rng, cases = np.random.default_rng(0), []
    for number in range(count):
        array = rng.normal(0, 1, (18, 20, 16)).astype(np.float32)
        image = save(folder / f"i{number}.nii", array)
        mask = save(folder / f"m{number}.nii", (array > 1).astype(np.uint8))
        case = Case(f"c{number}", {"image": image}, mask, f"g{number}", label="ab"[number % 2])
        cases.append(case)
    return cases


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_windows_of_cases_on_disk_are_those_of_cases_in_memory(tmp_path, task):
    spec = replace(SPEC, task=task, architecture=f"{'unet' if task[0] == 's' else 'cnn'}3d")
    cases, small = write_volumes(tmp_path), TrainConfig(memory_gb=4e-5)  # one case fits
    roomy = load_items(cases, spec, TrainConfig(), tmp_path / "none", show=False)
    tight = load_items(cases, spec, small, tmp_path / "cache", show=False)
    assert not (tmp_path / "none").exists()
    kinds = ("image", "labels") if task == "segmentation" else ("image",)
    written = sorted(p.name for p in (tmp_path / "cache").iterdir())
    assert written == [f"{number:06d}_{kind}.npy" for number in (1, 2) for kind in kinds]
    before = [(tmp_path / "cache" / name).read_bytes() for name in written]
    for index in range(12):
        one, two = (Patches(items, spec, small)[index] for items in (roomy, tight))
        assert one["case_id"] == two["case_id"]
        assert torch.equal(one["image"], two["image"])
        assert torch.equal(one["target"], two["target"])
    assert [(tmp_path / "cache" / name).read_bytes() for name in written] == before


def test_a_classification_shows_the_center_and_its_class():
    image = torch.zeros(1, 21, 20, 19)
    image[0, 10, 9:11, 9] = 1  # the middle voxels
    items = [Item(f"x{c}", image, torch.tensor(c)) for c in range(2)]
    spec = replace(SPEC, task="classification", roi_size=(9, 8, 7))
    patches = Patches(items, spec, TrainConfig(augment=STILL))
    for index in range(4):
        patch = patches[index]
        assert torch.allclose(patch["image"], center_window(image, spec.roi_size), atol=1e-5)
        assert patch["case_id"] == f"x{int(patch['target'])}"
    assert torch.utils.data.default_collate([patches[0], patches[1]])["target"].shape == (2,)


def test_colors_of_a_picture_stay_apart(tmp_path):
    array = np.zeros((12, 10, 3), np.uint8)  # rows, columns
    array[2:5, 1:4, 0], array[6:9, 5:8, 1], array[..., 2] = 255, 255, 51
    Image.fromarray(array).save(tmp_path / "i.png")
    window = Intensity("window", low=0, high=255)
    spec = ModelSpec(
        "m",
        "classification",
        "cnn2d",
        ("a", "b"),
        None,
        (10, 12, 1),
        inputs=(InputSpec(channels=3, intensity=window),),
        orientation="LIA",
    )
    loaded = load_item(Case("x", {"image": tmp_path / "i.png"}, None, "g", label="b"), spec)
    assert int(loaded.target) == 1
    patch = Patches([loaded], spec, TrainConfig(augment=STILL))[0]["image"]
    assert patch.shape == (3, 10, 12, 1)
    seen = (patch[..., 0].movedim(0, -1).transpose(0, 1) + 1) * 127.5
    assert np.allclose(seen, array, atol=0.01)


def test_class_weights_make_every_class_count_alike():
    items = [Item("x", torch.zeros(1, 1, 1, 1), torch.tensor(c)) for c in [0] * 6 + [1] * 2 + [2]]
    weights = class_weights(
        items, replace(SPEC, task="classification", class_names=("a", "b", "c"))
    )
    assert weights.tolist() == pytest.approx([0.5, 1.5, 3.0])
    assert sum(float(weights[int(i.target)]) for i in items) == pytest.approx(len(items))
