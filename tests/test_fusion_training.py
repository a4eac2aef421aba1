"""A segmentation that reads the report: what FiLM tells it."""

import numpy as np
import pytest

from medvision.cross_validation import plan_cases, train_folds
from medvision.dataset import read_cases, write_cases
from medvision.io import read_volume
from medvision.metrics import dice
from medvision.outputs.nifti import save_nifti
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.plan_file import with_settings
from medvision.predictor import load_predictor
from medvision.study import Study

KINDS = {"bright": 100.0, "dark": -100.0}  # voxel value of the lesions
SHAPE, RADII = (32, 16, 16), (4.0, 4.0, 4.0)


def places(number):
    """Return the center of each kind's lesion: now one on the left, now the other."""
    kinds = list(KINDS) if number // 2 % 2 else list(KINDS)[::-1]
    return {kind: (x, 8.0, 7.0) for kind, x in zip(kinds, (7.0, 23.0), strict=True)}


def mask_of(number, kind):
    """Return where the lesion of one kind lies."""
    ball = Ellipsoid(places(number)[kind], RADII)
    return ellipsoid_phantom(SHAPE, np.eye(4), [ball])[1]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A bright and a dark lesion, of which the one that the report names is to be segmented."""
    folder, rows = tmp_path_factory.mktemp("kinds"), []
    for number in range(12):
        told = list(KINDS)[number % 2]
        balls = [Ellipsoid(at, RADII, value=KINDS[kind]) for kind, at in places(number).items()]
        image, _ = ellipsoid_phantom(SHAPE, np.eye(4), balls, noise=5.0, seed=number)
        save_nifti(image, folder / f"i{number}.nii.gz")
        save_nifti(mask_of(number, told), folder / f"m{number}.nii.gz")
        rows.append(
            {
                "case_id": f"c{number}",
                "image": f"i{number}.nii.gz",
                "mask": f"m{number}.nii.gz",
                "report": f"INDICATION: known {told} lesion.",
                "split": "test" if number > 9 else "train",
            }
        )
    return write_cases(folder / "cases.csv", rows)


def test_a_report_tells_a_segmentation_which_of_two_lesions_is_meant(table, tmp_path):
    named = {"class_names": ("lesion",), "name": "kinds", "architecture": "unet3d"}
    plan = plan_cases(table, fusion="film", show=False, **named)
    still = ("rotate", "scale", "shear", "warp", "shift", "coarse", "gamma", "bias", "level")
    settings = ["steps=120", "batch_size=4", "network.features=8,16", "learning_rate=0.01"]
    settings += ["roi_size=32,16,16", "text.width=16", "text.layers=1", "foreground=0", "ema=0.9"]
    settings += ["text.modality_dropout=0,0.1", *(f"augment.{what}=0" for what in still)]
    assert plan.train.augment.mirror == ""
    [run] = train_folds(
        table, tmp_path / "run", with_settings(plan, settings), device="cpu", show=False
    )
    predictor = load_predictor(run.model, "cpu")
    for case in read_cases(table, ("test",)):
        number, image = int(case.case_id[1:]), read_volume(case.images["image"])
        for told in KINDS:
            study = Study("a", {"image": image}, f"INDICATION: known {told} lesion.")
            found = predictor.predict(study).mask.array == 1
            for kind in KINDS:
                truth = mask_of(number, kind).array == 1
                assert (dice(found, truth) > 0.8) == (kind == told)
        (warning,) = predictor.predict(Study("a", {"image": image})).warnings
        assert "no report" in warning
