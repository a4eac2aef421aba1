"""An SQLite file that processes share: opened, locked, signed, and who else is at it.

A process that has ended, or gives no sign of life for `LEASE_S`, is known to all. Knows nothing of
what the file holds.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from medvision.errors import OutputError
from medvision.owner import Owner, this_process

BUSY_S = 60.0
BEAT_S = 5.0  # between two signs of life
LEASE_S = 60.0  # without one, after which a process elsewhere counts as ended
OWNERS = """CREATE TABLE IF NOT EXISTS owners (
    owner TEXT PRIMARY KEY, host TEXT, pid INTEGER, born TEXT, key TEXT, beats INTEGER)"""
SHARED = (
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "glusterfs"),
    *("panfs", "afs", "orangefs", "pvfs2", "9p", "virtiofs", "fuse", "wekafs", "dvs"),
)


class DamagedFile(OutputError):
    """It is no SQLite file any more."""


class SharedFile:
    """An open file, and this process's place in it; to be used in a ``with`` block.

    Parameters
    ----------
    path : Path
        In a folder that exists.
    schema : str
        Statements that make its tables where they are not there, separated by semicolons.

    Raises
    ------
    OutputError
        When the file is damaged, or its file system is full, read-only or allows no locks; so do
        all methods.
    """

    def __init__(self, path: Path, schema: str) -> None:
        self.path, self.lease = path, LEASE_S
        self.me: Owner = this_process()
        self.lock = threading.RLock()
        self.seen: dict[str, tuple[int, float]] = {}  # owner → its beats, and since when so many
        self.closed = threading.Event()
        self.base = self._opened(schema)
        self.beating = threading.Thread(target=self._beat, name="beat", daemon=True)
        self.beating.start()

    def _opened(self, schema: str) -> sqlite3.Connection:
        if sqlite3.sqlite_version_info < (3, 35):
            raise OutputError(f"SQLite 3.35 or later is needed; here is {sqlite3.sqlite_version}.")
        try:
            base = sqlite3.connect(
                self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(base, schema)
            except BaseException:
                base.close()
                raise
        except sqlite3.Error as error:
            raise self._told(error) from None
        return base

    def _prepare(self, base: sqlite3.Connection, schema: str) -> None:
        # write-ahead logs need memory that machines cannot share: over a network, the older way
        base.execute("PRAGMA temp_store=MEMORY")
        set_journal(base, "DELETE" if is_shared(self.path) else "WAL")
        base.execute("PRAGMA synchronous=FULL")
        base.execute("BEGIN IMMEDIATE")
        for statement in (OWNERS, *filter(str.strip, schema.split(";"))):
            base.execute(statement)
        self._sign(base)
        base.execute("COMMIT")

    def _told(self, error: sqlite3.Error) -> OutputError:
        words = str(error)
        if "full" in words:
            why = "the disk is full. Make room and run again: what is done is kept"
        elif "locked" in words or "lock" in words:
            why = (
                "another process holds its lock, or its file system allows none: name a folder on "
                "one that does"
            )
        elif "readonly" in words or "unable to open" in words:
            why = "no permission, or not a place for files"
        elif "not a database" in words or "malformed" in words:
            return DamagedFile(f"{self.path} is damaged: name another folder, or --overwrite.")
        else:
            why = f"{words}. The disk may be full, or its file system allow no locks"
        return OutputError(f"{self.path} cannot be used: {why}.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back what this process holds, and leave."""
        if self.closed.is_set():
            return
        self.closed.set()
        self.beating.join()
        with self.lock:
            with suppress(OutputError), self.transaction() as base:  # a full disk: others see it
                self._give_back(base)
                base.execute("DELETE FROM owners WHERE owner=?", [str(self.me)])
            self.base.close()

    def _give_back(self, base: sqlite3.Connection) -> None:
        """Give back what this process holds; nothing, unless a file knows better."""

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Let nobody else write inside the block; it counts as a whole or not at all."""
        with self.lock:
            try:
                self.base.execute("BEGIN IMMEDIATE")
                yield self.base
                self.base.execute("COMMIT")
            except BaseException as error:
                if self.base.in_transaction:
                    with suppress(sqlite3.Error):
                        self.base.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise self._told(error) from None
                raise

    def _beat(self) -> None:
        while not self.closed.wait(BEAT_S):
            with suppress(OutputError), self.transaction() as base:
                self._sign(base)

    def _sign(self, base: sqlite3.Connection) -> None:
        me = self.me
        base.execute(
            "INSERT INTO owners VALUES (?, ?, ?, ?, ?, 0) "
            "ON CONFLICT (owner) DO UPDATE SET beats = beats + 1",
            [str(me), me.host, me.pid, me.born, me.key],
        )

    def _living(self, base: sqlite3.Connection) -> list[Owner]:
        """Return the processes that are there, as far as can be told from here."""
        found, now = [], time.monotonic()
        for host, pid, born, key, beats in base.execute(
            "SELECT host, pid, born, key, beats FROM owners"
        ):
            owner = Owner(host, pid, born, key)
            before, since = self.seen.get(str(owner), (None, now))
            self.seen[str(owner)] = (beats, now if beats != before else since)
            silent = now - self.seen[str(owner)][1]  # by this machine's clock alone
            if owner == self.me or not (owner.gone or silent > self.lease):
                found.append(owner)
        return found

    def others(self) -> list[Owner]:
        """Return the other processes that are at work here."""
        with self.transaction() as base:
            return [owner for owner in self._living(base) if owner != self.me]


def set_journal(base: sqlite3.Connection, mode: str) -> None:
    """Set how changes are kept, once nobody else is in the way."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            (now,) = base.execute("PRAGMA journal_mode").fetchone()
            if now.upper() == mode or (
                mode == "WAL" and now.upper() == "DELETE" and has_rows(base)
            ):
                return
            (now,) = base.execute(f"PRAGMA journal_mode={mode}").fetchone()
            if now.upper() == mode:
                return
            raise sqlite3.OperationalError(f"journal mode {mode} is refused")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.05)


def remove_file(path: Path) -> None:
    """Remove an SQLite file with what belongs to it."""
    for end in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + end).unlink(missing_ok=True)


def has_rows(base: sqlite3.Connection) -> bool:
    """Tell whether the store was made before: then its way of keeping changes stands."""
    return bool(base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def is_shared(path: Path, table: Path = Path("/proc/self/mounts")) -> bool:
    """Tell whether the file system at a path is known to be one of a network.

    File systems in user space (``fuse.sshfs``, …) count as such. Where the system has no table of
    mounts, nothing does.
    """
    try:
        lines = table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    real = os.path.realpath(path)
    best, kind = "", ""
    for line in lines:
        words = line.split(" ")
        if len(words) < 3:
            continue
        place = words[1].replace("\\040", " ")
        inside = real == place or real.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= len(best):
            best, kind = place, words[2]
    return kind.partition(".")[0] in SHARED
