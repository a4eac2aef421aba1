"""Which report belongs to which study: by UID, by name, by folder, by the row of a table.

Knows nothing of what reports say. What is not clear is left out and told, never guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from medvision.errors import DecodeError, MedvisionError
from medvision.io.dicom.elements import is_dicom, read_elements
from medvision.io.dicom.sr import TEXT_CLASSES
from medvision.io.nifti import is_nifti, nifti_stem
from medvision.io.reports import TABLES, TEXTS, json_report, read_report, report_table, table_of
from medvision.study import StudyRef

OTHER_TEXTS = ("readme", "license", "licence", "changes", "changelog", "notice", "requirements")
ENDINGS = ("_report", "-report", ".report")  # of a report's stem, after its study's name


@dataclass(frozen=True)
class Table:
    """A table of reports, with its ids by what they may name."""

    texts: dict[str, str]
    by_stem: dict[str, tuple[str, ...]]  # stem of a file name → ids

    def ids_of(self, ref: StudyRef) -> list[str]:
        """Return the ids of a study's rows: its UID, else its case, else its files by name."""
        for exact in (ref.uid, ref.case_id):
            if exact and exact in self.texts:
                return [exact]
        found = []
        for file in named_files(ref):
            near = self.by_stem.get(stem_of(file), ())
            named = [one for one in near if ends_with(file, Path(one))]
            found += named or [one for one in near if Path(one).name == stem_of(file)]
        return list(dict.fromkeys(found))


def ends_with(file: Path, some: Path) -> bool:
    """Tell whether a path ends with all parts of another."""
    parts = [part for part in some.parts if part not in (".", "/")]
    return bool(parts) and list(file.absolute().parts[-len(parts) :]) == parts


