"""The app's page, run without a browser."""

import sys
import time
from pathlib import Path

from streamlit.testing.v1 import AppTest

APPS = Path(__file__).parents[1] / "apps"
MODULES = [file.stem for file in APPS.glob("*.py")]


def open_page(monkeypatch, root, name="View", pictures=False, models=()):
    """Run a page on a folder; with `pictures` as for a browser without WebGL."""
    monkeypatch.setenv("MEDVISION_ROOT", str(root))
    monkeypatch.setenv("MEDVISION_MODELS", ":".join(map(str, models)))
    monkeypatch.setenv("MEDVISION_TRAIL", str(root.parent / f"{root.name}.trail"))
    for module in MODULES:  # they read their settings when they are imported
        sys.modules.pop(module, None)
    page = AppTest.from_file(str(APPS / "medvision_app.py"), default_timeout=120)
    page.session_state["pictures"] = pictures
    page.query_params["page"] = name
    return page.run()


def press(page, label):
    """Press a button, and wait for the job that it starts."""
    [button] = [one for one in page.button if one.label == label]
    button.click().run()
    for _ in range(1200):
        if not any(one.label == "Cancel" for one in page.button):
            return page
        time.sleep(0.1)
        page.run()
    raise AssertionError("the job did not end")
