"""The viewer on the page: a scan with what lies over it, in NiiVue.

Its program is in ``viewer/``; it is loaded from the server once, and voxels come the same way.
"""

from __future__ import annotations

import functools
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import streamlit as st
from visitors import VAULT, visitor

from medvision.errors import SpecError
from medvision.geometry import Box
from medvision.prediction import Prediction
from medvision.render import (
    flat_plane,
    half_size,
    is_large,
    label_color,
    viewer_nifti,
    windows_of,
)
from medvision.render.viewing import label_map
from medvision.volume import Volume

Layer: TypeAlias = dict[str, Any]  # what the viewer's program draws over the scan

TOLD: OrderedDict[str, dict[str, Any]] = OrderedDict()  # of scans, by their keys; oldest first
PROGRAM = Path(__file__).parent / "viewer" / "built" / "viewer.js"
LOADER = """
let loaded = false
const program = import(new URL("medvision/viewer.js?v=VERSION", document.baseURI))
program.then(() => { loaded = true })
const ready = new Map()  // voxels by URL, asked for while the program is still on its way
async function read(url) {
  const answer = await fetch(new URL(url, document.baseURI))
  if (!answer.ok) throw new Error(`the server says ${answer.status}`)
  return new Response(answer.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer()
}
export default function (component) {
  let closed = false, close = null
  const { scan, preview, layers } = component.data
  for (const { url } of loaded ? [] : [preview ?? scan, ...layers]) {
    if (ready.has(url)) continue
    ready.set(url, read(url))
    ready.get(url).catch(() => {})  // said where it is needed
  }
  program.then((viewer) => { if (!closed) close = viewer.default(component, ready) })
  return () => { closed = true; close?.() }
}
"""


@functools.cache
def component() -> Callable[..., Any]:
    """Return what mounts the viewer; made when it is first needed."""
    version = hashlib.sha256(PROGRAM.read_bytes()).hexdigest()[:16]
    return st.components.v2.component("medvision_viewer", js=LOADER.replace("VERSION", version))


class Viewed(NamedTuple):
    """What a person did in the viewer."""

    box: Box | None  # drawn last in this scan, RAS mm; None when none was, or it was cleared


def show_viewer(
    scan: Volume,
    key: object,
    layers: Sequence[Layer] = (),
    at: Sequence[float] | None = None,
    height: int = 680,
    *,
    box: Box | None = None,
    drawable: bool = False,
    group: str = "",
    name: str = "viewer",
) -> Viewed | None:
    """Show a scan and what lies over it; None where the browser cannot.

    Parameters
    ----------
    scan : Volume
    key : object
        What tells it from others.
    layers : sequence of Layer
        What `mask_layer`, `labels_layer` and `heat_layer` return.
    at : three floats, optional
        RAS mm of the crosshair.
    height : int
        Pixels; on a tall screen it is about two thirds of it.
    box : Box, optional
        What to outline. What is drawn later is outlined in its stead, until another is given.
    drawable : bool
        Whether a box can be drawn.
    group : str
        Viewers of one page whose group is the same move their crosshairs together.
    name : str
        What tells the viewer from others of the page.
    """
    if st.session_state.get("pictures"):
        return None
    about, identity = told_once(scan, key), identity_of(key)
    drawn = boxes_drawn().get((name, identity))
    data: dict[str, Any] = {
        "scan": {
            "id": identity,
            "file": "scan.nii.gz",
            "name": "the scan",
            **about["scan"],
        },
        "layers": list(layers),
        "presets": about["presets"],
        "at": None if at is None else [float(v) for v in at],
        "height": height,
        "box": None if box is None else ranges_of(box),
        "drawn": None if drawn is None else ranges_of(drawn),
        "drawable": drawable,
        "group": group,
    }
    if is_large(scan):
        half = address(("small", key), lambda: half_size(scan))
        data["preview"] = {**data["scan"], "url": half}
    whole = "preview" not in data or identity in wholes_wanted()
    data["scan"]["url"] = address(("scan", key), scan) if whole else ""  # takes seconds
    component()(
        data=data,
        key=name,
        on_webgl_change=show_pictures,
        on_box_change=functools.partial(keep_box, name),
        on_whole_change=functools.partial(want_whole, name),
    )
    return Viewed(drawn)


def identity_of(key: object) -> str:
    """Return what tells a scan from others in the browser, where its key would say too much."""
    return hashlib.sha256(repr(key).encode()).hexdigest()[:24]


