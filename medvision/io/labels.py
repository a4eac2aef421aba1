"""Labels of any format to one Volume on the grid of the scan they were drawn on.

DICOM SEG, RTSTRUCT, and NIfTI label maps. Knows nothing of what labels are used for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medvision.errors import DecodeError, GeometryError, MedvisionError, SeriesError
from medvision.from_json import parse_json
from medvision.io.dicom.elements import is_dicom, read_elements
from medvision.io.dicom.referenced import Referenced, find_referenced, open_scan
from medvision.io.dicom.rtstruct import RTSTRUCT_CLASS, inside, read_rtstruct
from medvision.io.dicom.seg import SEG_CLASSES, Segmentation, read_seg
from medvision.io.nifti import is_nifti, nifti_stem, read_nifti
from medvision.io.placing import Grid, grid_of_planes, on_grid, places_of, whole_steps
from medvision.volume import Label, Volume

Places: TypeAlias = tuple[NDArray[np.int64], ...]  # i, j, k of voxels

NAMED = ("labels", "Labels", "structures")  # in a side-car: where the names of values stand
MAX_NAMED = 10_000  # values of a NIfTI label map that are listed as labels


def read_labels(path: str | Path, reference: Volume | str | Path | None = None) -> Volume:
    """Read labels onto the grid of the scan they were drawn on.

    Parameters
    ----------
    path : str or Path
        DICOM SEG (binary, fractional, label map), DICOM RTSTRUCT, or a NIfTI label map, whose
        names may stand in a side-car of the same stem: ``{"labels": {"1": "liver"}}``, or
        ``{"liver": 1}``, or what `medvision convert` and `medvision predict` write.
    reference : Volume, str or Path, optional
        The scan, or its file or folder (DICOM, NIfTI). Without it, a DICOM file's own reference
        is looked for in its folder, the folder above, and what lies below these.

    Returns
    -------
    Volume
        Labels that do not overlap: (1, I, J, K) in uint8, uint16 or uint32, with segment or ROI
        numbers as values. Labels that do, and fractional ones: one a channel, ``info.channels ==
        "segment"``, 0 and 1 in uint8, or 0 to 1 in float32. Names, colors and codes in
        ``info.labels``. The grid is exactly the reference's; without one, a NIfTI file's own, or
        that which the frames of a SEG make.

    Raises
    ------
    SeriesError
        When nothing is there, or the scan of an RTSTRUCT is not found.
    DecodeError
        When the file is damaged or holds no labels.
    GeometryError
        When frames make no grid, or contours do not fit the slices of the scan.
    """
    path = Path(path)
    if not path.is_file():
        raise SeriesError(f"No such file of labels: {path}.")
    if is_nifti(path):
        return nifti_labels(path, reference)
    if not is_dicom(path):
        raise DecodeError(
            f"{path} holds no labels that medvision reads: DICOM SEG or RTSTRUCT, or NIfTI."
        )
    kind = read_elements(path).text("SOPClassUID")
    if kind in SEG_CLASSES:
        return seg_labels(path, reference)
    if kind == RTSTRUCT_CLASS:
        return rtstruct_labels(path, reference)
    raise DecodeError(f"{path} is a DICOM file, but neither SEG nor RTSTRUCT.")


def opened(reference: Volume | str | Path, wanted: Referenced) -> tuple[Volume, tuple[str, ...]]:
    """Return the scan that the user names, and a note where the labels name another."""
    if not isinstance(reference, Volume):
        path = Path(reference)
        if not path.exists():
            raise SeriesError(f"No such scan: {path}.")
        reference = read_nifti(path) if is_nifti(path) else open_scan(path, wanted)
    uid = reference.info.series_uid
    if uid and wanted.series and uid not in wanted.series:
        return reference, (f"The labels were drawn on another scan than that given: {wanted}.",)
    return reference, ()


def seg_labels(path: Path, reference: Volume | str | Path | None) -> Volume:
    """Read a DICOM SEG."""
    seg = read_seg(path)
    scan: Volume | None = None
    notes: tuple[str, ...]
    if reference is not None:
        scan, notes = opened(reference, seg.referenced)
    else:
        try:
            scan, notes = find_referenced(path, seg.referenced)
        except MedvisionError as error:
            notes = (f"The grid is the labels' own. {error}",)
    steps = scan and [whole_steps(p.affine, p.shape, scan.affine) for p in seg.planes]
    if scan and steps and all(s is not None for s in steps):
        return filled(seg, Grid(scan.affine, scan.shape), notes)
    try:
        own = grid_of_planes(seg.planes, seg.step_mm)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}.") from None
    labels = filled(seg, own, notes)
    return on_grid(labels, scan) if scan else labels


def filled(seg: Segmentation, grid: Grid, notes: tuple[str, ...]) -> Volume:
    """Return the segments on a grid on which every frame lies."""
    array, missed = None, 0
    if seg.kind != "FRACTIONAL":
        array, missed = label_map(seg, grid)
    overlapping = array is None
    if array is None:
        array, missed = channel_map(seg, grid)
    if missed:
        notes += (f"{missed} labeled voxels lie beyond the scan and are left out.",)
    info = replace(
        seg.info,
        channels="segment" if overlapping else "",
        labels=counted(seg.labels) if overlapping else seg.labels,
        notes=notes,
    )
    return Volume(array, grid.affine, info)


def placed(seg: Segmentation, grid: Grid) -> Iterator[tuple[int, Places, NDArray[Any], int]]:
    """Yield each frame's segment number, its voxels above 0, their values, and how many miss."""
    for plane, number, pixels in seg.frames():
        steps = whole_steps(plane.affine, plane.shape, grid.affine)
        if steps is None:
            raise GeometryError(f"{seg.path}: a frame lies off the grid.")
        yield number, *places_of(pixels, steps, grid.shape)


