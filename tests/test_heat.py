"""Each kind of heat lies at the phantom's spot, in mm, and goes elsewhere with random weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from toy_classifier import Brightness, write_picture
from toy_fusion import BRIGHT, DARK, REPORT, TEXT, build_toy, spec_of, write_toy
from typer.testing import CliRunner

from medvision.cli import app
from medvision.errors import SpecError
from medvision.explain import explain, weights_of
from medvision.explanation import HEATS
from medvision.geometry import to_world
from medvision.io import read_volume
from medvision.models import build_model
from medvision.occlusion import occlusion_map
from medvision.outputs.explanation import heat_in_words
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.predictor import Predictor
from medvision.study import Study
from medvision.volume import Volume

SPOT = {2: (-9.0, 6.0, 0.0), 3: (9.0, -6.0, 5.0)}  # RAS mm
NEAR = 4.0  # mm: the toy's map, and an eighth of its window


def study_of(dims):
    """A bright spot on dark, the axes not those of the model."""
    if dims == 3:
        affine = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
        affine[:3, 3] = -affine[:3, :3] @ (np.full(3, 31) / 2)
        spot = Ellipsoid(SPOT[3], (4, 4, 4), value=90)
        return Study("a", {"image": ellipsoid_phantom((32, 32, 32), affine, [spot])[0]})
    affine = np.diag([-1.0, -1, 1, 1])
    affine[:2, 3] = 15.5
    array = np.full((1, 32, 32, 1), 10, np.uint8)
    i, j, _ = np.round(np.linalg.inv(affine)[:3] @ (*SPOT[2], 1)).astype(int)
    array[0, i - 3 : i + 3, j - 3 : j + 3] = 90
    return Study("a", {"image": Volume(array, affine)})


def toy(dims, **settings):
    spec = spec_of(dims, **settings)
    return Predictor(build_toy(spec), spec, "cpu")


def middle_of(heat):
    """Where the upper half of the heat lies, weighted by it, in RAS mm."""
    values = np.nan_to_num(heat.array[0])
    values = np.where(values >= 0.5 * values.max(), values, 0)
    index = [(values * grid).sum() / values.sum() for grid in np.indices(values.shape)]
    return to_world(heat.affine, index)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("method", HEATS)
def test_the_heat_lies_at_the_spot(method, dims, members):
    study = study_of(dims)
    found = explain(toy(dims, members=members), study, BRIGHT, method=method)
    assert found.method == method
    assert found.heat.affine is found.scan.affine
    assert np.nanmin(found.heat.array) >= 0
    assert 0.5 < np.nanmax(found.heat.array) <= 1
    np.testing.assert_allclose(middle_of(found.heat), SPOT[dims], atol=NEAR)
    assert heat_in_words(found).startswith(f"{HEATS[method]}: ")


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("method", HEATS)
def test_the_heat_hangs_on_the_weights(method, dims):
    """Adebayo et al., NeurIPS 2018: with all weights random, another map."""
    predictor, study = toy(dims), study_of(dims)
    first = np.nan_to_num(explain(predictor, study, BRIGHT, method=method).heat.array.ravel())
    alike = []
    for seed in range(4):
        torch.manual_seed(seed)
        other = Predictor(build_model(predictor.spec), predictor.spec, "cpu")
        heat = explain(other, study, BRIGHT, method=method).heat.array.ravel()
        rank = spearmanr(first, np.nan_to_num(heat)).statistic if np.ptp(heat) else 0.0
        alike.append(rank)
    assert np.mean(alike) < 0.5, alike


def test_weights_by_hand():
    slope = torch.tensor([[[1.0, -2.0]]])  # one channel, two places
    one = torch.tensor([[[2.0, 0.5]]])  # 2.5 together
    assert weights_of(slope, one, "grad-cam").tolist() == [-0.5]
    assert weights_of(slope, one, "grad-cam++").item() == pytest.approx(1 / (2 + 2.5))


def test_what_is_hidden_is_what_is_taken():
    """Of a sum the drop is what lay in the patch, above the mean that fills it."""
    window = torch.zeros(1, 1, 4, 4, 1)
    window[0, 0, 1, 2] = 16  # the mean is 1
    heat, patches = occlusion_map(lambda x: x.flatten(1).sum(dim=1), window, 1, 1)
    assert patches == (4, 4)
    assert heat.argmax().item() == 6
    assert heat.sum().item() == 1
    heat, patches = occlusion_map(lambda x: x.flatten(1).sum(dim=1), window, 2, 2)
    assert patches == (2, 2)
    assert heat.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [0] * 4, [0] * 4]
    for patch, stride in ((5, 1), (1, 2)):
        with pytest.raises(SpecError, match="A patch has 1 to 4 voxels"):
            occlusion_map(lambda x: x.flatten(1).sum(dim=1), window, patch, stride)


def test_a_network_without_maps_is_explained_by_occlusion_alone():
    spec = spec_of(2, architecture="toy", network={})
    predictor, study = Predictor(Brightness(), spec, "cpu"), study_of(2)
    found = explain(predictor, study, BRIGHT, method="occlusion", patch=4, stride=2)
    assert found.cells == (15, 15)
    np.testing.assert_allclose(middle_of(found.heat), SPOT[2], atol=2)
    with pytest.raises(SpecError, match="Brightness has none"):
        explain(predictor, study, BRIGHT)


def test_of_a_model_with_reports_the_report_stays_while_the_image_is_hidden():
    spec = spec_of(2, replace(TEXT, fusion="gated"))
    predictor = Predictor(build_toy(spec), spec, "cpu")
    for name, weights in predictor.model.named_parameters():
        if "encoder." not in name:
            weights.data *= 2
    study = replace(study_of(2), report=REPORT)
    heats = [explain(predictor, study, name, method="occlusion") for name in (DARK, BRIGHT)]
    best = max(heats, key=lambda one: np.nanmax(one.heat.array))
    np.testing.assert_allclose(middle_of(best.heat), SPOT[2], atol=NEAR)
    assert best.words


def test_unknown_methods_and_patches_of_maps_are_refused():
    with pytest.raises(SpecError, match="Choose from: grad-cam, grad-cam\\+\\+, occlusion"):
        explain(toy(2), study_of(2), method="lime")
    with pytest.raises(SpecError, match="Patches are of occlusion"):
        explain(toy(2), study_of(2), patch=4)


def test_the_command_names_the_method_and_writes_the_heat(tmp_path):
    write_toy(tmp_path / "toy", spec_of(2))
    film = write_picture(tmp_path / "film.png", 80, (32, 32))
    arguments = ["explain", str(film), "--model", str(tmp_path / "toy"), "--class", BRIGHT]
    page, heat = tmp_path / "page.html", tmp_path / "heat.nii.gz"
    arguments += ["--method", "grad-cam++", "--out", str(page), "--heat", str(heat)]
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, found.output
    assert "Grad-CAM++: where" in page.read_text()
    assert read_volume(heat).shape == read_volume(film).shape
