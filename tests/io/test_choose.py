"""Which series feeds which input: facts decide, `--series` overrules, nothing is guessed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_phantom import write_series
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import generate_uid

from medvision.errors import DecodeError, SeriesError
from medvision.io import find_studies, read_study
from medvision.io.choose import choose_inputs
from medvision.spec import InputSpec
from medvision.study import SeriesRef, StudyRef
from medvision.volume import Volume


def series(label, description="", **facts):
    facts = {"format": "dicom", "modality": "MR", "shape": (1, 256, 256, 20), **facts}
    return SeriesRef(label, (Path(f"{label}.dcm"),), description=description, **facts)


def study(*found):
    return StudyRef("case", Path("scans/case"), series=found)


T1 = series("2", "t1_mprage sag", plane="sagittal", contrast=False, uid="1.2.2")
T1C = series("7", "t1_mprage sag +C", plane="sagittal", contrast=True, uid="1.2.7")
FLAIR = series("3", "T2 FLAIR tra", plane="axial", uid="1.2.3")
CT = series("1", "Head 5.0", modality="CT", plane="axial", uid="1.2.1")
SEG = series("9", "t1 tumor", modality="SEG", role="labels")
BROKEN = series("5", "t1 broken", problem="slices 3 and 4 are missing")
BRAIN = study(CT, T1, FLAIR, T1C, SEG, BROKEN)


@pytest.mark.parametrize(
    ("asked", "label"),
    [
        (InputSpec(modality="CT"), "1"),
        (InputSpec(description="flair"), "3"),
        (InputSpec(description="^t1.*sag$"), "2"),
        (InputSpec(modality="MR", plane="axial"), "3"),
        (InputSpec(description="t1", contrast=True), "7"),
        (InputSpec(description="t1", contrast=False), "2"),
    ],
)
def test_facts_single_out_a_series(asked, label):
    assert choose_inputs(BRAIN, [asked])["image"].label == label


@given(order=st.permutations(BRAIN.series))
@settings(max_examples=20)
def test_the_order_of_series_has_no_say(order):
    asked = [InputSpec("flair", description="flair"), InputSpec("t1", "MR", "t1", contrast=True)]
    found = choose_inputs(study(*order), asked)
    assert [(name, ref.label) for name, ref in found.items()] == [("flair", "3"), ("t1", "7")]


def test_what_is_unknown_does_not_exclude():
    nifti = SeriesRef("scan", (Path("scan.nii"),), "nifti")
    asked = InputSpec(modality="MR", description="t1", plane="axial", contrast=True)
    assert choose_inputs(study(nifti), [asked])["image"] is nifti


def test_what_is_known_to_match_beats_what_is_unknown():
    nifti = SeriesRef("scan", (Path("scan.nii"),), "nifti")
    assert choose_inputs(study(nifti, T1), [InputSpec(modality="MR")])["image"] is T1
    one_known = replace(nifti, modality="MR")  # contrast unknown
    other_known = replace(nifti, label="b", contrast=True)  # modality unknown
    with pytest.raises(SeriesError, match="2 series of scans/case fit"):
        choose_inputs(study(one_known, other_known), [InputSpec(modality="MR", contrast=True)])


def test_several_that_fit_are_listed_with_all_others():
    with pytest.raises(SeriesError) as told:
        choose_inputs(BRAIN, [InputSpec(modality="MR", description="t1|flair")])
    first, *lines = str(told.value).splitlines()
    assert first == (
        "3 series of scans/case fit input image (MR, 't1|flair'); choose one by its number, UID "
        "or part of its description (--series), which `medvision info` shows:"
    )
    assert len(lines) == 5  # every image series, and not the labels
    assert lines[0].endswith(
        "CT, axial, 1×256×256×20, 1 files — CT, not MR, no 't1|flair' in its description"
    )
    assert lines[1] == "       2  MR, sagittal, 1×256×256×20, 1 files"
    assert lines[4].endswith("— slices 3 and 4 are missing")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (InputSpec(modality="PT"), "— MR, not PT"),
        (InputSpec(description="swi"), "— no 'swi' in its description"),
        (InputSpec(plane="axial"), "— sagittal, not axial"),
        (InputSpec(contrast=True), "— without contrast"),
    ],
)
def test_the_only_series_is_refused_when_a_fact_contradicts(asked, says):
    with pytest.raises(SeriesError, match=f"^No series of scans/case fits input(.|\n)*{says}"):
        choose_inputs(study(T1), [asked])
    assert choose_inputs(study(T1), [asked], ["2"])["image"] is T1  # --series overrules


@pytest.mark.parametrize(
    ("wanted", "label"),
    [("3", "3"), ("1.2.7", "7"), ("FLAIR", "3"), ("+c", "7"), ("image=1", "1"), ("4.2", "4.2")],
)
def test_a_series_is_named_by_number_uid_or_words(wanted, label):
    parts = (series("4.1", "gre"), series("4.2", "gre", uid="1.2.4"))
    found = choose_inputs(study(*BRAIN.series, *parts), [InputSpec(modality="XA")], [wanted])
    assert found["image"].label == label


def test_a_series_is_named_by_the_digest_of_its_uid():
    found = choose_inputs(BRAIN, [InputSpec(modality="XA")], [FLAIR.key])
    assert found["image"].label == "3"
    assert FLAIR.uid not in FLAIR.key


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("sag", "^2 series of scans/case fit 'sag'"),
        ("8", "^No series of scans/case fits '8'(.|\n)* 3  MR"),
        ("t1 tumor", "^No series"),  # a label map is no image
        ("5", "cannot be read(.|\n)*slices 3 and 4 are missing"),
    ],
)
def test_a_name_that_does_not_single_out_a_series_lists_them(wanted, says):
    with pytest.raises(SeriesError, match=says):
        choose_inputs(BRAIN, [InputSpec()], [wanted])


def test_a_part_is_named_in_full():
    parts = study(series("4.1", "gre"), series("4.2", "gre"))
    with pytest.raises(SeriesError, match="2 series of scans/case fit '4'"):
        choose_inputs(parts, [InputSpec()], ["4"])


T1_AND_ANY = [InputSpec("t1", description="t1"), InputSpec("other")]


def test_a_series_feeds_one_input_only():
    found = choose_inputs(study(FLAIR, T1), T1_AND_ANY)
    assert {name: ref.label for name, ref in found.items()} == {"t1": "2", "other": "3"}
    assert list(choose_inputs(study(FLAIR, T1), T1_AND_ANY[::-1])) == ["other", "t1"]
    with pytest.raises(SeriesError, match="One series of scans/case fits t1 and other alike"):
        choose_inputs(study(T1), T1_AND_ANY)
    told = choose_inputs(study(T1), T1_AND_ANY, ["t1=2", "other=2"])
    assert told == {"t1": T1, "other": T1}


def test_two_inputs_alike_are_never_dealt_out():
    with pytest.raises(SeriesError, match="2 series of scans/case fit input a"):
        choose_inputs(study(T1, T1C), [InputSpec("a"), InputSpec("b")])
    found = choose_inputs(study(T1, T1C), [InputSpec("a"), InputSpec("b")], ["b=2"])
    assert found == {"a": T1C, "b": T1}


def test_the_error_of_one_input_tells_what_feeds_the_others():
    asked = [InputSpec("t1", description=r"sag$"), InputSpec("pet", "PT")]
    with pytest.raises(SeriesError, match=r"input pet \(PT\)(.|\n)*--series pet=(.|\n)*feeds t1"):
        choose_inputs(BRAIN, asked)


@pytest.mark.parametrize(
    ("inputs", "wanted", "says"),
    [
        (T1_AND_ANY, ["2"], "'2' does not say which input.*t1=… or other=…"),
        (T1_AND_ANY, ["t1=2", "t1=3"], "Two series are asked for input t1: '2' and '3'"),
        ([InputSpec()], ["2", "3"], "Two series are asked for input image"),
    ],
)
def test_a_name_without_its_input_is_refused(inputs, wanted, says):
    with pytest.raises(SeriesError, match=says):
        choose_inputs(BRAIN, inputs, wanted)


def test_a_study_without_images_lists_what_it_holds():
    with pytest.raises(SeriesError, match=r"holds no image series\.\n.*SEG.*labels, no image"):
        choose_inputs(study(SEG), [InputSpec()])


def test_of_a_study_that_cannot_be_read_only_that_is_said():
    with pytest.raises(DecodeError, match=r"^slices 3 and 4 are missing$"):
        choose_inputs(study(BROKEN, SEG), [InputSpec(modality="CT")])
    other = series("6", problem="the file is empty")
    with pytest.raises(DecodeError) as told:
        choose_inputs(study(BROKEN, other), [InputSpec()], ["5"])
    first, *lines = str(told.value).splitlines()
    assert first == "No image series of scans/case can be read:"
    assert [line.split(" — ")[1] for line in lines] == [BROKEN.problem, other.problem]


def test_a_study_is_read_as_its_model_asks(tmp_path):
    scan = Volume(np.arange(120, dtype=np.int16).reshape(1, 5, 6, 4), np.diag([1.0, 1, 2, 1]))
    study_uid = generate_uid()

    def same_study(data, k):
        data.StudyInstanceUID = study_uid

    for number, name in ((2, "T1 mprage"), (3, "FLAIR"), (4, "localizer")):
        one = scan.with_array(scan.array + 1000 * number)
        write_series(
            tmp_path / name, one, number=number, description=name, modality="MR", change=same_study
        )
    [ref] = find_studies(tmp_path)
    inputs = (InputSpec("t1", description="t1"), InputSpec("flair", description="flair"))
    for where in (ref, tmp_path):
        volumes = read_study(where, inputs=inputs).volumes
        assert [v.array.min() // 1000 for v in volumes.values()] == [2, 3]
        assert list(volumes) == ["t1", "flair"]
    overruled = read_study(ref, ["flair=4"], inputs=inputs)
    assert overruled.volumes["flair"].array.min() == 4000
    assert overruled.image.array.min() == 2000
    with pytest.raises(SeriesError, match=r"(?s) 2  MR.* 3  MR.* 4  MR"):
        read_study(ref, inputs=(InputSpec("image", modality="MR"),))
