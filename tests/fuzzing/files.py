"""Scans in other formats, reports, tables and zips: small ones, and ways to spoil them."""

import gzip
import io
import json
import stat
import struct
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
from fuzzing.changes import (
    WORDS,
    packed_number,
    spoiled_bytes,
    spoiled_gzip,
    spoiled_json,
    spoiled_table,
    spoiled_text,
)
from fuzzing.dicoms import ball, spoiled_dicom
from PIL import Image

LARGEST = 70_000  # bytes of a real file that is a seed
TIGHT = b"\0" * 100_000  # packs to a thousandth


def niftis():
    """Return small NIfTI and FreeSurfer files, some of them nibabel's own."""
    array, affine = ball().array[0], ball().affine
    four = np.stack([array] * 3, axis=-1)
    made = {
        "one.nii": nib.Nifti1Image(array, affine),
        "two.nii": nib.Nifti2Image(four.astype(np.float32), affine),
        "three.mgz": nib.MGHImage(array.astype(np.float32), affine),
        "scaled.nii": nib.Nifti1Image(array, affine),
        "swapped.nii": nib.Nifti1Image(array, affine, nib.Nifti1Header(endianness=">")),
    }
    made["scaled.nii"].header.set_slope_inter(0.5, -7)
    found = [{name: image.to_bytes()} for name, image in made.items() if name != "three.mgz"]
    found += [
        {f"{n}.gz": gzip.compress(b, 1, mtime=0)} for one in found[:2] for n, b in one.items()
    ]
    found.append({"three.mgz": gzip.compress(made["three.mgz"].to_bytes(), 1, mtime=0)})
    pair = nib.Nifti1Pair(array, affine)
    pair.header["magic"] = b"ni1"
    header = pair.header.binaryblock + b"\0" * 4
    found.append({"pair.hdr": header, "pair.img": array.tobytes(order="F")})
    sidecar = {"Modality": "MR", "SeriesDescription": "T1", "labels": {"1": "ball", "100": "b"}}
    bval, bvec = b"0 1000 1000\n", b"0 1 0\n0 0 1\n0 0 0\n"
    found.append({**found[1], "two.bval": bval, "two.bvec": bvec})
    found.append({**found[0], "one.json": json.dumps(sidecar).encode()})
    top = Path(nib.__file__).parent / "tests" / "data"
    real = [one for ends in ("*.nii", "*.nii.gz", "*.mgz") for one in sorted(top.glob(ends))]
    return found + [{p.name: p.read_bytes()} for p in real if p.stat().st_size <= LARGEST]


