"""The picture that a person checks a result by."""

from __future__ import annotations

from pathlib import Path

from PIL import PngImagePlugin

from medvision.files import atomic_path
from medvision.prediction import Prediction
from medvision.render import overlay_png, scores_png
from medvision.study import Study


def save_overlay(prediction: Prediction, study: Study, path: Path) -> Path:
    """Write planes through the mask's center, or the middle and the classes' bars, as PNG."""
    title = f"{prediction.case_id} · {prediction.model}"
    scan, region, warnings = study.image, prediction.region, prediction.warnings
    if prediction.mask is not None:
        names = prediction.class_names
        image = overlay_png(scan, prediction.mask, names, title, region, warnings)
    else:
        image = scores_png(scan, prediction.scores or {}, title, region, warnings)
    about = PngImagePlugin.PngInfo()
    about.add_text("Description", f"{prediction.model} on {prediction.case_id}. Research use only.")
    with atomic_path(path) as part:
        image.save(part, format="PNG", pnginfo=about)
    return path
