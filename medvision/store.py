"""The state of every study of a results folder, in one SQLite file that processes share.

It holds what results.csv and run.json hold, and digests: no patient's name, date or UID. A study is
claimed in one transaction, so no two processes run it; what a process held that has ended is free
again. Knows nothing of models.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medvision.errors import OutputError
from medvision.outputs.table import failed_row
from medvision.sharing import SharedFile

STORE = "status.sqlite"
LAYOUT = "2"
SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS studies (
    case_id TEXT PRIMARY KEY, number INTEGER, source TEXT, study_key TEXT, series TEXT, box TEXT,
    state TEXT CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    owner TEXT, attempts INTEGER, reason TEXT, warnings TEXT, row TEXT, inputs TEXT,
    input_sha256 TEXT, outputs TEXT, marks TEXT, seconds TEXT);
CREATE INDEX IF NOT EXISTS by_state ON studies (state, attempts, number);
"""
FRESH = "'waiting', '', 0, '', '', '', '', '', '{}', '{}', '{}'"


class OtherLayout(OutputError):
    """A store is of a medvision that kept studies otherwise."""


@dataclass(frozen=True)
class Entry:
    """A study as the store knows it before it is run."""

    case_id: str
    source: str
    study_key: str
    series: str  # JSON
    box: str  # JSON


@dataclass(frozen=True)
class Ending:
    """What became of a study.

    Parameters
    ----------
    row : mapping
        Of results.csv.
    seconds : mapping of str to float
        By step.
    inputs : str
        JSON that tells later whether they have changed.
    input_sha256 : str
    outputs : mapping
        kind → {file, sha256, and of zipped ones unpacked_sha256}
    marks : mapping
        kind → [size, time of change] of each output.
    """

    row: Mapping[str, Any]
    seconds: Mapping[str, float] = field(default_factory=dict)
    inputs: str = ""
    input_sha256: str = ""
    outputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    marks: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Saved(Ending):
    """A study as it stands in the store."""

    entry: Entry = Entry("", "", "", "[]", "null")
    state: str = "waiting"
    attempts: int = 0


