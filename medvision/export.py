"""results.csv, run.json and report.html, from the store: whole whenever, whoever writes them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medvision.errors import OutputError
from medvision.jobs import Job, Outcome
from medvision.outputs.batch_page import save_batch_page
from medvision.outputs.saved import RESULTS
from medvision.outputs.table import write_results
from medvision.run_card import Facts, box_of, run_card, run_entry, write_run_card
from medvision.store import Saved, Store
from medvision.study import StudyRef

SAVE_EVERY = 5.0  # seconds between two versions
SHARE = 20  # times as long as it takes to write them, at least
RESOLVED = "resolved"  # what the store notes of where the network runs


@dataclass
class Export:
    """Writes both tables, now and then, and at the end the page.

    Parameters
    ----------
    store : Store
    folder : Path
    columns : sequence of str
        Of results.csv.
    facts : Facts
    run : str
        What the store calls this run.
    found : frozenset of str
        The studies that it found waiting.
    """

    store: Store
    folder: Path
    columns: Sequence[str]
    facts: Facts
    run: str
    found: frozenset[str] = frozenset()
    due: float = 0.0

    def save(self) -> None:
        """Write both as the store stands; nobody changes it meanwhile, so the last one is right.

        Raises
        ------
        OutputError
            When the disk refuses; what is there stays whole.
        """
        began = time.monotonic()
        with self.store.transaction() as base:
            studies = self.store.listed(base)
            ended = [outcome_of(one) for one in studies if one.state in ("done", "failed")]
            entry = run_entry(self.facts, sum(o.job.case_id in self.found for o in ended))
            base.execute("UPDATE about SET value=? WHERE name=?", [json.dumps(entry), self.run])
            about = dict(base.execute("SELECT name, value FROM about"))
            resolved: dict[str, Any] = json.loads(about.get(RESOLVED, "{}"))
            runs = [
                json.loads(about[name])
                for name in sorted(about)
                if name.startswith("run ") and about[name]
            ]
            card = run_card(ended, self.facts, resolved, runs, len(ended) == len(studies))
            try:
                write_results([one.row for one in ended], self.columns, self.folder / RESULTS)
                write_run_card(self.folder, card)
            except OSError as error:
                raise self.refused(error) from error
        now = time.monotonic()
        self.due = now + max(SAVE_EVERY, SHARE * (now - began))

    def save_all(self) -> None:
        """Write both, and report.html from them, which takes longer: once, at the end.

        Raises
        ------
        OutputError
            As `save`.
        """
        self.save()
        try:
            save_batch_page(self.folder)
        except OSError as error:
            raise self.refused(error) from error

    def refused(self, error: OSError) -> OutputError:
        """Return what a user is told when the disk refuses."""
        return OutputError(
            f"{self.folder} cannot be written to: {error.strerror or error}. What is done is kept: "
            "run again once this is mended."
        )

    def tick(self) -> None:
        """Write both when it is time."""
        if time.monotonic() >= self.due:
            self.save()


def outcome_of(saved: Saved, job: Job | None = None) -> Outcome:
    """Return what became of a study; of a job, or as far as the store knows the job."""
    entry = saved.entry
    return Outcome(
        job=job
        or Job(
            entry.case_id,
            Path(entry.source),
            tuple(json.loads(entry.series)),
            box_of(json.loads(entry.box)),
            StudyRef(entry.case_id, Path(entry.source)),
        ),
        row=dict(saved.row),
        seconds=dict(saved.seconds),
        input_sha256=saved.input_sha256,
        outputs={kind: dict(output) for kind, output in saved.outputs.items()},
        study_key=entry.study_key,
    )
