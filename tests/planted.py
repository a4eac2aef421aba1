"""DICOM files in which every attribute of PS3.15 Table E.1-1 holds a value that is easy to find.

The table is that of dicom-anonymizer, which takes it from the standard's own page.
"""

import base64
import gzip
import re
import sqlite3
import zipfile
import zlib
from io import BytesIO

import numpy as np
import pydicom
import pytest
from dicom_phantom import write_enhanced, write_series
from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.tag import Tag
from pydicom.uid import BasicTextSRStorage

from medvision.io.quiet import quiet_pydicom
from medvision.volume import Volume

TABLE = pytest.importorskip(
    "dicomanonymizer.dicom_anonymization_databases.dicomfields_2026c",
    reason="needs dicom-anonymizer, for the table (extra test)",
)
MARK = "ZQ"  # and eight hex digits of the tag
ROOT = "1.2.826.0.1.3680043.9.4711"  # of planted UIDs
DATES = [f"1947{month}{day:02}" for month in (10, 11, 12) for day in range(1, 29)]
# dates are moved by 62 days or more: of the last 60, none becomes another
TIME = "134657.8"  # and five digits
NUMBER = "47.1147"
FOUND = re.compile(
    rb"Z\0?Q\0?(?:[0-9A-F]\0?){8}|1947(?:10|11|12)[0-2]\d|1947-(?:10|11|12)-[0-2]\d"
    rb"|134657\.8|13:46:57|47\.1147|1\.2\.826\.0\.1\.3680043\.9\.4711|ZQ-[A-Z]+"
)
LATER_DATES = {0x0040B034, 0x0040A034, 0x0040A035, 0x0040B036}  # unknown to pydicom 3.0
LATER_SEQUENCES = {
    *(0x00081301, 0x00081302, 0x00081303, 0x00081304, 0x00100011, 0x00100014, 0x00100015),
    *(0x00100041, 0x00100043, 0x00100044, 0x00100046),
}
SCAN = Volume(np.arange(8 * 8 * 3, dtype=np.int16).reshape(1, 8, 8, 3), np.diag([-1.0, -1, 2, 1]))


def attributes():
    """Return (action, tag) of each attribute of the table, in its order."""
    return [
        (name.removesuffix("_TAGS"), Tag(*tag))
        for name, tags in vars(TABLE).items()
        if name.endswith("_TAGS") and name != "ALL_TAGS"
        for tag in tags
        if len(tag) == 2  # the others are overlays and curves
    ]


def vr_of(tag):
    """Return the value representation; of what pydicom does not know yet, text."""
    try:
        return dictionary_VR(tag).split(" or ")[0]
    except KeyError:
        return "DT" if tag in LATER_DATES else "SQ" if tag in LATER_SEQUENCES else "UT"


def value_of(tag, vr, number, action=""):
    """Return the value to plant; `number` tells apart those of one kind."""
    mark = f"{MARK}{tag:08X}"
    date = DATES[-60:][number % 60]
    if vr == "SQ":
        item = Dataset()
        if action.startswith("X_Z_U"):  # kept, with its UIDs replaced
            item.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
            item.ReferencedSOPInstanceUID = f"{ROOT}.{int(tag)}"
        else:
            item.CodeValue, item.CodeMeaning, item.CodingSchemeDesignator = mark, mark, "99ZQ"
            item.PersonName = f"{mark}^IN"
        return [item]
    return {
        "DA": date,
        "DT": f"{date}101112",
        "TM": f"{TIME}{number:05}",
        "UI": f"{ROOT}.{int(tag)}",
        "PN": f"{mark}^JANE",
        "UR": f"http://example.org/{mark}",
        "AS": "917Y",
        "IS": "471147",
        "DS": NUMBER,
        "US": 47114,
        "AT": 0x47114711,
    }.get(vr, mark.encode() if vr in ("OB", "OW", "UN") else mark)


