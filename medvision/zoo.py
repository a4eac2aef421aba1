"""A name to a model folder: bundled with the package, or anywhere on disk."""

from __future__ import annotations

from pathlib import Path

from medvision.checkpoint import SPEC
from medvision.errors import SpecError

BUNDLED = Path(__file__).parent / "weights"


def bundled_models() -> dict[str, Path]:
    """Return the models that ship with medvision, name → folder."""
    return {spec.parent.name: spec.parent for spec in sorted(BUNDLED.glob(f"*/{SPEC}"))}


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
