"""Pictures: the right side is on the left, and what is drawn is what was found."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from medvision.geometry import check_affine
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.render import (
    PLANES,
    display_window,
    ink,
    label_color,
    overlay_png,
    plane_pixels,
    scores_png,
)
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
    framed = shares(overlay_png(image, mask, ["ball"], region=region), ink.FAINT)
    assert framed > shares(overlay_png(image, mask, ["ball"]), ink.FAINT) + 0.0005


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
    monkeypatch.setattr(ink, "text", lambda draw, at, words, *rest: said.append(words))
    volume = scan()
    overlay_png(volume, volume.with_array(np.zeros((31, 41, 25), np.uint8)), ["ball"])
    assert "ball: not found" in said


def test_window_volume_and_letters_are_on_the_picture(monkeypatch):
    said = []
    monkeypatch.setattr(ink, "text", lambda draw, at, words, *rest: said.append(words))
    image, mask = ellipsoid_phantom((31, 41, 25), AFFINE, [Ellipsoid((5, 0, 0), (4, 8, 10))])
    info = SeriesInfo(unit="HU", window=Window(50, 350))
    overlay_png(Volume(image.array, image.affine, info), mask, ["ball"], title="case 7")
    voxels = int(mask.array.sum())
    assert {"case 7", f"ball: {voxels * 2 / 1000:.2f} ml", "20 mm"} <= set(said)
    assert "W 350 L 50 HU · research use only" in said
    assert {"R", "L", "A", "P", "S", "I"} <= set(said)


def test_warnings_are_on_the_picture(monkeypatch):
    said = []
    monkeypatch.setattr(ink, "text", lambda draw, at, words, *rest: said.append(words))
    image, mask = ellipsoid_phantom((31, 41, 25), AFFINE, [Ellipsoid((5, 0, 0), (4, 8, 10))])
    long = "looks unlike what the model was trained on in more than one way " * 5
    overlay_png(image, mask, ["ball"], warnings=["too bright", long])
    assert "! too bright" in said
    lines = [words for words in said if "trained" in words]
    assert len(lines) > 2
    assert max(map(len, lines)) < 160


def test_a_picture_without_millimeters_has_no_scale_and_one_plane(monkeypatch):
    said = []
    monkeypatch.setattr(ink, "text", lambda draw, at, words, *rest: said.append(words))
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
    shape = np.zeros((1, 64, 64, 64), np.uint8)
    shape[0, :5, :5, :5] = 255  # 0.05% of the voxels
    assert display_window(Volume(shape, np.eye(4))) == Window(127.5, 255)


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


AS_PICTURES = np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
HALF = np.zeros((28, 28, 1), np.uint8)
HALF[:14] = 200  # the left half of the picture is bright


def picture(*channels):
    info = SeriesInfo(spacing_known=False, channels="color" if len(channels) > 1 else "")
    return Volume(np.stack(channels), AS_PICTURES, info)


def words_of(monkeypatch):
    said = []
    monkeypatch.setattr(ink, "text", lambda draw, at, words, *rest: said.append(words))
    return said


def test_a_small_picture_is_enlarged_and_its_left_is_on_the_left():
    page = scores_png(picture(HALF), {"no": 0.5, "yes": 0.5})
    assert page.width >= 480
    pixels = np.asarray(page.convert("L"))[60:500, 20:480]
    assert pixels[:, :200].min() > 190
    assert pixels[:, 260:].max() < 60


def test_a_color_picture_is_shown_in_color():
    page = scores_png(picture(HALF, HALF * 0, HALF // 2), {"no": 0.5, "yes": 0.5})
    assert np.abs(np.asarray(page)[200, 100].astype(int) - (200, 0, 100)).max() <= 2


def test_the_classes_stand_below_the_picture_the_likeliest_first(monkeypatch):
    said = words_of(monkeypatch)
    scores_png(picture(HALF), {"no": 0.25, "yes": 0.75}, "case · toy", warnings=["odd"])
    assert [w for w in said if w in ("case · toy", "yes", "75.0%", "no", "25.0%", "! odd")] == [
        *("case · toy", "yes", "75.0%", "no", "25.0%", "! odd"),
    ]
    assert any(w.startswith("28 × 28 pixels · W ") for w in said)
    assert not [w for w in said if w.endswith("mm") or w in ("R", "L")]


def test_bars_are_as_long_as_probabilities():
    page = scores_png(picture(HALF * 0), {"no": 0.25, "yes": 0.75})
    first, second = (page.crop((0, y, page.width, y + 20)) for y in (530, 556))
    orange = (np.asarray(first) == ink.COLORS[0]).all(axis=-1).any(axis=0).sum()
    gray = (np.asarray(second)[5:8] == ink.FAINT).all(axis=-1).all(axis=0).sum()
    assert orange / gray == pytest.approx(3, rel=0.03)


def test_of_many_classes_the_likeliest_are_shown_and_the_rest_summed(monkeypatch):
    said = words_of(monkeypatch)
    scores_png(picture(HALF), {f"class{n}": (n + 1) / 210 for n in range(20)})
    shown = [w for w in said if w.startswith("class")]
    assert shown == [f"class{n}" for n in range(19, 12, -1)]
    assert said[said.index("13 others together") + 1] == f"{sum(range(1, 14)) / 210:.1%}"


def test_a_classified_scan_has_three_planes_letters_and_a_frame(monkeypatch):
    region = (slice(10, 29), slice(5, 35), slice(2, 22))
    scores = {"no": 0.5, "yes": 0.5}
    plain, framed = scores_png(scan(), scores), scores_png(scan(), scores, region=region)
    assert plain.width > 900
    assert shares(framed, ink.FAINT) > shares(plain, ink.FAINT) + 0.001
    said = words_of(monkeypatch)
    scores_png(scan(), scores, region=region)
    assert {"R", "L", "A", "P", "S", "I", "axial 13/25"} <= set(said)


@pytest.mark.parametrize(
    ("words", "drawn"),
    [("28 × 28", "28 x 28"), ("Ödem ≥ 5°", "Odem >= 5°"), ("a · b…", "a · b…"), ("肺", "?")],
)
def test_letters_that_the_font_lacks_are_spelled(words, drawn):
    assert ink.spelled(words) == drawn


def test_every_letter_that_is_drawn_is_in_the_font():
    font = ImageFont.load_default(14)
    missing = bytes(font.getmask("\uffff"))
    for letter in ink.DRAWN + "".join(map(chr, range(33, 127))):
        assert bytes(font.getmask(letter)) != missing, letter


def test_long_titles_and_names_stay_on_the_page(monkeypatch):
    lines = []
    monkeypatch.setattr(
        ink, "text", lambda draw, at, words, color, size, *rest: lines.append((words, size))
    )
    scores_png(picture(HALF), {"very long " * 20: 0.5, "x" * 90: 0.5}, "case_" * 40 + " · model")
    assert max(ink.length(words, size) for words, size in lines) <= 480


def luminance(color):
    """The relative luminance of a color, as WCAG 2 defines it."""
    part = np.asarray(color) / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


@pytest.mark.parametrize("level", [0, 128, 255])
def test_labels_are_legible_on_any_tissue(level):
    page = Image.new("RGB", (120, 60), (level,) * 3)
    ink.label(ImageDraw.Draw(page, "RGBA"), (110, 40), "20 mm", 12, "rd", bar=90)
    pixels = np.asarray(page)
    rows, columns = np.nonzero((pixels == ink.INK).all(axis=-1))
    top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
    assert (left, right) == (110 - 1 - 90, 110 - 1)  # the scale
    ground = pixels[top - 1, left - 1]
    assert (luminance(ink.INK) + 0.05) / (luminance(ground) + 0.05) >= 7  # WCAG's AAA
    frame = pixels[top - 1 : bottom + 2, left - 1 : right + 2]
    edge = np.concatenate([frame[-1], frame[:, 0], frame[:, -1]])
    assert (edge == ground).all()  # all of it lies on the ground
