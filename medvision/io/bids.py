"""Side-car files beside an image: BIDS JSON and FSL's b-values and b-vectors.

Only what describes the series is taken, never a name, number or date. Knows nothing of images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from medvision.from_json import parse_json
from medvision.geometry import Affine, spacing_of

MODALITIES = ("CR", "CT", "DX", "MG", "MR", "NM", "PT", "US", "XA")
MAX_BYTES = 16 << 20  # of a side-car
MAX_WORDS = 64  # characters, a DICOM LO's

Directions: TypeAlias = tuple[tuple[float, float, float], ...]


def read_sidecar(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the JSON object in a file, empty when there is none, and a note when it is damaged."""
    if not path.is_file():
        return {}, []
    try:
        if path.stat().st_size > MAX_BYTES:
            return {}, [f"The side-car {path.name} is too large to be one; it is ignored."]
        found = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return {}, [f"The side-car {path.name} is not valid JSON; it is ignored."]
    return (found, []) if isinstance(found, dict) else ({}, [])


def series_words(sidecar: dict[str, Any]) -> tuple[str, str]:
    """Return the modality and the series description of a BIDS side-car; empty where unknown."""
    modality = sidecar.get("Modality")
    words = [sidecar.get(key) for key in ("SeriesDescription", "ProtocolName")]
    said = next((w.strip() for w in words if isinstance(w, str) and w.strip()), "")
    clean = "".join(c if c.isprintable() else " " for c in said)[:MAX_WORDS]
    return modality if modality in MODALITIES else "", clean


def read_gradients(
    stem: Path, count: int, affine: Affine
) -> tuple[tuple[float, ...], Directions, list[str]]:
    """Read ``.bval`` and ``.bvec`` beside a diffusion series.

    FSL's b-vectors are in voxel axes, with x negated when the affine's determinant is positive
    (FSL FDT FAQ, "What conventions do the bvecs use?"; BIDS, "Diffusion imaging data"). They are
    turned into the world along the voxel axes.

    Parameters
    ----------
    stem : Path
        The image's path without its suffix.
    count : int
        Number of channels.
    affine : ndarray, (4, 4)

    Returns
    -------
    b_values : tuple of float
        s/mm², one a channel; empty when there are none that fit.
    b_vectors : tuple of (x, y, z)
        Unit directions in RAS, zeros where nothing is weighted; empty as above.
    notes : list of str
    """
    values_at, vectors_at = (stem.with_name(f"{stem.name}.{end}") for end in ("bval", "bvec"))
    values, vectors = _numbers(values_at), _numbers(vectors_at)
    if values is None:
        unread = values_at.is_file()
        return (), (), [f"{values_at.name} does not hold numbers; it is ignored."] if unread else []
    b_values = values.ravel()
    if b_values.size != count or not np.isfinite(b_values).all() or (b_values < 0).any():
        return (), (), [f"{values_at.name} does not fit the {count} channels; it is ignored."]
    if vectors is not None and vectors.shape == (count, 3) != (3, 3):
        vectors = vectors.T  # some tools write one direction a line
    if vectors is None or vectors.shape != (3, count) or not np.isfinite(vectors).all():
        unfit = [f"{vectors_at.name} does not fit the {count} channels; it is ignored."]
        return tuple(b_values.tolist()), (), unfit if vectors_at.is_file() else []
    axes = affine[:3, :3] / spacing_of(affine)
    sign = -1.0 if np.linalg.det(axes) > 0 else 1.0
    world = axes @ (vectors * [[sign], [1.0], [1.0]])  # (3, C)
    length = np.linalg.norm(world, axis=0)
    unit = np.where(length > 0, world / np.where(length > 0, length, 1.0), 0.0) + 0.0  # no -0
    directions = tuple((x, y, z) for x, y, z in unit.T.tolist())
    return tuple(b_values.tolist()), directions, []


def _numbers(path: Path) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """Return the table of numbers in a text file, or None when it holds none."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        return np.array([line for line in lines if line], dtype=np.float64, ndmin=2)
    except (OSError, ValueError):
        return None
