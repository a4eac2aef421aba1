"""Who works on a study, and whether that process is still there.

Knows nothing of studies or stores.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """A process that works.

    Parameters
    ----------
    host : str
        The machine's name, and where the system says so the container's, for the same number is
        another process there.
    pid : int
    born : str
        When it was started, as the system counts: numbers are given again. Empty when unknown.
    key : str
        A random part, so that no two are ever the same.
    """

    host: str
    pid: int
    born: str
    key: str

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.key}"

    @property
    def gone(self) -> bool:
        """Whether it has certainly ended; False for processes elsewhere, which only time tells."""
        if os.name != "posix" or self.host != this_host():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # another user's
            pass
        state, born = state_of(self.pid)
        return state == "Z" or bool(self.born and born and born != self.born)


def this_process() -> Owner:
    """Return the process that asks, under a new key."""
    return Owner(this_host(), os.getpid(), state_of(os.getpid())[1], secrets.token_hex(4))


def this_host() -> str:
    """Return a name that only processes share whose numbers mean the same."""
    try:
        space = f"/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # not Linux
        space = ""
    return socket.gethostname().replace(":", "-") + space


def state_of(pid: int) -> tuple[str, str]:
    """Return a process's state (``"Z"`` has ended) and time of birth; empty where unknown."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return words[0], words[19]  # proc(5), fields 3 and 22
    except (OSError, IndexError, UnicodeDecodeError):
        return "", ""
