"""Headers of NIfTI-1, NIfTI-2 and FreeSurfer MGH files: what they promise, and where it lies.

Fields are decoded by nibabel; what they mean together is decided here. Knows nothing of voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.freesurfer.mghformat import DATA_OFFSET, MGHHeader
from nibabel.spatialimages import HeaderDataError

from medvision.errors import DecodeError, GeometryError
from medvision.geometry import Affine, check_affine, corners, to_world
from medvision.io.raw import RawVoxels, first_bytes, is_gzip

SPACES = {1: "scanner", 2: "aligned", 3: "talairach", 4: "mni"}  # NIfTI-1 xform codes
MM_PER_UNIT = {"meter": 1000.0, "micron": 0.001}
SECONDS_PER_UNIT = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}  # by sizeof_hdr
BAD_FIELDS = (HeaderDataError, ValueError, KeyError, OverflowError, TypeError)
NO_ORIENTATION = "left and right are a guess"


@dataclass(frozen=True)
class NiftiHeader:
    """What a header says, its voxels not looked at.

    Parameters
    ----------
    voxels : RawVoxels
    slope, inter : float
        The true value is ``slope * stored + inter``.
    intent : int
        NIfTI intent code; 0 where there is none.
    fourth : str
        What a fourth axis means: ``"time"``, or empty where its unit is none of time.
    space : str
        As `SeriesInfo.space`.
    """

    voxels: RawVoxels
    slope: float = 1.0
    inter: float = 0.0
    intent: int = 0
    fourth: str = "time"
    space: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis, as the file counts them: I, J, K, then time and others."""
        return self.voxels.shape


class _Silent:
    """Takes what nibabel would log about a header it repairs; we tell it in our own words."""

    def log(self, level: int, message: str) -> None:
        """Say nothing."""


def read_header(path: Path, data: Path) -> tuple[NiftiHeader, Affine, list[str]]:
    """Read a header: what it promises, its affine to RAS mm, and what was decided.

    Parameters
    ----------
    path : Path
        File with the header.
    data : Path
        File with the voxels: the same, or the ``.img`` of a pair.

    Raises
    ------
    DecodeError
        When there is no such header, or the file cannot hold what the header promises.
    GeometryError
        When its affine is not finite and invertible.
    """
    block = first_bytes(path, max(HEADERS))
    try:
        with np.errstate(all="ignore"):  # what overflows is refused as not finite
            if path.name.lower().endswith((".mgz", ".mgh")):
                return _mgh(path, block)
            return _nifti(path, data, block)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from None
    except BAD_FIELDS as error:
        unknown = f"unknown code {error.args[0]}" if isinstance(error, KeyError) else str(error)
        reason = " ".join(unknown.split())  # nibabel breaks lines
        raise DecodeError(f"{path} has a header that makes no sense: {reason}.") from None


def _nifti(path: Path, data: Path, block: bytes) -> tuple[NiftiHeader, Affine, list[str]]:
    sizes = {int.from_bytes(block[:4], order) for order in ("little", "big")} & set(HEADERS)
    size = sizes.pop() if sizes else 0
    magic = block[344:348] if size == 348 else block[4:8]
    if not size or len(block) < size or magic[:1] != b"n" or magic[2:] not in (b"1\0", b"2\0"):
        raise DecodeError(_what_else(path, data, size, len(block)))
    if (magic[1:2] == b"i") != (path != data):
        where = "in a separate .img" if magic[1:2] == b"i" else "in the same file"
        raise DecodeError(
            f"{path} says that its voxels lie {where}: it was renamed, or is half of a pair."
        )
    header = HEADERS[size](block[:size], check=False)
    stored_mm = np.array(header["pixdim"][1:4], dtype=np.float64)
    header.check_fix(logger=_Silent(), error_level=40)
    offset = header.get_data_offset() or (size + 4 if path == data else 0)
    shape = tuple(int(n) for n in header.get_data_shape())
    packing = _packing(path, data)
    voxels = RawVoxels(data, offset, shape, header.get_data_dtype(), packing)
    voxels.check()
    slope, inter = header.get_slope_inter()
    affine, code, notes = _affine_of(header, shape, stored_mm)
    unit, time_unit = header.get_xyzt_units()
    if unit in MM_PER_UNIT:
        notes.insert(0, f"The header counts in {unit}; converted to mm.")
    fourth = "time" if time_unit in ("unknown", *SECONDS_PER_UNIT) else ""
    step = float(header["pixdim"][4])
    if len(shape) > 3 and shape[3] > 1 and time_unit in SECONDS_PER_UNIT and 0 < step < np.inf:
        seconds = step * SECONDS_PER_UNIT[time_unit]
        notes.append(f"The fourth axis is time, {seconds:g} s a step.")
    elif len(shape) > 3 and shape[3] > 1 and not fourth:
        notes.append(f"The fourth axis is not time: it counts in {time_unit}.")
    intent = int(header["intent_code"])
    known = (1.0, 0.0) if slope is None else (float(slope), float(inter))
    found = NiftiHeader(voxels, *known, intent, fourth, SPACES.get(code, ""))
    return found, affine, notes