def plant(data, k=0, nested=False):
    """Put a value into every attribute of the table, in an item of a sequence that is kept, too."""
    counts = {}
    with quiet_pydicom():
        for action, tag in attributes():
            vr = vr_of(tag)
            counts[vr] = counts.get(vr, 0) + 1
            if tag.group in (0, 2):  # of commands and of the file
                continue
            data.add_new(tag, vr, value_of(tag, vr, counts[vr], action))
        block = data.private_block(0x0019, f"{MARK}-MAKER", create=True)
        block.add_new(0x10, "LO", f"{MARK}-PRIVATE")
        block.add_new(0x11, "OB", f"{MARK}-PRIVATEBYTES".encode())
        if nested:
            return
        data.SOPInstanceUID = f"{ROOT}.1.{k}"
        data.DerivationCodeSequence = [Dataset()]
        plant(data.DerivationCodeSequence[0], nested=True)
        inner = Dataset()
        inner.add_new(0x00190010, "LO", f"{MARK}-MAKER")
        inner.add_new(0x00191010, "SQ", [Dataset()])
        inner[0x00191010].value[0].PatientName = f"{MARK}-PRIVATEITEM"
        data.add_new(0x00191012, "SQ", [inner])
        for group, name in ((0x6000, "OVERLAY"), (0x601E, "OVERLAYS"), (0x5000, "CURVES")):
            data.add_new((group, 0x0022), "LO", f"{MARK}-{name}")
            data.add_new((group, 0x4000), "LT", f"{MARK}-{name}")
            data.add_new((group, 0x3000), "OW", f"{MARK}-{name}DATA".encode())
        meta = data.file_meta
        meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        meta.ImplementationVersionName = meta.SourceApplicationEntityTitle = f"{MARK}-METAAET"
        meta.ImplementationClassUID = f"{ROOT}.2"
        meta.PrivateInformationCreatorUID = f"{ROOT}.3"
        meta.PrivateInformation = f"{MARK}-METAPRIVATE".encode()
        data.preamble = f"{MARK}-PREAMBLE".encode().ljust(128)


def write_planted(folder, volume=SCAN, study=0, series=0):
    """Write a planted series, of another study by its number; returns its files in slice order."""

    def change(data, k):
        plant_slice(data, k, study, series)

    with quiet_pydicom():
        return write_series(folder, volume, change=change)


def write_planted_file(path, volume=SCAN, study=0):
    """Write a planted scan as one Enhanced MR file, which is quick."""
    with quiet_pydicom():
        return write_enhanced(path, volume, change=lambda data, groups: plant_slice(data, 0, study))


def write_planted_report(path, words, study=0):
    """Write a planted report (SR), with a text that is not."""
    write_planted_file(path, Volume(np.zeros((1, 2, 2, 1)), np.eye(4)), study)
    with quiet_pydicom():
        data, item, name = pydicom.dcmread(path), Dataset(), Dataset()
        del data.PixelData, data.Rows, data.Columns
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
        data.Modality, data.ValueType = "SR", "CONTAINER"
        plant(item, nested=True)
        del item.ContentSequence
        name.CodeValue, name.CodingSchemeDesignator, name.CodeMeaning = "1", "99", "Indication"
        data.ConceptNameCodeSequence = item.ConceptNameCodeSequence = [name]
        item.ValueType, item.RelationshipType, item.TextValue = "TEXT", "CONTAINS", words
        data.ContentSequence = [item]
        data.save_as(path, enforce_file_format=True)


def plant_slice(data, k, study, series=0):
    """Plant all values, with UIDs of a study and a series of it."""
    plant(data, k)
    data.StudyInstanceUID = f"{data.StudyInstanceUID}.{study}"
    data.SeriesInstanceUID = f"{data.SeriesInstanceUID}.{study}.{series}"
    data.SOPInstanceUID = f"{data.SOPInstanceUID}.{study}.{series}"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID


def found_in(content):
    """Return the planted values in bytes, packed content included."""
    return {text for part in unpacked(content) for text in FOUND.findall(part)}


def unpacked(content, depth=3):
    """Yield bytes and what is packed into them: gzip, zip, zlib in PNG, base64."""
    yield content
    if not depth:
        return
    if content[:2] == b"\x1f\x8b":
        yield from unpacked(gzip.decompress(content), depth - 1)
    if content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(BytesIO(content)) as packed:
            for name in packed.namelist():
                yield name.encode()
                yield from unpacked(packed.read(name), depth - 1)
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        at = 8
        while at + 8 <= len(content):
            size, kind = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
            body = content[at + 8 : at + 8 + size]
            if kind in (b"zTXt", b"iTXt"):
                packed = body.partition(b"\0")[2].lstrip(b"\0\1")
                try:
                    yield zlib.decompress(packed)
                except zlib.error:
                    yield packed
            at += 12 + size
    for text in re.findall(rb"base64,([A-Za-z0-9+/=]{16,})", content):
        yield from unpacked(base64.b64decode(text), depth - 1)


def found_below(folder):
    """Return the planted values in all files below a folder and in their names, by file."""
    told = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found = found_in(name.encode("utf-8", "surrogateescape"))
        if path.is_file():
            found |= found_in(path.read_bytes())
            if path.suffix == ".sqlite":
                with sqlite3.connect(path) as base:
                    found |= found_in("\n".join(base.iterdump()).encode())
        if found:
            told[name] = found
    return told


def read_quietly(path):
    """Return a file's data set, whole."""
    with quiet_pydicom():
        data = pydicom.dcmread(path)
        for _ in data.iterall():
            pass
        return data
