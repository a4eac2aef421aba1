"""Explanation: what in one study spoke for a class, in the image and in the words of the report.

Knows nothing of networks, nor of how it was found: see `medvision.explain`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from medvision.prediction import Prediction
from medvision.volume import Volume

GATES = (
    "Gates: how much of each vector, the image's and the report's, is let through to be joined; "
    "they sum to 1. They are no shares of the evidence: a vector that is let through may say "
    "nothing, and what is held back may decide."
)
HEATS = {"grad-cam": "Grad-CAM", "grad-cam++": "Grad-CAM++", "occlusion": "Occlusion"}
CAMS = ("grad-cam", "grad-cam++")


@dataclass(frozen=True)
class Word:
    """A word, or a punctuation mark, of what a model read.

    Parameters
    ----------
    text : str
    start : int
        Where it begins in the text, in characters.
    attribution : float, optional
        What it adds to the log odds of the class; None when no piece of it was read.
    attention : float, optional
        Share of the image's attention to the report that lies on it (``cross_attention``).
    masked : bool
        Whether it stands for words that were hidden from the model.
    """

    text: str
    start: int
    attribution: float | None = None
    attention: float | None = None
    masked: bool = False

    @property
    def end(self) -> int:
        """Where it ends in the text, in characters."""
        return self.start + len(self.text)


@dataclass(frozen=True)
class Explanation:
    """Why a classification said what it said of one study.

    Parameters
    ----------
    prediction : Prediction
        Scores of both, of image and report alone, and its warnings.
    class_name : str
        The class that is spoken of.
    scan : Volume
        The reference: the scan of the model's first input.
    heat : Volume
        (1, I, J, K) float32 on the grid of the scan: 1 where the image spoke most for the
        class, 0 where nothing did, NaN where the model did not look.
    cells : tuple of int
        Voxels of the network's map that the heat was made of, per axis of the model's grid: what
        is finer in `heat` is interpolated. Of occlusion the number of patches along each axis.
    text : str
        What the model read of the report; empty when nothing.
    words : tuple of Word
        Of this text.
    hidden : mapping of str to str
        Sections of the report that the model was not shown.
    odds : (float, float), optional
        Log odds of the class with the report's words, and with as many words that say nothing;
        their difference is what the words add together.
    gates : mapping of str to float, optional
        How much of the vectors of ``image`` and ``report`` is let through (``gated``); see `GATES`.
    method : str
        A key of `HEATS`: how the heat was made.
    warnings : tuple of str
        Of the prediction, and why the explanation may deserve less trust.
    """

    prediction: Prediction
    class_name: str
    scan: Volume
    heat: Volume
    cells: tuple[int, ...]
    text: str = ""
    words: tuple[Word, ...] = ()
    hidden: Mapping[str, str] = field(default_factory=dict)
    odds: tuple[float, float] | None = None
    gates: Mapping[str, float] | None = None
    warnings: tuple[str, ...] = ()
    method: str = "grad-cam"
