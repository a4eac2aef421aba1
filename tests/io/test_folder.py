"""Finding studies in folders of any mixture."""

import os

import nibabel as nib
import numpy as np
import pytest
from dicom_phantom import write_series

from medvision.errors import DecodeError, SeriesError
from medvision.io import find_studies, read_study
from medvision.volume import Volume


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


SCAN = Volume(np.arange(4 * 5 * 3, dtype=np.int16).reshape(1, 4, 5, 3), np.diag([-1.0, -1, 2, 1]))


def of_study(uid, patient="PID-4711-X"):
    def change(data, k):
        data.StudyInstanceUID, data.PatientID = uid, patient

    return change


def test_a_study_is_one_wherever_its_files_lie(tmp_path):
    write_series(tmp_path / "exam" / "a", SCAN, number=1, change=of_study("1.2.1"))
    write_series(tmp_path / "exam" / "b" / "c", SCAN, number=2, change=of_study("1.2.1"))
    [ref] = find_studies(tmp_path)
    assert (ref.case_id, ref.path, ref.uid) == ("exam", tmp_path / "exam", "1.2.1")
    assert [one.label for one in ref.series] == ["1", "2"]
    assert read_study(ref, "2").image.info.sources[0].parent.name == "c"
    with pytest.raises(SeriesError, match="holds 2 series") as told:
        read_study(ref)
    assert " 2  CT, axial" in str(told.value)
    assert "phantom" not in str(told.value)  # a name may stand in a description


def test_studies_of_one_folder_are_told_apart(tmp_path):
    for number, uid in enumerate(("1.2.1", "1.2.2"), start=1):
        for path in write_series(tmp_path / "x", SCAN, number=number, change=of_study(uid, uid)):
            (tmp_path / "all").mkdir(exist_ok=True)
            path.rename(tmp_path / "all" / f"{number}-{path.name}")
    (tmp_path / "x").rmdir()
    refs = find_studies(tmp_path)
    assert [ref.case_id for ref in refs] == ["all", "all-2"]
    assert {ref.path for ref in refs} == {tmp_path / "all"}
    assert len({ref.patient for ref in refs}) == 2
    assert [read_study(ref).image.info.study_uid for ref in refs] == ["1.2.1", "1.2.2"]
    with pytest.raises(SeriesError, match="holds 2"):
        read_study(tmp_path / "all")


def test_a_session_of_a_bids_tree_is_one_study(tmp_path):
    image = nib.Nifti1Image(np.zeros((3, 3, 3), np.int16), np.eye(4))
    for name in (
        "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
        "sub-01/ses-1/func/sub-01_ses-1_task-rest_bold.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz",
        "sub-02/anat/sub-02_T1w.nii.gz",
        "derivatives/sub-02/anat/sub-02_space-T1w_dseg.nii.gz",
        "sub-03/anat/other_T1w.nii.gz",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        nib.save(image, tmp_path / name)
    found = {ref.case_id: [one.label for one in ref.series] for ref in find_studies(tmp_path)}
    root = tmp_path.name
    assert found == {
        "derivatives_sub-02": ["sub-02_space-T1w_dseg"],
        "sub-01_ses-1": ["sub-01_ses-1_T1w", "sub-01_ses-1_task-rest_bold"],
        "sub-01_ses-2": ["sub-01_ses-2_T1w"],
        f"{root}_sub-02": ["sub-02_T1w"],
        "other_T1w": ["other_T1w"],
    }
    [labels] = [r for r in find_studies(tmp_path) if r.case_id == "derivatives_sub-02"]
    assert labels.series[0].role == "labels"
    [ref] = [r for r in find_studies(tmp_path) if r.case_id == "sub-01_ses-1"]
    assert read_study(ref, "sub-01_ses-1_T1w").image.shape == (3, 3, 3)


def test_pipes_and_links_to_nowhere_stop_nothing(tmp_path):
    touch(tmp_path / "a" / "t1.nii")
    os.mkfifo(tmp_path / "a" / "pipe")
    os.mkfifo(tmp_path / "a" / "pipe.dcm")
    (tmp_path / "a" / "gone.nii.gz").symlink_to(tmp_path / "annex")
    problems = {ref.case_id: ref.series[0].problem for ref in find_studies(tmp_path)}
    assert sorted(problems) == ["gone", "t1"]
    assert "is a link to what is not here" in problems["gone"]
    with pytest.raises(DecodeError, match="a pipe"):
        read_study(tmp_path / "a")


def test_a_report_beside_its_scan_is_paired(tmp_path):
    write_series(tmp_path / "one", SCAN)
    touch(tmp_path / "one" / "report.txt", "Findings: none.")
    [ref] = find_studies(tmp_path)
    assert [path.name for path in ref.reports] == ["report.txt"]
    assert read_study(ref).report == "Findings: none."


def test_no_name_of_a_patient_is_kept(tmp_path):
    write_series(tmp_path / "one", SCAN)
    told = repr(find_studies(tmp_path))
    assert not any(word in told for word in ("DOE", "PID-4711-X", "19700101"))
