"""cases.csv, folds and patches."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator

from medvision.augment import Augment, random_intensity
from medvision.checkpoint import load_model
from medvision.dataset import (
    Case,
    Item,
    Patches,
    load_item,
    load_items,
    read_case,
    read_cases,
    split_folds,
    write_cases,
)
from medvision.errors import CasesError
from medvision.evaluate import mean_dice
from medvision.geometry import to_world
from medvision.metrics import dice
from medvision.plan import plan
from medvision.predictor import Predictor
from medvision.spec import InputSpec, ModelSpec, TrainConfig
from medvision.study import Study
from medvision.train import train

SPEC = ModelSpec("m", "segmentation", "unet3d", ("a", "b"), (1, 1, 1), (16, 16, 16))


def save(path, array, affine=None):
    nib.save(nib.Nifti1Image(array, np.eye(4) if affine is None else affine), path)


def write(folder, rows, columns="case_id,image,mask,group"):
    path = folder / "cases.csv"
    path.write_text("\n".join([columns, *rows]) + "\n")
    return path


def test_rows_become_cases(tmp_path):
    for name in ("i.nii", "m.nii"):
        save(tmp_path / name, np.zeros((4, 4, 4), np.int16))
    cases = read_cases(write(tmp_path, ["one,i.nii,m.nii,p1", "two,i.nii,m.nii,"]))
    assert [c.group for c in cases] == ["p1", "two"]
    assert cases[0].images == {"image": tmp_path / "i.nii"}


@pytest.mark.parametrize(
    ("rows", "columns", "says"),
    [
        (["one,none.nii,m.nii,p"], "case_id,image,mask,group", r"line 2 \(one\): no image"),
        (["one,i.nii,m.nii,p", "one,i.nii,m.nii,p"], "case_id,image,mask,group", "line 3.*twice"),
        (["one,i.nii,p"], "case_id,image,group", "missing columns: mask"),
        (["one,m.nii"], "case_id,mask", "missing columns: image .or image_<name>"),
        (["one,i.nii,m.nii"], "case_id,image_,mask", "unknown columns: image_"),
        (["one,i.nii,x,m.nii"], "case_id,image_a,image_b,mask", r"\(one\): no image_b at 'x'"),
        (["one,i.nii,m.nii,p"], "case_id,image,mask,color", "unknown columns: color"),
        (["one,i.nii,m.nii,dev"], "case_id,image,mask,split", "split 'dev' is not"),
        ([], "case_id,image,mask", "no rows"),
    ],
)
def test_an_unusable_table_names_its_rows(tmp_path, rows, columns, says):
    for name in ("i.nii", "m.nii"):
        save(tmp_path / name, np.zeros((4, 4, 4), np.int16))
    with pytest.raises(CasesError, match=says):
        read_cases(write(tmp_path, rows, columns))


def test_a_column_feeds_the_input_it_is_named_after(tmp_path):
    affine = np.diag([2.0, 2, 2, 1])
    save(tmp_path / "a.nii", np.arange(64.0).reshape(4, 4, 4))
    save(tmp_path / "b.nii", np.arange(8.0).reshape(2, 2, 2), affine)
    save(tmp_path / "m.nii", np.zeros((4, 4, 4), np.uint8))
    row = {"mask": "m.nii", "image_flair": "b.nii", "image_t1": "a.nii", "case_id": "x"}
    table = write_cases(tmp_path / "cases.csv", [row])
    assert table.read_text().splitlines()[0] == "case_id,image_flair,image_t1,mask"
    [case] = read_cases(table)
    spec = replace(SPEC, inputs=(InputSpec("t1"), InputSpec("flair")))
    study, _ = read_case(case, spec)
    assert [(name, v.shape) for name, v in study.volumes.items()] == [
        ("t1", (4, 4, 4)),  # the reference, by the spec: the mask lies on it
        ("flair", (2, 2, 2)),
    ]
    assert load_item(case, spec).image.shape == (2, 4, 4, 4)
    with pytest.raises(CasesError, match=r"x: mask .* is not on the grid"):
        read_case(case, replace(spec, inputs=spec.inputs[::-1]))
    more = replace(spec, inputs=(*spec.inputs, InputSpec("dwi")))
    with pytest.raises(CasesError, match=r"missing: dwi.*column: image_t1, image_flair, image_dwi"):
        read_case(case, more)
    with pytest.raises(CasesError, match="missing: image; found: flair, t1"):
        read_case(case, SPEC)


def test_rows_of_other_splits_are_left_out(tmp_path):
    for name in ("i.nii", "m.nii"):
        save(tmp_path / name, np.zeros((4, 4, 4), np.int16))
    rows = ["a,i.nii,m.nii,train", "b,i.nii,m.nii,val", "c,i.nii,m.nii,test", "d,i.nii,m.nii,"]
    table = write(tmp_path, rows, "case_id,image,mask,split")
    assert [c.case_id for c in read_cases(table, ("", "train"))] == ["a", "d"]
    assert len(read_cases(table)) == 4
    with pytest.raises(CasesError, match="no rows of split 'val' or 'x'"):
        read_cases(write(tmp_path, rows[2:], "case_id,image,mask,split"), ("val", "x"))


def test_every_unusable_case_is_named(tmp_path):
    spec = ModelSpec("m", "segmentation", "unet3d", ("a",), (1, 1, 1), (8, 8, 8))
    save(tmp_path / "i.nii", np.zeros((4, 4, 4, 2), np.int16))
    save(tmp_path / "m.nii", np.zeros((4, 4, 4), np.uint8))
    files = {"image": tmp_path / "i.nii"}
    both = [Case(name, files, tmp_path / "m.nii", name) for name in ("one", "two")]
    with pytest.raises(CasesError, match=r"one: .*\ntwo: "):
        load_items(both, spec, show=False)


def test_coarse_images_stay_where_their_labels_are():
    """Sampled down and up again, a ramp is the same ramp: nothing has moved."""
    only = Augment(gamma=0, bias=0, level=0, blur=0, coarse=1.0, noise=0)
    ramp = torch.arange(40.0).expand(1, 36, 38, 40)
    moved = [
        (random_intensity(ramp, Generator().manual_seed(n), only) - ramp)[..., 8:32].mean()
        for n in range(20)
    ]
    assert max(abs(float(m)) for m in moved) < 0.01


def test_masks_must_fit_their_image(tmp_path):
    save(tmp_path / "i.nii", np.zeros((4, 4, 4), np.int16))
    save(tmp_path / "other.nii", np.zeros((4, 4, 4), np.int16), np.diag([1, 1, 2, 1]))
    save(tmp_path / "label.nii", np.full((4, 4, 4), 7, np.int16))
    image = {"image": tmp_path / "i.nii"}
    with pytest.raises(CasesError, match="not on the grid"):
        read_case(Case("x", image, tmp_path / "other.nii", "g"), SPEC)
    with pytest.raises(CasesError, match=r"labels \[7.0\].*expected 0 to 2"):
        read_case(Case("x", image, tmp_path / "label.nii", "g"), SPEC)


@given(st.lists(st.integers(0, 8), min_size=12, max_size=40), st.integers(2, 4), st.integers(0, 99))
def test_no_group_is_ever_split(groups, folds, seed):
    cases = [Case(str(i), None, None, f"g{g}") for i, g in enumerate(groups)]
    if len(set(groups)) < folds:
        with pytest.raises(CasesError, match="cannot make"):
            split_folds(cases, folds, seed)
        return
    splits = split_folds(cases, folds, seed)
    assert sorted(i for val in splits for i in val) == list(range(len(cases)))
    for val in splits:
        inside = {groups[i] for i in val}
        assert inside.isdisjoint(g for i, g in enumerate(groups) if i not in val)


def test_mask_follows_its_image_onto_the_model_grid(tmp_path):
    affine = np.diag([-1.0, 1, 2, 1])
    image = np.zeros((20, 22, 10), np.float32)
    image[5:12, 6:15, 3:7] = 100
    save(tmp_path / "i.nii", image + np.random.default_rng(0).random(image.shape), affine)
    save(tmp_path / "m.nii", (image > 0).astype(np.uint8), affine)
    item = load_item(Case("x", {"image": tmp_path / "i.nii"}, tmp_path / "m.nii", "g"), SPEC)
    assert item.labels.shape == item.image.shape[1:] == (20, 22, 20)
    bright = item.image[0] > 0.5 * (item.image.min() + item.image.max())
    both = (bright & (item.labels == 1)).sum()
    assert 2 * both / (bright.sum() + (item.labels == 1).sum()) > 0.97


def item(seed=0):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.zeros(20, 24, 18, dtype=torch.uint8)
    labels[4:12, 8:20, 5:14], labels[12:16, 8:20, 5:14] = 1, 2
    image = labels.float()[None] * 2 + torch.randn(1, 20, 24, 18, generator=rng) * 0.01
    return Item(f"case{seed}", image, labels)


def test_a_patch_is_a_function_of_seed_and_index():
    items = [item(0), item(1), item(2)]
    one, two = (Patches(items, SPEC, Augment(), seed=4) for _ in range(2))
    torch.randn(3)  # the global generator has no say
    assert torch.equal(one[17]["image"], two[17]["image"])
    assert not torch.equal(one[17]["image"], one[18]["image"])
    assert not torch.equal(one[17]["image"], Patches(items, SPEC, Augment(), seed=5)[17]["image"])


def test_every_case_is_seen_once_an_epoch():
    patches = Patches([item(i) for i in range(5)], SPEC, Augment(), seed=0)
    for epoch in range(3):
        assert len({patches[epoch * 5 + i]["case_id"] for i in range(5)}) == 5


def test_space_changes_image_and_labels_together():
    still = dict.fromkeys(("gamma", "bias", "level", "blur", "coarse", "noise"), 0.0)
    patches = Patches([item()], SPEC, Augment(**still), seed=1)
    for index in range(8):
        patch = patches[index]
        assert patch["image"].shape == (1, 16, 16, 16)
        for label in (0, 1, 2):
            inside = patch["image"][0][patch["labels"] == label]
            if inside.numel() > 50:
                assert inside.median().item() == pytest.approx(2 * label, abs=0.2)


def test_mirroring_swaps_left_and_right_alone():
    plain = Augment(
        flip=1.0,
        still=1.0,
        shift=0.0,
        warp=0.0,
        gamma=0,
        bias=0,
        level=0,
        blur=0,
        coarse=0,
        noise=0,
    )
    spec = ModelSpec("m", "segmentation", "unet3d", ("a", "b"), (1, 1, 1), (20, 24, 18))
    whole = item()
    patch = Patches([whole], spec, plain, seed=0)[0]
    assert torch.allclose(patch["image"], whole.image.flip(1), atol=1e-4)
    assert torch.equal(patch["labels"], whole.labels.flip(0).long())


TURNED = np.array([[0, 1.5, 0, 0], [-1.5, 0, 0, 25], [0, 0, 1.2, 0], [0, 0, 0, 1]])


def in_box(corner, shape, affine):
    """Where a cube of 12 mm lies on a grid."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    place = to_world(affine, index) - corner
    return ((place >= 0) & (place <= 12)).all(axis=-1)


