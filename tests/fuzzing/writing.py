"""What reads DICOM to write it again: as NIfTI, and without identities.

What is written is whole, named in a row, and can be read; what is not has its reason.
"""

import json
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from fuzzing import dicoms
from fuzzing.target import Target, files_in

from medvision.convert import convert_studies
from medvision.deidentify import deidentify_studies
from medvision.errors import MedvisionError
from medvision.io import read_volume
from medvision.io.dicom.seg import read_dataset

UNFORESEEN = "nexpected"  # what a row says of an error that it did not foresee


def written(run, read, folder):
    """Let something be written of a folder, and read it."""
    with TemporaryDirectory() as held:
        out = Path(held) / "out"
        rows = run([folder], out)
        for row in rows:
            assert UNFORESEEN not in row.problem, row.problem
            assert row.problem or row.files or row.notes, f"{row} has nothing to say"
        there = files_in(out)
        named = {path for row in rows for path in row.files}
        assert set(there) == named, f"{set(there) ^ named} not written, or in no row"
        for path in there:
            read(path)


def nifti(path):
    """Read an image or its side-car, which no error may befall."""
    try:
        if path.name.endswith(".nii.gz"):
            np.asarray(read_volume(path).array).any()
        elif path.suffix == ".json":
            assert isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
        else:
            [[float(word) for word in line.split()] for line in path.read_text().splitlines()]
    except (MedvisionError, ValueError) as error:
        raise AssertionError(f"{path.name} cannot be read again: {error}") from error


def dicom(path):
    """Read a header and its elements, which no error may befall."""
    try:
        list(read_dataset(path))
    except (MedvisionError, ValueError) as error:
        raise AssertionError(f"{path.name} cannot be read again: {error}") from error


convert = partial(written, convert_studies, nifti)
even = partial(written, partial(convert_studies, resample=True, suv=True), nifti)
deidentify = partial(written, partial(deidentify_studies, seed="0"), dicom)


def inputs(folder):
    """Return files of all kinds, those of a folder together."""
    return [*dicoms.real(), *dicoms.series(folder) * 8, *dicoms.drawn(folder) * 4,
            *dicoms.scanners(folder) * 4]  # fmt: skip


TARGETS = {
    "convert": Target(inputs, (convert, even), 50),
    "deidentify": Target(inputs, (deidentify,), 50),
}
