"""Index: what a walk found, kept beside the user's other caches, so that the next reads less.

One SQLite file a tree. It holds no patient's name, number or date: pseudonyms, and the key they
were made with. An index that is damaged, of another version or not writable is done without.
Knows nothing of what it keeps.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from collections.abc import Sequence, Set
from contextlib import closing, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeAlias

VARIABLE = "MEDVISION_INDEX"  # another folder for the indexes, or "off"
VERSION = 1
KEY_BYTES = 16
BUSY_S = 5.0
BATCH = 2000  # files a transaction
SCHEMA = """
CREATE TABLE about (name TEXT PRIMARY KEY, value BLOB);
CREATE TABLE files (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, light TEXT);
CREATE TABLE bodies (path TEXT PRIMARY KEY, body TEXT);
CREATE TABLE studies (key TEXT PRIMARY KEY, signature TEXT, body TEXT);
"""
Stamp: TypeAlias = tuple[int, int]  # size in bytes, time of change in ns


@dataclass
class Index:
    """Facts by file and by study, as JSON values.

    Parameters
    ----------
    path : Path, optional
        The SQLite file; None keeps everything in memory.
    layout : str
        Names what the facts are made of: another layout is another version.
    """

    path: Path | None
    layout: str = ""
    key: bytes = field(default_factory=lambda: secrets.token_bytes(KEY_BYTES))
    known: dict[str, tuple[Stamp, Any]] = field(default_factory=dict)  # path → stamp, light facts
    new_files: list[tuple[str, int, int, str, str]] = field(default_factory=list)
    new_studies: list[tuple[str, str, str]] = field(default_factory=list)
    base: sqlite3.Connection | None = None

    def __post_init__(self) -> None:
        if self.path is None:
            return
        try:
            self.base = self._opened(self.path)
        except sqlite3.OperationalError:  # locked, read-only, a full disk
            self.base = None
        except (sqlite3.DatabaseError, ValueError, TypeError):  # damaged, or of another version
            with suppress(OSError, sqlite3.Error):
                remove(self.path)
                self.base = self._opened(self.path)
        except OSError:
            self.base = None

    def _opened(self, path: Path) -> sqlite3.Connection:
        """Open the file, make its tables when it is new, and load what is light."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = not path.exists() or path.stat().st_size == 0
        base = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            base.execute("PRAGMA journal_mode=WAL")
            base.execute("PRAGMA synchronous=NORMAL")
            if new:
                path.chmod(0o600)
                base.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
                rows = [("version", self._version), ("key", self.key)]
                base.executemany("INSERT INTO about VALUES (?, ?)", rows)
            about = dict(base.execute("SELECT name, value FROM about"))
            if about.get("version") != self._version or len(about.get("key", b"")) != KEY_BYTES:
                raise ValueError("another version")
            self.key = bytes(about["key"])
            files = base.execute("SELECT path, size, mtime_ns, light FROM files").fetchall()
            lights = json.loads(f"[{','.join(file[3] for file in files)}]")  # all in one call
            for (name, size, mtime, _), light in zip(files, lights, strict=True):
                self.known[name] = ((size, mtime), light)
        except BaseException:
            self.known.clear()
            base.close()
            raise
        return base

    @property
    def _version(self) -> str:
        return f"{VERSION} {blake2b(self.layout.encode(), digest_size=8).hexdigest()}"

    @property
    def keeps(self) -> bool:
        """Whether what is given to it outlasts it."""
        return self.base is not None

    def light(self, name: str, stamp: Stamp) -> Any:
        """Return the light facts of a file that has not changed; else None."""
        found = self.known.get(name)
        return found[1] if found and found[0] == stamp else None

    def bodies(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the full facts of known files; those that cannot be read are left out."""
        found: dict[str, Any] = {}
        for start in range(0, len(names), 500):
            some = names[start : start + 500]
            marks = ",".join("?" * len(some))
            rows = self._asked(f"SELECT path, body FROM bodies WHERE path IN ({marks})", some)
            found |= {name: json.loads(body) for name, body in rows}
        return found

    def study(self, key: str, signature: str) -> Any:
        """Return what was kept of a study with this signature; else None."""
        query = "SELECT body FROM studies WHERE key = ? AND signature = ?"
        rows = self._asked(query, (key, signature))
        return json.loads(rows[0][0]) if rows else None

    def keep_file(self, name: str, stamp: Stamp, light: Any, body: Any) -> None:
        """Keep the facts of a file, from the next `save` on."""
        if self.base is not None:
            self.new_files.append((name, *stamp, json.dumps(light), json.dumps(body)))
            if len(self.new_files) >= BATCH:
                self.save()

    def keep_study(self, key: str, signature: str, body: Any) -> None:
        """Keep what was found of a study, from the next `save` on."""
        if self.base is not None:
            self.new_studies.append((key, signature, json.dumps(body)))

    def save(self) -> None:
        """Write what is new, in one transaction."""
        files = [(name, size, mtime, light) for name, size, mtime, light, _ in self.new_files]
        bodies = [(name, body) for name, *_, body in self.new_files]
        self._change(
            ("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", files),
            ("INSERT OR REPLACE INTO bodies VALUES (?, ?)", bodies),
            ("INSERT OR REPLACE INTO studies VALUES (?, ?, ?)", self.new_studies),
        )
        self.new_files, self.new_studies = [], []

    def forget_all_but(self, files: Set[str], studies: Set[str]) -> None:
        """Drop known files and studies that are there no more."""
        if self.base is None:
            return
        gone = [(name,) for name in self.known.keys() - files]
        old = [(key,) for (key,) in self._asked("SELECT key FROM studies") if key not in studies]
        self._change(
            ("DELETE FROM files WHERE path = ?", gone),
            ("DELETE FROM bodies WHERE path = ?", gone),
            ("DELETE FROM studies WHERE key = ?", old),
        )

    def _asked(self, query: str, values: Sequence[str] = ()) -> list[Any]:
        """Return the rows that a query finds; none when the file fails."""
        try:
            return self.base.execute(query, values).fetchall() if self.base is not None else []
        except (sqlite3.Error, UnicodeError):  # the latter for names that are no UTF-8
            return []

    def _change(self, *changes: tuple[str, Sequence[Sequence[Any]]]) -> None:
        """Make changes in one transaction; none when the file fails: the next walk reads again."""
        if self.base is None or not any(rows for _, rows in changes):
            return
        with suppress(sqlite3.Error, UnicodeError), self.base:  # commits, or rolls back
            self.base.execute("BEGIN IMMEDIATE")
            for statement, rows in changes:
                self.base.executemany(statement, rows)

    def close(self) -> None:
        """Close the file."""
        if self.base is not None:
            self.base.close()
            self.base = None


def open_index(roots: Sequence[Path], layout: str, use: bool = True) -> closing[Index]:
    """Open the index of some folders, to be used in a ``with`` block.

    Parameters
    ----------
    roots : sequence of Path
    layout : str
        See `Index`.
    use : bool
        False, MEDVISION_INDEX=off, or roots that are all files: nothing is kept.
    """
    setting = os.environ.get(VARIABLE, "")
    if not use or setting.lower() == "off" or not any(root.is_dir() for root in roots):
        return closing(Index(None))
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(setting) if setting else Path(cache) / "medvision" / "index"
    named = "\0".join(sorted(os.path.realpath(root) for root in roots))
    digest = blake2b(named.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    return closing(Index(folder / f"{digest}.sqlite", layout))


def remove(path: Path) -> None:
    """Remove an SQLite file with what belongs to it."""
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
