"""Work that takes long: its queue, its owner, its end."""

import threading
import time

import pytest
from jobs import KEPT, Job, Jobs

from medvision.errors import GeometryError


def wait(job):
    for _ in range(500):
        if not job.active:
            return job
        time.sleep(0.01)
    raise AssertionError(f"{job.title} does not end")


def job_of(work, owner="ann", key="question"):
    return Job(owner, key, "a title", "a study", work)


def test_a_job_ends_with_its_result_and_says_how_far_it_is():
    gate = threading.Event()

    def work(job):
        job.step(0.5, "half way")
        gate.wait(5)
        return 42

    jobs = Jobs()
    job = jobs.submit(job_of(work), "cpu")
    while not job.doing:
        time.sleep(0.01)
    assert (job.state, job.share, job.doing) == ("running", 0.5, "half way")
    assert jobs.submit(job_of(work), "cpu") is job  # the same question
    gate.set()
    assert (wait(job).state, job.result) == ("done", 42)
    assert jobs.submit(job_of(work), "cpu") is not job  # asked again


def test_a_job_that_is_cancelled_ends_at_its_next_step_and_the_next_one_runs():
    begun = threading.Event()

    def work(job):
        while True:
            job.step(0.1)
            begun.set()

    jobs = Jobs()
    endless = jobs.submit(job_of(work), "cpu")
    later = jobs.submit(job_of(lambda job: "done", key="other"), "cpu")
    never = jobs.submit(job_of(lambda job: "done", key="third"), "cpu")
    begun.wait(5)
    assert (jobs.ahead(endless), jobs.ahead(later), jobs.ahead(never)) == (0, 1, 2)
    never.stop.set()
    endless.stop.set()
    assert wait(endless).state == "cancelled"
    assert wait(later).result == "done"
    assert wait(never).state == "cancelled"
    assert never.result is None


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (GeometryError("The box lies outside."), "The box lies outside."),
        (MemoryError(), "Out of memory"),
        (ValueError("Jane Doe"), "Unexpected ValueError"),
    ],
)
def test_a_job_that_breaks_says_why_and_leaves_the_worker_alive(error, says):
    def work(job):
        raise error

    jobs = Jobs()
    broken = wait(jobs.submit(job_of(work), "cpu"))
    assert broken.state == "failed"
    assert says in broken.error
    assert "Doe" not in broken.error
    assert wait(jobs.submit(job_of(lambda job: 1, key="other"), "cpu")).result == 1


def test_a_job_is_its_owners():
    jobs = Jobs()
    job = jobs.submit(job_of(lambda job: "secret"), "cpu")
    assert jobs.find("ann", job.id) is job
    assert jobs.find("bob", job.id) is None
    assert jobs.find("ann", "unknown") is None
    assert jobs.of("ann") == [job]
    assert jobs.of("bob") == []


def test_old_jobs_are_forgotten_and_active_ones_are_not():
    gate = threading.Event()
    jobs = Jobs()
    first = jobs.submit(job_of(lambda job: gate.wait(5), key="first"), "gpu")
    for number in range(KEPT + 5):
        wait(jobs.submit(job_of(lambda job: 1, key=number), "cpu"))
    assert len(jobs.of("ann")) == KEPT
    assert jobs.find("ann", first.id) is first
    gate.set()
