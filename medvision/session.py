"""One process's share of a results folder: what is to be run there, and what need not be."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from medvision import __version__
from medvision.checkpoint import SPEC, model_hash, weights_hash
from medvision.errors import OutputError
from medvision.export import Export, outcome_of
from medvision.files import remove_parts, sha256
from medvision.jobs import Job, Outcome, Shard
from medvision.outputs import WRITERS, choose_formats
from medvision.outputs.saved import RESULTS
from medvision.outputs.table import columns_of
from medvision.outputs.uncertainty import SUFFIX, UNCERTAINTY
from medvision.progress import announce
from medvision.run_card import Facts, box_entry
from medvision.runtime import EAGER
from medvision.sharing import DamagedFile, remove_file
from medvision.spec import ModelSpec
from medvision.store import STORE, Entry, OtherLayout, Saved, Store
from medvision.whole import Files, Inputs, outputs_whole
from medvision.zoo import find_model


@dataclass
class Work:
    """What a process works on.

    Parameters
    ----------
    store : Store
    out : Path
        The results folder.
    formats : tuple of str
        What is written of each study.
    mine : dict of str to Job
        The jobs that are for this process.
    """

    store: Store
    out: Path
    formats: tuple[str, ...]
    mine: dict[str, Job]


@dataclass
class Session(Work):
    """A results folder that is open for a list of jobs, with its tables.

    Parameters
    ----------
    export : Export
    earlier : dict of str to Saved
        Those of the jobs that are not run again.
    """

    export: Export
    earlier: dict[str, Saved] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """How many studies were to be run when the session began."""
        return len(self.mine) - len(self.earlier)

    def left(self) -> int:
        """Return how many studies of this process have not ended, wherever they are run."""
        return self.store.elsewhere()

    def outcomes(self) -> list[Outcome]:
        """Return what became of the jobs of this process, in their order."""
        studies = {one.entry.case_id: one for one in self.store.studies()}
        return [
            replace(outcome_of(studies[name], job), earlier=name in self.earlier)
            for name, job in self.mine.items()
            if studies[name].row
        ]


@contextmanager
def open_session(
    jobs: Sequence[Job],
    spec: ModelSpec,
    out: Path,
    model: str,
    formats: Sequence[str] = (),
    command: Sequence[str] = (),
    *,
    show: bool = True,
    overwrite: bool = False,
    retry_failed: bool = False,
    shard: Shard | None = None,
    runtime: str = EAGER,
    tta: bool = False,
) -> Iterator[Session]:
    """Open a results folder for some jobs, new or with what an earlier run has left there.

    `runtime` and `tta` are those that predictors were asked for: results of others do not mix.

    Raises
    ------
    OutputError
        As `run_batch`.
    """
    formats = choose_formats(formats, spec.task)
    check_folder(out, overwrite)
    twice = [name for name, n in Counter(job.case_id for job in jobs).items() if n > 1]
    if twice:
        raise OutputError(f"Several studies are called {twice[0]!r}: they need a name each.")
    check_maps([job.case_id for job in jobs], formats)
    mine = {job.case_id: job for job in jobs if shard is None or shard.holds(job.case_id)}
    folder = find_model(model)
    digest = model_hash(folder)
    settings = {
        "medvision": __version__,
        "model": spec.name,
        "weights": short(weights_hash(folder)),
        "spec": short(sha256(folder / SPEC)),
        "outputs": ", ".join(formats),
        "runtime": runtime,
        "tta": "yes" if tta else "no",
    }
    facts = Facts(spec.name, model, digest, tuple(formats), tuple(command), time.time())
    with open_store(out, overwrite) as store:
        store.begin(settings, overwrite)
        sweep(store, out)
        store.add([entry_of(job) for job in jobs], mine)
        columns = columns_of(spec.task, spec.class_names, spec.calibration is not None)
        export = Export(store, out, columns, facts, store.add_run())
        run = Session(store, out, tuple(formats), mine, export)
        run.earlier = sort_out(run, retry_failed, show)
        export.found = frozenset(mine.keys() - run.earlier.keys())
        yield run
        sweep(store, out)  # after those that ended meanwhile


@contextmanager
def join_session(jobs: Sequence[Job], out: Path, formats: Sequence[str]) -> Iterator[Work]:
    """Open a results folder that another process has opened as a session, to work in it."""
    with Store(out) as store:
        mine = {job.case_id: job for job in jobs}
        store.add([], mine)
        yield Work(store, out, tuple(formats), mine)


def check_folder(out: Path, overwrite: bool) -> None:
    """Refuse a place for results that cannot be one, or holds some that cannot be gone on with.

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
    if not overwrite and (out / RESULTS).exists() and not (out / STORE).exists():
        raise OutputError(
            f"{out} holds the results of an earlier run without its {STORE}: name another folder, "
            "or --overwrite."
        )


