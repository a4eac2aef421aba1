"""Jobs: what there is to predict, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medvision.geometry import Box
from medvision.io import find_studies
from medvision.io.names import safe_name
from medvision.study import StudyRef


@dataclass(frozen=True)
class Job:
    """One thing to predict: a study, or a box of it."""

    case_id: str
    source: Path
    series: tuple[str, ...] = ()
    box: Box | None = None
    study: StudyRef | None = None  # what was found at `source`, which may hold others


@dataclass(frozen=True)
class Outcome:
    """What became of a job: a row of results.csv, and what the run card keeps of it."""

    job: Job
    row: dict[str, Any]
    seconds: dict[str, float]
    input_sha256: str = ""
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)  # kind → {file, sha256}

    @property
    def failed(self) -> bool:
        """Whether the study has no result; its row says why."""
        return bool(self.row["status"] == "failed")


def plan_jobs(
    inputs: Sequence[Path],
    out: Path,
    series: Sequence[str] = (),
    boxes: Sequence[Box] = (),
    show: bool = False,
) -> list[Job]:
    """Find the studies of `inputs` and pair each with each box; none means the whole scan.

    A study without an image, such as a report, is a job only where there is nothing else.
    """
    jobs = []
    found = find_studies(inputs, skip=[out], show=show)
    scans = [ref for ref in found if any(one.role == "image" for one in ref.series)]
    for ref in scans or found:
        case_id = "_".join([ref.case_id, *map(safe_name, series)])
        if not boxes:
            jobs.append(Job(case_id, ref.path, tuple(series), None, ref))
        for number, box in enumerate(boxes, start=1):
            name = box.name if [b.name for b in boxes].count(box.name) == 1 else f"box-{number}"
            jobs.append(Job(f"{case_id}_{name}", ref.path, tuple(series), box, ref))
    return jobs
