"""The picture that a person checks a mask by."""

from __future__ import annotations

from pathlib import Path

from PIL import PngImagePlugin

from medvision.files import atomic_path
from medvision.prediction import Prediction
from medvision.render import overlay_png
from medvision.study import Study


def save_overlay(prediction: Prediction, study: Study, path: Path) -> Path:
    """Write three planes through the mask's center as PNG."""
    image = overlay_png(
        study.image,
        prediction.mask,
        prediction.class_names,
        title=f"{prediction.case_id} · {prediction.model}",
        region=prediction.region,
        warnings=prediction.warnings,
    )
    about = PngImagePlugin.PngInfo()
    about.add_text("Description", f"{prediction.model} on {prediction.case_id}. Research use only.")
    with atomic_path(path) as part:
        image.save(part, format="PNG", pnginfo=about)
    return path
