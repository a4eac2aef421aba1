"""Cases on the model's grid, and random windows of them."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch

from medvision.dataset import Case
from medvision.errors import CasesError
from medvision.items import Item, Patches, foreground_of, load_item, load_items
from medvision.spec import ModelSpec
from medvision.train_config import Augment, TrainConfig

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
