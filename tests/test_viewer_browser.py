"""The viewer in a real browser: boxes lie where the mouse was, and Python runs only when it must.

Pages of its own, which are served as the app's is.
"""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from app_server import browsing, serving
from hippocampus_data import template
from PIL import Image

from medvision.geometry import parse_box
from medvision.outputs.nifti import save_nifti
from medvision.volume import Volume

APPS = Path(__file__).parents[1] / "apps"
SLOW = 120_000  # milliseconds
VOXEL = 2.0  # mm
HIPPOCAMPUS = "mni:left-hippocampus"
TURN = np.deg2rad(20)
TILT = np.array(  # about x and z, as scans on tilted grids are
    [
        [np.cos(TURN), -np.sin(TURN), 0, 0],
        [np.cos(TURN) * np.sin(TURN), np.cos(TURN) ** 2, -np.sin(TURN), 0],
        [np.sin(TURN) ** 2, np.cos(TURN) * np.sin(TURN), np.cos(TURN), 0],
        [0, 0, 0, 1],
    ]
)

SERVER = """
import os, sys
from pathlib import Path
import streamlit as st
from server import Safe, viewer, voxels
from starlette.middleware import Middleware
from starlette.routing import Route

if __name__ == "__main__":
    from streamlit.web.cli import main

    options = [f"--server.port={sys.argv[2]}", "--server.address=127.0.0.1"]
    options += ["--server.fileWatcherType=none", "--browser.gatherUsageStats=false"]
    sys.argv = ["streamlit", "run", __file__, *options]
    main()
else:
    routes = [Route("/medvision/voxels/{token}", voxels), Route("/medvision/viewer.js", viewer)]
    page = Path(os.environ["VIEWER_FOLDER"]) / "page.py"
    app = st.App(page, routes=routes, middleware=[Middleware(Safe)])
"""
PAGE = """
import json, os
from pathlib import Path
import numpy as np
import streamlit as st
from viewer import labels_layer, show_viewer
from medvision import read_volume
from medvision.geometry import parse_box
from medvision.volume import Volume

FOLDER = Path(os.environ["VIEWER_FOLDER"])
st.set_page_config(layout="wide")
st.session_state["runs"] = st.session_state.get("runs", 0) + 1
ask = st.query_params

@st.cache_resource
def scan(name):
    if name == "large":
        steps = np.arange(400, dtype=np.uint8)
        array = steps[:, None, None] + steps[None, :, None] // 2 + steps[None, None, :380] // 3
        return Volume(array[None], np.diag([0.5, 0.5, 0.5, 1]))
    return read_volume(FOLDER / f"{name}.nii.gz")

def balls(one):
    near = np.indices(one.shape).T - np.array(one.shape) / 2
    inside = (np.linalg.norm(near, axis=-1) < 12).T
    left = np.indices(one.shape)[0] < one.shape[0] / 2
    return Volume(np.where(inside, np.where(left, 17, 12_000), 0)[None], one.affine)

at = json.loads(ask.get("at", "null"))
if ask.get("kind") == "pair":
    for column, name in zip(st.columns(2), ("brain", "ramp")):
        with column:
            show_viewer(scan(name), name, at=at, group="pair", name=name)
    found = None
else:
    name = st.selectbox("Scan", ask.get("scans", "brain").split(","))
    one = scan(name)
    layers = []
    if "balls" in ask:
        names = {17: "west", 12_000: "east"}
        layers = [labels_layer(balls(one), names, "Balls", name, {17: "4 ml"})]
    box = parse_box(ask["box"]) if "box" in ask else None
    found = show_viewer(one, name, layers, at, box=box, drawable="draw" in ask)
box = found.box if found else None
st.text(json.dumps({"runs": st.session_state["runs"], "box": box and [*box.low, *box.high]}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    (folder / "pages.py").write_text(SERVER)
    (folder / "page.py").write_text(PAGE)
    whole = template()
    brain = whole.array[:, ::2, ::2, ::2]
    affine = whole.affine @ np.diag([2, 2, 2, 1])
    save_nifti(Volume(brain, affine, whole.info), folder / "brain.nii.gz")
    save_nifti(Volume(brain, TILT @ affine, whole.info), folder / "tilted.nii.gz")
    i, j, k = np.indices((60, 70, 50))
    ramp = (i + 100 * j + 7 * k).astype(np.int16)
    place = np.diag([3.0, 3, 3, 1])
    place[:3, 3] = -90, -120, -70
    save_nifti(Volume(ramp[None], place), folder / "ramp.nii.gz")
    film = affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 40], [0, 0, 0, 1.0]])
    save_nifti(Volume(brain[..., 40:41], film, whole.info), folder / "film.nii.gz")
    return folder


@pytest.fixture(scope="module")
def address(folder):
    path = f"{folder}:{APPS}:{APPS.parent}"
    with serving(["pages"], PYTHONPATH=path, VIEWER_FOLDER=str(folder)) as address:
        yield address


class Seen:
    """A page, the viewer on it, and what goes over the wire."""

    def __init__(self, tab, address, query, hold=False):
        self.tab = tab
        self.address = address
        self.requests = []
        self.sent = []
        tab.on("request", lambda request: self.requests.append(request.url))
        tab.on("websocket", lambda wire: wire.on("framesent", self.keep))
        self.asked = 0  # for voxels
        self.held = []  # answers that wait
        if hold:
            tab.route("**/medvision/voxels/*", self.hold)
        tab.goto(f"{address}/?{query}")
        self.viewer = tab.locator(".viewer")
        self.wait()

    def hold(self, route):
        """Let the first voxels come, and those after them when the test says so."""
        self.asked += 1
        if self.asked == 1:
            route.continue_()
        else:
            self.held.append(route)

    def release(self):
        while not self.held:
            self.tab.wait_for_timeout(100)
        for route in self.held:
            route.continue_()

    def keep(self, frame):
        self.sent.append(frame)

    def wait(self, count=1):
        for number in range(count):
            shown = ".viewer[data-state=shown]"
            self.tab.locator(shown).nth(number).wait_for(timeout=SLOW)
        self.tab.locator("[data-testid=stText]").wait_for(timeout=SLOW)

    def said(self):
        return json.loads(self.tab.locator("[data-testid=stText]").text_content())

    def wait_for_run(self, number):
        self.tab.locator("[data-testid=stText]", has_text=f'"runs": {number}').wait_for()

    def place_of(self, plane, across, down):
        """Return the place on the page at shares of a plane: 0 axial, 1 coronal, 2 sagittal."""
        box = self.viewer.locator("canvas").bounding_box()
        left, top, width, height = self.viewer.evaluate(
            """(one, kind) => one.viewer.nv.screenSlices
                .find(({ axCorSag }) => axCorSag === kind).leftTopWidthHeight""",
            plane,
        )
        return box["x"] + left + across * width, box["y"] + top + down * height

    def mm_at(self, x, y, viewer=None):
        """Return the place in the world under a place on the page, as NiiVue sees it."""
        viewer = viewer or self.viewer
        box = viewer.locator("canvas").bounding_box()
        return viewer.evaluate(
            """(one, [x, y]) => {
                const nv = one.viewer.nv, ratio = nv.uiData.dpr ?? 1
                for (let i = 0; i < nv.screenSlices.length; i++) {
                  const frac = nv.screenXY2TextureFrac(x * ratio, y * ratio, i, false)
                  if (frac[0] !== -1) return Array.from(nv.frac2mm(frac)).slice(0, 3)
                }
            }""",
            [x - box["x"], y - box["y"]],
        )

    def drag(self, start, end, button="left"):
        self.tab.mouse.move(*start)
        self.tab.mouse.down(button=button)
        self.tab.mouse.move(*end, steps=6)

    def outlines(self):
        """Return the corners of what is outlined, on the page, by the axis of the plane."""
        box = self.viewer.locator("canvas").bounding_box()
        found = self.viewer.evaluate(
            """(one) => [...one.querySelectorAll(".over polygon")].map((shape) =>
                [Number(shape.dataset.axis), [...shape.points].map(({ x, y }) => [x, y])])"""
        )
        corner = np.array([box["x"], box["y"]])
        return {axis: corner + points for axis, points in found}

    def check_requests(self):
        assert self.requests
        hosts = {url.split("/")[2] for url in self.requests if "//" in url[:8]}
        assert hosts == {self.address.split("/")[2]}


@pytest.fixture
def see(address):
    """Return what opens a page of the viewer, once."""
    opened = []

    def open_page(query, hold=False):
        context = browsing("about:blank")
        opened.append((context, None))
        seen = Seen(context.__enter__(), address, query, hold)
        opened[-1] = context, seen
        return seen

    yield open_page
    for context, seen in opened:
        if seen is not None:
            seen.check_requests()
        context.__exit__(None, None, None)


def test_a_box_is_where_the_mouse_was_on_whichever_side_right_is(see):
    seen = see("draw=1&at=[0,-20,10]")
    seen.viewer.locator("button.box").click()
    for radiological in (True, False):
        assert seen.viewer.get_attribute("data-radiological") == str(radiological).lower()
        runs, sent = seen.said()["runs"], len(seen.sent)
        start, end = seen.place_of(0, 0.2, 0.3), seen.place_of(0, 0.4, 0.6)
        mm = np.array([seen.mm_at(*start), seen.mm_at(*end)])
        assert (mm[:, 0] > 0).all() == radiological  # what is on the left
        seen.drag(start, end)
        assert len(seen.sent) == sent
        seen.tab.mouse.up()
        seen.wait_for_run(runs + 1)
        assert len(seen.sent) == sent + 1
        low, high = np.array(seen.said()["box"]).reshape(2, 3)
        np.testing.assert_allclose(low[:2], mm.min(axis=0)[:2], atol=VOXEL)
        np.testing.assert_allclose(high[:2], mm.max(axis=0)[:2], atol=VOXEL)
        middle, size = (low + high) / 2, high - low
        assert middle[2] == pytest.approx(mm[0, 2], abs=VOXEL)
        assert size[2] == pytest.approx(size[:2].mean(), abs=VOXEL)
        outlines = seen.outlines()
        assert set(outlines) == {0, 1, 2}  # the other planes moved to it
        drawn = np.array([start, end])
        np.testing.assert_allclose(outlines[2].min(axis=0), drawn.min(axis=0), atol=3)
        np.testing.assert_allclose(outlines[2].max(axis=0), drawn.max(axis=0), atol=3)
        if radiological:
            refine(seen, low, high)
        seen.viewer.press("Escape")
        seen.wait_for_run(seen.said()["runs"] + (seen.said()["box"] is not None))
        seen.tab.wait_for_function("document.body.innerText.includes('\"box\": null')")
        assert not seen.outlines()
        seen.viewer.press("r")


def refine(seen, low, high):
    """Drag on the coronal plane: it sets x and z, and y is kept."""
    runs = seen.said()["runs"]
    start, end = seen.place_of(1, 0.25, 0.2), seen.place_of(1, 0.45, 0.7)
    mm = np.array([seen.mm_at(*start), seen.mm_at(*end)])
    seen.drag(start, end)
    seen.tab.mouse.up()
    seen.wait_for_run(runs + 1)
    found = np.array(seen.said()["box"]).reshape(2, 3)
    np.testing.assert_allclose(found[:, 1], [low[1], high[1]])
    np.testing.assert_allclose(found[0, [0, 2]], mm.min(axis=0)[[0, 2]], atol=VOXEL)
    np.testing.assert_allclose(found[1, [0, 2]], mm.max(axis=0)[[0, 2]], atol=VOXEL)


@pytest.mark.parametrize("scan", ["brain", "tilted"])
def test_a_box_that_is_given_is_outlined_where_planes_cut_it(see, scan):
    box = parse_box(HIPPOCAMPUS)
    seen = see(f"scans={scan}&box={HIPPOCAMPUS}&at=[-25,-20,-10]")
    seen.viewer.evaluate("one => one.viewer.nv.setPan2Dxyzmm([8, 5, 3, 1.3])")  # zoomed and moved
    outlines = seen.outlines()
    assert set(outlines) == {0, 1, 2}
    for axis, corners in outlines.items():
        mm = np.array([seen.mm_at(*corner) for corner in corners])
        inside = (mm > np.array(box.low) - 0.5) & (mm < np.array(box.high) + 0.5)
        assert inside.all(), (axis, mm)
        edges = np.minimum(np.abs(mm - box.low), np.abs(mm - box.high)).min(axis=1)
        assert edges.max() < 0.5
        if scan == "brain":
            across = [other for other in range(3) if other != axis]
            np.testing.assert_allclose(
                np.ptp(mm, axis=0)[across], np.subtract(box.high, box.low)[across], atol=0.5
            )
    seen.viewer.evaluate("one => one.viewer.lookAt([40, 40, 40])")  # no plane cuts it here
    assert not seen.outlines()
    assert seen.viewer.locator("button.box").is_hidden()


def test_viewers_of_a_group_move_together_and_each_tells_its_own(see, folder):
    seen = see("kind=pair&at=[0,-20,10]")
    seen.wait(2)
    left, right = seen.viewer.nth(0), seen.viewer.nth(1)
    seen.viewer = left
    runs, sent = seen.said()["runs"], len(seen.sent)
    place = seen.place_of(0, 0.4, 0.6)
    wanted = seen.mm_at(*place)
    before = right.get_attribute("data-mm")
    seen.tab.mouse.click(*place)
    moved = seen.tab.locator(f".viewer:not([data-mm='{before}'])")
    moved.nth(1).wait_for(timeout=SLOW)
    for one in (left, right):
        np.testing.assert_allclose(json.loads(one.get_attribute("data-mm")), wanted, atol=1.5)
    mm = json.loads(right.get_attribute("data-mm"))
    ramp = nib.load(folder / "ramp.nii.gz")
    voxel = np.rint(np.linalg.inv(ramp.affine) @ [*mm, 1]).astype(int)
    value = int(ramp.dataobj[tuple(voxel[:3])])
    assert right.locator(".place").text_content().split()[-1] == str(value)
    assert left.locator(".place").text_content() != right.locator(".place").text_content()
    assert (seen.said()["runs"], len(seen.sent)) == (runs, sent)


def test_left_and_right_stay_as_they_were_chosen(see):
    seen = see("scans=brain,ramp")
    seen.viewer.locator("button.sides").click()
    seen.tab.get_by_role("combobox", name="Scan").click()
    seen.tab.get_by_role("option", name="ramp").click()
    seen.wait_for_run(2)
    one = seen.tab.locator(".viewer[data-state=shown][data-radiological=false]")
    one.wait_for(timeout=SLOW)
    assert one.evaluate("one => one.viewer.nv.opts.isRadiologicalConvention") is False
    letters = one.locator(".over text").all_text_contents()
    assert letters.count("L") == letters.count("R") == 2
    assert letters[0] == "L"  # on the left
    seen.tab.reload()
    seen.wait()
    assert seen.viewer.get_attribute("data-radiological") == "false"


def colored(seen, tmp_path):
    """Return how many pixels of the picture are not gray."""
    picture = tmp_path / "shot.png"
    seen.viewer.locator("canvas").screenshot(path=picture)
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    return int((np.ptp(pixels, axis=-1) > 60).sum())


def test_windows_opacities_and_hidden_labels_run_no_python(see, tmp_path):
    seen = see("balls=1&at=[0,-20,10]")
    seen.viewer.evaluate("one => { one.viewer.nv.setCrosshairWidth(0); one.viewer.view('Axial') }")
    runs, sent = seen.said()["runs"], len(seen.sent)
    before = colored(seen, tmp_path)
    assert before > 1000
    assert seen.viewer.locator(".label small").all_text_contents() == ["4 ml"]
    assert seen.viewer.locator(".label > span").all_text_contents() == ["west", "east"]
    seen.viewer.locator(".label input[type=checkbox]").first.uncheck()
    assert 0.3 * before < colored(seen, tmp_path) < 0.7 * before
    slider = seen.viewer.locator(".opacity").bounding_box()
    y = slider["y"] + slider["height"] / 2
    seen.drag((slider["x"] + slider["width"] / 2, y), (slider["x"] + slider["width"] - 1, y))
    seen.tab.mouse.up()
    assert seen.viewer.evaluate("one => one.viewer.nv.volumes[1].opacity") > 0.9
    seen.drag((slider["x"] + slider["width"] - 5, y), (slider["x"] - 20, y))
    seen.tab.mouse.up()
    assert colored(seen, tmp_path) == 0
    window = seen.viewer.get_attribute("data-window")
    seen.drag(seen.place_of(0, 0.4, 0.4), seen.place_of(0, 0.6, 0.5), button="right")
    seen.tab.mouse.up(button="right")
    assert seen.viewer.get_attribute("data-window") != window
    index = "one => one.viewer.nv.frac2vox(one.viewer.nv.scene.crosshairPos)[2]"
    here = seen.viewer.evaluate(index)
    seen.tab.mouse.wheel(0, 100)
    seen.tab.wait_for_timeout(300)
    assert seen.viewer.evaluate(index) != here
    assert (seen.said()["runs"], len(seen.sent)) == (runs, sent)


def test_a_film_has_one_plane_and_no_crosshair(see):
    seen = see("scans=film&draw=1")
    assert seen.viewer.locator(".views button").all_text_contents() == ["Axial"]
    assert seen.viewer.evaluate("one => one.viewer.nv.opts.crosshairWidth") == 0
    letters = seen.viewer.locator(".over text").all_text_contents()
    assert letters == ["R", "L", "A", "P"]
    seen.viewer.press("b")
    seen.drag(seen.place_of(0, 0.4, 0.4), seen.place_of(0, 0.6, 0.5))
    seen.tab.mouse.up()
    seen.wait_for_run(2)
    low, high = np.array(seen.said()["box"]).reshape(2, 3)
    assert high[2] - low[2] == pytest.approx(VOXEL)  # the film's own depth


@pytest.mark.slow
def test_the_whole_of_a_large_scan_takes_the_place_of_its_half(see):
    seen = see("scans=large,brain&at=[60,50,40]", hold=True)
    assert seen.viewer.evaluate("one => one.viewer.nv.volumes[0].dims[1]") == 200
    seen.viewer.evaluate(
        """one => { one.viewer.setWindow(20, 90); one.viewer.lookAt([30, 70, 90])
            one.viewer.view("Coronal"); one.viewer.nv.setPan2Dxyzmm([5, 4, 3, 1.5]) }"""
    )
    seen.release()
    seen.tab.locator(".viewer[data-sharp=true]").wait_for(timeout=4 * SLOW)
    found = seen.viewer.evaluate(
        """one => { const { nv } = one.viewer; return {
            side: nv.volumes[0].dims[1], window: one.viewer.window(), mm: one.viewer.mm(),
            view: nv.opts.sliceType, zoom: nv.scene.pan2Dxyzmm[3] } }"""
    )
    assert found["side"] == 400
    assert found["window"] == {"low": 20, "high": 90}
    assert (found["view"], found["zoom"]) == (1, 1.5)
    np.testing.assert_allclose(found["mm"], [30, 70, 90], atol=1)
    assert seen.said()["runs"] == 2  # one, to get the whole ready


@pytest.mark.slow
def test_the_whole_of_a_scan_that_is_left_does_not_come(see):
    seen = see("scans=large,brain", hold=True)
    while not seen.held:  # the whole is on its way
        seen.tab.wait_for_timeout(100)
    seen.tab.get_by_role("combobox", name="Scan").click()
    seen.tab.get_by_role("option", name="brain").click()
    while len(seen.held) < 2:
        seen.tab.wait_for_timeout(100)
    seen.release()
    seen.tab.locator(".viewer[data-state=shown][data-sharp=true]").wait_for(timeout=4 * SLOW)
    seen.tab.wait_for_timeout(10_000)  # for the other, were it to come
    assert seen.viewer.evaluate("one => one.viewer.nv.volumes[0].dims[1]") == 99
    assert seen.viewer.locator(".wait").text_content() == ""
