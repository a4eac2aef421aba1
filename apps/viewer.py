"""The viewer on the page: a scan with what lies over it, in NiiVue.

Its program is in ``viewer/``; it is loaded from the server once, and voxels come the same way.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import streamlit as st
from visitors import VAULT, visitor

from medvision.prediction import Prediction
from medvision.render import (
    flat_plane,
    half_size,
    is_large,
    label_color,
    viewer_nifti,
    windows_of,
)
from medvision.volume import Volume

Layer: TypeAlias = dict[str, Any]  # what the viewer's program draws over the scan

PROGRAM = Path(__file__).parent / "viewer" / "built" / "viewer.js"
LOADER = """
const program = import(new URL("medvision/viewer.js?v=VERSION", document.baseURI))
export default function (component) {
  let closed = false, close = null
  program.then((viewer) => { if (!closed) close = viewer.default(component) })
  return () => { closed = true; close?.() }
}
"""


@functools.cache
def component() -> Callable[..., Any]:
    """Return what mounts the viewer; made when it is first needed."""
    version = hashlib.sha256(PROGRAM.read_bytes()).hexdigest()[:16]
    return st.components.v2.component("medvision_viewer", js=LOADER.replace("VERSION", version))


def show_viewer(
    scan: Volume,
    key: object,
    layers: Sequence[Layer] = (),
    at: Sequence[float] | None = None,
    height: int = 680,
) -> bool:
    """Show a scan and what lies over it; False where the browser cannot.

    Parameters
    ----------
    scan : Volume
    key : object
        What tells it from others.
    layers : sequence of Layer
        What `mask_layer` and `heat_layer` return.
    at : three floats, optional
        RAS mm of the crosshair.
    height : int
        Pixels.
    """
    if st.session_state.get("pictures"):
        return False
    windows, flat = windows_of(scan), flat_plane(scan)
    usual = next(iter(windows.values()))
    color = scan.info.channels == "color"
    data: dict[str, Any] = {
        "scan": {
            "url": address(("scan", key), scan),
            "file": "scan.nii.gz",
            "name": "the scan",
            "unit": scan.info.unit,
            "low": usual.low,
            "high": usual.high,
            "color": color,
            "frames": 1 if color else len(scan.array),
            "flat": flat and flat.name.capitalize(),
        },
        "layers": list(layers),
        "presets": [
            {"name": name, "low": one.low, "high": one.high} for name, one in windows.items()
        ],
        "at": None if at is None else [float(v) for v in at],
        "height": height,
    }
    if is_large(scan):
        small = half_size(scan)
        data["preview"] = {**data["scan"], "url": address(("small", key), small)}
    component()(data=data, key="viewer", on_webgl_change=show_pictures)
    return True


def show_pictures() -> None:
    """Remember that this browser has no WebGL, and is shown pictures of slices."""
    st.session_state["pictures"] = True


def mask_layer(prediction: Prediction, key: object) -> Layer:
    """Return the mask of a segmentation, its structures named, with their ml."""
    assert prediction.mask is not None
    labels = [
        {
            "value": one.label,
            "name": one.name,
            "color": list(label_color(one.label)),
            "note": "" if one.ml is None else f"{one.ml:.2f} ml",
        }
        for one in prediction.measure()
    ]
    url = address(("mask", key), prediction.mask)
    name = f"Mask of {prediction.model}"
    return {"kind": "labels", "name": name, "url": url, "file": "mask.nii.gz", "labels": labels}


def heat_layer(heat: Volume, name: str, key: object) -> Layer:
    """Return an explanation's heat, 0 to 1; nothing where the model did not look."""
    seen = heat.with_array(np.nan_to_num(heat.array).astype(np.float32))
    url = address(("heat", key), seen)
    return {"kind": "heat", "name": name, "url": url, "file": "heat.nii.gz", "labels": []}


def address(key: object, volume: Volume) -> str:
    """Return where this browser, and no other, may fetch a volume."""
    return f"medvision/voxels/{VAULT.offer(visitor(), key, lambda: viewer_nifti(volume))}"
