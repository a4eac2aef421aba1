"""Files to studies: which belong together, and what each study holds.

Knows what each file says, and nothing of how that was found out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

from medvision.io.dicomdir import Reference, locate
from medvision.io.facts import FileFacts, merged, series_refs
from medvision.io.names import bids_folder, common_folder
from medvision.io.walk import Entry
from medvision.study import SeriesRef, StudyRef

TOLD_ALONE = 5  # broken files of one study that are a line each; more are one line


@dataclass
class Group:
    """Files that make one study; a zip's files make several."""

    key: str
    uid: str
    path: Path | None  # where a group without UID lies
    entries: list[Entry] = field(default_factory=list)
    patient: str = ""
    day: int | None = None
    studies: tuple[StudyRef, ...] = ()

    @property
    def signature(self) -> str:
        """What changes when any of the files does, or is named in another way."""
        lines = "\n".join(f"{e.path}|{e.stamp}" for e in self.entries)
        return blake2b(lines.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def group_files(
    entries: Sequence[Entry], facts: Mapping[str, FileFacts]
) -> tuple[list[Group], list[Entry]]:
    """Return the groups in the order of their first files, and apart from them the DICOMDIRs."""
    studies_in: dict[str, set[str]] = {}  # folder → StudyInstanceUIDs of its own files
    for entry in entries:
        uid = facts[entry.name].study_uid
        if uid:
            studies_in.setdefault(entry.folder, set()).add(uid)
    groups: dict[str, Group] = {}
    listings = []
    for entry in entries:
        one = facts[entry.name]
        if one.kind == "dicomdir":
            listings.append(entry)
            continue
        near = studies_in.get(entry.folder, set())
        uid = one.study_uid or (next(iter(near)) if one.kind == "dicom" and len(near) == 1 else "")
        home = None if entry.root or one.kind in ("zip", "raster") else bids_folder(entry.path)
        if one.kind == "dicom" and not uid:
            home = entry.path if entry.root else entry.path.parent
        elif not uid:
            home = home or entry.path
        where = "dicom" if one.kind == "dicom" else "files"
        key = f"uid {uid}" if uid or home is None else f"{where} {os.path.abspath(home)}"
        group = groups.setdefault(key, Group(key, uid, home))
        group.entries.append(entry)
        group.patient = group.patient or one.patient
        group.day = one.day if group.day is None else group.day
    return list(groups.values()), listings


def studies_of(group: Group, full: Sequence[FileFacts]) -> tuple[StudyRef, ...]:
    """Return the studies that the files of a group make, their days not yet relative."""
    packed = tuple(ref for one in full for ref in one.studies)
    frames = [frame for one in full for frame in one.frames]
    others = merged([one.series for one in full if one.series is not None])
    series = (*series_refs(frames), *told_together(others))
    if not series:
        return packed
    paths = [entry.path for entry in group.entries]
    alone = len(paths) == 1 and group.entries[0].root
    path = paths[0] if alone else group.path or common_folder(paths)
    mine = StudyRef("", path, group.uid, group.patient, group.day, series)
    return (mine, *packed)


def told_together(refs: Sequence[SeriesRef]) -> list[SeriesRef]:
    """Return series, with many broken files of one kind as a single line."""
    broken = [ref for ref in refs if ref.problem and len(ref.files) == 1 and not ref.uid]
    if len(broken) <= TOLD_ALONE:
        return list(refs)
    files = tuple(file for ref in broken for file in ref.files)
    problem = f"{len(files)} files cannot be read; the first: {broken[0].problem}"
    return [ref for ref in refs if ref not in broken] + [
        replace(broken[0], files=files, problem=problem)
    ]


def missing_files(
    groups: Sequence[Group], listings: Sequence[tuple[Path, tuple[Reference, ...]]]
) -> list[Group]:
    """Tell of files that a DICOMDIR names and that are not there, in their studies."""
    found = list(groups)
    for folder, references in listings:
        absent: dict[str, dict[str, list[str]]] = {}  # study UID → series UID → files
        for one in references:
            if locate(folder, one.parts) is None:
                series = absent.setdefault(one.study_uid, {})
                series.setdefault(one.series_uid, []).append("/".join(one.parts))
        for uid, by_series in absent.items():
            group = next((g for g in found if g.uid == uid and g.studies), None)
            if group is None:
                group = Group(f"uid {uid}", uid, folder, studies=(StudyRef("", folder, uid),))
                found.append(group)
            first, *rest = group.studies
            group.studies = (replace(first, series=told_missing(first.series, by_series)), *rest)
    return found


def told_missing(
    series: Sequence[SeriesRef], absent: Mapping[str, Sequence[str]]
) -> tuple[SeriesRef, ...]:
    """Return series with notes of what is missing; one that is missing whole is a problem."""
    told = list(series)
    for uid, files in absent.items():
        shown = ", ".join(files[:3]) + (", …" if len(files) > 3 else "")
        words = f"DICOMDIR names {len(files)} file(s) of this series that are not there: {shown}."
        here = [n for n, ref in enumerate(told) if ref.uid == uid]
        for n in here:
            told[n] = replace(told[n], notes=(*told[n].notes, words))
        if not here:
            told.append(SeriesRef("-", (), "dicom", uid=uid, problem=words))
    return tuple(told)
