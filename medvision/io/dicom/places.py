"""Which slices lie at one place, and which of them are of one volume.

A series over time, or of several diffusion directions, has many images of each place. Their
instance numbers tell the volumes apart where the numbers run through the places again and again;
where they do not, the file's own count of volumes does; where there is none, their rank at each
place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medvision.errors import GeometryError
from medvision.io.dicom.headers import Frame

SAME_PLACE = 0.01  # mm; slices nearer than this are one place at several times

Places = list[list[Frame]]  # [place along the normal][image]
Volumes = tuple[tuple[Frame, ...], ...]  # [channel][slice]


def places_of(frames: Sequence[Frame], normal: NDArray[np.float64]) -> Places:
    """Return the images of each place along the normal, lowest place first.

    Raises
    ------
    GeometryError
        When an image is there twice, or some places have fewer images than others.
    """
    distances = np.array([f.position for f in frames], dtype=np.float64) @ normal  # mm
    order = np.argsort(distances, kind="stable")
    places: Places = []
    last = -np.inf
    for i in order:
        if distances[i] - last > SAME_PLACE:
            places.append([])
        places[-1].append(frames[i])
        last = distances[i]
    check_copies(places)
    check_counts(places)
    return places


def volumes_of(places: Places) -> Volumes:
    """Return the volumes that the images of all places make, the earliest first."""
    count = len(places[0])
    if count == 1:
        return (tuple(place[0] for place in places),)
    return by_order(places) or by_key(places) or by_rank(places)


def by_order(places: Places) -> Volumes | None:
    """Return volumes where the order of the images runs through all places, time and again."""
    numbered = sorted(
        ((frame, n) for n, place in enumerate(places) for frame in place),
        key=lambda pair: pair[0].order,
    )
    volumes = []
    for start in range(0, len(numbered), len(places)):
        volume = {n: frame for frame, n in numbered[start : start + len(places)]}
        if len(volume) < len(places):
            return None
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


def check_copies(places: Sequence[Sequence[Frame]]) -> None:
    """Refuse an image that is there twice: the same instance in two files."""
    for place in places:
        seen: dict[tuple[str, int], Frame] = {}
        for frame in place:
            uid = frame.header.instance_uid
            twin = seen.setdefault((uid, frame.number), frame)
            if uid and twin is not frame:
                raise GeometryError(
                    f"{twin.name} and {frame.name} lie where another lies: they are the same "
                    "image twice (SOPInstanceUID)."
                )
