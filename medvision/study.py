"""Study: what one model call looks at, named volumes and perhaps a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medvision.errors import SeriesError
from medvision.volume import Volume


@dataclass(frozen=True)
class Study:
    """Named volumes of one patient visit.

    Parameters
    ----------
    case_id : str
        Name used for result files and rows; never a patient's name.
    volumes : mapping of str to Volume
        ``{"image": …}`` for a single series.
    report : str, optional
        Text of the radiology report.
    """

    case_id: str
    volumes: Mapping[str, Volume]
    report: str | None = None

    def __post_init__(self) -> None:
        if not self.volumes:
            raise SeriesError(f"Study {self.case_id!r} holds no volume.")

    @property
    def image(self) -> Volume:
        """The only volume of a single-series study."""
        if len(self.volumes) > 1:
            names = ", ".join(self.volumes)
            raise SeriesError(f"Study {self.case_id!r} holds several volumes ({names}): name one.")
        return next(iter(self.volumes.values()))