def spoiled_nifti(rng, data, other=b""):
    """Return a NIfTI or MGH file with its header, its voxels or its packing changed."""
    if data[:2] == b"\x1f\x8b":
        return spoiled_gzip(rng, data, spoiled_nifti, other)
    size = int.from_bytes(data[:4], "little")
    kinds = {348: nib.nifti1.header_dtype, 540: nib.nifti2.header_dtype}
    if size not in kinds or rng.random() < 0.2:
        return spoiled_bytes(rng, data, other)
    found, dtype = bytearray(data), kinds[size]
    names = ("dim", "datatype", "bitpix", "pixdim", "vox_offset", "scl_slope", "scl_inter", "magic",
             "qform_code", "sform_code", "srow_x", "quatern_b", "quatern_c", "xyzt_units",
             "intent_code", "sizeof_hdr")  # fmt: skip
    for _ in range(rng.choice((1, 1, 2, 4))):
        field, at = dtype.fields[rng.choice(names)][:2]
        base, one = field.base, field.base.itemsize
        spot = at + one * rng.randrange(field.itemsize // one)
        code = {"f": "<f", "i": "<h"}.get(base.kind, "<b")
        if base.kind in "fi":
            code = "<" + {("f", 4): "f", ("f", 8): "d", ("i", 2): "h", ("i", 4): "i", ("i", 8): "q",
                          ("i", 1): "b"}[base.kind, one]  # fmt: skip
        number = packed_number(rng, code)
        found[spot : spot + len(number)] = number
    return bytes(found)


def itks():
    """Return NRRD and MetaImage files, plain, packed and with their data elsewhere."""
    array = ball().array[0]
    data = array.tobytes(order="F")
    sizes = b"12 10 5"
    nrrd = (
        b"NRRD0004\n# by hand\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: "
        + sizes
        + b"\nspace directions: (1.5,0,0) (0,1.5,0) (0,0,2)\nkinds: domain domain domain\n"
        b"endian: little\nencoding: ENC\nspace origin: (1,2,3)\n"
    )
    meta = (
        b"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        b"CompressedData = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 1 2 3\n"
        b"ElementSpacing = 1.5 1.5 2\nDimSize = " + sizes + b"\nElementType = MET_SHORT\n"
    )
    four = nrrd.replace(b"dimension: 3", b"dimension: 4").replace(sizes, b"3 12 10 5")
    four = four.replace(b"kinds: ", b"kinds: list ").replace(b"directions: ", b"directions: none ")
    packed = gzip.compress(data, 1, mtime=0)
    return [
        {"a.nrrd": nrrd.replace(b"ENC", b"raw") + b"\n" + data},
        {"b.nrrd": nrrd.replace(b"ENC", b"gzip") + b"\n" + packed},
        {"c.nrrd": four.replace(b"ENC", b"raw") + b"\n" + data * 3},
        {"d.nhdr": nrrd.replace(b"ENC", b"raw") + b"data file: d.raw\n", "d.raw": data},
        {"e.nhdr": nrrd.replace(b"ENC", b"raw") + b"data file: e%02d.raw 1 5 1\n"}
        | {f"e{n:02}.raw": data[(n - 1) * 240 : n * 240] for n in range(1, 6)},
        {"f.mha": meta + b"ElementDataFile = LOCAL\n" + data},
        {"g.mhd": meta + b"ElementDataFile = g.raw\n", "g.raw": data},
        {"h.mhd": meta + b"ElementDataFile = LIST\n" + b"".join(b"h%d.raw\n" % n for n in range(5))}
        | {f"h{n}.raw": data[n * 240 : (n + 1) * 240] for n in range(5)},
        {"i.mha": meta.replace(b"CompressedData = False", b"CompressedData = True")
         + b"ElementDataFile = LOCAL\n" + packed},
    ]  # fmt: skip


def spoiled_itk(rng, data, other=b""):
    """Return a header with a line changed, or a data file with bytes changed."""
    return spoiled_text(rng, data, other)


def pictures():
    """Return pictures of all formats that are read."""
    gray = Image.fromarray(ball().array[0, :, :, 2].T.astype(np.uint8).copy())
    deep = Image.fromarray(ball().array[0, :, :, 2].T.astype(np.uint16).copy())
    found = []
    for name, image, more in (
        ("a.png", gray, {}),
        ("b.png", deep, {}),
        ("c.jpg", gray.convert("RGB"), {}),
        ("d.tif", gray, {"save_all": True, "append_images": [gray, gray]}),
        ("e.tiff", deep, {"compression": "tiff_lzw"}),
        ("f.webp", gray.convert("RGB"), {}),
        ("g.bmp", gray, {}),
        ("h.png", gray.convert("P"), {}),
    ):
        held = io.BytesIO()
        image.save(held, {"jpg": "JPEG", "tif": "TIFF"}.get(name[2:], name[2:].upper()), **more)
        found.append({name: held.getvalue()})
    words = "ImageJ=1.53k\nimages=3\nslices=3\nunit=mm\nspacing=2.0\n"
    held = io.BytesIO()
    gray.save(held, "TIFF", save_all=True, append_images=[gray, gray], description=words)
    found.append({"i.tif": held.getvalue()})
    sidecar = {"PixelSpacing": [0.5, 0.4], "SpacingBetweenSlices": 2.0}
    return [*found, {**found[3], "d.json": json.dumps(sidecar).encode()}]


def reports():
    """Return reports as text and JSON, and a table of them."""
    said = {"findings": "No effusion.", "impression": "Normal.", "sections": {"a": "b"}}
    return [
        {"a.txt": b"FINDINGS: No effusion.\n\nIMPRESSION: Normal.\n"},
        {"b.json": json.dumps(said).encode()},
        {"c.csv": b"case_id,findings,impression\na,none,normal\nb,\"x, y\",normal\n"},
        {"d.tsv": b"study_uid\treport\n1.2.3\tnormal\n"},
    ]  # fmt: skip


def spoiled(rng, name, data, other=b""):
    """Return a file's bytes changed in a way that fits its name."""
    ends = {
        (".nii", ".nii.gz", ".mgz", ".hdr"): spoiled_nifti,
        (".nrrd", ".nhdr", ".mha", ".mhd", ".bval", ".bvec", ".txt", ".md",
         ".xml", ".box", ".log"): spoiled_text,
        (".json",): spoiled_json,
        (".csv", ".tsv"): spoiled_table,
        (".zip",): spoiled_zip,
        (".img", ".raw", ".png", ".jpg", ".tif", ".tiff", ".webp", ".bmp", ".pth", ".pt",
         ".safetensors", ".bin", ".onnx"): spoiled_bytes,
    }  # fmt: skip
    way = next((way for known, way in ends.items() if name.lower().endswith(known)), spoiled_dicom)
    return way(rng, data, other)


def zips(folder_trees):
    """Return zips of some trees of files."""
    found = []
    for tree in folder_trees:
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as target:
            for name, data in tree.items():
                target.writestr(f"in/{name}", data)
        found.append({"scans.zip": held.getvalue()})
    return found


def spoiled_zip(rng, data, other=b""):
    """Return a zip whose members lead astray, lie about themselves, are too many or too large."""
    if rng.random() < 0.3:
        return spoiled_bytes(rng, data, other)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as source:
            members = [(one.filename, source.read(one)) for one in source.infolist()]
    except Exception:
        return spoiled_bytes(rng, data, other)
    at = rng.randrange(len(members))
    name, content = members[at]
    way, packing = rng.randrange(10), rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED))
    odd = rng.choice(("../a.nii", "/tmp/a.nii", "C:\\a.nii", "a/../../b", "", "/", ".", "a\0.dcm",
                      "x" * 300, "a/" * 2000 + "b", *WORDS[-6:]))  # fmt: skip
    if way == 0:
        members[at] = (odd, content)
    elif way == 1:
        members.append((name, content))
    elif way == 2:
        members[at] = (name, spoiled(rng, name, content))
    elif way == 3:
        members.append((f"{name}/below", content))
    elif way == 4:
        members.append(("in/large.nii", TIGHT * rng.choice((1, 30, 300))))
    elif way == 5:
        members += [(f"in/{n}/", b"") for n in range(2000)]
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", packing) as target:
        for number, (called, inside) in enumerate(members):
            info = zipfile.ZipInfo(called or "x")
            info.compress_type, info.filename = packing, called
            if number == at and way == 6:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            target.writestr(info, inside)
    found = bytearray(held.getvalue())
    listing = found.find(b"PK\1\2")
    if way == 7:  # flags, packing, checksum, sizes or offset in the directory
        spot = listing + rng.choice((8, 10, 16, 20, 24, 42))
        found[spot : spot + 4] = packed_number(rng, "<i")
    elif way == 8:  # in a member's own header
        spot = rng.choice((6, 8, 14, 18, 22, 26))
        found[spot : spot + 4] = packed_number(rng, "<i")
    elif way == 9:
        end = found.rfind(b"PK\5\6")
        spot = end + rng.choice((8, 10, 12, 16, 20))
        found[spot : spot + 4] = struct.pack("<I", rng.choice((0, 1, 65535, 1 << 31)))
    return bytes(found)
