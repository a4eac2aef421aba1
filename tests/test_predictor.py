"""Prediction on grids of every kind, with a network whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch import nn

from medvision.errors import GeometryError, SpecError
from medvision.geometry import Box, check_affine, corners, to_world
from medvision.intensity_spec import Intensity
from medvision.metrics import dice
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.predictor import Predictor, load_predictor
from medvision.spec import InputSpec, ModelSpec
from medvision.study import Study
from medvision.volume import SeriesInfo, Volume

BALL = Ellipsoid((3.0, -5, 8), (20, 26, 17))
SPEC = ModelSpec(
    "bright",
    "segmentation",
    "unet3d",
    ("ball",),
    (1.0, 1.0, 1.0),
    (32, 32, 32),
    inputs=(InputSpec(intensity=Intensity("window", low=0, high=100)),),
)


class Bright(nn.Module):
    """Finds what is brighter than the middle of the window: its borders are where they are."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return 5 * torch.cat([-image, image], dim=1)


def predictor(**changes):
    return Predictor(Bright(), replace(SPEC, **changes), "cpu")


def grid(angles=(0, 0, 0), spacing=(1.0, 1, 1), size=62.0):
    """An affine and shape of a cube of `size` mm around the ball, turned about its center."""
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    shape = tuple(int(np.ceil(size / s)) for s in spacing)
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing)
    affine[:3, 3] = BALL.center_mm - affine[:3, :3] @ (np.asarray(shape) - 1) / 2
    return shape, check_affine(affine)


def smooth_phantom(shape, affine):
    """The ball with voxel values 100 × the covered share, so that its border is not on voxels."""
    fine = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    world = to_world(affine, fine)
    radius = np.sqrt((((world - BALL.center_mm) / BALL.radii_mm) ** 2).sum(axis=-1))
    edge = (1 - radius) * min(BALL.radii_mm)  # about mm inside the border
    array = 100 * np.clip(0.5 + edge / 3, 0, 1).astype(np.float32)
    return Volume(array[None], affine)


@settings(max_examples=6, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-60, 60)] * 3),
    spacing=st.tuples(*[st.sampled_from([0.7, 0.9, 1.0, 1.3, 2.0])] * 3),
    orientation=st.sampled_from(["RAS", "LPS", "ASR", "PIR"]),
)
def test_the_mask_of_any_grid_is_the_ball_in_the_world(angles, spacing, orientation):
    scan = smooth_phantom(*grid(angles, spacing)).reoriented(orientation)
    found = predictor().predict(Study("a", {"image": scan}))
    _, truth = ellipsoid_phantom(scan.shape, scan.affine, [BALL])
    assert found.mask.shape == scan.shape
    assert np.array_equal(found.mask.affine, scan.affine)
    assert dice(found.mask.array > 0, truth.array > 0) >= 0.97
    [ball] = found.measure()
    assert ball.ml == pytest.approx(BALL.ml, rel=0.03)
    assert np.allclose(ball.centroid_mm, BALL.center_mm, atol=0.2)


@pytest.mark.parametrize("orientation", ["LPS", "PIR", "SAL", "ARI", "RSA"])
def test_axis_order_and_flips_change_nothing(orientation):
    scan = smooth_phantom(*grid(spacing=(1, 1, 1)))
    straight = predictor().predict(Study("a", {"image": scan})).mask
    turned = predictor().predict(Study("a", {"image": scan.reoriented(orientation)})).mask
    assert turned.orientation == orientation
    assert np.array_equal(turned.reoriented("RAS").array, straight.array)


def test_a_scan_smaller_than_the_window_is_padded():
    scan = smooth_phantom(*grid()).cropped_to(Box((-5, -12, 2), (12, 6, 14)))
    found = predictor().predict(Study("a", {"image": scan})).mask
    assert found.shape == scan.shape
    assert found.array.all()


def test_a_box_limits_what_is_looked_at():
    scan = smooth_phantom(*grid())
    box = Box((-30, -40, -20), (3, 40, 40))  # the ball's left half
    found = predictor().predict(Study("a", {"image": scan}), box)
    [half] = found.measure()
    assert half.ml == pytest.approx(BALL.ml / 2, rel=0.04)
    assert half.touches_border
    assert "ball at the edge of what the model was shown" in found.warnings[0]
    assert found.mask.shape == scan.shape
    world = to_world(scan.affine, np.argwhere(found.mask.array[0]))
    assert world[:, 0].max() <= 3


