"""medvision: from a folder of scans to results a person can check.

The public names below are resolved when first used, so that importing medvision loads neither
torch nor MONAI.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medvision.ablate import ablate as _ablate
    from medvision.batch import run_batch as run_batch
    from medvision.compare import compare_masks as compare_masks
    from medvision.cross_validation import plan_cases as plan_cases
    from medvision.cross_validation import train_folds as train_folds
    from medvision.dataset import Case as Case
    from medvision.dataset import patients_of as patients_of
    from medvision.dataset import read_cases as read_cases
    from medvision.dataset import write_cases as write_cases
    from medvision.differences import model_differences as model_differences
    from medvision.differences import subgroup_figures as subgroup_figures
    from medvision.errors import MedvisionError as MedvisionError
    from medvision.evaluate import evaluate as _evaluate
    from medvision.evaluate import mask_scores as mask_scores
    from medvision.explain import explain as _explain
    from medvision.explanation import Explanation as Explanation
    from medvision.extras import dataset_builder as dataset_builder
    from medvision.geometry import Box as Box
    from medvision.geometry import parse_box as parse_box
    from medvision.io import find_studies as find_studies
    from medvision.io import pair_reports as pair_reports
    from medvision.io import read_labels as read_labels
    from medvision.io import read_report as read_report
    from medvision.io import read_study as read_study
    from medvision.io import read_volume as read_volume
    from medvision.jobs import plan_jobs as plan_jobs
    from medvision.metatensor import from_metatensor as from_metatensor
    from medvision.metatensor import to_metatensor as to_metatensor
    from medvision.models.fusion import FusionHead as FusionHead
    from medvision.outputs import write_outputs as write_outputs
    from medvision.outputs.explanation import save_explanation as save_explanation
    from medvision.outputs.nifti import save_nifti as save_nifti
    from medvision.outputs.overlay import draw_result as draw_result
    from medvision.plan_file import Plan as Plan
    from medvision.plan_file import with_settings as with_settings
    from medvision.prediction import Prediction as Prediction
    from medvision.predictor import Predictor as Predictor
    from medvision.predictor import load_predictor as load_predictor
    from medvision.render import heat_panels as heat_panels
    from medvision.render import overlay_png as overlay_png
    from medvision.report_masking import mask_words as mask_words
    from medvision.score_tables import score_table as score_table
    from medvision.spec import InputSpec as InputSpec
    from medvision.spec import ModelSpec as ModelSpec
    from medvision.statistics import Figure as Figure
    from medvision.statistics import summarize as summarize
    from medvision.study import Study as Study
    from medvision.study import StudyRef as StudyRef
    from medvision.train_config import TrainConfig as TrainConfig
    from medvision.volume import Volume as Volume

    evaluate_cases = _evaluate
    explain_study = _explain
    run_ablation = _ablate

_HOMES = {
    "Box": "geometry",
    "Case": "dataset",
    "Explanation": "explanation",
    "Figure": "statistics",
    "FusionHead": "models.fusion",
    "InputSpec": "spec",
    "MedvisionError": "errors",
    "ModelSpec": "spec",
    "Plan": "plan_file",
    "Prediction": "prediction",
    "Predictor": "predictor",
    "Study": "study",
    "StudyRef": "study",
    "TrainConfig": "train_config",
    "Volume": "volume",
    "compare_masks": "compare",
    "dataset_builder": "extras",
    "draw_result": "outputs.overlay",
    "evaluate_cases": "evaluate",
    "explain_study": "explain",
    "find_studies": "io",
    "from_metatensor": "metatensor",
    "heat_panels": "render",
    "load_predictor": "predictor",
    "mask_scores": "evaluate",
    "mask_words": "report_masking",
    "model_differences": "differences",
    "overlay_png": "render",
    "pair_reports": "io",
    "parse_box": "geometry",
    "patients_of": "dataset",
    "plan_cases": "cross_validation",
    "plan_jobs": "jobs",
    "read_cases": "dataset",
    "read_labels": "io",
    "read_report": "io",
    "read_study": "io",
    "read_volume": "io",
    "run_ablation": "ablate",
    "run_batch": "batch",
    "save_explanation": "outputs.explanation",
    "save_nifti": "outputs.nifti",
    "score_table": "score_tables",
    "subgroup_figures": "differences",
    "summarize": "statistics",
    "to_metatensor": "metatensor",
    "train_folds": "cross_validation",
    "with_settings": "plan_file",
    "write_cases": "dataset",
    "write_outputs": "outputs",
}
# Functions that are called as their modules: such a name of the package is the module.
_CALLED = {
    "evaluate_cases": "evaluate",
    "explain_study": "explain",
    "run_ablation": "ablate",
}

__version__ = "0.1.0"
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'medvision' has no attribute {name!r}")
    value = getattr(import_module(f"medvision.{_HOMES[name]}"), _CALLED.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