def told_once(scan: Volume, key: object) -> dict[str, Any]:
    """Return a scan's windows and what kind of scan it is; found once, as it takes all voxels."""
    name = repr(key)
    if name not in TOLD:
        windows, flat = windows_of(scan), flat_plane(scan)
        usual = next(iter(windows.values()))
        color = scan.info.channels == "color"
        TOLD[name] = {
            "scan": {
                "unit": scan.info.unit,
                "low": usual.low,
                "high": usual.high,
                "color": color,
                "frames": 1 if color else len(scan.array),
                "flat": flat and flat.name.capitalize(),
                "placed": scan.info.spacing_known,
            },
            "presets": [
                {"name": name, "low": one.low, "high": one.high} for name, one in windows.items()
            ],
        }
        while len(TOLD) > 1000:
            TOLD.popitem(last=False)
    return TOLD[name]


def wholes_wanted() -> set[str]:
    """Return the large scans whose half this browser has shown, and which it wants whole."""
    return st.session_state.setdefault("wholes wanted", set())  # type: ignore[no-any-return]


def want_whole(name: str) -> None:
    """Remember that a viewer wants the whole of the scan that it shows."""
    wholes_wanted().add(str(st.session_state[name].get("whole")))


def ranges_of(box: Box) -> list[list[float]]:
    """Return a box as the browser knows it: low and high in RAS mm, axis by axis."""
    return [[float(low), float(high)] for low, high in zip(box.low, box.high, strict=True)]


def boxes_drawn() -> dict[tuple[str, str], Box]:
    """Return what this person drew last, by viewer and scan."""
    return st.session_state.setdefault("boxes drawn", {})  # type: ignore[no-any-return]


def keep_box(name: str) -> None:
    """Keep the box that was drawn or cleared in a viewer."""
    said = st.session_state[name].get("box") or {}
    place = name, str(said.get("scan", ""))
    try:
        (x0, x1), (y0, y1), (z0, z1) = said["ranges"]
        box = Box((float(x0), float(y0), float(z0)), (float(x1), float(y1), float(z1)), "box")
    except (KeyError, TypeError, ValueError, SpecError):  # cleared, or no box
        boxes_drawn().pop(place, None)
    else:
        boxes_drawn()[place] = box


def show_pictures() -> None:
    """Remember that this browser has no WebGL, and is shown pictures of slices."""
    st.session_state["pictures"] = True


def mask_layer(prediction: Prediction, key: object) -> Layer:
    """Return the mask of a segmentation, its structures named, with their ml."""
    assert prediction.mask is not None
    found = prediction.measure()
    return labels_layer(
        prediction.mask,
        {one.label: one.name for one in found},
        f"Mask of {prediction.model}",
        ("mask", key),
        {one.label: f"{one.ml:.2f} ml" for one in found if one.ml is not None},
    )


def labels_layer(
    volume: Volume,
    names: Mapping[int, str],
    title: str,
    key: object,
    notes: Mapping[int, str] | None = None,
    colors: Mapping[int, tuple[int, int, int]] | None = None,
) -> Layer:
    """Return a label map, from wherever it comes.

    Parameters
    ----------
    volume : Volume
        Values that stand for something; 0 is nothing. Of segments, one a channel, each stands for
        the number of its channel, from 1.
    names : mapping of int to str
        What each value stands for; values without a name are not shown.
    title : str
        What the layer is called.
    key : object
        What tells it from others.
    notes : mapping of int to str, optional
        Said beside a name, such as its ml.
    colors : mapping of int to (red, green, blue), optional
        0 to 255; where none is given, the color that medvision's pictures use.
    """
    notes, colors = notes or {}, colors or {}
    values = [int(value) for value in names]
    labels = [
        {
            "value": number,  # as `label_map` counts
            "name": names[value],
            "color": [int(part) for part in colors.get(value) or label_color(value)],
            "note": notes.get(value, ""),
        }
        for number, value in enumerate(values, 1)
    ]
    url = address(("labels", key, values), lambda: label_map(volume, values))
    return {"kind": "labels", "name": title, "url": url, "file": "mask.nii.gz", "labels": labels}


def heat_layer(heat: Volume, name: str, key: object) -> Layer:
    """Return an explanation's heat, 0 to 1; nothing where the model did not look."""

    def seen() -> Volume:
        return heat.with_array(np.nan_to_num(heat.array).astype(np.float32))

    url = address(("heat", key), seen)
    return {"kind": "heat", "name": name, "url": url, "file": "heat.nii.gz", "labels": []}


def address(key: object, volume: Volume | Callable[[], Volume]) -> str:
    """Return where this browser, and no other, may fetch a volume; made when it is not there."""

    def write() -> bytes:
        return viewer_nifti(volume() if callable(volume) else volume)

    return f"medvision/voxels/{VAULT.offer(visitor(), key, write)}"
