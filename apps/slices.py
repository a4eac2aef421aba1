"""Slices as pictures, for a browser without WebGL."""

from __future__ import annotations

from io import BytesIO

import streamlit as st
from PIL import Image

from medvision import Prediction, Volume
from medvision.render import PLANES, display_window, focus_of, panel_side, plane_images
from medvision.volume import Window


@st.fragment
def show_slices(
    scan: Volume, key: object, mask: Volume | None, prediction: Prediction | None
) -> None:
    """Show three planes through a place, with a mask over them.

    Parameters
    ----------
    scan : Volume
    key : object
        What tells the scan from others.
    mask : Volume, optional
        Labels on the scan's grid.
    prediction : Prediction, optional
        What the model was shown is framed, and looked at first.
    """
    st.caption("Slices as pictures: this browser has no WebGL 2. Right side of the patient: left.")
    center, window = looking_at(scan, key, mask, prediction), choose_window(scan)
    hidden = mask is not None and not st.checkbox("Show the mask", value=True)
    panels = plane_images(
        scan,
        center,
        window,
        mask=None if hidden else mask,
        region=prediction.region if prediction and not hidden else None,
        side=panel_side(scan),
    )
    for column, panel in zip(st.columns(len(panels)), panels, strict=True):
        column.image(quick_png(panel), width="stretch" if len(panels) > 1 else "content")


def quick_png(picture: Image.Image) -> bytes:
    """Return a PNG that is made fast, rather than small."""
    file = BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def looking_at(
    scan: Volume, key: object, mask: Volume | None, prediction: Prediction | None
) -> tuple[int, int, int]:
    """Return the voxel to look at, from sliders that start at what was found."""
    upright = scan.reoriented("RAS").shape
    shown = (key, None if prediction is None else (prediction.model, str(prediction.region)))
    if st.session_state.get("shown") != shown or "axis0" not in st.session_state:
        found = prediction.mask if prediction and prediction.mask is not None else mask
        start = focus_of(scan, found, prediction.region if prediction else None)
        for axis, place in enumerate(start):
            st.session_state[f"axis{axis}"] = place + 1  # people count slices from 1
        st.session_state["shown"] = shown
    chosen = [0, 0, 0]
    for column, plane in zip(st.columns(3), PLANES, strict=True):
        last = upright[plane.axis]
        if last > 1:
            number = column.slider(plane.name.capitalize(), 1, last, key=f"axis{plane.axis}")
            chosen[plane.axis] = number - 1
    return chosen[0], chosen[1], chosen[2]


def choose_window(scan: Volume) -> Window:
    """Return window level and width, from two fields."""
    usual = display_window(scan)
    wide, step = float(usual.width), usual.width / 20
    level, width, _ = st.columns([1, 1, 4])
    unit = f" ({scan.info.unit})" if scan.info.unit else ""
    return Window(
        level.number_input(f"Level{unit}", value=float(usual.level), step=step),
        width.number_input(f"Width{unit}", value=wide, step=step, min_value=wide / 1000),
    )