def label_map(seg: Segmentation, grid: Grid) -> tuple[NDArray[Any] | None, int]:
    """Return segment numbers (1, I, J, K), or None where they overlap; and how many voxels miss."""
    kind = whole_type(max(label.value for label in seg.labels))
    array = blank((1, *grid.shape), kind, seg.path)
    missed = 0
    for number, where, values, outside in placed(seg, grid):
        there, new = array[0][where], number or values
        if ((there != 0) & (there != new)).any():
            return None, 0
        array[0][where] = new
        missed += outside
    return array, missed


def channel_map(seg: Segmentation, grid: Grid) -> tuple[NDArray[Any], int]:
    """Return one channel a segment (C, I, J, K), and how many voxels miss the grid."""
    channel = {label.value: c for c, label in enumerate(seg.labels)}
    kind: type[Any] = np.float32 if seg.kind == "FRACTIONAL" else np.uint8
    array = blank((len(channel), *grid.shape), kind, seg.path)
    missed = 0
    for number, where, values, outside in placed(seg, grid):
        array[channel[number]][where] = values
        missed += outside
    return array, missed


def rtstruct_labels(path: Path, reference: Volume | str | Path | None) -> Volume:
    """Read a DICOM RTSTRUCT."""
    found = read_rtstruct(path)
    if reference is None:
        scan, notes = find_referenced(path, found.referenced)
    else:
        scan, notes = opened(reference, found.referenced)
    notes += found.notes
    rois = found.rois
    array = blank((1, *scan.shape), whole_type(max(roi.label.value for roi in rois)), path)
    channels: NDArray[Any] | None = None
    for n, roi in enumerate(rois):
        masks, said = inside(roi, scan.affine, scan.shape, path)
        notes += said
        if channels is None and any((array[0, :, :, k][m] != 0).any() for k, m in masks.items()):
            channels = blank((len(rois), *scan.shape), np.uint8, path)
            for c, earlier in enumerate(rois[:n]):
                channels[c] = array[0] == earlier.label.value
        for k, mask in masks.items():
            if channels is None:
                array[0, :, :, k][mask] = roi.label.value
            else:
                channels[n, :, :, k] = mask
    labels = tuple(roi.label for roi in rois)
    info = replace(
        found.info,
        channels="" if channels is None else "segment",
        labels=labels if channels is None else counted(labels),
        space=scan.info.space,
        notes=notes,
    )
    return Volume(array if channels is None else channels, scan.affine, info)


