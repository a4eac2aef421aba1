"""Is what was done still whole? Inputs and outputs as they were, told by stamps, else by hashes.

A stamp is size and time of change. What is kept of the inputs are digests and positions, never
the names of the files inside a study.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medvision.files import sha256
from medvision.io.archive import archive_of
from medvision.io.nifti import nifti_stem
from medvision.jobs import Job

BESIDE = (".json", ".img", ".img.gz", ".raw", ".raw.gz", ".zraw")  # belong to a file of that stem


@dataclass(frozen=True)
class Inputs:
    """What a study was made of.

    Parameters
    ----------
    stamp : str
        Digest of the names (below the study), sizes and times of change of all its files.
    facts : str
        Digest of what its headers say: what a series is chosen by.
    order : tuple of int, optional
        Which of its files were read, in which order; None when others were, too.
    content : str
        SHA-256 of what was read, the report included; empty where nothing was.
    """

    stamp: str = ""
    facts: str = ""
    order: tuple[int, ...] | None = None
    content: str = ""

    def to_json(self) -> str:
        """Return them as JSON."""
        return json.dumps([self.stamp, self.facts, self.order, self.content])

    @classmethod
    def from_json(cls, text: str) -> Inputs:
        """Read what `to_json` wrote."""
        stamp, facts, order, content = json.loads(text) if text else ("", "", None, "")
        return cls(stamp, facts, None if order is None else tuple(order), content)


@dataclass
class Files:
    """The files of a job on the disk, seen once."""

    job: Job
    paths: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.paths = files_of(self.job)

    def inputs(self, sources: Sequence[Path] = (), input_sha256: str = "") -> Inputs:
        """Return what to keep of a study: what was read, where anything was."""
        stamp, facts = stamp_of(self.paths, self.job.source), facts_of(self.job)
        if not sources:
            return Inputs(stamp, facts)
        places = {path: n for n, path in enumerate(self.paths)}
        order = tuple(places.get(path, -1) for path in sources)
        content = self.content(input_sha256)
        return Inputs(stamp, facts, None if -1 in order else order, content)

    def content(self, input_sha256: str) -> str:
        """Return the hash of scans and reports."""
        reports = self.job.study.reports if self.job.study else ()
        parts = [input_sha256, *(sha256(path) for path in map(on_disk, reports))]
        return hashlib.sha256(":".join(parts).encode()).hexdigest()

    def fitting(self, kept: Inputs) -> Inputs | None:
        """Return the inputs as they are when nothing of them has changed, else None."""
        stamp = stamp_of(self.paths, self.job.source)
        if stamp == kept.stamp:
            return kept
        order = kept.order
        if order is None or not kept.content or facts_of(self.job) != kept.facts:
            return None
        try:
            now = self.content(hash_inputs([self.paths[n] for n in order]))
        except (OSError, IndexError):
            return None
        return Inputs(stamp, kept.facts, order, now) if now == kept.content else None


def files_of(job: Job) -> list[Path]:
    """Return the files of a study, sorted; a zip stands for what lies in it."""
    if job.study is None:
        inside = job.source.rglob("*") if job.source.is_dir() else [job.source]
        return sorted(path for path in inside if path.is_file())
    found: set[Path] = set(map(on_disk, job.study.reports))
    for one in job.study.series:
        for path in map(on_disk, one.files):
            found.add(path)
            if one.format != "dicom":
                beside = (path.with_name(f"{nifti_stem(path)}{end}") for end in BESIDE)
                found.update(other for other in beside if other.is_file())
    return sorted(found)


def on_disk(path: Path) -> Path:
    """Return the zip that a path leads into, else the path."""
    return archive_of(path) or path


def stamp_of(paths: Iterable[Path], base: Path) -> str:
    """Return a digest that changes when a file is written, comes or goes."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        try:
            status = path.stat()
            stamp = f"{status.st_size} {status.st_mtime_ns}"
        except OSError:
            stamp = "gone"
        name = os.path.relpath(path, base)
        digest.update(f"{name}\0{stamp}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def facts_of(job: Job) -> str:
    """Return a digest of what a study's headers say."""
    words = [
        [s.label, s.role, s.uid, s.modality, s.description, s.plane, s.contrast, s.shape, s.problem]
        for s in (job.study.series if job.study else ())
    ]
    return hashlib.blake2b(repr(words).encode("utf-8", "replace"), digest_size=16).hexdigest()


def hash_inputs(sources: Sequence[Path]) -> str:
    """Return the SHA-256 of a file; of several, the SHA-256 over their hex digests in order."""
    digests = [sha256(path) for path in sources]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def mark_of(path: Path) -> list[int]:
    """Return the size and time of change of an output."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def outputs_whole(
    folder: Path, outputs: Mapping[str, Mapping[str, str]], marks: Mapping[str, Sequence[int]]
) -> bool:
    """Tell whether every output is there as it was written; hashed only where its mark differs."""
    for kind, output in outputs.items():
        path = folder / Path(output["file"]).name
        try:
            if mark_of(path) != list(marks.get(kind, ())) and sha256(path) != output["sha256"]:
                return False
        except OSError:
            return False
    return True
