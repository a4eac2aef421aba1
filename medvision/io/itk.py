"""NRRD and MetaImage files to Volumes, and 3D Slicer's segmentations with their names.

Read by medvision's own few lines, because ITK's readers crash the whole process on a damaged
header and open any file that a header names. Knows nothing of other formats.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from medvision.errors import DecodeError, GeometryError
from medvision.geometry import Affine, Voxels
from medvision.io.itk_header import ItkHeader
from medvision.io.metaimage import read_meta_header
from medvision.io.nrrd import read_nrrd_header
from medvision.io.values import plain_values, told_odd
from medvision.volume import Label, SeriesInfo, Volume

READERS: dict[str, Callable[[Path], ItkHeader]] = {
    ".nrrd": read_nrrd_header,
    ".nhdr": read_nrrd_header,
    ".mha": read_meta_header,
    ".mhd": read_meta_header,
}


def is_itk(path: Path) -> bool:
    """Tell by its name whether a file is NRRD or MetaImage."""
    return path.suffix.lower() in READERS


def read_itk(path: Path) -> Volume:
    """Read a NRRD (``.nrrd``, ``.nhdr``) or MetaImage (``.mha``, ``.mhd``) file.

    Axes keep their directions, oblique and left-handed ones too. Vectors, times and layers become
    channels: ``"color"`` for three bytes a voxel. A segmentation of 3D Slicer gives
    ``info.labels``; with several layers, each segment becomes a channel of 0 and 1. An
    uncompressed file in the machine's byte order is mapped into memory and not copied.

    Raises
    ------
    DecodeError
        When the file is empty, cut short, damaged, or asks for what is not read; or when its data
        file is missing or outside its folder.
    GeometryError
        When its axes make no grid.
    """
    header = open_itk(path)
    array = _values(header)
    segments = _segments(header)
    labels = tuple(label for _, label in segments)
    channels = header.channels
    if segments and len(array) > 1:
        array = np.stack([array[layer] == label.value for layer, label in segments])
        array = array.view(np.uint8)
        labels = tuple(
            Label(number, label.name, label.color, label.code)
            for number, label in enumerate(labels, 1)
        )
        channels = "segment"
    info = SeriesInfo(
        modality=header.modality,
        description=path.stem,
        unit="HU" if header.modality == "CT" else "",
        channels=channels,
        labels=labels,
        spacing_known=header.spacing_known,
        sources=tuple(dict.fromkeys((path, *(one.path for one in header.voxels)))),
        notes=(*header.notes, *told_odd(array)),
    )
    return Volume(array, header.affine, info)


def itk_facts(path: Path) -> tuple[tuple[int, int, int, int], Affine, list[str]]:
    """Return shape (C, I, J, K), affine and notes from the header alone.

    Raises
    ------
    DecodeError, GeometryError
        As `read_itk`, but for the voxels.
    """
    header = open_itk(path)
    count, i, j, k = header.grid
    segments = _segments(header)
    if segments and count > 1:
        count = len(segments)
    elif header.channels == "color":
        count = min(count, 3)
    return (count, i, j, k), header.affine, list(header.notes)


def open_itk(path: Path) -> ItkHeader:
    """Read a header, every error of it a `DecodeError` or `GeometryError` that names the file."""
    try:
        with np.errstate(all="ignore"):  # what overflows is refused as not finite
            return READERS[path.suffix.lower()](path)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from None
    except KeyError as error:
        raise DecodeError(f"{path} lacks a header field, or gives it no sense: {error}.") from None
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise DecodeError(f"{path} has a header that makes no sense: {error}.") from None
    except OSError as error:
        raise DecodeError(f"{path} could not be read: {error.strerror}.") from None


def _values(header: ItkHeader) -> Voxels:
    """Return the voxels (C, I, J, K), of a type that networks take."""
    parts = [one.read() for one in header.voxels]
    flat = parts[0] if len(parts) == 1 else np.concatenate(parts)
    array = flat.reshape(header.shape, order="F")
    count, i, j, k = header.grid
    if header.channel_axis is None:
        array = array[None]
    array = np.moveaxis(array, header.channel_axis or 0, 0).reshape(count, i, j, k, order="A")
    if header.channels == "color":
        array = array[:3]  # alpha is dropped
    return plain_values(array)


def _segments(header: ItkHeader) -> list[tuple[int, Label]]:
    """Return the segments of a 3D Slicer segmentation, each with its layer.

    Keys as Slicer writes them: https://slicer.readthedocs.io, "Segmentations", "Segmentation
    file (.seg.nrrd)". Before 5.0 there were no layers: each segment was one, of value 1.
    """
    layers = header.grid[0]
    found = []
    for number in range(sum(name.endswith("_ID") for name in header.fields)):
        words = {
            key: header.fields.get(f"Segment{number}_{key}", "")
            for key in ("ID", "Name", "LabelValue", "Layer", "Color", "Tags")
        }
        if not words["ID"]:
            continue
        layer = int(words["Layer"] or (number if layers > 1 else 0))
        value = int(words["LabelValue"] or 1)
        if not 0 <= layer < layers:
            raise DecodeError(
                f"{header.voxels[0].path}: segment {number} lies in layer {layer} of {layers}."
            )
        name = words["Name"] or words["ID"]
        found.append((layer, Label(value, name, _color(words["Color"]), _code(words["Tags"]))))
    return found


def _color(text: str) -> tuple[int, int, int] | None:
    """Read ``"0.5 0.68 0.5"``, shares of full red, green and blue."""
    try:
        red, green, blue = (round(255 * min(1.0, max(0.0, float(word)))) for word in text.split())
    except (ValueError, OverflowError):
        return None
    return red, green, blue


def _code(tags: str) -> str:
    """Return the coded type of a segment from its terminology entry, such as ``"SCT:10200004"``.

    An entry reads ``context~category~type~modifier~…``, each a ``scheme^value^meaning``.
    """
    entry = tags.partition("TerminologyEntry:")[2].partition("|")[0].split("~")
    scheme, _, rest = entry[2].partition("^") if len(entry) > 2 else ("", "", "")
    value = rest.partition("^")[0]
    return f"{scheme}:{value}" if scheme and value else ""
