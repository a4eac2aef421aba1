"""Files to Volumes and Studies, whatever the format."""

from __future__ import annotations

from medvision.io.folder import find_studies
from medvision.io.read import read_study, read_volume
from medvision.study import StudyRef

__all__ = ["StudyRef", "find_studies", "read_study", "read_volume"]
