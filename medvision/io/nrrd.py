"""NRRD headers: NRRD0001 to NRRD0005, attached and detached.

Rules from the format's definition, https://teem.sourceforge.net/nrrd/format.html; field numbers
below are its sections. Knows nothing of other formats.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvision.errors import DecodeError
from medvision.geometry import Affine
from medvision.io.itk_header import (
    GUESSED,
    LPS_TO_RAS,
    UNSIZED,
    ItkHeader,
    data_file,
    header_lines,
    numbered_files,
    place,
    split_over,
)

MAGIC = re.compile(r"NRRD000[1-5]\Z")
TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        *("longlong", "long long", "long long int", "signed long long"),
        *("signed long long int", "int64", "int64_t"),
    ),
    "u8": (
        *("ulonglong", "unsigned long long", "unsigned long long int"),
        *("uint64", "uint64_t"),
    ),
    "f4": ("float",),
    "f8": ("double",),
}
DTYPES = {word: np.dtype(code) for code, words in TYPES.items() for word in words}
PACKINGS = {"raw": "", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
GRID_KINDS = ("domain", "space")
COLOR_KINDS = ("rgb-color", "rgba-color", "3-color", "4-color")
REPEATS = ("list", "time", "none", "???", "")  # kinds of an axis along which images follow
MM_PER_UNIT = {"mm": 1.0, "millimeter": 1.0, "um": 0.001, "μm": 0.001, "cm": 10.0, "m": 1000.0}
SPACES = {  # to RAS
    "right-anterior-superior": np.eye(4),
    "ras": np.eye(4),
    "left-anterior-superior": np.diag([-1.0, 1, 1, 1]),
    "las": np.diag([-1.0, 1, 1, 1]),
    "left-posterior-superior": LPS_TO_RAS,
    "lps": LPS_TO_RAS,
}


def read_nrrd_header(path: Path) -> ItkHeader:
    """Read the header of a NRRD file and check that its data files can hold what it promises.

    Raises
    ------
    DecodeError
        When it is no NRRD header, or asks for what is not read (ASCII, blocks, 5-D), or its data
        lie elsewhere or are cut short.
    GeometryError
        When its axes make no grid.
    ValueError, KeyError
        When a field makes no sense.
    """
    fields, names, end = _fields(path)
    shape = tuple(int(word) for word in fields["sizes"].split())
    if len(shape) != int(fields["dimension"]) or min(shape) < 1:
        raise ValueError(f"sizes {fields['sizes']!r} of dimension {fields['dimension']!r}")
    dtype = _dtype(path, fields)
    packing = PACKINGS.get(fields["encoding"].lower())
    if packing is None or int(fields.get("line skip", 0)):
        raise DecodeError(
            f"{path} has encoding {fields['encoding']!r} and line skip "
            f"{fields.get('line skip', 0)}; raw, gzip and bzip2 without line skip can be read."
        )
    files, start = _files(path, fields, names, end)
    voxels = split_over(files, shape, dtype, packing, int(fields.get("byte skip", 0)), start)
    kinds, grid_axes = _axes(path, fields, len(shape))
    others = [axis for axis in range(len(shape)) if axis not in grid_axes]
    affine, known, notes = _affine(fields, grid_axes)
    channels = ""
    if others and shape[others[0]] > 1:
        channels, told = _meaning(fields, kinds[others[0]], dtype, shape[others[0]])
        notes += told
    axis = others[0] if others else None
    return ItkHeader(voxels, shape, axis, channels, affine, known, "", fields, tuple(notes))


def _fields(path: Path) -> tuple[dict[str, str], list[str], int]:
    """Return fields by name in small letters, keys as written, data files, and where data begin."""
    lines, head = header_lines(path)
    if not lines or not MAGIC.match(lines[0]):
        raise DecodeError(f"{path} is not a readable NRRD file: it holds no NRRD header.")
    fields: dict[str, str] = {}
    end = re.search(rb"\r?\n\r?\n", head)  # an empty line ends an attached header
    text = head[: end.start()].decode("utf-8", "replace").splitlines() if end else lines
    for number, line in enumerate(text[1:], 2):
        if line.startswith("#"):
            continue
        key, value = re.match(r"([^:]*):=(.*)", line), re.match(r"([^:]*):\s+(.*)", line)
        if key:
            fields[key[1]] = key[2]
        elif value:
            name = value[1].strip().lower().replace("datafile", "data file")
            fields[name] = value[2].strip()
            if name == "data file" and value[2].split()[:1] == ["LIST"]:
                return fields, text[number:], 0
    return fields, [], end.end() if end else len(head)


def _files(
    path: Path, fields: dict[str, str], names: list[str], end: int
) -> tuple[list[Path], int]:
    """Return the data files and the byte of each at which data begin."""
    words = fields.get("data file", "").split()
    if not words:
        return [path], end
    if words[0] == "LIST":
        return [data_file(path, name.strip()) for name in names if name.strip()], 0
    if "%" in words[0] and len(words) >= 4:
        return numbered_files(path, words), 0
    return [data_file(path, fields["data file"])], 0


def _dtype(path: Path, fields: dict[str, str]) -> np.dtype[Any]:
    dtype = DTYPES.get(fields["type"].lower())
    if dtype is None:
        raise DecodeError(f"{path} holds values of type {fields['type']!r}; numbers are needed.")
    if dtype.itemsize == 1:
        return dtype
    order = fields["endian"].lower()
    return dtype.newbyteorder({"little": "<", "big": ">"}[order])  # type: ignore[arg-type]


def _axes(path: Path, fields: dict[str, str], count: int) -> tuple[list[str], list[int]]:
    """Return the kind of each axis, and which axes are the grid's."""
    kinds = [kind.lower() for kind in fields.get("kinds", "").split()] or [""] * count
    if "space directions" in fields:
        grid = [axis for axis, step in enumerate(_vectors(fields["space directions"])) if step]
    elif "kinds" in fields:
        grid = [axis for axis, kind in enumerate(kinds) if kind in GRID_KINDS]
    else:
        grid = list(range(min(count, 3)))
    if len(kinds) != count or len(grid) not in (2, 3) or count - len(grid) > 1:
        raise DecodeError(
            f"{path} has {count} axes, {len(grid)} of them in space; two or three in space, and "
            "one of channels at most, can be read."
        )
    return kinds, grid


