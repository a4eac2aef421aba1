"""Many studies through one model: each stands alone, none is lost and none done twice.

Joins reading, the Predictor, the writers and the store; everything a face shows comes from here.
"""

from __future__ import annotations

import json
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from medvision.answer import Answer, Ready
from medvision.errors import MedvisionError, OutputError
from medvision.execution import AUTO
from medvision.export import RESOLVED, Export
from medvision.failure import failure_of, nowhere_to_write, reason_of
from medvision.files import hashes_of
from medvision.io import read_study
from medvision.jobs import Job, Outcome, Shard
from medvision.outputs import check_formats, write_outputs
from medvision.outputs.table import SERIES, candidates_of, failed_row, row_of, series_of
from medvision.outputs.uncertainty import UNCERTAINTY
from medvision.pipeline import run_pipeline
from medvision.prediction import Prediction
from medvision.predictor import Predictor
from medvision.progress import announce, track
from medvision.run_card import resolved_of
from medvision.session import Work, open_session
from medvision.sliding import Step
from medvision.store import Ending, Store
from medvision.study import Study
from medvision.whole import Files, hash_inputs, mark_of

LOOK_EVERY = 0.5  # seconds between two looks at what other processes do


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
    *,
    retry_failed: bool = False,
    shard: Shard | None = None,
    step: Step | None = None,
) -> list[Outcome]:
    """Predict every job; write its files, results.csv, run.json and report.html into `out`.

    Of `formats` none given means all that fit the model's task. A study that fails is a row with
    its reason, and the others go on.

    status.sqlite in `out` holds the state of every study, so that a run that was ended at any
    moment goes on when it is started again: what is done, whole and made of the same files is not
    done again. Any number of processes may work on one `out` at a time. The two tables are
    written from it every few seconds and at the end, the page at the end.

    Parameters
    ----------
    jobs : sequence of Job
    predictor : Predictor
    out : Path
    model : str
        What the predictor was loaded from.
    formats, command : sequence of str
    show : bool
        Whether to show progress.
    debug : bool
        Whether to print the traceback of a study that fails.
    overwrite : bool
        Begin anew where `out` holds results.
    retry_failed : bool
        Run those again that failed.
    shard : Shard, optional
        The part of the jobs that is for this process.
    step : callable
        Told, on this thread, which share is done of what this run found waiting, 0 to 1; as in
        `Predictor.predict`. A `BaseException` that it raises ends the run, which can be gone on
        with; an `Exception` fails the study.

    Returns
    -------
    list of Outcome
        One a job, or one a job of the shard, in their order.

    Raises
    ------
    OutputError
        When a format is unknown or does not fit the task or the predictor, or `out` cannot hold
        results, holds those of other settings, or is full.
    """
    check_map(formats, predictor)
    session = open_session(
        jobs, predictor.spec, out, model, formats, command,
        show=show, overwrite=overwrite, retry_failed=retry_failed, shard=shard,
        runtime=predictor.execution.asked, tta=predictor.tta,
    )  # fmt: skip
    with session as run:
        way = noting_the_way(run.store, predictor) if run.waiting else nullcontext()
        with saved_at_the_end(run.export), way:
            total = run.waiting if show else 0
            share = Share(step, run.waiting) if step else None
            run_studies(run, predictor, run.export.tick, total, debug, share=share)
        return run.outcomes()


def check_map(formats: Sequence[str], predictor: Predictor) -> None:
    """Refuse to begin where a map is asked for that the predictor does not make.

    Raises
    ------
    OutputError
    """
    if (
        UNCERTAINTY in formats
        and predictor.spec.task == "segmentation"
        and not predictor.uncertainty
    ):
        raise OutputError(
            f"The output {UNCERTAINTY!r} takes a predictor that makes the map: "
            "load_predictor(model, uncertainty=True)."
        )


