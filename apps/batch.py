"""The page Batch: a model over many studies, as `medvision predict` does it; watch, and go on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from jobs import Job
from notices import told
from running import active_jobs, device_in_words, jobs, predictor_for, spec_of, stamp_of, watch
from sources import OWN, ROOT, Found, below, found, is_within, log, shown_path
from state import go, plain
from visitors import visitor

from medvision import MedvisionError, StudyRef, parse_box
from medvision.batch import run_batch
from medvision.errors import OutputError
from medvision.geometry import BOXES
from medvision.io.names import safe_name
from medvision.jobs import jobs_of
from medvision.outputs import WRITERS
from medvision.outputs.saved import RESULTS, read_saved
from medvision.review import YES
from medvision.store import STORE
from medvision.zoo import all_models

LOOK_EVERY = 3.0  # seconds between looks at a folder that is being written


@dataclass(frozen=True)
class Order:
    """What is to be run on what, and where the results go: equal ones are one."""

    model: Path
    studies: tuple[str, ...]
    boxes: tuple[str, ...]
    outputs: tuple[str, ...]
    folder: Path
    retry_failed: bool


def show() -> None:
    """Draw the page."""
    every = found()
    shared = [ref for ref in every.studies if is_within(ref.path, ROOT) and may_hold_image(ref)]
    if not shared:
        st.info(plain(every.problem or "There is no scan in the folder of the app."))
        return
    active = active_jobs()
    left, right = st.columns([3, 2])
    with left:
        order = choose(shared)
    busy = any(same_place(job, order) for job in active)
    with right:
        st.fragment(run_every=LOOK_EVERY if busy else None)(show_state)(order, every)
    watch(active)
    last = next((job for job in jobs().of(visitor()) if same_place(job, order)), None)
    if last is not None and last.error:
        st.error(told(last.error))


def may_hold_image(ref: StudyRef) -> bool:
    """Tell whether a study has a series with pixels, which perhaps cannot be read."""
    return any(one.role == "image" for one in ref.series)


def choose(refs: list[StudyRef]) -> Order:
    """Let the user say what is to be run, and start it."""
    models = all_models(OWN)
    if st.session_state.get("batch model") not in models:
        st.session_state["batch model"] = next(iter(models))
    name = st.selectbox("Model", list(models), key="batch model")
    spec = spec_of(models[name], stamp_of(models[name]))
    names = [ref.case_id for ref in refs]
    wanted = st.multiselect(
        f"Studies ({len(names)})", names, key="batch studies", placeholder="all of them"
    )
    boxes = st.multiselect("Region", list(BOXES), key="batch boxes", placeholder="the whole scan")
    kinds = [kind for kind, writer in WRITERS.items() if spec.task in writer.tasks]
    outputs = st.multiselect("Outputs", kinds, key="batch outputs", placeholder="the defaults")
    if not st.session_state.get("batch folder"):
        st.session_state["batch folder"] = f"results_{safe_name(name)}"
    folder = st.text_input("Folder for the results", key="batch folder", help="below the app's")
    again = st.checkbox("Run those again that failed", key="batch again")
    order = Order(
        models[name], tuple(wanted or names), tuple(boxes), tuple(outputs), ROOT / folder, again
    )
    busy = any(same_place(job, order) for job in active_jobs())
    label = "Running …" if busy else "Go on" if (order.folder / STORE).exists() else "Start"
    if st.button(label, type="primary", disabled=busy):
        start(order, refs)
        st.rerun()
    st.caption(f"On {device_in_words()}. What is done and whole is not done again.")
    return order


def same_place(job: Job, order: Order) -> bool:
    """Tell whether a job writes where an order would."""
    return isinstance(job.key, Order) and job.key.folder == order.folder


def start(order: Order, refs: list[StudyRef]) -> None:
    """Queue an order.

    Raises
    ------
    OutputError
        When its folder would lie outside of the app's.
    """
    if not is_within(order.folder, ROOT) or order.folder.resolve() == ROOT.resolve():
        raise OutputError(f"The results go into a folder below the app's; found {order.folder}.")
    studies = [ref for ref in refs if ref.case_id in order.studies]
    planned = jobs_of(studies, (), [parse_box(box) for box in order.boxes])

    def work(job: Job) -> str:
        predictor = predictor_for(order.model, stamp_of(order.model))
        job.step(0.0, f"Running on {predictor.device}")
        try:
            outcomes = run_batch(
                planned,
                predictor,
                order.folder,
                str(order.model),
                order.outputs,
                ["medvision", "app"],
                show=False,
                retry_failed=order.retry_failed,
                step=job.step,
            )
        finally:
            below.clear()
        return f"{len(outcomes)} studies"

    model = spec_of(order.model, stamp_of(order.model)).name
    for ref in studies:
        log("run", ref.case_id, model=model)
    title = f"{model} on {len(planned)} studies"
    jobs().submit(Job(visitor(), order, title, order.folder.name, work), "device")


def show_state(order: Order, every: Found) -> None:
    """Show what is in the folder of an order."""
    st.markdown(f"**{plain(order.folder.name)}**")
    if not (order.folder / RESULTS).exists():
        st.info("Nothing here yet. A run that is cancelled, or ends in any way, can go on later.")
        return
    try:
        rows = read_saved(order.folder).rows
    except MedvisionError as error:
        st.warning(told(str(error)))
        return
    failed = sum(row["status"] == "failed" for row in rows)
    warned = sum(bool(row.get("warnings")) for row in rows)
    counts = {"Done": len(rows) - failed, "Failed": failed, "With warnings": warned}
    if any(row.get("review") for row in rows):  # the model knows when a person should look
        counts["To review"] = sum(row.get("review") == YES for row in rows)
    for column, (what, count) in zip(st.columns(len(counts)), counts.items(), strict=True):
        column.metric(what, count)
    if st.button("Look through them", disabled=not rows):
        folders = {one.folder.resolve(): shown_path(one.folder) for one in every.results}
        go("Results", folder=folders.get(order.folder.resolve(), shown_path(order.folder)))
