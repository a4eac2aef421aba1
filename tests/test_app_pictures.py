"""Pictures of every page, at two sizes, to be looked at; those of the README among them.

MEDVISION_SCREENSHOTS names the folder where they are kept (`make pictures`).
"""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from app_server import browsing, serving
from hippocampus_data import template
from pydicom.data import get_testdata_file
from scipy import ndimage
from test_app_browser import SLOW, choose, picture_of, viewer_of

from medvision.extras import dataset_builder
from medvision.files import write_text
from medvision.io import read_labels
from medvision.outputs.nifti import save_nifti

SIZES = {"": (1280, 800), "_wide": (2560, 1440)}
REAL = ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm")  # ship with pydicom


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A brain with both hippocampi found and one drawn by hand, some DICOM, a file that is none."""
    root = tmp_path_factory.mktemp("scans")
    save_nifti(template(), root / "brain.nii.gz")
    for name in REAL:
        (root / "dicom").mkdir(exist_ok=True)
        shutil.copy(get_testdata_file(name), root / "dicom" / name)
    write_text(root / "broken.nii.gz", "no scan")
    boxes = [f"--box=mni:{side}-hippocampus" for side in ("left", "right")]
    command = [sys.executable, "-m", "medvision", "predict", str(root), "--model", "hippocampus"]
    done = subprocess.run(
        [*command, *boxes, "--out", str(root / "results")], capture_output=True, check=False
    )
    assert done.returncode == 1  # what is no brain fails
    found = read_labels(root / "results" / "brain_left-hippocampus.nii.gz")
    drawn = ndimage.grey_dilation(np.roll(found.array[0], 1, axis=1), size=(2, 1, 1))
    save_nifti(found.with_array(drawn[None]), root / "brain_drawn.nii.gz")
    write_text(root / "brain_drawn.json", '{"labels": {"1": "anterior", "2": "posterior"}}')
    return root


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    root = tmp_path_factory.mktemp("pairs")
    dataset_builder("pairs").build(root / "cases.csv", cases=60)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_pages(scans, size, tmp_path):
    command = ["medvision", "app", str(scans)]
    with serving(command) as address, browsing(f"{address}/?page=Browse", size=SIZES[size]) as tab:
        tab.get_by_role("button", name="View it").first.wait_for(timeout=SLOW)
        tab.wait_for_timeout(1500)
        picture_of(tab, f"app_browse{size}", tmp_path)
        tab.goto(f"{address}/?page=View&scan=brain")
        viewer_of(tab)
        tab.get_by_role("button", name="Run", exact=True).click()
        viewer_of(tab, layers=1)
        tab.wait_for_timeout(1500)
        picture_of(tab, f"app_view{size}", tmp_path)
        tab.get_by_text("Table (CSV)").scroll_into_view_if_needed()
        tab.wait_for_timeout(1500)
        picture_of(tab, f"app_answer{size}", tmp_path)
        tab.get_by_text("Compare", exact=True).click()
        choose(tab, "Reference", "brain_drawn.nii.gz")
        tab.locator(".viewer[data-state=shown][data-layers='1']").nth(1).wait_for(timeout=SLOW)
        tab.get_by_text("Difference", exact=True).click()
        tab.get_by_text("only found").first.wait_for(timeout=SLOW)
        tab.wait_for_timeout(2500)
        picture_of(tab, f"app_compare{size}", tmp_path)
        tab.get_by_text("Results", exact=True).click()
        tab.get_by_text("Choose a row").wait_for(timeout=SLOW)
        tab.wait_for_timeout(2500)
        picture_of(tab, f"app_results{size}", tmp_path)
        tab.get_by_text("Batch", exact=True).click()
        tab.get_by_text("Folder for the results").wait_for(timeout=SLOW)
        tab.wait_for_timeout(2500)
        picture_of(tab, f"app_batch{size}", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_what_if(pairs, size, tmp_path):
    command = ["medvision", "app", str(pairs)]
    with serving(command) as address, browsing(f"{address}/?page=View", size=SIZES[size]) as tab:
        viewer_of(tab)
        choose(tab, "Model", "synthetic-pairs")
        again = tab.get_by_role("button", name="Run again")
        run = tab.get_by_role("button", name="Run", exact=True)
        run.click()
        again.wait_for()
        tab.get_by_role("button", name="Blank").click()
        run.click()
        again.wait_for()
        tab.get_by_role("button", name="As it came").click()
        tab.get_by_text("What a word adds").first.wait_for()
        tab.get_by_text("Likeliest class").first.wait_for(timeout=SLOW)
        viewer_of(tab, layers=1)
        tab.wait_for_timeout(1500)
        picture_of(tab, f"app_what_if{size}", tmp_path)
        tab.get_by_text("Explanation (HTML)").scroll_into_view_if_needed()
        tab.wait_for_timeout(1500)
        picture_of(tab, f"app_words{size}", tmp_path)