@contextmanager
def saved_at_the_end(export: Export) -> Iterator[None]:
    """Write the tables before the block and after it, then with the page; what ends it is first."""
    export.save()
    try:
        yield
    except BaseException:
        with suppress(MedvisionError):  # a full disk: those that are there are whole
            export.save_all()
        raise
    export.save_all()


@contextmanager
def noting_the_way(store: Store, predictor: Predictor) -> Iterator[None]:
    """Note how the network runs, for the run card; what ``auto`` chose here before is taken."""
    execution = predictor.execution
    before = json.loads(store.about().get(RESOLVED, "{}"))
    if execution.ready is None and before.get("runtime", AUTO) != AUTO:
        execution.take(before)
    if execution.ready is not None or not before:
        store.note({RESOLVED: json.dumps(resolved_of(predictor))})
    try:
        yield
    finally:
        if execution.choice is not None:
            store.note({RESOLVED: json.dumps(resolved_of(predictor))})


@dataclass
class Share:
    """Which share of some studies is done, told as it grows."""

    told: Step
    total: int
    done: int = 0

    def __call__(self, part: float = 0.0) -> None:
        """Say that so much of the next study is done, 0 to 1."""
        self.told(min(1.0, (self.done + part) / max(1, self.total)))


@dataclass
class Item:
    """A study on its way."""

    job: Job
    about: dict[str, str] = field(default_factory=dict)  # columns of its row: whereof it is
    study: Study | None = None
    ready: Ready | None = None
    answer: Answer | None = None
    ending: Ending = field(default_factory=lambda: Ending({}))
    reason: str = ""  # why it failed
    failure: str = ""  # of which kind that is
    clock: Clock = field(default_factory=lambda: Clock())


def run_studies(
    run: Work,
    predictor: Predictor,
    tick: Callable[[], None] = lambda: None,
    total: int = 0,
    debug: bool = False,
    tries: int = 0,
    share: Share | None = None,
) -> None:
    """Run what waits until all studies of this process have ended, here or elsewhere.

    Reading ahead and writing have a thread each; the network runs in the thread that calls.

    Parameters
    ----------
    run : Work
    predictor : Predictor
    tick : callable
        Called after each study.
    total : int
        How many are to be expected, for a progress bar; 0 shows none.
    debug : bool
    tries : int
        See `Store.claim`.
    share : Share, optional
        Told how far the network is.
    """

    def source(stop: threading.Event) -> Iterator[Item]:
        return (Item(job) for job in claims(run.store, run.mine, stop, total > 0, tries))

    def finish(item: Item) -> None:
        write(item, predictor, run.out, run.formats, debug)
        state = "failed" if item.reason else "done"
        run.store.end(item.job.case_id, state, item.ending)
        tick()

    with warnings.catch_warnings():  # threads undo each other's filters, not this one
        warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")  # its words repeat values
        run_pipeline(
            source,
            partial(read, predictor=predictor, formats=run.formats, debug=debug),
            partial(predict, predictor=predictor, debug=debug, share=share),
            finish,
            lambda items: track(items, "Predict", total, total > 0),
        )


def claims(
    store: Store, jobs: Mapping[str, Job], stop: threading.Event, show: bool, tries: int
) -> Iterator[Job]:
    """Yield studies claimed for this process, until none waits and no other process runs one."""
    told = False
    while not stop.is_set():
        case_id = store.claim(tries)
        if case_id is not None:
            yield jobs[case_id]
            continue
        count = store.elsewhere()
        if not count:
            return
        if not told and store.others():
            announce(f"Waiting for {count} that another process runs.", show)
            told = True
        stop.wait(LOOK_EVERY)


@contextmanager
def step(item: Item, name: str, debug: bool) -> Iterator[None]:
    """Take the time of a step; whatever goes wrong in it is the reason why the study failed."""
    item.clock.start()
    try:
        yield
        item.clock.lap(name)
    except Exception as error:  # one bad study must not stop the others
        if name == "write" and nowhere_to_write(error):
            raise OutputError(f"{error} Make room and run again: what is done is kept.") from error
        if debug:
            traceback.print_exc()
        item.reason, item.failure = reason_of(error), failure_of(error, name)
        item.study = item.ready = item.answer = None