def open_table(path: Path) -> Table:
    """Read a table of reports, once for as long as it does not change."""
    try:
        status = path.stat()
    except OSError as error:
        raise DecodeError(f"{path} cannot be read: {error.strerror}.") from None
    return _table(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _table(path: Path, size: int, changed: int) -> Table:
    texts = report_table(path)
    by_stem: dict[str, tuple[str, ...]] = {}
    for one in texts:
        name = Path(one).name
        stem = nifti_stem(Path(one)) if is_nifti(Path(one)) else Path(one).stem
        for known in {stem, name}:  # a dot may be part of an id
            by_stem[known] = (*by_stem.get(known, ()), one)
    return Table(texts, by_stem)


def stem_of(path: Path) -> str:
    """Return a file name without its suffix, of NIfTI without both; a folder's name."""
    if is_nifti(path):
        return nifti_stem(path)
    return path.name if path.is_dir() else path.stem


def named_files(ref: StudyRef) -> list[Path]:
    """Return the paths whose names tell of a study: its files, but not the slices of DICOM."""
    images = [one for one in ref.series if one.role == "image" and one.format != "dicom"]
    return list(dict.fromkeys([ref.path, *(file for one in images for file in one.files)]))


def folder_of(ref: StudyRef) -> Path:
    """Return the folder that a study lies in, or is."""
    path = ref.path.absolute()
    return path if path.is_dir() else path.parent


def report_of(ref: StudyRef) -> str | None:
    """Return the text of a study's reports, joined; of a table, its row. None when it has none.

    Raises
    ------
    DecodeError
        When a report cannot be read.
    """
    texts: list[str] = []
    for path in ref.reports:
        if path.suffix.lower() in TABLES:
            table = open_table(path)
            texts += [table.texts[one] for one in table.ids_of(ref)]
        else:
            texts.append(read_report(path))
    return "\n\n".join(dict.fromkeys(texts)) or None


def pair_reports(
    studies: Sequence[StudyRef], files: Sequence[Path]
) -> tuple[list[StudyRef], list[str]]:
    """Give each study the files that hold its report.

    A DICOM SR belongs to the study of its StudyInstanceUID. A text or JSON file belongs to the
    study whose case, file or folder has its name (``_report`` at its end aside), in one folder with
    it, or anywhere when no other fits; else to the study in whose own folder it is the only one, or
    the one named ``report``. A table belongs to each study that one of its rows names: by UID, case
    or file.

    Parameters
    ----------
    studies : sequence of StudyRef
    files : sequence of Path
        Any files found near them; what is no report is passed over.

    Returns
    -------
    list of StudyRef
        The same, with `reports`.
    list of str
        What was not clear, and was left out.
    """
    found: list[list[Path]] = [[] for _ in studies]
    told: list[str] = []
    pair_by_uid(studies, files, found)
    texts = [file for file in files if is_text_report(file)]
    pair_by_name(studies, texts, found, told)
    pair_by_folder(studies, texts, found, told)
    for file in files:
        if file.suffix.lower() in TABLES:
            pair_table(studies, file, found, told)
    paired = [
        replace(ref, reports=tuple(dict.fromkeys((*ref.reports, *paths))))
        for ref, paths in zip(studies, found, strict=True)
    ]
    return paired, told


def pair_by_uid(
    studies: Sequence[StudyRef], files: Sequence[Path], found: list[list[Path]]
) -> None:
    """Pair DICOM SR by StudyInstanceUID."""
    index = {ref.uid: n for n, ref in enumerate(studies) if ref.uid}
    held = [f for ref in studies for one in ref.series if one.role == "report" for f in one.files]
    for file in dict.fromkeys([*held, *files]):
        if file.suffix.lower() in (*TEXTS, *TABLES, ".json") or not is_dicom(file):
            continue
        try:
            data = read_elements(file)
        except (MedvisionError, OSError):
            continue  # whatever it is: the reader of scans tells of it
        uid = data.text("StudyInstanceUID")
        if data.text("SOPClassUID") in TEXT_CLASSES and uid in index:
            found[index[uid]].append(file)


def is_text_report(file: Path) -> bool:
    """Tell whether a text or JSON file may be a report."""
    suffix = file.suffix.lower()
    if suffix == ".json":
        try:
            return json_report(file) is not None
        except MedvisionError:
            return False
    return suffix in TEXTS and not file.stem.lower().startswith(OTHER_TEXTS)


def report_stem(file: Path) -> str:
    """Return the name of the study that a report's name tells."""
    return next((file.stem[: -len(e)] for e in ENDINGS if file.stem.lower().endswith(e)), file.stem)


def pair_by_name(
    studies: Sequence[StudyRef], texts: Sequence[Path], found: list[list[Path]], told: list[str]
) -> None:
    """Pair text files by the names of studies: those of their folder first."""
    here: dict[tuple[Path, str], set[int]] = {}  # (folder, name) → studies
    anywhere: dict[str, set[int]] = {}
    for n, ref in enumerate(studies):
        for file in named_files(ref):
            here.setdefault((file.absolute().parent, stem_of(file)), set()).add(n)
            anywhere.setdefault(stem_of(file), set()).add(n)
        anywhere.setdefault(ref.case_id, set()).add(n)
    folders: dict[str, set[Path]] = {}
    for file in texts:
        folders.setdefault(report_stem(file), set()).add(file.absolute().parent)
    for file in texts:
        name = report_stem(file)
        fits = here.get((file.absolute().parent, name), set())
        if not fits:
            fits = anywhere.get(name, set())
            if fits and len(folders[name]) > 1:
                told.append(f"{file}: other folders hold a report of this name; it is left out.")
                continue
        if len(fits) > 1:
            told.append(f"{file}: {len(fits)} studies have its name; it is left out.")
        elif fits:
            found[next(iter(fits))].append(file)


def pair_by_folder(
    studies: Sequence[StudyRef], texts: Sequence[Path], found: list[list[Path]], told: list[str]
) -> None:
    """Pair what is left with studies that have a folder of their own and no report yet."""
    taken = {file for paths in found for file in paths}
    shared = Counter(folder_of(ref) for ref in studies)
    for n, ref in enumerate(studies):
        folder = folder_of(ref)
        if found[n] or shared[folder] > 1:
            continue
        own = [f for f in texts if f not in taken and f.absolute().parent == folder]
        named = [file for file in own if file.stem.lower() == "report"]
        fits = named or own
        if len(fits) == 1:
            found[n].append(fits[0])
        elif fits:
            names = ", ".join(file.name for file in fits[:3])
            told.append(f"{folder}: {len(fits)} files may be its report ({names}); none is taken.")


def pair_table(
    studies: Sequence[StudyRef], file: Path, found: list[list[Path]], told: list[str]
) -> None:
    """Pair a table with the studies that its rows name, one row each."""
    try:
        key, columns, _ = table_of(file)
        if key is None or not columns:
            return  # a table of something else
        table = open_table(file)
    except DecodeError as error:
        told.append(str(error))
        return
    rows = [table.ids_of(ref) for ref in studies]
    claims = Counter(one for ids in rows for one in ids)
    for n, ids in enumerate(rows):
        if any(claims[one] > 1 for one in ids):
            told.append(f"{file}: a row names {studies[n].case_id} and others; it is left out.")
        elif len({table.texts[one] for one in ids}) > 1:
            told.append(f"{file}: {len(ids)} rows name {studies[n].case_id}; none is taken.")
        elif ids:
            found[n].append(file)
