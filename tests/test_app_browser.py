"""The app in a real browser: what a person does, and what they see."""

import os
import re
from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from app_server import browsing, serving
from hippocampus_data import template
from PIL import Image
from toy_classifier import write_picture
from toy_fusion import spec_of, write_films, write_toy

from medvision import load_predictor, read_study
from medvision.files import write_text
from medvision.geometry import parse_box
from medvision.outputs.nifti import save_nifti
from medvision.outputs.table import columns_of, write_results
from medvision.volume import Volume

SLOW = 240_000  # milliseconds


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    brain = template()
    save_nifti(Volume(brain.array, brain.affine, brain.info), folder / "brain.nii.gz")
    return folder


def picture_of(tab, name, tmp_path):
    """Keep what is on the screen, where MEDVISION_SCREENSHOTS says."""
    folder = Path(os.environ.get("MEDVISION_SCREENSHOTS", str(tmp_path)))
    folder.mkdir(parents=True, exist_ok=True)
    tab.screenshot(path=str(folder / f"{name}.png"))


def viewer_of(tab, layers=0):
    """Wait for the viewer with so many layers over the scan."""
    viewer = tab.locator(f".viewer[data-state=shown][data-layers='{layers}']")
    viewer.wait_for(timeout=SLOW)
    return viewer


def choose(tab, label, option):
    """Choose from a list."""
    tab.get_by_role("combobox", name=re.compile(label)).click()
    tab.get_by_role("option", name=option).click()


def test_a_person_runs_the_model_and_sees_the_mask_where_it_is(scans, tmp_path):
    requests = []
    with serving(["medvision", "app", str(scans)]) as address, browsing(address) as tab:
        tab.on("request", lambda request: requests.append(request.url))
        viewer_of(tab)
        tab.get_by_role("button", name="Run", exact=True).click()
        viewer = viewer_of(tab, layers=1)
        picture_of(tab, "view", tmp_path)
        with tab.expect_download() as download:
            tab.get_by_text("Mask (NIfTI)").click()
        assert download.value.suggested_filename == "brain.nii.gz"
        download.value.save_as(tmp_path / "mask.nii.gz")
        mask = nib.load(tmp_path / "mask.nii.gz")
        notes = viewer.locator(".label small").all_text_contents()
        viewer.evaluate("one => { one.viewer.view('Axial'); one.viewer.setOpacity(0, 1) }")
        viewer.evaluate("one => one.viewer.nv.setCrosshairWidth(0)")
        viewer.evaluate("one => { one.querySelector('.over').style.display = 'none' }")
        x, y, z = viewer.evaluate("one => JSON.parse(one.dataset.mm)")
        shown = viewer.locator("canvas").screenshot()
        pixels = np.asarray(Image.open(BytesIO(shown)).convert("RGB")).astype(int)
        rows, columns = np.nonzero(np.ptp(pixels, axis=-1) > 60)
        found = viewer.evaluate(
            """(one, [x, y]) => {
                const nv = one.viewer.nv, ratio = nv.uiData.dpr ?? 1
                const frac = nv.screenXY2TextureFrac(x * ratio, y * ratio, 0)
                return Array.from(nv.frac2mm(frac)).slice(0, 3)
            }""",
            [float(columns.mean()), float(rows.mean())],
        )
    study = read_study(scans / "brain.nii.gz")
    prediction = load_predictor("hippocampus", "cpu").predict(
        study, parse_box("mni:left-hippocampus")
    )
    assert notes == [f"{one.ml:.2f} ml" for one in prediction.measure()]
    labels = np.asarray(mask.dataobj)
    assert np.array_equal(labels, prediction.mask.array[0])
    voxel = np.rint(np.linalg.inv(mask.affine) @ [x, y, z, 1]).astype(int)
    plane = np.argwhere(labels[:, :, voxel[2]] > 0).mean(axis=0)
    wanted = (mask.affine @ [*plane, voxel[2], 1])[:3]
    assert wanted[0] < -10  # the left side, which is on the right of the picture
    assert columns.mean() > pixels.shape[1] / 2
    np.testing.assert_allclose(found, wanted, atol=2)
    assert all(url.split("/")[2] == address.split("/")[2] for url in requests if "//" in url[:8])


