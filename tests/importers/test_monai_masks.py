"""Masks of MONAI bundles are MONAI's own, on the scan's own grid."""

import numpy as np
import pytest
from monai_bundles import answer_of, monai_answer, write_volume
from monai_zoo import KINDS

from medvision.importers.monai_bundle import read_monai_bundle


def dice(ours, theirs):
    """The lowest over labels."""
    labels = (set(np.unique(ours)) | set(np.unique(theirs))) - {0}
    pairs = [(ours == label, theirs == label) for label in labels]
    return min(2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_those_of_monai(tmp_path, kind):
    build, volumes = KINDS[kind]
    root = build(tmp_path)
    imported = read_monai_bundle(root)
    spec = imported.spec
    files = [write_volume(tmp_path / f"{n}.nii.gz", one) for n, one in enumerate(volumes)]
    # this one brings labels back by the nearest voxel, medvision probabilities, and says so
    theirs = monai_answer(root, files, linear=kind == "whole body")[0]
    ours = answer_of(imported, volumes).mask.array[0]
    if kind == "brats":  # numbered 4, 1, 2 by the bundle; here whole, core, enhancing
        theirs = np.select([theirs == 2, theirs == 1, theirs == 4], [1, 2, 3])
    found = dice(ours, theirs)
    print(f"{kind}: Dice {found:.4f}, {np.bincount(ours.ravel())}")
    assert set(np.unique(theirs)) == set(range(len(spec.class_names) + 1))
    assert found >= 0.99
