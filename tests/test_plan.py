"""A plan follows from the data, and says why."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medvision.dataset import Case
from medvision.errors import CasesError, SpecError
from medvision.intensity_spec import Intensity
from medvision.models import MODELS, build_model
from medvision.outputs.nifti import save_nifti
from medvision.plan import MAX_VOXELS, geometry, network_of, plan, window
from medvision.spec import InputSpec, ModelSpec
from medvision.survey import Survey
from medvision.tables import print_plan, setting_of
from medvision.train_config import TrainConfig
from medvision.volume import Volume


def scan(path, array, spacing=(1.0, 1.0, 1.0)):
    return save_nifti(Volume(np.asarray(array)[None], np.diag([*spacing, 1.0])), path)


def write_scans(folder, grids, values=(0, 100), labels=()):
    """Scans of noise around `values[0]`, a block of `values[1]` in each, which is the mask."""
    rng, cases = np.random.default_rng(0), []
    for number, (shape, spacing) in enumerate(grids):
        mask = np.zeros(shape, np.uint8)
        mask[2:6, 2:6, 2:6] = 1
        array = np.where(mask, values[1], values[0]) + rng.normal(0, 5, shape)
        case = Case(
            f"c{number}",
            {"image": scan(folder / f"i{number}.nii", array.astype(np.float32), spacing)},
            scan(folder / f"m{number}.nii", mask, spacing),
            f"g{number}",
            label=labels[number] if labels else "",
            line=number + 2,
        )
        cases.append(case)
    return cases


def write_pictures(folder, sizes, labels="ab"):
    rng, cases = np.random.default_rng(0), []
    for number, (columns, rows, *channels) in enumerate(sizes):
        array = rng.integers(0, 200, (rows, columns, *channels), dtype=np.uint8)
        Image.fromarray(array).save(folder / f"p{number}.png")
        label = labels[number % len(labels)]
        images = {"image": folder / f"p{number}.png"}
        cases.append(Case(f"p{number}", images, None, f"p{number}", label=label, line=number + 2))
    return cases


def seen(grids, known=True):
    """A survey of nothing but sizes."""
    shapes, spacings = (np.array([grid[i] for grid in grids]) for i in (0, 1))
    return Survey([], {}, spacings.astype(float), shapes, known, {})


def test_scans_are_planned_at_their_median_voxel_size(tmp_path):
    grids = [
        ((20, 22, 18), (1.0, 1.0, 2.0)),
        ((20, 22, 18), (1.2, 1, 2)),
        ((30, 22, 18), (1, 1, 2)),
    ]
    found = plan(write_scans(tmp_path, grids), ["a"], "m", width=4, show=False)
    spec = found.spec
    assert (spec.task, spec.architecture, spec.orientation) == ("segmentation", "unet3d", "RAS")
    assert spec.spacing == (1, 1, 2)
    assert spec.roi_size == (24, 24, 20)  # 24 × 22 × 18, so that it can be halved twice
    assert spec.network["features"] == (4, 8, 16)  # 18 voxels are halved twice, not to below 4
    assert spec.inputs == (InputSpec(intensity=Intensity("zscore")),)
    assert spec.fingerprint.cases == 3
    assert spec.fingerprint.extent_mm[0] == (20, 30)
    assert found.train == TrainConfig(steps=2500, batch_size=2, eval_every=250)


def test_a_coarse_axis_is_taken_finer_than_its_median():
    grids = [((40, 40, 12), (1, 1, mm)) for mm in (2, 3, 5, 5, 6, 6, 6, 6, 8, 8)]
    reasons = {}
    spacing, _ = geometry(seen(grids), "segmentation", 3, reasons)
    assert spacing == (1, 1, pytest.approx(np.percentile([2, 3, 5, 5, 6, 6, 6, 6, 8, 8], 10)))
    assert "10th percentile of the coarse axis" in reasons["spacing"]
    spacing, _ = geometry(seen(grids), "segmentation", 2, reasons)
    assert spacing == (1, 1, 6)  # planes are looked at one by one
    assert "10th" not in reasons["spacing"]


def test_a_large_scan_is_shown_whole_to_a_classification_and_in_part_to_a_segmentation():
    grids, reasons = [((512, 512, 100), (0.7, 0.7, 2.5))] * 3, {}
    spacing, size = geometry(seen(grids), "classification", 3, reasons)
    assert spacing == (5.6, 5.6, pytest.approx(250 / 64, abs=1e-3))
    assert np.allclose(size, 64, atol=0.01)
    assert "coarser" in reasons["spacing"]
    thin = [((512, 512, 30), (0.7, 0.7, 5.0))]
    spacing, size = geometry(seen(thin), "classification", 3, reasons)
    assert (spacing[2], size[2]) == (5, 30)  # slices are few already: they stay as they are
    spacing, size = geometry(seen(grids), "segmentation", 3, reasons)
    assert spacing == (0.7, 0.7, 2.5)
    network = network_of("unet3d", "segmentation", size, 32, reasons)
    spec = ModelSpec("m", "segmentation", "unet3d", ("a",), spacing, (1, 1, 1), network)
    roi = window(size, spec, reasons)
    assert 0.8 * MAX_VOXELS[3] < math.prod(roi) <= MAX_VOXELS[3]
    assert roi[0] / roi[2] == pytest.approx(512 / 100, rel=0.3)  # of the shape of the scan
    assert "as much of it as 884,736 voxels allow" in reasons["roi_size"]


SIDE = st.integers(24, 600)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(SIDE, SIDE, SIDE),
    st.tuples(*[st.sampled_from([0.5, 0.8, 1.0, 3.0, 6.0])] * 3),
    st.booleans(),
    st.sampled_from(["segmentation", "classification"]),
    st.sampled_from(["unet2d", "unet3d", "resunet3d", "resnet18_2d", "resnet18_3d", "segresnet3d"]),
)
def test_whatever_the_scans_the_network_takes_its_window(shape, mm, known, task, architecture):
    dims, reasons = MODELS[architecture].dims, {}
    spacing, size = geometry(seen([(shape, mm)], known), task, dims, reasons)
    network = network_of(architecture, task, size, 8, reasons)
    spec = ModelSpec("m", task, architecture, ("a", "b"), spacing, (1, 1, 1), network)
    spec = replace(spec, roi_size=window(size, spec, reasons))
    assert spec.dims == dims
    with torch.device("meta"):
        build_model(spec)
    if task == "segmentation":
        assert math.prod(spec.roi_size) <= MAX_VOXELS[dims]
    else:
        assert all(side >= n - 0.01 for side, n in zip(spec.roi_size, size, strict=False))


def test_ct_is_windowed_by_what_its_structures_show(tmp_path):
    cases = write_scans(tmp_path, [((12, 12, 12), (1, 1, 1))] * 3, values=(-800, 60))
    found = plan(cases, ["a"], "m", modality="CT", width=4, show=False)
    rule = found.spec.inputs[0].intensity
    assert rule.rule == "window"
    assert 45 < rule.low < 55  # 60 ± 5 HU: nothing of the -800 around it
    assert 65 < rule.high < 75
    assert found.spec.inputs[0].modality == "CT"
    assert "inside the structures" in found.reasons["inputs.0.intensity"]
    cases = [replace(case, label="ab"[n % 2]) for n, case in enumerate(cases)]
    whole = plan(cases, ["a", "b"], "m", "classification", "cnn3d", modality="CT", show=False)
    assert whole.spec.inputs[0].intensity.low < -800
    assert "of all voxels" in whole.reasons["inputs.0.intensity"]


def test_ct_with_voxels_that_are_no_number_is_windowed_all_the_same(tmp_path):
    cases = write_scans(tmp_path, [((12, 12, 12), (1, 1, 1))] * 2, values=(-800, 60))
    array = np.full((12, 12, 12), 60, np.float32)
    array[3] = np.nan
    scan(tmp_path / "i0.nii", array)
    rule = plan(cases, ["a"], "m", modality="CT", width=4, show=False).spec.inputs[0].intensity
    assert 40 < rule.low < rule.high < 80


def test_pictures_are_fitted_and_gray_levels_kept(tmp_path):
    cases = write_pictures(tmp_path, [(28, 28)] * 12)
    found = plan(cases, ["a", "b"], "m", "classification", show=False)
    spec = found.spec
    assert (spec.architecture, spec.spacing, spec.roi_size) == ("resnet18_2d", None, (28, 28, 1))
    assert spec.network["stem"] == "small"
    assert spec.inputs == (InputSpec(intensity=Intensity("window", low=0, high=255)),)
    assert not spec.fingerprint.spacing_known
    assert found.train.batch_size == 3  # a quarter of the cases
    assert found.train.steps == 300
    assert found.reasons["spacing"].startswith("pictures have no voxel size")
    assert found.reasons["inputs.0.intensity"] == "8-bit pictures"
    large = plan(
        write_pictures(tmp_path, [(640, 320)] * 4), "ab", "m", "classification", show=False
    )
    assert large.spec.roi_size == (224, 112, 1)
    assert large.spec.network["stem"] == "large"


def test_colors_are_three_channels(tmp_path):
    cases = write_pictures(tmp_path, [(20, 16, 3)] * 4)
    spec = plan(cases, "ab", "m", "classification", "cnn2d", show=False).spec
    assert spec.inputs[0].channels == spec.channels == 3
    mixed = [*cases, *write_pictures(tmp_path, [(20, 16)])]
    with pytest.raises(CasesError, match="differ in channels"):
        plan(mixed[1:], "ab", "m", "classification", show=False)


def test_shapes_of_two_values_are_scaled_to_them(tmp_path):
    cases = write_scans(tmp_path, [((12, 12, 12), (1, 1, 1))] * 4, labels="abab")
    shapes = [replace(case, images={"image": case.mask}) for case in cases]
    found = plan(shapes, "ab", "m", "classification", "cnn3d", show=False)
    assert found.spec.inputs[0].intensity == Intensity("window", low=0, high=1)
    assert "a shape" in found.reasons["inputs.0.intensity"]


@pytest.mark.parametrize(
    ("labels", "weights", "why"),
    [("ababab", "none", "a 3, b 3: even enough"), ("aaaaab", "balanced", "a 5, b 1: rare classes")],
)
def test_rare_classes_count_more(tmp_path, labels, weights, why):
    cases = write_pictures(tmp_path, [(20, 16)] * 6, labels)
    found = plan(cases, "ab", "m", "classification", "cnn2d", show=False)
    assert found.train.class_weights == weights
    assert found.reasons["class_weights"].startswith(why)


@pytest.mark.parametrize(
    ("names", "mirror"),
    [
        (("left_kidney", "right_kidney"), ""),
        (("kidney-right", "liver"), ""),
        (("LeftLung", "RightLung"), ""),
        (("hippocampus L", "hippocampus R"), ""),
        (("bright", "cleft"), "R"),
        (("anterior", "posterior"), "R"),
    ],
)
def test_nothing_is_mirrored_where_sides_are_classes(tmp_path, names, mirror):
    labels = [names[n % 2] for n in range(4)]
    cases = write_pictures(tmp_path, [(20, 16)] * 4, labels)
    found = plan(cases, names, "m", "classification", "cnn2d", show=False)
    assert found.train.augment.mirror == mirror


@pytest.mark.parametrize(
    ("spacing", "orientation", "spacing_2d"),
    [
        ((1, 1, 4), "RAS", (1, 1, 4)),
        ((1, 4, 1), "RSA", (1, 1, 4)),
        ((4, 1, 1), "ASR", (1, 1, 4)),
        ((1, 1, 1), "RAS", (1, 1, 1)),
    ],
)
def test_planes_of_a_2d_network_lie_across_the_coarse_axis(
    tmp_path, spacing, orientation, spacing_2d
):
    cases = write_scans(tmp_path, [((20, 20, 20), spacing)] * 2)
    spec = plan(cases, ["a"], "m", architecture="unet2d", width=4, show=False).spec
    assert (spec.orientation, spec.spacing) == (orientation, spacing_2d)
    assert spec.roi_size == (20, 20, 1)


def test_each_decision_has_a_reason_under_the_name_of_its_setting(tmp_path, capsys):
    cases = write_scans(tmp_path, [((20, 22, 18), (1, 1, 1))] * 4)
    pair = [replace(one, images={"t1": one.images["image"], "t2": one.mask}) for one in cases]
    made = plan(pair, ["a"], "pair", width=4, show=False)
    assert list(made.reasons) == [
        *("architecture", "spacing", "network", "inputs.0.intensity", "inputs.1.intensity"),
        *("roi_size", "batch_size", "steps", "augment.mirror"),
    ]
    assert all(setting_of(made, name) is not None for name in made.reasons)
    print_plan(replace(made, reasons={**made.reasons, "gone.x": "why", "inputs.9.x": "", "": ""}))
    said = capsys.readouterr().out
    assert "20 × 24 × 20" in said
    assert "zscore" in said


def test_cases_that_cannot_be_planned_are_named(tmp_path):
    grid = [((12, 12, 12), (1, 1, 1))] * 3
    cases = write_scans(tmp_path, grid, labels="aba")
    with pytest.raises(CasesError, match=r"No mask of the 3 cases holds b \(label 2\)"):
        plan(cases, ["a", "b"], "m", show=False)
    with pytest.raises(CasesError, match="no cases"):
        plan([], ["a"], "m", show=False)
    with pytest.raises(CasesError, match=r"line 3 \(c1\): label 'b' is none of the classes a, c"):
        plan(cases, ["a", "c"], "m", "classification", show=False)
    with pytest.raises(SpecError, match=r"Unknown model 'oracle'. Choose from: cnn2d"):
        plan(cases, ["a"], "m", architecture="oracle", show=False)
    with pytest.raises(CasesError, match=r"cnn2d takes single pictures.* of up to 12 slices"):
        plan(cases, ["a", "b"], "m", "classification", "cnn2d", show=False)
    pictures = write_pictures(tmp_path, [(12, 12)])
    with pytest.raises(CasesError, match="3 cases have a voxel size and 1 are pictures without"):
        plan([*cases, *pictures], ["a", "b"], "m", "classification", show=False)
    scan(tmp_path / "i0.nii", np.zeros((9, 9, 9), np.uint8))
    (tmp_path / "i1.nii").write_text("no image")
    stack = np.zeros((2, 12, 12, 12), np.uint8)
    save_nifti(Volume(stack, np.eye(4)), tmp_path / "i2.nii")
    with pytest.raises(CasesError) as caught:
        plan(cases, ["a"], "m", show=False)
    first, second, third = str(caught.value).splitlines()
    assert first.startswith("line 2 (c0): mask ")
    assert "is not on the grid" in first
    assert second.startswith("line 3 (c1): ")
    assert third.startswith("line 4 (c2): image has 2 channels")