def _packing(path: Path, data: Path) -> str:
    """Tell how voxels are packed: by the file's first bytes where those are the header's."""
    zipped = is_gzip(path) if path == data else data.name.lower().endswith(".gz")
    return "gzip" if zipped else ""


def _what_else(path: Path, data: Path, size: int, length: int) -> str:
    """Say what lies in a file whose first bytes are no NIfTI header."""
    if size == 348 and length >= size and path != data:
        return (
            f"{path} is Analyze 7.5, which does not say where left and right are: convert it to "
            "NIfTI with a tool that knows what wrote it."
        )
    held = (
        "gzip, as a .nii.gz is, but what it holds is cut short or no NIfTI header"
        if is_gzip(path)
        else "no NIfTI header"
    )
    return f"{path} is not a readable NIfTI file: it holds {held}."


def _affine_of(
    header: Any, shape: tuple[int, ...], stored_mm: np.ndarray[Any, Any]
) -> tuple[Affine, int, list[str]]:
    """Return the affine, the code of its space, and notes.

    The order is the standard's (nifti1.h, "3D IMAGE (VOLUME) ORIENTATION AND LOCATION IN SPACE")
    and nibabel's: the sform when its code is above 0, else the qform, else the voxel sizes alone.
    """
    scale = MM_PER_UNIT.get(header.get_xyzt_units()[0], 1.0)
    to_mm = np.diag([scale, scale, scale, 1.0])
    notes: list[str] = []
    sform, s_code = header.get_sform(coded=True)
    try:
        qform, q_code = header.get_qform(coded=True)
    except (HeaderDataError, ValueError):
        if not s_code:
            raise GeometryError("The qform's quaternion is none, and there is no sform.") from None
        qform, q_code = None, 0
    if s_code and q_code and not np.isfinite(qform).all():
        q_code = 0
    grid = (*shape, 1, 1)[:3]
    if s_code:
        try:
            affine = check_affine(to_mm @ sform)
        except GeometryError as error:
            if not q_code:
                raise
            notes.append(f"The sform is not usable ({error}) The qform is used.")
        else:
            if q_code:
                edges = corners(grid)
                gap = np.abs(to_world(affine, edges) - to_world(to_mm @ qform, edges)).max()
                if not gap <= 0.1:
                    notes.append(
                        f"sform and qform differ by up to {gap:.1f} mm; the sform is used."
                    )
            return affine, s_code, notes
    if not q_code:
        notes.append(
            f"The file says nothing of orientation (sform and qform codes are 0): {NO_ORIENTATION}."
        )
    notes += _told_sizes(stored_mm, grid)
    return check_affine(to_mm @ (qform if q_code else header.get_base_affine())), q_code, notes


def _told_sizes(stored_mm: np.ndarray[Any, Any], grid: tuple[int, ...]) -> list[str]:
    """Say what was made of voxel sizes that are none: nibabel takes |size|, and 1 for 0."""
    thick = [n > 1 for n in grid]
    if any(size == 0 and many for size, many in zip(stored_mm, thick, strict=True)):
        sizes = " × ".join(f"{s:g}" for s in stored_mm)
        raise GeometryError(f"The voxel size is {sizes} mm: every side must be above 0.")
    notes = []
    if (stored_mm == 0).any():
        notes.append("The file does not say how thick its only slice is: taken as 1.")
    if (stored_mm < 0).any():
        notes.append("The header holds a negative voxel size; its sign is ignored.")
    return notes


def _mgh(path: Path, block: bytes) -> tuple[NiftiHeader, Affine, list[str]]:
    """Read a FreeSurfer header: always big-endian, RAS mm, one offset."""
    if len(block) < DATA_OFFSET or int.from_bytes(block[:4], "big") != 1:
        raise DecodeError(f"{path} is not a readable FreeSurfer file: it holds no MGH header.")
    header = MGHHeader(block[:DATA_OFFSET], check=False)
    shape = tuple(int(n) for n in header["dims"])
    voxels = RawVoxels(
        path, DATA_OFFSET, shape, np.dtype(header.get_data_dtype()), _packing(path, path)
    )
    voxels.check()
    known = block[28:30] != b"\0\0"  # goodRASFlag, before nibabel fills it in
    note = f"The file says nothing of orientation: FreeSurfer's default, {NO_ORIENTATION}."
    return NiftiHeader(voxels), check_affine(header.get_affine()), [] if known else [note]
