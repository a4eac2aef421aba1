"""Seconds to a scan's first picture, and to its next: the app beside NiiVue on a bare page.

    (cd apps/viewer && npm ci)
    python benchmarks/viewer.py

The scan is the brain of `medvision datasets mni152`, 1 mm. Both are served on this machine and
opened by Chromium, whose WebGL is software; a fresh browser profile each time, in turns. NiiVue's
page holds what its bundle holds, the app's options, and the voxels that the app sends. A picture is
complete when one of its pixels can be read back, which waits until all is drawn. Medians; in
brackets, by NiiVue's time with the app's options. The next picture is the one after the window
was changed, on the same four views.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from medvision import read_study
from medvision.render import viewer_nifti, windows_of

ROOT = Path(__file__).parents[1]
ROUNDS = 5
SMALL = 20  # voxels a side of the scan that is open before the brain is chosen
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
FLAGS = ["--no-sandbox", "--no-first-run", "--disable-background-networking",
         "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]  # fmt: skip
SAME = """{ multiplanarShowRender: SHOW_RENDER.ALWAYS, isSliceMM: true, sagittalNoseLeft: true,
  isRadiologicalConvention: true, show3Dcrosshair: true, tileMargin: 2 }"""
BARE = """<!doctype html><meta charset="utf-8"><title>NiiVue</title>
<style>body { margin: 0 } div { WIDE; height: 610px }</style><div><canvas id="gl"></canvas></div>
<script type="module">
import { Niivue, SHOW_RENDER } from "./niivue.js"
const nv = new Niivue(OPTIONS)
await nv.attachTo("gl")
await nv.loadVolumes([{ url: "scan.nii.gz", cal_min: LOW, cal_max: HIGH }])
nv.gl.readPixels(0, 0, 1, 1, nv.gl.RGBA, nv.gl.UNSIGNED_BYTE, new Uint8Array(4))
window.nv = nv
window.shown = performance.timeOrigin + performance.now()
</script>"""
WATCH = """new Promise((done) => {
  const look = () => {
    const hosts = [...document.querySelectorAll("[data-testid^=stBidi], [data-testid^=stBidi] *")]
    const one = hosts.map((host) => host.shadowRoot?.querySelector(".viewer")).find(Boolean)
    const { viewer } = one ?? {}
    if (one?.dataset.state === "shown" && viewer.nv.volumes[0].dims[1] > SIZE) {
      const { gl } = viewer.nv
      gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4))
      done(performance.timeOrigin + performance.now())
    } else setTimeout(look, 20)
  }
  look()
})"""


AGAIN = """() => {
  const one = [...document.querySelectorAll("[data-testid^=stBidi], [data-testid^=stBidi] *")]
    .map((host) => host.shadowRoot?.querySelector(".viewer")).find(Boolean)
  const nv = window.nv ?? one.viewer.nv
  const start = performance.now()
  nv.volumes[0].cal_max *= 0.9
  nv.updateGLVolume()
  nv.gl.readPixels(0, 0, 1, 1, nv.gl.RGBA, nv.gl.UNSIGNED_BYTE, new Uint8Array(4))
  return (performance.now() - start) / 1000
}"""


def make_bare(folder: Path, scan: Path) -> None:
    """Write NiiVue's two pages, its bundle, and the voxels."""
    here = ROOT / "apps" / "viewer"
    builder = here / "node_modules" / ".bin" / "esbuild"
    if not builder.exists():
        raise SystemExit("NiiVue is not there: (cd apps/viewer && npm ci).")
    command = [builder, "--bundle", "--format=esm", "--minify", f"--outfile={folder}/niivue.js"]
    entry = b'export { Niivue, SHOW_RENDER } from "@niivue/niivue"'
    subprocess.run(command, input=entry, cwd=here, check=True, capture_output=True)
    image = read_study(scan).image
    (folder / "scan.nii.gz").write_bytes(viewer_nifti(image))
    window = next(iter(windows_of(image).values()))
    for name, options in (("same", SAME), ("usual", "{}")):
        page = BARE.replace("OPTIONS", options).replace("WIDE", "width: 820px")
        page = page.replace("LOW", str(window.low)).replace("HIGH", str(window.high))
        (folder / f"{name}.html").write_text(page)


