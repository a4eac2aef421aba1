"""DICOM files to Volumes: sorted, checked, decoded, rescaled, or refused with a reason."""

from medvision.io.dicom.elements import is_dicom
from medvision.io.dicom.series import Series, list_series
from medvision.io.dicom.volume import read_dicom

__all__ = ["Series", "is_dicom", "list_series", "read_dicom"]
