"""Find the studies in folders of any mixture: DICOM, NIfTI, BIDS, NRRD, pictures, zips.

Walks the files, looks at those that the index does not know, and groups them. Reads names, magic
numbers and headers, never voxels.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medvision import __version__
from medvision.errors import SeriesError
from medvision.io.archive import archive_of, unpacked
from medvision.io.dicom.elements import is_dicomdir
from medvision.io.dicom.series import describe
from medvision.io.facts import FileFacts, file_facts, unreadable
from medvision.io.index import Index, open_index
from medvision.io.names import unique_names
from medvision.io.pairing import ENDINGS, pair_reports, stem_of
from medvision.io.pseudonym import Pseudonyms
from medvision.io.reports import TEXTS
from medvision.io.stored import LAYOUT, frames_of, plain, plain_frames, value_of
from medvision.io.studies import Group, group_files, missing_files, studies_of
from medvision.io.walk import CLOSED, GONE, REPORT, RESULTS_MARK, Entry, entry_of, kind_by_content
from medvision.io.walk import walk as walk_folder
from medvision.progress import track
from medvision.study import SeriesRef, StudyRef

QUICK = 200  # files: fewer are read before a bar could be drawn
READS = (
    "medvision reads DICOM, NIfTI (.nii, .nii.gz), NRRD and MetaImage (.nrrd, .mha), "
    "pictures (.png, .jpg), and zips of these"
)


def find_studies(
    inputs: str | Path | Sequence[str | Path],
    skip: Sequence[Path] = (),
    index: bool = True,
    show: bool = False,
) -> list[StudyRef]:
    """Find every study in files and folders, with its series, by their headers alone.

    DICOM files are one study by their StudyInstanceUID wherever they lie; those without one, by
    their folder. The files of one subject and session of a BIDS tree are one study; any other file
    is one by itself. A zip holds studies as a folder does. A file that cannot be read is a series
    with a problem. Reports are paired as `pair_reports` does. Hidden files, folders in `skip`,
    folders that hold earlier results, and links to folders are passed over.

    Parameters
    ----------
    inputs : path, or sequence of paths
    skip : sequence of Path
    index : bool
        Whether to keep what was found in the user's cache, so that the next walk reads only what
        changed. MEDVISION_INDEX names another folder for it, or is ``off``.
    show : bool
        Whether to show progress.

    Returns
    -------
    list of StudyRef
        In the order of `inputs`, sorted within a folder; ids are unique.

    Raises
    ------
    SeriesError
        When an input is not there, or a folder or zip holds no scan.
    """
    roots = [Path(p) for p in ([inputs] if isinstance(inputs, (str, Path)) else inputs)]
    skipped = {os.path.realpath(p) for p in skip}
    listed = [(root, entries_in(root, skipped)) for root in roots]
    entries = distinct(entry for _, found in listed for entry in found)
    with open_index(roots, f"{__version__} {LAYOUT}", index) as store:
        facts = look(entries, store, show)
        found = assemble(entries, facts, store)
        store.save()
        store.forget_all_but({e.name for e in entries}, {ref.key for ref in found})
    for root, own in listed:
        check_scans(root, [facts[e.name] for e in own if e.name in facts], skipped)
    refs = named([ref for group in found for ref in group.studies], roots)
    if not refs:  # zips, or indexes of files, of which none holds any
        raise SeriesError(f"No scan in {' and '.join(map(str, roots[:3]))}: all is empty. {READS}.")
    texts = [entry.path for entry in entries if entry.kind == REPORT]
    texts += [text for root in roots if root.is_file() for text in reports_beside(root)]
    structured = [
        f for ref in refs for one in ref.series if one.role == "report" for f in one.files
    ]
    return pair_reports(refs, [*texts, *structured])[0]


def reports_beside(scan: Path) -> list[Path]:
    """Return the files beside a single scan that are named as its report would be."""
    names = [
        f"{stem_of(scan)}{end}{suffix}" for end in ("", *ENDINGS) for suffix in (*TEXTS, ".json")
    ]
    return [scan.with_name(name) for name in names if scan.with_name(name).is_file()]


def entries_in(root: Path, skipped: set[str]) -> list[Entry]:
    """Return the files that an input names."""
    archive = archive_of(root)
    if archive is None and not os.path.exists(root):
        raise SeriesError(f"No such file or folder: {root}.")
    if root.is_dir():
        return list(walk_folder(root, skipped))
    if archive is None and is_dicomdir(root):
        return list(walk_folder(root.parent, skipped))
    named = archive or root
    entry = entry_of(named, root=True, linked=named.is_symlink())
    return [entry] if entry else []


def distinct(entries: Iterable[Entry]) -> list[Entry]:
    """Return each file once, under the first name that the user gave it."""
    found: dict[str, Entry] = {}
    folders: dict[str, str] = {}
    for entry in entries:
        folder = entry.folder
        if folder not in folders:
            folders[folder] = os.path.realpath(entry.path.parent)
        there = f"{folders[folder]}/{entry.path.name}"
        found.setdefault(os.path.realpath(entry.path) if entry.linked else there, entry)
    return list(found.values())


def look(entries: Sequence[Entry], store: Index, show: bool = False) -> dict[str, FileFacts]:
    """Return the facts of each file; of those that the index knows, the light ones alone."""
    secret, found = Pseudonyms(store.key), {}
    fresh = []
    for entry in entries:
        light = store.light(entry.name, entry.stamp)
        if light is not None:
            found[entry.name] = FileFacts(*light)
        elif entry.kind != REPORT:
            fresh.append(entry)
    for entry in track(fresh, "Read headers", len(fresh), show and len(fresh) > QUICK):
        facts = facts_of(entry, secret)
        found[entry.name] = facts
        if store.keeps and entry.stamp != GONE:
            store.keep_file(entry.name, entry.stamp, light_of(facts), body_of(entry, facts))
    return found


def facts_of(entry: Entry, secret: Pseudonyms) -> FileFacts:
    """Return the full facts of a file."""
    if entry.kind == CLOSED:
        problem = f"{entry.path} cannot be listed: no permission, or it is gone."
        return FileFacts(CLOSED, series=unreadable(entry.path, "", problem))
    if entry.stamp == GONE:
        problem = f"{entry.path} is a link to what is not here."
        return FileFacts(entry.kind, series=unreadable(entry.path, entry.kind, problem))
    kind = entry.kind or kind_by_content(entry.path)
    if kind == "zip":
        return file_facts(entry.path, kind, secret, zip_facts)
    if not kind and entry.root:
        problem = f"{entry.path} is no scan that medvision reads. {READS}."
        return FileFacts("", series=unreadable(entry.path, "", problem))
    return file_facts(entry.path, kind, secret) if kind else FileFacts("")


def zip_facts(path: Path, secret: Pseudonyms) -> FileFacts:
    """Return the studies in a zip, as if it were a folder."""
    store = Index(None, key=secret.key)
    with unpacked(path) as folder:
        entries = [e for e in walk_folder(folder, set()) if e.kind != "zip"]
        groups = assemble(entries, look(entries, store), store)
        inner = [ref for group in groups for ref in group.studies]
        words = plain(tuple(inner), lambda p: str(p.relative_to(folder)))
        # what the zip calls them, in paths and in what is said of them
        moved: tuple[StudyRef, ...] = value_of(words, lambda text: path / text)
    said = [renamed(ref, str(folder), str(path)) for ref in moved]
    if len(said) == 1:
        said = [replace(said[0], path=path)]
    return FileFacts("zip", studies=tuple(said))


def renamed(ref: StudyRef, old: str, new: str) -> StudyRef:
    """Return a study whose problems and notes name another folder."""
    return replace(ref, series=tuple(told_anew(one, old, new) for one in ref.series))


def told_anew(one: SeriesRef, old: str, new: str) -> SeriesRef:
    """Return a series whose problem and notes name another path."""
    notes = tuple(note.replace(old, new) for note in one.notes)
    return replace(one, problem=one.problem.replace(old, new), notes=notes)


def light_of(facts: FileFacts) -> list[object]:
    """Return what grouping needs of a file."""
    return [facts.kind, facts.study_uid, facts.patient, facts.day]


def body_of(entry: Entry, facts: FileFacts) -> list[object]:
    """Return the rest, as JSON values, and how the file was named then."""
    rest = (facts.series, facts.references, facts.studies)
    return [str(entry.path), plain_frames(facts.frames), *plain(rest)]


def from_body(entry: Entry, light: FileFacts, body: list[Any]) -> FileFacts:
    """Return full facts under the name that the user gives the file now."""
    old, new = body[0], str(entry.path)

    def path_of(text: str) -> Path:
        return Path(new + text.removeprefix(old)) if text.startswith(old) else Path(text)

    series, references, studies = value_of(body[2:], path_of)
    return replace(
        light,
        frames=frames_of(body[1], entry.path),
        series=series and told_anew(series, old, new),
        references=references,
        studies=tuple(renamed(ref, old, new) for ref in studies),
    )


def full_facts(
    entries: Sequence[Entry], facts: Mapping[str, FileFacts], store: Index
) -> list[FileFacts]:
    """Return the full facts of files of which some are known by light ones alone."""
    light = {n for e in entries if is_light(facts[n := e.name])}
    bodies = store.bodies(sorted(light))
    secret, found = Pseudonyms(store.key), []
    for entry in entries:
        one = facts[entry.name]
        if entry.name in bodies:
            try:
                one = from_body(entry, one, bodies[entry.name])
            except (
                AttributeError,
                IndexError,
                KeyError,
                TypeError,
                ValueError,
            ):  # damaged: read the file again
                one = facts_of(entry, secret)
        elif entry.name in light:
            one = facts_of(entry, secret)
        found.append(one)
    return found


def is_light(facts: FileFacts) -> bool:
    """Tell whether facts lack their body."""
    return not (facts.frames or facts.series or facts.references or facts.studies)


def assemble(entries: Sequence[Entry], facts: Mapping[str, FileFacts], store: Index) -> list[Group]:
    """Group files into studies, each with its series; unchanged ones come from the index."""
    looked = [e for e in entries if (e.name in facts and facts[e.name].kind) or e.root]
    groups, listings = group_files(looked, facts)
    named = {str(entry.path): entry.path for entry in looked}

    def path_of(text: str) -> Path:
        return named.get(text) or Path(text)

    for group in groups:
        stored = store.study(group.key, group.signature)
        if stored is not None:
            try:
                group.studies = value_of(stored, path_of)
                continue
            except (AttributeError, KeyError, TypeError, ValueError):  # damaged: made again below
                pass
        group.studies = studies_of(group, full_facts(group.entries, facts, store))
        store.keep_study(group.key, group.signature, plain(group.studies))
    full = full_facts(listings, facts, store)
    missing = [(e.path.parent, one.references) for e, one in zip(listings, full, strict=True)]
    return missing_files(groups, missing)


def check_scans(root: Path, facts: Sequence[FileFacts], skipped: set[str]) -> None:
    """Refuse a folder without scans, and say what it holds instead."""
    if any(one.kind or one.series for one in facts):
        return
    if os.path.realpath(root) in skipped:
        raise SeriesError(f"{root} is the folder for the results: name another for them.")
    if (root / RESULTS_MARK).exists():
        raise SeriesError(f"{root} is a folder of results ({RESULTS_MARK}): name the scans.")
    held = f"it holds {describe(root)}" if root.is_dir() else "it is none, nor a folder"
    raise SeriesError(f"No scan in {root}: {held}. {READS}.")


def named(refs: Sequence[StudyRef], roots: Sequence[Path]) -> list[StudyRef]:
    """Return studies with their names, and with days that count from each patient's first."""
    inside = [root for root in roots if archive_of(root) not in (None, root)]
    if inside:
        kept = {root for root in roots if root not in inside}
        refs = [
            ref
            for ref in refs
            if archive_of(ref.path) is None
            or archive_of(ref.path) in kept
            or any(reaches(ref, root) for root in inside)
        ]
        if not refs:
            raise SeriesError(f"No scan at {inside[0]}.")
    first: dict[str, int] = {}
    for ref in refs:
        if ref.day is not None:
            first[ref.patient] = min(ref.day, first.get(ref.patient, ref.day))
    names = unique_names([ref.path for ref in refs])
    return [
        replace(ref, case_id=name, day=None if ref.day is None else ref.day - first[ref.patient])
        for name, ref in zip(names, refs, strict=True)
    ]


def reaches(ref: StudyRef, root: Path) -> bool:
    """Tell whether a study in a zip has files at or below a path inside it."""
    return any(file.is_relative_to(root) for one in ref.series for file in one.files)
