"""What is done to a class of a mask after the network has spoken; part of a model's spec.

Knows nothing of voxels: `medvision.cleanup` does it.
"""

from __future__ import annotations

from dataclasses import dataclass

from medvision.errors import SpecError


@dataclass(frozen=True)
class Cleanup:
    """What is done to one class, in this order.

    Parameters
    ----------
    largest : bool
        Keep the largest piece alone; of equal ones the first in the order of the voxels. Voxels
        that share a corner are one piece.
    min_ml : float
        Take away pieces smaller than this.
    instead : str
        The class that what is taken away becomes; empty for background.
    fill : bool
        Let background that the class encloses, on all sides, become the class. What other classes
        hold inside stays theirs.

    Raises
    ------
    SpecError
    """

    largest: bool = False
    min_ml: float = 0.0
    instead: str = ""
    fill: bool = False

    def __post_init__(self) -> None:
        if type(self.largest) is not bool or type(self.fill) is not bool:
            raise SpecError(f"largest and fill are true or false; found {self}.")
        if not self.min_ml >= 0:
            raise SpecError(f"min_ml is 0 ml or more; found {self.min_ml!r}.")
        if self.instead and not (self.largest or self.min_ml):
            raise SpecError(f"Nothing is taken away that could become {self.instead!r}: {self}.")