def blank(shape: tuple[int, ...], kind: type[Any], path: Path) -> NDArray[Any]:
    """Return zeros, or say that there is no memory for them."""
    try:
        return np.zeros(shape, kind)
    except (MemoryError, ValueError):  # numpy's word for more bytes than can be counted
        raise DecodeError(
            f"{path}: {' × '.join(map(str, shape))} voxels (labels first) need more memory than "
            "there is."
        ) from None


def counted(labels: Sequence[Label]) -> tuple[Label, ...]:
    """Return labels with the numbers of their channels, from 1, as values."""
    return tuple(replace(label, value=n) for n, label in enumerate(labels, start=1))


def whole_type(most: int) -> type[np.unsignedinteger[Any]]:
    """Return the smallest type that holds label values up to `most`."""
    return np.uint8 if most <= 255 else np.uint16 if most <= 65535 else np.uint32


def nifti_labels(path: Path, reference: Volume | str | Path | None) -> Volume:
    """Read a NIfTI label map, or one mask a channel."""
    volume = read_nifti(path)
    array = volume.array
    most = array.max()  # NaN when any is
    if not (array.min() >= 0 and most < 2**32 and (array == np.floor(array)).all()):
        raise DecodeError(
            f"{path} is no label map: its values run from {array.min():g} to {most:g}; whole "
            "numbers from 0 are needed."
        )
    several = len(array) > 1
    if several and most > 1:
        raise DecodeError(
            f"{path} holds {len(array)} channels with values up to {most:g}; several channels "
            "must be masks of 0 and 1."
        )
    array = array.astype(whole_type(int(most)))
    names = side_car_names(path.with_name(f"{nifti_stem(path)}.json"))
    values = range(1, len(array) + 1) if several else np.unique(array[array > 0]).tolist()
    values = sorted({*values[:MAX_NAMED], *(v for v in names if v > 0)})
    info = replace(
        volume.info,
        channels="segment" if several else "",
        labels=tuple(Label(v, names.get(v, f"label {v}")) for v in values),
    )
    labels = Volume(array, volume.affine, info)
    if reference is None:
        return labels
    scan, notes = opened(reference, Referenced((), ""))
    placed = on_grid(labels, scan)
    return replace(placed, info=replace(placed.info, notes=placed.info.notes + notes))


def side_car_names(path: Path) -> dict[int, str]:
    """Return the names of values in a JSON file, whichever way it maps them; none without it.

    They are ``labels``, the ``Labels`` of `medvision convert`, or the ``structures`` of `medvision
    predict`: ``[{"name": "liver", "label": 1}]``.

    Raises
    ------
    DecodeError
        When its ``labels`` map neither numbers to names nor names to numbers.
    """
    if not path.is_file():
        return {}
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DecodeError(f"{path} is no readable JSON.") from None
    found = found if isinstance(found, dict) else {}
    key = next((key for key in NAMED if found.get(key) is not None), None)
    if key is None:
        return {}
    pairs = found[key]
    try:
        if key == "structures":
            return {int(one["label"]): str(one["name"]) for one in pairs}
        if all(str(key).isdecimal() for key in pairs):
            return {int(value): str(name) for value, name in pairs.items()}
        return {int(value): str(name) for name, value in pairs.items()}
    except (TypeError, ValueError, AttributeError, KeyError):
        if key != "labels":
            return {}  # somebody else's word for something else
        raise DecodeError(
            f'{path}: its labels must be like {{"1": "liver"}} or {{"liver": 1}}.'
        ) from None
