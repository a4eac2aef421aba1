"""cases.csv and folds."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medvision.dataset import (
    Case,
    classes_of,
    read_case,
    read_cases,
    task_of,
    write_cases,
)
from medvision.errors import CasesError
from medvision.folds import split_folds
from medvision.items import check_cases, load_item
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
    blanks = write(
        tmp_path, ["one, i.nii,m.nii ,p1 ", "two,i.nii , m.nii"], "case_id, image,mask ,group"
    )
    assert [replace(c, line=0) for c in read_cases(blanks)] == [replace(c, line=0) for c in cases]


def test_a_slip_in_the_column_of_the_truth_is_told(tmp_path):
    with pytest.raises(CasesError) as caught:
        task_of(write(tmp_path, [], "case_id,image_t1,lable,color"))
    assert "has no mask and no label" in str(caught.value)
    assert str(caught.value).endswith('truth; lable (did you mean "label"?).')


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
        (["one,i.nii,m.nii,p"], "case_id,image,mask,grup", r'grup \(did you mean "group"\?\)'),
        (["one,i.nii,m.nii,p"], "case_id,image,mask,reprot_file", 'did you mean "report_file"'),
        (["one,i.nii,m.nii,p"], "case_id,image,mask,Report", r'Report \(did you mean "report"'),
        (
            ["one,i.nii,m.nii,p,p"],
            "case_id,image,mask,group,groups",
            "unknown columns: groups. Known",
        ),
        (
            ["one,i.nii,m.nii,cough,"],
            "case_id,image,mask,report,report_file",
            "has a column report and a column report_file: .*leave the other out",
        ),
        (["one,i.nii,m.nii,dev"], "case_id,image,mask,split", "split 'dev' is not"),
        (["one,i.nii,m.nii", "", "two,i.nii,"], "case_id,image,mask", r"line 4 \(two\): no mask"),
        (["one,i.nii,m.nii,x,y"], "case_id,image,mask,group", r"line 2 \(one\): more fields"),
        (["one"], "case_id,image,mask", "no image at ''"),
        (["one,,m.nii"], "case_id,image,mask", "no image at ''"),
        ([f"one,{'i' * 5000},m.nii"], "case_id,image,mask", r"line 2 \(one\): no image"),
        (["one,i.nii,m.nii,m.nii"], "case_id,image,mask,mask", "two columns for one thing"),
        (["one,i.nii,i.nii,m.nii"], "case_id,image,image_image,mask", "two columns for one thing"),
        (
            ["one,i.nii,m.nii,train,p", "two,i.nii,m.nii,,p", "three,i.nii,m.nii,test,p"],
            "case_id,image,mask,split,group",
            r"group p is in two splits: train \(line 2, 3\), test \(line 4\)",
        ),
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


def test_every_problem_of_a_table_is_told_at_once(tmp_path):
    save(tmp_path / "i.nii", np.zeros((4, 4, 4), np.int16))
    rows = ["one,i.nii,a", "one,none.nii,a", "two,i.nii,", *[f"x{n},i,a" for n in range(30)]]
    with pytest.raises(CasesError) as caught:
        read_cases(write(tmp_path, rows, "case_id,image,label"), task="classification")
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:4]] == [
        "line 3",
        "line 3 (one)",
        "line 4 (two)",
    ]
    assert len(lines) == 1 + 20 + 1
    assert lines[-1].strip() == "… and 13 more"


def test_the_task_is_what_there_is_a_column_for(tmp_path):
    assert task_of(write(tmp_path, [], "case_id,image,mask")) == "segmentation"
    assert task_of(write(tmp_path, [], "case_id,image,label")) == "classification"
    with pytest.raises(CasesError, match="no mask and no label"):
        task_of(write(tmp_path, [], "case_id,image"))
    with pytest.raises(CasesError, match=r"a column mask and a column label: say .*--task"):
        task_of(write(tmp_path, [], "case_id,image,mask,label"))


@pytest.mark.parametrize(
    ("labels", "classes", "says"),
    [
        ("aab", ("a", "c"), r"line 4 \(x2\): label 'b' is none of the classes a, c"),
        ("aaa", (), "All 3 cases have the same label, 'a'"),
        ("aab", ("a", "b", "c"), "No case to train on has the label 'c'; found: a, b"),
        ("aabc", ("b",), r"line 2 \(x0\): label 'a' .*\n.*\n.*line 5 \(x3\): label 'c'"),
    ],
)
def test_labels_must_be_the_classes(labels, classes, says):
    cases = [Case(f"x{i}", {}, None, str(i), label=a, line=i + 2) for i, a in enumerate(labels)]
    with pytest.raises(CasesError, match=says):
        classes_of(cases, classes)


def test_classes_are_those_found_or_in_the_order_asked_for():
    cases = [Case(f"x{i}", {}, None, str(i), label=label) for i, label in enumerate("bab")]
    assert classes_of(cases) == ("a", "b")
    assert classes_of(cases, ("b", "a")) == ("b", "a")


def test_masks_must_fit_their_image(tmp_path):
    save(tmp_path / "i.nii", np.zeros((4, 4, 4), np.int16))
    save(tmp_path / "other.nii", np.zeros((4, 4, 4), np.int16), np.diag([1, 1, 2, 1]))
    save(tmp_path / "label.nii", np.full((4, 4, 4), 7, np.int16))
    image = {"image": tmp_path / "i.nii"}
    with pytest.raises(CasesError, match="not on the grid"):
        read_case(Case("x", image, tmp_path / "other.nii", "g"), SPEC)
    with pytest.raises(CasesError, match=r"labels \[7.0\].*expected 0 to 2"):
        read_case(Case("x", image, tmp_path / "label.nii", "g"), SPEC)
    for value in (0.5, -1, np.nan):
        save(tmp_path / "odd.nii", np.full((4, 4, 4), value, np.float32))
        with pytest.raises(CasesError, match=rf"labels \[{value}.*expected 0 to 2"):
            read_case(Case("x", image, tmp_path / "odd.nii", "g"), SPEC)
    save(tmp_path / "two.nii", np.zeros((4, 4, 4, 2), np.int16))
    with pytest.raises(CasesError, match=r"two.nii has 2 channels"):
        read_case(Case("x", image, tmp_path / "two.nii", "g"), SPEC)


def test_a_picture_does_not_fit_a_model_in_mm(tmp_path):
    Image.new("L", (6, 5)).save(tmp_path / "i.png")
    case = Case("x", {"image": tmp_path / "i.png"}, tmp_path / "i.png", "g")
    with pytest.raises(CasesError, match=r"x: .*i.png is a picture without a known voxel size"):
        read_case(case, SPEC)
    flat = replace(SPEC, spacing=None, architecture="unet2d", roi_size=(8, 8, 1))
    study, mask = read_case(case, flat)
    assert study.volumes["image"].shape == mask.shape == (6, 5, 1)


def test_cases_that_cannot_be_preprocessed_are_found_beforehand(tmp_path):
    arrays = {"good": np.arange(64.0).reshape(4, 4, 4), "flat": np.ones((4, 4, 4))}
    arrays["color"] = np.stack([arrays["good"]] * 2, axis=-1)
    for name, array in arrays.items():
        save(tmp_path / f"{name}.nii", array.astype(np.float32))
    save(tmp_path / "m.nii", np.zeros((4, 4, 4), np.uint8))
    cases = [
        Case(name, {"image": tmp_path / f"{name}.nii"}, tmp_path / "m.nii", name, line=line)
        for line, name in enumerate(arrays, start=2)
    ]
    with pytest.raises(CasesError) as caught:
        check_cases(cases, SPEC, show=False)
    first, second = str(caught.value).splitlines()
    assert first.startswith("line 3 (flat): The image is constant")
    assert second.startswith("line 4 (color): The model takes one channel; this image has 2")


GROUPS = st.lists(
    st.tuples(st.integers(1, 7), st.text("ab", min_size=1, max_size=3)), min_size=2, max_size=14
)  # size and labels of each group


@given(GROUPS, st.integers(2, 5), st.integers(0, 99), st.booleans())
def test_no_group_is_ever_split_and_no_fold_is_empty(groups, folds, seed, labeled):
    cases = [
        Case(f"{g}-{i}", {}, None, f"g{g}", label=labels[i % len(labels)] if labeled else "")
        for g, (size, labels) in enumerate(groups)
        for i in range(size)
    ]
    if len(groups) < folds:
        with pytest.raises(CasesError, match="cannot make"):
            split_folds(cases, folds, seed)
        return
    try:
        splits = split_folds(cases, folds, seed)
    except CasesError:  # only ever where a class is too rare to be everywhere
        patients = [len({c.group for c in cases if c.label == name}) for name in "ab"]
        assert labeled
        assert 1 in patients or (folds == 2 and 2 in patients)
        return
    assert sorted(i for val in splits for i in val) == list(range(len(cases)))
    assert all(splits)
    for val in splits:
        rest = [case for i, case in enumerate(cases) if i not in val]
        assert {cases[i].group for i in val}.isdisjoint(case.group for case in rest)
        assert {case.label for case in rest} == {case.label for case in cases}


def cases_of(groups):
    """Cases whose groups and labels are given as ``{group: labels}``."""
    return [
        Case(f"{group}{i}", {}, None, group, label=label)
        for group, labels in groups.items()
        for i, label in enumerate(labels)
    ]


def test_one_giant_group_fills_one_fold_alone():
    groups = {"giant": "ab" * 40, **{f"g{i}": "ab"[i % 2] for i in range(6)}}
    cases = cases_of(groups)
    for seed in range(5):
        splits = split_folds(cases, 3, seed)
        [giant] = [val for val in splits if any(cases[i].group == "giant" for i in val)]
        assert sum(cases[i].group == "giant" for i in giant) == 80
        assert all(splits)


def test_a_class_of_one_patient_is_never_only_validated_on():
    with pytest.raises(CasesError, match=r"Every case of b lies in one fold of 3: .*--folds"):
        split_folds(cases_of({"p": "bbbb", **{f"g{i}": "a" for i in range(9)}}), 3)


def test_classes_rarer_than_the_folds_are_split_as_groups():
    splits = split_folds(cases_of({"p": "a", "q": "a", "r": "b", "s": "b"}), 3, seed=0)
    assert sorted(len(val) for val in splits) == [1, 1, 2]


def test_folds_have_about_the_same_share_of_each_class():
    cases = cases_of({f"g{i}": "aab" if i % 5 else "bbb" for i in range(50)})
    for val in split_folds(cases, 5, seed=1):
        assert len(val) == 30
        assert abs(sum(cases[i].label == "a" for i in val) - 16) <= 2


def test_folds_repeat_themselves():
    cases = cases_of({f"g{i}": "ab"[i % 2] for i in range(20)})
    assert split_folds(cases, 4, seed=3) == split_folds(cases, 4, seed=3)
    assert split_folds(cases, 4, seed=3) != split_folds(cases, 4, seed=4)