def read(
    item: Item, predictor: Predictor, formats: Sequence[str] = (), debug: bool = False
) -> Item:
    """Read the scans of a study, of which `formats` can be written, and make them ready."""
    job, inputs = item.job, predictor.spec.inputs
    if job.study is not None:
        item.about = {"study": job.study.case_id, **candidates_of(job.study)}
    with step(item, "read", debug):
        item.study = read_study(job.study or job.source, job.series, job.case_id, inputs=inputs)
        item.about |= series_of(item.study)
        check_formats(item.study, formats)
    if predictor.max_ram is None:
        prepare(item, predictor, debug)
    return item


def prepare(item: Item, predictor: Predictor, debug: bool = False) -> None:
    """Make a study ready for the network: ahead, or where memory is limited only for the next."""
    if item.study is not None:
        with step(item, "prepare", debug):
            item.ready = predictor.prepare(item.study, item.job.box)


def predict(
    item: Item, predictor: Predictor, debug: bool = False, share: Share | None = None
) -> Item:
    """Run the network on a study."""
    if share is not None:
        share()
    if item.ready is None:
        prepare(item, predictor, debug)
    if item.ready is not None:
        with step(item, "predict", debug):
            item.answer = predictor.look(item.ready, share)
    if share is not None:
        share.done += 1
        share()
    return item


def write(
    item: Item, predictor: Predictor, out: Path, formats: Sequence[str], debug: bool = False
) -> Item:
    """Write the files of a study and drop its voxels; its ending is what the store keeps."""
    files, source = Files(item.job), str(item.job.source)
    study, prediction = item.study, finished(item, predictor, debug)
    if study is not None and prediction is not None:
        with step(item, "write", debug):
            used = [path for one in study.volumes.values() for path in one.info.sources]
            sources = list(dict.fromkeys(used))
            hashed = hash_inputs(sources)
            paths = write_outputs(prediction, study, out, formats)
            item.clock.lap("write")
            item.ending = Ending(
                row=row_of(prediction, source, item.clock.total, paths),
                seconds=item.clock.laps,
                inputs=files.inputs(sources, hashed).to_json(),
                input_sha256=hashed,
                outputs={kind: {"file": p.name, **hashes_of(p)} for kind, p in paths.items()},
                marks={kind: mark_of(path) for kind, path in paths.items()},
            )
    if item.reason:
        row = failed_row(item.job.case_id, source, item.reason, item.clock.total, item.failure)
        item.ending = Ending(row, item.clock.laps, files.inputs().to_json())
    item.ending = replace(item.ending, row=noted({**item.ending.row, **item.about}, item.job.note))
    item.study = None
    return item


def noted(row: dict[str, Any], note: str) -> dict[str, Any]:
    """Return a row that says which option did not apply, where that matters."""
    if not note:
        return row
    if row["status"] == "ok":
        return row | {"warnings": "; ".join(filter(None, (row["warnings"], note)))}
    if row["failure"] != SERIES:
        return row
    return row | {"reason": f"{note}. {row['reason']}"}


def finished(item: Item, predictor: Predictor, debug: bool = False) -> Prediction | None:
    """Return what the network's answer comes to, and drop it; None where there is none."""
    ready, answer = item.ready, item.answer
    item.ready = item.answer = None
    if ready is None or answer is None:
        return None
    with step(item, "finish", debug):
        return predictor.finish(ready, answer)
    return None  # it failed


class Clock:
    """Seconds spent on each named step; the time between two steps is not counted."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.last = time.perf_counter()

    def start(self) -> None:
        """Begin a step."""
        self.last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Name the time since the step began; a second lap of that name is added to it."""
        now = time.perf_counter()
        self.laps[name] = round(self.laps.get(name, 0.0) + now - self.last, 3)
        self.last = now

    @property
    def total(self) -> float:
        """Seconds in all laps."""
        return round(sum(self.laps.values()), 3)
