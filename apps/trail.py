"""The audit log: one line of JSON for every view, run and export.

Holds pseudonyms alone, by a key that lies beside the log: who has both can ask which study a line
is of, who has the log cannot. Knows nothing of Streamlit.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from hashlib import blake2b
from pathlib import Path


class Trail:
    """An audit log.

    Parameters
    ----------
    path : Path, optional
        The file that lines are added to; None keeps no log.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.lock = threading.Lock()
        self.key = b"" if path is None else key_of(path)

    def write(self, visitor: str, event: str, study: str, **details: str) -> None:
        """Add a line.

        Parameters
        ----------
        visitor, study : str
            Kept under pseudonyms.
        event : str
            ``"view"``, ``"compare"``, ``"identity"``, ``"run"``, ``"cancel"`` or ``"export"``.
        **details : str
            What else is known, such as the model; never a name or a path of a scan.
        """
        if self.path is None:
            return
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "event": event,
            "visitor": self.pseudonym("V", visitor),
            "study": self.pseudonym("S", study),
            **details,
        }
        with self.lock, self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def pseudonym(self, kind: str, name: str) -> str:
        """Return the pseudonym of a study (``"S"``) or visitor (``"V"``)."""
        text = f"{kind}\0{name}".encode("utf-8", "surrogatepass")
        return f"{kind}-{blake2b(text, key=self.key, digest_size=6).hexdigest()}"


def key_of(path: Path) -> bytes:
    """Return the key beside a log, made when there is none; only its owner may read either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    place = path.with_name(f"{path.name}.key")
    try:
        with open(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
    except FileExistsError:
        pass
    return place.read_bytes()[:64]