def test_without_webgl_slices_are_pictures(scans, tmp_path):
    command = ["medvision", "app", str(scans)]
    with serving(command) as address, browsing(address, webgl=False) as tab:
        tab.locator("[data-testid=stImage] img").nth(2).wait_for(timeout=SLOW)
        assert tab.get_by_text("no WebGL 2").count() == 1
        assert tab.locator("[data-testid=stImage] img").count() == 3
        picture_of(tab, "pictures", tmp_path)


def test_a_person_runs_a_classifier(tmp_path):
    model = write_toy(tmp_path / "toy", spec_of(2, name="toy"))
    write_picture(tmp_path / "pictures" / "gray.png", 140, (40, 40))
    command = ["medvision", "app", str(tmp_path / "pictures"), "--model", str(model)]
    with serving(command) as address, browsing(address) as tab:
        viewer_of(tab)
        choose(tab, "Model", "toy")
        tab.get_by_role("button", name="Run", exact=True).click()
        tab.get_by_text("Likeliest class").wait_for(timeout=SLOW)
        with tab.expect_download() as download:
            tab.get_by_text("Picture (PNG)").click()
        assert download.value.suggested_filename == "gray.png"
        with Image.open(download.value.path()) as picture:
            assert picture.width > 400
        picture_of(tab, "classes", tmp_path)


def test_a_person_has_an_answer_explained(tmp_path):
    films = write_films(tmp_path)
    command = ["medvision", "app", str(films), "--model", str(tmp_path / "models")]
    with serving(command) as address, browsing(f"{address}/?page=View&scan=a") as tab:
        viewer_of(tab)
        choose(tab, "Model", "reader")
        report = tab.get_by_role("textbox", name="Radiology report")
        report.fill("INDICATION: fever, pneumonia?", timeout=SLOW)
        report.press("Control+Enter")
        tab.get_by_role("button", name="Run", exact=True).click()
        tab.get_by_role("button", name="Explain").click(timeout=SLOW)
        word = tab.locator("[data-testid=stHtml] span", has_text="fever").last
        word.wait_for(timeout=SLOW)
        color = word.evaluate("one => getComputedStyle(one).backgroundColor")
        assert color.startswith("rgba(")
        assert not color.endswith(" 0)")
        assert tab.locator("[data-testid=stHtml]").get_by_text("hidden", exact=True).count() == 1
        pictures = tab.locator("[data-testid=stImage] img")
        pictures.nth(1).wait_for()
        assert pictures.count() == 2  # the film, and its heat
        picture_of(tab, "explained", tmp_path)
        with tab.expect_download() as download:
            tab.get_by_text("Explanation (HTML)").click()
        assert download.value.suggested_filename == "a_explained.html"
        assert "fever" in Path(download.value.path()).read_text(encoding="utf-8")


def write_results_with_truth(root):
    """Six scans of a cube, what was found a voxel beside it, and a table with the truth."""
    rows, table = [], ["case_id,image,mask,sex"]
    rng = np.random.default_rng(0)
    for n in range(6):
        scan = rng.normal(100, 20, (1, 16, 16, 16)).astype(np.float32)
        truth, found = (np.zeros((1, 16, 16, 16), np.uint8) for _ in range(2))
        truth[0, 4:10, 4:10, 4:10] = 1
        found[0, 4 : 9 - n % 3, 4:10, 4:10] = 1
        name = f"scan{n}"
        save_nifti(Volume(scan, np.eye(4)), root / f"{name}.nii.gz")
        save_nifti(Volume(truth, np.eye(4)), root / "truth" / f"{name}.nii.gz")
        save_nifti(Volume(found, np.eye(4)), root / "results" / f"{name}.nii.gz")
        found[0, 4 : 9 - n % 2, 4:10, 4:9] = 0
        save_nifti(Volume(found, np.eye(4)), root / "second" / f"{name}.nii.gz")
        rows.append({"case_id": name, "source": f"{name}.nii.gz", "status": "ok", "seconds": 1.0,
                     "lesion_ml": 0.1, "mask": f"{name}.nii.gz"})  # fmt: skip
        table.append(f"{name},{name}.nii.gz,truth/{name}.nii.gz,{'FM'[n % 2]}")
    columns = columns_of("segmentation", ["lesion"])
    for folder in ("results", "second"):
        write_results(rows, columns, root / folder / "results.csv")
        write_text(root / folder / "run.json", '{"model": {"name": "lesions"}, "cases": []}')
    write_text(root / "cases.csv", "\n".join(table) + "\n")


