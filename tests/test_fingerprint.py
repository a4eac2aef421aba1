"""Scans unlike the training images are told in plain words, and those like them are not."""

from dataclasses import replace

import numpy as np
import pytest

from medvision.fingerprint import (
    FORCED,
    facts_of,
    fingerprint_of,
    unlike_in_volume,
    unlike_training,
)
from medvision.intensity_spec import Intensity
from medvision.prediction import Structure
from medvision.spec import InputSpec, ModelSpec
from medvision.volume import SeriesInfo, Volume

AS_PICTURES = np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])  # LIA
RANDOM = np.random.default_rng(0)


def picture(columns=28, rows=28, pages=1, level=128):
    array = RANDOM.normal(level, 30, (1, columns, rows, pages)).clip(0, 255).astype(np.uint8)
    return Volume(array, AS_PICTURES, SeriesInfo(spacing_known=False))


def scan(shape=(40, 50, 30), mm=(1.0, 1.0, 2.0), **info):
    array = RANDOM.normal(100, 20, (1, *shape)).astype(np.float32)
    return Volume(array, np.diag([*mm, 1]), SeriesInfo(**info))


def trained(volumes, spec):
    return replace(spec, fingerprint=fingerprint_of([facts_of(v, spec) for v in volumes]))


X_RAY = trained(
    [picture(level=level) for level in (100, 120, 140)],
    ModelSpec(
        name="x-ray",
        task="classification",
        architecture="cnn2d",
        class_names=("normal", "pneumonia"),
        spacing=None,
        roi_size=(28, 28, 1),
        orientation="LIA",
        inputs=(InputSpec(modality="CR", intensity=Intensity("window", low=0, high=255)),),
    ),
)
BRAIN = trained(
    [scan((n, 50, 30)) for n in (38, 40, 44)],
    ModelSpec(
        "brain", "segmentation", "unet3d", ("ball",), spacing=(1, 1, 2), roi_size=(32, 32, 16)
    ),
)


def shape(value=255, size=8, side=32):
    array = np.zeros((1, side, side, side), np.uint8)
    array[0, 4 : 4 + size, 4 : 4 + size, 4:10] = value
    return Volume(array, np.eye(4), SeriesInfo())


SHAPES = trained(
    [shape(size=size) for size in (6, 8, 10)],
    ModelSpec(
        name="adrenal",
        task="classification",
        architecture="cnn3d",
        class_names=("normal", "hyperplasia"),
        spacing=None,
        roi_size=(32, 32, 32),
        inputs=(InputSpec(intensity=Intensity("window", low=0, high=255)),),
    ),
)


def told(volume, spec):
    return unlike_training({"image": volume}, spec)


def test_a_scan_like_the_training_ones_is_told_nothing_of():
    assert told(picture(level=110), X_RAY) == []
    assert told(scan((42, 52, 29)), BRAIN) == []


def test_sizes_of_pictures_are_ranges_of_pixels():
    known = X_RAY.fingerprint
    assert known.extent_mm == ((28, 28), (28, 28), (1, 1))
    assert not known.spacing_known
    assert BRAIN.fingerprint.extent_mm == ((38, 44), (50, 50), (60, 60))
    assert BRAIN.fingerprint.spacing_known


def test_one_picture_among_scans_makes_all_sizes_pixels():
    known = fingerprint_of([facts_of(scan(), BRAIN), facts_of(picture(), BRAIN)])
    assert known.extent_mm[2] == (28, 30)
    assert known.spacing_mm == ((1, 1),) * 3


def test_a_larger_picture_is_made_smaller_as_in_training_and_a_small_one_told():
    assert told(picture(1024, 800), X_RAY) == []
    first, *others = told(picture(20, 18), X_RAY)
    assert first == FORCED
    assert others == [
        "extent 20 pixels wide: trained on 28 pixels",
        "extent 18 pixels high: trained on 28 pixels",
    ]


def test_a_picture_of_another_shape_is_told():
    said = "1200 × 300 pixels: trained on another shape, 28 × 28 pixels"
    assert told(picture(1200, 300), X_RAY)[1:] == [said]
    assert said.replace("1200 × 300", "300 × 1200") in told(picture(300, 1200), X_RAY)


def test_a_volume_no_training_case_has_is_told():
    seen = replace(facts_of(scan(), BRAIN), volumes_ml={"ball": 2.00004, "speck": 2e-5})
    large, rare = ({"ball": 3.0, "speck": 3e-5}, {"ball": 2.5, "rare": 1.0})
    others = [replace(seen, volumes_ml=one) for one in (*[large] * 9, *[rare] * 9, {})]
    known = fingerprint_of([seen, *others])
    assert known.volumes_ml == {"ball": (2.0, 3.0), "speck": (2e-5, 3e-5)}  # nine are too few
    assert ModelSpec.from_json(replace(BRAIN, fingerprint=known).to_json()).fingerprint == known

    def said(ml, touches=False):
        return unlike_in_volume([Structure("ball", 1, 1, ml, None, None, touches)], known)

    assert said(117.3) == ["ball has 117 ml: 2 to 3 ml in training"]
    assert said(0.9) == ["ball has 0.9 ml: 2 to 3 ml in training"]
    assert said(5.9) == said(1.1) == said(0.9, touches=True) == said(0.0) == said(None) == []