def check_maps(names: Sequence[str], formats: Sequence[str]) -> None:
    """Refuse studies of which one's mask would be written where another's uncertainty map is.

    Raises
    ------
    OutputError
    """
    if not {UNCERTAINTY, "nifti"} <= set(formats):
        return
    end = SUFFIX.removesuffix(WRITERS["nifti"].suffix)
    for name in sorted({f"{name}{end}" for name in names} & set(names)):
        raise OutputError(
            f"The mask of {name!r} would replace the uncertainty map of "
            f"{name.removesuffix(end)!r}: give one of them another folder for its results."
        )


def open_store(out: Path, overwrite: bool) -> Store:
    """Open the store of a folder; one that cannot be read is made anew where that is asked for."""
    try:
        return Store(out)
    except (DamagedFile, OtherLayout):
        if not overwrite:
            raise
        remove_file(out / STORE)
        return Store(out)


def sweep(store: Store, out: Path) -> None:
    """Remove the temporary files of processes that have ended."""
    remove_parts(out, lambda: {owner.pid for owner in store.others()})


def entry_of(job: Job) -> Entry:
    """Return what the store knows of a job."""
    return Entry(
        job.case_id,
        str(job.source),
        job.study.key if job.study else "",
        json.dumps(job.series),
        json.dumps(box_entry(job.box)),
    )


def sort_out(run: Session, retry_failed: bool, show: bool) -> dict[str, Saved]:
    """Let those studies wait again that are not as they were; return those that need not run."""
    known = [one for one in run.store.studies() if one.entry.case_id in run.mine]
    ended = [one for one in known if one.state in ("done", "failed")]
    fresh: dict[str, str] = {}
    changed, failed, kept = [], [], {}
    for one in ended:
        job, before = run.mine[one.entry.case_id], Inputs.from_json(one.inputs)
        now = Files(job).fitting(before)
        whole = one.state == "failed" or outputs_whole(run.out, one.outputs, one.marks)
        if now is None or not whole:
            changed.append(again(one, job))
        elif one.state == "failed" and retry_failed:
            failed.append(again(one, job))
        else:
            kept[job.case_id] = one
            if now != before:
                fresh[job.case_id] = now.to_json()
    run.store.again([*changed, *failed])
    run.store.keep_inputs(fresh)
    tell(run, kept, len(changed), len(failed), show)
    return kept


def again(saved: Saved, job: Job) -> Saved:
    """Return a study with its scan called as it is now."""
    entry = entry_of(job)
    return replace(saved, entry=entry)


def tell(run: Session, kept: dict[str, Saved], changed: int, failed: int, show: bool) -> None:
    """Say what an earlier run has left to do."""
    bad = sum(one.state == "failed" for one in kept.values())
    if kept or changed or failed:
        words = [f"{len(kept) - bad} of {len(run.mine)} are done already"]
        if bad:
            words.append(f"{bad} failed and are not tried again without --retry-failed")
        if failed:
            words.append(f"{failed} that failed are tried again")
        if changed:
            words.append(f"{changed} are done again, for their files have changed")
        announce("; ".join(words) + ".", show)


def short(digest: str) -> str:
    """Return the beginning of a hash, which is enough to tell two apart."""
    return digest[:16]
