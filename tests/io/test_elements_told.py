"""What goes wrong in a data set's elements is told without their values."""

import warnings
from pathlib import Path

import pytest

from medvision.errors import DecodeError
from medvision.io.dicom.seg import told_as


@pytest.mark.parametrize("error", [KeyError("DOE^JANE"), ValueError("DOE^JANE"), TypeError])
def test_a_foreign_error_is_told_by_its_kind_alone(error):
    says = r"^a\.dcm is no usable SR: an element is missing or damaged \((Key|Value|Type)Error\)\.$"
    with pytest.raises(DecodeError, match=says), told_as(Path("a.dcm"), "SR"):
        warnings.warn("DOE^JANE", stacklevel=1)  # of pydicom: an error in these tests, if told
        raise error


def test_what_is_said_already_stays():
    with pytest.raises(DecodeError, match="holds no region"), told_as(Path("a.dcm"), "SR"):
        raise DecodeError("a.dcm holds no region")
