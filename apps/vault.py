"""Voxels that a browser may fetch: files in a folder of our own, behind tokens nobody can guess.

A token is good for the browser it was given to, and for no other. Knows nothing of Streamlit.
"""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import shutil
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from medvision.files import atomic_path

BYTES = 8_000_000_000  # of files that are kept; the oldest go first
TOKENS = 2_000  # that are remembered; the oldest go first


def own_folder() -> Path:
    """Return a new temporary folder; what processes of this machine left that were killed goes."""
    start = f"medvision-app-{platform.node()}-"
    for old in Path(tempfile.gettempdir()).glob(f"{start}*"):
        pid = old.name.removeprefix(start).partition("-")[0]
        if pid.isdecimal() and is_gone(int(pid)):
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{start}{os.getpid()}-"))


def is_gone(pid: int) -> bool:
    """Tell whether no process has a number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # somebody else's
        return False
    return False


class Vault:
    """Files that browsers may fetch.

    Parameters
    ----------
    folder : Path, optional
        Where they lie. Default: a temporary folder, deleted with the vault.
    """

    def __init__(self, folder: Path | None = None, room: int = BYTES) -> None:
        self.folder = folder or own_folder()
        if folder is None:
            weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.room = room
        self.lock = threading.Lock()
        self.tokens: OrderedDict[str, tuple[str, str]] = OrderedDict()  # of visitor and file name
        self.given: dict[tuple[str, str], str] = {}
        self.sizes: OrderedDict[str, int] = OrderedDict()  # oldest use first
        self.keys: dict[str, str] = {}  # by file name

    def offer(self, visitor: str, key: object, write: Callable[[], bytes]) -> str:
        """Return a token for a file, and write it where it is not there yet.

        Parameters
        ----------
        visitor : str
            The browser that may fetch it.
        key : object
            What tells the file from others, by its `repr`.
        write : callable
            Returns the bytes; called when they have to be written.
        """
        name = f"{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}.nii.gz"
        path = self.folder / name
        with self.lock:
            there = name in self.sizes and path.exists()
        if not there:
            content = write()
            with atomic_path(path) as part:
                part.write_bytes(content)
        with self.lock:
            self.sizes[name], self.keys[name] = path.stat().st_size, repr(key)
            self.sizes.move_to_end(name)
            self._make_room()
            token = self.given.get((visitor, name)) or secrets.token_urlsafe(24)
            self.given[visitor, name] = token
            self.tokens[token] = visitor, name
            self.tokens.move_to_end(token)
            while len(self.tokens) > TOKENS:
                self.given.pop(self.tokens.popitem(last=False)[1], None)
        return token

    def find(self, visitor: str, token: str) -> Path | None:
        """Return the file behind a token, None for another's or an unknown one."""
        with self.lock:
            owner, name = self.tokens.get(token, ("", ""))
            if not visitor or not secrets.compare_digest(owner, visitor):
                return None
            if name in self.sizes:
                self.sizes.move_to_end(name)
        path = self.folder / name
        return path if path.is_file() else None

    def forget(self, visitor: str) -> None:
        """Take back every token of a visitor."""
        with self.lock:
            for token, pair in list(self.tokens.items()):
                if pair[0] == visitor:
                    del self.tokens[token]
                    self.given.pop(pair, None)

    def close(self) -> None:
        """Delete all files: the server ends, by whatever signal lets it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def drop(self, part: str) -> None:
        """Delete every file whose key holds a text, such as the folder that it was made of."""
        with self.lock:
            for name in [name for name, key in self.keys.items() if part in key]:
                self._delete(name)

    def _make_room(self) -> None:
        while sum(self.sizes.values()) > self.room and len(self.sizes) > 1:
            self._delete(next(iter(self.sizes)))

    def _delete(self, name: str) -> None:
        del self.sizes[name], self.keys[name]
        (self.folder / name).unlink(missing_ok=True)
