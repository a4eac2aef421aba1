"""The app as a server, and a browser that looks at it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager, suppress

import pytest

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SOFTWARE_GL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
NO_GL = ("--disable-3d-apis",)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def serving(command, python=sys.executable, end=signal.SIGTERM, **environment):
    """Run a module as a server until the block ends by a signal; yields its address."""
    with running(command, python, end, **environment) as (address, _):
        yield address


@contextmanager
def running(command, python=sys.executable, end=signal.SIGTERM, **environment):
    """Run a module as a server, as `serving` does; yields its address and process."""
    port = free_port()
    with subprocess.Popen(
        [python, "-m", *command, "--port", str(port)],
        env={
            **os.environ,
            "STREAMLIT_SERVER_HEADLESS": "true",
            "XDG_STATE_HOME": tempfile.mkdtemp(prefix="medvision-test-"),
            **environment,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            for _ in range(120):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2)
                    break
                except OSError:
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}", process
        finally:
            with suppress(ProcessLookupError):  # it has ended
                os.killpg(process.pid, end)


@contextmanager
def browsing(address, webgl=True, size=(1280, 800)):
    """Open a page in a browser until the block ends."""
    if CHROMIUM is None:
        pytest.skip("needs a Chromium browser")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra test)")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM, args=[*FLAGS, *(SOFTWARE_GL if webgl else NO_GL)]
        )
        tab = browser.new_page(viewport={"width": size[0], "height": size[1]})
        tab.set_default_timeout(240_000)  # ms: pictures take long without a graphics card
        tab.goto(address)
        yield tab
        browser.close()
