"""MetaImage headers, attached (.mha) and detached (.mhd).

Rules from https://itk.org/Wiki/ITK/MetaIO/Documentation. Knows nothing of other formats.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from medvision.errors import DecodeError
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

Numbers: TypeAlias = NDArray[np.float64]

TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",  # four bytes, whatever the machine
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
MODALITIES = {"MET_MOD_CT": "CT", "MET_MOD_MR": "MR", "MET_MOD_NM": "NM", "MET_MOD_US": "US"}
# Words that mean one thing
DIRECTION = ("TransformMatrix", "Rotation", "Orientation")
ORIGIN = ("Offset", "Position", "Origin")
SPACING = ("ElementSpacing", "ElementSize")
BIG_ENDIAN = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")


def read_meta_header(path: Path) -> ItkHeader:
    """Read the header of a MetaImage and check that its data files can hold what it promises.

    Raises
    ------
    DecodeError
        When it is no image's header, or asks for what is not read (ASCII, 5-D), or its data lie
        elsewhere or are cut short.
    GeometryError
        When its axes make no grid.
    ValueError, KeyError
        When a field makes no sense.
    """
    fields, names, end = _fields(path)
    count = int(fields["NDims"])
    shape = tuple(int(word) for word in fields["DimSize"].split())
    kind = TYPES.get(fields["ElementType"])
    if kind is None or count not in (2, 3, 4) or _true(fields, "BinaryData", "True") is False:
        raise DecodeError(
            f"{path} holds {fields['ElementType']} values on {count} axes, "
            f"BinaryData {fields.get('BinaryData', 'True')}; binary numbers on 2 to 4 can be read."
        )
    if len(shape) != count or min(shape) < 1:
        raise ValueError(f"DimSize {fields['DimSize']!r} of NDims {count}")
    big = any(_true(fields, word) for word in BIG_ENDIAN)
    dtype = np.dtype(kind).newbyteorder(">" if big else "<")
    vector = int(fields.get("ElementNumberOfChannels", 1))
    axis = 0 if vector != 1 else 3 if count == 4 else None
    if vector != 1 and count == 4:
        raise DecodeError(
            f"{path} has {vector} numbers a voxel on 4 axes; one of both can be read."
        )
    stored = (vector, *shape) if vector != 1 else shape
    files, start = _files(path, fields, names, end)
    packing = "zlib" if _true(fields, "CompressedData") else ""
    voxels = split_over(files, stored, dtype, packing, int(fields.get("HeaderSize", 0)), start)
    notes = []
    channels = "time" if count == 4 and shape[3] > 1 else ""
    if vector == 3 and kind == "u1":
        channels = "color"
    elif vector != 1:
        notes.append(f"Each voxel holds {vector} numbers; they are channels.")
    if not any(word in fields for word in DIRECTION):
        notes.append(f"The file says nothing of orientation; {GUESSED}.")
    turn = _numbers(fields, DIRECTION, np.eye(count).ravel()).reshape(count, count).T
    if count == 4 and (turn[:3, 3].any() or turn[3, :3].any()):
        raise DecodeError(f"{path} mixes its fourth axis with space; that cannot be read.")
    spacing = _numbers(fields, SPACING, np.ones(count))
    grid = min(count, 3)
    steps = (turn * spacing)[:grid, :grid]
    affine = place(steps, _numbers(fields, ORIGIN, np.zeros(count))[:grid], LPS_TO_RAS)
    known = any(word in fields for word in SPACING)
    if not known:
        notes.append(UNSIZED)
    modality = MODALITIES.get(fields.get("Modality", ""), "")
    return ItkHeader(voxels, stored, axis, channels, affine, known, modality, fields, tuple(notes))


def _fields(path: Path) -> tuple[dict[str, str], list[str], int]:
    """Return the fields, the lines after them, and the byte behind the last field."""
    lines, head = header_lines(path)
    fields: dict[str, str] = {}
    end = 0
    for number, line in enumerate(head.split(b"\n")):
        end += len(line) + 1
        name, equals, value = line.decode("utf-8", "replace").partition("=")
        if not equals:
            break
        fields[name.strip()] = value.strip()
        if name.strip() == "ElementDataFile":
            return fields, lines[number + 1 :], end
    raise DecodeError(f"{path} is not a readable MetaImage: its header has no ElementDataFile.")


def _files(
    path: Path, fields: dict[str, str], names: list[str], end: int
) -> tuple[list[Path], int]:
    """Return the data files and the byte of each at which data begin."""
    words = fields["ElementDataFile"].split()
    if words[:1] == ["LOCAL"]:
        return [path], end
    if words[:1] == ["LIST"]:
        return [data_file(path, name.strip()) for name in names if name.strip()], 0
    if words and "%" in words[0] and len(words) >= 4:
        return numbered_files(path, words), 0
    return [data_file(path, fields["ElementDataFile"])], 0


def _true(fields: dict[str, str], word: str, unless: str = "False") -> bool:
    return fields.get(word, unless)[:1] in ("T", "t", "1")


def _numbers(fields: dict[str, str], words: tuple[str, ...], unless: Numbers) -> Numbers:
    """Return the numbers of the first word that is there."""
    text = next((fields[word] for word in words if word in fields), None)
    found = unless if text is None else np.array(text.split(), dtype=np.float64)
    if found.shape != unless.shape:
        raise ValueError(f"{words[0]} {text!r}")
    return found
