"""The bundled classifiers: what their cards say they take, they take; of other things they warn."""

import numpy as np
import pytest
from hippocampus_data import DATA

from medvision.checkpoint import CARD, load_spec
from medvision.extras import dataset_builder
from medvision.fingerprint import FORCED
from medvision.metrics import auc
from medvision.pair_phantom import best_auc, pair_phantoms
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.predictor import load_predictor
from medvision.study import Study
from medvision.volume import SeriesInfo, Volume
from medvision.zoo import bundled_models

SETS = {"pneumonia28": "pneumoniamnist.npz", "adrenal28": "adrenalmnist3d_64.npz"}
FILM = np.diag([-1.0, -1.0, 1.0, 1.0])


def study_of(image):
    """A picture without a voxel size, or a shape of 64 mm."""
    if image.ndim == 2:
        info = SeriesInfo(spacing_known=False)
        return Study("a", {"image": Volume(image.T[None, :, :, None], FILM, info)})
    small = dataset_builder("medmnist").reduced(image, 28, 3)
    return Study("a", {"image": Volume(small[None], np.diag([64 / 28] * 3 + [1.0]))})


@pytest.mark.parametrize("name", SETS)
def test_the_card_says_what_it_is_for(name):
    card = (bundled_models()[name] / CARD).read_text(encoding="utf-8")
    assert "not a medical device" in card
    assert "**Takes**" in card
    assert "CC BY 4.0" in card
    assert load_spec(bundled_models()[name]).name == name


@pytest.mark.parametrize("name", SETS)
def test_it_tells_classes_apart_on_cases_it_did_not_see(name):
    path = DATA / "medmnist" / SETS[name]
    if not path.is_file():
        pytest.skip(f"needs {path}")
    data, model = np.load(path), load_predictor(name, "cpu")
    images, truth = data["test_images"][:100], data["test_labels"][:100].ravel()
    found = [model.predict(study_of(image)) for image in images]
    scores = np.array([list(one.scores.values()) for one in found])
    assert auc(truth, scores) > 0.85
    assert sum(bool(one.warnings) for one in found) <= 3


@pytest.mark.parametrize("name", SETS)
def test_a_scan_of_something_else_is_warned_about_or_refused(name):
    ball = Ellipsoid((40.0, 40.0, 40.0), (20.0, 20.0, 20.0), value=60)
    scan, _ = ellipsoid_phantom((90, 90, 90), np.eye(4), [ball], noise=8, seed=0)
    if name == "pneumonia28":
        scan = Volume(scan.array[:, :, :, 40:41], scan.affine)
    found = load_predictor(name, "cpu").predict(Study("a", {"image": scan}))
    assert any(FORCED in warning for warning in found.warnings)


def test_the_synthetic_model_reads_image_and_report_and_says_what_it_is():
    folder = bundled_models()["synthetic-pairs"]
    card = (folder / CARD).read_text(encoding="utf-8")
    assert "knows nothing of patients" in card
    assert "not a medical device" in card
    model, drawn = load_predictor("synthetic-pairs", "cpu"), pair_phantoms("additive", 400, seed=99)
    truth = np.array([one.label == model.spec.class_names[1] for one in drawn]).astype(int)
    found = [model.predict(Study(o.case_id, {"image": o.image}, o.report)) for o in drawn]
    both, image, report = (
        auc(truth, np.array([list(one.values()) for one in said]))
        for said in (
            [one.scores for one in found],
            [one.alone["image"] for one in found],
            [one.alone["report"] for one in found],
        )
    )
    near = 4 * 0.024  # standard errors of an AUC of 0.75 from 400 cases
    assert abs(both - best_auc("additive", "both")) < near
    assert abs(image - best_auc("additive", "image")) < near
    assert abs(report - best_auc("additive", "report")) < near
    assert both > max(image, report)
    assert not any(one.warnings for one in found)
    (warning,) = model.predict(Study("a", {"image": drawn[0].image})).warnings
    assert warning.startswith("no report")
