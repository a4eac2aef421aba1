"""MONAI's networks by name, imported when the first is asked for: `import monai` takes seconds."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def net_of_monai(name: str) -> Any:
    """Return what `monai.networks.nets` calls so, a class or a function; None if it has none."""
    return getattr(import_module("monai.networks.nets"), name, None)
