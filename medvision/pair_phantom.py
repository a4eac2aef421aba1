"""Synthetic images with reports, whose best possible AUC is known in closed form.

Knows nothing of files, models or real patients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medvision.geometry import check_affine
from medvision.volume import SeriesInfo, Volume

Kind = Literal["additive", "interaction"]
KINDS: tuple[Kind, ...] = get_args(Kind)
CLASSES = ("absent", "present")  # of the disease
ALONE = 0.75  # AUC of either modality alone, ``additive``
FLIPPED = 0.03  # share of the labels that are wrong, ``interaction``
WORDS = ("minimal", "mild", "moderate", "marked", "severe")
SIDES = ("left", "right")
BASE, NOISE, BRIGHT, STEP = 60.0, 5.0, 90.0, 20.0  # gray values: 90 ± 20 above the background
RADIUS = 0.09  # of the lesion, of the shortest side

# Said of the patient whatever the class is, so that there is something else to read.
OPENINGS = ("Patient with", "Adult with", "Referred for", "Known to have", "Presents with")
ASIDES = (
    "No known allergies.",
    "Non-smoker.",
    "Former smoker.",
    "On follow-up.",
    "Taking no medication.",
    "Works in an office.",
)
PRIORS = ("None.", "None available.", "Prior examination, not at hand.")
IMPRESSION = "IMPRESSION: Disease {}.\n"  # says the label, where that is asked for


@dataclass(frozen=True)
class PairPhantom:
    """An image, its report and the truth."""

    case_id: str
    image: Volume  # (1, I, J, K) uint8
    report: str
    label: str  # one of `CLASSES`


@cache
def separation() -> float:
    """Return d for which two unit Gaussians d apart have the AUC `ALONE`: Φ(d / √2)."""
    return math.sqrt(2) * _solve(normal_cdf, ALONE)


@cache
def word_shares() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the shares of `WORDS` in absent and in present disease, (5,) each.

    Proportional to exp(±a·k), k = −2 … 2, with a such that the words alone have the AUC `ALONE`
    (ties count a half).
    """
    steps = np.arange(len(WORDS)) - (len(WORDS) - 1) / 2

    def shares(a: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        absent, present = np.exp(-a * steps), np.exp(a * steps)
        return absent / absent.sum(), present / present.sum()

    def area(a: float) -> float:
        absent, present = shares(a)
        below = np.concatenate([[0.0], np.cumsum(absent)[:-1]])
        return float((present * (below + absent / 2)).sum())

    return shares(_solve(area, ALONE))


def best_auc(kind: Kind, seen: Literal["image", "report", "both"]) -> float:
    """Return the AUC of the best possible classifier.

    ``additive``: given the class, the lesion's brightness and the word of severity are
    independent, so that their log-likelihood ratios add up. The image's is normal around ±d²/2
    with variance d², the word's is s; of a present and an absent case the difference is normal
    around d² + s₁ − s₀ with variance 2d², and the AUC is the mean of Φ((d² + s₁ − s₀) / (√2·d))
    over the words of both.

    ``interaction``: the class is whether the lesion lies on the side that the report names, but
    for `FLIPPED` of the cases. Either alone says nothing; both give a yes or no that is right in
    1 − `FLIPPED` of either class, which is its AUC.
    """
    if kind == "interaction":
        return 1 - FLIPPED if seen == "both" else 0.5
    if seen != "both":
        return ALONE
    d = separation()
    absent, present = word_shares()
    ratio = np.log(present / absent)
    gap = d**2 + ratio[:, None] - ratio[None, :]  # (present, absent)
    above = np.vectorize(normal_cdf)(gap / (math.sqrt(2) * d))
    return float((present[:, None] * absent[None, :] * above).sum())


def pair_phantoms(
    kind: Kind,
    count: int,
    size: Sequence[int] = (32, 32, 1),
    seed: int = 0,
    leak: bool = False,
) -> list[PairPhantom]:
    """Draw images with reports.

    Parameters
    ----------
    kind : {"additive", "interaction"}
    count : int
        Cases; half of them have the disease, on average.
    size : three ints
        Voxels along R, A and S; a third of 1 makes a picture, with rows to the feet and columns to
        the patient's left, as films are read.
    seed : int
    leak : bool
        Whether the reports have an impression that says the label; images, and all else that is
        said, are the same.

    Returns
    -------
    list of PairPhantom
        Voxels are of 1 mm. The lesion is a ball with a soft edge. It is brighter than
        255, and clipped, from about 4.8 standard deviations above the mean of its class.
    """
    rng = np.random.default_rng(seed)
    drawn = [draw_case(kind, rng) for _ in range(count)]
    return [
        PairPhantom(
            f"{kind}_{number:05d}",
            draw_image((size[0], size[1], size[2]), side, brightness, rng),
            write_report(word, told, rng) + (IMPRESSION.format(CLASSES[label]) if leak else ""),
            CLASSES[label],
        )
        for number, (label, side, brightness, word, told) in enumerate(drawn)
    ]


def draw_case(kind: Kind, rng: np.random.Generator) -> tuple[int, int, float, str, str]:
    """Return class, side of the lesion, its brightness, and the report's word and side."""
    label, side = int(rng.integers(2)), int(rng.integers(2))
    if kind == "additive":
        brightness = (label - 0.5) * separation() + rng.normal()
        word = WORDS[int(rng.choice(len(WORDS), p=word_shares()[label]))]
        return label, side, brightness, word, ""
    flipped = rng.random() < FLIPPED
    told = side if label != flipped else 1 - side
    return label, side, 0.0, "", SIDES[told]


def draw_image(
    size: tuple[int, ...], side: int, brightness: float, rng: np.random.Generator
) -> Volume:
    """Draw a lesion on one side (0: the patient's left), `brightness` in `STEP` around `BRIGHT`."""
    flat = size[2] == 1
    affine = np.eye(4)
    if flat:  # columns run to the patient's left, rows to the feet (LIA), as pictures are read
        affine = np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    place = rng.uniform(0.25, 0.75, 3)  # share of each axis
    place[0] = rng.uniform(0.15, 0.35)  # of the width, from the lesion's side
    if (side == 1) != flat:  # the patient's right of a volume, or left of a picture
        place[0] = 1 - place[0]
    center = place * (np.array(size) - 1)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in size], indexing="ij"), axis=-1)
    away = np.linalg.norm((index - center)[..., : 2 if flat else 3], axis=-1)  # voxels
    radius = max(2.0, RADIUS * min(n for n in size if n > 1))
    ball = 1 / (1 + np.exp((away - radius) / 0.3))
    image = BASE + rng.normal(0, NOISE, size) + (BRIGHT + STEP * brightness) * ball
    voxels = np.rint(image.clip(0, 255)).astype(np.uint8)[None]
    info = SeriesInfo(description="phantom with report", spacing_known=not flat)
    return Volume(voxels, check_affine(affine), info)


def write_report(word: str, told: str, rng: np.random.Generator) -> str:
    """Write a report whose indication holds the evidence, and whose findings hold none."""

    def one(texts: Sequence[str]) -> str:
        return str(texts[int(rng.integers(len(texts)))])

    complaint = f"{word} pain" if word else f"pain on the {told} side"
    days = int(rng.integers(2, 15))
    return (
        f"INDICATION: {one(OPENINGS)} {complaint} for {days} days.\n"
        f"HISTORY: {one(ASIDES)}\n"
        f"COMPARISON: {one(PRIORS)}\n"
        "FINDINGS: Synthetic image, not read by anybody.\n"
    )


def normal_cdf(z: float) -> float:
    """Return Φ(z)."""
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


def _solve(rising: Callable[[float], float], value: float) -> float:
    """Return x in 0 … 10 where a rising function has a value, by bisection."""
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < value else (low, middle)
    return low
