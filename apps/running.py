"""Running models: what is asked, the queue it waits in, and what was answered.

Answers belong to the visitor who asked, and are found again when the page is loaded anew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import streamlit as st
from jobs import Job, Jobs
from sources import Source, fed_study, log
from visitors import visitor

from medvision import Box, Prediction, Predictor, Study, StudyRef, load_predictor
from medvision.checkpoint import load_spec
from medvision.explain import explain
from medvision.explanation import Explanation
from medvision.spec import ModelSpec
from medvision.zoo import bundled_models

EVERY = 0.5  # seconds between looks at a job that is active


@dataclass(frozen=True)
class Question:
    """What a model is asked: equal ones have equal answers.

    Parameters
    ----------
    model : Path
    source : Source
        What is looked at.
    series : tuple of str
        What feeds the inputs, as `read_study` takes it; empty for the series that is looked at.
    box : Box, optional
    report : str, optional
    """

    model: Path
    source: Source
    series: tuple[str, ...]
    box: Box | None
    report: str | None


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model said, of what, and how long it took; each is like none but itself."""

    id: str  # of the job
    question: Question
    ref: StudyRef
    prediction: Prediction
    device: str
    seconds: float
    explanation: Explanation | None = None  # of a model that reads reports

    @property
    def name(self) -> str:
        """What tells it from other answers on the same scan."""
        box = self.question.box
        where = f", {box.name or 'box'}" if box else ""
        return f"{self.prediction.model}{where}"

    def study(self) -> Study:
        """Return what was asked about, read again where it is not held any more."""
        return study_for(self.question, self.ref)


@st.cache_resource(show_spinner=False)
def jobs() -> Jobs:
    """Return the queue of all visitors; the first model is loaded meanwhile."""
    threading.Thread(target=warm, daemon=True).start()
    return Jobs()


def warm() -> None:
    """Load what the first run would wait for."""
    for folder in list(bundled_models().values())[:1]:
        predictor_for(folder, stamp_of(folder))


@lru_cache(maxsize=3)
def predictor_for(model: Path, stamp: float) -> Predictor:
    """Load the model in a folder once for all visitors, and anew when it changed.

    What it segments comes with a map of where it is unsure.
    """
    return load_predictor(model, uncertainty=True)


@lru_cache(maxsize=64)
def spec_of(model: Path, stamp: float) -> ModelSpec:
    """Return the spec of the model in a folder."""
    return load_spec(model)


def stamp_of(model: Path) -> float:
    """Return when a model folder was last written to."""
    return max((one.stat().st_mtime for one in model.iterdir()), default=0.0)


def study_for(question: Question, ref: StudyRef) -> Study:
    """Return the study of a question, with its report."""
    inputs = spec_of(question.model, stamp_of(question.model)).inputs
    study = fed_study(ref, question.source, question.series, inputs)
    return replace(study, report=question.report)


def ask(question: Question, ref: StudyRef) -> Job:
    """Queue a question; the same that is active already is not asked twice."""
    spec = spec_of(question.model, stamp_of(question.model))

    def work(job: Job) -> Answer:
        job.step(0.0, "Loading the model")
        predictor = predictor_for(question.model, stamp_of(question.model))
        job.step(0.0, "Reading the scan")
        study = study_for(question, ref)
        words = f"Running on {predictor.device}"
        found = predictor.predict(study, question.box, lambda share: job.step(share, words))
        why = None
        if spec.task == "classification" and spec.text is not None:
            job.step(1.0, "Explaining")
            why = explain(predictor, study, box=question.box)
        seconds = time.monotonic() - job.started
        return Answer(job.id, question, ref, found, str(predictor.device), seconds, why)

    job = Job(visitor(), question, f"{spec.name} on {ref.case_id}", ref.case_id, work)
    log("run", ref.case_id, model=spec.name)
    job = jobs().submit(job, "device")
    st.query_params["job"] = job.id
    return job


def asked_before() -> Job | None:
    """Return the job that the page's address names, when this visitor asked for it."""
    name = st.query_params.get("job", "")
    return jobs().find(visitor(), name) if name else None


def answers(source: Source | None = None) -> list[Answer]:
    """Return this visitor's answers, on one series where it is named, the newest first."""
    said = [job.result for job in jobs().of(visitor()) if isinstance(job.result, Answer)]
    return [one for one in said if source is None or one.question.source == source]


def answer_to(question: Question) -> Answer | None:
    """Return the newest answer to a question; None when there is none."""
    found = [one for one in answers(question.source) if one.question == question]
    return found[0] if found else None


def active_jobs() -> list[Job]:
    """Return this visitor's jobs that wait or run, the oldest first."""
    return [job for job in reversed(jobs().of(visitor())) if job.active]


def device_in_words() -> str:
    """Return what a model will run on: the GPU and its free memory, or the CPU and its threads."""
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        return f"{name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free, PyTorch {torch.__version__}"
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' * (threads > 1)}, PyTorch {torch.__version__}"


def last_job(question: Question) -> Job | None:
    """Return this visitor's newest job with a question."""
    return next((job for job in jobs().of(visitor()) if job.key == question), None)


def watch(were_active: Sequence[Job]) -> None:
    """Show the jobs that are active, each with a way to end it.

    Parameters
    ----------
    were_active : sequence of Job
        Those that were active before the page looked for answers: one that has ended since is a
        reason to draw the page anew.
    """
    if were_active:
        progress({job.id for job in were_active})


@st.fragment(run_every=EVERY)
def progress(watched: set[str]) -> None:
    """Show how far the active jobs are; when one has ended, the page is drawn anew."""
    mine = active_jobs()
    if watched != {job.id for job in mine}:
        st.rerun()
    for job in mine:
        bar, stop = st.columns([5, 1], vertical_alignment="center")
        ahead = jobs().ahead(job)
        waits = f"waits for {ahead} other{'s' if ahead > 1 else ''}" if ahead else "starts"
        words = job.doing if job.state == "running" else waits
        bar.progress(job.share, f"{job.title}: {words} …")
        if stop.button("Cancel", key=f"cancel {job.id}", width="stretch"):
            job.stop.set()
            log("cancel", job.about)
