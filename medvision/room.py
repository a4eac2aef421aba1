"""How much memory the machine has left, and what does not fit into it."""

from __future__ import annotations

import math
from pathlib import Path

from medvision.errors import DecodeError

GIB = 1 << 30


def available() -> float:
    """Return the bytes of memory that the machine has left; infinite where that is not known."""
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
