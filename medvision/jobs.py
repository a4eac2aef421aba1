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
from medvision.io.choose import fitting
from medvision.io.names import safe_name
from medvision.study import StudyRef

NOT_HERE = "option --series {} does not apply: no series here fits it"


@dataclass(frozen=True)
class Job:
    """One thing to predict: a study, or a box of it.

    Parameters
    ----------
    case_id : str
        Unique in a run: that of the study, with the series and the box that were asked for.
    source : Path
    series : tuple of str
        As `read_study` takes them.
    box : Box, optional
    study : StudyRef, optional
        What was found at `source`, which may hold others.
    note : str
        What of the options does not apply to this study; a warning in its row.
    """

    case_id: str
    source: Path
    series: tuple[str, ...] = ()
    box: Box | None = None
    study: StudyRef | None = None
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a job: a row of results.csv, and what the run card keeps of it."""

    job: Job
    row: dict[str, Any]
    seconds: dict[str, float]
    input_sha256: str = ""
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)  # kind → {file, sha256, …}
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

    A study without an image, such as a report, is a job only where there is nothing else. A
    series that is asked for, and that only others of the studies have, does not apply to a study:
    there the model's inputs alone choose.
    """
    return jobs_of(find_studies(inputs, skip=[out], show=show), series, boxes)


def jobs_of(
    found: Sequence[StudyRef], series: Sequence[str] = (), boxes: Sequence[Box] = ()
) -> list[Job]:
    """Pair each study with each box, as `plan_jobs` does with what it finds."""
    jobs: list[Job] = []
    taken: set[str] = set()
    scans = [ref for ref in found if any(one.role == "image" for one in ref.series)] or found
    known = {text for text in series if any(has_series(ref, text) for ref in scans)}
    for ref in scans:
        other = tuple(text for text in series if text in known and not has_series(ref, text))
        asked = tuple(text for text in series if text not in other)
        note = NOT_HERE.format(", ".join(other)) if other else ""
        case_id = "_".join([ref.case_id, *map(safe_name, asked)])
        while case_id in taken:  # of a study whose own name ends like that
            case_id += "-2"
        taken.add(case_id)
        if not boxes:
            jobs.append(Job(case_id, ref.path, asked, None, ref, note))
        for number, box in enumerate(boxes, start=1):
            name = box.name if [b.name for b in boxes].count(box.name) == 1 else f"box-{number}"
            jobs.append(Job(f"{case_id}_{name}", ref.path, asked, box, ref, note))
    return jobs


def has_series(ref: StudyRef, asked: str) -> bool:
    """Tell whether a study has an image that ``"LABEL"`` or ``"input=LABEL"`` asks for."""
    images = [one for one in ref.series if one.role == "image"]
    labels = filter(None, (asked, asked.partition("=")[2]))
    return any(fitting(images, label) for label in labels)


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
