"""The picture that a person checks a result by."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, PngImagePlugin

from medvision.files import atomic_path
from medvision.prediction import Prediction
from medvision.render import overlay_png, scores_png
from medvision.review import other_warnings, review_note
from medvision.study import Study


def save_overlay(prediction: Prediction, study: Study, path: Path) -> Path:
    """Write planes through the mask's center, or the middle and the classes' bars, as PNG."""
    title = f"{prediction.case_id} · {prediction.model}"
    image = draw_result(prediction, study, title)
    about = PngImagePlugin.PngInfo()
    about.add_text("Description", f"{prediction.model} on {prediction.case_id}. Research use only.")
    with atomic_path(path) as part:
        image.save(part, format="PNG", pnginfo=about)
    return path


def draw_result(prediction: Prediction, study: Study, title: str, told: bool = True) -> Image.Image:
    """Return the picture with a title, and where `told` with why the result may be wrong."""
    scan, region = study.image, prediction.region
    warnings = other_warnings(prediction) if told else ()
    review = review_note(prediction) if told else ""
    if prediction.mask is None:
        return scores_png(scan, prediction.scores or {}, title, region, warnings, review=review)
    return overlay_png(
        scan,
        prediction.mask,
        prediction.class_names,
        title,
        region,
        warnings,
        confidence=prediction.confidence,
        review=review,
    )
