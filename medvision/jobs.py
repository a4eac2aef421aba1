"""Jobs: what there is to predict, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from medvision.errors import SpecError
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
    earlier: bool = False  # whether an earlier run came to it
    study_key: str = ""  # as of StudyRef

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
    return jobs_of(find_studies(inputs, skip=[out], show=show), series, boxes)


def jobs_of(
    found: Sequence[StudyRef], series: Sequence[str] = (), boxes: Sequence[Box] = ()
) -> list[Job]:
    """Pair each study with each box, as `plan_jobs` does with what it finds."""
    jobs = []
    scans = [ref for ref in found if any(one.role == "image" for one in ref.series)]
    for ref in scans or found:
        case_id = "_".join([ref.case_id, *map(safe_name, series)])
        if not boxes:
            jobs.append(Job(case_id, ref.path, tuple(series), None, ref))
        for number, box in enumerate(boxes, start=1):
            name = box.name if [b.name for b in boxes].count(box.name) == 1 else f"box-{number}"
            jobs.append(Job(f"{case_id}_{name}", ref.path, tuple(series), box, ref))
    return jobs


@dataclass(frozen=True)
class Shard:
    """One of several parts of a list of studies, for one of several machines.

    Parameters
    ----------
    number, of : int
        From 1.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise SpecError(f"A shard is one of 1/{self.of} to {self.of}/{self.of}; found {self}.")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def holds(self, case_id: str) -> bool:
        """Tell whether a study belongs to this part, whatever else is in the list."""
        digest = blake2b(case_id.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        return int.from_bytes(digest) % self.of == self.number - 1


def parse_shard(text: str) -> Shard:
    """Read ``"3/16"``: the third of sixteen parts.

    Examples
    --------
    >>> parse_shard("3/16")
    Shard(number=3, of=16)
    """
    number, slash, of = text.partition("/")
    if not (slash and number.strip().isdecimal() and of.strip().isdecimal()) or not int(of):
        raise SpecError(f"Shard {text!r} is not of the form i/n, such as 3/16.")
    return Shard(int(number), int(of))
