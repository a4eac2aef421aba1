"""The MNI152 average T1 brain (ICBM 2009a nonlinear symmetric), out of the package nilearn.

Source: Fonov et al., NeuroImage 2011; the copy inside nilearn is resampled to 1 mm and needs no
download.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medvision.errors import require_extra
from medvision.outputs.nifti import save_nifti
from medvision.volume import SeriesInfo, Volume


def build(out: Path, resolution: int = 1) -> Path:
    """Write the template as NIfTI, at `resolution` mm; returns the path."""
    require_extra("nilearn", "demo", "The MNI152 template")
    from nilearn.datasets import load_mni152_template

    image = load_mni152_template(resolution=resolution)
    array = np.asarray(image.dataobj, dtype=np.float32)
    info = SeriesInfo(modality="MR", description="MNI152 T1 average", space="mni")
    return save_nifti(Volume(array[None], np.asarray(image.affine, np.float64), info), out)
