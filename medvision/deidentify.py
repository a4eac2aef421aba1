"""DICOM trees without identities: the Basic Profile of DICOM PS3.15 E, checked after writing.

dicognito replaces UIDs, names, ids and dates alike in all files of a run; here everything goes
that the profile wants gone and dicognito leaves, and what is written is searched for what was
there before. Pixels are not looked at: text burned into them stays, and is warned of.

Of the profile's options only Retain Longitudinal Temporal Information with Modified Dates (E.3.6)
is done: all dates and times of a run are moved back by one number of hours, between 62 days and
two years. Not done are Clean Pixel Data and Clean Recognizable Visual Features (E.3.1, E.3.2), and
all that clean or retain text, graphics, structured content, devices, institutions, patients'
characteristics, UIDs or private elements: those are removed or replaced. One attribute is removed
that the table has replaced, as no general header needs it: ManufacturerDeviceClassUID.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom import DataElement, Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID

from medvision.convert import Converted
from medvision.errors import (
    DecodeError,
    MedvisionError,
    OutputError,
    SeriesError,
    require_extra,
)
from medvision.files import atomic_path
from medvision.hidden_bytes import clean_pixel_bytes
from medvision.io import find_studies
from medvision.io.archive import archive_of
from medvision.io.dicom.seg import read_dataset
from medvision.io.quiet import quiet_pydicom
from medvision.profile import (
    BURNED_IN,
    BYTE_VRS,
    EMPTIED,
    IDENTIFYING,
    KEPT_BYTES,
    KEPT_TEXT,
    MAKERS,
    METHOD_CODES,
    OVERLAYS,
    REMOVED,
    REMOVED_TAGS,
    REPLACED_TEXT,
    SHORTEST,
    TEXT_VRS,
)
from medvision.progress import track
from medvision.study import SeriesRef, StudyRef

EARLIEST = 1850  # year; earlier dates are none
PRIVATE_B_VALUES = (0x0019100C, 0x00431039, 0x20011003, 0x00651009)
NOT_OF_IMAGES = (0x0000, 0x0002)  # groups of a network's messages, and of file meta information
FIRST_PIXEL_TAG = 0x7FE00000
KEPT = KEPT_TEXT | REPLACED_TEXT | KEPT_BYTES


def deidentify_studies(
    inputs: Sequence[Path],
    out: Path,
    seed: str | None = None,
    overwrite: bool = False,
    show: bool = False,
) -> list[Converted]:
    """Write every DICOM image of every study without identities, under neutral names.

    Parameters
    ----------
    inputs : sequence of Path
    out : Path
        Folder: ``study-0001/series-001/000001.dcm`` …
    seed : str, optional
        A secret: the same one gives the same new UIDs, ids and dates in every run. Whoever knows
        it can test guesses. Without it they are random.
    overwrite : bool
        Whether `out` may hold files.
    show : bool
        Whether to show progress.

    Returns
    -------
    list of Converted
        A row a series; one of which a file failed has its reason.

    Raises
    ------
    MissingExtra
        Without dicognito.
    SeriesError
        When there is no DICOM.
    OutputError
        When `out` is not empty and `overwrite` is False.
    """
    require_extra("dicognito", "deidentify", "De-identification")
    from dicognito.anonymizer import Anonymizer

    if not overwrite and out.is_dir() and any(out.iterdir()):
        raise OutputError(f"{out} is not empty: name another folder, or --overwrite.")
    refs = find_studies(inputs, skip=[out], show=show)
    sources = {file.resolve() for ref in refs for one in ref.series for file in one.files}
    earlier = [old for old in out.glob("study-*/series-*/*.dcm") if old.resolve() not in sources]
    for old in earlier:  # else a shorter series would leave another patient's slices beside it
        old.unlink()
    work = [
        (n, m, ref, one)
        for n, ref in enumerate(refs, start=1)
        for m, one in enumerate((s for s in ref.series if s.format == "dicom"), start=1)
    ]
    if not work:
        raise SeriesError("There is no DICOM to be de-identified here.")
    anonymizer = Anonymizer(seed=secrets.token_hex(16) if seed is None else seed)
    rows, written = [], set[Path]()
    for n, m, ref, one in track(work, "De-identify", len(work), show):
        folder = out / f"study-{n:04d}" / f"series-{m:03d}"
        rows.append(clean_series(ref, one, folder, anonymizer, written))
    return rows


def clean_series(
    ref: StudyRef, one: SeriesRef, folder: Path, anonymizer: Any, written: set[Path]
) -> Converted:
    """Write the files of one series that are not `written` yet; problems end in the row."""
    row = Converted(ref.case_id, one.label)
    if one.role == "report" or (one.role == "other" and not one.shape):
        return replace(row, notes=("Left out: what is no image may hold identities in its text.",))
    if archive_of(ref.path) is not None:
        return replace(row, problem=f"{ref.path} is a zip: unpack it first.")
    if not one.files or (one.problem and not one.uid):
        return replace(row, problem=one.problem)
    files, notes = [], dict[str, None]()
    for number, path in enumerate(one.files, start=1):
        if path in written:  # a file with slices of several parts
            continue
        written.add(path)
        try:
            data = read_dataset(path)
            target = folder / f"{number:06d}.dcm"
            notes |= dict.fromkeys(clean_file(data, target, anonymizer))
            files.append(target)
        except MedvisionError as error:
            return replace(row, files=tuple(files), notes=tuple(notes), problem=str(error))
        except OSError as error:
            words = f"{path} was not written: {error.strerror or 'no reason given'}."
            return replace(row, files=tuple(files), notes=tuple(notes), problem=words)
        except Exception as error:  # its words may hold a name
            words = f"{path} was not written: unexpected {type(error).__name__}."
            return replace(row, files=tuple(files), notes=tuple(notes), problem=words)
    return replace(row, files=tuple(files), notes=tuple(notes))


def clean_file(data: Dataset, target: Path, anonymizer: Any) -> list[str]:
    """Write a cleaned file, and return what a person should know of it.

    Raises
    ------
    OutputError
        When something that identified the patient would remain, or the data set cannot be
        written; then nothing is.
    DecodeError
        When an element cannot be read: nobody knows what it holds.
    """
    with quiet_pydicom():
        decode(data)
        if "MOSAIC" in str(data.get("ImageType", "")):
            raise OutputError(
                f"{data.filename} is a Siemens mosaic: without its private elements nothing says "
                "where its tiles lie. Convert it to NIfTI instead."
            )
        private_diffusion = any(tag in data for tag in PRIVATE_B_VALUES)
        before = identities_of(data)
        beside = clean_pixel_bytes(data)
        data.preamble, data.file_meta = b"\0" * 128, meta_of(data)  # they may hold anything
        for tag in [one.tag for one in data if one.tag.group in NOT_OF_IMAGES]:
            del data[tag]
        strip(data)
        anonymizer.anonymize(data)
        burned = data.get("BurnedInAnnotation", "") == "YES"
        data.PatientIdentityRemoved = "NO" if burned else "YES"
        data.LongitudinalTemporalInformationModified = "MODIFIED"  # PS3.15 E.3.6
        data.DeidentificationMethod = "DICOM PS3.15 E Basic Profile, medvision"
        data.DeidentificationMethodCodeSequence = Items([coded(*code) for code in METHOD_CODES])
        with atomic_path(target) as part:
            save(data, part)
            check_clean(dcmread(part, stop_before_pixels=True), part, target, before)
    notes = [beside] if beside else []
    if private_diffusion:
        notes.append("What private elements said of b-values and directions is gone.")
    if burned:
        notes.append("BurnedInAnnotation is YES: names may stand in the pixels, which stay.")
    elif data.get("Modality") in BURNED_IN and data.get("BurnedInAnnotation") != "NO":
        notes.append(f"{data.Modality} images often have names in the pixels, which stay.")
    return notes


def decode(data: Dataset) -> None:
    """Read every element, at every depth; a `DecodeError` where one cannot be."""
    try:
        for _ in data.iterall():
            pass
    except Exception as error:  # pydicom's, of many kinds; its words may hold a name
        raise DecodeError(
            f"{data.filename} was not written: an element is damaged ({type(error).__name__})."
        ) from None


def save(data: Dataset, path: Path) -> None:
    """Write a data set; an `OutputError` where an element has a value that none can have."""
    try:
        data.save_as(path, enforce_file_format=True)
    except OSError:
        raise
    except Exception as error:  # as above
        raise OutputError(
            f"{data.filename} was not written: an element has no value of its kind "
            f"({type(error).__name__})."
        ) from None


def meta_of(data: Dataset) -> FileMetaDataset:
    """Return file meta information that says how the file is coded, and nothing else.

    The rest is replaced by what tells of the program that writes (PS3.15 E.1.1, 7).
    """
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = data.file_meta.TransferSyntaxUID
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        known = data.get(keyword) or data.file_meta.get(f"MediaStorage{keyword}")
        if known:
            setattr(meta, f"MediaStorage{keyword}", known)
    return meta


def strip(data: Dataset) -> None:
    """Remove and empty what the Basic Profile wants gone, at every depth.

    Text and bytes are kept only where they are known to be technical; so what a later edition of
    the table adds is gone, too.
    """
    data.remove_private_tags()
    for element in list(data):
        group, keyword = element.tag.group, element.keyword
        gone = keyword in REMOVED or element.tag in REMOVED_TAGS or not keyword
        if gone or group & 0xFF00 in OVERLAYS:
            del data[element.tag]
        elif keyword in EMPTIED:
            element.value = None
        elif element.VR == "SQ":
            for item in element.value:
                strip(item)
        elif element.VR in TEXT_VRS | BYTE_VRS and keyword not in KEPT:
            del data[element.tag]
        elif element.VR in ("DA", "DT", "TM"):
            check_moment(data, element)


def check_moment(data: Dataset, element: DataElement) -> None:
    """Empty a date that is none, and a time without a date: it cannot be shifted with the rest.

    So is a date whose keyword says nothing of a date (SelectorDAValue): dicognito would take it for
    its own time.
    """
    values = element.value if isinstance(element.value, MultiValue) else [element.value]
    texts = [re.sub(r"[.:]", "", str(value or "")) for value in values]
    if element.VR == "TM":
        partner = str(data.get(element.keyword.replace("Time", "Date"), ""))
        usable = is_date(partner) and all(re.match(r"([01]\d|2[0-3])", t) for t in texts)
    else:
        named = element.VR == "DT" or "Date" in element.keyword
        usable = named and all(is_date(text[:8]) for text in texts)
    if not usable:
        element.value = None


def is_date(text: str) -> bool:
    """Tell whether a text is a date, YYYYMMDD."""
    try:
        return datetime.strptime(text.replace(".", ""), "%Y%m%d").year >= EARLIEST
    except ValueError:
        return False


def coded(value: str, meaning: str) -> Dataset:
    """Return a code of DICOM's own scheme."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def identities_of(data: Dataset) -> set[str]:
    """Return the values that must not remain: names and their parts, numbers, dates, UIDs."""
    found = set()
    for element in every_element(data):
        texts = texts_of(element)
        if element.VR == "PN":
            found |= {*texts, *(part for text in texts for part in re.split(r"[\^= ]", text))}
        elif element.VR in ("DA", "DT") or element.keyword in IDENTIFYING:
            found |= set(texts)
        elif element.VR == "UI" and not element.keyword.endswith("SOPClassUID"):
            found |= {text for text in texts if UID(text).is_private}
    return {text for text in found if len(text) >= SHORTEST}


