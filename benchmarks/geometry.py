"""Folders of DICOM slices that go wrong in practice: who reads them right, who says so?

    pip install SimpleITK          # dcm2niix and the phantom writer come with the extra `test`
    python benchmarks/geometry.py

Every folder is written from one phantom in which each voxel has its own value, so that a reader's
answer can be checked voxel by voxel in world coordinates. Prints a Markdown table.
"Warned" means that something was said of slices, spacing, tilt or series; "right" about two series
means that one of them was read, and nothing was mixed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from dicom_phantom import write_series

from medvision import read_volume
from medvision.geometry import check_affine, flip_ras_lps, to_world
from medvision.volume import Volume

TOLERANCE_MM = 0.05
TOPIC = re.compile("slice|spac|missing|duplicate|tilt|series|uniform|gap|equidistant", re.I)
Reader = Callable[[Path], tuple[np.ndarray, np.ndarray]]  # (I, J, K) and affine to RAS mm


def phantom(tilt: float = 0.0, degrees: float = 0.0) -> Volume:
    """Return 7 × 6 × 8 voxels of 0.8 × 1.2 × 3 mm, each with its own value."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ np.diag([0.8, 1.2, 3.0])
    affine[1, 2] += tilt
    affine[:3, 3] = (-30, 12, 40)
    values = np.random.default_rng(0).permutation(7 * 6 * 8).astype(np.int16)
    return Volume(values.reshape(1, 7, 6, 8), check_affine(affine))


def in_order(data, k):
    """Number the slices from foot to head."""
    data.InstanceNumber = k + 1


def scale_each(data, k):
    """Store every slice with an intercept of its own; the values stay what they were."""
    in_order(data, k)
    data.RescaleSlope, data.RescaleIntercept = 1.0, 100.0 * k
    data.PixelData = (np.frombuffer(data.PixelData, np.int16) - 100 * k).tobytes()


def stretch_last(data, k):
    """Move the last slice 1 mm on."""
    in_order(data, k)
    if k == 7:
        data.ImagePositionPatient[2] += 1


def shift_one(data, k):
    """Move one slice 2 mm sideways."""
    in_order(data, k)
    if k == 3:
        data.ImagePositionPatient[0] += 2


def folders(root: Path) -> Iterator[tuple[str, Path, Volume | None, bool]]:
    """Write every folder, under shuffled file names.

    Yields what is odd, where it is, the right answer (None when every answer is an invention), and
    whether to refuse is right.
    """
    plain, oblique, tilted = phantom(), phantom(degrees=25), phantom(tilt=0.7)
    write_series(root / "plain", plain, change=in_order)
    yield "nothing is odd", root / "plain", plain, False
    write_series(root / "numbers", plain)
    yield "instance numbers do not follow the positions", root / "numbers", plain, False
    write_series(root / "oblique", oblique, change=in_order)
    yield "slices are oblique", root / "oblique", oblique, False
    write_series(root / "tilt", tilted, change=in_order)
    yield "the gantry was tilted", root / "tilt", tilted, False
    write_series(root / "slopes", plain, change=scale_each)
    yield "each slice has its own rescale", root / "slopes", plain, False
    write_series(root / "missing", plain, change=in_order)[3].unlink()
    yield "a slice is missing", root / "missing", None, True
    paths = write_series(root / "twice", plain, change=in_order)
    (root / "twice" / "copy").write_bytes(paths[3].read_bytes())
    yield "a slice is there twice", root / "twice", plain, True
    write_series(root / "uneven", plain, change=stretch_last)
    yield "gaps are uneven", root / "uneven", None, True
    write_series(root / "sideways", plain, change=shift_one)
    yield "a slice is shifted sideways", root / "sideways", None, True
    write_series(root / "two", plain, change=in_order)
    for path in write_series(root / "two" / "x", plain, number=2, seed=1, change=in_order):
        path.rename(root / "two" / f"second-{path.name}")
    (root / "two" / "x").rmdir()
    yield "there are two series", root / "two", plain, True


def with_medvision(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read with medvision."""
    volume = read_volume(folder)
    return volume.array[0], volume.affine


def with_monai(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read with MONAI's PydicomReader; its affine is RAS when asked so."""
    from monai.transforms import LoadImage

    image = LoadImage("PydicomReader", image_only=True, affine_lps_to_ras=True)(str(folder))
    return np.asarray(image), np.asarray(image.affine, dtype=float)


def with_simpleitk(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read with SimpleITK's series reader, as its documentation does."""
    import SimpleITK as sitk  # noqa: N813

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    affine = np.eye(4)
    directions = np.reshape(image.GetDirection(), (3, 3))
    affine[:3, :3] = directions @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0), flip_ras_lps(affine)


def with_dcm2niix(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Convert with dcm2niix and take the largest file it writes."""
    import dcm2niix
    import nibabel as nib

    with tempfile.TemporaryDirectory() as out:
        command = [dcm2niix.bin, "-z", "n", "-b", "n", "-m", "n", "-o", out, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        lines = [s for s in done.stdout.splitlines() if "Warning" in s or "DUPLICATES" in s]
        os.write(2, "\n".join(lines).encode())
        path = max(Path(out).glob("*.nii"), key=lambda p: p.stat().st_size)
        image = nib.load(path)
        return np.asarray(image.dataobj), image.affine


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collect warnings and what is written to standard error, from C++ too."""
    said: list[str] = []
    with tempfile.TemporaryFile() as file, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        keep = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            sys.stderr.flush()
            os.dup2(keep, 2)
            os.close(keep)
            file.seek(0)
            said += [str(w.message) for w in caught] + file.read().decode().splitlines()


def verdict(reader: Reader, folder: Path, truth: Volume | None, may_refuse: bool) -> str:
    """Say whether a reader was right, refused, or wrong, with or without a word."""
    with listening() as said:
        try:
            array, affine = reader(folder)
        except Exception:
            array = None
    if array is None:
        return "refused" if may_refuse else "refused, though readable"
    if truth is not None and right(array, affine, truth):
        return "right"
    return "wrong, warned" if TOPIC.search(" ".join(said)) else "**wrong, silent**"


def right(array: np.ndarray, affine: np.ndarray, truth: Volume) -> bool:
    """Tell whether every value lies where it was put."""
    for value in truth.array.ravel():
        index = np.argwhere(np.abs(array - value) < 0.01)
        if len(index) != 1:
            return False
        there = to_world(truth.affine, np.argwhere(truth.array[0] == value)[0])
        if np.abs(to_world(affine, index[0]) - there).max() > TOLERANCE_MM:
            return False
    return True


def main() -> None:
    """Print the table."""
    readers: dict[str, Reader] = {
        "medvision": with_medvision,
        f"MONAI {version('monai')}": with_monai,
        f"SimpleITK {version('SimpleITK')}": with_simpleitk,
        f"dcm2niix {version('dcm2niix')}": with_dcm2niix,
    }
    print("| a folder in which | " + " | ".join(readers) + " |")
    print("|" + "---|" * (len(readers) + 1))
    with tempfile.TemporaryDirectory() as root:
        for what, *folder in folders(Path(root)):
            cells = [verdict(reader, *folder) for reader in readers.values()]
            print(f"| {what} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
