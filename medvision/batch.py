"""Many studies through one model: each stands alone, and none is lost.

Joins reading, the Predictor and the writers; everything a face shows comes from here.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from medvision.errors import MedvisionError, OutputError
from medvision.files import sha256
from medvision.io import read_study
from medvision.jobs import Job, Outcome
from medvision.outputs import choose_formats, write_outputs
from medvision.outputs.table import columns_of, failed_row, row_of, write_results
from medvision.predictor import Predictor
from medvision.progress import track
from medvision.run_card import begin_run_card, hash_inputs, run_card, write_run_card

RESULTS = "results.csv"
SAVE_EVERY = 5.0  # seconds between two versions of the table


def run_batch(
    jobs: Sequence[Job],
    predictor: Predictor,
    out: Path,
    model: str,
    formats: Sequence[str] = (),
    command: Sequence[str] = (),
    show: bool = True,
    debug: bool = False,
    overwrite: bool = False,
) -> list[Outcome]:
    """Predict every job; write its files, results.csv and run.json into `out`.

    Of `formats` none given means all that fit the model's task.

    A study that fails is a row with its reason, and the others go on. The table is brought up to
    date every few seconds and at the end, so an interrupted run still tells what it did.

    Raises
    ------
    OutputError
        When a format is unknown or does not fit the task, or `out` cannot hold results, or holds
        earlier ones and `overwrite` is False.
    """
    spec = predictor.spec
    formats = choose_formats(formats, spec.task)
    check_folder(out, overwrite)
    begin_run_card(out, command)  # from now on the folder holds results, not scans
    started, saved = time.time(), 0.0
    outcomes: list[Outcome] = []

    def save() -> None:
        rows = [outcome.row for outcome in outcomes]
        write_results(rows, columns_of(spec.task, spec.class_names), out / RESULTS)

    try:
        for job in track(jobs, "Predict", len(jobs), show):
            outcomes.append(run_job(job, predictor, out, formats, debug))
            if time.monotonic() - saved > SAVE_EVERY:
                save()
                saved = time.monotonic()
    finally:
        save()
    write_run_card(out, run_card(outcomes, predictor, model, formats, command, started))
    return outcomes


def check_folder(out: Path, overwrite: bool) -> None:
    """Refuse a place for results that cannot be one, or holds those of an earlier run.

    Raises
    ------
    OutputError
    """
    if out.is_file():
        raise OutputError(f"{out} cannot hold results: it is a file, not a folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot hold results: {error.strerror}.") from None
    if not overwrite and (out / RESULTS).exists():
        raise OutputError(
            f"{out} holds the results of an earlier run: name another folder, or --overwrite."
        )


def run_job(
    job: Job, predictor: Predictor, out: Path, formats: Sequence[str], debug: bool = False
) -> Outcome:
    """Predict and write one study; whatever goes wrong ends in the outcome's row."""
    clock = Clock()
    source = str(job.source)
    try:
        inputs = predictor.spec.inputs
        study = read_study(job.study or job.source, job.series, job.case_id, inputs=inputs)
        clock.lap("read")
        prediction = predictor.predict(study, job.box)
        clock.lap("predict")
        files = write_outputs(prediction, study, out, formats)
        clock.lap("write")
        return Outcome(
            job=job,
            row=row_of(prediction, source, clock.total, files),
            seconds=clock.laps,
            input_sha256=hash_inputs(
                list(dict.fromkeys(p for v in study.volumes.values() for p in v.info.sources))
            ),
            outputs={k: {"file": p.name, "sha256": sha256(p)} for k, p in files.items()},
        )
    except Exception as error:  # one bad study must not stop the others
        if debug:
            traceback.print_exc()
        return Outcome(
            job, failed_row(job.case_id, source, reason_of(error), clock.total), clock.laps
        )


def reason_of(error: Exception) -> str:
    """Return what a user is told; the text of a foreign error may hold a name, so it is not."""
    if isinstance(error, MedvisionError):
        return str(error)
    if isinstance(error, MemoryError):
        return "Out of memory: crop the scan with --box, or use a machine with more."
    return f"Unexpected {type(error).__name__}: run again with --debug, and please report it."


class Clock:
    """Seconds spent on each named step."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Name the time since the last lap."""
        now = time.perf_counter()
        self.laps[name], self.last = round(now - self.last, 3), now

    @property
    def total(self) -> float:
        """Seconds in all laps."""
        return round(sum(self.laps.values()), 3)