def test_a_stack_is_no_picture():
    assert told(picture(pages=64), X_RAY)[1:] == ["a stack of 64 planes: trained on single ones"]


def test_a_ct_slice_is_no_radiograph():
    array = RANDOM.normal(-600, 300, (1, 512, 512, 1)).astype(np.int16)
    slice_ = Volume(array, np.diag([-0.7, -0.7, 5, 1]), SeriesInfo(modality="CT", unit="HU"))
    first, modality, spacing, *others = told(slice_, X_RAY)
    assert first == FORCED
    assert modality == "modality CT: trained on CR"
    assert spacing == "a voxel size of 0.7 × 5 × 0.7 mm: trained on pictures without one"
    assert others[-1].startswith("median intensity -60")


def test_a_film_in_dicom_has_pixels_of_its_detector():
    film = picture()
    axes = AS_PICTURES @ np.diag([0.2, 0.2, 1, 1])
    assert told(replace(film, affine=axes, info=SeriesInfo(modality="CR")), X_RAY) == []


def test_larger_pictures_are_told_where_the_model_has_a_voxel_size():
    stack = replace(BRAIN, fingerprint=fingerprint_of([facts_of(picture(64, 64, 30), BRAIN)]))
    assert "extent 640 pixels wide: trained on 64 pixels" in told(picture(640, 640, 30), stack)


def test_a_gray_image_is_no_shape():
    gray = RANDOM.normal(40, 60, (1, 32, 32, 32))
    masked = gray.clip(1) * (shape().array > 0)  # all but the organ is cut away
    assert told(shape(size=7), SHAPES) == []
    for array in (gray, masked):
        first, second, *_ = told(Volume(array, np.eye(4), SeriesInfo()), SHAPES)
        assert first == FORCED
        assert second == "gray values: trained on shapes of two values alone, as in a mask"


def test_a_mask_of_ones_is_black_where_shapes_were_255():
    assert told(shape(value=1), SHAPES) == [FORCED, "highest value 1: trained on 255"]
    scaled = replace(SHAPES, inputs=(InputSpec(intensity=Intensity("zscore")),))
    assert told(shape(value=1), scaled) == []  # the network sees the same


def test_a_mask_is_no_gray_image():
    columns = np.arange(28)[:, None, None] > 12
    mask = Volume(np.uint8(200 * columns)[None].repeat(28, axis=2), AS_PICTURES, picture().info)
    assert "no more than two values, as in a mask: trained on gray images" in told(mask, X_RAY)
    assert not [w for w in told(picture(level=230), X_RAY) if "mask" in w]  # overexposed


def test_a_fingerprint_of_before_tells_nothing_of_values():
    old = replace(SHAPES.fingerprint, saturated=(0.0, 1.0), peak=None)
    assert told(shape(value=1), replace(SHAPES, fingerprint=old)) == []
    text = SHAPES.to_json()
    assert ModelSpec.from_json(text) == SHAPES
    for line in ('"saturated"', '"peak"'):
        start = text.index(line)
        text = text[:start].rstrip().rstrip(",") + text[text.index("]", start) + 1 :]
    assert ModelSpec.from_json(text).fingerprint == old


def test_values_beyond_the_window_are_cut_off_anyway():
    metal = scan()
    metal.array[0, 0, 0, 0] = 30_000
    window = (InputSpec(intensity=Intensity("window", low=-100, high=250)),)
    model = trained([metal], replace(BRAIN, inputs=window))
    assert not [w for w in told(scan(), model) if "highest" in w]


def test_a_picture_is_no_scan_and_its_pixels_no_millimeters():
    model = replace(BRAIN, spacing=None)
    assert "no known voxel size: trained on scans with one" in told(picture(), model)
    assert not [w for w in told(picture(5, 5), model) if "extent" in w]


@pytest.mark.parametrize(
    ("mm", "says"),
    [
        ((3, 1, 2), "extent 120 mm left-right: trained on 38 to 44 mm; show it a part with --box"),
        ((1, 1, 4), "voxel size 4 mm foot-head: trained on 2 mm"),
        ((1, 0.5, 2), "extent 25 mm back-front: trained on 50 mm"),
    ],
)
def test_sizes_of_scans_are_told_in_millimeters(mm, says):
    assert says in told(scan(mm=mm), BRAIN)
    turned = trained([scan().reoriented("ASR")], replace(BRAIN, orientation="ASR"))
    assert says.split(":")[0] in str(told(scan(mm=mm), turned))


def test_an_image_without_a_finite_voxel_leaks_no_warning():
    assert facts_of(Volume(np.full((1, 4, 4, 4), np.nan), np.eye(4)), BRAIN).level == 0


def test_of_many_cases_the_odd_ones_make_no_range():
    facts = [facts_of(scan((40, 50, 30)), BRAIN)] * 400
    odd = facts_of(scan((400, 50, 30)), BRAIN)
    assert fingerprint_of([*facts, odd]).extent_mm[0] == (40, 40)
    assert fingerprint_of([*facts[:20], odd]).extent_mm[0] == (40, 400)
