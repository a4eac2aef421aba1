"""Real and generated DICOM files, and ways to spoil their elements and pixel data."""

import gzip
import io
import struct
import warnings
from itertools import count
from pathlib import Path
from unittest import mock

import nibabel as nib
import numpy as np
import pydicom
from dicom_phantom import write_enhanced, write_series
from fuzzing.changes import WORDS, packed_number, read_tree, spoiled_bytes
from hippocampus_data import DATA
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import UID_dictionary

from medvision.geometry import flip_ras_lps, to_world
from medvision.io import read_volume
from medvision.io.dicom.elements import TAGS
from medvision.io.dicom.wanted import PRIVATE_VRS
from medvision.outputs.sc import save_sc
from medvision.outputs.seg import save_labelmap, save_seg
from medvision.outputs.sr import save_sr
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.prediction import Prediction
from medvision.study import Study
from medvision.volume import Volume

LARGEST = 40_000  # bytes of a real file that is a seed
LONG_VRS = ("OB", "OW", "OF", "OD", "OL", "OV", "SQ", "UN", "UT", "UC", "UR", "SV", "UV")
VRS = (
    "US",
    "SS",
    "UL",
    "SL",
    "FL",
    "FD",
    "AT",
    "DS",
    "IS",
    "CS",
    "LO",
    "UI",
    "PN",
    "DA",
    "ZZ",
    "  ",
)
STRUCTS = {"US": "<h", "SS": "<h", "UL": "<i", "SL": "<i", "FL": "<f", "FD": "<d", "AT": "<i"}
SYNTAXES = [uid for uid, words in UID_dictionary.items() if words[1] == "Transfer Syntax"]
CLASSES = [uid for uid, words in UID_dictionary.items() if words[1] == "SOP Class"]
SEG, RTSTRUCT = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.481.3"
COUNTS = ("Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit",
          "SamplesPerPixel", "PlanarConfiguration", "PixelRepresentation")  # fmt: skip
PLACES = ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness",
          "SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept", "GridFrameOffsetVector",
          "WindowCenter", "WindowWidth", "PixelPaddingValue", "ImagerPixelSpacing")  # fmt: skip


KNOWN = {  # words upon which a reader goes another way
    "Modality": ("CT", "MR", "PT", "NM", "US", "RTDOSE", "SEG", "RTSTRUCT", "SR"),
    "Manufacturer": ("SIEMENS", "GE MEDICAL SYSTEMS", "Philips", "UIH", "Canon", "TOSHIBA"),
    "ImageType": ("ORIGINAL\\PRIMARY\\M\\MOSAIC", "ORIGINAL\\PRIMARY\\TOMO", "A\\B\\DIFFUSION"),
    "PhotometricInterpretation": ("MONOCHROME1", "PALETTE COLOR", "RGB", "YBR_FULL_422", "YBR_RCT"),
    "PatientOrientation": ("L\\P", "A\\F", "L", "X\\Y"),
    "Units": ("BQML", "CNTS", "GML", "PROPCPS"),
    "DecayCorrection": ("START", "ADMIN", "NONE"),
    "SpecificCharacterSet": ("ISO_IR 100", "ISO 2022 IR 87", "ISO_IR 192", "none"),
    "ImageComments": ("b=1500(0.1,0.2,0.9)",),
}


def ball():
    """Return a small scan."""
    affine = np.diag([1.5, 1.5, 2.0, 1.0])
    image, _ = ellipsoid_phantom((12, 10, 5), affine, [Ellipsoid((8, 7, 4), (5, 5, 4), 1, 100.0)])
    return Volume(image.array.astype(np.int16), image.affine)


def same_uids():
    """Return what gives UIDs in the place of random ones, the same in every run."""
    numbers = (f"1.2.826.0.1.{n}" for n in count(1))
    return mock.patch("dicom_phantom.generate_uid", side_effect=numbers)


