"""The masks of an evaluated model lie in a folder that knows its own, and what their labels are."""

import json
from pathlib import Path

import numpy as np
import pytest

from medvision.dataset import Case
from medvision.errors import OutputError, SpecError
from medvision.evaluation import judge_cases
from medvision.files import sha256
from medvision.found_masks import FOUND_CARD, keep_masks, read_found
from medvision.judged import judged_by, judged_results
from medvision.outputs.nifti import save_nifti
from medvision.volume import Volume

NAMES = ("liver", "tumor")


def mask(label=1):
    return Volume(np.full((1, 3, 3, 3), label, np.uint8), np.eye(4))


def cases_of(folder, *names):
    """Cases whose image and truth is one file each."""
    paths = [save_nifti(mask(), folder / f"{name}.nii.gz") for name in names]
    return [Case(path.name[:-7], {"image": path}, path, path.name[:-7]) for path in paths]


def evaluate(cases, folder, names=NAMES, label=1):
    """Keep a mask of each case, as an evaluated model would."""
    with keep_masks(cases, folder, names) as keep:
        for case in cases:
            keep(case.case_id, mask(label))


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_masks_of_an_earlier_larger_table_are_gone(tmp_path):
    cases, found = cases_of(tmp_path / "truth", "a", "b", "c"), tmp_path / "found"
    evaluate(cases, found)
    save_nifti(mask(), found / "mine.nii.gz")  # of the user
    evaluate(cases[:2], found, label=2)
    assert names_in(found) == ["a.nii.gz", "b.nii.gz", FOUND_CARD, "mine.nii.gz"]
    (found / "mine.nii.gz").unlink()
    again = judged_results(found)
    assert again.class_names == NAMES
    assert again.unmatched(cases[:2]) == []
    assert set(again.masks_of(cases)) == {"a", "b"}


def test_an_evaluation_that_fails_leaves_the_earlier_masks(tmp_path):
    cases, found = cases_of(tmp_path / "truth", "a", "b"), tmp_path / "found"
    evaluate(cases, found)
    before = {path: path.read_bytes() for path in found.iterdir()}
    with pytest.raises(RuntimeError), keep_masks(cases, found, ("other",)) as keep:
        keep("a", mask(2))
        raise RuntimeError
    assert {path: path.read_bytes() for path in found.iterdir()} == before


def test_swapped_names_are_noticed(tmp_path):
    cases, found = cases_of(tmp_path / "truth", "a"), tmp_path / "found"
    evaluate(cases, found)
    assert judged_results(found, NAMES).class_names == NAMES
    with pytest.raises(SpecError, match="are liver, tumor; asked for were tumor, liver"):
        judged_results(found, NAMES[::-1])
    other = judged_by(str(found), NAMES[::-1])
    assert other.class_names == NAMES  # it says its own
    (tmp_path / "bare").mkdir()
    save_nifti(mask(), tmp_path / "bare" / "a.nii.gz")
    first = judged_results(tmp_path / "bare", NAMES[::-1])
    with pytest.raises(SpecError, match="only the same, in one order, can be compared"):
        judge_cases(first, cases, tmp_path / "out", other, show=False)


def test_masks_that_are_still_read_are_not_removed(tmp_path):
    cases, found = cases_of(tmp_path / "truth", "a", "b"), tmp_path / "found"
    evaluate(cases, found)
    others = [found / "b.nii.gz"]
    with (
        pytest.raises(OutputError, match="or of the masks to compare with"),
        keep_masks(cases[:1], found, NAMES, others),
    ):
        pytest.fail("it began")
    assert (found / "b.nii.gz").is_file()


def test_a_planted_card_removes_nothing_outside_of_its_folder(tmp_path):
    cases, found = cases_of(tmp_path / "truth", "a"), tmp_path / "found"
    evaluate(cases, found)
    outside = [save_nifti(mask(), tmp_path / "b.nii.gz"), tmp_path / "notes.txt"]
    outside[1].touch()
    names = ["../b.nii.gz", str(outside[0]), "../notes.txt", "."]
    sums = {name: sha256(outside[n % 2]) for n, name in enumerate(names)}
    sums["a.nii.gz"] = sha256(found / "a.nii.gz")
    card = {"class_names": NAMES, "masks": sums}
    (found / FOUND_CARD).write_text(json.dumps(card))
    evaluate(cases, found)
    assert all(path.is_file() for path in outside)


def test_a_mask_that_somebody_corrected_or_put_there_is_not_replaced(tmp_path):
    cases, found = cases_of(tmp_path / "truth", "a", "b", "c"), tmp_path / "found"
    evaluate(cases[:2], found)
    for path, some in ((found / "b.nii.gz", cases[:1]), (found / "c.nii.gz", cases)):
        before = path.read_bytes() if path.exists() else b""
        mine = save_nifti(mask(7), path).read_bytes()
        with pytest.raises(OutputError, match="not written by an evaluation, or has changed"):
            evaluate(some, found)
        assert path.read_bytes() == mine
        path.write_bytes(before) if before else path.unlink()
    evaluate(cases, found, label=2)
    assert names_in(found) == ["a.nii.gz", "b.nii.gz", "c.nii.gz", FOUND_CARD]


def test_a_disk_that_refuses_loses_no_mask(tmp_path, monkeypatch):
    cases, found = cases_of(tmp_path / "truth", "a", "b"), tmp_path / "found"
    evaluate(cases, found)

    replace = Path.replace

    def refuse(path, target):
        if Path(target).parent == found:
            raise OSError(28, "No space left on device")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OutputError, match="No space left"):
        evaluate(cases[:1], found)
    assert names_in(found) == ["a.nii.gz", "b.nii.gz", FOUND_CARD]


@pytest.mark.parametrize("text", ["", "[]", '{"class_names": 1, "masks": {}}', '{"classes": []}'])
def test_a_card_that_is_none_is_refused(tmp_path, text):
    save_nifti(mask(), tmp_path / "a.nii.gz")
    (tmp_path / FOUND_CARD).write_text(text)
    with pytest.raises(SpecError, match="Remove it, and name the classes"):
        read_found(tmp_path)
