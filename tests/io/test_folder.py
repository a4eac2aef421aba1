"""Finding studies in folders of any mixture."""

import nibabel as nib
import numpy as np
import pytest

from medvision.errors import SeriesError
from medvision.io import find_studies, read_study


def touch(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_every_scan_is_one_study_in_order(tmp_path):
    for name in (
        "b/t1.nii.gz",
        "a/t1.nii.gz",
        "a/t2.nii",
        "c/slices/IM1.dcm",
        "c/slices/IM2.dcm",
        "c/readme.txt",
        "xray.png",
    ):
        touch(tmp_path / name)
    found = [(r.case_id, r.path.relative_to(tmp_path).as_posix()) for r in find_studies(tmp_path)]
    assert found == [
        ("xray", "xray.png"),
        ("a_t1", "a/t1.nii.gz"),
        ("t2", "a/t2.nii"),
        ("b_t1", "b/t1.nii.gz"),
        ("slices", "c/slices"),
    ]


def test_a_scan_named_twice_is_one_study(tmp_path):
    path = touch(tmp_path / "a.nii.gz")
    assert len(find_studies([path, tmp_path, path])) == 1


def test_results_hidden_files_and_skipped_folders_are_no_scans(tmp_path):
    for name in ("t1.nii", "._t1.nii", ".cache/x.nii", "old/run.json", "old/t1.nii", "out/t1.nii"):
        touch(tmp_path / name)
    assert [r.case_id for r in find_studies(tmp_path, skip=[tmp_path / "out"])] == ["t1"]


def test_a_link_to_itself_ends(tmp_path):
    touch(tmp_path / "a" / "t1.nii")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert len(find_studies(tmp_path)) == 1


def test_a_link_keeps_its_own_name(tmp_path):
    (tmp_path / "sub-01.nii").symlink_to(touch(tmp_path / "names" / "DOE_JANE.nii"))
    assert [r.case_id for r in find_studies(tmp_path / "sub-01.nii")] == ["sub-01"]


def test_a_folder_of_results_is_named_as_such(tmp_path):
    touch(tmp_path / "run.json")
    touch(tmp_path / "t1.nii")
    with pytest.raises(SeriesError, match="is a folder of results"):
        find_studies(tmp_path)
    (tmp_path / "scans").mkdir()
    with pytest.raises(SeriesError, match="is the folder for the results"):
        find_studies(tmp_path / "scans", skip=[tmp_path / "scans"])


def test_a_folder_without_scans_says_what_it_holds(tmp_path):
    touch(tmp_path / "a.txt")
    touch(tmp_path / "b.txt")
    with pytest.raises(SeriesError, match=r"2 × \.txt"):
        find_studies(tmp_path)
    with pytest.raises(SeriesError, match="No such file"):
        find_studies(tmp_path / "nowhere")


def test_names_that_cannot_be_told_apart_are_numbered(tmp_path):
    names = {
        r.case_id for r in find_studies([touch(tmp_path / "x.nii"), touch(tmp_path / "x.png")])
    }
    assert names == {"x", "x-2"}


def test_a_study_is_named_after_its_file(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.int16), np.eye(4)), tmp_path / "my scan.nii.gz")
    study = read_study(tmp_path / "my scan.nii.gz")
    assert study.case_id == "my_scan"
    assert study.image.shape == (3, 3, 3)
