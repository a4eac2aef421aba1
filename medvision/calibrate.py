"""Calibrate a classification on cases that it was not trained on: a model folder in, another out.

The temperature makes probabilities honest; of them come prediction sets and thresholds.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medvision.answer import sureness
from medvision.calibration import (
    Shares,
    Truth,
    brier_score,
    calibration_error,
    fit_temperature,
    log_loss,
    tempered,
)
from medvision.calibration_spec import Calibration
from medvision.checkpoint import CARD, SPEC, load_model
from medvision.conformal import conformal_quantile, one_a_group
from medvision.dataset import Case
from medvision.errors import CasesError, OutputError, SpecError
from medvision.evaluate import evaluate
from medvision.files import write_text
from medvision.portable import whole_folder
from medvision.predictor import Predictor, resolve_device
from medvision.review import limit_of
from medvision.scores import ClassScore, LabelScore, Score, true_classes
from medvision.spec import read_spec
from medvision.thresholds import (
    sensitivity_threshold,
    specificity_threshold,
    youden_threshold,
)

HEADING = "## Calibration\n"


@dataclass(frozen=True)
class Figures:
    """How honest probabilities are: less is better."""

    log_loss: float  # nats
    error: float  # expected calibration error, 0 to 1
    brier: float


@dataclass(frozen=True)
class Fit:
    """What was found on some cases, with the figures before and after on the same cases.

    `review` is the limit of calibrated confidence, as of `medvision.review.limit_of`.
    """

    calibration: Calibration
    before: Figures
    after: Figures
    review: float | None

    def text(self) -> str:
        """Return what a model's card says of it, in Markdown."""
        known = self.calibration
        whose = "validation cases" if known.split else "cases of a table without splits"
        rows = "".join(
            f"| {when} | {one.log_loss:.4f} | {one.error:.4f} | {one.brier:.4f} |\n"
            for when, one in (("before", self.before), ("after", self.after))
        )
        limits = ", ".join(f"{name} {limit:.4f}" for name, limit in known.thresholds.items())
        parts = [
            f"Found on {known.cases} {whose}, which must not be used to tell how good the model "
            f"is. Temperature: {known.temperature:.4f}.\n\n| | log loss, nats | ECE | Brier |\n"
            f"|---|---|---|---|\n{rows}\nOn the same cases, so that the second row is a little too "
            "good.",
        ]
        if known.alpha is not None:
            parts.append(
                f"Prediction sets hold the truth with a probability of {1 - known.alpha:.4g} or "
                f"more, for a case of a new patient of the same kind; split-conformal, "
                f"from one case of each of {known.groups} patients (quantile "
                f"{known.quantile:.4f}). That is over all classes, not of each."
            )
        if limits:
            parts.append(f"Thresholds ({known.rule}): {limits}.")
        told = "no result is" if self.review is None else f"results below {self.review:.4f} are"
        parts.append(
            f"By the calibrated confidence {told} flagged for review (5th percentile of these "
            "cases); this is in the place of an earlier limit."
        )
        return HEADING + "\n" + "\n\n".join(parts) + "\n"


