"""Pictures: the right side is on the left, and what is drawn is what was found."""

import numpy as np
import pytest

from medvision import render
from medvision.geometry import check_affine
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.render import PLANES, display_window, label_color, overlay_png, plane_pixels
from medvision.volume import SeriesInfo, Volume, Window

AFFINE = np.diag([1.0, 1, 2, 1])
AFFINE[:3, 3] = (-15, -20, -24)
POINTS = {
    "R": (12, 0, 0),
    "L": (-12, 0, 0),
    "A": (0, 17, 0),
    "P": (0, -17, 0),
    "S": (0, 0, 20),
    "I": (0, 0, -20),
}  # RAS mm
ALL_POINTS = tuple(POINTS.values())


def scan(orientation="RAS", points=ALL_POINTS):
    balls = [Ellipsoid(p, (2.5, 2.5, 2.5), value=100) for p in points]
    return ellipsoid_phantom((31, 41, 25), AFFINE, balls)[0].reoriented(orientation)


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR", "SAL"])
@pytest.mark.parametrize("plane", PLANES, ids=lambda p: p.name)
@pytest.mark.parametrize("edge", range(4), ids=["left", "right", "top", "bottom"])
def test_a_letter_stands_where_its_end_of_the_patient_is(orientation, plane, edge):
    volume = scan(orientation, [POINTS[plane.letters[edge]]]).reoriented("RAS")
    pixels = plane_pixels(volume, plane, volume.shape[plane.axis] // 2)
    row, column = np.argwhere(pixels > 0).mean(axis=0) / pixels.shape
    found = {0: column < 0.3, 1: column > 0.7, 2: row < 0.3, 3: row > 0.7}
    assert found[edge]


def test_the_picture_does_not_depend_on_the_order_of_the_axes():
    pictures = []
    for orientation in ("RAS", "LPI", "ASR"):
        image, mask = ellipsoid_phantom(
            (31, 41, 25), AFFINE, [Ellipsoid((5, 3, 2), (6, 8, 10))], noise=5
        )
        pictures.append(
            np.asarray(
                overlay_png(image.reoriented(orientation), mask.reoriented(orientation), ["ball"])
            )
        )
    assert np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(pictures[0], pictures[2])


def shares(picture, color):
    return float((np.abs(np.asarray(picture).astype(int) - color).max(axis=-1) <= 2).mean())


def test_each_structure_has_its_color_and_others_have_not():
    image, mask = ellipsoid_phantom(
        (31, 41, 25),
        AFFINE,
        [Ellipsoid((5, 0, 0), (4, 8, 10)), Ellipsoid((-5, 0, 0), (4, 8, 9), 2)],
    )
    both = overlay_png(image, mask, ["right", "left"])
    one = overlay_png(
        image, mask.with_array(np.where(mask.array == 2, 0, mask.array)), ["right", "left"]
    )
    assert shares(both, label_color(1)) > 0.002
    assert shares(both, label_color(2)) > 0.002
    assert shares(one, label_color(2)) < 0.001  # the legend's square alone


def test_the_frame_shows_what_the_model_saw():
    image, mask = ellipsoid_phantom((31, 41, 25), AFFINE, [Ellipsoid((5, 0, 0), (4, 8, 10))])
    region = (slice(10, 29), slice(5, 35), slice(2, 22))
    framed = shares(overlay_png(image, mask, ["ball"], region=region), render.FAINT)
    assert framed > shares(overlay_png(image, mask, ["ball"]), render.FAINT) + 0.0005


def test_anisotropic_voxels_are_drawn_to_scale():
    image, mask = ellipsoid_phantom(
        (60, 60, 12), np.diag([1.0, 1, 5, 1]), [Ellipsoid((30, 30, 30), (20, 20, 20), value=0)]
    )
    picture = np.asarray(overlay_png(image.with_array(image.array * 0), mask, ["ball"]))
    coronal = picture[40:340, 320:620].astype(int)
    colored = np.argwhere(np.ptp(coronal, axis=-1) > 40)
    height, width = np.ptp(colored, axis=0) + 1
    assert height / width == pytest.approx(1.0, abs=0.15)


def test_an_empty_mask_is_said_to_be_empty(monkeypatch):
    said = []
    monkeypatch.setattr(render, "_text", lambda draw, at, words, *rest: said.append(words))
    volume = scan()
    overlay_png(volume, volume.with_array(np.zeros((31, 41, 25), np.uint8)), ["ball"])
    assert "ball: not found" in said


def test_window_volume_and_letters_are_on_the_picture(monkeypatch):
    said = []
    monkeypatch.setattr(render, "_text", lambda draw, at, words, *rest: said.append(words))
    image, mask = ellipsoid_phantom((31, 41, 25), AFFINE, [Ellipsoid((5, 0, 0), (4, 8, 10))])
    info = SeriesInfo(unit="HU", window=Window(50, 350))
    overlay_png(Volume(image.array, image.affine, info), mask, ["ball"], title="case 7")
    voxels = int(mask.array.sum())
    assert {"case 7", f"ball: {voxels * 2 / 1000:.2f} ml", "20 mm"} <= set(said)
    assert "W 350 L 50 HU · research use only" in said
    assert {"R", "L", "A", "P", "S", "I"} <= set(said)


def test_warnings_are_on_the_picture(monkeypatch):
    said = []
    monkeypatch.setattr(render, "_text", lambda draw, at, words, *rest: said.append(words))
    image, mask = ellipsoid_phantom((31, 41, 25), AFFINE, [Ellipsoid((5, 0, 0), (4, 8, 10))])
    long = "looks unlike what the model was trained on in more than one way " * 5
    overlay_png(image, mask, ["ball"], warnings=["too bright", long])
    assert "! too bright" in said
    lines = [words for words in said if "trained" in words]
    assert len(lines) > 2
    assert max(map(len, lines)) < 160


def test_a_picture_without_millimeters_has_no_scale_and_one_plane(monkeypatch):
    said = []
    monkeypatch.setattr(render, "_text", lambda draw, at, words, *rest: said.append(words))
    affine = check_affine([[-1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    volume = Volume(np.ones((3, 40, 30, 1), np.uint8), affine, SeriesInfo(spacing_known=False))
    mask = Volume(np.ones((1, 40, 30, 1), np.uint8), affine, SeriesInfo(spacing_known=False))
    picture = overlay_png(volume, mask, ["all"])
    assert picture.width < 500
    assert "all: 1200 pixels" in said
    assert not [s for s in said if s.endswith("mm") or s in ("R", "L")]


def test_the_window_is_the_files_then_soft_tissue_then_percentiles():
    array = np.linspace(0, 1000, 1000).reshape(1, 10, 10, 10)
    wide = Volume(array, np.eye(4))
    assert display_window(wide).low == pytest.approx(5, abs=1)
    assert display_window(Volume(array, np.eye(4), SeriesInfo(unit="HU"))).level == 40
    asked = SeriesInfo(unit="HU", window=Window(-600, 1500))
    assert display_window(Volume(array, np.eye(4), asked)).low == -1350
    assert display_window(Volume(array * np.nan, np.eye(4))).width == 1


def test_ct_without_a_window_is_shown_as_soft_tissue_in_floats():
    window = display_window(Volume(np.zeros((1, 4, 4, 4)), np.eye(4), SeriesInfo(unit="HU")))
    assert isinstance(window.level, float)  # Streamlit's fields refuse a mixture


def test_all_planes_are_cut_through_the_mask():
    center = (7, -11, 14)
    image, mask = ellipsoid_phantom((31, 41, 25), AFFINE, [Ellipsoid(center, (3, 3, 4))])
    picture = np.asarray(overlay_png(image, mask, ["ball"]))
    for column in range(3):
        panel = picture[40:340, 10 + column * 310 : 310 + column * 310]
        assert shares(panel, label_color(1)) > 0.001
