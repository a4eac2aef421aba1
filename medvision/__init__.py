"""medvision: from a folder of scans to results a person can check.

The public names below are resolved when first used, so that importing medvision loads neither
torch nor MONAI.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medvision.batch import run_batch as run_batch
    from medvision.errors import MedvisionError as MedvisionError
    from medvision.geometry import Box as Box
    from medvision.geometry import parse_box as parse_box
    from medvision.io import find_studies as find_studies
    from medvision.io import pair_reports as pair_reports
    from medvision.io import read_labels as read_labels
    from medvision.io import read_report as read_report
    from medvision.io import read_study as read_study
    from medvision.io import read_volume as read_volume
    from medvision.jobs import plan_jobs as plan_jobs
    from medvision.models.fusion import FusionHead as FusionHead
    from medvision.outputs import write_outputs as write_outputs
    from medvision.outputs.nifti import save_nifti as save_nifti
    from medvision.prediction import Prediction as Prediction
    from medvision.predictor import Predictor as Predictor
    from medvision.predictor import load_predictor as load_predictor
    from medvision.spec import InputSpec as InputSpec
    from medvision.spec import ModelSpec as ModelSpec
    from medvision.study import Study as Study
    from medvision.study import StudyRef as StudyRef
    from medvision.train_config import TrainConfig as TrainConfig
    from medvision.volume import Volume as Volume

_HOMES = {
    "Box": "geometry",
    "FusionHead": "models.fusion",
    "InputSpec": "spec",
    "MedvisionError": "errors",
    "ModelSpec": "spec",
    "Prediction": "prediction",
    "Predictor": "predictor",
    "Study": "study",
    "StudyRef": "study",
    "TrainConfig": "train_config",
    "Volume": "volume",
    "find_studies": "io",
    "load_predictor": "predictor",
    "parse_box": "geometry",
    "plan_jobs": "jobs",
    "pair_reports": "io",
    "read_labels": "io",
    "read_report": "io",
    "read_study": "io",
    "read_volume": "io",
    "run_batch": "batch",
    "save_nifti": "outputs.nifti",
    "write_outputs": "outputs",
}

__version__ = "0.1.0"
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'medvision' has no attribute {name!r}")
    value = getattr(import_module(f"medvision.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