class Quiet(SimpleHTTPRequestHandler):
    """Files, and no log."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serve_files(folder: Path) -> str:
    """Serve a folder until this process ends; returns its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def start_app(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start the app on a folder; returns its process and address."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "medvision", "app", str(folder), "--port", str(port)],
        env={**os.environ, "STREAMLIT_SERVER_HEADLESS": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=2)
            break
        except OSError:
            time.sleep(0.5)
    return process, address


def open_bare(tab: Page, address: str) -> float:
    """Open NiiVue's page; returns seconds until its picture."""
    start = time.time()
    tab.goto(address, wait_until="commit")
    tab.wait_for_function("window.shown", timeout=120_000, polling=20)
    return float(tab.evaluate("window.shown")) / 1000 - start


def open_app(tab: Page, address: str) -> float:
    """Open the app, which shows the first scan of its folder; returns seconds until its picture."""
    start = time.time()
    tab.goto(address, wait_until="commit")
    return float(tab.evaluate(WATCH.replace("SIZE", str(SMALL)))) / 1000 - start


def choose_in_app(tab: Page, address: str) -> float:
    """Open the app on a small scan, choose the brain; returns seconds from that click."""
    tab.goto(address)
    tab.evaluate(WATCH.replace("SIZE", "0"))
    tab.get_by_role("combobox", name="Scan").click()
    option = tab.get_by_role("option", name="brain")
    option.wait_for()
    start = time.time()
    option.click()
    return float(tab.evaluate(WATCH.replace("SIZE", str(SMALL)))) / 1000 - start


def fresh(browser: Browser) -> Page:
    """Return a tab that has loaded nothing before."""
    return browser.new_context(viewport={"width": 1280, "height": 800}).new_page()


def measure(scan: Path, folder: Path) -> dict[str, list[tuple[float, float]]]:
    """Return seconds of each way, to the first picture and to the next.

    Taken in turns, after a first round that is not counted.
    """
    bare, alone, both = folder / "bare", folder / "alone", folder / "both"
    for one in (bare, alone, both):
        one.mkdir()
    make_bare(bare, scan)
    shutil.copy(scan, alone / "brain.nii.gz")
    shutil.copy(scan, both / "brain.nii.gz")
    write_small(both / "a.nii.gz")
    pages = serve_files(bare)
    (first, whole), (second, chosen) = start_app(alone), start_app(both)
    ways = {
        "NiiVue, the app's options": (open_bare, f"{pages}/same.html"),
        "NiiVue as it comes": (open_bare, f"{pages}/usual.html"),
        "the app, a scan chosen": (choose_in_app, chosen),
        "the app, opened on the scan": (open_app, whole),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    try:
        with sync_playwright() as play:
            for turn in range(ROUNDS + 1):
                for name, (way, address) in ways.items():
                    browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                    tab = fresh(browser)
                    seconds = way(tab, address), float(tab.evaluate(AGAIN))
                    browser.close()
                    if turn:
                        times[name].append(seconds)
    finally:
        for process in (first, second):
            os.killpg(process.pid, 15)
    return times


def write_small(path: Path) -> None:
    """Write a scan of few voxels, with which the app is open before the brain is chosen."""
    import nibabel as nib
    import numpy as np

    ramp = np.arange(SMALL**3, dtype=np.int16).reshape(SMALL, SMALL, SMALL)
    nib.save(nib.Nifti1Image(ramp, np.eye(4)), path)


def processor() -> str:
    """Return the name of the processor, and how many this process may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    return f"{name or platform.processor()}, {len(os.sched_getaffinity(0))} cores"


def main() -> None:
    """Measure, and print the table."""
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top)
        scan = folder / "brain.nii.gz"
        command = [sys.executable, "-m", "medvision", "datasets", "mni152", str(scan)]
        subprocess.run(command, check=True, capture_output=True)
        times = {
            name: [statistics.median(v) for v in zip(*pairs, strict=True)]
            for name, pairs in measure(scan, folder).items()
        }
        reference = next(iter(times.values()))
        print("| | first picture | next picture |\n|---|---|---|")
        for name, medians in times.items():
            cells = [f"{t:.2f} ({t / r:.2f})" for t, r in zip(medians, reference, strict=True)]
            print(f"| {name} | {' | '.join(cells)} |")
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            print(
                f"\n{processor()}; Python {platform.python_version()}, "
                f"Streamlit {version('streamlit')}, Chromium {browser.version}."
            )
            browser.close()


if __name__ == "__main__":
    main()
