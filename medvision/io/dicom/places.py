"""Which slices lie at one place, and which of them are of one volume.

A series over time, or of several diffusion directions, has many images of each place. Their
instance numbers tell the volumes apart where the numbers run through the places again and again;
where they do not, the file's own count of volumes does; where there is none, their rank at each
place.
"""

from __future__ import annotations

import filecmp
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medvision.errors import GeometryError
from medvision.io.dicom.headers import Frame

SAME_PLACE = 0.01  # mm; slices nearer than this are one place at several times

Places = list[list[Frame]]  # [place along the normal][image]
Volumes = tuple[tuple[Frame, ...], ...]  # [channel][slice]


def places_of(frames: Sequence[Frame], normal: NDArray[np.float64]) -> tuple[Places, str]:
    """Return the images of each place along the normal, lowest place first, and what was decided.

    Raises
    ------
    GeometryError
        When two images claim to be one, or some places have fewer images than others.
    """
    distances = np.array([f.position for f in frames], dtype=np.float64) @ normal  # mm
    order = np.argsort(distances, kind="stable")
    near = min(SAME_PLACE, (frames[0].slice_step or 1.0) / 4)
    places: Places = []
    last = -np.inf
    for i in order:
        if distances[i] - last > near:
            places.append([])
        places[-1].append(frames[i])
        last = distances[i]
    places, note = without_copies(places)
    check_counts(places)
    return places, note


def volumes_of(places: Places) -> Volumes:
    """Return the volumes that the images of all places make, the earliest first."""
    count = len(places[0])
    if count == 1:
        return (tuple(place[0] for place in places),)
    return by_order(places) or by_key(places) or by_rank(places)


def by_file(frames: Sequence[Frame], normal: NDArray[np.float64]) -> Volumes | None:
    """Return the volumes of mosaics, one a file, wherever the scanner moved its slices between."""
    files: dict[object, list[Frame]] = {}
    for frame in frames:
        files.setdefault(frame.header.path, []).append(frame)
    tiles = sorted(files.values(), key=lambda t: t[0].order)
    if frames[0].tile is None or len({len(t) for t in tiles}) > 1:
        return None

    def along(frame: Frame) -> float:
        return float(np.asarray(frame.position) @ normal)

    return tuple(tuple(sorted(t, key=along)) for t in tiles)


def by_order(places: Places) -> Volumes | None:
    """Return volumes where the images run through all places, time and again the same way."""
    numbered = sorted(
        ((frame, n) for n, place in enumerate(places) for frame in place),
        key=lambda pair: pair[0].order,
    )
    way = [n for _, n in numbered[: len(places)]]
    if len(set(way)) < len(way):
        return None
    volumes = []
    for start in range(0, len(numbered), len(places)):
        run = numbered[start : start + len(places)]
        if [n for _, n in run] != way:
            return None
        volume = {n: frame for frame, n in run}
        volumes.append(tuple(volume[n] for n in range(len(places))))
    return tuple(volumes)


def by_key(places: Places) -> Volumes | None:
    """Return volumes where each image says which volume it belongs to."""
    keys = sorted(frame.volume for frame in places[0])
    if len(set(keys)) < len(keys):
        return None
    columns = []
    for place in places:
        column = {frame.volume: frame for frame in place}
        if sorted(column) != keys:
            return None
        columns.append([column[key] for key in keys])
    return tuple(zip(*columns, strict=True))


def by_rank(places: Places) -> Volumes:
    """Return volumes by the order of the images at each place."""
    return tuple(zip(*(sorted(place, key=lambda f: f.order) for place in places), strict=True))


def check_counts(places: Places) -> None:
    """Refuse places that have fewer images than others."""
    counts = Counter(len(place) for place in places)
    if len(counts) == 1:
        return
    usual = counts.most_common(1)[0][0]
    odd = [place for place in places if len(place) != usual]
    what = "images lie where another lies" if usual == 1 else f"places have not {usual} images"
    raise GeometryError(
        f"{len(odd)} of {len(places)} {what}: "
        + "; ".join(" and ".join(f.name for f in place[:3]) for place in odd[:3])
        + ("; …" if len(odd) > 3 else "")
        + ". Repeated or missing slices are no volume."
    )


def without_copies(places: Places) -> tuple[Places, str]:
    """Drop files that are there twice, byte for byte, and say so.

    Raises
    ------
    GeometryError
        When two files claim to be one image (SOPInstanceUID) and differ.
    """
    kept, dropped = [], []
    for place in places:
        seen: dict[tuple[str, int, int | None], Frame] = {}
        for frame in place:
            key = (frame.header.instance_uid, frame.number, frame.tile)
            twin = seen.setdefault(key, frame) if key[0] else frame
            if twin is frame:
                continue
            if not filecmp.cmp(twin.header.path, frame.header.path, shallow=False):
                raise GeometryError(
                    f"{twin.name} and {frame.name} lie where another lies: they are one image "
                    "(SOPInstanceUID) with different content."
                )
            dropped.append(frame)
        kept.append([f for f in place if not any(f is d for d in dropped)])
    if not dropped:
        return places, ""
    return kept, f"{len(dropped)} copies of other images were left out, such as {dropped[0].name}."