def _vectors(text: str) -> list[tuple[float, ...] | None]:
    """Read ``(1,0,0) none (0,1,0)``; a vector of NaN is none."""
    found: list[tuple[float, ...] | None] = []
    for vector in re.findall(r"none|\([^)]*\)", text.lower()):
        numbers = tuple(float(n) for n in vector.strip("()").split(",")) if vector[0] == "(" else ()
        found.append(numbers if numbers and not np.isnan(numbers).all() else None)
    return found


def _affine(fields: dict[str, str], axes: list[int]) -> tuple[Affine, bool, list[str]]:
    """Return the affine to RAS mm, whether the spacing is known, and notes."""
    notes: list[str] = []
    space = fields.get("space", "").lower()
    to_ras = SPACES.get(space)
    if to_ras is None:
        says = f"space {space!r}" if space else "nothing of orientation"
        notes.append(f"The file says {says}; {GUESSED}.")
        to_ras = LPS_TO_RAS
    known = True
    if "space directions" in fields:
        vectors = _vectors(fields["space directions"])
        steps = np.array([vectors[axis] for axis in axes], dtype=np.float64).T
        unit = re.findall(r'"([^"]*)"', fields.get("space units", "")) or ["mm"]
    else:
        sizes = [float(word) for word in fields.get("spacings", "").split()]
        sizes = [sizes[axis] for axis in axes] if sizes else [np.nan] * len(axes)
        known = bool(np.isfinite(sizes).all())
        steps = np.diag(np.nan_to_num(sizes, nan=1.0))
        written = re.findall(r'"([^"]*)"', fields.get("units", ""))
        unit = [written[axes[0]] or "mm"] if len(written) > axes[0] else ["mm"]
    origin: NDArray[np.float64] = np.zeros(len(steps))
    if "space origin" in fields:
        origin = np.array(_vectors(fields["space origin"])[0], dtype=np.float64)
    scale = MM_PER_UNIT.get(unit[0].lower())
    if not known:
        notes.append(UNSIZED)
    if scale is None:
        notes.append(f"The header counts in {unit[0]!r}, taken as mm.")
    elif scale != 1:
        notes.append(f"The header counts in {unit[0]}; converted to mm.")
    return place(steps * (scale or 1.0), origin * (scale or 1.0), to_ras), known, notes


def _meaning(
    fields: dict[str, str], kind: str, dtype: np.dtype[Any], count: int
) -> tuple[str, list[str]]:
    """Say what the axis of channels means."""
    if kind in COLOR_KINDS or (count == 3 and dtype == np.uint8 and kind in ("vector", "")):
        return "color", []
    if fields.get("modality") == "DWMRI":
        return "diffusion", []
    if kind in REPEATS:
        return "time", []
    return "", [f"Each voxel holds {count} numbers (kind {kind}); they are channels."]