class Store(SharedFile):
    """An open store, and this process's place in it; to be used in a ``with`` block.

    Parameters
    ----------
    folder : Path
        The results folder, which exists.

    Raises
    ------
    OutputError
        As `SharedFile`, or when it is of another medvision.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / STORE, SCHEMA)
        with self.transaction() as base:
            base.execute("INSERT OR IGNORE INTO about VALUES ('layout', ?)", [LAYOUT])
            base.execute("CREATE TEMP TABLE mine (case_id TEXT PRIMARY KEY)")
        if self.about()["layout"] != LAYOUT:
            self.close()
            raise OtherLayout(
                f"{self.path} is of another medvision: name another folder, or --overwrite."
            )

    def _give_back(self, base: sqlite3.Connection) -> None:
        base.execute(
            "UPDATE studies SET state='waiting', owner='' WHERE state='running' AND owner=?",
            [str(self.me)],
        )

    # -- the run -------------------------------------------------------------------------------

    def about(self) -> dict[str, str]:
        """Return what is noted of the run as a whole."""
        with self.transaction() as base:
            return dict(base.execute("SELECT name, value FROM about"))

    def note(self, values: Mapping[str, str]) -> None:
        """Note something of the run as a whole."""
        with self.transaction() as base:
            base.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", list(values.items()))

    def add_run(self) -> str:
        """Return the name of another run into this folder, under which to note what is of it."""
        with self.transaction() as base:
            query = "SELECT count(*) FROM about WHERE name LIKE 'run %'"
            (count,) = base.execute(query).fetchone()
            name = f"run {count + 1:06}"  # sorted they are in their order
            base.execute("INSERT INTO about VALUES (?, '')", [name])
            return name

    def begin(self, settings: Mapping[str, str], anew: bool = False) -> None:
        """Hold this run's settings against those of the store; a new store takes them.

        Raises
        ------
        OutputError
            When they differ, naming in what, or with `anew` when another process is at work here.
        """
        folder = self.path.parent
        with self.transaction() as base:
            known = dict(base.execute("SELECT name, value FROM about WHERE name LIKE 'set %'"))
            others = [owner for owner in self._living(base) if owner != self.me]
            if anew and others:
                raise OutputError(
                    f"{folder} is in use by {others[0]}: it cannot begin anew. If that process has "
                    "ended elsewhere, this is known in a minute."
                )
            if anew:
                base.execute("DELETE FROM studies")
                base.execute("DELETE FROM about WHERE name != 'layout'")
                known = {}
            differ = [
                f"{name} was {known[f'set {name}']} and is {value}"
                for name, value in settings.items()
                if known.get(f"set {name}", value) != value
            ]
            if differ:
                raise OutputError(
                    f"{folder} holds the results of other settings: {'; '.join(differ)}. "
                    "Name another folder, or begin anew with --overwrite."
                )
            rows = [(f"set {name}", value) for name, value in settings.items()]
            base.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", rows)

    def add(self, entries: Sequence[Entry], mine: Iterable[str]) -> None:
        """Add the studies that are not there yet, in their order; `mine` are for this process.

        Raises
        ------
        OutputError
            When a study of that name was to be predicted from another series or box.
        """
        with self.transaction() as base:
            query = "SELECT case_id, series, box FROM studies"
            known = {case_id: rest for case_id, *rest in base.execute(query)}
            for one in entries:
                if known.get(one.case_id, [one.series, one.box]) != [one.series, one.box]:
                    raise OutputError(
                        f"{self.path.parent} holds the result of {one.case_id} in another box or "
                        "series. Name another folder, or begin anew with --overwrite."
                    )
            (last,) = base.execute("SELECT coalesce(max(number), 0) FROM studies").fetchone()
            new = [one for one in entries if one.case_id not in known]
            base.executemany(
                f"INSERT INTO studies VALUES (?, ?, ?, ?, ?, ?, {FRESH})",
                [
                    (e.case_id, last + n, e.source, e.study_key, e.series, e.box)
                    for n, e in enumerate(new, start=1)
                ],
            )
            base.executemany("INSERT OR IGNORE INTO mine VALUES (?)", [(name,) for name in mine])

    # -- studies -------------------------------------------------------------------------------

    def claim(self, tries: int = 0) -> str | None:
        """Take a study that waits, one that was tried least; None when none of mine does.

        With `tries`, one whose process has ended that many times fails.
        """
        with self.transaction() as base:
            found = self._claimed(base)
            if found is None and self._free(base, tries):
                found = self._claimed(base)
            return found

    def _claimed(self, base: sqlite3.Connection) -> str | None:
        rows = base.execute(
            "UPDATE studies SET state='running', owner=?, attempts=attempts + 1 WHERE case_id = ("
            "SELECT case_id FROM studies JOIN mine USING (case_id) WHERE state='waiting' "
            "ORDER BY attempts, number LIMIT 1) RETURNING case_id",
            [str(self.me)],
        ).fetchall()
        return str(rows[0][0]) if rows else None

    def _free(self, base: sqlite3.Connection, tries: int) -> int:
        """Free what processes held that have ended; return how many studies."""
        living = set(map(str, self._living(base)))
        query = "SELECT case_id, source, owner, attempts FROM studies WHERE state='running'"
        lost = [row for row in base.execute(query).fetchall() if row[2] not in living]
        for case_id, source, _, attempts in lost:
            if tries and attempts >= tries:
                reason = (
                    f"The process that ran it ended {attempts} times without a word: it may need "
                    "more memory."
                )
                row = failed_row(case_id, source, reason, 0.0)
                self._end(base, case_id, "failed", Ending(row))
            else:
                base.execute(
                    "UPDATE studies SET state='waiting', owner='' WHERE case_id=?", [case_id]
                )
        gone = {owner for (owner,) in base.execute("SELECT owner FROM owners")} - living
        base.executemany("DELETE FROM owners WHERE owner=?", [(owner,) for owner in gone])
        return len(lost)

    def elsewhere(self) -> int:
        """Return how many of this process's studies others run, or have just given back."""
        with self.transaction() as base:
            (count,) = base.execute(
                "SELECT count(*) FROM studies JOIN mine USING (case_id) "
                "WHERE state='waiting' OR (state='running' AND owner != ?)",
                [str(self.me)],
            ).fetchone()
            return int(count)

    def end(self, case_id: str, state: str, ending: Ending) -> bool:
        """Keep what became of a study; False when it was taken from this process meanwhile."""
        with self.transaction() as base:
            query = "SELECT 1 FROM studies WHERE case_id=? AND state='running' AND owner=?"
            if not base.execute(query, [case_id, str(self.me)]).fetchone():
                return False
            self._end(base, case_id, state, ending)
            return True

    def _end(self, base: sqlite3.Connection, case_id: str, state: str, ending: Ending) -> None:
        base.execute(
            "UPDATE studies SET state=?, owner='', reason=?, warnings=?, row=?, inputs=?, "
            "input_sha256=?, outputs=?, marks=?, seconds=? WHERE case_id=?",
            [
                state,
                ending.row.get("reason", ""),
                ending.row.get("warnings", ""),
                json.dumps(ending.row),
                ending.inputs,
                ending.input_sha256,
                json.dumps(ending.outputs),
                json.dumps(ending.marks),
                json.dumps(ending.seconds),
                case_id,
            ],
        )

    def again(self, studies: Iterable[Saved]) -> None:
        """Let ended studies wait again, those that have not been run anew meanwhile."""
        with self.transaction() as base:
            base.executemany(
                "UPDATE studies SET state='waiting', owner='', source=?, study_key=? "
                "WHERE case_id=? AND state=? AND attempts=?",
                [
                    (s.entry.source, s.entry.study_key, s.entry.case_id, s.state, s.attempts)
                    for s in studies
                ],
            )

    def keep_inputs(self, inputs: Mapping[str, str]) -> None:
        """Keep what is known of inputs that were written anew, with the same content."""
        with self.transaction() as base:
            pairs = [(text, case_id) for case_id, text in inputs.items()]
            base.executemany("UPDATE studies SET inputs=? WHERE case_id=?", pairs)

    def studies(self) -> list[Saved]:
        """Return every study, in the order in which they were added."""
        with self.transaction() as base:
            return self.listed(base)

    def listed(self, base: sqlite3.Connection) -> list[Saved]:
        """Return every study inside a transaction."""
        rows = base.execute(
            "SELECT case_id, source, study_key, series, box, state, attempts, row, seconds, "
            "inputs, input_sha256, outputs, marks FROM studies ORDER BY number"
        )
        return [saved_of(row) for row in rows]


def saved_of(row: Sequence[Any]) -> Saved:
    """Return a study from its row in the store."""
    case_id, source, key, series, box, state, attempts, result, seconds, inputs, sha, *rest = row
    outputs, marks = map(json.loads, rest)
    return Saved(
        row=json.loads(result) if result else {},
        seconds=json.loads(seconds),
        inputs=inputs,
        input_sha256=sha,
        outputs=outputs,
        marks=marks,
        entry=Entry(case_id, source, key, series, box),
        state=state,
        attempts=attempts,
    )