def fit_scores(
    scores: Sequence[Score],
    cases: Sequence[Case],
    *,
    alpha: float = 0.1,
    specificity: float | None = None,
    sensitivity: float | None = None,
) -> Fit:
    """Fit temperature, quantile and thresholds to what an uncalibrated model said of some cases.

    Parameters
    ----------
    scores : sequence of ClassScore, or of LabelScore
        Of each case, in their order.
    cases : sequence of Case
        Validation cases, or those of a table without splits. Of several cases of one `group` one,
        drawn at random, counts for prediction sets; where each class is a question of its own,
        there are none.
    alpha : float
        Share of prediction sets that may miss the truth.
    specificity, sensitivity : float, optional
        Choose thresholds that keep one of them; by default Youden's.

    Raises
    ------
    CasesError
        When a case is of the split test or train.
    SpecError
        When the scores are none of classes, both limits are given, or patients are too few for
        `alpha`.
    """
    check_splits(cases)
    told = [one for one in scores if isinstance(one, ClassScore | LabelScore)]
    if not told or len(told) < len(scores):
        raise SpecError("Calibrated are the probabilities of classes; masks have a confidence.")
    if specificity is not None and sensitivity is not None:
        raise SpecError("Thresholds keep a specificity or a sensitivity: give one of the two.")
    names, several = tuple(told[0].scores), isinstance(told[0], LabelScore)
    raw: Shares = np.array([[one.scores[name] for name in names] for one in told])
    truth: Truth = np.array([[name in true_classes(one) for name in names] for one in told])
    temperature = fit_temperature(raw, truth, several)
    shares = tempered(raw, temperature, several)
    rule, thresholds = "Youden", dict[str, float]()
    if specificity is not None:
        rule = f"specificity of {specificity:g} or more"
    elif sensitivity is not None:
        rule = f"sensitivity of {sensitivity:g} or more"
    for number, name in enumerate(names):
        share, mine = shares[:, number], truth[:, number]
        if specificity is not None:
            limit = specificity_threshold(share, mine, specificity)
        elif sensitivity is not None:
            limit = sensitivity_threshold(share, mine, sensitivity)
        else:
            limit = youden_threshold(share, mine)
        if limit is not None:
            thresholds[name] = limit
    known = Calibration(
        temperature=temperature,
        split="val" if all(case.split for case in cases) else "",
        cases=len(cases),
        thresholds=thresholds,
        rule=rule,
    )
    if not several:
        chosen = one_a_group([case.group for case in cases])
        quantile = conformal_quantile(1 - shares[chosen][truth[chosen]], alpha)
        known = replace(known, alpha=alpha, quantile=quantile, groups=len(chosen))
    sure = [min(sureness(dict(zip(names, row, strict=True)), several).values()) for row in shares]
    before, after = (figures_of(one, truth, several) for one in (raw, shares))
    return Fit(known, before, after, limit_of(sure))


def figures_of(shares: Shares, truth: Truth, multilabel: bool) -> Figures:
    """Return how honest probabilities (M, N) are."""
    return Figures(
        log_loss(shares, truth, multilabel),
        calibration_error(shares, truth, multilabel),
        brier_score(shares, truth, multilabel),
    )


def check_splits(cases: Sequence[Case]) -> None:
    """Refuse cases that a model is trained on or tested on."""
    used = sorted({case.split for case in cases} & {"train", "test"})
    if used:
        raise CasesError(
            f"Cases of the split {' and '.join(used)} do not calibrate: the model knows those it "
            "was trained on, and what was chosen on test cases cannot be tested on them. Take "
            "validation cases (split val)."
        )


def calibrate(
    folder: Path,
    cases: Sequence[Case],
    out: Path,
    *,
    alpha: float = 0.1,
    specificity: float | None = None,
    sensitivity: float | None = None,
    device: str = "auto",
    show: bool = True,
) -> Fit:
    """Write a model folder anew with a calibration in its spec and card; the old one stays.

    Parameters
    ----------
    folder : Path
        Of a classification. An earlier calibration is forgotten.
    cases, alpha, specificity, sensitivity
        As for `fit_scores`.
    out : Path
        A new or empty folder; whole or absent.
    device : str
    show : bool
        Show a progress bar.

    Raises
    ------
    CasesError, SpecError
        As `fit_scores`; and when a case cannot be read or does not fit the model.
    OutputError
        When `out` holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} is not an empty folder: name a new one.")
    check_splits(cases)
    network, spec = load_model(folder)
    if spec.task != "classification":
        raise SpecError(f"{spec.name} segments: calibrated are the probabilities of classes.")
    plain = Predictor(network, replace(spec, calibration=None), resolve_device(device))
    fit = fit_scores(
        evaluate(plain, cases, show),
        cases,
        alpha=alpha,
        specificity=specificity,
        sensitivity=sensitivity,
    )
    with whole_folder(out) as part:
        shutil.copytree(folder, part, dirs_exist_ok=True)
        kept = read_spec(folder / SPEC)  # as it is written, a text encoder beside it
        told = replace(kept, calibration=fit.calibration, review=fit.review)
        write_text(part / SPEC, told.to_json())
        card = part / CARD
        text = card.read_text(encoding="utf-8") if card.is_file() else f"# {spec.name}\n"
        write_text(card, with_calibration(text, fit.text()))
    return fit


def with_calibration(card: str, text: str) -> str:
    """Return a card with what is said of the calibration at its end, in an earlier one's place."""
    rest = re.sub(rf"{re.escape(HEADING)}.*?(?=^## |\Z)", "", card, flags=re.DOTALL | re.MULTILINE)
    return f"{rest.rstrip()}\n\n{text}"