def test_a_box_in_mni_space_asks_for_a_scan_in_it():
    scan = smooth_phantom(*grid())
    box = Box((-30, -40, -20), (3, 40, 40), space="mni")
    assert "MNI" in predictor().predict(Study("a", {"image": scan}), box).warnings[0]
    mni = replace(scan, info=SeriesInfo(space="mni"))
    assert "MNI" not in str(predictor().predict(Study("a", {"image": mni}), box).warnings)


def test_voxels_that_are_no_number_are_told_and_dark():
    scan = smooth_phantom(*grid())
    scan.array[0, :5] = np.nan
    found = predictor().predict(Study("a", {"image": scan}))
    assert "not finite" in found.warnings[0]
    assert not found.mask.array[0, :5].any()


def test_what_the_reader_had_to_decide_is_passed_on():
    scan = replace(smooth_phantom(*grid()), info=SeriesInfo(notes=("thickness assumed",)))
    assert predictor().predict(Study("a", {"image": scan})).warnings == ("thickness assumed",)


@pytest.mark.parametrize(
    ("volume", "kind", "says"),
    [
        (
            Volume(np.zeros((1, 4, 4, 1)), np.eye(4), SeriesInfo(spacing_known=False)),
            SpecError,
            "without a known voxel size",
        ),
        (
            Volume(np.zeros((2, 4, 4, 4)), np.eye(4), SeriesInfo(channels="time")),
            SpecError,
            r"has 2 channel\(s\) \(time\)",
        ),
        (Volume(np.full((1, 4, 4, 4), np.nan), np.eye(4)), SpecError, "no finite voxel"),
    ],
)
def test_a_scan_that_does_not_fit_is_refused(volume, kind, says):
    with pytest.raises(kind, match=says):
        predictor().predict(Study("a", {"image": volume}))


def test_a_constant_image_is_refused_where_it_cannot_be_scaled():
    volume = Volume(np.ones((1, 40, 40, 40)), np.eye(4))
    with pytest.raises(SpecError, match="constant"):
        predictor(inputs=(InputSpec(),)).predict(Study("a", {"image": volume}))


def test_a_box_outside_the_scan_names_both():
    scan = smooth_phantom(*grid())
    with pytest.raises(GeometryError, match="spans"):
        predictor().predict(Study("a", {"image": scan}), Box((500, 0, 0), (600, 9, 9)))


def test_the_model_grid_holds_all_of_an_oblique_scan():
    from medvision.transforms import preprocess

    scan = smooth_phantom(*grid((25, 10, 40), (1, 1, 2)))
    prepared = preprocess({"image": scan}, SPEC)
    edges = to_world(
        np.linalg.inv(prepared.grid.affine), to_world(scan.affine, corners(scan.shape))
    )
    assert edges.min() >= -0.5 - 1e-6
    assert (edges.max(axis=0) <= np.asarray(prepared.grid.shape) - 0.5 + 1e-6).all()


def test_names_of_models_and_devices_are_checked(tmp_path):
    with pytest.raises(SpecError, match=r"No model 'nobody'.*hippocampus"):
        load_predictor("nobody")
    with pytest.raises(SpecError, match="Unknown device 'abacus'"):
        load_predictor("hippocampus", "abacus")
    with pytest.raises(SpecError, match=r"spec.json is missing"):
        load_predictor(tmp_path)


