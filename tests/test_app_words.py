"""The app, headless: what it shows is said in its own words, in one place, and holds together."""

import nibabel as nib
import numpy as np
import pytest
from app_pages import open_page, press
from dicom_phantom import write_series
from notices import told
from pydicom.uid import RTPlanStorage
from state import duration

from medvision.files import write_text
from medvision.outputs.nifti import save_nifti
from medvision.outputs.table import columns_of, failed_row, write_results
from medvision.phantom import Ellipsoid, ellipsoid_phantom


def ball(shape):
    """Return a noisy ball of a size."""
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    return ellipsoid_phantom(shape, affine, [Ellipsoid((6.0, 6, 6), (4, 4, 4))], noise=5)[0]


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 0 s"), (261.365, "4 min 21 s"),
     (3_900, "1 h 5 min")],
)  # fmt: skip
def test_times_are_said_as_people_say_them(seconds, says):
    assert duration(seconds) == says


def test_no_option_of_the_command_line_is_left():
    words = "extent 200 mm: trained on 50 mm; show it a part with --box"
    assert (
        told(words) == "extent 200 mm: trained on 50 mm; draw a box around the part that is meant"
    )
    how = "choose one by its number (--series), which `medvision info` shows"
    assert told(how) == "choose one by its number"
    assert told("NIfTI fits (--outputs nifti).") == "NIfTI fits."


def test_the_worklist_tells_of_one_series_and_marks_what_cannot_be_seen(tmp_path, monkeypatch):
    root = tmp_path / "root"

    def of_one_study(data, _):
        data.StudyInstanceUID = "1.2.3"

    def no_pixels(data, _):
        data.Modality = "RTPLAN"
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = RTPlanStorage
        del data.Rows, data.Columns, data.PixelData

    for number, (name, shape) in enumerate([("Scout", (8, 8, 3)), ("Thin", (16, 14, 8))], 1):
        scan = ball(shape)
        scan = scan.with_array(scan.array.astype(np.int16))
        write_series(root / "ct" / name, scan, number=number, description=name, change=of_one_study)
    save_nifti(ball((12, 12, 12)), root / "plain.nii.gz")
    write_text(root / "broken.nii.gz", "no scan")
    write_series(
        root / "plan",
        ball((8, 8, 1)).with_array(np.zeros((1, 8, 8, 1), np.int16)),
        change=no_pixels,
    )
    page = open_page(monkeypatch, root, "Browse")
    assert not page.exception
    table = page.dataframe[0].value.set_index("study")
    assert table.loc["ct", "description"] == "Thin"
    assert table.loc["ct", "voxels"] == "16 × 14 × 8"
    assert dict(table["modality"]) == {"ct": "CT", "plain": "", "broken": "", "plan": "RTPLAN"}
    files = {"ct": "DICOM", "plain": "NIfTI", "broken": "NIfTI", "plan": "DICOM"}
    assert dict(table["format"]) == files
    marks = {"ct": "", "plain": "", "broken": "unreadable", "plan": "no image"}
    assert dict(table["problem"]) == marks
    assert page.multiselect(key="filter modality").options == ["CT", "RTPLAN"]
    page = open_page(monkeypatch, root, "View", pictures=True)
    assert sorted(page.selectbox(key="scan").options) == ["ct", "plain"]
    page = open_page(monkeypatch, root, "Batch")
    assert sorted(page.multiselect(key="batch studies").options) == ["broken", "ct", "plain"]


def test_results_have_words_and_no_none(tmp_path, monkeypatch):
    root = tmp_path / "root"
    save_nifti(ball((12, 12, 12)), root / "a.nii.gz")
    rows = [
        {"case_id": "a", "source": "a.nii.gz", "status": "ok", "lesion_ml": 1.5}
        | {"seconds": 261.365, "touches_border": "lesion"},
        failed_row("b", "b.nii.gz", "2 series fit; choose one (--series)", 0.2),
    ]
    write_results(rows, columns_of("segmentation", ["lesion"]), root / "results" / "results.csv")
    page = open_page(monkeypatch, root, "Results")
    assert not page.exception
    table = page.dataframe[0]
    assert list(table.value["time"]) == ["4 min 21 s", "0.2 s"]
    assert list(table.value["touches the border"]) == ["lesion", ""]
    assert page.dataframe[1].value["reason"][0] == "2 series fit; choose one"
    assert not {"case_id", "touches_border", "seconds"} & set(table.value)
    assert table.proto.placeholder == ""


def test_warnings_are_one_box_above_the_picture_and_notes_are_folded(tmp_path, monkeypatch):
    root = tmp_path / "root"
    root.mkdir()
    image = nib.Nifti1Image(ball((90, 90, 60)).array[0], np.diag([1000.0, 1000.0, 2000.0, 1.0]))
    image.header.set_xyzt_units("micron")
    nib.save(image, root / "a.nii.gz")
    page = open_page(monkeypatch, root, "View", pictures=True)
    page.selectbox(key="where").select("the whole scan").run()
    press(page, "Run")
    assert not page.exception
    [box] = page.error
    assert box.value.startswith("Review:")
    assert box.value.count("draw a box around the part that is meant") == 1  # for three extents
    assert "--" not in box.value
    assert "converted to mm" not in box.value  # it is no warning
    [notes] = page.main.expander
    assert notes.label == "Notes on the scan (1)"
    assert notes.markdown[0].value == "The header counts in micron; converted to mm."
    order = [one.type for one in page.main]
    assert order.index("error") < order.index("warning") < order.index("image")
