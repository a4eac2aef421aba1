"""How much memory the machine has left, and what does not fit into it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from medvision.errors import DecodeError, MemoryNeeded

GIB = 1 << 30
CONTROL = Path("/sys/fs/cgroup")  # of a container, what it may take
CONTROLS = (  # limit, taken, and what begins the names of its parts: cgroups 2 and 1
    ("memory.max", "memory.current", "memory.stat", ""),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_",
    ),
)
CACHE = ("active_file", "inactive_file", "slab_reclaimable")  # given back when it is asked for


def available() -> float:
    """Return the bytes of memory that are left; infinite where that is not known.

    Those of the machine, or of the container where that may take less (Linux: the control group
    that the container sees as its own; limits of groups below it, as of Slurm, are not known).
    """
    return min(left_of_machine(), *(left_of_container(*names) for names in CONTROLS))


def left_of_container(limit: str, taken: str, parts: str, start: str) -> float:
    """Return the bytes that a control group has left; infinite where it has no limit."""
    try:
        most = float((CONTROL / limit).read_text())
        stat = dict(line.split() for line in (CONTROL / parts).read_text().splitlines())
        cache = sum(float(stat.get(f"{start}{name}", 0)) for name in CACHE)
        held = float((CONTROL / taken).read_text()) - cache
    except (OSError, ValueError):  # "max" is no number
        return math.inf
    return max(0.0, most - held)


def left_of_machine() -> float:
    """Return the bytes that the machine has left; infinite where that is not known."""
    try:
        with open("/proc/meminfo") as file:
            found = dict(line.split(":") for line in file)
        return 1024 * float(found["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError):
        return math.inf


def check_room(path: Path, size: float) -> None:
    """Refuse a file that unpacks to more bytes than there is memory, before any is taken.

    Raises
    ------
    DecodeError
    """
    left = available()
    if size > left:
        raise DecodeError(
            f"{path} needs {size / GIB:.1f} GiB of memory; {left / GIB:.1f} are left."
        )


def check_grid(
    shape: Iterable[float], spacing: Iterable[float], voxel: float, left: float | None = None
) -> None:
    """Refuse a grid that takes more memory than there is, before any is taken.

    Parameters
    ----------
    shape : three floats
        Voxels along I, J, K, as they are worked out: not rounded, perhaps not even finite.
    spacing : three floats
        mm
    voxel : float
        Bytes that one voxel takes, of all channels and copies.
    left : float, optional
        Bytes that there are; unless given, what the machine has left.

    Raises
    ------
    MemoryNeeded
        With the spacing, the shape and the memory.
    """
    left = available() if left is None else left
    sides, steps = [float(n) for n in shape], [float(n) for n in spacing]
    size = voxel * math.prod(sides)
    if math.isfinite(size) and size <= left:
        return
    voxels, mm = (" × ".join(f"{n:.6g}" for n in three) for three in (sides, steps))
    raise MemoryNeeded(
        f"A grid of {mm} mm would have {voxels} voxels and need {size / GIB:.4g} GiB of memory; "
        f"{left / GIB:.4g} are left. Are the voxel sizes of scan and model right?"
    )