class Both(nn.Module):
    """Finds what is bright in both channels."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        dim = image.min(dim=1, keepdim=True).values
        return 5 * torch.cat([-dim, dim], dim=1)


WINDOW = Intensity("window", low=0, high=100)
INPUTS = (InputSpec("t1", "MR", intensity=WINDOW), InputSpec("flair", intensity=WINDOW))


def both(**changes):
    return Predictor(Both(), replace(SPEC, inputs=INPUTS, **changes), "cpu")


def halves(first, second):
    """The ball, without its right side in the first scan and without its upper one in the second.

    Only a quarter is bright in both: left of, and below, the ball's center.
    """
    scans = []
    for axis, (shape, affine) in enumerate((first, second)):
        scan = smooth_phantom(shape, affine)
        index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
        place = to_world(affine, index)[..., 2 * axis] - BALL.center_mm[2 * axis]
        scans.append(scan.with_array(scan.array * (place < 0)))
    return {"t1": scans[0], "flair": scans[1]}


@pytest.mark.parametrize("first", [((0, 0, 0), (1, 1, 1)), ((20, -10, 30), (0.9, 1, 1.3))])
@pytest.mark.parametrize("second", [((0, 0, 0), (1, 1, 1)), ((-30, 5, 15), (0.8, 1.2, 1))])
def test_inputs_on_different_grids_meet_in_the_world(first, second):
    volumes = halves(grid(*first), grid(*second, size=80))
    found = both().predict(Study("a", volumes))
    assert found.mask.shape == volumes["t1"].shape
    assert np.array_equal(found.mask.affine, volumes["t1"].affine)
    assert found.warnings == ()
    [quarter] = found.measure()
    assert quarter.ml == pytest.approx(BALL.ml / 4, rel=0.06)
    world = to_world(found.mask.affine, np.argwhere(found.mask.array[0])) - BALL.center_mm
    assert world[:, 0].max() < 1  # mm
    assert world[:, 2].max() < 1
    # the centroid of a half ellipsoid lies at 3/8 of its radius
    expected = np.array(BALL.center_mm) - np.array(BALL.radii_mm) * [3 / 8, 0, 3 / 8]
    assert np.allclose(quarter.centroid_mm, expected, atol=0.5)


def test_a_box_limits_what_both_inputs_show():
    volumes = halves(grid(), grid((10, 0, 5), size=80))
    volumes["flair"].array[0, 0] = np.nan  # far from the box: not seen, so nothing is said
    box = Box((-30, -5, -20), (30, 40, 40))  # the front half
    found = both().predict(Study("a", volumes), box)
    assert found.mask.shape == volumes["t1"].shape
    assert found.measure()[0].ml == pytest.approx(BALL.ml / 8, rel=0.08)
    assert "not finite" not in str(found.warnings)


def test_warnings_of_several_inputs_name_them():
    volumes = halves(grid(), grid())
    volumes["t1"] = replace(volumes["t1"], info=SeriesInfo(modality="CT"))
    volumes["flair"] = replace(
        volumes["flair"].cropped_to(Box((-60, -60, 0), (60, 60, 14))),
        info=SeriesInfo(notes=("thickness assumed",)),
    )
    modality, note, gap, *_ = both().predict(Study("a", volumes)).warnings
    assert note == "flair: thickness assumed"
    assert modality == "t1: modality CT: trained on MR"
    assert gap.startswith("flair covers 23% of t1")  # 14 or 15 of 62 planes


def test_inputs_that_are_missing_or_elsewhere_are_refused():
    volumes = halves(grid(), grid())
    with pytest.raises(SpecError, match="takes t1, flair; missing: flair; found: t1"):
        both().predict(Study("a", {"t1": volumes["t1"]}))
    away = replace(volumes["flair"], affine=volumes["flair"].affine + np.eye(4, k=3) * 300)
    with pytest.raises(GeometryError, match="flair does not overlap t1"):
        both().predict(Study("a", volumes | {"flair": away}))
    with pytest.raises(SpecError, match="missing: image; found: t1, flair"):
        predictor().predict(Study("a", volumes))


@pytest.mark.parametrize("roi", [(32, 32, 32), (24, 40, 16), (80, 20, 33)])
def test_progress_rises_to_one_and_what_it_raises_ends_the_prediction(roi):
    study = Study("a", {"image": smooth_phantom(*grid())})
    shares, looked = [], []
    model = predictor(roi_size=roi)
    model.model.register_forward_hook(lambda *_: looked.append(1))
    told = model.predict(study, step=shares.append)
    assert shares[0] == 0
    assert np.allclose(np.diff(shares), 1 / len(looked))
    assert shares[-1] == 1
    assert np.array_equal(told.mask.array, model.predict(study).mask.array)

    def stop(share):
        if share > 0:
            raise KeyboardInterrupt

    looked.clear()
    with pytest.raises(KeyboardInterrupt):
        model.predict(study, step=stop)
    assert len(looked) == 1