def check_clean(written: Dataset, part: Path, target: Path, before: set[str]) -> None:
    """Search a written header for what was there before.

    Raises
    ------
    OutputError
        Naming the element, never its value.
    """
    for element in every_element(written):
        # dicognito draws names from a list of common ones, and moves dates to other real ones
        if element.VR in ("PN", "DA", "DT", "TM"):
            left = before & set(texts_of(element)) if element.VR != "PN" else set()
        elif element.VR == "UI":
            left = before & set(texts_of(element))
        elif element.VR in TEXT_VRS or element.VR == "CS":
            words = [w.casefold() for t in texts_of(element) for w in re.split(r"[\s^=,;]+", t)]
            texts = {*words, *(t.casefold() for t in texts_of(element))}
            left = {text for text in before if text.casefold() in texts}
        else:
            continue
        if left and element.keyword not in MAKERS:  # a hospital may be called as a maker is
            raise OutputError(f"{target} would still hold an identity in {element.keyword}.")
    header = header_bytes(part)
    long = [text for text in before if len(text) >= 2 * SHORTEST and not text.isalpha()]
    if any(stands_in(text, header) for text in long):
        raise OutputError(f"{target} would still hold an identity in its bytes.")


def stands_in(text: str, header: bytes) -> bool:
    """Tell whether a value stands in bytes; a number inside a longer number is another."""
    found = text.encode("utf-8", "replace")
    edge = rb"[\d.]" if found[:1].isdigit() else rb"\w"
    return re.search(rb"(?<!%b)%b(?!%b)" % (edge, re.escape(found), edge), header) is not None


def header_bytes(path: Path) -> bytes:
    """Return a file up to its pixels, or all of it where they cannot be told."""
    whole = path.read_bytes()
    at = max(whole.rfind(b"\xe0\x7f\x10\x00"), whole.rfind(b"\x7f\xe0\x00\x10"))
    return whole if at < 0 else whole[: whole.find(whole[at : at + 4])]


def every_element(data: Dataset) -> Iterator[DataElement]:
    """Yield the elements of a data set and of all sequences in it, up to the pixels."""
    for element in data:
        if element.tag >= FIRST_PIXEL_TAG:
            return
        if element.VR == "SQ":
            for item in element.value:
                yield from every_element(item)
        else:
            yield element


def texts_of(element: DataElement) -> list[str]:
    """Return the values of an element as stripped text."""
    value = element.value
    if value is None or isinstance(value, bytes):
        return []
    values = value if isinstance(value, MultiValue) else [value]
    return [str(one).strip() for one in values]
