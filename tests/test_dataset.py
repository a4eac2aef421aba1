"""cases.csv and folds."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvision.dataset import Case, read_case, read_cases, split_folds, write_cases
from medvision.errors import CasesError
from medvision.items import load_item
from medvision.spec import InputSpec, ModelSpec

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