def series(folder):
    """Return the files of one series of CT, of one of PET, and of an Enhanced one."""
    with same_uids():
        write_series(folder / "series", ball())
        write_series(folder / "pet", ball(), modality="PT", change=make_pet)
        write_enhanced(folder / "enhanced" / "one.dcm", ball(), dimensions="slice")
    return [read_tree(folder / name) for name in ("series", "pet", "enhanced")]


def make_pet(data, k):
    """Say of a slice what SUVs need."""
    data.SOPClassUID, data.Units = "1.2.840.10008.5.1.4.1.1.128", "BQML"
    data.CorrectedImage, data.DecayCorrection = ["DECY", "ATTN"], "START"
    data.SeriesDate = data.AcquisitionDate = "20200102"
    data.SeriesTime, data.AcquisitionTime, data.PatientWeight = "110000", "110500.25", 70
    drug = pydicom.Dataset()
    drug.RadiopharmaceuticalStartTime = "100000"
    drug.RadionuclideTotalDose, drug.RadionuclideHalfLife = 370e6, 6586.2
    data.RadiopharmaceuticalInformationSequence = [drug]


def drawn(folder):
    """Return scans with labels, binary, as a map and as contours, and with SR and picture."""
    with same_uids():
        write_series(folder / "scan", ball(), change=in_frame)
    scan = read_volume(folder / "scan")
    mask = Volume((scan.array > 50).astype(np.uint8), scan.affine)
    found = Prediction(
        "ball", "by hand", ("ball",), (slice(0, 12), slice(0, 10), slice(0, 5)), mask
    )
    study = Study("ball", {"image": scan})
    tree = read_tree(folder / "scan")
    labels = []
    made = {"seg": save_seg, "map": save_labelmap, "sr": save_sr, "sc": save_sc}
    for name, save in made.items():
        path = save(found, study, folder / f"{name}.dcm")
        labels.append({**tree, f"{name}.dcm": path.read_bytes()})
    contours = written_anew(contours_on(scan))
    return [
        *labels,
        {**tree, "labels.dcm": contours},
        *({f"{name}.dcm": one[f"{name}.dcm"]} for name, one in zip(made, labels, strict=True)),
    ]


def in_frame(data, k):
    """Say of a slice what labels need."""
    data.FrameOfReferenceUID, data.StudyDate, data.StudyTime = "1.2.826.0.1.99", "", ""
    data.AccessionNumber = data.StudyID = data.PatientSex = data.ReferringPhysicianName = ""


def contours_on(scan):
    """Return a structure set with a square on two slices of a scan."""
    data = pydicom.Dataset()
    data.SOPClassUID, data.SOPInstanceUID = RTSTRUCT, "1.2.826.0.1.98"
    data.StudyInstanceUID, data.SeriesInstanceUID = scan.info.study_uid, "1.2.826.0.1.97"
    data.Modality = "RTSTRUCT"
    series, study, space = (pydicom.Dataset() for _ in range(3))
    series.SeriesInstanceUID = scan.info.series_uid
    study.RTReferencedSeriesSequence = [series]
    space.FrameOfReferenceUID, space.RTReferencedStudySequence = "1.2.826.0.1.99", [study]
    data.ReferencedFrameOfReferenceSequence = [space]
    roi, lines, seen = (pydicom.Dataset() for _ in range(3))
    roi.ROINumber, roi.ROIName = 5, "square"
    lines.ReferencedROINumber = seen.ReferencedROINumber = 5
    lines.ROIDisplayColor, seen.RTROIInterpretedType = [255, 0, 0], "GTV"
    lines.ContourSequence = []
    for k in (1, 2):
        corners = [(2, 2, k), (8, 2, k), (8, 7, k), (2, 7, k)]
        one = pydicom.Dataset()
        one.ContourGeometricType, one.NumberOfContourPoints = "CLOSED_PLANAR", 4
        points = to_world(flip_ras_lps(scan.affine), np.asarray(corners, float))
        one.ContourData = [f"{mm:.4f}" for mm in points.ravel()]
        lines.ContourSequence.append(one)
    data.StructureSetROISequence, data.ROIContourSequence = [roi], [lines]
    data.RTROIObservationsSequence = [seen]
    return data


