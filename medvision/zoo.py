"""A name to a model folder: bundled with the package, or anywhere on disk."""

from __future__ import annotations

from pathlib import Path

from medvision.checkpoint import SPEC, load_spec
from medvision.errors import SpecError

BUNDLED = Path(__file__).parent / "weights"


def bundled_models() -> dict[str, Path]:
    """Return the models that ship with medvision, name → folder; those that segment come first."""
    folders = sorted(spec.parent for spec in BUNDLED.glob(f"*/{SPEC}"))
    folders.sort(key=lambda folder: load_spec(folder).task != "segmentation")
    return {folder.name: folder for folder in folders}


def find_model(model: str | Path) -> Path:
    """Return the folder of a model given by name or path.

    Raises
    ------
    SpecError
        When there is neither; the text lists the bundled names.
    """
    bundled = bundled_models()
    if str(model) in bundled:
        return bundled[str(model)]
    folder = Path(model)
    if folder.is_dir():
        return folder
    raise SpecError(
        f"No model {str(model)!r}: neither a bundled name ({', '.join(bundled) or 'none'}) "
        "nor a model folder."
    )