def test_a_person_holds_results_against_the_truth(tmp_path):
    root = tmp_path / "root"
    write_results_with_truth(root)
    address = serving(["medvision", "app", str(root)])
    with address as at, browsing(f"{at}/?page=Results", webgl=False) as tab:
        tab.get_by_text("Evaluation", exact=True).click()
        tab.get_by_role("button", name="Evaluate", exact=True).click()
        page = tab.frame_locator("iframe[title='The report']")
        page.locator("h2").first.wait_for()
        assert page.locator("svg[role=img]").count() >= 2  # Dice and volumes
        assert page.locator("img").count() == 6  # the worst and the best
        dice = page.locator(".counts span").nth(1).inner_text()
        picture_of(tab, "evaluation", tmp_path)
        with tab.expect_download() as kept:
            tab.get_by_role("button", name="Report (HTML)").click()
        html = Path(kept.value.path()).read_text(encoding="utf-8")
        assert f"<b>{dice.split()[0]}</b>" in html
        paper = page.locator("html").evaluate("one => getComputedStyle(one).backgroundColor")
        assert sum(map(int, re.findall(r"\d+", paper)[:3])) < 100  # dark, as the app is
        choose(tab, "Compare with", "second")
        tab.locator("iframe[title='The report']").wait_for(state="detached")
        tab.get_by_role("button", name="Evaluate", exact=True).click()
        chart = page.locator("figcaption", has_text="higher than of second in")
        chart.scroll_into_view_if_needed()
        picture_of(tab, "evaluation_against", tmp_path)


def settle(tab):
    """Wait until no picture is under way: a list that is open closes when the page changes."""
    tab.wait_for_load_state("networkidle")
    tab.wait_for_timeout(1500)


def test_a_person_holds_an_answer_and_a_mask_against_a_drawing(tmp_path):
    root = tmp_path / "root"
    scan = np.random.default_rng(0).normal(100, 20, (1, 32, 40, 32)).astype(np.float32)
    save_nifti(Volume(scan, np.eye(4)), root / "scan.nii.gz")
    for name, start in (("drawn", 8), ("earlier", 9)):
        mask = np.zeros((1, 32, 40, 32), np.uint8)
        mask[0, start : start + 8, 8:16, 8:16] = 1
        save_nifti(Volume(mask, np.eye(4)), root / f"{name}.nii.gz")
    server = serving(["medvision", "app", str(root)])
    tall = (1280, 1700)  # a list closes when the page is scrolled to it
    with server as at, browsing(f"{at}/?page=View&scan=scan", webgl=False, size=tall) as tab:
        tab.get_by_role("button", name="Run", exact=True).click()
        tab.get_by_role("heading", name="Against a reference mask").wait_for()
        settle(tab)
        choose(tab, "Reference", "drawn.nii.gz")
        words = "Where both are empty, overlaps are 1 and there is no distance"
        tab.get_by_text(words).wait_for()
        picture_of(tab, "view_reference", tmp_path)
        tab.get_by_text("Compare", exact=True).click()
        tab.get_by_role("heading", name="Against a reference mask").wait_for(state="detached")
        settle(tab)
        choose(tab, "Found", "earlier.nii.gz")
        settle(tab)
        choose(tab, "Reference", "drawn.nii.gz")
        tab.get_by_text(words).wait_for()
        assert tab.get_by_label("Tolerance of the NSD, mm").input_value() == "1.00"
        picture_of(tab, "compare_tolerance", tmp_path)