def written_anew(data, syntax="1.2.840.10008.1.2.1"):
    """Return a data set as the bytes of a file."""
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    held = io.BytesIO()
    pydicom.dcmwrite(held, data, enforce_file_format=True)
    return held.getvalue()


def scanners(folder):
    """Return slices as scanners write them: nibabel's mosaic, made small, and GE's where they are.

    GE's lie beside the repository: see `hippocampus_data`.
    """
    mosaic = Path(nib.__file__).parent / "nicom" / "tests" / "data" / "siemens_dwi_1000.dcm.gz"
    data = pydicom.dcmread(io.BytesIO(gzip.decompress(mosaic.read_bytes())))
    side = int(np.ceil(np.sqrt(data[0x0019100A].value))) * 4
    data.Rows = data.Columns = side
    data.PixelData = np.arange(side * side, dtype=np.uint16).tobytes()
    found = [{"mosaic.dcm": written_anew(data)}]
    ge = sorted((DATA / "dicom" / "dcm_qa_nih" / "In" / "20180918GE" / "mr_0005").glob("*.dcm"))
    return found + ([{one.name: one.read_bytes() for one in ge[:3]}] if ge else [])


def real():
    """Return pydicom's own test files, each by itself, and its folders with a DICOMDIR."""
    top = Path(pydicom.__file__).parent / "data"
    files = [*sorted((top / "test_files").glob("*.dcm")), *sorted(top.glob("*_files/chr*.dcm"))]
    found = [{one.name: one.read_bytes()} for one in files if one.stat().st_size <= LARGEST]
    listed = top / "test_files" / "dicomdirtests"
    names = ["DICOMDIR", "77654033/CR1/6154", "98892003/MR1/5641", "98892003/MR1/4919"]
    listing = {name: (listed / name).read_bytes() for name in names if (listed / name).is_file()}
    return [*found, *([listing] * 4 if "DICOMDIR" in listing else [])]


