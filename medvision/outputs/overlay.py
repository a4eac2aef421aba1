"""The picture that a person checks a result by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, PngImagePlugin

from medvision.files import atomic_path
from medvision.prediction import Prediction
from medvision.render import overlay_png, scores_png
from medvision.study import Study


def save_overlay(prediction: Prediction, study: Study, path: Path) -> Path:
    """Write planes through the mask's center, or the middle and the classes' bars, as PNG."""
    title = f"{prediction.case_id} · {prediction.model}"
    image = draw_result(prediction, study, title, prediction.warnings)
    about = PngImagePlugin.PngInfo()
    about.add_text("Description", f"{prediction.model} on {prediction.case_id}. Research use only.")
    with atomic_path(path) as part:
        image.save(part, format="PNG", pnginfo=about)
    return path


def draw_result(
    prediction: Prediction, study: Study, title: str, warnings: Sequence[str]
) -> Image.Image:
    """Return the picture, with what is to be written on it."""
    scan, region = study.image, prediction.region
    if prediction.mask is not None:
        names = prediction.class_names
        return overlay_png(scan, prediction.mask, names, title, region, warnings)
    return scores_png(scan, prediction.scores or {}, title, region, warnings)
