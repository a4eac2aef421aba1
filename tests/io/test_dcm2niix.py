"""Truth is dcm2niix: every series lies where it puts it, voxel for voxel.

The real series at hand, and every image that ships inside pydicom. `DIFFERENT` lists what dcm2niix
and the standard disagree on.
"""

from pathlib import Path

import pydicom
import pytest
from dcm2niix_peer import agree, converted
from hippocampus_data import DATA

from medvision.errors import DecodeError, GeometryError, MedvisionError
from medvision.io import read_volume
from medvision.io.dicom import is_dicom, list_series
from medvision.io.dicom.series import group_series, read_frames

DICOM = DATA / "dicom"
PYDICOM = Path(pydicom.__file__).parent / "data" / "test_files"
DIFFERENT = {  # where the standard has another answer than dcm2niix → the files
    "PS3.3 C.8.8.3: dose is stored × DoseGridScaling, and lies where GridFrameOffsetVector says": [
        "rtdose*.dcm"
    ],
    "PS3.3 C.7.6.3.1.2: what is lowest in MONOCHROME1 is white; PALETTE COLOR indexes a table": [
        "dicomdirtests/*/CR*/*",
        "examples_palette.dcm",
    ],
    "PS3.5 7.3: a big endian OW swaps the bytes of 8-bit samples": [
        "SC_rgb_small_odd_big_endian.dcm"
    ],
    "PS3.5 8.2.1 (ISO 10918-1): subsampled color is interpolated; pydicom's answer is ours": [
        "SC_rgb_dcmtk_+eb+cy+n1.dcm",
        "SC_rgb_dcmtk_+eb+cy+np.dcm",
        "SC_rgb_jpeg_lossy_gdcm.dcm",
    ],
    "PS3.3 C.7.6.2.1.1, C.7.6.3.1: a tilted slice is thick along its normal; values are signed": [
        "J2K_pixelrep_mismatch.dcm"
    ],
}
REFUSED = {  # what no number of frames, or no number of bits, is
    "badVR.dcm": "NumberOfFrames",
    "SC_rgb_rle_32bit.dcm": "32 bits",
    "SC_rgb_rle_32bit_2frame.dcm": "32 bits",
}


def folders():
    """Every folder that directly holds DICOM files, and each of its series."""
    if not DICOM.is_dir():
        return [pytest.param(None, None, marks=pytest.mark.skip(reason=f"needs {DICOM}"))]
    found = []
    for folder in sorted({p.parent for p in DICOM.rglob("*") if is_dicom(p)}):
        for series in list_series(folder):
            name = f"{folder.relative_to(DICOM)}-{series.label}"
            found.append(pytest.param(folder, series, id=name))
    return found


@pytest.mark.parametrize(("folder", "series"), folders())
def test_every_series_lies_where_dcm2niix_puts_it(folder, series, tmp_path):
    [theirs], _ = converted(dict.fromkeys(f.header.path for f in series.frames), tmp_path)
    agree(read_volume(folder, series.label), theirs)


def pydicom_series():
    """Every image series among pydicom's own files: loose files one by one, the rest by folder."""
    groups = [[p] for p in sorted(PYDICOM.glob("*.dcm"))]
    folders = {p.parent for p in (PYDICOM / "dicomdirtests").rglob("*") if p.is_file()}
    groups += [sorted(p for p in folder.iterdir() if is_dicom(p)) for folder in sorted(folders)]
    for paths in groups:
        try:
            found = group_series([f for path in paths for f in read_frames(path)])
        except MedvisionError:
            found = []
        for series in found:
            files = list(dict.fromkeys(f.header.path for f in series.frames))
            name = f"{files[0].relative_to(PYDICOM)}-{series.label}"
            yield pytest.param(files, series, id=name)


@pytest.mark.parametrize(("files", "series"), list(pydicom_series()))
def test_the_images_of_pydicom_are_what_dcm2niix_makes_of_them(files, series, tmp_path):
    theirs, said = converted(files, tmp_path)
    if not theirs:
        pytest.skip("dcm2niix does not read it")
    where = files[0] if len(files) == 1 else files[0].parent
    chosen = series.label if len(files) > 1 else None
    if "Interslice distance varies" in said:  # slices are missing, and it says so
        with pytest.raises(GeometryError, match="missing"):
            read_volume(where, chosen)
    elif files[0].name in REFUSED:
        with pytest.raises(DecodeError, match=REFUSED[files[0].name]):
            read_volume(where, chosen)
    elif any(files[0].match(pattern) for patterns in DIFFERENT.values() for pattern in patterns):
        with pytest.raises(AssertionError):
            agree(read_volume(where, chosen), theirs[0])
    else:
        agree(read_volume(where, chosen), theirs[0])