def spoiled_dicom(rng, data, other=b""):
    """Return a DICOM file with something changed: elements, pixel data or plain bytes."""
    way = rng.random()
    if way < 0.25:
        return spoiled_bytes(rng, data, other)
    if way < 0.35:
        return spoiled_fragments(rng, data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return written(rng, data)
    except Exception:  # pydicom cannot read or write every file that is given
        return spoiled_bytes(rng, data, other)


def written(rng, data):
    """Return the file with one to three elements changed, written by pydicom."""
    found = pydicom.dcmread(io.BytesIO(data), force=True)
    syntax = str(getattr(found.file_meta, "TransferSyntaxUID", pydicom.uid.ImplicitVRLittleEndian))
    for _ in range(rng.choice((1, 1, 2, 3))):
        spoil_elements(rng, found)
    out = io.BytesIO()
    implicit, little = syntax == "1.2.840.10008.1.2", syntax != "1.2.840.10008.1.2.2"
    if rng.random() < 0.1:
        found.file_meta.TransferSyntaxUID = rng.choice(SYNTAXES)
    pydicom.dcmwrite(
        out, found, implicit_vr=implicit, little_endian=little, force_encoding=True,
        enforce_file_format=False,
    )  # fmt: skip
    return out.getvalue()


def spoil_elements(rng, top):
    """Change an element somewhere in a data set."""
    data = deeper(rng, top)
    way = rng.randrange(8)
    keys = [key for key in sorted(data.keys()) if key.group != 2]
    if way == 0 and keys:
        del data[rng.choice(keys)]
    elif way == 1 and len(keys) > 1:  # one's value under another's tag
        first, second = data.get_item(rng.choice(keys)), data.get_item(rng.choice(keys))
        if isinstance(first, RawDataElement) and isinstance(second, RawDataElement):
            set_raw(data, first.tag, first.VR or "UN", second.value or b"")
    elif way == 2 and keys:  # nested in itself, or empty
        inner = pydicom.Dataset()
        for _ in range(rng.choice((0, 1, 20))):
            outer = pydicom.Dataset()
            outer.PerFrameFunctionalGroupsSequence = [inner, inner][: rng.choice((1, 2))]
            inner = outer
        name = rng.choice([n for n, t in TAGS.items() if dictionary_VR(t) == "SQ"])
        setattr(top, name, [inner] * rng.choice((0, 1, 2)))
    elif way == 3 and rng.random() < 0.6:
        for name in rng.sample(sorted(KNOWN), rng.choice((1, 2, 3))):
            set_raw(top, TAGS[name], vr_of(TAGS[name]), rng.choice(KNOWN[name]).encode())
    elif way == 3:
        set_raw(top, "SOPClassUID", "UI", rng.choice([*CLASSES, SEG, RTSTRUCT]).encode())
    else:
        pool = (COUNTS, PLACES, tuple(TAGS), tuple(PRIVATE_VRS), tuple(keys) or COUNTS)
        tag = Tag(rng.choice(rng.choice(pool)))
        vr = vr_of(tag) if rng.random() < 0.85 else rng.choice(VRS)
        set_raw(data if tag in data else rng.choice((data, top)), tag, vr, odd_bytes(rng, vr))


def deeper(rng, data):
    """Return a data set, or one of those in its sequences."""
    inner = []
    for key in sorted(data.keys()):
        item = data.get_item(key)
        if getattr(item, "VR", "") == "SQ" and rng.random() < 0.7:
            inner += list(data[key].value or ())
    return deeper(rng, rng.choice(inner)) if inner and rng.random() < 0.6 else data


def vr_of(tag):
    """Return the value representation of a tag, of two letters."""
    known = PRIVATE_VRS.get(int(tag))
    try:
        return (known or dictionary_VR(tag))[:2]
    except KeyError:
        return "UN"


def odd_bytes(rng, vr):
    """Return a value that nobody expects, as often as not of the right kind."""
    if vr in STRUCTS and rng.random() < 0.85:
        return b"".join(packed_number(rng, STRUCTS[vr]) for _ in range(rng.choice((1, 1, 2, 3, 6))))
    if rng.random() < 0.1:
        return rng.randbytes(rng.choice((1, 2, 3, 9, 200)))
    word = rng.choice(WORDS).encode("utf-8", "replace")
    return word + b" " * (len(word) % 2)


def set_raw(data, tag, vr, value):
    """Put bytes in an element, whatever its representation can hold."""
    tag = Tag(tag)
    value = value if vr in LONG_VRS else value[:65000]
    data._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)


def spoiled_fragments(rng, data):
    """Return a file with its pixel data changed: lengths and tags of fragments, tables, bits."""
    at = data.rfind(b"\xe0\x7f\x10\x00")
    if at < 0:
        return spoiled_bytes(rng, data)
    found, body = bytearray(data), at + 8
    items = [n for n in range(body, len(data) - 8) if data[n : n + 4] == b"\xfe\xff\x00\xe0"]
    where = rng.choice(items) if items else at
    match rng.randrange(6):
        case 0:
            found[where + 4 : where + 8] = packed_number(rng, "<i")
        case 1:
            del found[where : where + rng.choice((4, 8, 40))]
        case 2:
            found[where:where] = b"\xfe\xff\x00\xe0" + struct.pack("<I", 2) + b"\xff\xd8"
        case 3:
            for _ in range(rng.choice((1, 4, 40))):
                found[rng.randrange(body, len(found))] ^= 1 << rng.randrange(8)
        case 4:
            head = where + 8 + rng.randrange(60)
            found[head : head + 4] = packed_number(rng, rng.choice((">h", ">i")))
        case 5:
            del found[rng.randrange(body, len(found)) :]
    return bytes(found)
