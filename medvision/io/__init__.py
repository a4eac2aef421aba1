"""Files to Volumes and Studies, whatever the format."""

from __future__ import annotations

from medvision.io.folder import find_studies
from medvision.io.labels import read_labels
from medvision.io.pairing import pair_reports
from medvision.io.read import read_study, read_volume
from medvision.io.reports import read_report
from medvision.study import StudyRef

__all__ = [
    "StudyRef",
    "find_studies",
    "pair_reports",
    "read_labels",
    "read_report",
    "read_study",
    "read_volume",
]