def write_pair_cases(folder, count):
    """Scans of two cubes, each placed by chance; what both share is the mask.

    Neither scan alone tells where that is. The second has coarser voxels, its axes turned. Returns
    the cases.csv, and the two places of each case.
    """
    rng, rows = np.random.default_rng(0), []
    corners = rng.uniform(3, 9, (count, 2, 3))
    for number, pair in enumerate(corners):
        row = {"case_id": f"c{number}", "mask": f"m{number}.nii", "group": f"g{number}"}
        shared = np.all([in_box(corner, (24, 24, 24), np.eye(4)) for corner in pair], axis=0)
        save(folder / row["mask"], shared.astype(np.uint8))
        for name, corner, shape, affine in (
            ("a", pair[0], (24, 24, 24), np.eye(4)),
            ("b", pair[1], (17, 17, 20), TURNED),
        ):
            row[f"image_{name}"] = f"{name}{number}.nii"
            array = 50 * in_box(corner, shape, affine) + rng.normal(0, 3, shape)
            save(folder / row[f"image_{name}"], array.astype(np.float32), affine)
        rows.append(row)
    return write_cases(folder / "cases.csv", rows), corners


def test_two_inputs_are_learned_where_neither_alone_tells(tmp_path):
    table, corners = write_pair_cases(tmp_path, 8)
    cases = read_cases(table)
    spec = plan(cases[:6], ["both"], "pair", width=4, show=False)
    assert spec.input_names == ("a", "b")
    config = TrainConfig(steps=80, batch_size=2, learning_rate=0.01, ema=0.8, eval_every=40)
    run = train(cases[:6], cases[6:], spec, config, tmp_path / "run", "cpu", show=False)
    network, saved = load_model(run.model)
    assert saved == spec
    assert mean_dice(run.scores, "both") > 0.8
    # the first scan of one case with the second of another: what those two share is found
    here, there = (read_case(case, saved)[0].volumes for case in cases[6:])
    mixed = Study("mixed", {"a": here["a"], "b": there["b"]})
    found = Predictor(network, saved, "cpu").predict(mixed).mask.array[0] > 0
    first, second = (in_box(c, (24, 24, 24), np.eye(4)) for c in (corners[6][0], corners[7][1]))
    assert dice(found, first & second) > 0.8
    assert max(dice(alone, first & second) for alone in (first, second)) < 0.6
